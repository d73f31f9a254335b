"""What is counted and priced: measures with their units, and usage as counts by who used them.

A usage says who used how much of what. An owner is a function, or one of ``DATABASE``, ``MESSAGES`` and ``DESK`` (what stands
there whether or not anybody trades). A measure that was not counted is not there: unknown is never nought. Usages are added; what
was measured and what was computed from a measurement is told apart by the caller, who knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Final

DATABASE: Final = "database"
MESSAGES: Final = "pub/sub"
DESK: Final = "desk"


class Measure(StrEnum):
    """What a price list can name; the unit is the last part of the name. GiB and vCPU are those an instance has, used or not."""

    REQUESTS = "requests"
    VCPU_SECONDS = "vcpu_seconds"
    """Of instances while a request is in work: one instance with many requests counts once."""
    GIB_SECONDS = "gib_seconds"
    READY_VCPU_SECONDS = "ready_vcpu_seconds"
    """Of instances that are kept ready and have no request."""
    READY_GIB_SECONDS = "ready_gib_seconds"
    INSTANCE_VCPU_SECONDS = "instance_vcpu_seconds"
    """Of tasks of jobs, from start to end."""
    INSTANCE_GIB_SECONDS = "instance_gib_seconds"
    DATABASE_VCPU_HOURS = "database_vcpu_hours"
    DATABASE_GIB_HOURS = "database_gib_hours"
    DATABASE_STORAGE_GIB_MONTHS = "database_storage_gib_months"
    BACKUP_GIB_MONTHS = "backup_gib_months"
    MESSAGE_BYTES = "message_bytes"
    """Published and delivered, at least 1,000 a request."""
    SCHEDULER_JOBS = "scheduler_jobs"
    SECRET_VERSIONS = "secret_versions"  # noqa: S105 - a measure
    SECRET_ACCESSES = "secret_accesses"  # noqa: S105 - a measure
    LOG_BYTES = "log_bytes"
    ARTIFACT_GIB_MONTHS = "artifact_gib_months"
    EGRESS_BYTES = "egress_bytes"
    FORWARDING_RULE_HOURS = "forwarding_rule_hours"
    BALANCED_BYTES = "balanced_bytes"
    ARMOR_POLICIES = "armor_policies"
    ARMOR_RULES = "armor_rules"
    ARMOR_REQUESTS = "armor_requests"
    NAT_GATEWAY_HOURS = "nat_gateway_hours"
    ADDRESS_HOURS = "address_hours"
    D1_PLAN_MONTHS = "d1_plan_months"
    D1_ROWS_WRITTEN = "d1_rows_written"
    # counted and shown; on no price list, because an instance or a database is paid by its size
    PROCESSOR_SECONDS = "processor_seconds"
    ROWS_WRITTEN = "rows_written"
    ROWS_READ = "rows_read"
    TRANSACTIONS = "transactions"
    LOG_AHEAD_BYTES = "log_ahead_bytes"
    """Write-ahead log."""
    GROWTH_BYTES = "growth_bytes"
    """By how much the database became larger."""


UNPRICED: Final = frozenset(
    {
        *(Measure.PROCESSOR_SECONDS, Measure.ROWS_WRITTEN, Measure.ROWS_READ, Measure.TRANSACTIONS),
        *(Measure.LOG_AHEAD_BYTES, Measure.GROWTH_BYTES),
    }
)

Usage = Mapping[tuple[str, Measure], Decimal]
"""(owner, measure) -> how much. What was not counted is not there."""


def added(*usages: Usage) -> dict[tuple[str, Measure], Decimal]:
    """All of them together."""
    total: dict[tuple[str, Measure], Decimal] = {}
    for usage in usages:
        for key, quantity in usage.items():
            total[key] = total.get(key, Decimal(0)) + quantity
    return total


def times(usage: Usage, factor: Decimal | int) -> dict[tuple[str, Measure], Decimal]:
    """A usage so many times."""
    return {key: quantity * factor for key, quantity in usage.items()}


def owners(usages: Iterable[Usage]) -> list[str]:
    """Everybody who used something, in the order in which they come."""
    return list(dict.fromkeys(owner for usage in usages for owner, _ in usage))
