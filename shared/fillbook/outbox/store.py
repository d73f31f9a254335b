"""The outbox's statements as Python: one round trip per relay step, documents in and out (migration 0002_outbox.sql)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from fillbook.runtime.db import Call, Database, Tx
from fillbook.runtime.sql import load_queries
from fillbook.values import frozen

LEASE_SECONDS = 30
PARTITIONS_MAX = 8
ROWS_MAX = 100
PURGE_ROWS_MAX = 5_000
LIST_ROWS_MAX = 1_000

_QUERIES = load_queries("fillbook.outbox")


@frozen
class Row:
    """One due event as the relay reads it; ``payload`` is the envelope as it goes out."""

    id: int
    event_id: str
    event_type: str
    schema_version: int
    aggregate_key: str
    aggregate_version: str
    partition_no: int
    topic: str
    payload: str
    traceparent: str | None
    attempts: int


@frozen
class Claimed:
    """Partitions leased by ``token`` with their due rows; ``busy`` wanted partitions with due rows belong to another relay."""

    token: UUID
    rows: tuple[Row, ...]
    partitions: tuple[int, ...]
    busy: int


@frozen
class Published:
    """Pub/Sub has taken the row."""

    id: int
    message_id: str


@frozen
class Failed:
    """The row could not be published now; its aggregate waits."""

    id: int
    error: str


@frozen
class Parked:
    """The row was refused for good; its aggregate moves on without it."""

    id: int
    error: str


Outcome = Published | Failed | Parked


@frozen
class Backlog:
    """What stands still: due and parked rows, age in desk seconds of the oldest unpublished one (0 when none)."""

    depth: int
    parked: int
    oldest_unpublished_seconds: float


def claim(db: Database, token: UUID, now: datetime, *, partitions: Sequence[int] | None) -> Claimed:
    """Lease ≤ 8 free partitions with due rows (of ``partitions``, or of all) and read ≤ 100 rows of each."""
    (answer,) = db.call(claim_call(token, now, partitions=partitions))
    return claimed_of(token, answer)


def claim_call(token: UUID, now: datetime, *, partitions: Sequence[int] | None) -> Call:
    """Return the claim as a call that never waits: a writer sends it with its commit, so that the lease begins with the data."""
    document = {
        "token": token,
        "now": now,
        "lease_seconds": LEASE_SECONDS,
        "partitions_max": PARTITIONS_MAX,
        "rows_max": ROWS_MAX,
        "partitions": None if partitions is None else list(partitions),
    }
    return Call("outbox.claim", document)


def claimed_of(token: UUID, answer: Mapping[str, Any]) -> Claimed:
    """Read the answer of ``claim_call``."""
    return Claimed(token=token, rows=_rows(answer["rows"]), partitions=tuple(answer["partitions"]), busy=answer["busy"])


def finish(db: Database, token: UUID, now: datetime, outcomes: Sequence[Outcome], step: str) -> tuple[int, tuple[Row, ...]]:
    """Record ``outcomes``, then ``extend`` the lease, ``read`` on, or ``release``.

    Returns how many partitions are still held and, for ``read``, the next rows.
    """
    document = {
        "token": token,
        "now": now,
        "lease_seconds": LEASE_SECONDS,
        "rows_max": ROWS_MAX,
        "step": step,
        "published": [{"id": one.id, "message_id": one.message_id} for one in outcomes if isinstance(one, Published)],
        "failed": [{"id": one.id, "error": one.error} for one in outcomes if isinstance(one, Failed)],
        "parked": [{"id": one.id, "error": one.error} for one in outcomes if isinstance(one, Parked)],
    }
    (answer,) = db.call(Call("outbox.finish", document))
    return answer["held"], _rows(answer["rows"])


def purge(db: Database, now: datetime) -> tuple[int, int]:
    """Delete ≤ 5,000 events published over 7 days ago and ≤ 5,000 inbox rows over 45 days old; return both counts."""
    (answer,) = db.call(Call("outbox.purge", {"now": now, "rows_max": PURGE_ROWS_MAX}))
    return answer["events"], answer["inbox"]


def backlog(tx: Tx, now: datetime) -> Backlog:
    """Return depth and age over all topics."""
    rows = tx.query(_QUERIES["backlog"])
    ages = [(now - row["oldest_unpublished_at"]).total_seconds() for row in rows if row["oldest_unpublished_at"] is not None]
    return Backlog(
        depth=sum(row["due"] for row in rows),
        parked=sum(row["parked"] for row in rows),
        oldest_unpublished_seconds=max([0.0, *ages]),
    )


def parked(tx: Tx, *, topic: str | None = None, reason: str | None = None) -> list[dict[str, Any]]:
    """Return parked events, newest first, at most 1,000."""
    return tx.query(_QUERIES["parked"], topic=topic, reason=reason, rows_max=LIST_ROWS_MAX)


def retry(tx: Tx, now: datetime, *, event_id: UUID | None = None, reason: str | None = None) -> int:
    """Put parked events back in line: one by id, those of one reason, or all; return how many."""
    return tx.execute(_QUERIES["retry"], now=now, event_id=event_id, reason=reason)


def quarantined(tx: Tx, *, consumer: str | None = None, with_resolved: bool = False) -> list[dict[str, Any]]:
    """Return quarantined messages, latest first, at most 1,000."""
    return tx.query(_QUERIES["quarantined"], consumer=consumer, with_resolved=with_resolved, rows_max=LIST_ROWS_MAX)


def resolve(tx: Tx, now: datetime, *, consumer: str, body_hash: str) -> bool:
    """Mark a quarantined message as dealt with; False when there is no such unresolved one."""
    return tx.execute(_QUERIES["resolve"], now=now, consumer=consumer, body_hash=body_hash) > 0


def _rows(documents: Sequence[dict[str, Any]]) -> tuple[Row, ...]:
    return tuple(Row(**document) for document in documents)
