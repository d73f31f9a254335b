"""Reliability 10: an oracle that knows nothing of ours, in fractions, agrees with every realized figure to the last unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given

from fillbook.ledger.model import Fill, Side
from tests.support.ledger_histories import delivered, facts, half

UNIT = Fraction(1, 10**8)
STEP = Fraction(1, 10**10)
SORT = {
    "FIFO": lambda sign: lambda lot: lot[3],
    "LIFO": lambda sign: lambda lot: -lot[3],
    "HIFO": lambda sign: lambda lot: (-sign * lot[1], lot[3]),
}


def takes(book: list[list[Fraction]], sign: int, quantity: Fraction, method: str) -> list[tuple[list[Fraction], Fraction]]:
    """Which lots a fill of ``sign`` closes, and how much of each."""
    facing = [lot for lot in book if (lot[0] > 0) != (sign > 0)]
    if method == "AVERAGE":
        return pro_rata(facing, min(quantity, sum((abs(lot[0]) for lot in facing), Fraction(0))))
    found = []
    for lot in sorted(facing, key=SORT[method](-sign)):
        part = min(quantity, abs(lot[0]))
        quantity -= part
        if part:
            found.append((lot, part))
    return found


def pro_rata(facing: list[list[Fraction]], quantity: Fraction) -> list[tuple[list[Fraction], Fraction]]:
    """Every lot by its share, rounded down to 10 decimals; the rest goes to the newest as far as they have any."""
    if not facing:
        return []
    whole = sum((abs(lot[0]) for lot in facing), Fraction(0))
    shares = [Fraction(math.floor(quantity * abs(lot[0]) / whole / STEP)) * STEP for lot in facing]
    rest = quantity - sum(shares, Fraction(0))
    for place in reversed(range(len(facing))):
        more = min(rest, abs(facing[place][0]) - shares[place])
        shares[place] += more
        rest -= more
    return [(lot, share) for lot, share in zip(facing, shares, strict=True) if share]


def oracle(fills: Sequence[Fill], method: str) -> tuple[dict[str, Fraction], dict[str, Fraction]]:
    """Net realized P&L per fill, and the signed open quantity per instrument, of fills with effect ``auto``."""
    realized: dict[str, Fraction] = {}
    lots: dict[str, list[list[Fraction]]] = {}
    for number, fill in enumerate(sorted(fills, key=lambda fill: fill.key)):
        book = lots.setdefault(fill.instrument, [])
        sign = 1 if fill.side is Side.BUY else -1
        left, price = Fraction(fill.quantity), Fraction(fill.price)
        assert fill.fees is not None
        fee = Fraction(fill.fees) / left
        for lot, part in takes(book, sign, left, method):
            gain = part * (price - lot[1]) * -sign - part * fee - part * lot[2]
            realized[fill.fill_id] = realized.get(fill.fill_id, Fraction(0)) + gain
            lot[0] += sign * part
            left -= part
        book[:] = [lot for lot in book if lot[0]]
        if left:
            book.append([sign * left, price, fee, Fraction(number)])
    return realized, {name: sum((lot[0] for lot in book), Fraction(0)) for name, book in lots.items()}


@pytest.mark.parametrize("method", ["FIFO", "LIFO", "HIFO", "AVERAGE"])
@half
@given(history=facts(position_effect="auto", lot_picks=None))
def test_every_realized_figure_is_the_oracles(method: str, history: list[Fill]) -> None:
    world = delivered(history, method)
    expected, open_quantity = oracle(history, method)
    found = {v.action.fill_id: v.action.realized_pnl for v in world.actions if v.action.closings}
    assert found.keys() == expected.keys()
    for fill_id, amount in found.items():
        assert amount is not None
        # each of value, basis and proceeds is rounded once, and a lot's parts are running differences of it
        assert abs(Fraction(amount) - expected[fill_id]) <= UNIT * 2 * (len(history) + 1)
    for position in world.positions:
        if position.status == "OPEN":
            sign = 1 if position.direction == "LONG" else -1
            assert Fraction(position.quantity_open) * sign == open_quantity[position.instrument]
    total = sum((Decimal(v.action.realized_pnl or 0) for v in world.actions), Decimal(0))
    assert abs(Fraction(total) - sum(expected.values(), Fraction(0))) <= UNIT * 2 * (len(history) + 1)
