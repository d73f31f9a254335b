"""Check 22, the pure part: clock changes, half days, holidays and the year's end on hosts of odd time zones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest

from fillbook.calendar import bucket_5m, calendar
from fillbook.replay.buckets import replay_day
from fillbook.replay.model import SessionKind
from fillbook.runtime.errors import Rejected
from fillbook.snapshot import days

LATER = datetime(2027, 2, 1, tzinfo=UTC)
HOSTS = ("UTC", "Asia/Tokyo", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu", "America/New_York")

# session: open and close in UTC by hand, the buckets of its replay, hours of its window (days without session before it included)
SESSIONS = {
    date(2026, 3, 6): ("14:30", "21:00", 78, 24),  # the Friday before the clocks go forward
    date(2026, 3, 9): ("13:30", "20:00", 78, 71),
    date(2026, 10, 30): ("13:30", "20:00", 78, 24),  # the Friday before they go back
    date(2026, 11, 2): ("14:30", "21:00", 78, 73),
    date(2026, 11, 27): ("14:30", "18:00", 42, 48),  # half a day after Thanksgiving
    date(2026, 12, 24): ("14:30", "18:00", 42, 24),
    date(2026, 12, 31): ("14:30", "21:00", 78, 24),
    date(2027, 1, 4): ("14:30", "21:00", 78, 96),  # after New Year's Day, a Friday
}
TODAY = {  # an instant -> the day that it belongs to, and the phase of the market
    "2026-12-31T23:30": (date(2026, 12, 31), "post"),
    "2027-01-01T02:00": (date(2026, 12, 31), "closed"),  # already next year in UTC and Tokyo, still this one in New York
    "2027-01-01T05:00": (date(2027, 1, 4), "closed"),
    "2026-11-27T18:00": (date(2026, 11, 27), "post"),  # half a day is over
    "2026-11-27T17:59": (date(2026, 11, 27), "regular"),
    "2026-11-26T15:00": (date(2026, 11, 27), "closed"),
    "2026-03-08T07:30": (date(2026, 3, 9), "closed"),  # in the hour that there is not
    "2026-11-01T06:30": (date(2026, 11, 2), "closed"),  # in the hour that there is twice
    "2026-03-09T13:29": (date(2026, 3, 9), "pre"),
    "2026-03-09T13:30": (date(2026, 3, 9), "regular"),
    "2026-11-02T13:30": (date(2026, 11, 2), "pre"),
}


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> Iterator[None]:
    """A host of another time zone."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.usefixtures("host")
def test_check_22_odd_days_have_their_hours_buckets_and_windows_on_any_host() -> None:
    for day, (opens, closes, buckets, hours) in SESSIONS.items():
        session = calendar().session(day)
        assert session is not None
        assert (session.open_at, session.close_at) == (utc(f"{day}T{opens}"), utc(f"{day}T{closes}"))
        assert len(replay_day(day, SessionKind.REGULAR, LATER).buckets()) == buckets
        start, end = days.window(day)
        assert (end - start).total_seconds() == hours * 3600
        assert days.plan(day, LATER).valuation_at == session.close_at
    for day in (date(2026, 11, 26), date(2026, 12, 25), date(2027, 1, 1)):
        with pytest.raises(Rejected, match="no_session"):
            replay_day(day, SessionKind.REGULAR, LATER)


@pytest.mark.usefixtures("host")
def test_check_22_today_is_new_yorks_day_whatever_the_host_calls_it() -> None:
    for text, (day, phase) in TODAY.items():
        instant = utc(text)
        assert (calendar().trading_day(instant), calendar().phase(instant)) == (day, phase), text
        assert bucket_5m(instant).minute == instant.minute - instant.minute % 5
        start, end = days.window(day)
        assert start <= instant < end
