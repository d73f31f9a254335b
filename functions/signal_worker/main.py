"""signal_worker: receipts become lanes and executions; refused and given-up bodies are kept. Called by Pub/Sub only."""

import functools

import functions_framework
from flask import Request, Response

from fillbook.runtime import logs
from fillbook.runtime.auth import OidcVerifier, verifier_for
from fillbook.runtime.clock import clock_for
from fillbook.runtime.db import Database
from fillbook.runtime.http import push_edge
from fillbook.runtime.pubsub import publisher_for
from fillbook.signal.settings import SignalWorkerConfig
from fillbook.signal.worker import CONCURRENCY, Worker, places, strategy_of

NAME = "signal_worker"


@functools.cache
def verifier() -> OidcVerifier:
    """Only the identity that pushes may call."""
    return verifier_for(SignalWorkerConfig.from_environment())


@functools.cache
def worker() -> Worker:
    """Made by the first message, once per process."""
    config = SignalWorkerConfig.from_environment()
    db = Database.open(config, application_name=NAME, pool_size=CONCURRENCY, lock_timeout_seconds=config.lock_timeout_seconds)
    publisher, clock = publisher_for(config), clock_for(config)
    return Worker(db=db, publisher=publisher, clock=clock, strategy=strategy_of(config), log=logs.get(NAME))


edge = push_edge(
    NAME,
    {"/": lambda m: worker().receive(m), "/quarantine": lambda m: worker().keep_refused(m), "/dead": lambda m: worker().bury(m)},
    verify=lambda request: verifier().check(request),
    quarantine=lambda r: worker().refuse(r.reason, r.body, r.message),
    places=places(),
)


@functions_framework.http
def signal_worker(request: Request) -> Response:
    """Entry point."""
    return edge(request)
