"""Sessions of service instances that one process holds for its part of a run: claimed, kept, given back.

How many an instance lends is one number over all processes (``session_slots``). A process never has more accounts in flight at
an instance than sessions it holds; one that dies gives them back when their lease ends.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from queue import SimpleQueue
from typing import Any, Final

from fillbook.mt5 import pacing_store
from fillbook.mt5.desk import Time
from fillbook.runtime.db import Database

LEASE_SECONDS: Final = 60
RENEW_SECONDS: Final = 15
WAIT_SECONDS: Final = 60
LOOK_SECONDS: Final = 1


class Sessions:
    """Used by the thread that owns the connection."""

    def __init__(self, db: Database, maxima: Mapping[str, int], *, wanted: int, holder: str | None = None) -> None:
        """``maxima``: sessions that each instance lends in all; ``wanted``: the most this process can use of one instance."""
        self._db, self._maxima, self._wanted = db, dict(maxima), wanted
        self._holder = holder or str(uuid.uuid4())
        self._held: dict[str, frozenset[int]] = dict.fromkeys(self._maxima, frozenset())

    def limit(self, instance_key: str) -> int:
        """How many accounts may be in flight at an instance."""
        return len(self._held.get(instance_key, ()))

    def claim(self) -> None:
        """Claim what is free of what is still wanted."""
        for key, most in self._maxima.items():
            missing = min(self._wanted, most) - len(self._held[key])
            if missing > 0:
                self._held[key] |= self._claimed(key, most, missing)

    def _claimed(self, key: str, most: int, missing: int) -> frozenset[int]:
        return self._db.run(
            lambda tx: pacing_store.claim_slots(
                tx, key, self._holder, sessions_max=most, wanted=missing, lease_seconds=LEASE_SECONDS
            )
        )

    def wait(self, clocks: Time, until: float) -> frozenset[str]:
        """Claim until every instance lends one session, or until an instant (monotonic); the keys of those that do not."""
        while True:
            self.claim()
            empty = frozenset(key for key, held in self._held.items() if not held)
            left = until - clocks.monotonic()
            if not empty or left <= 0:
                return empty
            clocks.receive(SimpleQueue[Any](), min(left, LOOK_SECONDS))

    def keep(self) -> None:
        """Prolong what is held; what was lost meanwhile is claimed again where it is free."""
        for key, most in self._maxima.items():
            if self._held[key]:
                self._held[key] = self._renewed(key, most)
        self.claim()

    def _renewed(self, key: str, most: int) -> frozenset[int]:
        return self._db.run(
            lambda tx: pacing_store.renew_slots(tx, key, self._holder, sessions_max=most, lease_seconds=LEASE_SECONDS)
        )

    def release(self) -> None:
        """Give everything back."""
        for key, held in self._held.items():
            if held:
                self._released(key, len(held))
                self._held[key] = frozenset()

    def _released(self, key: str, count: int) -> None:
        self._db.run(lambda tx: pacing_store.release_slots(tx, key, self._holder, count=count))
