"""The bench of snapshots runs: every part of it once, at a size that proves nothing about speed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import snapshot
from tests.bench.report import Stage
from tests.bench.snapshot_history import backfill, readers
from tests.bench.snapshot_ledger import refresh
from tests.bench.snapshot_place import Place, place, publisher, put
from tests.support.snapshot_shapes import SMALL, Shape


def test_every_part_of_the_bench_runs_and_its_gates_hold(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"WARM_UPS": 0, "GROWTH": (1, 2), "GROWTH_MINUTES": 9, "STORED_SERIES": (1, 2)}
    for name, value in small.items():
        monkeypatch.setattr(snapshot, name, value)
    stage = Stage(name="snapshot")
    with place(database_url, tmp_path) as where:
        snapshot.measure(stage, where, {"small": SMALL}, runs=1)
        history(stage, where)
    names = [figure.name for figure in stage.figures]
    for part in (
        "stored through the API",
        "store / four COPYs",
        "publish / classic job",
        "unchanged day",
        "cold: ours / classic",
    ):
        assert any(part in name for name in names), part
    for part in ("read back", "growth of publishing", "growth of storing", "backfill of 3 sessions", "reader: not modified"):
        assert any(part in name for name in names), part
    walls = [figure for figure in stage.figures if figure.unit in ("ms", "s", "sessions") and "processor" not in figure.name]
    assert all(figure.value > 0 for figure in walls)


def history(stage: Stage, where: Place) -> None:
    with publisher(where) as ground:
        put(ground.db, Shape(kpis=5, series=3, minutes=4, sided=2, ranks=2, assets=3), seed=9)
    backfill(stage, where, sessions=3)
    readers(stage, where, runs=2)


def test_the_refresh_is_measured_over_a_ledger_that_holds_the_day(database_url: str) -> None:
    stage = Stage(name="snapshot")
    refresh(stage, database_url, trades=30, runs=1, positions=4)
    assert [figure.unit for figure in stage.figures] == ["s", "s"]
