"""The event envelope as it arrives: bytes become one value or one named refusal.

Refused, and so quarantined by the edge: what is no envelope of schema version 1, event types outside the house's table,
versions nobody here knows, texts that cannot be stored. Fields may be added by writers; unknown ones are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from fillbook.instants import instant_of
from fillbook.money import parse
from fillbook.notify.text import require_storable
from fillbook.outbox.model import EVENT_TYPES, EVENTS_TOPIC, SCHEMA_VERSION
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

BODY_BYTES_MAX = 128 * 1024
COUNT_MAX = 2**63 - 1


@frozen
class Envelope:
    """One event as consumed. Times are aware UTC; ``data`` is what the writer stored, numbers as text."""

    event_id: UUID
    event_type: str
    book_id: str | None
    aggregate_key: str
    aggregate_version: int
    occurred_at: datetime
    recorded_at: datetime
    data: Mapping[str, Any]


def parse_envelope(body: bytes) -> Envelope:
    """Read one envelope; raises ``Rejected`` with ``envelope_invalid``, ``event_type_unknown``,
    ``schema_version_unknown`` or ``text_invalid``.
    """
    if len(body) > BODY_BYTES_MAX:
        raise Rejected("envelope_invalid", "larger than any event may be")
    try:
        document = json.loads(body, parse_float=parse)
    except (ValueError, RecursionError) as error:
        raise Rejected("envelope_invalid", "not JSON") from error
    if not isinstance(document, dict):
        raise Rejected("envelope_invalid", "not an object")
    require_storable(document)
    if document.get("schema_version") != SCHEMA_VERSION:
        raise Rejected("schema_version_unknown", field="schema_version")
    event_type = document.get("event_type")
    known = EVENT_TYPES.get(event_type) if isinstance(event_type, str) else None
    if known is None or known.topic != EVENTS_TOPIC:
        raise Rejected("event_type_unknown", field="event_type")
    return Envelope(
        event_id=_uuid(document),
        event_type=str(event_type),
        book_id=_optional_text(document, "book_id"),
        aggregate_key=_text(document, "aggregate_key"),
        aggregate_version=_count(document, "aggregate_version"),
        occurred_at=_instant(document, "occurred_at"),
        recorded_at=_instant(document, "recorded_at"),
        data=_data(document),
    )


def _invalid(name: str) -> Rejected:
    return Rejected("envelope_invalid", f"{name} is missing or malformed", field=name)


def _uuid(document: Mapping[str, Any]) -> UUID:
    try:
        return UUID(_text(document, "event_id"))
    except ValueError as error:
        raise _invalid("event_id") from error


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise _invalid(name)
    return value


def _optional_text(document: Mapping[str, Any], name: str) -> str | None:
    return None if document.get(name) is None else _text(document, name)


def _count(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _invalid(name)
    try:
        count = int(value)
    except ValueError as error:
        raise _invalid(name) from error
    if abs(count) > COUNT_MAX:
        raise _invalid(name)
    return count


def _instant(document: Mapping[str, Any], name: str) -> datetime:
    try:
        return instant_of(_text(document, name))
    except ValueError as error:
        raise _invalid(name) from error


def _data(document: Mapping[str, Any]) -> Mapping[str, Any]:
    data = document.get("data")
    if not isinstance(data, dict):
        raise _invalid("data")
    return data
