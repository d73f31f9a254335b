"""One push subscription at work: lanes, flow control, retries, dead letters.

What holds: at most ``in_flight_max`` deliveries at once; of one ordering key at most one, and a later message of the key
waits until the earlier one is acknowledged or given up (Google sends the later ones again after a failure; in order is
what matters); a failed delivery comes again after its backoff (``retry.py``); after ``attempts_max`` failures the
message moves to the dead-letter topic in one commit. Counts live in memory, messages in the store.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from infra.local.deskclock import DeskClockFile
from infra.local.faults import Faults
from infra.local.message_store import MessageStore
from infra.local.publish_request import charged_bytes
from infra.local.push import Answer, Pusher
from infra.local.retry import Due, due_after
from infra.local.tokens import Tokens
from infra.local.wiring import Subscription

LAST_ERRORS_MAX = 20


@dataclass(slots=True, eq=False)
class Waiting:
    """A message waiting for this subscription; ``body`` is None when it is only in the store."""

    id: int
    ordering_key: str
    published_at: float
    failures: int
    body: bytes | None
    due: Due | None = None


# Moves a given-up message to the dead-letter topic, in one commit with its removal.
Bury = Callable[[Subscription, Waiting, bytes], Coroutine[Any, Any, None]]


class Delivery:
    """The running side of one subscription."""

    def __init__(
        self,
        config: Subscription,
        *,
        project: str,
        store: MessageStore,
        pusher: Pusher,
        tokens: Tokens,
        clock: DeskClockFile,
        faults: Faults,
        floor_seconds: float,
        bury: Bury,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        kept: Callable[[int], bool],
    ) -> None:
        self.config = config
        self._store, self._pusher, self._tokens = store, pusher, tokens
        self._clock, self._faults, self._floor = clock, faults, floor_seconds
        self._bury, self._spawn, self._kept = bury, spawn, kept
        path = f',"subscription":"projects/{project}/subscriptions/{config.name}"'
        self._tail = path.encode()
        self._urls = itertools.cycle((config.url, *config.more_urls))
        self._ready: deque[Waiting] = deque()
        self._lanes: dict[str, deque[Waiting]] = {}
        self.retrying: list[Waiting] = []
        self._all: dict[int, Waiting] = {}
        self.in_flight = 0
        self.paused = False
        self.counts: Counter[str] = Counter()
        self.errors: deque[dict[str, Any]] = deque(maxlen=LAST_ERRORS_MAX)

    @property
    def depth(self) -> int:
        """Messages accepted and not yet acknowledged or given up."""
        return len(self._all)

    def take(self, message: Waiting) -> None:
        """A message that is on disk: queue it and deliver what may be delivered."""
        self._all[message.id] = message
        if self.config.ordered and message.ordering_key:
            lane = self._lanes.get(message.ordering_key)
            if lane is not None:
                lane.append(message)
                return
            self._lanes[message.ordering_key] = deque()
        self._ready.append(message)

    def pump(self) -> None:
        """Start deliveries until the flow is full or nothing is ready."""
        while self._ready and self.in_flight < self.config.in_flight_max and not self.paused:
            message = self._next()
            self.in_flight += 1
            self._spawn(self._deliver(message))

    def wake_due(self) -> None:
        """Put retries whose time has come at the front of what is ready."""
        if not self.retrying:
            return
        desk_now, monotonic = self._clock.now(), time.monotonic()
        due: list[Waiting] = []
        later: list[Waiting] = []
        for one in self.retrying:
            (due if one.due is None or one.due.is_due(desk_now, monotonic) else later).append(one)
        if due:
            self.retrying = later
            self._ready.extendleft(reversed(due))
            self.pump()

    def _next(self) -> Waiting:
        if self._faults.value(self.config.name, "reorder", 0):
            for lane in self._lanes.values():
                self._ready.extend(lane)
                lane.clear()
            self._ready.rotate(-self._faults.random.randrange(len(self._ready)))
        return self._ready.popleft()

    async def _deliver(self, message: Waiting) -> None:
        try:
            body = message.body if message.body is not None else await self._store.body(message.id)
            answer = await self._push(message, body)
            if answer.is_ack and self._faults.strikes(self.config.name, "drop_ack"):
                answer = Answer(0, "fault: acknowledgement dropped")
            self.counts["pushed"] += 1
            self.counts["charged_bytes"] += charged_bytes([body])
            if answer.is_ack:
                self.counts["delivered"] += 1
                self._store.remove(message.id)
                self._finish(message)
            else:
                await self._failed(message, body, answer)
        except Exception as error:  # noqa: BLE001 - whatever breaks here, the message must wait for a try, not vanish
            self.errors.append({"message_id": message.id, "attempt": message.failures, "reason": repr(error)})
            self._retry_later(message)
        finally:
            self.in_flight -= 1
            self.pump()

    async def _push(self, message: Waiting, body: bytes) -> Answer:
        name = self.config.name
        delay = self._faults.value(name, "delay_seconds", 0)
        if delay:
            await asyncio.sleep(delay)
        tail = self._tail
        if self.config.dead_letter_topic:
            tail += b',"deliveryAttempt":%d' % (message.failures + 1)
        headers = {
            "Authorization": "Bearer " + self._tokens.token(self.config.email, self.config.audience),
            "Content-Type": "application/json",
            "User-Agent": "CloudPubSub-Google",
        }
        whole, url = body + tail + b"}", next(self._urls)
        copies = int(self._faults.value(name, "duplicate", 1))
        together = bool(copies > 1 and self._faults.value(name, "at_once", 0))
        post = self._pusher.post
        if together:
            deadline = self.config.ack_deadline_seconds
            answers = await asyncio.gather(*(post(url, whole, headers, deadline) for _ in range(copies)))
        else:
            answers = [await post(url, whole, headers, self.config.ack_deadline_seconds) for _ in range(copies)]
        return next((one for one in answers if not one.is_ack), answers[0])

    async def _failed(self, message: Waiting, body: bytes, answer: Answer) -> None:
        message.failures += 1
        self.counts["failed"] += 1
        self.errors.append(
            {"message_id": message.id, "attempt": message.failures, "status": answer.status, "reason": answer.reason}
        )
        if self.config.dead_letter_topic and message.failures >= self.config.attempts_max:
            await self._bury(self.config, message, body)
            self.counts["dead"] += 1
            self._finish(message)
            return
        self._store.failed(message.id, message.failures)
        self._retry_later(message)

    def _retry_later(self, message: Waiting) -> None:
        message.due = due_after(
            max(message.failures, 1),
            least=self.config.retry_min_seconds,
            most=self.config.retry_max_seconds,
            floor=self._floor,
            desk_now=self._clock.now(),
            monotonic=time.monotonic(),
        )
        self.retrying.append(message)

    def _finish(self, message: Waiting) -> None:
        del self._all[message.id]
        if message.body is not None:
            self._kept(-len(message.body))
        if not (self.config.ordered and message.ordering_key):
            return
        lane = self._lanes.get(message.ordering_key)
        if lane:
            self._ready.append(lane.popleft())
        elif lane is not None:
            del self._lanes[message.ordering_key]

    def document(self) -> dict[str, Any]:
        """Figures for the control panel."""
        now = self._clock.now().timestamp()
        oldest = min((one.published_at for one in self._all.values()), default=None)
        return {
            "topic": self.config.topic,
            "depth": self.depth,
            "in_flight": self.in_flight,
            "retrying": len(self.retrying),
            "oldest_seconds": 0.0 if oldest is None else max(now - oldest, 0.0),
            "paused": self.paused,
            **{name: self.counts[name] for name in ("pushed", "delivered", "failed", "dead", "charged_bytes")},
            "last_errors": list(self.errors),
        }
