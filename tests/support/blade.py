"""A proxy that ends a conversation after a chosen number of bytes: where a worker is killed, to the byte.

It notes the conversation's stretches (who spoke how many bytes), so that points can be chosen before, inside and after each
message. Once the point is reached, ``strike`` is called, what was on its way is lost, and nobody is connected any more.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.support.proxy import CHUNK, Proxy, _Pair


class Blade(Proxy):
    """Stands before ``host:port``; ``arm`` it for one conversation at a time."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.stretches: list[tuple[str, int]] = []
        self._passed = 0
        self._point: int | None = None
        self._strike: Callable[[], None] = lambda: None
        self.has_struck = False

    def arm(self, point: int | None, strike: Callable[[], None] = lambda: None) -> None:
        """Begin a conversation; end it after ``point`` bytes of both directions (None: let it be)."""
        self.kill()
        with self._lock:
            self.stretches, self._passed, self._point, self._strike, self.has_struck = [], 0, point, strike, False

    def _forward(self, pair: _Pair, side: str) -> bool:
        source, target = (pair.client, pair.server) if side == "client" else (pair.server, pair.client)
        data = source.recv(CHUNK)
        if not data:
            return False
        with self._lock:
            if self.has_struck:
                return False
            allowed = len(data) if self._point is None else min(len(data), self._point - self._passed)
            self._note(side, allowed)
            is_reached = self._point is not None and self._passed >= self._point
            self.has_struck = is_reached
        if allowed:
            target.sendall(data[:allowed])
        if is_reached:
            self._strike()
        return not is_reached

    def _note(self, side: str, length: int) -> None:
        self._passed += length
        if self.stretches and self.stretches[-1][0] == side:
            length += self.stretches.pop()[1]
        self.stretches.append((side, length))

    def points(self) -> list[int]:
        """The bytes before, inside and after each stretch of the conversation that has just been had."""
        found, passed = [0], 0
        for _, length in self.stretches:
            found += [passed + length // 2, passed + length - 1, passed + length]
            passed += length
        return found
