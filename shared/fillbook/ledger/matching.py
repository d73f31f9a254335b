"""Book and broker compared: a statement against the book at its instant, every comparison found, agreed or not made.

What was not made proves nothing, so it may neither open nor close a break: an instrument that is not compared, a price or
an amount the broker does not state, a figure of ours that waits for a contract size. Pure; tolerances and kinds come from
the specification, 11.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from decimal import Decimal, localcontext

from fillbook.ledger import amounts
from fillbook.ledger.model import Direction
from fillbook.ledger.statement import (
    POSITION_KINDS,
    BreakKey,
    BreakKind,
    Slot,
    StatedCash,
    StatedPosition,
    StatedRealized,
    Statement,
)
from fillbook.ledger.words import UNKNOWN_CURRENCY
from fillbook.money import CONTEXT, ZERO
from fillbook.values import frozen

STATEMENT_AGE_MAX = timedelta(hours=24)
CLOCK_SKEW_MAX = timedelta(minutes=5)
PRICE_TOLERANCE = Decimal("0.0001")
MONEY_TOLERANCE = Decimal("0.01")
POSITIONS = "positions"


@frozen
class Held:
    """A position of the book at the statement's instant; ``quantity`` is signed."""

    instrument: str
    ticker: str
    direction: Direction | None
    currency: str
    multiplier: Decimal | None
    quantity: Decimal
    vwap: Decimal | None
    cost_basis: Decimal | None

    @property
    def basis_per_unit(self) -> Decimal | None:
        """What one unit cost, fees included; None while fees or contract size are unknown."""
        if self.cost_basis is None or self.multiplier is None:
            return None
        return self.cost_basis / (abs(self.quantity) * self.multiplier)


@frozen
class Moved:
    """What executions of a period did to one amount: without fees (None: a contract size is unknown), the known fees."""

    gross: Decimal | None
    fees: Decimal = ZERO
    unknown: int = 0
    executions: int = 0


NOTHING = Moved(gross=ZERO)


@frozen
class BookAt:
    """The book as a statement meets it: what it held at ``as_of``, what moved in the period, where its history begins.

    ``overtaken``: subjects (``positions``, ``cash/USD``, ``realized/AMD//USD``) on which a newer statement has spoken.
    """

    held: tuple[Held, ...] = ()
    cash: Mapping[str, Moved] = field(default_factory=dict)
    realized: Mapping[tuple[str, Direction | None, str], Moved] = field(default_factory=dict)
    first_fill_at: datetime | None = None
    overtaken: frozenset[str] = frozenset()


@frozen
class Finding:
    """One comparison that failed. ``gap`` is the difference as far as it is known, for finding the cause."""

    key: BreakKey
    ticker: str
    expected: Decimal | None
    actual: Decimal
    gap: Decimal
    fees_unknown: bool = False
    executions: int = 0
    held: Held | None = None
    stated: StatedPosition | None = None

    @property
    def difference(self) -> Decimal | None:
        """Broker less book; None where the book's figure is unknown."""
        return None if self.expected is None else self.gap


@frozen
class Comparison:
    """What came of a comparison: findings by key, and what was looked at, so that silence is not taken for agreement."""

    findings: Mapping[BreakKey, Finding]
    subjects: tuple[str, ...]
    not_compared: frozenset[str]
    priced: frozenset[Slot]
    standing: frozenset[Slot]

    def agrees(self, key: BreakKey) -> bool:
        """Whether this comparison was made and found nothing."""
        if key in self.findings or subject_of(key) not in self.subjects:
            return False
        if key.kind in POSITION_KINDS or key.kind is BreakKind.AVERAGE_PRICE:
            if key.instrument in self.not_compared:
                return False
            slot = (key.instrument, key.direction)
            # without a position on either side there is no price to disagree about
            return key.kind is not BreakKind.AVERAGE_PRICE or slot in self.priced or slot not in self.standing
        return True


def subject_of(key: BreakKey) -> str:
    """What a statement must speak of to say anything about a key."""
    if key.kind is BreakKind.CASH:
        return f"cash/{key.currency}"
    if key.kind is BreakKind.REALIZED_PNL:
        return f"realized/{key.instrument}/{key.direction or ''}/{key.currency}"
    return POSITIONS


def inconclusive(statement: Statement, now: datetime) -> str | None:
    """Why a statement proves nothing (a slug), or None: incomplete, of another account, too old, from the future."""
    account = statement.book_id.partition(":")[2]
    reasons = (
        ("other_account", statement.account is not None and statement.account != account),
        ("incomplete", not statement.complete),
        ("too_old", now - statement.as_of > STATEMENT_AGE_MAX),
        ("from_the_future", statement.as_of - now > CLOCK_SKEW_MAX),
    )
    return next((reason for reason, holds in reasons if holds), None)


# --- comparing --------------------------------------------------------------------------------------------------------


def compare(statement: Statement, book: BookAt) -> Comparison:
    """Compare a complete statement with the book at its instant (tolerances: specification, 11)."""
    with localcontext(CONTEXT):
        findings = list(_positions(statement, book))
        findings += _cash(statement.cash, book.cash)
        findings += _realized(statement.realized, book.realized)
    stated = {line.slot: line for line in statement.positions if line.quantity}
    held = {(position.instrument, position.direction) for position in book.held}
    return Comparison(
        findings={finding.key: finding for finding in findings},
        subjects=tuple(_subjects(statement, book)),
        not_compared=statement.not_compared,
        priced=frozenset(slot for slot, line in stated.items() if line.average_price is not None and slot in held),
        standing=frozenset(stated) | frozenset(held),
    )


def _subjects(statement: Statement, book: BookAt) -> Iterator[str]:
    yield POSITIONS
    for cash in statement.cash:
        if book.cash.get(cash.currency, NOTHING).gross is not None:
            yield f"cash/{cash.currency}"
    for line in statement.realized:
        if book.realized.get((line.instrument, line.direction, line.currency), NOTHING).gross is not None:
            yield f"realized/{line.instrument}/{line.direction or ''}/{line.currency}"


def _positions(statement: Statement, book: BookAt) -> Iterator[Finding]:
    stated = {line.slot: line for line in statement.positions}
    held = {(position.instrument, position.direction): position for position in book.held}
    for slot in sorted(stated.keys() | held.keys(), key=lambda slot: (slot[0], slot[1] or "")):
        if slot[0] in statement.not_compared:
            continue
        line, position = stated.get(slot), held.get(slot)
        expected = ZERO if position is None else position.quantity
        actual = ZERO if line is None else line.quantity
        if expected != actual:
            yield _finding(_kind(expected, actual), slot, position, line, expected, actual)
        elif position is not None and line is not None and line.average_price is not None:
            yield from _average_price(slot, position, line, line.average_price)


def _kind(expected: Decimal, actual: Decimal) -> BreakKind:
    if not expected:
        return BreakKind.MISSING_IN_BOOK
    return BreakKind.POSITION_QUANTITY if actual else BreakKind.MISSING_AT_BROKER


def _average_price(slot: Slot, position: Held, line: StatedPosition, actual: Decimal) -> Iterator[Finding]:
    """Brokers state it with or without fees: the nearer of vwap and basis per unit is what is expected."""
    ours = [price for price in (position.vwap, position.basis_per_unit) if price is not None]
    expected = min(ours, key=lambda price: abs(actual - price), default=None)
    if expected is not None and abs(actual - expected) > PRICE_TOLERANCE * abs(expected):
        rounded = amounts.price(expected)
        yield _finding(BreakKind.AVERAGE_PRICE, slot, position, line, rounded, actual)


def _finding(
    kind: BreakKind, slot: Slot, position: Held | None, line: StatedPosition | None, expected: Decimal, actual: Decimal
) -> Finding:
    names_currency = position is not None and position.currency != UNKNOWN_CURRENCY
    currency = position.currency if position is not None and names_currency else line.currency if line else UNKNOWN_CURRENCY
    return Finding(
        key=BreakKey(kind=kind, instrument=slot[0], direction=slot[1], currency=currency),
        ticker=slot[0] if position is None else position.ticker,
        expected=expected,
        actual=actual,
        gap=actual - expected,
        fees_unknown=kind is BreakKind.AVERAGE_PRICE and position is not None and position.cost_basis is None,
        held=position,
        stated=line,
    )


def _cash(lines: Iterable[StatedCash], moved: Mapping[str, Moved]) -> Iterator[Finding]:
    for line in lines:
        key = BreakKey(kind=BreakKind.CASH, instrument="", direction=None, currency=line.currency)
        yield from _amount(key, line.start + line.other_movements, moved.get(line.currency, NOTHING), line.end)


def _realized(lines: Iterable[StatedRealized], realized: Mapping[tuple[str, Direction | None, str], Moved]) -> Iterator[Finding]:
    for line in lines:
        key = BreakKey(kind=BreakKind.REALIZED_PNL, instrument=line.instrument, direction=line.direction, currency=line.currency)
        found = realized.get((line.instrument, line.direction, line.currency), NOTHING)
        yield from _amount(key, ZERO, found, line.amount)


def _amount(key: BreakKey, before: Decimal, moved: Moved, actual: Decimal) -> Iterator[Finding]:
    """An amount of money. With fees unknown the book has no figure: it disagrees only if even the known part does."""
    if moved.gross is None:
        return
    known = before + moved.gross - moved.fees
    if abs(actual - known) > MONEY_TOLERANCE:
        yield Finding(
            key=key,
            ticker=key.instrument or key.currency,
            expected=None if moved.unknown else known,
            actual=actual,
            gap=actual - known,
            fees_unknown=bool(moved.unknown),
            executions=moved.executions,
        )
