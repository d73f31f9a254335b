"""This room's tables through its database functions: one document in, one document out.

A drainer's turn is two messages: the record of the last answer with the read for the next step, and the claim with the
commit. A message that is alone needs neither: it is claimed with its storing, and its record gives the channel back.
Nothing here decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any
from uuid import UUID

from fillbook.notify.answers import discord_code
from fillbook.notify.envelope import Envelope
from fillbook.notify.intake import Intake, Key, Question
from fillbook.notify.limits import Limit
from fillbook.notify.model import Answer, ChannelRow, Request, Row
from fillbook.notify.pacing import BACKOFF_MAX, EXPIRES_AFTER, HOLD_MAX, Queue
from fillbook.notify.rows import (
    channel_document,
    channel_of_document,
    instant_of,
    limit_document,
    limit_of,
    row_document,
    rows_of,
)
from fillbook.outbox.model import Event
from fillbook.outbox.service import event_rows
from fillbook.runtime.db import Call
from fillbook.values import frozen

LEASE_SECONDS = 30
GROUPS_MAX = 24
ROWS_MAX = 60
EDITS_MAX = 10
LEASE_LOST = "lease_lost"


def load_call(question: Question) -> Call:
    """Return the call that locks and reads the subjects of ``question``."""
    return Call(
        "notify.load", {"keys": [list(key) for key in question.keys], "prefixes": [list(key) for key in question.prefixes]}
    )


def stored_of(documents: Sequence[Mapping[str, Any]]) -> dict[Key, Row]:
    """Read the answer of ``load_call``."""
    return {(row.channel_id, row.subject_key): row for row in rows_of(documents)}


def apply_call(
    intake: Intake | None, event: Envelope | None, rows: Iterable[Row], events: Sequence[Event], now: datetime
) -> Call:
    """Return the call that writes rows, and with ``intake`` and ``event`` also how the event was taken."""
    delivery = None
    verify = None
    if intake is not None and event is not None:
        delivery = {
            "channel_id": intake.channel_id,
            "event_id": event.event_id,
            "subject_key": intake.subject_key,
            "event_type": event.event_type,
            "version": intake.version,
            "outcome": intake.outcome,
            "received_at": now,
        }
        if intake.verify is not None:
            verify = {
                "book_id": intake.verify.book_id,
                "first_at": intake.verify.first_at,
                "last_at": intake.verify.last_at,
            }
    return Call(
        "notify.apply",
        {
            "delivery": delivery,
            "verify": verify,
            "rows": [row_document(row) for row in rows],
            "events": event_rows(events),
        },
    )


# --- the drainer's calls ----------------------------------------------------------------------------------------------


@frozen
class Lease:
    """Who drains: the channel and the token that proves it."""

    channel_id: str
    token: UUID

    def document(self, now: datetime) -> dict[str, Any]:
        """Return what every call of a drainer carries."""
        return {"channel_id": self.channel_id, "lease_token": self.token, "lease_seconds": LEASE_SECONDS, "now": now}


@frozen
class Turn:
    """What the next step of a leased channel is chosen from.

    ``stuck`` rows are ``sending`` although nobody sends; ``answered`` tells for those among them whose answer reached the
    log, but not the row, which message Discord made and at which place in it the row stands.
    """

    channel: ChannelRow
    ops_webhook_id: str | None
    limits: Mapping[str, Limit]
    queue: Queue = field(default_factory=Queue)
    stuck: tuple[Row, ...] = ()
    expired: tuple[Row, ...] = ()
    answered: Mapping[str, tuple[str, int]] = field(default_factory=dict)


@frozen
class Settled:
    """What a settlement writes; ``channel`` only when it changed, ``attempt_id`` only after a request."""

    attempt_id: UUID | None = None
    answer: Answer | None = None
    message_id: str | None = None
    wait: Any = None
    error: str | None = None
    rows: tuple[Row, ...] = ()
    limits: tuple[Limit, ...] = ()
    channel: ChannelRow | None = None
    events: tuple[Event, ...] = ()


def lease_call(lease: Lease, now: datetime) -> Call:
    """Return the call that takes the channel when nobody else holds it."""
    return Call("notify.lease", lease.document(now))


def open_call(lease: Lease, now: datetime) -> Call:
    """Return the call that takes the channel only when nobody holds it and nothing waits in it; it waits for nobody."""
    return Call("notify.open", lease.document(now))


def idle_of(document: Mapping[str, Any]) -> Turn | None:
    """Read the answer of ``open_call``: a leased channel in which nothing waits; None when it was not taken."""
    if not document["leased"]:
        return None
    limits = [limit_of(item) for item in document["limits"]]
    return Turn(
        channel=channel_of_document(document["channel"]),
        ops_webhook_id=document["ops_webhook_id"],
        limits={limit.scope: limit for limit in limits},
    )


def rest_call(lease: Lease, now: datetime) -> Call:
    """Return the call that gives the channel back when nothing waits in it."""
    return Call("notify.rest", lease.document(now))


def release_call(lease: Lease, now: datetime) -> Call:
    """Return the call that gives the channel back."""
    return Call("notify.release", lease.document(now))


def turn_call(lease: Lease, now: datetime) -> Call:
    """Return the call that reads what the next step is chosen from."""
    document = lease.document(now)
    document |= {
        "far": now + BACKOFF_MAX,
        "hold_seconds": HOLD_MAX.seconds,
        "expire_before": now - EXPIRES_AFTER,
        "groups_max": GROUPS_MAX,
        "rows_max": ROWS_MAX,
        "edits_max": EDITS_MAX,
    }
    return Call("notify.turn", document)


def turn_of(document: Mapping[str, Any]) -> Turn | None:
    """Read the answer of ``turn_call``; None when the lease is not ours."""
    if not document["leased"]:
        return None
    limits = [limit_of(item) for item in document["limits"]]
    return Turn(
        channel=channel_of_document(document["channel"]),
        ops_webhook_id=document["ops_webhook_id"],
        limits={limit.scope: limit for limit in limits},
        queue=Queue(
            rows=rows_of(document["rows"]),
            siblings=rows_of(document["siblings"]),
            creates=document["creates"],
            next_at=instant_of(document["next_at"]),
        ),
        stuck=rows_of(document["stuck"]),
        expired=rows_of(document["expired"]),
        answered={item["subject_key"]: (item["message_id"], item["embed_index"]) for item in document["answered"]},
    )


def claim_call(
    lease: Lease,
    now: datetime,
    attempt_id: UUID,
    request: Request,
    *,
    rows: Sequence[Row],
    about: Sequence[str],
    limits: Iterable[Limit],
) -> Call:
    """Return the call that writes the attempt before the request leaves; ``rows`` become ``sending``."""
    document = lease.document(now)
    document |= {
        "attempt": {
            "attempt_id": attempt_id,
            "operation": request.operation.logged_as,
            "request_hash": request.content_hash(),
        },
        "subject_keys": [row.subject_key for row in rows],
        "logged_keys": list(dict.fromkeys([*(row.subject_key for row in rows), *about])),
        "limits": [limit_document(limit) for limit in limits],
    }
    return Call("notify.claim", document)


def settle_call(lease: Lease, now: datetime, settled: Settled) -> Call:
    """Return the call that records an answer, or a decision made without one."""
    document = lease.document(now)
    document |= {
        "attempt": None if settled.attempt_id is None else _finished(settled, now),
        "rows": [row_document(row) for row in settled.rows],
        "limits": [limit_document(limit) for limit in settled.limits],
        "channel": None if settled.channel is None else channel_document(settled.channel),
        "events": event_rows(settled.events),
    }
    return Call("notify.settle", document)


def _finished(settled: Settled, now: datetime) -> dict[str, Any]:
    answer = settled.answer or Answer()
    return {
        "attempt_id": settled.attempt_id,
        "finished_at": now,
        "http_status": answer.status,
        "discord_code": discord_code(answer),
        "retry_after_seconds": settled.wait,
        "message_id": settled.message_id,
        "error": settled.error,
        "response_excerpt": answer.excerpt or None,
    }
