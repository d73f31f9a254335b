"""The gap report counts what is stored, in four statements, with the grants of a replay writer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from fillbook.replay import comparisonwire
from fillbook.replay.buckets import BUCKET_MS, replay_day
from fillbook.replay.gaps import document
from fillbook.replay.gapstore import gap_reports
from fillbook.replay.model import GapReport, Grade, Missing, Scope, SessionKind
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Conflict
from fillbook.signal.receipt import instant
from tests.support.replay_books import DAY, NOW
from tests.support.replay_desk import ReplayDesk

SESSION = replay_day(DAY, SessionKind.REGULAR, NOW)


def reports(open_database: Callable[..., Database], **scope: Any) -> tuple[GapReport, ...]:
    with open_database("replay_writer").transaction(read_only=True) as tx:
        return gap_reports(tx, Scope(**{"date_from": DAY, "date_to": DAY, **scope}), NOW)


# Scenario 28
def test_missing_buckets_absent_tickers_and_counts_come_from_what_is_stored(
    query: Callable[..., list[dict[str, Any]]], open_database: Callable[..., Database], desk: ReplayDesk
) -> None:
    gone = [instant(SESSION.start + number * BUCKET_MS) for number in (10, 11, 40)]
    for ticker, days, script, result in (
        ("ZZTA", (0,), "2.5.0", "decided"),
        ("ZZTB", (0,), "2.5.0", "stale"),
        ("ZZTC", (-1,), "2.5.0", "decided"),
        ("ZZTD", (-8,), "2.5.0", "decided"),
        ("ZZTE", (0,), "2.6.0", "late"),
    ):
        for day in days:
            query(
                "insert into signal.receipts (receipt_id, ticker, ts, received_at, recorded_at, payload_hash, script_version,"
                " payload, decision_input, repairs, processed_at, result)"
                " select gen_random_uuid(), :ticker, t, t, t, repeat('0', 64),"
                " :script, '{}', '', '{}', t, :result::signal.receipt_result"
                " from generate_series(:first::timestamptz, :last::timestamptz, '1 minute') as t",
                ticker=ticker,
                script=script,
                result=result,
                first=instant(SESSION.start) + timedelta(days=day),
                last=instant(SESSION.end - 1) + timedelta(days=day),
            )
        query("insert into signal.ticker_states (book_id, ticker, newest_ts) values ('live', :t, :ts)", t=ticker, ts=NOW)
    query("delete from signal.receipts where ticker = 'ZZTA' and bucket_5m = any(:gone::timestamptz[])", gone=gone)

    [found] = reports(open_database)
    tickers = {one.ticker: one for one in found.tickers}
    starts = [SESSION.start + number * BUCKET_MS for number in (10, 11, 40)]
    assert tickers["ZZTA"].missing == (Missing(first=starts[0], last=starts[1]), Missing(first=starts[2], last=starts[2]))
    assert tickers["ZZTB"].missing == ()
    assert tickers["ZZTC"].missing == (Missing(first=SESSION.first, last=SESSION.last),)
    assert found.unseen == ("ZZTC", "ZZTE")  # ZZTE sent another script's; ZZTD was silent for more than a week
    assert (found.minutes_present, found.minutes_expected, found.grade) == (765, 1560, Grade.GAP)
    assert found.by_script == {"2.5.0": 765, "2.6.0": 390}
    assert found.by_result == {"decided": 375, "late": 390, "stale": 390}

    [any_script] = reports(open_database, script_version="*")
    assert any_script.unseen == ("ZZTC",)
    [one] = reports(open_database, ticker="ZZTB")
    assert (one.grade, one.tickers_seen, one.unseen) == (Grade.COMPLETE, 1, ())
    told = comparisonwire.gaps(open_database("replay_writer"), {"date": DAY.isoformat(), "ticker": "zzta"}, NOW)
    assert (told["ok"], told["grade"], told["days"][0]["tickers"][0]["missing"]) == (
        True,
        "thin",
        [[starts[0], starts[1]], [starts[2], starts[2]]],
    )
    assert [day.date.day for day in reports(open_database, date_from=DAY - timedelta(days=4))] == [30, 2, 3]
    _a_run_notes_them(desk, found)


def _a_run_notes_them(desk: ReplayDesk, found: GapReport) -> None:
    """Refused where the day must be complete; else the run keeps the report."""
    with pytest.raises(Conflict, match="gaps"):
        desk.start(date=DAY.isoformat(), requireComplete=1)
    [run_id] = desk.start(date=DAY.isoformat())
    assert desk.shown(run_id)["gaps"] == document([found])
    assert desk.shown(run_id)["gaps"]["grade"] == "gap"
