"""What the desk is told of publications: one event per day that was published, refused or failed, and of a day that is overdue.

An event is about one run's work on one day, so the same work is never told twice; the days' order is kept per date. Figures are
told as they were published. Source: snapshot specification, 4.10.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from fillbook.outbox.model import Event, event_id
from fillbook.snapshot.model import Snapshot, Status
from fillbook.snapshot.outcomes import DayResult, counts_document, problem_document

HEADLINE_KPIS: Final = ("Daily PnL", "Equity", "Win rate", "Open positions")
PROBLEMS_TOLD_MAX: Final = 5
READERS_CACHE: Final = timedelta(minutes=5)
"""How long an API may go on showing the former day after its database was written past it."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def ended(run_id: str, result: DayResult, snapshot: Snapshot | None, now: datetime) -> tuple[Event, ...]:
    """The event of a day's end, or none."""
    event_type = result.ending.event
    if event_type is None:
        return ()
    data: dict[str, Any] = {
        "run_id": run_id,
        "date": result.date.isoformat(),
        "stage": result.stage,
        "version": result.version,
        "status": result.status,
        "target": result.target,
        "counts": counts_document(result.counts),
        "content_sha256": result.content_sha256,
        "kpis": {} if snapshot is None else headline_kpis(snapshot),
        "readers_stale_until": now + READERS_CACHE if result.status is Status.PUBLISHED_FALLBACK else None,
    }
    if event_type != "snapshot_published":
        data |= {
            "reason": result.detail or result.status.value,
            "torn": result.is_torn,
            "guards": [f"{name}: {text}" for name, text in result.guards],
            "problems": [_sentence(problem_document(problem)) for problem in result.problems[:PROBLEMS_TOLD_MAX]],
            "problem_count": len(result.problems),
        }
    return (_event(event_type, run_id, result.date, data, now),)


def overdue(run_id: str, day: date, due_at: datetime, now: datetime) -> Event:
    """Nothing final is published of a day that is over."""
    data = {"run_id": run_id, "date": day.isoformat(), "expected": "final", "due_at": due_at}
    return _event("snapshot_overdue", run_id, day, data, now)


def headline_kpis(snapshot: Snapshot) -> Mapping[str, str]:
    """The figures that stand in a message, as they were published."""
    values = {row.kpi: row.value for row in snapshot.rows}
    return {name: values[name] for name in HEADLINE_KPIS if name in values}


def _event(event_type: str, run_id: str, day: date, data: Mapping[str, Any], now: datetime) -> Event:
    return Event(
        event_id=event_id(None, event_type, f"{day.isoformat()}/{run_id}", 1),
        event_type=event_type,
        aggregate_key=f"snapshot/{day.isoformat()}",
        aggregate_version=(now - _EPOCH) // timedelta(milliseconds=1),
        occurred_at=now,
        recorded_at=now,
        data=data,
    )


def _sentence(problem: Mapping[str, Any]) -> str:
    return f"{problem['path']}: {problem['message']}"
