"""The requests one process may make of one instance: taken one by one ahead of each call, reserved in blocks, over all processes.

Whoever speaks to a service takes one token ahead of *every* request, repeated ones and pages included. An instance without a
published limit needs no allowance.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from fillbook.mt5.tokens import Block, Reserved, pause_until
from fillbook.runtime import clock

NAP_SECONDS_MAX: Final = 1.0


class Tokens(Protocol):
    """Where tokens come from; both run in the thread that owns the connection (``pacing_store`` behind ``Desk.write``)."""

    def reserve(self, moves: Mapping[int, int], *, wanted: int, now: float) -> Reserved:
        """Account for the last block and reserve the next."""
        ...

    def pause(self, until: float, *, now: float) -> None:
        """Empty the bucket until then."""
        ...


class Allowance:
    """Tokens of one instance for the threads of one process; ``now``: real seconds since 1970."""

    def __init__(
        self,
        tokens: Tokens,
        *,
        block: int,
        now: Callable[[], float] = clock.real_epoch_seconds,
        monotonic: Callable[[], float] = clock.monotonic,
        sleep: Callable[[float], None] = clock.sleep,
    ) -> None:
        self._tokens, self._size = tokens, block
        self._now, self._monotonic, self._sleep = now, monotonic, sleep
        self._lock = threading.Lock()
        self._block = _empty()
        self._next_at = 0.0

    def take(self, deadline: float) -> bool:
        """Take one token, waiting for it until ``deadline`` (monotonic seconds); False when none comes in time.

        Raises what reserving raises.
        """
        while True:
            left = deadline - self._monotonic()
            if left <= 0 or not self._lock.acquire(timeout=left):
                return False
            try:
                if self._has_taken():
                    return True
                wait = max(self._next_at - self._now(), 0)
            finally:
                self._lock.release()
            if wait >= deadline - self._monotonic():
                return False
            self._sleep(min(wait, NAP_SECONDS_MAX))

    def _has_taken(self) -> bool:
        now = self._now()
        if self._block.take(now):
            return True
        if now < self._next_at:
            return False
        moves, self._block = self._block.moves(), _empty()  # should reserving fail, the old block stays where it stands: too late
        reserved = self._tokens.reserve(moves, wanted=self._size, now=now)
        self._block = Block(reserved)
        self._next_at = reserved.next_at
        return self._block.take(self._now())

    def refused(self, retry_after_seconds: int | None) -> None:
        """The service said 429: nothing is taken until it may be asked again, by no process that has to reserve."""
        now = self._now()
        until = pause_until(now, retry_after_seconds)
        with self._lock:
            self._block.drop()
            self._next_at = max(self._next_at, until)
        self._tokens.pause(until, now=now)

    def settle(self) -> None:
        """At the end of a run: give back what was not used. Waits for nobody."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            moves, self._block = self._block.moves(), _empty()
            if moves:
                self._tokens.reserve(moves, wanted=0, now=self._now())
        finally:
            self._lock.release()


def _empty() -> Block:
    return Block(Reserved(tokens=0, held_second=0, next_at=0))
