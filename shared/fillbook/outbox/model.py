"""Events: what happened here, past tense and ours, told to the rest of the house exactly once per fact.

An event is written in the transaction of the data that caused it and published afterwards. This module holds the nouns:
the event, its envelope on the wire, and the table of every event type with the room that writes it and the topic it
goes to (architecture, section 5; the manifest is tested equal). It refuses to know how an event is stored or sent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

NAMESPACE = uuid5(NAMESPACE_URL, "https://fillbook/ids/1")
"""The one namespace of all business ids (ledger specification, section 4)."""

SCHEMA_VERSION = 1
PARTITIONS = 64
PAYLOAD_BYTES_MAX = 64 * 1024

EVENTS_TOPIC = "events"
IBKR_JOBS_TOPIC = "ibkr-jobs"
MT5_SHARDS_TOPIC = "mt5-shards"


@frozen
class EventType:
    """Who may write an event of this type, and the topic it is published on."""

    rooms: tuple[str, ...]
    topic: str = EVENTS_TOPIC


_LEDGER = EventType(rooms=("ledger",))
_BROKERS = EventType(rooms=("ibkr", "mt5"))
_MT5 = EventType(rooms=("mt5",))
_SNAPSHOT = EventType(rooms=("snapshot",))
_NOTIFY = EventType(rooms=("notify",))

EVENT_TYPES: Mapping[str, EventType] = {
    "execution_booked": _LEDGER,
    "execution_corrected": _LEDGER,
    "execution_busted": _LEDGER,
    "book_restated": _LEDGER,
    "position_adjusted": _LEDGER,
    "fill_parked": _LEDGER,
    "break_found": _LEDGER,
    "break_resolved": _LEDGER,
    "audit_failed": _LEDGER,
    "ledger_anchored": _LEDGER,
    "lane_changed": EventType(rooms=("signal",)),
    "sync_failed": _BROKERS,
    "sync_recovered": _BROKERS,
    "account_needs_reauth": _MT5,
    "identity_mismatch_found": _MT5,
    "contract_error_found": _MT5,
    "history_gap_found": _MT5,
    "history_gap_closed": _MT5,
    "close_pending_stale": _MT5,
    "clock_rule_mismatch_found": _MT5,
    "breaker_opened": _MT5,
    "breaker_closed": _MT5,
    "capacity_exceeded": _MT5,
    "snapshot_published": _SNAPSHOT,
    "snapshot_restated": _SNAPSHOT,
    "snapshot_refused": _SNAPSHOT,
    "snapshot_publish_failed": _SNAPSHOT,
    "snapshot_overdue": _SNAPSHOT,
    "channel_disabled": _NOTIFY,
    "message_dead": _NOTIFY,
    "reconcile_finished": _NOTIFY,
    "sync_requested": EventType(rooms=("ibkr",), topic=IBKR_JOBS_TOPIC),
    "mt5_sync_requested": EventType(rooms=("mt5",), topic=MT5_SHARDS_TOPIC),
}


def derived_id(kind: str, *parts: object) -> UUID:
    """Return the business id of ``[kind, *parts]``: the same content always gives the same id.

    The name is a compact JSON array in UTF-8; parts are text, integers, ``None`` or UUIDs (written as text).
    """
    name = [kind, *(str(part) if isinstance(part, UUID) else part for part in parts)]
    return uuid5(NAMESPACE, json.dumps(name, ensure_ascii=False, separators=(",", ":")))


def event_id(book_id: str | None, event_type: str, subject: object, version: int) -> UUID:
    """Return the id of an event about ``subject`` (an action id, or what the event is about) at its ``version``."""
    return derived_id("event", book_id, event_type, subject, version)


def partition_of(aggregate_key: str) -> int:
    """Return the partition (0..63) of an aggregate; a check constraint of ``outbox.events`` computes the same."""
    return hashlib.sha256(aggregate_key.encode("utf-8")).digest()[0] % PARTITIONS


@frozen
class Event:
    """One event. Times are aware UTC; ``data`` holds text, integers, lists, Decimals and times, never floats.

    ``aggregate_key`` names what is ordered (ledger: ``<book_id>/<instrument>``), ``aggregate_version`` grows with it.
    """

    event_id: UUID
    event_type: str
    schema_version: int = SCHEMA_VERSION
    book_id: str | None = None
    aggregate_key: str
    aggregate_version: int
    occurred_at: datetime
    recorded_at: datetime
    traceparent: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        """The topic of this type; an unknown type raises ``Rejected('event_type_unknown')``."""
        try:
            return EVENT_TYPES[self.event_type].topic
        except KeyError:
            raise Rejected("event_type_unknown", self.event_type) from None

    @property
    def partition_no(self) -> int:
        """The partition that carries this event's aggregate."""
        return partition_of(self.aggregate_key)

    def envelope(self) -> dict[str, Any]:
        """Return the envelope of schema version 1, keys in the order of the specification (ledger, section 13)."""
        return {
            "event_id": self.event_id,
            "event_type": self.event_type,
            "schema_version": self.schema_version,
            "book_id": self.book_id,
            "aggregate_key": self.aggregate_key,
            "aggregate_version": self.aggregate_version,
            "occurred_at": self.occurred_at,
            "recorded_at": self.recorded_at,
            "traceparent": self.traceparent,
            "data": self.data,
        }
