"""Events for tests, and the two clocks that the outbox lives by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from fillbook.outbox.model import Event, event_id
from fillbook.outbox.service import enqueue
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement

NOON = datetime(2026, 2, 3, 17, 0, tzinfo=UTC)


def event(key: str, version: int, **changes: Any) -> Event:
    """An event of aggregate ``key``; ids follow from key and version."""
    given: dict[str, Any] = {
        "event_id": event_id("live", changes.get("event_type", "execution_booked"), key, version),
        "event_type": "execution_booked",
        "book_id": "live",
        "aggregate_key": key,
        "aggregate_version": version,
        "occurred_at": NOON,
        "recorded_at": NOON,
        "data": {"ticker": "AMD"},
    }
    return Event(**{**given, **changes})


def commit(db: Database, events: Sequence[Event]) -> None:
    """Enqueue events in one transaction."""
    with db.transaction() as tx:
        enqueue(tx, events)


def expire_leases(query: Callable[..., Any]) -> None:
    """Let 30 s of real time pass for every lease."""
    query("update outbox.partitions set lease_until = clock_timestamp() where lease_token is not null")


def state(db: Database) -> list[dict[str, Any]]:
    """All events in id order with what became of them."""
    with db.transaction() as tx:
        return tx.query(
            statement(
                "select id, event_id::text, aggregate_key, aggregate_version, attempts, available_at, published_at, message_id,"
                " parked_at, last_error from outbox.events order by id"
            )
        )
