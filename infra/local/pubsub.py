"""The local Pub/Sub: topics in, pushes out, nothing acknowledged before it is on disk.

It refuses what Google refuses (``publish_request.py``) and delivers as Google delivers (``subscription.py``). It keeps the
bodies of a bounded share of the backlog in memory; the rest is read again from the store when its turn comes.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any

from infra.local.deskclock import DeskClockFile
from infra.local.faults import Faults
from infra.local.message_store import MessageStore, Row, StoreError
from infra.local.publish_request import Incoming, charged_bytes
from infra.local.push import Pusher
from infra.local.subscription import Delivery, Waiting
from infra.local.tokens import Tokens
from infra.local.wiring import Subscription, Wiring

TICK_SECONDS = 0.02
IDLE_POLL_SECONDS = 0.005


class PubSub:
    """All topics and subscriptions of one wiring; ``start`` it inside the event loop, ``stop`` it there."""

    def __init__(self, wiring: Wiring, store: MessageStore, pusher: Pusher, tokens: Tokens, clock: DeskClockFile) -> None:
        self.wiring = wiring
        self.faults = Faults()
        self._store, self._clock = store, clock
        self._memory = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self.published: Counter[str] = Counter()
        self.charged: Counter[str] = Counter()
        self._topics: dict[str, list[Delivery]] = {name: [] for name in wiring.topics}
        self.deliveries: dict[str, Delivery] = {}
        for config in wiring.subscriptions:
            delivery = Delivery(
                config,
                project=wiring.project,
                store=store,
                pusher=pusher,
                tokens=tokens,
                clock=clock,
                faults=self.faults,
                floor_seconds=wiring.retry_floor_seconds,
                bury=self._bury,
                spawn=self._spawn,
                kept=self._keeps,
            )
            self.deliveries[config.name] = delivery
            self._topics[config.topic].append(delivery)

    async def start(self) -> None:
        """Take over what an earlier run left and begin to deliver. A message of a subscription that is gone is dropped."""
        for row in await self._store.load():
            delivery = self.deliveries.get(row.subscription)
            if delivery is None:
                self._store.remove(row.id)
                continue
            delivery.take(Waiting(row.id, row.ordering_key, row.published_at, row.failures, None))
        self._ticker = asyncio.create_task(self._tick_for_ever())
        self.pump()

    async def stop(self, grace_seconds: float) -> None:
        """Start nothing new, give what is in flight ``grace_seconds``; the rest stays in the store."""
        for delivery in self.deliveries.values():
            delivery.paused = True
        if self._ticker is not None:
            self._ticker.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        for task in list(self._tasks):
            task.cancel()

    async def publish(self, topic: str, messages: Sequence[Incoming]) -> list[str]:
        """Keep the messages, queue their deliveries, return their ids. KeyError: no such topic. StoreError: none kept."""
        deliveries = self._topics[topic]
        now = self._clock.now()
        rows: list[Row] = []
        ids: list[str] = []
        bodies: list[bytes] = []
        for message in messages:
            message_id = self._store.new_id()
            ids.append(str(message_id))
            body = message.body(str(message_id), now)
            bodies.append(body)
            rows.extend(self._row(one.config, message, body, now, message_id) for one in deliveries)
        if rows:
            await self._store.add(rows)
            self._take(rows)
        self.published[topic] += len(messages)
        self.charged[topic] += charged_bytes(bodies)
        return ids

    def _row(self, config: Subscription, message: Incoming, body: bytes, now: datetime, message_id: int) -> Row:
        first = config.name == self._topics[config.topic][0].config.name
        return Row(
            id=message_id if first else self._store.new_id(),
            subscription=config.name,
            ordering_key=message.ordering_key,
            published_at=now.timestamp(),
            failures=0,
            body=body,
        )

    def _take(self, rows: Sequence[Row]) -> None:
        for row in rows:
            body = row.body if self._keeps(len(row.body)) else None
            self.deliveries[row.subscription].take(Waiting(row.id, row.ordering_key, row.published_at, 0, body))
        for name in {row.subscription for row in rows}:
            self.deliveries[name].pump()

    def _keeps(self, size: int) -> bool:
        """Count ``size`` more bytes (fewer when negative) of kept bodies; False when there is no room for them."""
        if size > 0 and self._memory + size > self.wiring.memory_bytes_max:
            return False
        self._memory += size
        return True

    async def _bury(self, config: Subscription, message: Waiting, body: bytes) -> None:
        """Google's dead lettering: same data and attributes, four more attributes, a new id."""
        topic = config.dead_letter_topic
        assert topic is not None
        old = json.loads(body + b"}")["message"]
        attributes = old["attributes"] | {
            "CloudPubSubDeadLetterSourceDeliveryCount": str(message.failures),
            "CloudPubSubDeadLetterSourceSubscription": config.name,
            "CloudPubSubDeadLetterSourceSubscriptionProject": self.wiring.project,
            "CloudPubSubDeadLetterSourceTopicPublishTime": old["publishTime"],
        }
        fresh = Incoming(data=old.get("data", ""), attributes=attributes, ordering_key=message.ordering_key)
        now = self._clock.now()
        message_id = self._store.new_id()
        whole = fresh.body(str(message_id), now)
        rows = [self._row(one.config, fresh, whole, now, message_id) for one in self._topics[topic]]
        while True:
            try:
                await self._store.replace(rows, [message.id])
                break
            except StoreError:
                await asyncio.sleep(1)
        self.published[topic] += 1
        self._take(rows)

    def pump(self) -> None:
        """Deliver whatever may be delivered now; called after the clock moved or a pause ended."""
        for delivery in self.deliveries.values():
            delivery.wake_due()
            delivery.pump()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for delivery in self.deliveries.values():
                delivery.wake_due()

    async def wait_idle(self, timeout_seconds: float, settle_seconds: float) -> bool:
        """Whether every subscription was empty for ``settle_seconds`` (real) on end, within ``timeout_seconds``."""
        end = time.monotonic() + timeout_seconds
        quiet_since: float | None = None
        while True:
            now = time.monotonic()
            if any(delivery.depth for delivery in self.deliveries.values()):
                quiet_since = None
            elif quiet_since is None:
                quiet_since = now
            if quiet_since is not None and now - quiet_since >= settle_seconds:
                return True
            if now >= end:
                return False
            await asyncio.sleep(IDLE_POLL_SECONDS)

    def document(self) -> dict[str, Any]:
        """Figures for the control panel, and the knobs that are turned."""
        return {
            "published": {name: self.published[name] for name in self._topics},
            "charged_bytes": {name: self.charged[name] for name in self._topics},
            "subscriptions": {name: delivery.document() for name, delivery in self.deliveries.items()},
            "commits": self._store.commits,
            "memory_bytes": self._memory,
            "faults": self.faults.document(),
        }
