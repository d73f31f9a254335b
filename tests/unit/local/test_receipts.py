"""The generators of receipts: pure and labelled. What they make of the recorded points: unit/signal/core/test_local_trail."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from infra.local.demo_day import TICKERS, invented_day
from infra.local.receipts import INVENTED, PointsRefused, labelled, phase_zone, read_points
from infra.local.sender import encode_receipt

HEADER = "ticker,ts,ny_date,price,htf_score,ltf_score,completion,phase_pct,state,trigger_reason,active_flags"
OPENED_AT = datetime(2026, 2, 3, 14, 30, tzinfo=UTC)


def points(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "points.csv"
    path.write_text("\n".join((HEADER, *rows)) + "\n")
    return path


def row(
    ts: int, price: str, reason: str = "EMA_CROSS", state: str = "HTF_BULL_LTF_BULL", flags: str = "sq30_on|flip_watch"
) -> str:
    return f"ZZTA,{ts},2026-02-03,{price},27.4,13.6,0.1,0.3,{state},{reason},{flags}"


def test_a_cycle_is_anchored_at_its_first_point_and_ends_with_its_reason_or_side(tmp_path: Path) -> None:
    path = points(
        tmp_path,
        row(1770131700000, "100.00"),
        row(1770131760000, "101.00"),
        row(1770131820000, "102.00", reason="SQUEEZE_RELEASE"),
        row(1770131880000, "99.00", reason="SQUEEZE_RELEASE", state="HTF_BEAR_LTF_BEAR"),
    )
    first, second, third, fourth = labelled(read_points(path))
    assert first["trigger_price"] == second["trigger_price"] == Decimal("100.00")
    assert first["triggers"] == ["EMA_CROSS_BULL"]
    assert second["triggers"] == []
    assert first["sl"] == Decimal("97.00")
    assert first["tp_levels"][-1]["price"] == Decimal("106.00")
    assert third["trigger_price"] == Decimal("102.00")
    assert fourth["trigger_dir"] == "BEAR"
    assert fourth["sl"] == Decimal("101.97")


def test_every_invented_field_is_named_and_derived_flags_are_dropped(tmp_path: Path) -> None:
    (receipt,) = labelled(read_points(points(tmp_path, row(1770131700000, "100.00"))))
    assert receipt["generated"] == INVENTED
    assert set(INVENTED) <= set(receipt)
    assert receipt["flags"]["sq30_on"] is True
    assert "flip_watch" not in receipt["flags"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("ZZTA,1770131700000,2026-02-03,abc,1,1,0,0,HTF_BULL_LTF_BULL,EMA_CROSS,", "line 2"), ("ZZTA,x,d,1,1,1,0,0,S,E,", "line 2")],
)
def test_a_line_that_is_no_point_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(PointsRefused, match=reason):
        list(read_points(points(tmp_path, text)))


def test_a_file_without_the_columns_is_refused_with_their_names(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("ticker,ts\nZZTA,1\n")
    with pytest.raises(PointsRefused, match="htf_score"):
        list(read_points(path))


def test_phase_zones_begin_at_their_limits() -> None:
    limits = {"0.34": "LOW", "0.35": "MEDIUM", "0.69": "MEDIUM", "0.70": "HIGH", "0.89": "HIGH", "0.90": "EXTREME"}
    assert {text: phase_zone(Decimal(text)) for text in limits} == limits


def test_the_invented_day_is_the_same_every_time_and_differs_by_seed() -> None:
    def digest(seed: str) -> str:
        minutes = islice(invented_day(OPENED_AT, 390, tickers=3, seed=seed), 40)
        return hashlib.sha256(b"".join(encode_receipt(r) for minute in minutes for r in minute)).hexdigest()

    assert digest("a") == digest("a") != digest("b")


def test_the_invented_day_has_one_receipt_a_ticker_and_minute_with_prices_above_zero() -> None:
    assert [len(minute) for minute in islice(invented_day(OPENED_AT, 390), 20)] == [len(TICKERS)] * 20
    minutes = list(invented_day(OPENED_AT, 390, tickers=4))
    assert [len(minute) for minute in minutes] == [4] * 390
    assert all(receipt["price"] > 0 and receipt["sl"] > 0 for minute in minutes for receipt in minute)
    assert all("generated" in receipt for receipt in minutes[0])
