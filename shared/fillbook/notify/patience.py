"""How long a drainer waits: a budget of real seconds, and desk instants that may pass much faster than real ones."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from fillbook.runtime import clock
from fillbook.runtime.clock import Clock

SLICE_SECONDS = 0.25
"""A wait is cut into slices, so that what arrives meanwhile is seen."""
FIRST_SECONDS = 0.002


class Patience(Protocol):
    """Decides whether waiting is worth it, and waits."""

    @property
    def of_a_search(self) -> Patience:
        """That of a search, which is finished once it is begun: begun anew with each wait it would never end."""
        ...

    def is_over(self) -> bool:
        """Whether the budget is spent."""
        ...

    def wait(self, until: datetime) -> bool:
        """Wait towards ``until``, at most a slice; False when it cannot be reached within the budget."""
        ...


class Budget:
    """A budget in real seconds. How fast the desk clock runs is observed, so no setting is needed for it."""

    def __init__(self, desk: Clock, seconds: float) -> None:
        self._desk = desk
        self._deadline = clock.monotonic() + seconds

    @property
    def of_a_search(self) -> Patience:
        """The same budget."""
        return self

    def is_over(self) -> bool:
        """Whether the budget is spent."""
        return clock.monotonic() >= self._deadline

    def wait(self, until: datetime) -> bool:
        """Wait towards ``until``, at most a slice; False when it is too far for the budget (or the desk clock stands)."""
        began, real = self._desk.now(), clock.monotonic()
        if began >= until:
            return True
        left = self._deadline - real
        if left <= 0:
            return False
        clock.sleep(min(FIRST_SECONDS, left))
        moved, spent = self._desk.now() - began, clock.monotonic() - real
        if moved <= timedelta(0):
            return False
        gap = until - began - moved
        if gap <= timedelta(0):
            return True
        needed = gap / moved * spent
        if needed > left - spent:
            return False
        clock.sleep(min(needed, SLICE_SECONDS))
        return True


class Impatient:
    """Another's budget, without ever waiting but in the midst of a search."""

    def __init__(self, budget: Patience) -> None:
        self._budget = budget

    @property
    def of_a_search(self) -> Patience:
        """The budget itself."""
        return self._budget.of_a_search

    def is_over(self) -> bool:
        """Whether the budget is spent."""
        return self._budget.is_over()

    def wait(self, until: datetime) -> bool:  # noqa: ARG002 -- the protocol's signature
        """Never wait."""
        return False
