"""The desk of a run: one thread owns the database connection, all others hand it what they want written, and wait.

``Desk.write`` is the only way from a pool thread to the database; ``Time`` is the run's clocks and its only wait, so that a run
can be driven by a clock of a test.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from fillbook.runtime import clock

W = TypeVar("W")


class Time(Protocol):
    """The crew's clocks and its only wait."""

    def now(self) -> datetime:
        """Desk time."""
        ...

    def monotonic(self) -> float:
        """Real seconds that only grow."""
        ...

    def receive(self, inbox: SimpleQueue[Any], seconds: float) -> Any | None:
        """The next message, None when none came for ``seconds``."""
        ...


class RealTime:
    """The machine's time."""

    def __init__(self, desk: clock.Clock) -> None:
        self._desk = desk

    def now(self) -> datetime:
        """Desk time."""
        return self._desk.now()

    def monotonic(self) -> float:
        """Real seconds."""
        return clock.monotonic()

    def receive(self, inbox: SimpleQueue[Any], seconds: float) -> Any | None:
        """Wait for a message in real time."""
        try:
            return inbox.get(timeout=max(seconds, 0))
        except Empty:
            return None


class DeskClosed(Exception):
    """The run is over: what a late thread wants written is refused."""


class Asked:
    """Work that a thread wants done, and where its answer goes."""

    __slots__ = ("reply", "work")

    def __init__(self, work: Callable[[], Any], reply: Future[Any]) -> None:
        self.work, self.reply = work, reply


class Desk:
    """Where pool threads hand work to the thread that owns the connection; made by that thread."""

    def __init__(self) -> None:
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self._owner = threading.get_ident()
        self._lock = threading.Lock()
        self._open: set[Future[Any]] | None = set()

    def write(self, work: Callable[[], W]) -> W:
        """Have ``work`` done by the owner and return what it returns or raises; the owner itself does it at once.

        Raises ``DeskClosed`` when the run is over, before or while it waits.
        """
        if threading.get_ident() == self._owner:
            return work()
        reply: Future[W] = Future()
        with self._lock:
            if self._open is None:
                raise DeskClosed
            self._open.add(reply)
        self.inbox.put(Asked(work, reply))
        return reply.result()

    def do(self, asked: Asked) -> None:
        """By the owner: do what a thread asked for."""
        with self._lock:
            if self._open is not None:
                self._open.discard(asked.reply)
        try:
            asked.reply.set_result(asked.work())
        except Exception as error:  # noqa: BLE001 - it is the asking thread's
            asked.reply.set_exception(error)

    def close(self) -> None:
        """By the owner: nothing more is done; threads that wait are told."""
        with self._lock:
            waiting, self._open = self._open or set(), None
        for reply in waiting:
            reply.set_exception(DeskClosed())
