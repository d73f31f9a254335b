"""A clock that a fake's control API can move: what a test steps, and what the desk's processes share, plus an offset."""

from __future__ import annotations

from datetime import datetime, timedelta

from fillbook.runtime.clock import Clock, FixedClock


class SteppedClock:
    """A clock that the control API can step: a test's own clock is stepped itself, any other gets an offset here."""

    def __init__(self, inner: Clock) -> None:
        self._inner = inner
        self._offset = timedelta()

    def now(self) -> datetime:
        """Return the desk's instant plus every step."""
        return self._inner.now() + self._offset

    def step(self, seconds: float) -> None:
        """Move by ``seconds``."""
        if isinstance(self._inner, FixedClock):
            self._inner.step(seconds)
        else:
            self._offset += timedelta(seconds=seconds)

    def set(self, now: datetime) -> None:
        """Move to an instant; from there it goes on as before. Raises ``ValueError`` for one without a zone."""
        if now.tzinfo is None:
            raise ValueError("a clock needs an aware instant")
        self.step((now - self.now()).total_seconds())
