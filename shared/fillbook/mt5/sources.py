"""What the room asks of an MT5 service: ports that ``mt5_service.py`` fills. An adapter stores nothing and decides nothing.

Every method raises ``ServiceFailure`` when nothing usable came. A call never outlives ``deadline`` (seconds of
``time.monotonic``) and is tried again inside the adapter at most once, as section 3.3 of the specification allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fillbook.mt5.model import DealPage, Health, Instance, Snapshot, SymbolFacts, Target, Window


class ReadsAccount(Protocol):
    """One account's answers."""

    def snapshot(self, target: Target, *, deadline: float) -> Snapshot:
        """Info and positions, each for itself a value or a failure; never raises but for ``identity_mismatch``."""
        ...

    def deals(
        self, target: Target, wanted: Window | int, *, cursor: str | None = None, limit: int = 1000, deadline: float
    ) -> DealPage:
        """One page of a window, or of the whole life of one position (an ``int``)."""
        ...


class ReadsHealth(Protocol):
    """An instance about itself."""

    def health(self, instance: Instance, *, deadline: float) -> Health:
        """Asked once per run and instance; settles ``auto`` into ``v1`` or ``v0``."""
        ...


class ReadsSymbols(Protocol):
    """Contract sizes and currencies."""

    def symbols(self, target: Target, names: Sequence[str], *, deadline: float) -> tuple[SymbolFacts, ...]:
        """At most 50 names; unknown ones are left out. The three-endpoint service knows none and returns nothing."""
        ...
