"""account_sync: reads the linked MT5 accounts, all or one. Called by Scheduler, operators and trade_tracker."""

import functools

import functions_framework
from flask import Request, Response

from fillbook.mt5.grounds import Grounds
from fillbook.mt5.settings import AccountSyncConfig
from fillbook.mt5.worker import CONCURRENCY, SYNC, grounds_for, refusal, sync_handler, sync_routes
from fillbook.runtime.auth import OidcVerifier, verifier_for
from fillbook.runtime.db import Database
from fillbook.runtime.http import http_edge


@functools.cache
def verifier() -> OidcVerifier:
    """Only the identities of the scheduler, of operators and of the tracker may call."""
    return verifier_for(AccountSyncConfig.from_environment())


@functools.cache
def grounds() -> Grounds:
    """Made by the first call, once per process; a run uses one connection."""
    config = AccountSyncConfig.from_environment()
    return grounds_for(config, Database.open(config, application_name=SYNC, pool_size=CONCURRENCY), SYNC)


def check(request: Request) -> str:
    """The caller's e-mail, or a refusal."""
    return verifier().check(request)


edge = http_edge(SYNC, sync_routes(grounds, check), refuse=refusal, others={"POST": sync_handler(grounds, check)})


@functions_framework.http
def account_sync(request: Request) -> Response:
    """Entry point."""
    return edge(request)
