"""Scenario 45 on generated histories: beancount accepts the text of any book, and its balances are the ledger's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fillbook.ledger.beancount import Journal, Survey, survey
from fillbook.ledger.model import Fill
from fillbook.ledger.steps import Step, instrument_steps, last_forms
from tests.support import beans
from tests.support.ledger import MemoryWorld
from tests.support.ledger_histories import METHODS, Split, broker_book, deliveries, facts, quarter

UNIT = Decimal("1e-8")


def steps_of(world: MemoryWorld) -> Iterator[Step]:
    """The steps of a book in memory: its current facts and splits, instrument by instrument."""
    current = [max(versions, key=lambda version: version.current_rank).fill for versions in world.memory.journal.values()]
    splits = [max(versions, key=lambda version: version.version).adjustment for versions in world.memory.adjustments.values()]
    for instrument in sorted({fill.instrument for fill in current}):
        fills = sorted((fill for fill in current if fill.instrument == instrument and not fill.is_bust), key=lambda f: f.key)
        standing = [split for split in splits if split.instrument == instrument and not split.is_void]
        standing.sort(key=lambda split: (split.effective_at, split.adjustment_id))
        yield from instrument_steps(world.book, fills, standing)


def world_of(items: Sequence[Fill | Split], method: str, netting: str = "net") -> MemoryWorld:
    world = MemoryWorld(broker_book(method, netting))
    for item in items:
        if isinstance(item, Split):
            for instrument in ("AMD", "NVDA"):
                world.split(item.ratio, item.minute, instrument=instrument)
        else:
            world.deliver([item])
    return world


def accepted(world: MemoryWorld) -> tuple[list[object], Survey]:
    seen = survey(steps_of(world))
    return beans.check_text("".join(Journal(world.book, seen).text(steps_of(world)))), seen


def sums(world: MemoryWorld, seen: Survey, column: str) -> dict[str, Decimal]:
    """Per currency the sum of a column over the actions that the text holds."""
    found: dict[str, Decimal] = {}
    for version in world.actions:
        action, amount = version.action, getattr(version.action, column)
        if action.position_id not in seen.left_out and amount:
            found[action.currency] = found.get(action.currency, Decimal(0)) + amount
    return {currency: amount for currency, amount in found.items() if amount}


def agree(world: MemoryWorld) -> None:
    entries, seen = accepted(world)
    assert beans.amounts(entries, "Assets:Ibkr-U1:Cash") == sums(world, seen, "cash_effect")
    realized = {currency: -amount for currency, amount in beans.amounts(entries, "Income:Ibkr-U1:Realized").items()}
    assert realized == sums(world, seen, "realized_pnl")
    expected = {
        lot.lot_id: (lot.quantity_open * sign, (lot.basis_open or 0) * sign)
        for position in world.positions
        if position.position_id not in seen.left_out
        for sign in [1 if position.direction == "LONG" else -1]
        for lot in world.memory.lots.values()
        if lot.position_id == position.position_id and lot.status == "OPEN"
    }
    hedges = world.book.netting == "hedge"
    accounts = ["Positions:Long", "Positions:Short"] if hedges else ["Positions"]
    held = {label: lot for name in accounts for label, lot in beans.lots(entries, f"Assets:Ibkr-U1:{name}").items()}
    assert {label: units for label, (units, _) in held.items()} == {label: units for label, (units, _) in expected.items()}
    for label, (_, cost) in held.items():
        assert abs(cost - expected[label][1]) <= UNIT
    rounding = beans.amounts(entries, "Equity:Ibkr-U1:Rounding")
    closings = sum(len(version.action.closings) for version in world.actions)
    assert all(abs(amount) <= UNIT * (closings + len(world.memory.lots)) for amount in rounding.values())


@quarter
@given(history=deliveries(), method=st.sampled_from(METHODS))
def test_beancount_accepts_any_history_and_holds_the_same(history: list[Fill], method: str) -> None:
    agree(world_of(history, method))


@quarter
@given(history=deliveries(8), minute=st.integers(0, 8), ratio=st.sampled_from([(4, 1), (1, 7), (3, 2)]))
def test_beancount_accepts_a_split_at_unchanged_cost(history: list[Fill], minute: int, ratio: tuple[int, int]) -> None:
    agree(world_of([*history, Split(ratio, minute)], "FIFO"))


@quarter
@given(history=deliveries(8, hedge=True), method=st.sampled_from(METHODS))
def test_beancount_holds_long_and_short_of_a_hedging_book_apart(history: list[Fill], method: str) -> None:
    agree(world_of(history, method, "hedge"))


@quarter
@given(data=st.data(), multiplier=st.sampled_from(["50", "0.1", "100000"]))
def test_beancount_holds_margin_multipliers_and_currencies(data: st.DataObject, multiplier: str) -> None:
    history = data.draw(facts(cash_style="margin", multiplier=Decimal(multiplier)))
    euros = [fill if fill.instrument == "AMD" else replace(fill, currency="EUR") for fill in history]
    agree(world_of(euros, "FIFO"))


@quarter
@given(history=deliveries(), method=st.sampled_from(METHODS))
def test_lots_and_positions_come_out_of_the_steps_as_they_are_stored(history: list[Fill], method: str) -> None:
    world = world_of(history, method)
    found = list(last_forms(steps_of(world)))
    lots = {item.lot_id: item for item in found if hasattr(item, "lot_id")}
    positions = {item.position_id: item for item in found if not hasattr(item, "lot_id")}
    assert lots == {lot_id: lot for lot_id, lot in world.memory.lots.items() if lot.status != "VOID"}
    assert positions == {position.position_id: position for position in world.positions}
    assert len(found) == len(lots) + len(positions)
