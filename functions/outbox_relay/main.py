"""outbox_relay: publishes, every minute, the events that no request managed to publish itself."""

import functools

import functions_framework
from flask import Request, Response

from fillbook.outbox.service import sweep
from fillbook.runtime.auth import verifier_for
from fillbook.runtime.clock import clock_for
from fillbook.runtime.config import DatabaseConfig, OidcConfig, PubSubConfig
from fillbook.runtime.db import Database
from fillbook.runtime.http import CronCall, cron_edge
from fillbook.runtime.pubsub import publisher_for


class OutboxRelayConfig(DatabaseConfig, OidcConfig, PubSubConfig):
    """What the function is told by its environment."""


@functools.cache
def config() -> OutboxRelayConfig:
    """Read once, by the first request."""
    return OutboxRelayConfig.from_environment()


@functools.cache
def database() -> Database:
    """One pool per process, as large as the function's concurrency."""
    return Database.open(config(), application_name="outbox_relay", pool_size=4)


publisher = functools.cache(lambda: publisher_for(config()))
verifier = functools.cache(lambda: verifier_for(config()))


def run(_: CronCall) -> dict[str, object]:
    """One sweep within the minute."""
    return sweep(database(), publisher(), now_from=clock_for(config())).document()


edge = cron_edge("outbox_relay", {"/": run}, verify=lambda request: verifier().check(request))


@functions_framework.http
def outbox_relay(request: Request) -> Response:
    """Entry point."""
    return edge(request)
