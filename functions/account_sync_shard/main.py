"""account_sync_shard: works parts of a run of account_sync. Called by Pub/Sub; as a job it works whatever is due."""

import functools

import functions_framework
from flask import Request, Response

from fillbook.mt5 import settings
from fillbook.mt5.grounds import Grounds
from fillbook.mt5.settings import AccountSyncShardConfig
from fillbook.mt5.worker import SHARD, grounds_for, shard_routes, work_task
from fillbook.runtime.auth import OidcVerifier, verifier_for
from fillbook.runtime.db import Database
from fillbook.runtime.http import http_edge


def database(config: settings.Mt5Config) -> Database:
    """One connection: a shard at a time, and its crew's own thread alone writes."""
    return Database.open(config, application_name=SHARD, pool_size=1)


@functools.cache
def verifier() -> OidcVerifier:
    """Only the identity of pushes may call."""
    return verifier_for(AccountSyncShardConfig.from_environment())


@functools.cache
def grounds() -> Grounds:
    """Made by the first call, once per process."""
    config = AccountSyncShardConfig.from_environment()
    return grounds_for(config, database(config), SHARD)


edge = http_edge(SHARD, shard_routes(grounds, lambda request: verifier().check(request)))


@functions_framework.http
def account_sync_shard(request: Request) -> Response:
    """Entry point."""
    return edge(request)


def work_off() -> None:
    """Entry point of the Cloud Run job: works this task's share until nothing is due."""
    config = settings.AccountSyncJobConfig.from_environment()
    work_task(config, database(config))
