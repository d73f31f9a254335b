"""Which days there are to publish, and every calendar fact that the views need of them: the views themselves have no clock.

A trading day is a New York date with a session (calendar XNYS). Its *window* begins at New York midnight after the previous
session and ends at midnight after its own, so weekends and holidays belong to the session that follows and each instant to
exactly one day. Pure: "now" is an argument. Every function raises ``CalendarError`` outside the session table.
Source: snapshot specification, 1 and 2.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from fillbook.calendar import NEW_YORK, Session, calendar
from fillbook.runtime.errors import Rejected
from fillbook.snapshot.model import WorkDay

STANDING_SESSIONS: Final = 5
"""Sessions before the current day that the work list always holds."""
BACKFILL_DAYS_MAX: Final = 31
"""Days a backfill adds to the work list at a time."""


def trading_day(instant: datetime) -> date:
    """The New York date of an aware instant if that is a session, else the next session's; never the UTC date."""
    return calendar().trading_day(instant)


def is_session(day: date) -> bool:
    """Whether anything is published for this date at all."""
    return calendar().session(day) is not None


def window(day: date) -> tuple[datetime, datetime]:
    """The UTC instants [start, end) that belong to a session; ``Rejected('no_session')`` for any other date."""
    session = _session(day)
    return _midnight(calendar().previous_session(session.date).date), _midnight(session.date)


def plan(day: date, now: datetime) -> WorkDay:
    """The row of the work list for a session, seen at ``now``.

    ``as_of`` = min(now, end of window), ``valuation_at`` = min(``as_of``, close). Raises ``Rejected``: ``no_session``,
    ``date_in_future`` for a day whose window has not begun.
    """
    session = _session(day)
    previous = calendar().previous_session(day)
    start, end = window(day)
    if now < start:
        raise Rejected("date_in_future", f"{day} begins at {start.isoformat()}", field="date")
    as_of = min(now.astimezone(UTC), end)
    return WorkDay(
        report_date=day,
        window_start=start,
        window_end=end,
        session_open=session.open_at,
        session_close=session.close_at,
        as_of=as_of,
        valuation_at=min(as_of, session.close_at),
        previous_date=previous.date,
        previous_close=previous.close_at,
    )


def standing(now: datetime) -> tuple[WorkDay, ...]:
    """What the work list always holds: the last five sessions and the current day, ascending."""
    found = [trading_day(now)]
    for _ in range(STANDING_SESSIONS):
        found.append(calendar().previous_session(found[-1]).date)
    return tuple(plan(day, now) for day in reversed(found))


def sessions(first: date, last: date) -> tuple[date, ...]:
    """The sessions of a range, both ends included, ascending: what a backfill publishes."""
    return tuple(session.date for session in calendar().sessions(first, last))


def blocks(days: Iterable[date]) -> tuple[tuple[date, ...], ...]:
    """Days in blocks that the work list takes at a time."""
    given = tuple(days)
    return tuple(given[start : start + BACKFILL_DAYS_MAX] for start in range(0, len(given), BACKFILL_DAYS_MAX))


def session_minutes(day: WorkDay) -> int:
    """Minutes of the day's session: 390, or 210 on a half day."""
    return (day.session_close - day.session_open) // timedelta(minutes=1)


def _session(day: date) -> Session:
    session = calendar().session(day)
    if session is None:
        raise Rejected("no_session", f"{day} is no trading day", field="date")
    return session


def _midnight(day: date) -> datetime:
    """The end of a New York date as a UTC instant; days of clock changes have 23 or 25 hours."""
    return datetime.combine(day + timedelta(days=1), time(), NEW_YORK).astimezone(UTC)
