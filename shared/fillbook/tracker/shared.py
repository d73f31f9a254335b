"""Answers that several readers may see: made once after a change, sent to everybody who asks the same.

Whatever a reader may be told is unchanged (304), another reader may be sent: a tag names the route, what was asked, what the key
may see, and the state of all that the answer is made of (``stamps.py``). So an answer is kept under its tag, and whoever asks for
one that is being made waits for it instead of making it again: many readers of a view cost as much as one. An answer is sent in
the minute in which it was made, so that its ``as_of`` is never older, and is kept as most readers want it, compressed.
Source: decision 0078.
"""

from __future__ import annotations

import gzip
from collections import OrderedDict
from collections.abc import Callable
from threading import Event, Lock
from typing import Final

from fillbook.tracker.dressing import GZIP_BYTES_MIN, GZIP_LEVEL
from fillbook.values import frozen

KEPT_BYTES_MAX: Final = 8_000_000
"""Of a process: some two hundred pages of 200 positions with everything."""
ONE_BYTES_MAX: Final = 1_000_000
WAITS_MS: Final = 3_000
"""As long as a statement may take; then a reader makes his answer himself."""


@frozen
class Body:
    """What an answer holds: ``content``, which is gzip's where ``is_packed``."""

    content: bytes
    is_packed: bool

    @property
    def plain(self) -> bytes:
        """As it was before it was compressed."""
        return gzip.decompress(self.content) if self.is_packed else self.content


def packed(content: bytes) -> Body:
    """A body as it is kept: compressed where that is worth it."""
    if len(content) < GZIP_BYTES_MIN:
        return Body(content=content, is_packed=False)
    return Body(content=gzip.compress(content, GZIP_LEVEL, mtime=0), is_packed=True)


class Answers:
    """The answers of a process by tag; the least recently sent ones are forgotten first."""

    def __init__(self, bytes_max: int = KEPT_BYTES_MAX, one_max: int = ONE_BYTES_MAX, waits_ms: int = WAITS_MS) -> None:
        """Nothing is kept yet; 0 bytes keep nothing but what is being made."""
        self._bytes_max = bytes_max
        self._one_max = one_max
        self._waits = waits_ms / 1000
        self._kept: OrderedDict[str, Body] = OrderedDict()
        self._bytes = 0
        self._making: dict[str, _Making] = {}
        self._lock = Lock()

    def of(self, tag: str, make: Callable[[], Body]) -> Body:
        """The answer of a tag: kept, made by somebody else meanwhile, or made here.

        What ``make`` raises is its caller's alone.
        """
        with self._lock:
            kept = self._kept.get(tag)
            if kept is not None:
                self._kept.move_to_end(tag)
                return kept
            is_first = tag not in self._making
            making = self._making.setdefault(tag, _Making())
        if is_first:
            return self._make(tag, making, make)
        making.ended.wait(self._waits)
        return make() if making.body is None else making.body

    def _make(self, tag: str, making: _Making, make: Callable[[], Body]) -> Body:
        try:
            body = making.body = make()
            with self._lock:
                self._keep(tag, body)
        finally:
            with self._lock:
                del self._making[tag]
            making.ended.set()
        return body

    def _keep(self, tag: str, body: Body) -> None:
        if len(body.content) > self._one_max:
            return
        self._kept[tag] = body
        self._bytes += len(body.content)
        while self._bytes > self._bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.content)


class _Making:
    """An answer that somebody is at; ``body`` stays None where that failed."""

    def __init__(self) -> None:
        self.ended = Event()
        self.body: Body | None = None
