"""Sessions, phases, trading days and buckets: the days on which desks get it wrong."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillbook.calendar import NEW_YORK, CalendarError, Session, TradingCalendar, bucket_5m, calendar, is_fx_week

XNYS = calendar()


def new_york(text: str) -> datetime:
    """A wall clock time in New York as an instant."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_an_ordinary_session_opens_at_half_past_nine_and_closes_at_four() -> None:
    session = XNYS.session(date(2026, 2, 3))
    assert session == Session(
        date=date(2026, 2, 3), open_at=utc("2026-02-03T14:30"), close_at=utc("2026-02-03T21:00"), is_half_day=False
    )


@pytest.mark.parametrize(
    "day",
    [
        date(2026, 1, 1),  # new year
        date(2026, 1, 19),  # Martin Luther King day
        date(2026, 4, 3),  # Good Friday
        date(2026, 6, 19),  # Juneteenth, a holiday since 2022
        date(2026, 7, 3),  # the fourth falls on a Saturday: its Friday
        date(2026, 11, 26),  # Thanksgiving
        date(2018, 12, 5),  # a president's funeral
        date(2025, 1, 9),  # another one
        date(2026, 2, 7),  # a Saturday
    ],
)
def test_a_closed_day_has_no_session(day: date) -> None:
    assert XNYS.session(day) is None
    assert XNYS.phase(datetime(day.year, day.month, day.day, 15, tzinfo=UTC)) == "closed"


@pytest.mark.parametrize("day", [date(2015, 11, 27), date(2026, 11, 27), date(2026, 12, 24), date(2028, 7, 3)])
def test_a_half_day_closes_at_one(day: date) -> None:
    session = XNYS.session(day)
    assert session is not None
    assert session.is_half_day
    assert session.close_at.astimezone(NEW_YORK).hour == 13


def test_june_nineteenth_was_an_ordinary_day_before_it_became_a_holiday() -> None:
    assert XNYS.session(date(2020, 6, 19)) is not None
    assert XNYS.session(date(2023, 6, 19)) is None


@pytest.mark.parametrize(
    ("at", "phase"),
    [
        ("2026-02-03T03:59:59", "closed"),
        ("2026-02-03T04:00:00", "pre"),
        ("2026-02-03T09:29:59.999999", "pre"),
        ("2026-02-03T09:30:00", "regular"),
        ("2026-02-03T15:59:59.999999", "regular"),
        ("2026-02-03T16:00:00", "post"),
        ("2026-02-03T19:59:59", "post"),
        ("2026-02-03T20:00:00", "closed"),
        ("2026-11-27T12:59:59", "regular"),
        ("2026-11-27T13:00:00", "post"),
        ("2026-11-27T17:00:00", "closed"),
    ],
)
def test_the_phase_follows_the_new_york_clock_and_the_close_is_outside(at: str, phase: str) -> None:
    assert XNYS.phase(new_york(at)) == phase
    assert XNYS.is_regular(new_york(at)) is (phase == "regular")


@pytest.mark.parametrize(
    ("day", "opens_utc"),
    [
        (date(2026, 3, 6), "14:30"),  # the Friday before the clock goes forward
        (date(2026, 3, 9), "13:30"),
        (date(2026, 10, 30), "13:30"),  # the Friday before it goes back
        (date(2026, 11, 2), "14:30"),
    ],
)
def test_the_open_moves_in_utc_when_the_clock_changes(day: date, opens_utc: str) -> None:
    session = XNYS.session(day)
    assert session is not None
    assert f"{session.open_at:%H:%M}" == opens_utc


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        (new_york("2026-02-03T00:00"), date(2026, 2, 3)),
        (new_york("2026-02-03T23:59:59"), date(2026, 2, 3)),  # 04:59 UTC of the next date
        (utc("2026-02-04T04:59"), date(2026, 2, 3)),
        (utc("2026-02-04T05:00"), date(2026, 2, 4)),
        (new_york("2026-02-07T12:00"), date(2026, 2, 9)),  # Saturday counts for Monday
        (new_york("2026-01-18T12:00"), date(2026, 1, 20)),  # Sunday before a holiday Monday
        (new_york("2026-12-31T23:00"), date(2026, 12, 31)),
        (utc("2027-01-01T12:00"), date(2027, 1, 4)),
    ],
)
def test_an_instant_belongs_to_its_new_york_date_or_the_next_session(instant: datetime, day: date) -> None:
    assert XNYS.trading_day(instant) == day


def test_neighbouring_sessions_skip_weekends_and_holidays() -> None:
    assert XNYS.next_session(date(2026, 1, 16)).date == date(2026, 1, 20)
    assert XNYS.previous_session(date(2026, 1, 20)).date == date(2026, 1, 16)
    assert XNYS.next_session(date(2026, 2, 7)).date == date(2026, 2, 9)
    assert XNYS.previous_session(date(2026, 2, 7)).date == date(2026, 2, 6)


@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2026-02-03T15:59:59", date(2026, 2, 2)),
        ("2026-02-03T16:00:00", date(2026, 2, 3)),
        ("2026-02-04T09:00:00", date(2026, 2, 3)),
        ("2026-02-08T12:00:00", date(2026, 2, 6)),
        ("2026-11-27T13:00:00", date(2026, 11, 27)),
    ],
)
def test_the_last_finished_session_is_the_one_whose_close_has_passed(now: str, day: date) -> None:
    assert XNYS.last_finished(new_york(now)).date == day


def test_sessions_of_a_range_include_both_ends() -> None:
    days = [session.date.day for session in XNYS.sessions(date(2026, 1, 16), date(2026, 1, 21))]
    assert days == [16, 20, 21]


@pytest.mark.parametrize("day", [date(2014, 12, 31), date(2031, 1, 1)])
def test_a_day_outside_the_table_is_refused_with_the_range(day: date) -> None:
    for question in (XNYS.session, XNYS.next_session, XNYS.previous_session):
        with pytest.raises(CalendarError, match="2015-01-01 to 2030-12-31"):
            question(day)
    with pytest.raises(CalendarError, match="2015-01-01 to 2030-12-31"):
        XNYS.trading_day(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))


def test_the_edges_of_the_table_have_no_neighbour_to_offer() -> None:
    assert XNYS.session(date(2015, 1, 2)) is not None
    with pytest.raises(CalendarError):
        XNYS.previous_session(date(2015, 1, 1))
    with pytest.raises(CalendarError):
        XNYS.next_session(date(2030, 12, 31))


def test_an_unknown_exchange_is_refused_and_a_path_is_no_exchange() -> None:
    for name in ("XLON", "../sessions/XNYS", ""):
        with pytest.raises(CalendarError, match="no session table"):
            calendar(name)


def test_a_naive_instant_is_refused() -> None:
    for question in (XNYS.phase, XNYS.trading_day, XNYS.last_finished, bucket_5m):
        with pytest.raises(ValueError, match="time zone"):
            question(datetime(2026, 2, 3, 12))  # noqa: DTZ001 - naive on purpose


def test_a_bucket_is_the_five_minutes_an_instant_lies_in() -> None:
    assert bucket_5m(utc("2026-02-03T14:34:59.999999")) == utc("2026-02-03T14:30")
    assert bucket_5m(utc("2026-02-03T14:35:00")) == utc("2026-02-03T14:35")
    assert bucket_5m(datetime(2026, 2, 3, 9, 33, tzinfo=timezone(timedelta(hours=-5)))) == utc("2026-02-03T14:30")


def test_each_calendar_is_read_once() -> None:
    assert calendar("XNYS") is XNYS


def test_a_table_of_another_exchange_is_read_by_the_same_code() -> None:
    small = TradingCalendar("XTST", "date,open_utc,close_utc,half_day\n2026-02-03,08:00,16:30,0\n2026-02-04,08:00,12:30,1\n")
    session = small.session(date(2026, 2, 4))
    assert session is not None
    assert session.is_half_day
    with pytest.raises(CalendarError, match="XTST knows sessions from 2026-01-01 to 2026-12-31"):
        small.next_session(date(2026, 2, 4))


INSTANTS = st.datetimes(datetime(2015, 1, 3), datetime(2030, 12, 20), timezones=st.just(UTC))  # noqa: DTZ001 - bounds


@given(INSTANTS)
def test_every_instant_belongs_to_exactly_one_session_not_before_its_own_date(instant: datetime) -> None:
    day = XNYS.trading_day(instant)
    local = instant.astimezone(ZoneInfo("America/New_York")).date()
    assert XNYS.session(day) is not None
    assert day >= local
    assert all(XNYS.session(local + timedelta(days=n)) is None for n in range((day - local).days))


@given(INSTANTS)
def test_a_finished_session_lies_behind_and_the_next_one_is_not_finished(instant: datetime) -> None:
    last = XNYS.last_finished(instant)
    assert last.close_at <= instant < XNYS.next_session(last.date).close_at


@given(INSTANTS)
def test_a_bucket_is_aligned_and_holds_its_instant(instant: datetime) -> None:
    start = bucket_5m(instant)
    assert start <= instant < start + timedelta(minutes=5)
    assert start.minute % 5 == start.second == start.microsecond == 0


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-03-06T16:59:59", True),
        ("2026-03-06T17:00", False),  # Friday
        ("2026-03-07T12:00", False),
        ("2026-03-08T16:59:59", False),  # the Sunday on which New York's clock changes
        ("2026-03-08T17:00", True),
        ("2026-03-09T00:00", True),
        ("2026-12-25T12:00", True),  # which hours a broker trades on a holiday is its own
    ],
)
def test_the_fx_week_goes_from_sunday_to_friday_by_the_clock_of_new_york(at: str, expected: bool) -> None:
    assert is_fx_week(new_york(at)) is is_fx_week(new_york(at).astimezone(UTC)) is expected
