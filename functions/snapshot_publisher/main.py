"""snapshot_publisher: publishes a trading day's figures, whole or not at all. Called by the Scheduler and by operators."""

import functools
import sys

import functions_framework
from flask import Request, Response

from fillbook.runtime.auth import OidcVerifier, verifier_for
from fillbook.runtime.config import OidcConfig
from fillbook.runtime.db import Database
from fillbook.runtime.http import http_edge
from fillbook.snapshot.publisher import CONCURRENCY, NAME, STATEMENT_SECONDS, Worker, routes, work_job, worker_for
from fillbook.snapshot.publisher_settings import SnapshotPublisherConfig
from fillbook.snapshot.source import REFRESH_SECONDS


@functools.cache
def worker() -> Worker:
    """Made by the first call, once per process. Views are refreshed by a connection of its own, one refresh at a time."""
    config = SnapshotPublisherConfig.from_environment()
    db = Database.open(config, application_name=NAME, pool_size=CONCURRENCY - 1, statement_timeout_seconds=STATEMENT_SECONDS)
    refreshing = Database.open(config, application_name=NAME, pool_size=1, statement_timeout_seconds=REFRESH_SECONDS)
    return worker_for(config, db, refreshing)


@functools.cache
def verifier() -> OidcVerifier:
    """Only the identities of schedules and operators may call, also where nothing else is configured."""
    return verifier_for(OidcConfig.from_environment())


edge = http_edge(NAME, routes(worker, lambda request: verifier().check(request)))


@functions_framework.http
def snapshot_publisher(request: Request) -> Response:
    """Entry point."""
    return edge(request)


def work_off() -> None:
    """Entry point of the Cloud Run job: its options are the names of a call's body."""
    sys.exit(work_job(worker, sys.argv[1:]))
