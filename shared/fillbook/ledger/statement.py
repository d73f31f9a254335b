"""Nouns of a reconciliation: what a broker states, what the book held at that instant, and a break between the two.

Values only; numbers are exact Decimals, quantities here are **signed** (SHORT below zero), instants aware UTC, ``None`` is
unknown. A statement is judged complete by the room that fetched it; it is checked once at the door (``check_statement``).
Source: ledger specification, 3 (breaks) and 11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from fillbook.ledger import amounts, intake
from fillbook.ledger.ids import derived, instant_text
from fillbook.ledger.model import Book, Direction, Netting
from fillbook.ledger.words import REASON_FORM
from fillbook.money import NumberError, parse, plain
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

LINES_MAX = 5_000
CURRENCIES_MAX = 100
SOURCE_CHARACTERS_MAX = 64
NOTE_CHARACTERS_MAX = 1_000
EVERYTHING = "*"
"""In ``known_causes``: the cause of every break of the account that has none of its own."""


class BreakKind(StrEnum):
    """What disagrees."""

    POSITION_QUANTITY = "position_quantity"
    MISSING_IN_BOOK = "missing_in_book"
    MISSING_AT_BROKER = "missing_at_broker"
    AVERAGE_PRICE = "average_price"
    CASH = "cash"
    REALIZED_PNL = "realized_pnl"


POSITION_KINDS = frozenset({BreakKind.POSITION_QUANTITY, BreakKind.MISSING_IN_BOOK, BreakKind.MISSING_AT_BROKER})

Slot = tuple[str, Direction | None]
"""Where a position stands: the instrument, in hedging books with its direction."""


@frozen
class StatedPosition:
    """A position as the broker states it: signed quantity, in hedging books its direction, what one unit cost on average.

    ``average_price`` is per unit of the instrument (not per contract × multiplier), with or without fees. ``opened_at``
    where the broker tells how old the position is.
    """

    instrument: str
    direction: Direction | None = None
    quantity: Decimal
    average_price: Decimal | None = None
    currency: str
    opened_at: datetime | None = None

    @property
    def slot(self) -> Slot:
        """Instrument and direction."""
        return self.instrument, self.direction


@frozen
class StatedCash:
    """Cash of one currency over the statement's period: at its start, at its end, and what moved that is no execution."""

    currency: str
    start: Decimal
    end: Decimal
    other_movements: Decimal


@frozen
class StatedRealized:
    """Realized P&L of the statement's period, of one instrument (and direction), or of a whole currency (empty instrument)."""

    instrument: str = ""
    direction: Direction | None = None
    currency: str
    amount: Decimal


@frozen
class Statement:
    """What a broker says an account holds at ``as_of``; ``since`` begins the period of cash and realized (None: the book's).

    ``complete``: nothing is missing, so an instrument that is not listed is flat. ``account`` is who the broker says it is
    about (``ibkr``: the account, ``mt5``: ``server:login``; None: the room vouches for it). ``not_compared``: instruments
    that the broker does not list as positions. ``known_causes``: instrument -> slug, what only the room can know;
    ``"*"`` stands for every instrument and for cash.
    """

    book_id: str
    as_of: datetime
    source: str
    complete: bool
    account: str | None = None
    since: datetime | None = None
    positions: tuple[StatedPosition, ...] = ()
    cash: tuple[StatedCash, ...] = ()
    realized: tuple[StatedRealized, ...] = ()
    not_compared: frozenset[str] = frozenset()
    known_causes: Mapping[str, str] = field(default_factory=dict)


@frozen
class BreakKey:
    """What a break is about; ``direction`` in hedging books only, ``instrument`` empty for cash."""

    kind: BreakKind
    instrument: str
    direction: Direction | None
    currency: str

    def break_id(self, book_id: str) -> str:
        """The id of this break in a book, the same each time it comes back."""
        return derived("break", book_id, self.kind.value, self.instrument, self.direction and self.direction.value, self.currency)


@frozen
class Break:
    """A difference between book and broker as it stands: ``difference`` = actual (broker) − expected (book).

    ``expected`` and ``difference`` are None where the book's figure waits for fees. ``first_seen_at`` begins the present
    ``episode`` (a break that comes back is a new one), both seen instants are ``as_of`` of statements. ``sessions`` is its
    age, ``announced`` the age it was last told at, ``version`` numbers its history, ``updated_at`` is a recorded time.
    """

    book_id: str
    key: BreakKey
    ticker: str
    version: int
    episode: int
    first_seen_at: datetime
    last_seen_at: datetime
    resolved_at: datetime | None
    expected: Decimal | None
    actual: Decimal | None
    difference: Decimal | None
    cause: str
    note: str | None
    source: str
    sessions: int
    announced: int
    updated_at: datetime

    @property
    def break_id(self) -> str:
        """Its id."""
        return self.key.break_id(self.book_id)


def check_statement(statement: Statement, book: Book) -> Statement:
    """Return the statement with exact numbers and UTC instants; raises ``Rejected`` naming the field.

    ``book_not_reconciled`` for a replay book, ``direction_required`` in a hedging book, ``statement_line_twice``.
    """
    if book.kind == "replay":
        raise Rejected("book_not_reconciled", "a replay has no broker", field="book_id")
    intake.check_text(statement.source, "source", SOURCE_CHARACTERS_MAX)
    if type(statement.complete) is not bool:
        raise Rejected("complete_invalid", field="complete")
    as_of = intake.check_instant(statement.as_of, "as_of")
    since = None if statement.since is None else intake.check_instant(statement.since, "since")
    if since is not None and since > as_of:
        raise Rejected("since_invalid", "the period ends before it begins", field="since")
    _bounded(statement)
    for instrument, slug in statement.known_causes.items():
        intake.check_text(instrument, "known_causes", 160)
        if REASON_FORM.fullmatch(slug) is None:
            raise Rejected("known_causes_invalid", "a cause is a slug", field="known_causes")
    for instrument in statement.not_compared:
        intake.check_text(instrument, "not_compared", 160)
    positions = tuple(_position(position, book) for position in statement.positions)
    cash = tuple(_cash(line) for line in statement.cash)
    realized = tuple(_realized(line, book) for line in statement.realized)
    _once((position.slot for position in positions), "positions")
    _once((line.currency for line in cash), "cash")
    _once(((line.instrument, line.direction, line.currency) for line in realized), "realized")
    return replace(statement, as_of=as_of, since=since, positions=positions, cash=cash, realized=realized)


def _bounded(statement: Statement) -> None:
    for name, limit in (
        ("positions", LINES_MAX),
        ("cash", CURRENCIES_MAX),
        ("realized", LINES_MAX),
        ("not_compared", LINES_MAX),
        ("known_causes", LINES_MAX),
    ):
        if len(getattr(statement, name)) > limit:
            raise Rejected("statement_too_large", f"at most {limit} {name}", field=name)


def _position(line: StatedPosition, book: Book) -> StatedPosition:
    intake.check_text(line.instrument, "instrument", 160)
    intake.check_currency(line.currency, "currency")
    quantity = _number(line.quantity, "quantity", amounts.quantity)
    _direction(line.direction, book)
    if line.direction is not None and (quantity < 0) is (line.direction is Direction.LONG) and quantity:
        raise Rejected("quantity_sign_invalid", "a SHORT quantity is below zero, a LONG one above", field="quantity")
    price = None if line.average_price is None else _number(line.average_price, "average_price", amounts.price)
    opened_at = None if line.opened_at is None else intake.check_instant(line.opened_at, "opened_at")
    return replace(line, quantity=quantity, average_price=price, opened_at=opened_at)


def _direction(direction: Direction | None, book: Book) -> None:
    if (book.netting is Netting.HEDGE) is not isinstance(direction, Direction):
        reason = "direction_required" if direction is None else "direction_invalid"
        raise Rejected(reason, "a hedging book's lines name their direction, a netting book's do not", field="direction")


def _cash(line: StatedCash) -> StatedCash:
    intake.check_currency(line.currency, "currency")
    return replace(
        line,
        start=_number(line.start, "start", amounts.money),
        end=_number(line.end, "end", amounts.money),
        other_movements=_number(line.other_movements, "other_movements", amounts.money),
    )


def _realized(line: StatedRealized, book: Book) -> StatedRealized:
    intake.check_currency(line.currency, "currency")
    if line.instrument:
        intake.check_text(line.instrument, "instrument", 160)
        _direction(line.direction, book)
    elif line.direction is not None:
        raise Rejected("direction_invalid", "a whole currency has no direction", field="direction")
    return replace(line, amount=_number(line.amount, "amount", amounts.money))


def _number(value: Decimal, name: str, to_column: Callable[[Decimal], Decimal]) -> Decimal:
    try:
        return to_column(parse(value))
    except NumberError as error:
        raise Rejected(error.reason, name, field=name) from error


def _once(keys: Iterable[object], name: str) -> None:
    seen: set[object] = set()
    for key in keys:
        if key in seen:
            raise Rejected("statement_line_twice", name, field=name)
        seen.add(key)


def facts_document(statement: Statement) -> dict[str, Any]:
    """What the broker said, as JSON-able values in a fixed order: the same statement always gives the same document."""
    return {
        "book_id": statement.book_id,
        "as_of": instant_text(statement.as_of),
        "source": statement.source,
        "complete": statement.complete,
        "account": statement.account,
        "since": statement.since and instant_text(statement.since),
        "positions": [
            {
                "instrument": line.instrument,
                "direction": line.direction,
                "quantity": plain(line.quantity),
                "average_price": None if line.average_price is None else plain(line.average_price),
                "currency": line.currency,
                "opened_at": line.opened_at and instant_text(line.opened_at),
            }
            for line in sorted(statement.positions, key=lambda line: (line.instrument, line.direction or ""))
        ],
        "cash": [
            {
                "currency": line.currency,
                "start": plain(line.start),
                "end": plain(line.end),
                "other_movements": plain(line.other_movements),
            }
            for line in sorted(statement.cash, key=lambda line: line.currency)
        ],
        "realized": [
            {
                "instrument": line.instrument,
                "direction": line.direction,
                "currency": line.currency,
                "amount": plain(line.amount),
            }
            for line in sorted(statement.realized, key=lambda line: (line.instrument, line.direction or "", line.currency))
        ],
        "not_compared": sorted(statement.not_compared),
    }


def statement_document(statement: Statement) -> dict[str, Any]:
    """The statement as it is stored: the broker's facts, and what the room knew about them."""
    return {**facts_document(statement), "known_causes": dict(sorted(statement.known_causes.items()))}
