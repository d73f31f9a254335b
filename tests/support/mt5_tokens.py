"""Tokens of one instance without a database or a real second, for tests of whoever takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from fillbook.mt5 import tokens
from fillbook.mt5.allowance import Allowance
from fillbook.mt5.tokens import Reserved


class Table:
    """Tokens of one instance in memory, as the store keeps them, and a clock that sleeping moves."""

    def __init__(self, size: int) -> None:
        self.size, self.taken, self.at = size, Counter[int](), 1000.0
        self.reservations = 0

    def reserve(self, moves: Mapping[int, int], *, wanted: int, now: float) -> Reserved:
        self.reservations += 1
        self.taken.update(moves)
        given = tokens.given(self.taken, self.size, wanted, now)
        self.taken[given.held_second] += given.tokens
        return given

    def pause(self, until: float, *, now: float) -> None:
        self.taken[tokens.pause_second(until)] += tokens.EMPTIED

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += max(seconds, 0.001)

    def allowance(self) -> Allowance:
        return Allowance(self, block=10, now=self.now, monotonic=self.now, sleep=self.sleep)
