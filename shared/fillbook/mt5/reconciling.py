"""What a complete snapshot says to the ledger: a mark per instrument, and a statement of what the account holds.

The ledger compares positions; money is stated only where every instrument is of the account's currency, else the room's own
cash check proves it alone. A netting book is stated without average prices: the broker averages, the book keeps FIFO lots.
Source: mt5 specification, 10; ledger specification, 9 and 11.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Final

from fillbook.ledger.model import Direction, Mark
from fillbook.ledger.statement import StatedCash, StatedPosition, Statement
from fillbook.ledger.words import UNKNOWN_CURRENCY
from fillbook.money import CONTEXT, ZERO, to_price, vwap
from fillbook.mt5.fills import SOURCE, Terms, instrument_of
from fillbook.mt5.model import OpenPosition
from fillbook.mt5.words import TradeSide

_DIRECTIONS: Final[Mapping[TradeSide, Direction]] = {TradeSide.BUY: Direction.LONG, TradeSide.SELL: Direction.SHORT}


def marks(server: str, positions: Iterable[OpenPosition], marked_at: datetime) -> tuple[Mark, ...]:
    """One mark per instrument: what longs would be sold at (bid), shorts bought back at (ask), with both their middle."""
    seen: dict[str, dict[TradeSide, Decimal]] = {}
    for each in sorted(positions, key=lambda each: each.position_id):
        if each.price_current is not None:
            seen.setdefault(each.symbol, {})[each.side] = each.price_current
    return tuple(_mark(instrument_of(server, symbol), sides, marked_at) for symbol, sides in sorted(seen.items()))


def _mark(instrument: str, sides: Mapping[TradeSide, Decimal], marked_at: datetime) -> Mark:
    with localcontext(CONTEXT):
        price = to_price(sum(sides.values(), ZERO) / len(sides))
    return Mark(
        instrument=instrument,
        price=price,
        bid=sides.get(TradeSide.BUY),
        ask=sides.get(TradeSide.SELL),
        marked_at=marked_at,
        source=SOURCE,
    )


def statement(
    terms: Terms,
    book_id: str,
    positions: Sequence[OpenPosition],
    as_of: datetime,
    *,
    complete: bool,
    cash: StatedCash | None = None,
    known_causes: Mapping[str, str] | None = None,
) -> Statement:
    """What the account holds at ``as_of``. Every instrument that is not listed is flat, if ``complete``.

    ``cash``: from ``stated_cash``. ``known_causes``: instrument -> slug, what only the room can know, such as held fills.
    """
    grouped: dict[tuple[str, Direction], list[OpenPosition]] = {}
    for each in positions:
        grouped.setdefault((each.symbol, _DIRECTIONS[each.side]), []).append(each)
    ordered = sorted(grouped.items(), key=lambda item: item[0])
    return Statement(
        book_id=book_id,
        as_of=as_of,
        source=SOURCE,
        complete=complete,
        positions=tuple(_stated(terms, symbol, direction, held) for (symbol, direction), held in ordered),
        cash=() if cash is None else (cash,),
        known_causes=known_causes or {},
    )


def _stated(terms: Terms, symbol: str, direction: Direction, held: Sequence[OpenPosition]) -> StatedPosition:
    facts = terms.symbols.get(symbol)
    volume = sum((each.volume for each in held), ZERO)
    price = vwap([(each.volume, each.price_open) for each in held]) if terms.is_hedging else None
    return StatedPosition(
        instrument=instrument_of(terms.server, symbol),
        direction=direction if terms.is_hedging else None,
        quantity=volume if direction is Direction.LONG else -volume,
        average_price=None if price is None else to_price(price),
        currency=(facts and facts.currency_profit) or UNKNOWN_CURRENCY,
    )


def stated_cash(
    terms: Terms, booked: Iterable[str], balance: Decimal, opening_balance: Decimal, movements: Decimal, below_floor: Decimal
) -> StatedCash | None:
    """The account's cash since its book began, or None where the book cannot know it in the account's currency.

    ``booked``: raw symbols of every fill of the book. ``movements``: Σ cash operations since the floor, credit apart;
    ``below_floor``: Σ money of trades' deals stored below the floor (read by position): the book has them, the opening
    balance too.
    """
    known = (terms.symbols.get(symbol) for symbol in booked)
    if any(facts is None or facts.currency_profit != terms.currency or facts.contract_size is None for facts in known):
        return None
    with localcontext(CONTEXT):
        return StatedCash(currency=terms.currency, start=opening_balance - below_floor, end=balance, other_movements=movements)
