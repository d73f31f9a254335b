"""The pure parts of the figures: days, sums, ages, and the thinning of a curve."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.calendar import calendar
from fillbook.tracker import days, freshness, portfolio, results, sums
from fillbook.tracker.results import Cell

EXCHANGE = calendar()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "since", "until"),
    [
        ("2026-02-03", "2026-02-03T05:00", "2026-02-04T05:00"),
        ("2026-02-02", "2026-01-31T05:00", "2026-02-03T05:00"),  # the weekend is Monday's
        ("2026-03-09", "2026-03-07T05:00", "2026-03-10T04:00"),  # clocks went forward on Sunday
    ],
)
def test_a_days_window_begins_where_the_session_before_ended(day: str, since: str, until: str) -> None:
    assert days.window(date.fromisoformat(day), EXCHANGE) == (at(since), at(until))


def test_a_weekend_belongs_to_the_next_session_and_shows_the_last() -> None:
    assert days.trading_day(date(2026, 2, 7), EXCHANGE) == date(2026, 2, 9)
    assert days.current(at("2026-02-07T18:00"), EXCHANGE).date == date(2026, 2, 6)
    assert days.current(at("2026-02-09T13:00"), EXCHANGE).date == date(2026, 2, 9)


def test_what_is_unknown_makes_a_sum_unknown_and_a_rate_of_the_rest() -> None:
    won = Decimal(3)
    closed = Cell(exits=2, wins=1, pending=1, won=won, unknown_realized=1, best=won, worst=won)
    told = results.results("USD", results.added([closed, Cell(entries=1)]), trades=3)
    assert (told["realized_pnl"], told["expectancy"], told["win_rate_percent"], told["avg_win"], told["best"]) == (
        None, None, "100.00", "3", "3",
    )  # fmt: skip
    assert (told["open"], told["profit_factor"], told["fees"], told["gross_win"]) == (1, None, "0", "0")


def test_a_range_is_left_its_ends_and_the_dates_that_were_touched() -> None:
    since, until = at("2026-02-03T15:00"), at("2026-02-06T12:00")
    first, last = sums._whole(since, until)
    assert (first, last) == (date(2026, 2, 4), date(2026, 2, 5))
    assert sums._left(since, until, first, last, frozenset({date(2026, 2, 5), date(2026, 2, 9)})) == [
        (since, at("2026-02-04T05:00")), (at("2026-02-05T05:00"), at("2026-02-06T05:00")), (at("2026-02-06T05:00"), until),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "seen", "now", "state"),
    [
        ("last_receipt", None, "2026-02-03T15:00", "none"),
        ("last_receipt", "2026-02-03T14:59", "2026-02-03T15:00", "ok"),
        ("last_receipt", "2026-02-03T14:57", "2026-02-03T15:00", "late"),
        ("last_receipt", "2026-02-03T14:40", "2026-02-03T15:00", "stale"),
        ("last_receipt", "2026-02-03T14:40", "2026-02-03T22:00", "resting"),
        ("last_execution", "2025-02-03T14:40", "2026-02-03T15:00", "ok"),
        ("outbox_oldest", "2026-02-07T12:00", "2026-02-07T12:11", "stale"),
        ("last_audit", "2026-02-06T22:30", "2026-02-09T20:59", "ok"),  # Friday's night, before Monday's close
        ("last_audit", "2026-02-06T20:30", "2026-02-10T20:59", "late"),
        ("last_audit", "2026-02-05T22:30", "2026-02-10T21:01", "stale"),
    ],
)
def test_an_age_is_judged_by_sessions(name: str, seen: str | None, now: str, state: str) -> None:
    assert freshness.age(name, None if seen is None else at(seen), at(now), EXCHANGE)["state"] == state


@pytest.mark.parametrize(
    ("now", "stage", "state"),
    [
        ("2026-02-03T14:14", "final", "fresh"),  # 09:14 in New York: Monday's final is what is due
        ("2026-02-03T14:16", "final", "late"),
        ("2026-02-03T14:46", "final", "stale"),
        ("2026-02-08T12:00", None, "stale"),
    ],
)
def test_the_published_day_is_judged_by_the_slot_that_was_due_last(now: str, stage: str | None, state: str) -> None:
    rows: list[dict[str, Any]] = [] if stage is None else [{"date": date(2026, 2, 2), "stage": stage, "version": 1}]
    assert freshness.snapshot(rows, at(now), EXCHANGE)["state"] == state


def test_a_curve_is_thinned_to_points_of_its_own() -> None:
    start = at("2026-02-03T14:30")
    curve = [portfolio._point(start + timedelta(minutes=n), "USD", Decimal(n), 0, 0) for n in range(11)]
    assert [point["equity"] for point in portfolio._thinned(curve, 3)] == ["0", "5", "10"]
    assert [point["equity"] for point in portfolio._thinned(curve, 1)] == ["10"]
    assert portfolio._thinned(curve, 11) == curve
