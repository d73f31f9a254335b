"""``trade_tracker``: the read API behind every screen, and the page's static files."""

from __future__ import annotations

import functools
from pathlib import Path

import flask
import functions_framework
from flask import Request, Response

from fillbook.runtime.db import Database
from fillbook.runtime.http import http_edge
from fillbook.runtime.places import Places
from fillbook.tracker.api import Desk, desk_for, refuse, routes
from fillbook.tracker.dressing import dress
from fillbook.tracker.owners import owners_for
from fillbook.tracker.settings import TradeTrackerConfig

NAME = "trade_tracker"
CONCURRENCY = 8
WAITING = 24
STATEMENT_SECONDS = 3
STATIC = Path(__file__).resolve().parent / "static"


@functools.cache
def desk() -> Desk:
    """Read the configuration and make the pool on the first request."""
    config = TradeTrackerConfig.from_environment()
    db = Database.open(config, application_name=NAME, pool_size=CONCURRENCY, statement_timeout_seconds=STATEMENT_SECONDS)
    return desk_for(config, db, owners_for(config))


edge = http_edge(NAME, routes(desk, STATIC), refuse=refuse, dress=dress, places=Places(CONCURRENCY, waiting=WAITING))


@functions_framework.http
def trade_tracker(request: Request) -> Response:
    """Answer one request."""
    return edge(request)


@functions_framework.errorhandler(404)  # type: ignore[untyped-decorator]
def not_routed(_error: Exception) -> Response:
    """Answer ``/robots.txt`` and ``/favicon.ico``, which the framework keeps from functions."""
    return edge(flask.request)
