"""What a service instance says of itself, asked once per run and part before any of its accounts is.

An instance that is left alone by its breaker is not asked. One that says it is unhealthy, or answers 503, has its accounts
skipped. Whatever else goes wrong with the question (no answer, a refused key) is left to the accounts: they are tried, count as
failed, and the breaker ends it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from fillbook.mt5.breaker import Leave, Row, Rules, leave
from fillbook.mt5.model import Health, Instance, ServiceFailure
from fillbook.mt5.sources import ReadsHealth
from fillbook.mt5.words import Code, ContractKind, HealthStatus
from fillbook.values import frozen


class Standing(StrEnum):
    """What follows for an instance's accounts. ``unasked``: its breaker is open, or the question brought nothing."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNASKED = "unasked"


@frozen
class Found:
    """An instance's standing; ``health`` None: it did not say. ``code`` of a question that failed."""

    standing: Standing
    health: Health | None = None
    code: Code | None = None

    def contract(self, instance: Instance) -> ContractKind:
        """The language that is spoken, as far as it is known."""
        return instance.contract if self.health is None else self.health.contract

    def sessions(self, instance: Instance) -> int:
        """How many accounts may be in flight: what is set, or less where the instance says so."""
        told = None if self.health is None else self.health.sessions
        return instance.sessions_max if told is None else max(min(instance.sessions_max, told), 1)


_STANDINGS = {
    HealthStatus.HEALTHY: Standing.HEALTHY,
    HealthStatus.DEGRADED: Standing.DEGRADED,
    HealthStatus.UNHEALTHY: Standing.UNHEALTHY,
}


def ask_once(service: ReadsHealth, instance: Instance, row: Row, *, rules: Rules, now: datetime, deadline: float) -> Found:
    """Ask an instance how it is, until ``deadline`` (monotonic); never raises a failure of the service."""
    if leave(row, now, rules) is Leave.SKIP:
        return Found(standing=Standing.UNASKED, code=Code.BREAKER_OPEN)
    try:
        health = service.health(instance, deadline=deadline)
    except ServiceFailure as error:
        code = error.failure.code
        standing = Standing.UNHEALTHY if code is Code.SERVICE_UNAVAILABLE else Standing.UNASKED
        return Found(standing=standing, code=code)
    return Found(standing=_STANDINGS[health.status], health=health)
