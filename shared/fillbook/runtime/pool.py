"""A bounded pool of connections: one borrower each, no overflow, a short wait, then ``Unavailable``.

The pool's size is the function's concurrency (platform.md 2), so waiting is rare. A connection is lent only when it is in
step and silent; one that was idle for long is not trusted (network devices forget silent connections). After a fork the
child forgets the parent's connections without a word to the server.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable

from fillbook.runtime.clock import monotonic
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.wire import IDLE, Wire

WAIT_SECONDS_MAX = 3.0
IDLE_SECONDS_MAX = 240.0


class Pool:
    """Lends connections made by ``connect``; at most ``size`` exist at once."""

    def __init__(self, connect: Callable[[], Wire], size: int, *, wait_seconds: float = WAIT_SECONDS_MAX) -> None:
        self._connect = connect
        self._size = size
        self._wait_seconds = wait_seconds
        self._closed = False
        self._begin()
        _POOLS.add(self)

    def _begin(self) -> None:
        self._permits = threading.BoundedSemaphore(self._size)
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Wire]] = []

    def borrow(self) -> tuple[Wire, bool]:
        """Return a connection and whether it was used before; raises ``Unavailable`` after 3 s or when connecting fails."""
        if self._closed:
            raise Unavailable("database_unavailable", "the pool is closed")
        if not self._permits.acquire(timeout=self._wait_seconds):
            raise Unavailable("database_unavailable", f"no free connection within {self._wait_seconds} s")
        try:
            wire = self._idle_one()
            return (wire, True) if wire is not None else (self._connect(), False)
        except BaseException:
            self._permits.release()
            raise

    def borrow_second(self) -> Wire | None:
        """Return a further connection to somebody who has one, without waiting: None where all are lent or none can be made."""
        if self._closed or not self._permits.acquire(blocking=False):
            return None
        try:
            return self._idle_one() or self._connect()
        except Unavailable:
            self._permits.release()
            return None
        except BaseException:
            self._permits.release()
            raise

    def replace(self, wire: Wire) -> Wire:
        """Throw away a lent connection and return a fresh one in its place; on failure nothing is lent any more."""
        wire.close()
        try:
            return self._connect()
        except BaseException:
            self._permits.release()
            raise

    def give_back(self, wire: Wire) -> None:
        """Take a connection back; one that is out of step or inside a transaction is closed instead of kept."""
        with self._lock:
            is_kept = wire.in_step and wire.status == IDLE and not self._closed
            if is_kept:
                self._idle.append((monotonic(), wire))
        if not is_kept:
            wire.close()
        self._permits.release()

    def close(self) -> None:
        """Close the idle connections now and the lent ones as they come back; afterwards nothing is lent."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for _, wire in idle:
            wire.close()

    def _idle_one(self) -> Wire | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                since, wire = self._idle.pop()
            if monotonic() - since <= IDLE_SECONDS_MAX and wire.is_alive():
                return wire
            wire.close()

    def forget_after_fork(self) -> None:
        """In a forked child: the parent's sockets are closed silently, locks and permits start anew."""
        idle = self._idle
        self._begin()
        for _, wire in idle:
            wire.abandon()


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


def _forget_all() -> None:
    for pool in list(_POOLS):
        pool.forget_after_fork()


os.register_at_fork(after_in_child=_forget_all)
