"""From counts to a month: each figure where it belongs, schedules from their cron lines, what was not counted left out."""

from __future__ import annotations

from decimal import Decimal

import pytest

from infra.cost import days, kept, prices
from infra.cost.model import DATABASE, MESSAGES, Measure
from infra.manifest import load

MANIFEST = load()
PRICES = prices.load()


def calls(requests: float, billed: float, *, sent: float = 0.0, received: float = 0.0) -> dict[str, float]:
    return {
        "requests": requests,
        "seconds": billed,
        "billed_seconds": billed,
        "bytes_in": received,
        "bytes_out": sent,
        "failed": 0.0,
    }


COUNTS = {
    "function signal_worker": {"starts": 2.0, "processor_seconds": 12.5, "log_bytes": 5_000.0, "peak_bytes": 6e7},
    "calls signal_worker push": calls(100, 4),
    "function outbox_relay": {"starts": 1.0, "processor_seconds": 1.0, "log_bytes": 1_000.0, "peak_bytes": 5e7},
    "calls outbox_relay schedule:outbox-relay": calls(10, 2),
    "calls signal_ingest http": calls(100, 3, sent=2_000, received=300_000),
    "calls account_sync http": calls(1, 5, sent=9_000),
    "topic signals": {"messages": 100.0, "bytes": 310_000.0},
    "subscription signals-signal_worker": {"pushes": 101.0, "bytes": 313_000.0},
    "job replay-worker-job": {"task_seconds": 8.0},
    "database": {"rows_written": 700.0, "rows_read": 900.0, "transactions": 250.0, "size_bytes": 1e6, "log_ahead_bytes": 4e6},
}


def test_each_count_of_a_day_is_used_by_whom_it_was_counted_of() -> None:
    used = days.day(COUNTS, MANIFEST)
    worker, memory = "signal_worker", Decimal(MANIFEST.functions["signal_worker"].memory_mb) / 1024
    assert used[worker, Measure.REQUESTS] == 100
    assert used[worker, Measure.VCPU_SECONDS] == 4
    assert used[worker, Measure.GIB_SECONDS] == 4 * memory
    assert used[worker, Measure.PROCESSOR_SECONDS] == Decimal("12.5")
    assert used[worker, Measure.LOG_BYTES] == 5_000
    assert used["outbox_relay", Measure.REQUESTS] == 10
    assert used[MESSAGES, Measure.MESSAGE_BYTES] == 623_000
    assert used["replay_worker", Measure.INSTANCE_VCPU_SECONDS] == 8
    assert used[DATABASE, Measure.ROWS_WRITTEN] == 700
    assert (DATABASE, Measure.PROCESSOR_SECONDS) not in used, "a server that is not ours tells no processor time"


def test_only_who_speaks_to_the_outside_sends_bytes_that_cost_and_the_door_is_guarded() -> None:
    used = days.day(COUNTS, MANIFEST)
    assert used["signal_ingest", Measure.EGRESS_BYTES] == 2_000
    assert used["signal_ingest", Measure.BALANCED_BYTES] == 302_000
    assert used["signal_ingest", Measure.ARMOR_REQUESTS] == 100
    assert ("account_sync", Measure.EGRESS_BYTES) not in used


@pytest.mark.parametrize(
    ("cron", "zone", "month"),
    [
        ("* * * * *", "Etc/UTC", 43_200),
        ("*/5 * * * *", "Etc/UTC", 8_640),
        ("30 17 * * *", "America/New_York", 30),
        ("45 17 * * 1-5", "America/New_York", Decimal(5) * 30 / 7),
    ],
)
def test_a_schedule_comes_as_often_as_its_cron_line_says(cron: str, zone: str, month: Decimal | int) -> None:
    assert days.slots(cron, zone) == month


def test_a_month_is_21_sessions_and_all_slots_of_the_schedules_that_a_call_was_measured_of() -> None:
    used, unknown = days.month_of(COUNTS, MANIFEST, PRICES)
    assert used["signal_worker", Measure.REQUESTS] == 2_100
    assert used["outbox_relay", Measure.REQUESTS] == 43_200
    assert used["outbox_relay", Measure.VCPU_SECONDS] == 43_200 * 2 / 10
    assert used["outbox_relay", Measure.LOG_BYTES] == 100 * 43_200
    assert "outbox-relay" not in unknown
    assert "mt5-sync" in unknown, "only a person called account_sync that day"


def test_an_idle_month_keeps_the_clockwork_and_what_stands_there() -> None:
    idle, _ = days.month_of(COUNTS, MANIFEST, PRICES, sessions=0)
    assert idle["signal_worker", Measure.REQUESTS] == 0
    assert idle["outbox_relay", Measure.REQUESTS] == 43_200
    assert idle["signal_ingest", Measure.READY_VCPU_SECONDS] == 30 * 86_400


def test_an_instance_in_work_is_not_paid_for_being_ready() -> None:
    busy, _ = days.month_of(COUNTS, MANIFEST, PRICES)
    assert busy["signal_ingest", Measure.READY_VCPU_SECONDS] == 30 * 86_400 - 21 * 3


def test_what_the_page_is_told_says_what_was_not_counted() -> None:
    counted = {name: counts for name, counts in COUNTS.items() if name not in ("database", "function outbox_relay")}
    told = kept.priced(
        {"day": "2026-02-03", "is_simulated": True, "counted_until": "2026-02-03T22:45:30+00:00", "counts": counted}
    )
    assert told["database"] is None
    rows = {row["function"]: row for row in told["functions"]}
    assert rows["outbox_relay"]["processor_seconds"] is None
    assert rows["signal_worker"]["requests"] == 100
    assert Decimal(told["month"]) > Decimal(told["idle_month"]) > 0
    assert sum(Decimal(line["net"]) for line in told["lines"]).quantize(Decimal("0.01")) == Decimal(told["month"]).quantize(
        Decimal("0.01")
    )
