"""Use cases of the outbox for writers and consumers: enqueue, receive, quarantine; and the relay's entry points.

A writer joins its own transaction (``tx``): the events commit with their cause or not at all. Nothing here publishes
while a transaction is open. Refused before anything is sent: unknown types, replay books, payloads over 64 KiB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from fillbook.outbox.model import PAYLOAD_BYTES_MAX, Event
from fillbook.outbox.relay import RelayReport, relay, relay_own, sweep
from fillbook.outbox.store import Claimed, claim_call, claimed_of
from fillbook.runtime.db import Call, Tx
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import encode, instant_text

__all__ = [
    "Claimed",
    "RelayReport",
    "commit_claiming",
    "enqueue",
    "event_rows",
    "partitions_of",
    "quarantine",
    "receive",
    "receive_call",
    "relay",
    "relay_own",
    "sweep",
]

QUARANTINE_BODY_BYTES_MAX = 64 * 1024


def event_rows(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Return the rows that ``outbox.enqueue`` takes, for rooms whose own ``apply`` calls it in SQL; texts and integers only.

    Raises ``Rejected``: ``event_type_unknown``, ``event_of_replay_book``, ``event_too_large`` (envelope over 64 KiB),
    and what ``runtime.sql.encode`` refuses (NUL, lone surrogates).
    """
    return [_row(event) for event in events]


def _row(event: Event) -> dict[str, Any]:
    if event.book_id is not None and event.book_id.startswith("replay:"):
        raise Rejected("event_of_replay_book", event.event_type)
    payload = encode(event.envelope())
    if len(payload.encode("utf-8")) > PAYLOAD_BYTES_MAX:
        raise Rejected("event_too_large", f"{event.event_type} {event.event_id}")
    return {
        "event_id": str(event.event_id),
        "event_type": event.event_type,
        "schema_version": event.schema_version,
        "book_id": event.book_id,
        "aggregate_key": event.aggregate_key,
        "aggregate_version": event.aggregate_version,
        "partition_no": event.partition_no,
        "topic": event.topic,
        "payload": payload,
        "traceparent": event.traceparent,
        "occurred_at": instant_text(event.occurred_at),
        "recorded_at": instant_text(event.recorded_at),
    }


def partitions_of(events: Iterable[Event]) -> tuple[int, ...]:
    """Return the partitions these events went to, ascending: what the request relays itself after its commit."""
    return tuple(sorted({event.partition_no for event in events}))


def enqueue(tx: Tx, events: Sequence[Event]) -> None:
    """Queue ``events`` in the caller's transaction, in order; the caller holds a lock on each aggregate."""
    if events:
        tx.send(Call("outbox.enqueue", event_rows(events)))


def commit_claiming(tx: Tx, partitions: Sequence[int], now: datetime) -> Claimed:
    """Commit, and with the commit lease what of ``partitions`` is free for ``relay_own``: data and lease appear together.

    The claim waits for nobody, and nothing of it holds when the commit fails. Who claims relays at once: a lease of a request
    that died stands in the way for 30 s.
    """
    token = uuid4()
    (answer,) = tx.finish(claim_call(token, now, partitions=partitions))
    return claimed_of(token, answer)


def receive(tx: Tx, consumer: str, event_id: UUID, now: datetime, *, outcome: str = "applied") -> bool:
    """Write the inbox row of (consumer, event) and return True when it is new; False means: already done, no effect."""
    (is_new,) = tx.call(receive_call(consumer, event_id, now, outcome=outcome))
    return bool(is_new)


def receive_call(consumer: str, event_id: UUID, now: datetime, *, outcome: str = "applied") -> Call:
    """Return the inbox write as a call, so that a consumer can send it in one message with its own read."""
    return Call("outbox.receive", {"consumer": consumer, "event_id": event_id, "outcome": outcome, "now": now})


def quarantine(tx: Tx, consumer: str, *, reason: str, body: bytes, now: datetime) -> None:
    """Store a refused message: its first 64 KiB, full length, hash and count; the same body again only counts."""
    document = {
        "consumer": consumer,
        "reason": reason,
        "body": body[:QUARANTINE_BODY_BYTES_MAX],
        "body_bytes": len(body),
        "body_hash": hashlib.sha256(body).digest(),
        "now": now,
    }
    tx.send(Call("outbox.put_aside", document))
