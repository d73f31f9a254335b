"""Runs of the proof as stored: asked for, taken under a lease, continued by cursor, ended with a status and an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from fillbook.notify.judging import Finding
from fillbook.notify.model import Channel
from fillbook.notify.rows import instant_of
from fillbook.outbox.model import Event, derived_id
from fillbook.outbox.service import event_rows
from fillbook.runtime.db import Call, Database
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

LEASE_SECONDS = 60
RANGE_MAX = timedelta(days=31)
RUN_MAX = timedelta(hours=6)
REQUESTER_CHARACTERS_MAX = 64

PROVEN = "proven"
REPAIRED = "repaired"
OPEN = "open"
ABORTED = "aborted"
QUEUED = "queued"

MESSAGES = "messages"
COPIES = "copies"
MENDS = "mends"
REPAIRS = "repairs"

COUNTED = ("actions", "messages", "equal", "missing", "wrong", "double", "orphan", "unverifiable", "repaired")


@dataclass(slots=True, kw_only=True)
class Run:
    """One run being worked on; ``cursor_at`` and ``cursor_key`` belong to the phase."""

    run_id: UUID
    token: UUID
    channel_id: str
    since: datetime
    until: datetime
    is_repairing: bool
    started_at: datetime
    phase: str
    cursor_at: datetime | None
    cursor_key: str | None
    counts: dict[str, int]
    heads: list[Mapping[str, Any]] | None = None
    is_new: bool = False

    @property
    def found(self) -> int:
        """How many findings the run has."""
        return sum(self.counts[kind] for kind in ("missing", "wrong", "double", "orphan", "unverifiable"))

    def enter(self, phase: str) -> None:
        """Begin a phase with an empty cursor."""
        self.phase, self.cursor_at, self.cursor_key = phase, None, None


@frozen
class Progress:
    """What one step adds to a run: findings, ordinals seen repaired, subjects proven or not (their finding's words)."""

    findings: tuple[Finding, ...] = ()
    repaired: tuple[int, ...] = ()
    proven: Mapping[str, str | None] = field(default_factory=dict)
    status: str | None = None
    reason: str | None = None
    events: Sequence[Event] = ()


def ask(
    db: Database,
    *,
    since: datetime,
    until: datetime,
    repair: bool,
    requested_by: str,
    now: datetime,
    run_id: UUID | None = None,
) -> tuple[UUID, bool]:
    """Queue a run over what was executed or booked in ``since <= … < until``; return its id and whether it is new.

    Raises ``Rejected``: ``range_invalid`` (empty, or in the wrong order), ``range_too_long`` (above 31 days).
    """
    if since.tzinfo is None or until.tzinfo is None or since >= until:
        raise Rejected("range_invalid", "since must be before until, both with a zone", field="since")
    if until - since > RANGE_MAX:
        raise Rejected("range_too_long", "at most 31 days", field="until")
    chosen = run_id or uuid4()
    document = {
        "run_id": chosen,
        "channel_id": Channel.EXECUTIONS.value,
        "since": since,
        "until": until,
        "is_repairing": repair,
        "requested_by": requested_by[:REQUESTER_CHARACTERS_MAX],
        "now": now,
    }
    (answer,) = db.call(Call("notify.ask_run", document))
    return chosen, bool(answer["is_new"])


def take(db: Database, now: datetime, run_id: UUID | None = None) -> Run | None:
    """Take the run to work on, the one begun before any queued one; None when there is none or another works."""
    token = uuid4()
    (found,) = db.call(Call("notify.take_run", {"token": token, "lease_seconds": LEASE_SECONDS, "now": now, "run_id": run_id}))
    if found is None:
        return None
    started = instant_of(found["started_at"]) or now
    return Run(
        run_id=UUID(found["run_id"]),
        token=token,
        channel_id=found["channel_id"],
        since=instant_of(found["since"]) or now,
        until=instant_of(found["until"]) or now,
        is_repairing=found["is_repairing"],
        started_at=started,
        phase=found["phase"],
        cursor_at=instant_of(found["cursor_at"]),
        cursor_key=found["cursor_key"],
        counts={name: int(found["counts"].get(name, 0)) for name in COUNTED},
        is_new=not found["counts"],
    )


def record(db: Database, run: Run, now: datetime, progress: Progress) -> bool:
    """Write what a step added; False when the run's lease was lost and somebody else goes on with it."""
    document = {
        "run_id": run.run_id,
        "token": run.token,
        "lease_seconds": LEASE_SECONDS,
        "now": now,
        "phase": run.phase,
        "cursor_at": run.cursor_at,
        "cursor_key": run.cursor_key,
        "counts": run.counts,
        "heads": run.heads,
        "findings": [finding.document(run.channel_id, now) for finding in progress.findings],
        "repaired": [str(ordinal) for ordinal in progress.repaired],
        "proven": [
            {"channel_id": run.channel_id, "subject_key": key, "last_finding": words}
            for key, words in sorted(progress.proven.items())
        ],
        "status": progress.status,
        "reason": progress.reason,
        "events": event_rows(progress.events),
    }
    (answer,) = db.call(Call("notify.record_run", document))
    return bool(answer["held"])


def finished_event(run: Run, status: str, now: datetime) -> Event:
    """Return the event of a run with findings."""
    return Event(
        event_id=derived_id("event", None, "reconcile_finished", str(run.run_id), 1),
        event_type="reconcile_finished",
        aggregate_key=f"notify/reconcile/{run.run_id}",
        aggregate_version=1,
        occurred_at=now,
        recorded_at=now,
        data={
            "channel_id": run.channel_id,
            "run_id": str(run.run_id),
            "status": status,
            "since": run.since,
            "until": run.until,
            **run.counts,
        },
    )
