"""Whether the newest figures are as new as they should be by now, judged by the slot that was due last.

Pure. On a session three publications are due, in New York's time; a day without one is judged by the last session. Only the day
of the slot that is due counts: neither a rewrite of yesterday nor a backfill makes a missing today fresh. Source: snapshot
specification, 5.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from fillbook.calendar import NEW_YORK, Session, TradingCalendar
from fillbook.snapshot.model import Stage
from fillbook.snapshot.shown import instant_text
from fillbook.values import frozen

DUE: Final[Mapping[Stage, time]] = {Stage.PREMARKET: time(9, 15), Stage.INTRADAY: time(12, 45), Stage.FINAL: time(16, 45)}
STALE_AFTER: Final = timedelta(minutes=30)
_ORDER: Final = tuple(DUE)


@frozen
class Standing:
    """A stored day. ``stage`` is None where somebody else's sender said none."""

    date: date
    stage: Stage | None
    version: int
    updated_at: datetime


@frozen
class Expected:
    """The publication that was due last, of which session; ``is_session``: whether ``now`` itself lies on a session's date."""

    session: Session
    stage: Stage
    due_at: datetime
    is_session: bool


def expected(now: datetime, calendar: TradingCalendar) -> Expected:
    """What should be there at ``now``; raises ``CalendarError`` outside the years of the table."""
    today = now.astimezone(NEW_YORK).date()
    session = calendar.session(today)
    due = [] if session is None else [stage for stage in _ORDER if _due_at(today, stage) <= now]
    last = session if session is not None and due else calendar.previous_session(today)
    stage = due[-1] if due else Stage.FINAL
    return Expected(session=last, stage=stage, due_at=_due_at(last.date, stage), is_session=session is not None)


def judged(
    wanted: Expected, standing: Standing | None, latest: Standing | None, now: datetime, calendar: TradingCalendar
) -> dict[str, Any]:
    """The answer: ``standing`` is what is stored under the date of ``wanted``, ``latest`` the greatest date there is."""
    today = calendar.session(now.astimezone(NEW_YORK).date()) or wanted.session
    return {
        "status": _status(wanted, standing, now),
        "session": {
            "date": today.date,
            "open": instant_text(today.open_at),
            "close": instant_text(today.close_at),
            "half_day": today.is_half_day,
        },
        "expected": {"date": wanted.session.date, "stage": wanted.stage, "due_at": instant_text(wanted.due_at)},
        "latest": None
        if latest is None
        else {
            "date": latest.date,
            "stage": latest.stage,
            "version": latest.version,
            "updated_at": instant_text(latest.updated_at),
            "age_seconds": int((now - latest.updated_at).total_seconds()),
        },
        "now": instant_text(now),
    }


def _status(wanted: Expected, standing: Standing | None, now: datetime) -> str:
    if standing is not None and _reaches(standing, wanted):
        return "fresh" if wanted.is_session else "closed"
    return "late" if now < wanted.due_at + STALE_AFTER else "stale"


def _reaches(standing: Standing, wanted: Expected) -> bool:
    """Whether a stored day is as far as it should be; one without a stage is judged by the time of its data."""
    if standing.stage is not None:
        return _ORDER.index(standing.stage) >= _ORDER.index(wanted.stage)
    begins = {Stage.INTRADAY: wanted.session.open_at, Stage.FINAL: wanted.session.close_at}
    return wanted.stage not in begins or standing.updated_at >= begins[wanted.stage]


def _due_at(day: date, stage: Stage) -> datetime:
    return datetime.combine(day, DUE[stage], NEW_YORK)
