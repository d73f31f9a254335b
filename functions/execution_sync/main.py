"""execution_sync: the broker's executions and positions, by jobs. Called by Pub/Sub, Scheduler, operators and trade_tracker."""

import functools

import functions_framework
from flask import Request, Response

from fillbook.ibkr.settings import ExecutionSyncConfig
from fillbook.ibkr.worker import CONCURRENCY, NAME, Worker
from fillbook.runtime.auth import OidcVerifier, verifier_for
from fillbook.runtime.clock import clock_for
from fillbook.runtime.db import Database
from fillbook.runtime.http import http_edge
from fillbook.runtime.pubsub import publisher_for


@functools.cache
def verifier() -> OidcVerifier:
    """Only the identities of pushes, schedules, operators and the tracker may call."""
    return verifier_for(ExecutionSyncConfig.from_environment())


@functools.cache
def worker() -> Worker:
    """Made by the first call, once per process."""
    config = ExecutionSyncConfig.from_environment()
    # a chunk of 5,000 rows is one statement
    db = Database.open(config, application_name=NAME, pool_size=CONCURRENCY, statement_timeout_seconds=60)
    return config.worker(db, publisher_for(config), clock_for(config))


edge = http_edge(NAME, Worker.routes(worker, lambda request: verifier().check(request)))


@functions_framework.http
def execution_sync(request: Request) -> Response:
    """Entry point."""
    return edge(request)


def work_off() -> None:
    """Entry point of the Cloud Run job: works the queue until it is empty."""
    worker().work_until_empty()
