"""replay_worker: runs stored days again beside the live book. As a job it walks whole days, ranges and sweeps."""

import functools

import functions_framework
from flask import Request, Response

from fillbook.replay.api import Worker, routes
from fillbook.replay.cloud_run import starter
from fillbook.replay.jobs import Task
from fillbook.replay.jobs import work_off as work_off_runs
from fillbook.replay.runs import Desk, code_version
from fillbook.replay.settings import ReplayWorkerConfig
from fillbook.runtime.auth import verifier_for
from fillbook.runtime.clock import clock_for
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import desk_keys
from fillbook.runtime.http import http_edge

NAME = "replay_worker"
STATEMENT_SECONDS = 50


def desk(config: ReplayWorkerConfig, pool_size: int) -> Desk:
    """The room on this process's database."""
    db = Database.open(config, application_name=NAME, pool_size=pool_size, statement_timeout_seconds=STATEMENT_SECONDS)
    return Desk(db=db, code_version=code_version(), runs_kept=config.runs_kept, run_days_kept=config.run_days_kept)


@functools.cache
def worker() -> Worker:
    """Made by the first call, once per process."""
    config = ReplayWorkerConfig.from_environment()
    keys = desk_keys(config.desk_keys.get_secret_value())
    clock, verifier = clock_for(config), verifier_for(config)
    return Worker(desk=desk(config, 4), config=config, clock=clock, keys=keys, verifier=verifier, start_tasks=starter(config))


edge = http_edge(NAME, routes(worker))


@functions_framework.http
def replay_worker(request: Request) -> Response:
    """Entry point."""
    return edge(request)


def work_off() -> None:
    """Entry point of the Cloud Run job: walks waiting runs until there are none."""
    config = ReplayWorkerConfig.from_environment()
    work_off_runs(
        Task(
            desk=desk(config, 1),
            clock=clock_for(config),
            limits=config.limits(),
            lease_seconds=config.lease_seconds,
            page_rows=config.page_rows_max,
        )
    )
