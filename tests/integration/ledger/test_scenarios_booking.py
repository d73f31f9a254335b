"""Scenarios 27-37 of the ledger specification: lot methods, hedging, extreme numbers, terms, splits, marks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.calendar import calendar
from fillbook.ledger.amounts import total
from fillbook.ledger.ids import lot_id
from fillbook.ledger.model import Fill
from fillbook.ledger.valuation import mark_state, unrealized, unrealized_total
from fillbook.runtime.errors import Rejected
from tests.integration.ledger.conftest import MakeWorld, World
from tests.support.ledger import make_fill


def fact(name: str, side: str, quantity: object, price: object, minute: float = 0, **options: object) -> Fill:
    return make_fill(name, side, quantity, price, minute, source="ibkr", account_key="U1", **options)


def taken(world: World) -> list[tuple[str, Decimal]]:
    return [(part.lot_id, part.quantity) for part in world.actions[-1].action.closings]


def test_scenario_27_specific_takes_the_lots_that_are_named(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1", "SPECIFIC")
    old, new = fact("a", "BUY", 10, 100, 0, lot_ref="x"), fact("b", "BUY", 10, 110, 1, lot_ref="y")
    world.deliver([old, new])
    world.deliver([fact("c", "SELL", 4, 120, 2, lot_picks=[("y", "4")])])
    assert taken(world) == [(lot_id(new.fill_id), 4)]
    world.deliver([fact("d", "SELL", 7, 120, 3, lot_picks=[(lot_id(new.fill_id), "6"), (lot_id(old.fill_id), "1")])])
    assert taken(world) == [(lot_id(new.fill_id), 6), (lot_id(old.fill_id), 1)]


def test_scenario_27_one_reference_of_several_lots_takes_them_fifo(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1", "SPECIFIC")
    first, second = fact("a", "BUY", 3, 100, 0, lot_ref="x"), fact("b", "BUY", 3, 110, 1, lot_ref="x")
    world.deliver([first, second, fact("c", "BUY", 3, 90, 2)])
    world.deliver([fact("d", "SELL", 4, 120, 3, lot_picks=[("x", "4")])])
    assert taken(world) == [(lot_id(first.fill_id), 3), (lot_id(second.fill_id), 1)]


@pytest.mark.parametrize("picks", [None, [("x", "3")], [("x", "5")], [("x", "2"), ("elsewhere", "2")], [("x", "11")]])
def test_scenario_27_picks_that_do_not_fit_park_the_fact_whole(make_world: MakeWorld, picks: Any) -> None:
    world = make_world("ibkr:U1", "SPECIFIC")
    other = fact("o", "BUY", 10, 50, 0, instrument="NVDA", lot_ref="elsewhere")
    world.deliver([other, fact("a", "BUY", 10, 100, 0, lot_ref="x")])
    assert world.deliver([fact("c", "SELL", 4, 120, 2, lot_picks=picks)])[0].reason == "lot_picks_mismatch"
    assert [position.quantity_open for position in world.positions] == [10, 10]


def test_scenario_28_hifo_of_a_short_takes_the_lowest_price_first_and_of_equals_the_oldest(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1", "HIFO")
    fills = [fact(name, "SELL", 10, price, n) for n, (name, price) in enumerate([("a", 50), ("b", 48), ("c", 52), ("d", 48)])]
    world.deliver(fills)
    world.deliver([fact("e", "BUY", 25, 45, 9)])
    assert taken(world) == [(lot_id(fills[1].fill_id), 10), (lot_id(fills[3].fill_id), 10), (lot_id(fills[0].fill_id), 5)]


def test_scenario_29_average_in_thirds_never_loses_a_unit(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1", "AVERAGE")
    world.deliver([fact(name, "BUY", "1", price, n) for n, (name, price) in enumerate([("a", 10), ("b", 20), ("c", 30)])])
    for step in range(8):
        world.deliver([fact(f"s{step}", "SELL", "0.3333333333", 25, 10 + step)])
        action = world.actions[-1].action
        assert sum(part.quantity for part in action.closings) == action.quantity
        assert all(lot.quantity_open >= 0 for lot in world.positions[0].lots)
    left = world.positions[0]
    assert left.quantity_open == 3 - 8 * Decimal("0.3333333333")
    world.deliver([fact("last", "SELL", left.quantity_open, 25, 30)])
    sold = total(version.action.value for version in world.actions if version.action.closings)
    assert sold is not None
    assert (world.positions[0].status, world.positions[0].realized_pnl_gross) == ("CLOSED", sold - 60)


def test_scenario_30_a_hedging_book_keeps_long_and_short_apart(make_world: MakeWorld) -> None:
    world = make_world("mt5:srv:1", "FIFO", "hedge")
    world.deliver([
        fact("l", "BUY", 2, 100, 0, direction="LONG", position_effect="open"),
        fact("s", "SELL", 3, 101, 1, direction="SHORT", position_effect="open"),
    ])  # fmt: skip
    world.deliver([fact("c", "SELL", 2, 102, 2, direction="LONG", position_effect="close")])
    assert [(p.direction, p.status, p.quantity_open) for p in world.positions] == [("LONG", "CLOSED", 0), ("SHORT", "OPEN", 3)]
    assert not world.actions[-1].action.is_flat_after
    world.deliver([fact("e", "BUY", 3, 100, 3, direction="SHORT", position_effect="close")])
    assert world.actions[-1].action.is_flat_after


def test_scenario_31_smallest_and_largest_amounts_are_exact(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1")
    world.deliver([fact("a", "BUY", "0.0000000001", "0.01"), fact("b", "BUY", "99999999", "99999", 1)])
    assert world.positions[0].quantity_open == Decimal("99999999.0000000001")
    assert world.actions[1].action.value == 99999999 * 99999
    world.deliver([fact("c", "SELL", "99999999.0000000001", "99999", 2)])
    assert (world.positions[0].status, world.positions[0].cost_basis) == ("CLOSED", 0)


@pytest.mark.parametrize(
    ("name", "quantity", "price", "reason"),
    [
        ("nan", "NaN", "1", "number_invalid"),
        ("infinity", "1", "Infinity", "number_invalid"),
        ("huge", "1E+400", "1", "number_overflow"),
        ("tiny", "1E-400", "1", "quantity_not_positive"),
        ("negative", "-1", "1", "quantity_not_positive"),
        ("overflowing value", "99999999999999999", "99999999999999999", "number_overflow"),
    ],
)
def test_scenario_31_and_32_numbers_that_no_column_holds_are_refused(
    make_world: MakeWorld, name: str, quantity: str, price: str, reason: str
) -> None:
    world = make_world("ibkr:U1")
    with pytest.raises(Rejected, match=reason):
        world.deliver([fact(name, "BUY", quantity, price)])
    assert world.deliver([fact("next", "BUY", 1, 1)])[0].status == "booked"


@pytest.mark.parametrize(
    ("column", "text"),
    [("ticker", "A\x00B"), ("ticker", "A\ud800"), ("instrument", "\udfff"), ("source_id", "a\x00"), ("venue_order", "\x00")],
)
def test_scenario_32_texts_that_cannot_be_stored_are_refused_and_the_connection_stays_usable(
    make_world: MakeWorld, column: str, text: str
) -> None:
    world = make_world("ibkr:U1")
    options = {"name": "bad", "ticker": "AMD", "instrument": "AMD", "venue_order": ""}
    options["name" if column == "source_id" else column] = text
    with pytest.raises(Rejected, match="text_invalid"):
        world.deliver([fact(options.pop("name"), "BUY", 1, 1, **options)])
    assert world.deliver([fact("next", "BUY", 1, 1)])[0].status == "booked"


def test_scenario_33_zero_and_negative_prices_are_facts_of_brokers_only(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1")
    world.deliver([fact("a", "BUY", 1, 2), fact("expired", "SELL", 1, 0, 1, position_effect="close")])
    assert world.actions[1].action.realized_pnl == -2
    world.deliver([fact("oil", "BUY", 1, "-37.63", 2), fact("out", "SELL", 1, "-13.10", 3)])
    assert world.actions[3].action.realized_pnl == Decimal("24.53")
    live = make_world("live")
    for price in ("0", "-1"):
        with pytest.raises(Rejected, match="price_not_positive"):
            live.deliver([make_fill("a", "BUY", 1, price)])


def test_scenario_34_terms_may_change_only_between_positions(make_world: MakeWorld) -> None:
    world = make_world()
    world.deliver([make_fill("a", "BUY", 1, 100)])
    for changed in ({"multiplier": "100"}, {"currency": "EUR"}, {"cash_style": "margin"}):
        with pytest.raises(Rejected, match="instrument_terms_changed"):
            world.deliver([make_fill("b", "BUY", 1, 100, 1, **changed)])
    world.deliver([make_fill("c", "SELL", 1, 101, 2)])
    world.deliver([make_fill("d", "BUY", 1, 100, 3, multiplier="100")])
    assert [position.multiplier for position in world.positions] == [1, 100]


def test_scenario_35_a_split_entered_late_rebooks_and_voided_leaves_no_trace(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1")
    world.deliver([fact("a", "BUY", 10, 100, 0, fees="1"), fact("b", "SELL", 8, 30, 10)])
    before = (world.state_hash, [lot.basis_open for lot in world.positions[0].lots])
    world.split((4, 1), 5)
    (position,) = world.positions
    assert (position.quantity_open, position.quantity_opened, position.lots[0].price_adjusted) == (32, 40, 25)
    closed = world.actions[1].action.closings[0]
    assert (closed.lot_price, closed.split_factor) == (25, 4)
    assert total([closed.lot_basis, position.cost_basis]) == 1001
    world.split((4, 1), 5, is_void=True)
    assert (world.state_hash, [lot.basis_open for lot in world.positions[0].lots]) == before
    adjusted = [data for kind, data in world.told if kind == "position_adjusted"]
    assert [(data["ratio"], data["is_void"]) for data in adjusted] == [("4:1", False), ("4:1", True)]
    assert adjusted[0]["positions"][0]["quantity_after"] == "40"


def test_scenario_36_a_reverse_split_and_cash_in_lieu_leave_exactly_one_share(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1")
    world.deliver([fact("a", "BUY", 10, 7)])
    world.split((1, 7), 5)
    assert world.positions[0].quantity_open == Decimal("1.4285714286")
    world.deliver([fact("lieu", "SELL", "0.4285714286", 50, 6, reason="cash_in_lieu")])
    assert world.positions[0].quantity_open == 1


NOON = datetime(2026, 2, 3, 17, 0, tzinfo=UTC)
FRIDAY_CLOSE = datetime(2026, 2, 6, 21, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "marked_at", "now", "state"),
    [
        ("live", None, NOON, "missing"),
        ("live", NOON - timedelta(minutes=15), NOON, "fresh"),
        ("live", NOON - timedelta(minutes=15, seconds=1), NOON, "stale"),
        ("ibkr", NOON - timedelta(minutes=30), NOON, "fresh"),
        ("ibkr", NOON - timedelta(minutes=30, seconds=1), NOON, "stale"),
        ("live", FRIDAY_CLOSE - timedelta(minutes=15), FRIDAY_CLOSE + timedelta(days=1), "fresh"),
        ("live", FRIDAY_CLOSE - timedelta(minutes=16), FRIDAY_CLOSE + timedelta(days=1), "stale"),
    ],
)
def test_scenario_37_a_mark_ages_in_the_session_and_keeps_over_the_weekend(
    kind: str, marked_at: datetime | None, now: datetime, state: str
) -> None:
    assert mark_state(marked_at, now, kind, calendar()) == state


def test_scenario_37_without_a_mark_unrealized_is_unknown_and_so_is_the_total(make_world: MakeWorld) -> None:
    world = make_world()
    world.deliver([make_fill("a", "BUY", 10, 100, fees="1"), make_fill("b", "SELL", 5, 50, instrument="NVDA")])
    long, short = sorted(world.positions, key=lambda position: position.instrument)
    assert unrealized(long, None) is None
    assert (unrealized(long, Decimal(101)), unrealized(short, Decimal(49))) == (9, 5)
    assert unrealized_total([(long, Decimal(101)), (short, None)]) == ({"USD": None}, ("NVDA",))
    assert unrealized_total([(long, Decimal(101)), (short, Decimal(49))]) == ({"USD": Decimal(14)}, ())
    assert unrealized(replace(long, multiplier=None), Decimal(101)) is None
