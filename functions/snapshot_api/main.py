"""snapshot_api: takes the published day, whole or not at all, and shows it to readers."""

import functools

import functions_framework
from flask import Request, Response

from fillbook.runtime.db import Database
from fillbook.runtime.http import http_edge
from fillbook.runtime.places import Places
from fillbook.snapshot.api import Desk, desk_for, dress, refuse, routes
from fillbook.snapshot.settings import SnapshotApiConfig

NAME = "snapshot_api"
CONCURRENCY = 4
WAITING = 12
STATEMENT_SECONDS = 10


@functools.cache
def desk() -> Desk:
    """Made by the first call, once per process."""
    config = SnapshotApiConfig.from_environment()
    return desk_for(
        config, Database.open(config, application_name=NAME, pool_size=CONCURRENCY, statement_timeout_seconds=STATEMENT_SECONDS)
    )


edge = http_edge(NAME, routes(desk), refuse=refuse, dress=dress(desk), places=Places(CONCURRENCY, waiting=WAITING))


@functions_framework.http
def snapshot_api(request: Request) -> Response:
    """Entry point."""
    return edge(request)
