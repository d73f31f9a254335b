"""How many requests one instance works on at once, how many more may wait for it, and how long; all others are told to come back.

A server's own queue has no end: whoever stands in it is answered long after his patience is over, and the work is done for
nobody, so that beyond its limit a function would do less the more is asked of it. Here a request is at work, waits its turn,
or is refused at once: what an instance takes is bounded by numbers, not by how fast it happens to be (decision 0073).

Patience counts from the instant at which the request was there, not from when a thread came to look at it: the kernel knows.

The numbers are the manifest's (``concurrency``, ``waiting``); the server has as many threads, and two more that refuse. Places
are handed over in the order of arrival: nobody overtakes who waits.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, Final

from fillbook.runtime import clock
from fillbook.runtime.errors import Unavailable

PATIENCE_MS: Final = 1_000
"""From here on Pub/Sub itself takes an answer for a sign of overload, and a person for a page that hangs."""
RETRY_AFTER_SECONDS: Final = 5
TOLD_EVERY_SECONDS: Final = 1.0
LAST_DATA_RECEIVED: Final = slice(52, 56)
"""Of Linux' ``struct tcp_info``: milliseconds since data last came in, 32 bits."""


class Overloaded(Unavailable):
    """There is no place for this request: nothing of it was looked at, and trying again in a few seconds helps."""

    def __init__(self) -> None:
        super().__init__("overloaded", retry_after_seconds=RETRY_AFTER_SECONDS)


class Places:
    """``at_once`` places; up to ``waiting`` requests stand in line for one, each for ``patience_ms`` at most.

    Whoever took a place gives it back when his answer is sent.
    """

    def __init__(self, at_once: int, *, waiting: int, patience_ms: int = PATIENCE_MS) -> None:
        self.at_once = at_once
        self.waiting = waiting
        self._free = at_once
        self._patience = patience_ms / 1000
        self._line: deque[Lock] = deque()
        self._lock = Lock()
        self._untold = 0
        self._told_at = float("-inf")

    @property
    def line(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def take(self, waited_seconds: float = 0) -> None:
        """Hold a place; raises ``Overloaded`` at once when the line is full, else when patience is over.

        ``waited_seconds``: how long the request has been there already. A free place is never refused, however late it is.
        """
        left = self._patience - waited_seconds
        with self._lock:
            if self._free:
                self._free -= 1
                return
            if left <= 0 or len(self._line) >= self.waiting:
                self._untold += 1
                raise Overloaded
            turn = Lock()
            turn.acquire()
            self._line.append(turn)
        if turn.acquire(timeout=left):
            return
        with self._lock:
            if turn in self._line:
                self._line.remove(turn)
                self._untold += 1
                raise Overloaded
        # the place was handed over in the very moment in which patience ended: it is ours

    def give_back(self) -> None:
        """Leave a place to the first in line, or free."""
        with self._lock:
            if self._line:
                self._line.popleft().release()
            else:
                self._free += 1

    def refused(self) -> int:
        """How many were refused since it was last asked; 0 within a second of that: a flood must not flood the log."""
        with self._lock:
            now = clock.monotonic()
            if now - self._told_at < TOLD_EVERY_SECONDS:
                return 0
            told, self._untold, self._told_at = self._untold, 0, now
            return told


def waited_seconds(sock: socket.socket | None) -> float:
    """How long a request that was sent in one go has been there, read by nobody; 0 where the kernel does not tell."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6) or not hasattr(socket, "TCP_INFO"):
        return 0.0
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_DATA_RECEIVED.stop)
    except OSError:
        return 0.0
    return int.from_bytes(told[LAST_DATA_RECEIVED], "little") / 1000


class Held:
    """The pieces of an answer that is made while it is sent; ``give_back`` is called after the last one, or when nobody listens.

    It may be called twice. Who forgets an answer that he never read or closed gives its place back too, as a generator would.
    """

    def __init__(self, pieces: Iterable[Any], give_back: Callable[[], object]) -> None:
        self._pieces = pieces
        self._next = iter(pieces).__next__
        self._give_back = give_back

    def __iter__(self) -> Held:
        return self

    def __next__(self) -> Any:
        try:
            return self._next()
        except BaseException:  # the end of the pieces too
            self._give_back()
            raise

    def close(self) -> None:
        """End early: what makes the pieces is told so."""
        try:
            close = getattr(self._pieces, "close", None)
            if close is not None:
                close()
        finally:
            self._give_back()

    def __del__(self) -> None:
        self._give_back()
