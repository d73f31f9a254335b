"""The worker's three subscriptions: receipts to decide, bodies the door refused, messages that were given up.

``receive`` decides and then publishes what its own transaction announced; the other two only keep bodies. What stays wrong
goes to quarantine and is answered; what is away is asked for again; so no body is ever lost. Source: signals.md 2.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from fillbook.instants import instant_of
from fillbook.outbox.relay import relay_own
from fillbook.runtime.clock import Clock
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected
from fillbook.runtime.logs import Logger
from fillbook.runtime.places import Places
from fillbook.runtime.pubsub import Publish, PushMessage
from fillbook.signal import receipt
from fillbook.signal.ingest import SCHEMA
from fillbook.signal.profile import load
from fillbook.signal.quarantine import RefusedBody, put_aside
from fillbook.signal.receipt import ParsedReceipt
from fillbook.signal.service import Processed, Strategy, process
from fillbook.signal.settings import SignalWorkerConfig
from fillbook.values import frozen

CONCURRENCY: Final = 8  # messages at work at once, each with a connection
WAITING: Final = 24  # one message delivered 32 times at once is taken whole
DEAD_LETTER: Final = "dead_letter"
UNKNOWN_REASON: Final = "unknown"


@frozen
class Worker:
    """One per process; shares its database and publisher between the function's threads."""

    db: Database
    publisher: Publish
    clock: Clock
    strategy: Strategy
    log: Logger

    def receive(self, message: PushMessage) -> Processed:
        """Decide one receipt; raises ``Rejected`` for a message that is none, and what ``process`` raises."""
        arrived, received_at = read_message(message)
        now = self.clock.now()
        processed = process(self.db, arrived, received_at=received_at, strategy=self.strategy, now=now, relays=True)
        if processed.partitions:
            relay_own(self.db, self.publisher, processed.partitions, now_from=self.clock, claimed=processed.claimed)
        self.log.info(
            "receipt_processed",
            receipt_id=arrived.receipt.receipt_id,
            ticker=arrived.receipt.ticker,
            result=processed.result,
            lane=processed.lane,
            action_ids=list(processed.action_ids),
        )
        return processed

    def keep_refused(self, message: PushMessage) -> None:
        """Keep a body that the door refused."""
        self._keep("ingest", message.attributes.get("reason") or UNKNOWN_REASON, message)

    def bury(self, message: PushMessage) -> None:
        """Keep a message that was given up; one of the quarantine topic keeps the reason it came with."""
        self._keep(DEAD_LETTER, message.attributes.get("reason") or DEAD_LETTER, message)
        self.log.error("message_given_up", message_id=message.message_id, ticker=message.attributes.get("ticker"))

    def refuse(self, reason: str, data: bytes, message: PushMessage | None) -> None:
        """Keep a message that this worker refused (``None``: not even its envelope could be read); why is in the log already."""
        ticker = message.attributes.get("ticker") if message is not None else None
        put_aside(self.db, RefusedBody(source="worker", reason=reason, body=data, ticker=ticker), self.clock.now())

    def _keep(self, source: str, reason: str, message: PushMessage) -> None:
        attributes = message.attributes
        body = RefusedBody(
            source=source, reason=reason, body=message.data, field=attributes.get("field"), ticker=attributes.get("ticker")
        )
        put_aside(self.db, body, self.clock.now())


def places() -> Places:
    """Messages at work, and in line."""
    return Places(CONCURRENCY, waiting=WAITING)


def strategy_of(config: SignalWorkerConfig) -> Strategy:
    """What the use case is told; raises ``ProfileError`` for a profile that cannot be used."""
    return Strategy(
        profile=load(config.strategy_profile),
        book_id=config.book,
        live_age_seconds_max=config.live_age_seconds_max,
        tickers_max=config.tickers_max,
        book_executions=config.book_executions,
        lane_events=config.lane_events,
    )


def read_message(message: PushMessage) -> tuple[ParsedReceipt, datetime]:
    """Return the receipt of a message and when the door received it.

    Raises ``Rejected``: ``schema_unknown``, ``attributes_invalid``, ``receipt_id_mismatch``, and what the door refuses of a body.
    """
    attributes = message.attributes
    if attributes.get("schema", SCHEMA) != SCHEMA:
        raise Rejected("schema_unknown", field="schema")
    try:
        received_at = instant_of(attributes["received_at"]) if "received_at" in attributes else message.publish_time
    except ValueError as error:
        raise Rejected("attributes_invalid", field="received_at") from error
    repairs = tuple(name for name in attributes.get("repairs", "").split(",") if name)
    arrived = receipt.published(message.data, repairs)
    if attributes.get("receipt_id", arrived.receipt.receipt_id) != arrived.receipt.receipt_id:
        raise Rejected("receipt_id_mismatch", field="receipt_id")
    return arrived, received_at
