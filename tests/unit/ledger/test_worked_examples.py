"""Scenarios 1-11: the worked examples E1-E11 of the ledger specification, every number equal (in memory)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fillbook.ledger.amounts import total
from fillbook.money import ZERO
from tests.support import ledger_cases
from tests.support.ledger import MemoryWorld


@pytest.mark.parametrize("name", ledger_cases.names())
def test_a_worked_example_comes_out_to_the_last_digit(name: str) -> None:
    case = ledger_cases.load(name)
    world = MemoryWorld(ledger_cases.book_of(case))
    sources = ledger_cases.play(case, world)
    ledger_cases.compare_actions(world.actions, case["actions"])
    for position, figures in zip(world.positions, case.get("positions", ()), strict="positions" in case):
        cash = total(
            version.action.cash_effect for version in world.actions if version.action.position_id == position.position_id
        )
        for figure, expected in figures.items():
            found = cash if figure == "cash" else getattr(position, figure)
            ledger_cases.assert_equal(found, expected, figure)
    assert {fill_id: reason for fill_id, (_, reason) in world.parked.items()} == ledger_cases.parked_of(case, sources)


@pytest.mark.parametrize(("method", "left"), [("LIFO", ["6"]), ("HIFO", ["6"]), ("AVERAGE", ["2", "2", "2"]), ("FIFO", ["6"])])
def test_the_lots_left_after_e1_depend_on_the_method_alone(method: str, left: list[str]) -> None:
    case = ledger_cases.load("E01-one-trim-over-three-lots")
    world = MemoryWorld(ledger_cases.book_of({"book": {"method": method}}))
    ledger_cases.play({"steps": case["steps"][:4]}, world)
    (position,) = world.positions
    assert [lot.quantity_open for lot in position.lots] == [Decimal(quantity) for quantity in left]


def test_a_split_leaves_the_basis_and_makes_e7s_lot_24_at_25() -> None:
    case = ledger_cases.load("E07-split")
    world = MemoryWorld(ledger_cases.book_of(case))
    ledger_cases.play({"steps": case["steps"][:3]}, world)
    (position,) = world.positions
    (lot,) = position.lots
    assert (lot.quantity_open, lot.price_adjusted, lot.basis_open) == (Decimal(24), Decimal(25), Decimal("600.60"))
    assert (position.quantity_open, position.quantity_closed, position.quantity_opened) == (24, 16, 40)
    assert (position.vwap, position.cost_basis, position.split_factor) == (25, Decimal("600.60"), 4)


def test_totals_of_two_currencies_stand_apart() -> None:
    case = ledger_cases.load("E10-two-currencies")
    world = MemoryWorld(ledger_cases.book_of(case))
    ledger_cases.play(case, world)
    totals: dict[str, Decimal] = {}
    for position in world.positions:
        totals[position.currency] = totals.get(position.currency, ZERO) + (position.realized_pnl or ZERO)
    assert totals == {"USD": Decimal(100), "EUR": Decimal(10)}
