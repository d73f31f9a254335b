"""A stand-in for Pub/Sub's publish side: remembers what it took and fails where it is told to."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.runtime.pubsub import PUBLISH_SECONDS, OutMessage


class Killed(BaseException):
    """The process died here: not an error that anybody may catch."""


class FakePublisher:
    """Takes messages in order of arrival. Knobs, all by aggregate (the ordering key) or for everything.

    ``fail_next(n, key)`` answers 503 n times; ``refuse(event_id)`` refuses requests holding that event for good;
    ``die_after(n)`` takes the n-th request and then kills the caller; ``on_publish`` is called outside the lock.
    """

    def __init__(self) -> None:
        self.taken: list[tuple[str, OutMessage]] = []
        self.requests: list[list[str]] = []
        self.running_max = 0
        self.on_publish: Callable[[str, Sequence[OutMessage]], None] | None = None
        self._lock = threading.Lock()
        self._failures: dict[str, int] = defaultdict(int)
        self._refused: set[str] = set()
        self._die_at: int | None = None
        self._running = 0

    def fail_next(self, count: int, key: str = "*") -> None:
        self._failures[key] += count

    def refuse(self, event_id: object) -> None:
        self._refused.add(str(event_id))

    def die_after(self, requests: int) -> None:
        self._die_at = len(self.requests) + requests

    def publish(self, topic: str, messages: Sequence[OutMessage], *, timeout_seconds: float = PUBLISH_SECONDS) -> list[str]:
        assert timeout_seconds > 0
        keys = {message.ordering_key for message in messages}
        assert len(keys) == 1, "all messages of a request share the ordering key"
        with self._lock:
            self._running += 1
            self.running_max = max(self.running_max, self._running)
        try:
            if self.on_publish is not None:
                self.on_publish(topic, messages)
            return self._take(topic, messages, keys.pop())
        finally:
            with self._lock:
                self._running -= 1

    def _take(self, topic: str, messages: Sequence[OutMessage], key: str) -> list[str]:
        with self._lock:
            for knob in (key, "*"):
                if self._failures[knob] > 0:
                    self._failures[knob] -= 1
                    raise Unavailable("pubsub_unavailable")
            if self._refused & {message.attributes["event_id"] for message in messages}:
                raise Rejected("publish_refused")
            first = len(self.taken)
            self.taken += [(topic, message) for message in messages]
            self.requests.append([message.attributes["event_id"] for message in messages])
            if self._die_at == len(self.requests):
                self._die_at = None
                raise Killed
            return [f"m{first + index}" for index in range(len(messages))]

    @property
    def event_ids(self) -> list[str]:
        """Event ids in the order they were taken, repeats included."""
        return [message.attributes["event_id"] for _, message in self.taken]

    def versions(self, key: str) -> list[int]:
        """Aggregate versions of one aggregate in the order they were first taken."""
        seen = [int(message.attributes["aggregate_version"]) for _, message in self.taken if message.ordering_key == key]
        return list(dict.fromkeys(seen))

    def envelopes(self) -> list[dict[str, Any]]:
        """The envelopes taken, parsed."""
        return [json.loads(message.data) for _, message in self.taken]
