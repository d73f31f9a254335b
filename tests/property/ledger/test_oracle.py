"""Reliability 10: an oracle that knows nothing of ours, in fractions, agrees with every realized figure to the last unit."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given

from fillbook.ledger.model import Fill, Side
from tests.support.ledger_histories import delivered, facts, half

UNIT = Fraction(1, 10**8)
SORT = {
    "FIFO": lambda sign: lambda lot: lot[3],
    "LIFO": lambda sign: lambda lot: -lot[3],
    "HIFO": lambda sign: lambda lot: (-sign * lot[1], lot[3]),
}


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
        book.sort(key=SORT[method](-sign))
        while left and book and (book[0][0] > 0) != (sign > 0):
            lot = book[0]
            part = min(left, abs(lot[0]))
            gain = part * (price - lot[1]) * -sign - part * fee - part * lot[2]
            realized[fill.fill_id] = realized.get(fill.fill_id, Fraction(0)) + gain
            lot[0] += sign * part
            left -= part
            if not lot[0]:
                book.pop(0)
        if left:
            book.append([sign * left, price, fee, Fraction(number)])
    return realized, {name: sum((lot[0] for lot in book), Fraction(0)) for name, book in lots.items()}


@pytest.mark.parametrize("method", ["FIFO", "LIFO", "HIFO"])
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
