"""What a call of the publisher asks for: days, a slot, forced guards. Wrong calls are refused here, before anything is done.

A call by the scheduler carries the instant it was due; whatever has none is a person's. Source: snapshot specification, 4.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from fillbook.calendar import NEW_YORK, CalendarError, TradingCalendar
from fillbook.runtime.errors import Rejected
from fillbook.snapshot.model import Guard, Slot
from fillbook.values import frozen

KEYS: Final = frozenset({"date", "from", "to", "slot", "force", "reason", "dry_run", "refresh", "verify"})
DAYS_MAX: Final = 400
REASON_CHARACTERS: Final = (5, 200)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Trigger(StrEnum):
    """Who asked."""

    CRON = "cron"
    MANUAL = "manual"
    BACKFILL = "backfill"


@frozen
class Asked:
    """A call that may be done. ``first`` = ``last`` but for a backfill; both are calendar dates in New York, session or not.

    ``scheduled_at``: when the scheduler's call was due. ``reason`` stands where something is forced.
    """

    trigger: Trigger
    first: date
    last: date
    actor: str
    slot: Slot | None = None
    scheduled_at: datetime | None = None
    force: tuple[Guard, ...] = ()
    reason: str | None = None
    dry_run: bool = False
    refresh: bool = True
    verify: bool = False


def asked(body: Mapping[str, Any], *, scheduled_at: datetime | None, actor: str, now: datetime) -> Asked:
    """Read a call; raises ``Rejected`` 400 with the name of the key at fault."""
    for name in body:
        if name not in KEYS:
            raise _refused("key_unknown", name if name.isidentifier() and len(name) <= 32 else None)
    slot = _slot(body.get("slot"))
    first, last, is_range = _span(body, scheduled_at or now)
    if is_range and (slot is not None or scheduled_at is not None):
        raise _refused("range_of_a_slot", "from")
    force = _force(body.get("force"))
    reason = _reason(body.get("reason"))
    if force and scheduled_at is not None:
        raise _refused("force_by_schedule", "force")
    if force and reason is None:
        raise _refused("force_without_reason", "reason")
    if slot is Slot.WATCH and (force or "dry_run" in body or "verify" in body):
        raise _refused("watch_publishes_nothing", "slot")
    return Asked(
        trigger=Trigger.BACKFILL if is_range else Trigger.MANUAL if scheduled_at is None else Trigger.CRON,
        first=first,
        last=last,
        actor=actor,
        slot=slot,
        scheduled_at=scheduled_at,
        force=force,
        reason=reason,
        dry_run=_flag(body, "dry_run", usual=False),
        refresh=_flag(body, "refresh", usual=True),
        verify=_flag(body, "verify", usual=False),
    )


def days_of(asked: Asked, calendar: TradingCalendar, now: datetime) -> tuple[date, ...]:
    """The sessions a call is about, in the order in which they are worked; none: that date is no session.

    The slot ``premarket`` begins with the session before. A date without session that is forced is the day its instants belong
    to: the next session. Raises ``Rejected``: ``date_unknown`` beyond the calendar's table, ``date_in_future`` for a window that
    has not begun.
    """
    try:
        if asked.trigger is Trigger.BACKFILL:
            days = tuple(session.date for session in calendar.sessions(asked.first, asked.last))
        elif calendar.session(asked.first) is not None:
            days = (asked.first,)
        elif Guard.NO_SESSION in asked.force:
            days = (calendar.next_session(asked.first).date,)
        else:
            return ()
        today = calendar.trading_day(now)
        if asked.slot is Slot.PREMARKET and days:
            days = (calendar.previous_session(days[0]).date, *days)
    except CalendarError:
        raise _refused("date_unknown", "date") from None
    if days and days[-1] > today:
        raise _refused("date_in_future", "date")
    return days


def _span(body: Mapping[str, Any], instant: datetime) -> tuple[date, date, bool]:
    """First and last date, and whether a range was asked for."""
    if "from" in body or "to" in body:
        if "date" in body:
            raise _refused("date_and_range", "date")
        first, last = _date(body.get("from"), "from"), _date(body.get("to"), "to")
        if first > last:
            raise _refused("range_backwards", "to")
        if (last - first) >= timedelta(days=DAYS_MAX):
            raise _refused("range_too_long", "to")
        return first, last, True
    day = _date(body["date"], "date") if "date" in body else instant.astimezone(NEW_YORK).date()
    return day, day, False


def _date(value: Any, name: str) -> date:
    if not isinstance(value, str) or _DATE.fullmatch(value) is None:
        raise _refused("bad_date", name)
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise _refused("bad_date", name) from None


def _slot(value: Any) -> Slot | None:
    if value is None:
        return None
    try:
        return Slot(value)
    except ValueError:
        raise _refused("slot_unknown", "slot") from None


def _force(value: Any) -> tuple[Guard, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _refused("force_unknown", "force")
    try:
        return tuple(dict.fromkeys(Guard(name) for name in value))
    except (ValueError, TypeError):
        raise _refused("force_unknown", "force") from None


def _reason(value: Any) -> str | None:
    if value is None:
        return None
    least, most = REASON_CHARACTERS
    if not isinstance(value, str) or not least <= len(value.strip()) <= most or not value.isprintable():
        raise _refused("bad_reason", "reason")
    return value.strip()


def _flag(body: Mapping[str, Any], name: str, *, usual: bool) -> bool:
    value = body.get(name, usual)
    if not isinstance(value, bool):
        raise _refused("bad_flag", name)
    return value


def _refused(reason: str, field: str | None) -> Rejected:
    return Rejected(reason, field=field)
