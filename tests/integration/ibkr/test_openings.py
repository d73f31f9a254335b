"""The opening balance: what was held before, then everything stored, once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from fillbook.ibkr.model import PositionRow
from fillbook.ibkr.openings import book_opening_once
from fillbook.ledger import audit
from fillbook.runtime.errors import Rejected
from tests.support.ibkr import FIRST, cancel, exec_id, flex, tws
from tests.support.ibkr_world import NOW, World


def held(quantity: str, *, conid: int = 265598, cost: str | None = "9.5") -> PositionRow:
    average = None if cost is None else Decimal(cost)
    return PositionRow(
        account_id=1, conid=conid, symbol="AAPL", sec_type="STK", currency="USD", quantity=Decimal(quantity), average_cost=average
    )


def open_account(world: World, *positions: PositionRow) -> tuple[int, ...]:
    return book_opening_once(world.db, FIRST, positions, as_of=NOW, run_id=None, now=world.now)


def opening(world: World) -> list[tuple[object, ...]]:
    rows = world.query(
        "select source_id, side::text, quantity, price, executed_at from ledger.fills where reason = 'opening_balance'"
    )
    return [(row["source_id"], row["side"], row["quantity"], row["price"]) for row in rows]


def test_what_was_held_before_is_the_position_less_what_was_executed_since(make_world: Callable[..., World]) -> None:
    world = make_world(opened=False)
    world.socket(tws(exec_id(1), "BOT", "60"), tws(exec_id(2), "SLD", "10"))
    assert open_account(world, held("150"), held("-5", conid=7)) != ()
    assert opening(world) == [("opening:7", "SELL", 5, Decimal("9.5")), ("opening:265598", "BUY", 100, Decimal("9.5"))]
    assert len(world.fills()) == 2
    [position] = world.query("select quantity_open from ledger.positions where instrument = 'ibkr:265598'")
    assert position["quantity_open"] == 150
    assert audit.audit(world.db, FIRST.book_id, world.now).exit == 0


def test_an_account_is_opened_once_and_told_from_then_on(make_world: Callable[..., World]) -> None:
    world = make_world(opened=False)
    world.statement(flex(exec_id(1), transactionID="5"))
    open_account(world, held("100"))
    assert opening(world) == []
    before = world.written()
    assert open_account(world, held("900")) == ()
    assert world.written() == before
    world.statement(cancel("-100", transactionID="6", origTransactionID="5"), flex(exec_id(2), dateTime="20260106;170000"))
    assert sorted((row["is_bust"], row["source_revision"]) for row in world.fills().values()) == [(False, 1), (True, 1)]


def test_a_position_of_unknown_cost_is_not_guessed(make_world: Callable[..., World]) -> None:
    world = make_world(opened=False)
    with pytest.raises(Rejected, match="opening_cost_unknown"):
        open_account(world, held("1", cost=None))
    assert world.query("select opened_at from ibkr.accounts where id = 1") == [{"opened_at": None}]


def test_what_was_executed_after_the_snapshot_is_not_taken_off(make_world: Callable[..., World]) -> None:
    world = make_world(opened=False)
    world.socket(tws(exec_id(1), time=(NOW + timedelta(minutes=1)).strftime("%Y%m%d-%H:%M:%S")))
    open_account(world, held("50"))
    assert opening(world) == [("opening:265598", "BUY", 50, Decimal("9.5"))]
