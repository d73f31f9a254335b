"""An oracle that is somebody else's program: beancount books the fills of a history by its own method.

It is told openings at their cost and closings without saying of what; which lots they take, and at what cost, is its own
finding. Fees enter cost and proceeds. Two of its habits are worked around: lots of one day have no order there, so every
fill has a day of its own; and its HIFO always takes the highest cost, so shorts are told to it as longs at mirrored prices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from typing import Any

from beancount.core import data
from beancount.parser import booking, parser

from fillbook.ledger.model import Fill, Side

MIRROR = Decimal(10) ** 9
"""Above every price × multiplier: a short at p is a long at MIRROR - p, and the lowest p the highest of those."""
_FIRST_DAY = date(2000, 1, 1)


@dataclass(slots=True)
class Found:
    """What the oracle says. Lots are named by the fill that opened them; a closing by its fill."""

    taken: dict[str, dict[str, Fraction]] = field(default_factory=dict)
    realized: dict[str, Fraction] = field(default_factory=dict)
    gross: dict[str, Fraction] = field(default_factory=dict)
    open: dict[str, tuple[Fraction, Fraction]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Part:
    """A fill, or the closing or opening part of one that crosses zero; ``amount`` = value ± its share of the fees."""

    fill: Fill
    quantity: Decimal
    sign: int
    opens: bool
    amount: Decimal


def money(value: Decimal) -> Decimal:
    return value.quantize(Decimal("1e-8"), ROUND_HALF_EVEN)


def parts_of(fills: Sequence[Fill]) -> list[_Part]:
    """The fills in booking order, cut where they cross zero; ``sign`` is that of the position."""
    held: dict[str, Decimal] = {}
    found: list[_Part] = []
    with localcontext() as context:
        context.prec = 60
        for fill in sorted(fills, key=lambda fill: fill.key):
            before = held.get(fill.instrument, Decimal(0))
            way = 1 if fill.side is Side.BUY else -1
            held[fill.instrument] = before + way * fill.quantity
            closes = min(fill.quantity, abs(before)) if before * way < 0 else Decimal(0)
            fees = fill.fees or Decimal(0)
            share = money(fees * closes / fill.quantity)
            assert fill.multiplier is not None
            for quantity, opens, fee in ((closes, False, share), (fill.quantity - closes, True, fees - share)):
                if quantity:
                    value = money(quantity * fill.price * fill.multiplier)
                    # a buyer pays the fee on top, a seller gets less by it: opening or closing alike
                    found.append(_Part(fill, quantity, way if opens else -way, opens, value + way * fee))
    return found


def ask(fills: Sequence[Fill], method: str) -> Found:
    """Let beancount book ``fills``, whose effects are all ``auto`` and whose fees are known, by FIFO, LIFO, HIFO or STRICT."""
    parts = parts_of(fills)
    by_ref = {part.fill.lot_ref: part.fill.fill_id for part in parts if part.opens and part.fill.lot_ref is not None}
    opened = {part.fill.fill_id: part for part in parts if part.opens}
    text = [f'2000-01-01 open Assets:{name} "{method}"\n' for name in ("Long", "Short")] + ["2000-01-01 open Equity:Rest\n"]
    for number, part in enumerate(parts):
        text.append(_entry(part, _FIRST_DAY + timedelta(days=number), method, by_ref))
    entries, errors, options = parser.parse_string("".join(text))
    entries, more = booking.book(entries, options)
    problems = [error.message for error in (*errors, *more)]
    assert problems == [], problems
    closings = [part for part in parts if not part.opens]
    booked = [entry for entry in entries if isinstance(entry, data.Transaction) and entry.narration == "close"]
    return _read(closings, booked, opened, method)


def _entry(part: _Part, day: date, method: str, by_ref: dict[str, str]) -> str:
    fill, mirrored = part.fill, method == "HIFO" and part.sign < 0
    account = "Assets:Short" if part.sign < 0 else "Assets:Long"
    way = 1 if mirrored else part.sign
    units = f"{way * part.quantity * (1 if part.opens else -1):f} {fill.instrument}X"
    if part.opens:
        unit = fill.price * (fill.multiplier or 1)
        label = f'{fill.currency}, {day}, "{fill.fill_id}"'
        by_unit = f"{{{MIRROR - unit if mirrored else unit:f} {label}}}"
        lines = [f"{account}  {units} " + (by_unit if method == "HIFO" else f"{{{{{part.amount:f} {label}}}}}")]
    elif method == "STRICT":
        lines = [
            f'{account}  {-way * pick.quantity:f} {fill.instrument}X {{{fill.currency}, "{by_ref[pick.lot]}"}}'
            for pick in fill.lot_picks or ()
        ]
    else:
        lines = [f"{account}  {units} {{{fill.currency}}}"]
    word = "open" if part.opens else "close"
    return f'{day} * "{word}"\n  ' + "\n  ".join([*lines, "Equity:Rest"]) + "\n"


def _read(closings: Sequence[_Part], booked: Sequence[Any], opened: dict[str, _Part], method: str) -> Found:
    found = Found()
    left = {name: [Fraction(part.quantity), Fraction(part.amount)] for name, part in opened.items()}
    for part, entry in zip(closings, booked, strict=True):
        taken: dict[str, Fraction] = {}
        cost = gross = Fraction(0)
        for posting in entry.postings:
            if posting.cost is None:
                continue
            lot, units = opened[posting.cost.label], Fraction(abs(posting.units.number))
            taken[posting.cost.label] = taken.get(posting.cost.label, Fraction(0)) + units
            # under HIFO the cost beancount knows is the price; the fee's share of a lot is its share of the quantity
            unit = Fraction(lot.amount) / Fraction(lot.quantity) if method == "HIFO" else Fraction(posting.cost.number)
            cost += units * unit
            left[posting.cost.label][0] -= units
            left[posting.cost.label][1] -= units * unit
            gross += units * (Fraction(part.fill.price) - Fraction(lot.fill.price)) * Fraction(part.fill.multiplier or 1)
        found.taken[part.fill.fill_id] = taken
        found.realized[part.fill.fill_id] = part.sign * (Fraction(part.amount) - cost)
        found.gross[part.fill.fill_id] = part.sign * gross
    found.open = {name: (quantity, basis) for name, (quantity, basis) in left.items() if quantity}
    return found
