"""discord_notifier: tells every execution once on Discord and proves it. Called by Pub/Sub, Scheduler and trade_tracker."""

import functools

import functions_framework
from flask import Request, Response

from fillbook.notify.config import NotifierConfig
from fillbook.notify.notifier import CONCURRENCY, NAME, Notifier, places
from fillbook.runtime.auth import OidcVerifier, verifier_for
from fillbook.runtime.clock import clock_for
from fillbook.runtime.db import Database
from fillbook.runtime.http import cron, http_edge, oidc, push


@functools.cache
def verifier() -> OidcVerifier:
    """Only the identities of pushes, schedules and the tracker may call."""
    return verifier_for(NotifierConfig.from_environment())


@functools.cache
def notifier() -> Notifier:
    """Made by the first call, once per process."""
    config = NotifierConfig.from_environment()
    db, discord = Database.open(config, application_name=NAME, pool_size=CONCURRENCY), config.discord()
    return Notifier(db, discord, clock_for(config), config.settings()).configure(discord.channels())


def check(request: Request) -> object:
    """Refuse whoever may not call."""
    return verifier().check(request)


edge = http_edge(
    NAME,
    {
        "POST /": push(lambda m: notifier().receive(m), verify=check, quarantine=lambda r: notifier().refuse(r)),
        "POST /dead": push(lambda m: notifier().bury(m), verify=check, quarantine=lambda r: notifier().refuse(r)),
        "POST /tick": cron(lambda call: notifier().tick(call), verify=check),
        "POST /reconcile": oidc(lambda request: notifier().ask_proof(request), verify=check),
    },
    places=places(),
)


@functions_framework.http
def discord_notifier(request: Request) -> Response:
    """Entry point."""
    return edge(request)
