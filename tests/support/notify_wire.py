"""The way of an execution from the ledger's commit to the channel, without processes: outbox, relay, push, drain.

The relay is the real one; publishing hands the message to the notifier as its push would, in the order of the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fillbook.ledger import service as ledger
from fillbook.ledger.model import Fill
from fillbook.outbox.relay import relay
from fillbook.runtime.clock import Clock
from fillbook.runtime.db import Database
from fillbook.runtime.pubsub import PUBLISH_SECONDS, OutMessage
from tests.support.ledger import make_book

RELAY_SECONDS = 20.0


class Wire:
    """Books facts and carries the outbox to ``receive(body)``; what was taken stays countable."""

    def __init__(self, db: Database, clock: Clock, receive: Callable[[bytes], object]) -> None:
        self.db = db
        self.clock = clock
        self.receive = receive
        self.taken: list[OutMessage] = []

    def open(self, book_id: str) -> None:
        """Open a book."""
        with self.db.transaction() as tx:
            ledger.open_book(tx, make_book(book_id), self.clock.now())

    def book(self, book_id: str, *fills: Fill) -> None:
        """Book facts in one transaction; nothing is carried yet."""
        ledger.run(self.db, lambda tx: ledger.book_fills(tx, book_id, fills, self.clock.now()))

    def carry(self) -> int:
        """Relay everything that is due; how many events went out."""
        return relay(self.db, self, now_from=self.clock, budget_seconds=RELAY_SECONDS).published

    def publish(self, topic: str, messages: Sequence[OutMessage], *, timeout_seconds: float = PUBLISH_SECONDS) -> list[str]:
        """Take messages as Pub/Sub would and push them at once."""
        assert topic == "events"
        assert timeout_seconds > 0
        for message in messages:
            self.taken.append(message)
            self.receive(message.data)
        return [str(len(self.taken))] * len(messages)
