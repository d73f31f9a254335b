"""What a book must hold, worked out from the bare facts: fractions, lists and one loop, and nothing of the ledger's own code.

It keeps everything that was told with the minute it was told at, and folds what counted then from the beginning; so it can be
asked for any moment as known at any other. FIFO and LIFO, netting books, effects ``auto`` and ``close``, one currency, splits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import NamedTuple

from fillbook.ledger.model import Fill

Key = tuple[datetime, str, str]


class Told(NamedTuple):
    """A version of a fact, and when the book was told."""

    fill: Fill
    known_at: datetime


class Split(NamedTuple):
    """A split, or that it is none; and when the book was told."""

    instrument: str
    ratio: Fraction
    effective_at: datetime
    is_void: bool
    known_at: datetime


@dataclass(slots=True)
class Lot:
    """What is left of an opening: signed quantity, price and fee of one unit (None: unknown)."""

    quantity: Fraction
    price: Fraction
    fee: Fraction | None


@dataclass(slots=True)
class Held:
    """One instrument: open lots in the order they were opened, what each closing fill gained, what fits nowhere."""

    lots: list[Lot] = field(default_factory=list)
    gained: dict[str, Fraction | None] = field(default_factory=dict)
    parked: set[str] = field(default_factory=set)

    @property
    def quantity(self) -> Fraction:
        """Signed."""
        return sum((lot.quantity for lot in self.lots), Fraction(0))


class BookModel:
    """Everything a book was told."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.told: list[Told] = []
        self.splits: list[Split] = []

    def current(self, known_as_of: datetime) -> list[Fill]:
        """Per fact the version that counts: the highest revision, a bust before what it busts, then the last told."""
        best: dict[str, tuple[tuple[int, bool], Fill]] = {}
        for one in self.told:
            rank = (one.fill.source_revision, one.fill.is_bust)
            known = best.get(one.fill.source_id)
            if one.known_at <= known_as_of and (known is None or rank >= known[0]):
                best[one.fill.source_id] = (rank, one.fill)
        return [fill for _, fill in best.values() if not fill.is_bust]

    def held(self, instrument: str, as_of: datetime, known_as_of: datetime) -> Held:
        """The instrument at a moment as it was known at another."""
        events: list[tuple[Key, Fill | Split]] = [
            (fill.key, fill) for fill in self.current(known_as_of) if fill.instrument == instrument and fill.executed_at <= as_of
        ]
        events += [((one.effective_at, "", ""), one) for one in self._in_force(instrument, as_of, known_as_of)]
        held = Held()
        for _, event in sorted(events, key=lambda one: one[0]):
            if isinstance(event, Split):
                for lot in held.lots:
                    lot.quantity, lot.price = lot.quantity * event.ratio, lot.price / event.ratio
                    lot.fee = None if lot.fee is None else lot.fee / event.ratio
            else:
                self._book(held, event)
        return held

    def _in_force(self, instrument: str, as_of: datetime, known_as_of: datetime) -> Iterable[Split]:
        last: dict[datetime, Split] = {}
        for one in self.splits:
            if one.instrument == instrument and one.known_at <= known_as_of and one.effective_at <= as_of:
                last[one.effective_at] = one
        return [one for one in last.values() if not one.is_void]

    def _book(self, held: Held, fill: Fill) -> None:
        way = 1 if fill.side == "BUY" else -1
        left, price = Fraction(fill.quantity), Fraction(fill.price)
        fee = None if fill.fees is None else Fraction(fill.fees) / left
        facing = [lot for lot in held.lots if lot.quantity * way < 0]
        if fill.position_effect == "close" and sum((abs(lot.quantity) for lot in facing), Fraction(0)) < left:
            held.parked.add(fill.source_id)
            return
        for lot in facing if self.method == "FIFO" else facing[::-1]:
            part = min(left, abs(lot.quantity))
            if not part:
                break
            gain = None if fee is None or lot.fee is None else part * ((lot.price - price) * way - fee - lot.fee)
            before = held.gained.get(fill.source_id, Fraction(0))
            held.gained[fill.source_id] = None if gain is None or before is None else before + gain
            lot.quantity += way * part
            left -= part
        held.lots = [lot for lot in held.lots if lot.quantity]
        if left:
            held.lots.append(Lot(way * left, price, fee))
