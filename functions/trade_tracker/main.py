"""``trade_tracker``: the read API behind every screen, and the page's static files."""

from __future__ import annotations

import functools
from pathlib import Path

import functions_framework
from flask import Request, Response

from fillbook.runtime.clock import clock_for
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import desk_keys
from fillbook.runtime.http import http_edge
from fillbook.tracker.admin import Admin
from fillbook.tracker.api import Desk, refuse, routes
from fillbook.tracker.owners import owners_for
from fillbook.tracker.settings import TradeTrackerConfig

STATEMENT_SECONDS = 3
STATIC = Path(__file__).resolve().parent / "static"


@functools.cache
def desk() -> Desk:
    """Read the configuration and make the pool on the first request."""
    config = TradeTrackerConfig.from_environment()
    db = Database.open(config, application_name="trade_tracker", pool_size=8, statement_timeout_seconds=STATEMENT_SECONDS)
    return Desk(
        db=db,
        clock=clock_for(config),
        keys=desk_keys(config.desk_keys.get_secret_value()),
        admin=Admin(db=db, owners=owners_for(config)),
    )


edge = http_edge("trade_tracker", routes(desk, STATIC), refuse=refuse)


@functions_framework.http
def trade_tracker(request: Request) -> Response:
    """Answer one request."""
    return edge(request)
