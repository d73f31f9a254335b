"""A publisher that keeps what it was given, and the webhook's door standing before it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fillbook.runtime import logs
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.errors import FillbookError, Rejected
from fillbook.runtime.pubsub import OutMessage
from fillbook.signal.ingest import Arrival, Door, DoorSettings, Reply

TOKEN = "first-token-of-the-desk"
OTHER_TOKEN = "second-token-of-the-desk"


class KeptMessages:
    """Stands where Pub/Sub would: keeps messages per topic, or fails as told."""

    def __init__(self) -> None:
        self.topics: dict[str, list[OutMessage]] = {}
        self.failure: FillbookError | None = None
        self.timeouts: list[float] = []

    def publish(self, topic: str, messages: Sequence[OutMessage], *, timeout_seconds: float = 5) -> list[str]:
        self.timeouts.append(timeout_seconds)
        if self.failure is not None:
            raise self.failure
        self.topics.setdefault(topic, []).extend(messages)
        return [str(number) for number, _ in enumerate(messages)]

    @property
    def signals(self) -> list[OutMessage]:
        return self.topics.get("signals", [])

    @property
    def quarantined(self) -> list[OutMessage]:
        return self.topics.get("signals-quarantine", [])


class Entrance:
    """A door with a publisher that keeps and a clock that stands still."""

    def __init__(self, now: datetime, *, tokens: tuple[str, ...] = (TOKEN, OTHER_TOKEN), **settings: Any) -> None:
        self.messages = KeptMessages()
        self.clock = FixedClock(now)
        self.reads = 0
        self.door = Door(
            DoorSettings(tokens=tokens, **settings), publisher=self.messages, clock=self.clock, log=logs.get("signal_ingest")
        )

    def post(self, body: bytes, *, authorization: str | None = f"Bearer {TOKEN}", address: str = "a", **arrival: Any) -> Reply:
        def read() -> bytes:
            self.reads += 1
            if len(body) > 65_536:
                raise Rejected("body_too_large", status=413)
            return body

        return self.door.take(Arrival(read=read, address=address, authorization=authorization, **arrival))
