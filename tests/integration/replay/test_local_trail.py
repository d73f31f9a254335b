"""Recorded points, made whole by the labelled generator, replayed day by day under both profiles and compared.

The points are read in place and never copied; nothing of them appears here. One day of a few tickers by default; with
FILLBOOK_TRAIL=all every day and every ticker of the file.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from fillbook.calendar import calendar
from fillbook.replay.comparing import compare_runs
from fillbook.replay.model import Cause, RunStatus
from fillbook.signal.profile import load
from fillbook.signal.receipt import instant
from infra.local.receipts import labelled, read_points
from tests.support.replay_desk import LATER, ReplayDesk
from tests.support.signal_desk import Desk
from tests.support.signal_live import arrived

TRAIL = Path(__file__).resolve().parents[4] / "shared" / "data" / "signals" / "trail_tv_1min_2026-01-14_2026-02-03.csv.gz"
WHOLE = os.environ.get("FILLBOOK_TRAIL") == "all"
FEW = 5
PROFILES = ("tt-2026-02", "tt-2026-02-12")
Query = Callable[..., list[dict[str, Any]]]

pytestmark = [
    pytest.mark.local_data,
    pytest.mark.slow,
    pytest.mark.skipif(not TRAIL.is_file(), reason="the recorded points are not on this machine (../shared/data/signals)"),
]


def days() -> Iterator[tuple[date, list[dict[str, Any]]]]:
    """Trading days with their receipts; by default the last one, of the tickers with the most points."""
    found = [
        (day, list(documents))
        for day, documents in groupby(labelled(read_points(TRAIL)), lambda one: calendar().trading_day(instant(one["ts"])))
    ]
    if WHOLE:
        yield from found
        return
    day, documents = found[-1]
    most = {ticker for ticker, _ in Counter(one["ticker"] for one in documents).most_common(FEW)}
    yield day, [one for one in documents if one["ticker"] in most]


def test_recorded_days_are_replayed_as_the_plain_desk_decides_them_and_both_profiles_are_told_apart(
    desk: ReplayDesk, query: Query
) -> None:
    differences: Counter[str] = Counter()
    for day, documents in days():
        desk.keep(documents)
        runs = [told(desk, query, day, documents, profile) for profile in PROFILES]
        found = compare_runs(desk.db, *runs, now=LATER)
        assert found.totals_a.decided == found.totals_b.decided == len(documents)
        assert {one.cause for one in found.divergences} <= {Cause.CONFIG, Cause.FACTS}
        assert all(one.rule is not None for one in found.divergences if one.cause is Cause.CONFIG and one.field != "quantity")
        differences.update(f"{one.cause} {one.rule} {(one.detail or {}).get('key')}" for one in found.divergences)
    assert differences
    print("\n".join(f"{count:6} {words}" for words, count in differences.most_common()))  # noqa: T201 -- shown with -s


def told(desk: ReplayDesk, query: Query, day: date, documents: list[dict[str, Any]], profile: str) -> str:
    """A run of the day is what the plain desk in memory decides of it, receipt by receipt and fill by fill; the run's id."""
    answers = desk.day(date=day.isoformat(), session="all", profile=profile, after="", limit=2_000)
    run = answers[-1].run
    assert run.status is RunStatus.DONE
    oracle = Desk(load(profile))
    for document in documents:
        oracle.take(arrived(document).receipt)
    decided = query(
        "select ticker, ts, lane::text as lane, computed_lane::text as computed_lane, reason from signal.decisions"
        " where book_id = :book order by ts, ticker",
        book=run.book_id,
    )
    assert [(row["ticker"], row["lane"], row["computed_lane"], row["reason"]) for row in decided] == [
        (one.ticker, one.lane, one.computed_lane, one.reason)
        for one in sorted(oracle.decisions, key=lambda one: (one.ts, one.ticker))
    ]
    booked = query(
        "select ticker, action_type::text as action_type, quantity, price from ledger.v_actions where book_id = :book"
        " order by executed_at, ticker, venue_order",
        book=run.book_id,
    )
    assert [tuple(row.values()) for row in booked] == [
        (fill.ticker, fill.action_type, fill.quantity, fill.price)
        for fill in sorted(oracle.fills, key=lambda fill: (fill.ts, fill.ticker))
    ]
    return run.run_id
