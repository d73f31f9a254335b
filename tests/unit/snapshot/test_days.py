"""Days of a snapshot: which date an instant belongs to, its window across clock changes, and how far a day is."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from fillbook.runtime.errors import Rejected
from fillbook.snapshot import days
from fillbook.snapshot.model import Stage

NEW_YORK = ZoneInfo("America/New_York")


def ny(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("2026-02-11T21:30", date(2026, 2, 11)),
        ("2026-02-11T00:00", date(2026, 2, 11)),
        ("2026-02-14T12:00", date(2026, 2, 17)),  # a Saturday before a holiday on Monday
        ("2026-07-03T10:00", date(2026, 7, 6)),
        ("2026-11-26T09:00", date(2026, 11, 27)),
    ],
)
def test_an_instant_belongs_to_its_new_york_date_or_the_next_session(instant: str, expected: date) -> None:
    assert days.trading_day(ny(instant).astimezone(UTC)) == expected
    start, end = days.window(expected)
    assert start <= ny(instant) < end


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        (date(2026, 2, 11), 24),
        (date(2026, 3, 9), 24 * 3 - 1),  # Monday after the clocks went forward: Saturday, Sunday of 23 hours, Monday
        (date(2026, 11, 2), 24 * 3 + 1),
        (date(2026, 2, 17), 24 * 4),
        (date(2026, 11, 27), 24 * 2),
    ],
)
def test_windows_have_no_gap_and_no_overlap_whatever_the_clock_does(day: date, hours: int) -> None:
    start, end = days.window(day)
    assert end - start == timedelta(hours=hours)
    assert start == days.window(days.plan(day, end).previous_date)[1]
    assert start.astimezone(NEW_YORK).hour == end.astimezone(NEW_YORK).hour == 0


@pytest.mark.parametrize("day", [date(2026, 2, 11), date(2026, 7, 15), date(2026, 3, 9), date(2026, 11, 2)])
@pytest.mark.parametrize(
    ("clock", "stage"), [("09:00", Stage.PREMARKET), ("09:30", Stage.INTRADAY), ("12:30", Stage.INTRADAY), ("16:30", Stage.FINAL)]
)
def test_the_same_local_slots_have_the_same_stage_in_every_season(day: date, clock: str, stage: Stage) -> None:
    planned = days.plan(day, ny(f"{day}T{clock}"))
    assert planned.stage is stage
    assert planned.as_of == ny(f"{day}T{clock}")
    assert planned.valuation_at == min(planned.as_of, ny(f"{day}T16:00"))
    assert planned.as_of.utcoffset() == timedelta(0)


def test_a_half_day_is_valued_at_its_own_close() -> None:
    day = date(2026, 11, 27)
    noon, evening = days.plan(day, ny("2026-11-27T12:30")), days.plan(day, ny("2026-11-27T16:30"))
    assert (noon.stage, evening.stage) == (Stage.INTRADAY, Stage.FINAL)
    assert evening.valuation_at == ny("2026-11-27T13:00")
    assert days.session_minutes(evening) == 210
    assert days.session_minutes(days.plan(date(2026, 2, 11), ny("2026-02-11T12:00"))) == 390


def test_a_day_that_is_over_is_seen_from_its_end_and_knows_the_session_before() -> None:
    planned = days.plan(date(2026, 2, 17), ny("2026-05-01T12:00"))
    assert planned.as_of == planned.window_end == ny("2026-02-18T00:00")
    assert (planned.previous_date, planned.previous_close) == (date(2026, 2, 13), ny("2026-02-13T16:00"))


@pytest.mark.parametrize(
    ("day", "reason"),
    [(date(2026, 2, 14), "no_session"), (date(2026, 2, 16), "no_session"), (date(2026, 2, 12), "date_in_future")],
)
def test_a_day_without_session_or_not_begun_is_refused(day: date, reason: str) -> None:
    with pytest.raises(Rejected) as refused:
        days.plan(day, ny("2026-02-11T23:59"))
    assert refused.value.reason == reason
    assert days.is_session(day) is (reason != "no_session")


def test_the_work_list_always_holds_the_current_day_and_five_sessions_before() -> None:
    found = days.standing(ny("2026-02-21T12:00"))  # a Saturday belongs to Monday
    assert [day.report_date.isoformat() for day in found] == [
        "2026-02-13", "2026-02-17", "2026-02-18", "2026-02-19", "2026-02-20", "2026-02-23",
    ]  # fmt: skip
    assert [day.stage for day in found] == [Stage.FINAL] * 5 + [Stage.PREMARKET]


def test_a_backfill_comes_in_blocks_of_thirty_one_sessions() -> None:
    wanted = days.sessions(date(2026, 1, 1), date(2026, 3, 31))
    assert (len(wanted), wanted[0]) == (61, date(2026, 1, 2))
    assert [len(block) for block in days.blocks(wanted)] == [31, 30]
    assert sum(days.blocks(wanted), ()) == wanted
