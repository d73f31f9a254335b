"""Measures what a tick of MT5 accounts uses: a desk of its own, two fleets of different size, every account due in every tick.

The accounts are read in shards, as those of a large fleet are, from the stand-in at 100 ms a call, as in the benchmarks: how long
an instance is in work is mostly how long it waits for the service. A tick is measured after the first read, with nothing new at
the broker; what new deals cost is in infra/docs/benchmarks.md. No account is spared by a slower cadence, so that what is computed
from it is an upper bound.
"""

from __future__ import annotations

import json
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fillbook.mt5 import deskstore
from fillbook.mt5.worker import SCHEDULED_HEADER, SCHEDULER
from fillbook.runtime.sql import Statement
from infra.cost.days import Counts
from infra.local import plan
from infra.local.desk import LocalCloud
from infra.local.meter import Meter, risen

SYNC, SHARD = "account_sync", "account_sync_shard"
SIZES: Final = (100, 400)
TICKS: Final = 2
SEED: Final = 20260203
LATENCY_MS: Final = 100
STEP_SECONDS: Final = 300
RUN_SECONDS_MAX: Final = 600
SETTINGS: Final = {"MT5_INLINE_ACCOUNTS_MAX": "40", "MT5_SESSIONS_MAX": "100", "MT5_ADAPTIVE_ABOVE_ACCOUNTS": "100000"}
START: Final = datetime(2026, 2, 3, 21, 0, tzinfo=UTC)
RUNNING: Final = Statement(
    name="running",
    purpose="runs that are under way",
    text="select count(*) as count from mt5.sync_runs where status::text in ('running', 'deadline')",
)
RETIRE: Final = Statement(
    name="retire", purpose="follow no account any more", text="update mt5.trading_accounts set is_active = false"
)
NOTED: Final = Statement(
    name="noted",
    purpose="accounts that were read without fault since an instant",
    text="select count(distinct account_id) as count from mt5.sync_logs where status = 'success' and started_at >= :since",
)


class NotProven(RuntimeError):
    """A tick did not note every account; what it used proves nothing."""


def measure(tell: Callable[[str], None], sizes: tuple[int, int] = SIZES) -> dict[str, Any]:
    """Both fleets, one after the other; the document that is kept. Raises ``NotProven``, or what starting a desk raises."""
    with tempfile.TemporaryDirectory(prefix="fillbook-fleet-") as folder, _desk(Path(folder)) as cloud:
        cloud.control.pause_jobs()
        measured = {str(count): _ticks(cloud, count, tell) for count in sorted(sizes)}
    return {"measured_at": datetime.now(UTC).isoformat(), "latency_ms": LATENCY_MS, "ticks": TICKS, "sizes": measured}


def _desk(folder: Path) -> LocalCloud:
    return LocalCloud(folder, functions=[SYNC, SHARD], desk_start=START, overrides=SETTINGS)


def _ticks(cloud: LocalCloud, count: int, tell: Callable[[str], None]) -> Counts:
    """The counts of one tick of so many accounts, on the mean."""
    begun = time.monotonic()
    _link(cloud, count)
    _fake(cloud, "faults", {"fault": "latency", "ms": LATENCY_MS})
    _tick(cloud, count)
    tell(f"{count} accounts linked and read for the first time in {time.monotonic() - begun:.0f} s")
    meter = Meter(cloud)
    before = meter.counts()
    for _ in range(TICKS):
        _tick(cloud, count)
    used = risen(meter.counts(), before)
    tell(f"{count} accounts, {TICKS} ticks measured")
    return {what: {name: value / TICKS for name, value in found.items()} for what, found in used.items() if any(found.values())}


def _link(cloud: LocalCloud, count: int) -> None:
    _fake(cloud, "reset", {})
    _fake(cloud, "fleet", {"count": count, "seed": SEED, "servers": 3})
    with urllib.request.urlopen(f"{cloud.place.mt5_url}/_fake/accounts", timeout=60) as answer:  # noqa: S310 - our own loopback
        accounts = json.load(answer)
    now = cloud.clock.now()
    with cloud.database.transaction() as tx:
        tx.execute(RETIRE)
        for one in accounts:
            wanted = deskstore.Link(
                tenant_id=f"fleet{count}",
                server=one["server"],
                login=one["login"],
                broker_name="Fleet",
                instance_key="default",
                base_url=cloud.place.mt5_url,
                service_account_id=one["id"],
                backfill_target=None,
            )
            deskstore.link_account(tx, wanted, now)


def _tick(cloud: LocalCloud, count: int) -> None:
    """One slot of the schedule, to the end of its run."""
    cloud.clock.step(STEP_SECONDS)
    slot = cloud.clock.now()
    token = cloud.control.token(plan.email(cloud.manifest, SCHEDULER), plan.audience(cloud.manifest.functions[SYNC]))
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "User-Agent": "Google-Cloud-Scheduler",
        "X-CloudScheduler-JobName": "mt5-sync",
        SCHEDULED_HEADER: slot.isoformat(),
    }
    _post(f"{cloud.url(SYNC)}/mt5/sync", {"sync_type": "scheduled"}, headers)
    end = time.monotonic() + RUN_SECONDS_MAX
    while _number(cloud, RUNNING):
        if time.monotonic() > end:
            raise NotProven(f"a run of {count} accounts did not end within {RUN_SECONDS_MAX} s")
        time.sleep(0.1)
    noted = _number(cloud, NOTED, since=slot)
    if noted != count:
        raise NotProven(f"{noted} of {count} accounts were read")


def _number(cloud: LocalCloud, statement: Statement, **given: object) -> int:
    with cloud.database.transaction(read_only=True) as tx:
        return int(tx.query(statement, **given)[0]["count"])


def _fake(cloud: LocalCloud, path: str, body: Mapping[str, object]) -> None:
    _post(f"{cloud.place.mt5_url}/_fake/{path}", body, {"Content-Type": "application/json"})


def _post(url: str, body: Mapping[str, object], headers: Mapping[str, str]) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), dict(headers))  # noqa: S310 - our own loopback address
    with urllib.request.urlopen(request, timeout=RUN_SECONDS_MAX) as answer:  # noqa: S310
        answer.read()
