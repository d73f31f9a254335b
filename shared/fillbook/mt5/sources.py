"""What the room asks of an MT5 service: ports that ``mt5_service.py`` fills. An adapter stores nothing and decides nothing.

Every method raises ``ServiceFailure`` when nothing usable came. A call never outlives ``deadline`` (seconds of
``time.monotonic``) and is tried again inside the adapter as section 3.3 of the specification allows: ``retries`` is what the
account's run has left of that, one object for all its calls; a call without one is a run of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fillbook.mt5.faults import Retries
from fillbook.mt5.known import Told
from fillbook.mt5.model import DealPage, Health, Instance, Snapshot, SymbolFacts, Target, Window
from fillbook.mt5.words import PAGE_ROWS_MAX


class ReadsAccount(Protocol):
    """One account's answers."""

    def snapshot(self, target: Target, *, deadline: float, retries: Retries | None = None) -> Snapshot:
        """Info and positions, each for itself a value or a failure; never raises but for ``identity_mismatch``."""
        ...

    def deals(
        self,
        target: Target,
        wanted: Window | int,
        *,
        cursor: str | None = None,
        limit: int = PAGE_ROWS_MAX,
        deadline: float,
        retries: Retries | None = None,
        known: Told | None = None,
    ) -> DealPage:
        """One page of a window, or of the whole life of one position (an ``int``), without rows that were not asked for.

        ``known``: rows that need not be read where they are all that came.
        """
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
