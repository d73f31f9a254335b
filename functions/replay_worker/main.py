"""replay_worker: runs stored days again beside the live book. As a job it walks whole days, ranges and sweeps."""

import functools

import functions_framework
from flask import Request, Response

from fillbook.replay import jobs
from fillbook.replay.api import Worker, routes, worker_for
from fillbook.replay.settings import ReplayWorkerConfig
from fillbook.runtime.db import Database
from fillbook.runtime.http import http_edge

NAME = "replay_worker"
CONCURRENCY = 4
STATEMENT_SECONDS = 50


def database(config: ReplayWorkerConfig) -> Database:
    """One connection per request; a day's receipts are counted in one statement, hence its time."""
    return Database.open(config, application_name=NAME, pool_size=CONCURRENCY, statement_timeout_seconds=STATEMENT_SECONDS)


@functools.cache
def worker() -> Worker:
    """Made by the first call, once per process."""
    config = ReplayWorkerConfig.from_environment()
    return worker_for(config, database(config))


edge = http_edge(NAME, routes(worker))


@functions_framework.http
def replay_worker(request: Request) -> Response:
    """Entry point."""
    return edge(request)


def work_off() -> None:
    """Entry point of the Cloud Run job: walks waiting runs until there are none."""
    config = ReplayWorkerConfig.from_environment()
    jobs.work_off(jobs.task_for(config, database(config)))
