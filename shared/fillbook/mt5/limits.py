"""Rate limits of the instances that one part of a run asks: a token ahead of every request, a pause after a refusal."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from math import ceil
from typing import Final

from fillbook.mt5 import pacing_store
from fillbook.mt5.allowance import Allowance
from fillbook.mt5.desk import Desk
from fillbook.mt5.faults import CallFailed, Fault
from fillbook.mt5.tokens import BLOCK, Reserved, bucket
from fillbook.mt5.words import Code
from fillbook.runtime.db import Database

NOBODYS_DEADLINE: Final = 0.0


class _Tokens:
    """Tokens of one instance, out of the database by way of the desk."""

    def __init__(self, db: Database, desk: Desk, instance_key: str, size: int) -> None:
        self._db, self._desk, self._key, self._size = db, desk, instance_key, size

    def reserve(self, moves: Mapping[int, int], *, wanted: int, now: float) -> Reserved:
        return self._desk.write(
            lambda: self._db.run(lambda tx: pacing_store.reserve(tx, self._key, moves, size=self._size, wanted=wanted, now=now))
        )

    def pause(self, until: float, *, now: float) -> None:  # noqa: ARG002 - the port tells both
        self._desk.write(lambda: self._db.run(lambda tx: pacing_store.pause(tx, self._key, until=until)))


class Limits:
    """Called by pool threads; an instance without a published limit is asked as often as one likes."""

    def __init__(self, db: Database, desk: Desk) -> None:
        self._db, self._desk = db, desk
        self._allowances: dict[str, Allowance] = {}
        self._sizes: dict[str, int] = {}
        self._thread = threading.local()

    def publish(self, instance_key: str, per_minute: int | None) -> None:
        """An instance allows so many requests a minute; None: as many as one likes."""
        if per_minute is not None and self._sizes.get(instance_key) != bucket(per_minute):
            size = self._sizes[instance_key] = bucket(per_minute)
            tokens = _Tokens(self._db, self._desk, instance_key, size)
            self._allowances[instance_key] = Allowance(tokens, block=min(size, BLOCK))

    def count(self, instance_key: str, deadline: float) -> None:
        """A request was made before anybody knew of a limit: it counts all the same, if a token comes in time."""
        allowance = self._allowances.get(instance_key)
        if allowance is not None:
            allowance.take(deadline)

    def begin(self, deadline: float) -> None:
        """This thread works on an account until ``deadline`` (monotonic): it waits for a token no longer."""
        self._thread.deadline = deadline

    def before_call(self, instance_key: str) -> None:
        """Take a token; raises ``CallFailed`` (rate_limited) when none comes in time."""
        allowance = self._allowances.get(instance_key)
        if allowance is not None and not allowance.take(getattr(self._thread, "deadline", NOBODYS_DEADLINE)):
            raise CallFailed(Fault(code=Code.RATE_LIMITED))

    def after_429(self, instance_key: str, seconds: float) -> None:
        """A service wants to be left alone; its bucket is empty for every process."""
        allowance = self._allowances.get(instance_key)
        if allowance is not None:
            allowance.refused(ceil(seconds))

    def settle(self) -> None:
        """Give back what was reserved and not used."""
        for allowance in self._allowances.values():
            allowance.settle()
