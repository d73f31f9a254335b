"""What the rules answer for one receipt before anything is booked: the lane they want and what they want done.

``Verdict`` is the common shape of discovery (no position) and management (a position); the intents are built here because
both open positions. Nothing here looks at the book: whether an intent is granted is ``admission``'s question.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from fillbook.signal.admission import confidence_of
from fillbook.signal.model import ADD, ENTER, EXIT, LONG, TRIM, Block, Check, Freed, Intent, PositionFacts, Receipt, new
from fillbook.signal.profile import Profile
from fillbook.signal.reading import Reading
from fillbook.signal.rules import slug_of


class Entry(NamedTuple):
    """The entry side of a complete receipt: its path if any, the comparisons of the paths, the sixteen of the gate."""

    path: str | None
    paths: tuple[Check, ...]
    gate: tuple[Check, ...]

    @property
    def passes(self) -> bool:
        """A path, and every gate rule holds."""
        if self.path is None:
            return False
        for check in self.gate:  # noqa: SIM110 (asked of every receipt: a generator costs as much as three rules)
            if not check.holds:
                return False
        return True

    @property
    def cycle(self) -> str:
        """The cycle key, as G16 compared it."""
        return str(self.gate[-1].value)


class Verdict(NamedTuple):
    """A lane with its reason and the rule that decided it.

    ``checks`` are all comparisons made, in order; ``check`` is the deciding one. ``pending`` are the exits that hold and wait
    for another receipt.
    """

    rule: str
    lane: str
    reason: str
    check: Check
    path: str | None = None
    intents: tuple[Intent, ...] = ()
    blocks: tuple[Block, ...] = ()
    badges: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    pending: tuple[tuple[str, int, int], ...] = ()


def failed(checks: tuple[Check, ...], why: str) -> tuple[Block, ...]:
    """The comparisons that do not hold, as blocks."""
    return tuple([new(Block, (rule, why, value, limit)) for rule, value, _, limit, holds in checks if not holds])


def enter(receipt: Receipt, reading: Reading, entry: Entry, *, ordinal: int = 1, freed: Freed | None = None) -> Intent:
    """The intent to open a position at this receipt's price; its plan is made when the ENTRY is booked."""
    assert entry.path is not None
    return Intent(
        kind=ENTER,
        ordinal=ordinal,
        side=reading.side,
        ticker=receipt.ticker,
        ts=receipt.ts,
        price=receipt.price,
        rule=entry.path,
        reason=slug_of(entry.path),
        sl=receipt.sl,
        score=reading.score,
        rr=reading.rr,
        confidence=_confidence(receipt, reading),
        sector=receipt.sector,
        cycle_key=entry.cycle,
        freed=freed,
    )


def add(receipt: Receipt, reading: Reading, entry: Entry, held: PositionFacts, config: Profile) -> Intent:
    """The intent to add to the position; A8 caps it at what is left of ``max_notional_x`` × initial value."""
    room = config.scale_in.max_notional_x * held.initial_value - held.opened_value
    return Intent(
        kind=ADD,
        ordinal=1,
        side=held.side,
        ticker=receipt.ticker,
        ts=receipt.ts,
        price=receipt.price,
        rule="M9",
        reason="scale_in",
        sl=receipt.sl,
        score=reading.score,
        rr=reading.rr,
        confidence=_confidence(receipt, reading),
        sector=receipt.sector,
        cycle_key=entry.cycle,
        value_max=room,
    )


def trim(receipt: Receipt, held: PositionFacts, rule: str, *, tiers: int, quantity: Decimal) -> Intent:
    """The intent to close part of the position: one action however many tiers it takes."""
    return _close(TRIM, receipt, held, rule, tiers=tiers, quantity=quantity)


def leave(receipt: Receipt, held: PositionFacts, rule: str) -> Intent:
    """The intent to close the position whole."""
    return _close(EXIT, receipt, held, rule, tiers=0, quantity=held.quantity)


def freed_by(receipt: Receipt, held: PositionFacts) -> Freed:
    """What leaving at this price gives back to the book before a flip's entry is admitted."""
    gain = receipt.price - held.vwap if held.side == LONG else held.vwap - receipt.price
    return Freed(sector=held.sector, cost_basis=held.vwap * held.quantity, realized=gain * held.quantity)


def _close(kind: str, receipt: Receipt, held: PositionFacts, rule: str, *, tiers: int, quantity: Decimal) -> Intent:
    return Intent(
        kind=kind,
        ordinal=1,
        side=held.side,
        ticker=receipt.ticker,
        ts=receipt.ts,
        price=receipt.price,
        rule=rule,
        reason=slug_of(rule),
        quantity=quantity,
        tiers_taken=tiers,
        sector=held.sector,
    )


def _confidence(receipt: Receipt, reading: Reading) -> Decimal:
    assert reading.rr is not None
    assert receipt.htf_score is not None
    assert receipt.ltf_score is not None
    flags = receipt.flags or ()
    return confidence_of(
        score=reading.score,
        rr=reading.rr,
        htf=receipt.htf_score,
        ltf=receipt.ltf_score,
        elite=reading.elite,
        squeeze=reading.released or "sq30_on" in flags,
    )
