"""What Pub/Sub pushes: the envelope, and what each consumer makes of the message in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from fillbook.ibkr import desk, orders
from fillbook.mt5 import shards
from fillbook.notify.envelope import Envelope, parse_envelope
from fillbook.notify.intake import question
from fillbook.notify.routing import Settings
from fillbook.notify.service import judge
from fillbook.notify.store import load_call
from fillbook.outbox.model import EVENT_TYPES
from fillbook.runtime.errors import Rejected
from fillbook.runtime.pubsub import PushMessage
from fillbook.runtime.sql import encode
from fillbook.signal.worker import read_message
from tests.support.receipts import text_of
from tests.support.topics import envelope

NOW: Final = datetime(2026, 2, 3, 15, 16, tzinfo=UTC)
BIGINT: Final = 2**63
INTEGER: Final = 2**31
RECEIPT: Final = text_of("R").encode()
DOCUMENT_CHARACTERS_MAX: Final = 8_000_000
NAMES: Final = (
    "message data attributes messageId message_id orderingKey publishTime subscription deliveryAttempt received_at schema",
    "repairs event_id event_type schema_version book_id aggregate_key aggregate_version occurred_at recorded_at",
    "action_id version position_id action_type ENTRY ADD_ENTRY TRIM EXIT ticker direction LONG SHORT executed_at quantity",
    "price value fees currency USD realized_pnl position_quantity_after lots lot_count lot_price reason origin history cause",
    "before after changed replaces_action_id job_id run_id shard_no continuation account processed_count orders ib_perm_id",
    "order_quantity live first_executed_at last_executed_at first_at last_at channel_id subject_key count break_id book failures",
    " ".join(EVENT_TYPES),
)
_ACTION: Final = {
    "action_id": "3b241101-e2bb-4255-8caf-4136c566a962",
    "version": 1,
    "position_id": "4b241101-e2bb-4255-8caf-4136c566a962",
    "action_type": "TRIM",
    "ticker": "AMD",
    "direction": "LONG",
    "executed_at": "2026-02-03T15:15:00+00:00",
    "quantity": "4",
    "price": "120.5",
    "fees": "1",
    "currency": "USD",
    "realized_pnl": "80",
    "lots": [{"quantity": "4", "lot_price": "100", "realized_pnl": "80"}],
    "lot_count": 1,
}


def event(event_type: str, data: Mapping[str, Any], **changes: Any) -> bytes:
    """An event's envelope."""
    document = {
        "event_id": "bb8ce33e-3b8f-5e82-9c3f-f6ea91c91fa7",
        "event_type": event_type,
        "schema_version": 1,
        "book_id": "live",
        "aggregate_key": "live/AMD",
        "aggregate_version": 7,
        "occurred_at": "2026-02-03T15:15:00+00:00",
        "recorded_at": "2026-02-03T15:15:01+00:00",
        "data": dict(data),
    }
    return json.dumps({**document, **changes}).encode()


def seeds() -> Iterable[bytes]:
    """A push around a receipt, and the messages of every consumer without their envelope."""
    yield json.dumps(envelope(text_of("R").encode())).encode()
    yield json.dumps(envelope(event("execution_booked", _ACTION))).encode()
    yield event("execution_booked", {**_ACTION, "action_type": "EXIT", "origin": "history"})
    yield event(
        "execution_corrected", {**_ACTION, "version": 2, "changed": ["price"], "before": {"price": "1"}, "after": _ACTION}
    )
    yield event("execution_busted", {"before": _ACTION, "version": 3, "action_id": _ACTION["action_id"]})
    yield event("book_restated", {"first_executed_at": "2026-02-03T15:00:00Z", "last_executed_at": "2026-02-03T16:00:00Z"})
    for name in sorted(EVENT_TYPES.keys() - {"execution_booked", "execution_corrected", "execution_busted", "book_restated"}):
        yield event(
            name, {"account": "U1", "error_class": "timeout", "failures": 3, "amount": 1.5, "break_id": "b", "run_id": "r"}
        )
    yield event("sync_requested", {"job_id": _ACTION["action_id"], "job_type": "trades.sync"})
    yield event("mt5_sync_requested", {"run_id": _ACTION["action_id"], "shard_no": 0, "continuation": 1})
    sizes = [{"ib_perm_id": "9007199254740993", "order_quantity": "100.5"}]
    yield json.dumps({"event_id": _ACTION["action_id"], "account": "U1", "processed_count": 1, "orders": sizes}).encode()
    yield text_of("R").encode()


def check(body: bytes) -> str:
    """Read a push as its edge does; then hand the message, or these bytes as one, to every consumer."""
    words = []
    message = PushMessage(
        data=body, attributes={}, message_id="1", ordering_key="", publish_time=NOW, delivery_attempt=None, subscription="s"
    )
    try:
        message = PushMessage.parse(body)
        encode([message.message_id, message.publish_time, message.delivery_attempt, len(message.data)])
    except Rejected as refusal:
        words.append(refusal.reason)
    consumers: dict[str, Callable[[], object]] = {
        "notifier": lambda: _told(message.data),
        "jobs": lambda: desk.job_of(message.data),
        "orders": lambda: encode(dict(_sizes(message.data))),
        "shards": lambda: shards.read(message.data),
        "signals": lambda: encode(read_message(message)[1]),
    }
    if not words:  # attributes stand in the envelope alone
        consumers["signals at"] = lambda: encode(read_message(replace(message, data=RECEIPT))[1])
    for name, take in consumers.items():
        try:
            take()
        except Rejected as refusal:
            assert refusal.reason.replace("_", "").isalnum(), refusal.reason
            words.append(f"{name}: {refusal.reason}")
    return " ".join(words)


def _sizes(data: bytes) -> Iterable[tuple[str, Any]]:
    read = orders.read(data)
    yield "account", read.account
    yield from ((str(perm_id), quantity) for perm_id, quantity in read.sizes.items())


def _told(data: bytes) -> None:
    """An event up to the document that would be stored of it, told for the first time."""
    found = parse_envelope(data)
    _check_columns(found)
    encode(load_call(question(found, NOW)).document)
    for settings in (Settings(), Settings(books=("none",), has_lanes=True)):
        judged = judge(found, [], settings, NOW)
        written = encode(judged.call().document)
        assert len(written) < DOCUMENT_CHARACTERS_MAX
        assert all(0 <= row.wanted_version < INTEGER for row in judged.intake.rows)


def _check_columns(found: Envelope) -> None:
    assert -BIGINT <= found.aggregate_version < BIGINT
    encode([found.occurred_at, found.recorded_at, found.event_id, found.book_id, found.aggregate_key])
