"""The verb tells a kept day, its month and a computed fleet, and says of each figure whether it was measured."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from infra.cost import verb
from infra.local import meter

CALLS = {"requests": 30.0, "seconds": 0.9, "billed_seconds": 0.6, "bytes_in": 90.0, "bytes_out": 60.0, "failed": 0.0}
COUNTS = {
    "function signal_worker": {"starts": 1.0, "processor_seconds": 1.25, "log_bytes": 4_000.0, "peak_bytes": 6e7},
    "calls signal_worker push": CALLS,
    "topic signals": {"messages": 30.0, "bytes": 93_000.0},
}
DAY = {"day": "2026-02-03", "is_simulated": True, "counted_until": "2026-02-03T22:45:30+00:00", "counts": COUNTS}


def tick(accounts: int, *, processor: float) -> dict[str, dict[str, float]]:
    """What a tick of so many accounts used: 10 ms in work and so much of Postgres for each."""
    calls = {"requests": 1 + accounts / 40, "seconds": accounts / 100, "billed_seconds": accounts / 100, "failed": 0.0}
    return {
        "calls account_sync_shard push": calls | {"bytes_in": 0.0, "bytes_out": 0.0},
        "database": {"processor_seconds": accounts * processor},
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder without a desk."""
    monkeypatch.setenv("FILLBOOK_HOME", str(tmp_path))
    (tmp_path / "usage").mkdir()
    return tmp_path / "usage"


def keep(home: Path, *, processor: float | None = None) -> None:
    meter.write(meter.kept_path(home, verb.date(2026, 2, 3)), DAY)
    if processor is not None:
        sizes = {str(count): tick(count, processor=processor) for count in (100, 400)}
        meter.write(home / verb.FLEET_FILE, {"sizes": sizes})


def test_without_a_counted_day_it_says_how_to_count_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verb.run(["--day"]) == 2
    keep(home)
    assert verb.run(["--day", "2026-02-04"]) == 2
    assert capsys.readouterr().err.splitlines() == [verb.NO_DAY] * 2


def test_a_day_is_told_by_function_and_what_was_not_counted_is_unknown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(home)
    assert verb.run([]) == 0
    told = capsys.readouterr().out
    assert "What 2026-02-03 used, as counted here (6.5 hours of session; its clock ran faster than the wall" in told
    row = next(line.split() for line in told.splitlines() if line.startswith("  signal_worker  "))
    assert row == ["signal_worker", "30", "0.6", "1.2", "57", "4.0", "0.1"]
    assert "  database    unknown here" in told
    assert "  dominates   Cloud SQL" in told
    assert "schedules that were not called that day, not in it: outbox-relay" in told
    assert verb.NO_FLEET in told


def test_a_fleet_is_computed_and_says_from_what(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(home, processor=0.003)
    assert verb.run([]) == 0
    told = capsys.readouterr().out
    assert "A tick of a fleet: measured with 100 and 400 accounts, computed for 10,000" in told
    assert "A month of this desk with 10,000 MT5 accounts, COMPUTED" in told
    assert verb.run(["--json", "--accounts", "10000"]) == 0
    small = json.loads(capsys.readouterr().out)
    assert (small["fleet"]["is_measured"], small["fleet"]["measured_accounts"]) == (False, [100, 400])
    # 100 s in work a tick, 288 ticks, 30 days; the database of the plan bears it
    work, free = Decimal(864_000 + 1) * Decimal("0.000024"), 180_000 * Decimal("0.000024")
    assert abs(Decimal(small["fleet"]["month"]) - Decimal(small["desk"]["month"]) - (work - free)) < Decimal("2.5")
    keep(home, processor=0.3)
    assert verb.run(["--json"]) == 0
    larger = json.loads(capsys.readouterr().out)
    assert Decimal(larger["fleet"]["month"]) > Decimal(small["fleet"]["month"]) + 1_000, (
        "10 busy processors want another database"
    )
