"""From the counts of a day to a usage, and from days to a month: pure.

An instance has ``VCPU`` processors, because one that serves several requests at once must have a whole one, and the memory of the
manifest. A service is billed while a request is in work (decision 0063), a task of a job from its start to its end, an instance
that is kept ready for the rest of its time at the lower price of readiness. A month has 30 days, of which 21 are sessions. What
comes because somebody trades is a session's; what the Scheduler calls is counted from the manifest's own cron lines, each call at
what a call took in the measured day, because a fast desk clock skips slots and an idle month has them all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from infra.cost.model import DATABASE, MESSAGES, Measure, Usage, added, times
from infra.cost.prices import PriceList
from infra.cost.standing import DAYS, MIB_OF_GIB, VCPU, standing
from infra.manifest import Function, Manifest

Counts = Mapping[str, Mapping[str, float]]

SESSIONS: Final = 21
SCHEDULE: Final = "schedule:"
DOOR: Final = "signal_ingest"
"""The function behind the load balancer."""
# a whole week without a change of clocks
COUNTED_FROM, COUNTED_DAYS = datetime(2026, 6, 1, tzinfo=UTC), 7
DATABASE_COUNTS: Final = {
    "rows_written": Measure.ROWS_WRITTEN,
    "rows_read": Measure.ROWS_READ,
    "transactions": Measure.TRANSACTIONS,
    "log_ahead_bytes": Measure.LOG_AHEAD_BYTES,
    "size_bytes": Measure.GROWTH_BYTES,
    "processor_seconds": Measure.PROCESSOR_SECONDS,
}


def exactly(value: float) -> Decimal:
    """A count as a decimal; counts are whole or have the microseconds of a clock."""
    return Decimal(repr(round(value, 6)))


def calls_of(counts: Counts, function: str) -> dict[str, Mapping[str, float]]:
    """Who called a function -> what was counted."""
    head = f"calls {function} "
    return {what.removeprefix(head): found for what, found in counts.items() if what.startswith(head)}


def asked(entry: Function, counts: Mapping[str, float], caller: str) -> dict[tuple[str, Measure], Decimal]:
    """What the calls of one caller use."""
    seconds = exactly(counts["billed_seconds"])
    usage = {
        (entry.name, Measure.REQUESTS): exactly(counts["requests"]),
        (entry.name, Measure.VCPU_SECONDS): seconds * VCPU,
        (entry.name, Measure.GIB_SECONDS): seconds * entry.memory_mb / MIB_OF_GIB,
    }
    if caller == "http" and any(route.caller not in ("oidc", "admin") for route in entry.routes):
        usage[entry.name, Measure.EGRESS_BYTES] = exactly(counts["bytes_out"])
        if entry.name == DOOR:
            usage[entry.name, Measure.ARMOR_REQUESTS] = exactly(counts["requests"])
            usage[entry.name, Measure.BALANCED_BYTES] = exactly(counts["bytes_in"] + counts["bytes_out"])
    return usage


def session(counts: Counts, manifest: Manifest) -> Usage:
    """What a day used because somebody traded or looked: everything but the calls of the Scheduler."""
    parts: list[Usage] = [_messages(counts), _database(counts)]
    for entry in manifest.functions.values():
        found = counts.get(f"function {entry.name}", {})
        if found:
            parts.append({(entry.name, Measure.PROCESSOR_SECONDS): exactly(found["processor_seconds"])})
            parts.append({(entry.name, Measure.SECRET_ACCESSES): exactly(found["starts"]) * len(entry.secrets)})
        parts += [asked(entry, one, who) for who, one in calls_of(counts, entry.name).items() if not who.startswith(SCHEDULE)]
        seconds = exactly(counts.get(f"job {entry.job_name}", {}).get("task_seconds", 0.0))
        if seconds:
            parts.append(
                {
                    (entry.name, Measure.INSTANCE_VCPU_SECONDS): seconds * VCPU,
                    (entry.name, Measure.INSTANCE_GIB_SECONDS): seconds * entry.memory_mb / MIB_OF_GIB,
                }
            )
    return added(*parts)


def day(counts: Counts, manifest: Manifest) -> Usage:
    """All that was counted in a day, as it ran here."""
    scheduled = [
        asked(entry, one, who)
        for entry in manifest.functions.values()
        for who, one in calls_of(counts, entry.name).items()
        if who.startswith(SCHEDULE)
    ]
    logs = {
        (entry.name, Measure.LOG_BYTES): exactly(counts[f"function {entry.name}"]["log_bytes"])
        for entry in manifest.functions.values()
        if f"function {entry.name}" in counts
    }
    return added(session(counts, manifest), *scheduled, logs)


def _messages(counts: Counts) -> Usage:
    sizes = [found["bytes"] for what, found in counts.items() if what.startswith(("topic ", "subscription "))]
    return {(MESSAGES, Measure.MESSAGE_BYTES): exactly(sum(sizes))} if sizes else {}


def _database(counts: Counts) -> Usage:
    found = counts.get("database", {})
    return {(DATABASE, measure): exactly(found[name]) for name, measure in DATABASE_COUNTS.items() if name in found}


# -- a month ----------------------------------------------------------------------------------------------------------------


@cache
def slots(cron: str, time_zone: str) -> Decimal:
    """How often a schedule comes in a month."""
    begin = COUNTED_FROM.astimezone(ZoneInfo(time_zone))
    end = begin + timedelta(days=COUNTED_DAYS)
    count = 0
    for slot in CronSim(cron, begin - timedelta(seconds=1)):
        if slot >= end:
            break
        count += 1
    return Decimal(count) * DAYS / COUNTED_DAYS


def clockwork(counts: Counts, manifest: Manifest, without: Sequence[str] = ()) -> tuple[Usage, list[str]]:
    """What a month of schedules uses, and the names of those that no call was measured of: unknown, and not in it.

    One that did not come up in the day is taken for what a scheduled call of its function took on the mean.
    """
    parts: list[Usage] = []
    unknown = []
    for one in manifest.schedules:
        if one.name in without:
            continue
        calls = {who: found for who, found in calls_of(counts, one.function).items() if who.startswith(SCHEDULE)}
        mine = [found for who, found in calls.items() if who == SCHEDULE + one.name] or list(calls.values())
        count = sum(found["requests"] for found in mine)
        if not count:
            unknown.append(one.name)
            continue
        each = added(*(asked(manifest.functions[one.function], found, SCHEDULE) for found in mine))
        parts.append(times(times(each, 1 / exactly(count)), slots(one.cron, one.time_zone)))
    return added(*parts), unknown


def logged(counts: Counts, manifest: Manifest, month: Usage) -> Usage:
    """Log bytes of a month: what a request wrote on the mean, for the requests of the month."""
    found: dict[tuple[str, Measure], Decimal] = {}
    for entry in manifest.functions.values():
        written = counts.get(f"function {entry.name}", {}).get("log_bytes")
        requests = sum(one["requests"] for one in calls_of(counts, entry.name).values())
        if written is not None and requests:
            found[entry.name, Measure.LOG_BYTES] = (
                exactly(written) / exactly(requests) * month.get((entry.name, Measure.REQUESTS), Decimal(0))
            )
    return found


def month_of(counts: Counts, manifest: Manifest, prices: PriceList, **more: Any) -> tuple[Usage, list[str]]:
    """A month of such days with everything that stands, and the schedules that are not in it.

    ``size`` of the database (default: the deployed one), ``further`` usage of the month, schedules it is ``without``,
    ``sessions`` (0: an idle month).
    """
    calls, unknown = clockwork(counts, manifest, more.get("without", ()))
    traded = times(session(counts, manifest), more.get("sessions", SESSIONS))
    used = added(traded, calls)
    used = added(used, logged(counts, manifest, used), more.get("further", {}))
    return added(used, standing(prices, used, more.get("size"))), unknown
