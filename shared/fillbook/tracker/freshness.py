"""How old may what be: ages judged by the exchange's sessions, and the published day by the slot that was due last. Pure.

Sources: tracker.md 4.5 and 7; snapshot specification, 5.6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Final, cast

from fillbook.calendar import NEW_YORK, TradingCalendar
from fillbook.tracker.health_model import Age, SnapshotFreshness
from fillbook.tracker.wire import instants
from fillbook.values import frozen

DUE: Final[Mapping[str, time]] = {"premarket": time(9, 15), "intraday": time(12, 45), "final": time(16, 45)}
STAGES: Final = tuple(DUE)
STALE_AFTER: Final = timedelta(minutes=30)


@frozen
class Limit:
    """How old something may be: in seconds, within sessions alone or always, or in finished sessions; all None: any age."""

    late: int | None = None
    stale: int | None = None
    late_sessions: int | None = None
    stale_sessions: int | None = None
    within_sessions: bool = False


LIMITS: Final[Mapping[str, Limit]] = {
    "last_receipt": Limit(late=120, stale=600, within_sessions=True),
    "last_execution": Limit(),
    "newest_mark": Limit(late=900, stale=1_800, within_sessions=True),
    "outbox_oldest": Limit(late=120, stale=600),
    "last_delivery": Limit(),
    "last_audit": Limit(late_sessions=2, stale_sessions=3),
    "last_chain_anchor": Limit(late_sessions=2, stale_sessions=3),
}
"""A night's run may still be under way when one session has ended since the last."""
SESSIONS_COUNTED: Final = 5


def age(name: str, at: datetime | None, now: datetime, exchange: TradingCalendar) -> Age:
    """When something happened last, with its limits and what they say at ``now``."""
    limit = LIMITS[name]
    told = {
        **instants("", at),
        "state": _state(limit, at, now, exchange),
        "late_after_seconds": limit.late,
        "stale_after_seconds": limit.stale,
        "late_after_sessions": limit.late_sessions,
        "stale_after_sessions": limit.stale_sessions,
    }
    return cast("Age", told)


def _state(limit: Limit, at: datetime | None, now: datetime, exchange: TradingCalendar) -> str:
    if at is None:
        return "none"
    if limit.within_sessions and not exchange.is_regular(now):
        return "resting"
    if limit.late_sessions is not None and limit.stale_sessions is not None:
        behind = _sessions_since(at, now, exchange)
        return "stale" if behind >= limit.stale_sessions else "late" if behind >= limit.late_sessions else "ok"
    seconds = (now - at).total_seconds()
    if limit.stale is not None and seconds > limit.stale:
        return "stale"
    return "late" if limit.late is not None and seconds > limit.late else "ok"


def _sessions_since(at: datetime, now: datetime, exchange: TradingCalendar) -> int:
    """How many sessions have ended since, counted up to a few."""
    session, count = exchange.last_finished(now), 0
    while count < SESSIONS_COUNTED and session.close_at > at:
        count += 1
        session = exchange.previous_session(session.date)
    return count


def due(now: datetime, exchange: TradingCalendar) -> tuple[date, str, datetime, bool]:
    """The publication that was due last: of which day, as which stage, since when; and whether ``now``'s date has a session."""
    today = now.astimezone(NEW_YORK).date()
    session = exchange.session(today)
    reached = [] if session is None else [stage for stage in STAGES if _at(today, stage) <= now]
    day = today if reached else exchange.previous_session(today).date
    stage = reached[-1] if reached else "final"
    return day, stage, _at(day, stage), session is not None


def _at(day: date, stage: str) -> datetime:
    return datetime.combine(day, DUE[stage], NEW_YORK)


def snapshot(rows: Sequence[Mapping[str, Any]], now: datetime, exchange: TradingCalendar) -> SnapshotFreshness:
    """Whether the published day is as far as it should be; only the day that is due counts."""
    day, stage, due_at, is_session = due(now, exchange)
    own = next((row for row in rows if row["date"] == day), None)
    if own is not None and (own["stage"] is None or STAGES.index(own["stage"]) >= STAGES.index(stage)):
        state = "fresh" if is_session else "closed"
    else:
        state = "late" if now < due_at + STALE_AFTER else "stale"
    latest = rows[-1] if rows else None
    told = {
        "state": state,
        "due_date": day.isoformat(),
        "due_stage": stage,
        **instants("due", due_at),
        "latest_date": None if latest is None else latest["date"].isoformat(),
        "latest_stage": None if latest is None else latest["stage"],
        "latest_version": None if latest is None else latest["version"],
    }
    return cast("SnapshotFreshness", told)
