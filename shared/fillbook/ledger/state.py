"""What a booking is computed from: the answer of ``ledger.load`` as values.

A ``LedgerState`` holds the OPEN positions of the instruments that were asked for (and locked), the end of the book's chain
when its row was locked, and the journal's versions of the fills that were named. It refuses to answer for anything it was
not asked: a missing instrument is a ``KeyError``, not a flat position.
"""

from __future__ import annotations

from collections.abc import Mapping

from fillbook.ledger.model import BookHead, FillVersion, Key, Position, Totals
from fillbook.values import frozen


@frozen
class Tail:
    """Where an instrument's booking ends: the last booked key, the last adjustment, how many fills are parked."""

    last_key: Key | None = None
    last_adjustment_key: Key | None = None
    parked: int = 0

    def comes_after(self, key: Key) -> bool:
        """Whether a fill with ``key`` simply continues what is stored: sorts last, and nothing waits to be folded again."""
        return (
            not self.parked
            and (self.last_key is None or key > self.last_key)
            and (self.last_adjustment_key is None or key > self.last_adjustment_key)
        )


@frozen
class LedgerState:
    """``positions``: instrument -> its OPEN positions (net: at most one; hedge: LONG before SHORT), lots inside.

    ``journal``: fill_id -> its stored versions, for every fill id that was asked for (empty when new).
    """

    head: BookHead
    positions: Mapping[str, tuple[Position, ...]]
    tails: Mapping[str, Tail]
    journal: Mapping[str, tuple[FillVersion, ...]]
    totals: Totals | None = None

    def position(self, instrument: str) -> Position | None:
        """The one OPEN position of a net book's instrument, or None when flat; KeyError when it was not loaded."""
        found = self.positions[instrument]
        return found[0] if found else None
