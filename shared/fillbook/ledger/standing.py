"""How a book stood as of T, known as of K: open positions with lots and marks, and totals per currency, in one snapshot.

What ``op ledger show`` prints. Totals are those of ``v_book_totals`` at another moment: currencies are never added, and a
figure is unknown (None) as soon as a part of it is, a missing mark included; the instruments without one are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, localcontext
from typing import Any

from fillbook.calendar import calendar
from fillbook.ledger import asof
from fillbook.ledger.amounts import minus, money, plus, total
from fillbook.ledger.asof import Held, KnownBook, Seen, Selection
from fillbook.ledger.ids import instant_text
from fillbook.ledger.model import Direction, Lot, Position
from fillbook.ledger.moment import Moment
from fillbook.ledger.valuation import mark_state, unrealized
from fillbook.money import CONTEXT, ONE, ZERO, plain
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

OPEN_POSITIONS_MAX = 5_000

Amount = Decimal | None


@frozen
class Standing:
    """A position with all its lots and its mark; ``unrealized_pnl`` is None without one, and for what is closed."""

    held: Held
    position: Position
    lots: tuple[Lot, ...]
    mark: Seen | None
    mark_state: str
    unrealized_pnl: Amount


@frozen
class Total:
    """One currency of a book: what ``v_book_totals`` says, at another moment."""

    currency: str
    cash: Amount
    realized_pnl: Amount
    fees: Amount
    market_value: Amount
    unrealized_pnl: Amount
    equity: Amount
    missing_marks: tuple[str, ...]


@frozen
class BookAsOf:
    """A book at a moment. ``positions`` newest entry first: the open ones, or all of one instrument that was asked for."""

    known: KnownBook
    at: Moment
    positions: tuple[Standing, ...]
    totals: tuple[Total, ...]


def book_as_of(db: Database, book_id: str, at: Moment, instrument: str | None = None) -> BookAsOf:
    """Read a book at a moment. With ``instrument`` the positions of it alone, closed ones too; the totals are the book's.

    Raises ``Rejected``: ``book_unknown``, ``too_many_positions``, ``too_many_actions``.
    """
    with db.transaction(read_only=True, isolation="repeatable read") as tx:
        known = asof.books(tx, [book_id], at)
        if book_id not in known:
            raise Rejected("book_unknown", field="book_id")
        opened = _stood(tx, known, at, Selection(status="open", rows_max=OPEN_POSITIONS_MAX + 1))
        shown = opened
        if instrument is not None:
            shown = _stood(tx, known, at, Selection(instrument=instrument, rows_max=OPEN_POSITIONS_MAX + 1))
        totals = tuple(_totals(tx, known[book_id], at, opened))
    return BookAsOf(known=known[book_id], at=at, positions=tuple(shown), totals=totals)


def _stood(tx: Tx, known: Mapping[str, KnownBook], at: Moment, chosen: Selection) -> list[Standing]:
    found = asof.positions(tx, known, at, chosen)
    if len(found) > OPEN_POSITIONS_MAX:
        raise Rejected("too_many_positions", f"more than {OPEN_POSITIONS_MAX} positions; name an instrument")
    unfolded = asof.unfold_all(tx, known, at, [held.place for held in found])
    seen = asof.marks(tx, [(held.book_id, held.instrument) for held in found], at.as_of, at)
    result = []
    for held in found:
        book, mark = known[held.book_id].book, seen.get((held.book_id, held.instrument))
        state = mark_state(None if mark is None else mark.marked_at, at.as_of, book.kind, calendar(book.calendar))
        gain = unrealized(held, None if mark is None else mark.price) if held.is_open else None
        one = unfolded[held.place]
        result.append(Standing(held=held, position=one.position, lots=one.lots, mark=mark, mark_state=state, unrealized_pnl=gain))
    return result


def _totals(tx: Tx, known: KnownBook, at: Moment, opened: Sequence[Standing]) -> Iterator[Total]:
    book = known.book
    rows = tx.query(asof.QUERIES["totals_as_of"], book_id=book.book_id, as_of=at.as_of, known_as_of=at.known_as_of)
    moved = {row["currency"]: row for row in rows}
    for currency in sorted({book.base_currency, *moved}):
        row = moved.get(currency) or {"has_moved": False, "has_realized": False}
        held = [one for one in opened if one.held.currency == currency]
        start = book.start_cash if currency == book.base_currency else ZERO
        with localcontext(CONTEXT):
            cash = plus(start, row["cash_effect"] if row["has_moved"] else ZERO)
            worth = [(one, _worth(one)) for one in held]
            yield Total(
                currency=currency,
                cash=cash,
                realized_pnl=row["realized_pnl"] if row["has_realized"] else ZERO,
                fees=row["fees"] if row["has_moved"] else ZERO,
                market_value=total(None if value is None else _sign(one) * value for one, value in worth),
                unrealized_pnl=total(_signed(one, minus(value, one.held.cost_basis)) for one, value in worth),
                equity=plus(cash, total(_in_equity(one, value) for one, value in worth)),
                missing_marks=tuple(sorted({one.held.instrument for one in held if one.mark is None})),
            )


def _worth(one: Standing) -> Amount:
    if one.mark is None or one.held.multiplier is None:
        return None
    return money(one.held.quantity_open * one.mark.price * one.held.multiplier)


def _sign(one: Standing) -> Decimal:
    return ONE if one.held.direction is Direction.LONG else -ONE


def _signed(one: Standing, amount: Amount) -> Amount:
    return None if amount is None else _sign(one) * amount


def _in_equity(one: Standing, worth: Amount) -> Amount:
    """What a position adds to cash: all it is worth where it was paid for, else what it gained."""
    return _signed(one, worth if one.held.cash_style == "full" else minus(worth, one.position.value_open))


def document(found: BookAsOf) -> dict[str, Any]:
    """The answer as one JSON document: both clocks, the book's seq, positions with lots, totals."""
    return {
        "book_id": found.known.book.book_id,
        "as_of": found.at.as_of,
        "known_as_of": found.at.known_as_of,
        "seq": found.known.seq,
        "positions": [_position_document(one) for one in found.positions],
        "totals": [
            {
                "currency": one.currency,
                **{name: _text(getattr(one, name)) for name in _TOTALS},
                "missing_marks": list(one.missing_marks),
            }
            for one in found.totals
        ],
    }


_TOTALS = "cash realized_pnl fees market_value unrealized_pnl equity".split()
_FIGURES = (
    "multiplier quantity_open quantity_opened quantity_closed vwap entry_vwap exit_vwap cost_basis fees_total realized_pnl "
    "realized_pnl_gross realized_pnl_base"
).split()
_FACTS = "position_id instrument ticker direction status currency opened_at last_action_at closed_at action_count".split()


def _position_document(one: Standing) -> dict[str, Any]:
    return {
        **{name: getattr(one.held, name) for name in _FACTS},
        **{name: _text(getattr(one.held, name)) for name in _FIGURES},
        "mark": None if one.mark is None else plain(one.mark.price),
        "marked_at": None if one.mark is None else one.mark.marked_at,
        "mark_source": None if one.mark is None else one.mark.source,
        "mark_state": one.mark_state,
        "unrealized_pnl": _text(one.unrealized_pnl),
        "lots": [
            {
                "lot_id": lot.lot_id,
                "opened_at": lot.opened_at,
                "status": lot.status,
                "quantity": plain(lot.quantity_adjusted),
                "quantity_open": plain(lot.quantity_open),
                "price": plain(lot.price_adjusted),
                "cost_basis": _text(lot.basis),
                "cost_basis_open": _text(lot.basis_open),
                "split_factor": plain(lot.split_factor),
            }
            for lot in one.lots
        ],
    }


def lines(found: BookAsOf) -> Iterator[str]:
    """The answer for a reader of the terminal: a line per position and per lot of it that was open, then the totals."""
    at, known = instant_text(found.at.as_of), instant_text(found.at.known_as_of)
    yield f"{found.known.book.book_id} as of {at}, known as of {known}, seq {found.known.seq}"
    for one in found.positions:
        held = one.held
        yield (
            f"{held.ticker:<8} {held.direction:<5} {held.status:<6} {plain(held.quantity_open)} of {plain(held.quantity_opened)}"
            f" @ {plain(held.vwap or held.entry_vwap)}  basis {_word(held.cost_basis)}"
            f"  realized {_word(held.realized_pnl)}  {_mark_words(one)}"
        )
        for lot in one.lots:
            if lot.quantity_open:
                opened, quantity = lot.opened_at.isoformat(timespec="seconds"), plain(lot.quantity_open)
                yield f"  {lot.lot_id}  {opened}  {quantity} @ {plain(lot.price_adjusted)}  basis {_word(lot.basis_open)}"
    for amount in found.totals:
        figures = "  ".join(f"{name} {_word(getattr(amount, name))}" for name in _TOTALS)
        unmarked = f"  (no mark: {', '.join(amount.missing_marks)})" if amount.missing_marks else ""
        yield f"{amount.currency}  {figures}{unmarked}"


def _mark_words(one: Standing) -> str:
    if not one.held.is_open:
        return "closed"
    if one.mark is None:
        return "unrealized unknown (no mark)"
    seen = one.mark.marked_at.isoformat(timespec="seconds")
    return f"unrealized {_word(one.unrealized_pnl)} at {plain(one.mark.price)} ({one.mark_state}, {one.mark.source}, {seen})"


def _text(amount: Amount) -> str | None:
    return None if amount is None else plain(amount)


def _word(amount: Amount) -> str:
    return "unknown" if amount is None else plain(amount)
