"""Jobs: work enqueued once per effective payload, claimed under a lease, ended exactly once by whoever still holds it.

At most one job of a key waits and at most one runs; a second request finds the one that waits, and while one runs another
may wait, because the fetch under way may be older than the fill. Waiting is desk time, leases are real time. Nothing here
knows what a job does (``handlers.py``). Source: ibkr.md 11.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from fillbook.ibkr import alerts, store
from fillbook.ibkr.payloads import Requested
from fillbook.outbox.model import Event, event_id
from fillbook.outbox.service import enqueue as enqueue_events
from fillbook.outbox.service import partitions_of
from fillbook.runtime.db import Call, Database, Tx
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

LEASE_SECONDS: Final = 330
ATTEMPTS_MAX: Final = 5
BACK_OFF: Final = timedelta(seconds=30)
BACK_OFF_MAX: Final = timedelta(minutes=15)
REAPED_MAX: Final = 20
RETRY_CONSTRAINTS: Final = frozenset({"jobs_one_queued", "jobs_one_running"})
LEASE_EXPIRED: Final = "lease_expired"
ERROR_CHARACTERS_MAX: Final = 200
_VERSION: Final = 1


@frozen
class Job:
    """A claimed job. ``payload`` is the effective one; ``attempts`` counts this one too; ``lease_token`` is what ends it."""

    job_id: str
    job_type: str
    payload: Mapping[str, Any]
    attempts: int
    deferrals: int
    requested_by: str
    lease_token: str
    created_at: datetime


@frozen
class Enqueued:
    """How a request was taken: a new job, or the one that waits already. ``partitions``: to relay after the commit."""

    job_id: str
    is_new: bool
    state: str
    not_before: datetime
    partitions: tuple[int, ...] = ()


@frozen
class Left:
    """How a job was left: ``state`` after it; ``is_held`` False: the lease was lost, nothing was written."""

    is_held: bool
    state: str
    partitions: tuple[int, ...] = ()


def enqueue(tx: Tx, requested: Requested, *, requested_by: str, now: datetime, not_before: datetime | None = None) -> Enqueued:
    """Enqueue in the caller's transaction, with the event ``sync_requested`` when the job is new."""
    document = {
        "id": uuid4(),
        "job_type": requested.job_type,
        "dedupe_key": requested.dedupe_key,
        "payload": requested.payload,
        "not_before": not_before or now,
        "requested_by": requested_by,
        "now": now,
    }
    (answer,) = tx.call(Call("ibkr.enqueue_job", document))
    events = [_requested(answer["id"], requested.job_type, now)] if answer["is_new"] else []
    enqueue_events(tx, events)
    return Enqueued(
        job_id=answer["id"],
        is_new=answer["is_new"],
        state=answer["state"],
        not_before=datetime.fromisoformat(answer["not_before"]),
        partitions=partitions_of(events),
    )


def enqueue_once(db: Database, requested: Requested, *, requested_by: str, now: datetime) -> Enqueued:
    """Enqueue in a transaction of its own."""
    return db.run(lambda tx: enqueue(tx, requested, requested_by=requested_by, now=now), retry_constraints=RETRY_CONSTRAINTS)


def claim(db: Database, now: datetime, *, job_id: str | None = None) -> Job | None:
    """Claim the job that is due longest, or the one named; None: there is none, or another holds it."""
    document = {"id": job_id, "token": uuid4(), "now": now, "lease_seconds": LEASE_SECONDS}
    (row,) = db.run(lambda tx: tx.call(Call("ibkr.claim_job", document)), retry_constraints=RETRY_CONSTRAINTS)
    return None if row is None else _job(row)


Following = Sequence[tuple[Requested, datetime]]
"""Jobs that come of another one, each with the instant before which it does not begin."""


def finish(db: Database, job: Job, now: datetime, follow: Following = ()) -> Left:
    """End a job that did what it was asked, and enqueue what follows, in one transaction."""
    return _run(db, lambda tx: _follow(tx, job, follow, now, _leave(tx, job, now, state="succeeded")))


def defer(
    db: Database, job: Job, until: datetime, reason: str, now: datetime, *, follow: Following = (), trouble: str | None = None
) -> Left:
    """Put a job back because the outside is not ready; it uses no attempt. ``trouble``: what is announced all the same."""

    def work(tx: Tx) -> Left:
        left = _leave(tx, job, now, state="queued", error=reason, not_before=until, is_deferral=True)
        if left.is_held and trouble is not None:
            cause = f"{job.job_id}:{job.deferrals}"
            events = alerts.fail_job(tx, job.job_type, trouble, cause=cause, failures=job.attempts, now=now)
            left = replace(left, partitions=partitions_of(events))
        return _follow(tx, job, follow, now, left)

    return _run(db, work)


def fail(
    db: Database,
    job: Job,
    error_class: str,
    now: datetime,
    *,
    is_final: bool,
    follow: Following = (),
    dice: random.Random | None = None,
) -> Left:
    """Put a job back after its back-off, or give it up and announce it: ``is_final``, or its attempts are used up."""

    def work(tx: Tx) -> Left:
        left = _failed(tx, job, error_class, now, is_final=is_final, dice=dice or random.Random())
        return _follow(tx, job, follow, now, left)

    return _run(db, work)


def reap(db: Database, now: datetime) -> tuple[int, tuple[int, ...]]:
    """Take back jobs whose lease ran out: their runs are abandoned, they wait again or are given up.

    Returns how many, and partitions to relay.
    """

    def work(tx: Tx) -> tuple[int, tuple[int, ...]]:
        rows = tx.query(store.QUERIES["expired_jobs"], rows_max=REAPED_MAX)
        partitions: set[int] = set()
        for row in rows:
            tx.send(Call("ibkr.abandon_runs", {"job_id": row["id"], "now": now}))
            job = _job(row)
            partitions.update(_failed(tx, job, LEASE_EXPIRED, now, is_final=False, dice=random.Random()).partitions)
        return len(rows), tuple(sorted(partitions))

    return db.run(work, retry_constraints=RETRY_CONSTRAINTS)


def give_up(db: Database, job_id: str, error_class: str, now: datetime) -> bool:
    """Fail a job that waits, as for a message nobody could deliver; True when it waited."""
    with db.transaction() as tx:
        return tx.execute(store.QUERIES["fail_waiting_job"], id=job_id, error=error_class, now=now) > 0


def find(db: Database, job_id: str) -> Mapping[str, Any]:
    """A job and its runs; raises ``Rejected('job_unknown')`` (404)."""
    try:
        known = str(UUID(job_id))
    except ValueError:
        raise Rejected("job_unknown", status=404) from None
    with db.transaction(read_only=True) as tx:
        rows = tx.query(store.QUERIES["one_job"], id=known)
    if not rows:
        raise Rejected("job_unknown", status=404)
    return rows[0]


def waits_until(db: Database, job_id: str) -> datetime | None:
    """When a job that waits may begin; None: it does not wait."""
    with db.transaction(read_only=True) as tx:
        rows = tx.query(store.QUERIES["job_state"], id=job_id)
    return rows[0]["not_before"] if rows and rows[0]["state"] == "queued" else None


def next_due(db: Database) -> datetime | None:
    """When the next waiting job may begin; None: none waits."""
    with db.transaction(read_only=True) as tx:
        at: datetime | None = tx.query(store.QUERIES["next_due"])[0]["not_before"]
        return at


def back_off(attempts: int, dice: random.Random) -> timedelta:
    """30 s, doubled by each attempt, at most 15 min; a fifth of it is chance, so that jobs that failed together part."""
    whole: timedelta = min(BACK_OFF * (1 << max(attempts - 1, 0)), BACK_OFF_MAX)
    return whole * (100 - dice.randint(0, 20)) // 100


def _failed(tx: Tx, job: Job, error_class: str, now: datetime, *, is_final: bool, dice: random.Random) -> Left:
    if not is_final and job.attempts < ATTEMPTS_MAX:
        return _leave(tx, job, now, state="queued", error=error_class, not_before=now + back_off(job.attempts, dice))
    left = _leave(tx, job, now, state="failed", error=error_class)
    if not left.is_held:
        return left
    events = alerts.fail_job(tx, job.job_type, error_class, cause=job.job_id, failures=job.attempts, now=now)
    return Left(is_held=True, state="failed", partitions=partitions_of(events))


def _leave(
    tx: Tx,
    job: Job,
    now: datetime,
    *,
    state: str,
    error: str | None = None,
    not_before: datetime | None = None,
    is_deferral: bool = False,
) -> Left:
    document = {
        "id": job.job_id,
        "token": job.lease_token,
        "state": state,
        "error": None if error is None else error[:ERROR_CHARACTERS_MAX],
        "not_before": not_before,
        "is_deferral": is_deferral,
        "now": now,
    }
    (answer,) = tx.call(Call("ibkr.leave_job", document))
    return Left(is_held=answer["held"], state="replaced" if answer["merged_into"] else state)


def _follow(tx: Tx, job: Job, follow: Following, now: datetime, left: Left) -> Left:
    if not left.is_held:
        return left
    queued = [enqueue(tx, one, requested_by=job.requested_by, now=now, not_before=at) for one, at in follow]
    return replace(left, partitions=tuple(sorted({*left.partitions, *(number for one in queued for number in one.partitions)})))


def _run(db: Database, work: Any) -> Left:
    left: Left = db.run(work, retry_constraints=RETRY_CONSTRAINTS)
    return left


def _job(row: Mapping[str, Any]) -> Job:
    created = row["created_at"]
    return Job(
        job_id=str(row["id"]),
        job_type=row["job_type"],
        payload=row["payload"],
        attempts=row["attempts"],
        deferrals=row["deferrals"],
        requested_by=row["requested_by"],
        lease_token=str(row["lease_token"]),
        created_at=created if isinstance(created, datetime) else datetime.fromisoformat(created),
    )


def _requested(job_id: str, job_type: str, now: datetime) -> Event:
    return Event(
        event_id=event_id(None, "sync_requested", job_id, _VERSION),
        event_type="sync_requested",
        aggregate_key=f"ibkr-jobs/{job_id}",
        aggregate_version=_VERSION,
        occurred_at=now,
        recorded_at=now,
        data={"job_id": job_id, "job_type": job_type},
    )
