"""How often somebody may ask: one bucket of tokens per name and process, refilled steadily.

A bucket is one number, the instant at which it will be full again, in whole milliseconds of real time; so nothing is counted and
nothing drifts. The number of instances bounds what all of them together let through (manifest).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

from fillbook.runtime import clock
from fillbook.runtime.errors import Rejected

MINUTE_MS: Final = 60_000
NAMES_MAX: Final = 4_096


def real_ms() -> int:
    """Whole milliseconds that only grow."""
    return int(clock.monotonic() * 1000)


class Rate:
    """``per_minute`` calls of each name, ``at_once`` of them without a pause; the least recent of 4,096 names is forgotten."""

    def __init__(self, per_minute: int, at_once: int, *, now_ms: Callable[[], int] = real_ms) -> None:
        self._step = MINUTE_MS // per_minute
        self._depth = self._step * at_once
        self._now_ms = now_ms
        self._full_at: OrderedDict[str, int] = OrderedDict()
        self._lock = Lock()

    def take(self, name: str) -> None:
        """Count a call; raises ``Rejected('too_many_requests')`` 429 with the seconds after which one is let through again."""
        now = self._now_ms()
        with self._lock:
            full_at = max(self._full_at.get(name, now), now) + self._step
            waits_ms = full_at - self._depth - now
            if waits_ms > 0:
                raise Rejected("too_many_requests", status=429, retry_after_seconds=-(-waits_ms // 1000))
            self._full_at[name] = full_at
            self._full_at.move_to_end(name)
            if len(self._full_at) > NAMES_MAX:
                self._full_at.popitem(last=False)
