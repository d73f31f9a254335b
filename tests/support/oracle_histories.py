"""Histories for the oracle's campaign, each from one seed: what finally stands, and how it came to be told.

Longs, shorts, reversals, partial and fractional fills of several lots, a multiplier, a second currency, fees and rebates.
Some facts are told wrong first and corrected, some never happened and are busted; all of it in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random

from fillbook.ledger.model import Fill
from tests.support.ledger import make_fill

FILLS_MAX = 14
TERMS = {
    "AMD": {"currency": "USD", "multiplier": "1"},
    "ES": {"currency": "USD", "multiplier": "50", "cash_style": "margin"},
    "SAP": {"currency": "EUR", "multiplier": "1", "fx_rate": "1.1"},
}


@dataclass(frozen=True, slots=True)
class Told:
    """``final``: what stands, in booking order; ``deliveries``: how it was told."""

    final: list[Fill]
    deliveries: list[Fill]


def history(seed: int, *, picks: bool = False) -> Told:
    """The history of a seed; with ``picks`` every closing names its lots and none crosses zero."""
    rng = Random(seed)
    final: list[Fill] = []
    books: dict[str, list[list[object]]] = {}
    for number in range(rng.randint(2, FILLS_MAX)):
        instrument = rng.choice(list(TERMS))
        book = books.setdefault(instrument, [])
        options: dict[str, object] = {}
        side, quantity = rng.choice(["BUY", "SELL"]), _quantity(rng)
        if picks and book:
            is_long = book[0][2] == "BUY"
            if (side == "BUY") is not is_long:
                quantity, options["lot_picks"] = _picks(rng, book)
        if picks and "lot_picks" not in options:
            book.append([f"L{number}", quantity, side])
            options["lot_ref"] = f"L{number}"
        price = Decimal(rng.randint(100, 30_000)) / 100 if rng.random() < 0.8 else Decimal(rng.randint(1, 3_000_000)) / 10_000
        final.append(_fill(rng, f"x{number}", side, quantity, price, number, instrument, **options))
    return Told(final, _deliveries(rng, final))


def _quantity(rng: Random) -> Decimal:
    kind = rng.random()
    if kind < 0.6:
        return Decimal(rng.randint(1, 20))
    return Decimal(rng.randint(1, 99_999)) / 10_000 if kind < 0.9 else Decimal(rng.randint(1, 3 * 10**10)) / 10**10


def _picks(rng: Random, book: list[list[object]]) -> tuple[Decimal, list[tuple[str, str]]]:
    """Parts of some lots, taken out of them."""
    found, total = [], Decimal(0)
    for lot in rng.sample(book, rng.randint(1, len(book))):
        held = lot[1]
        assert isinstance(held, Decimal)
        taken = held if rng.random() < 0.5 else (held * rng.randint(1, 9) / 10).quantize(Decimal("1e-10")) or held
        lot[1] = held - taken
        total += taken
        found.append((str(lot[0]), format(taken, "f")))
    book[:] = [lot for lot in book if lot[1]]
    return total, found


def _fill(
    rng: Random, name: str, side: str, quantity: Decimal, price: Decimal, minute: int, instrument: str, **options: object
) -> Fill:
    fees = Decimal(0) if rng.random() < 0.3 else Decimal(rng.randint(-5_000, 30_000)) / 10_000
    if abs(fees) > quantity * price / 2:
        fees = Decimal(0)  # beancount holds no lot whose cost is below zero
    given = {**TERMS[instrument], "source": "ibkr", "account_key": "U1", "instrument": instrument, "fees": fees, **options}
    return make_fill(name, side, format(quantity, "f"), format(price, "f"), minute, **given)


def _deliveries(rng: Random, final: list[Fill]) -> list[Fill]:
    """Some facts wrong first, some that never happened, everything in any order."""
    told: list[Fill] = []
    for fill in final:
        if rng.random() < 0.2:
            told.append(replace(fill, price=fill.price + 1, quantity=_quantity(rng), fees=None))
            told.append(replace(fill, source_revision=2, cause="revision"))
        else:
            told.append(fill)
    for number in range(rng.randint(0, 2)):
        instrument = rng.choice(list(TERMS))
        never = _fill(
            rng, f"never{number}", rng.choice(["BUY", "SELL"]), _quantity(rng), Decimal(50), rng.randint(0, FILLS_MAX), instrument
        )
        told += [never, replace(never, is_bust=True, cause="bust")]
    rng.shuffle(told)
    return told
