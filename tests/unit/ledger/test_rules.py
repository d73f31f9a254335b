"""Rules R1-R9 of the ledger specification, one by one, through ``book`` alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fillbook.ledger.booking import Booked, InstrumentState, book, fold
from fillbook.ledger.model import Direction, LotMethod, Netting
from fillbook.ledger.words import OPEN_LOTS_MAX
from fillbook.runtime.errors import Rejected
from tests.support.ledger import make_fill, make_split

NET = InstrumentState(Netting.NET, "USD")
HEDGE = InstrumentState(Netting.HEDGE, "USD")


def after(state: InstrumentState, *fills: Any) -> Booked:
    """The state after fills that all fit, and what the last one became."""
    booked = Booked((), state)
    for fill in fills:
        booked = book(booked.state, fill, LotMethod.FIFO)
    return booked


def types(booked: Booked) -> list[tuple[str, str, Decimal]]:
    return [(action.action_type.value, action.direction.value, action.quantity) for action in booked.actions]


def refusal(state: InstrumentState, fill: Any) -> str:
    with pytest.raises(Rejected) as refused:
        book(state, fill, LotMethod.FIFO)
    return refused.value.reason


@pytest.mark.parametrize(("side", "direction"), [("BUY", "LONG"), ("SELL", "SHORT")])
def test_r1_on_a_flat_instrument_a_fill_is_an_entry(side: str, direction: str) -> None:
    assert types(after(NET, make_fill("a", side, 5, 10))) == [("ENTRY", direction, 5)]


def test_r2_the_same_side_adds_a_new_lot_also_at_an_equal_price() -> None:
    booked = after(NET, make_fill("a", "BUY", 5, 10), make_fill("b", "BUY", 5, 10, 1))
    assert types(booked) == [("ADD_ENTRY", "LONG", 5)]
    assert [lot.quantity_open for lot in booked.state.positions[0].lots] == [5, 5]


def test_r3_the_other_side_trims_and_at_the_open_quantity_exits() -> None:
    first = after(NET, make_fill("a", "BUY", 5, 10), make_fill("b", "SELL", 2, 11, 1))
    assert types(first) == [("TRIM", "LONG", 2)]
    last = book(first.state, make_fill("c", "SELL", 3, 11, 2), LotMethod.FIFO)
    assert (types(last), last.state.positions) == ([("EXIT", "LONG", 3)], ())


def test_r4_more_than_the_open_quantity_crosses_zero_at_one_price_and_reason() -> None:
    booked = after(NET, make_fill("a", "SELL", 5, 10), make_fill("b", "BUY", 8, 9, 1, fees="1", reason="flip"))
    leave, enter = booked.actions
    assert types(booked) == [("EXIT", "SHORT", 5), ("ENTRY", "LONG", 3)]
    assert (leave.fees, enter.fees) == (Decimal("0.62500000"), Decimal("0.37500000"))
    assert (leave.price, leave.reason, leave.executed_at) == (enter.price, enter.reason, enter.executed_at)
    assert (leave.leg, enter.leg, leave.position_id == enter.position_id) == (1, 2, False)


def test_r5_open_never_closes_and_close_never_opens() -> None:
    long = after(NET, make_fill("a", "BUY", 5, 10)).state
    assert refusal(long, make_fill("b", "SELL", 1, 10, 1, position_effect="open")) == "position_effect_conflict"
    assert refusal(long, make_fill("b", "BUY", 1, 10, 1, position_effect="close")) == "nothing_to_close"
    assert refusal(long, make_fill("b", "SELL", 6, 10, 1, position_effect="close")) == "close_exceeds_open"
    assert refusal(NET, make_fill("b", "SELL", 1, 10, 1, position_effect="close")) == "nothing_to_close"


@pytest.mark.parametrize(
    ("side", "direction", "effect"), [("BUY", "LONG", "close"), ("SELL", "LONG", "open"), ("SELL", "SHORT", "close")]
)
def test_r6_in_a_hedging_book_side_direction_and_effect_must_agree(side: str, direction: str, effect: str) -> None:
    assert refusal(HEDGE, make_fill("a", side, 1, 10, direction=direction, position_effect=effect)) == "position_effect_conflict"


def test_r6_a_hedging_book_never_crosses_and_needs_the_direction() -> None:
    long = after(HEDGE, make_fill("a", "BUY", 5, 10, direction="LONG")).state
    assert refusal(long, make_fill("b", "SELL", 6, 10, 1, direction="LONG")) == "close_exceeds_open"
    assert refusal(long, make_fill("b", "BUY", 1, 10, 1, direction="SHORT")) == "nothing_to_close"
    assert refusal(long, make_fill("b", "BUY", 1, 10, 1)) == "position_effect_conflict"
    both = book(long, make_fill("c", "SELL", 2, 11, 2, direction="SHORT"), LotMethod.FIFO).state
    assert [position.direction for position in both.positions] == ["LONG", "SHORT"]
    assert both.facing(Direction.SHORT) is both.positions[1]
    assert HEDGE.facing(Direction.SHORT) is None


def test_r7_an_exit_is_what_leaves_nothing_open_whatever_the_caller_called_it() -> None:
    booked = after(NET, make_fill("a", "BUY", 5, 10), make_fill("b", "SELL", 5, 11, 1, reason="near_tp"))
    assert (types(booked), booked.actions[0].reason) == ([("EXIT", "LONG", 5)], "near_tp")


def test_r8_the_next_opening_is_another_position() -> None:
    one = after(NET, make_fill("a", "BUY", 5, 10))
    two = after(one.state, make_fill("b", "SELL", 5, 11, 1), make_fill("c", "BUY", 5, 10, 2))
    assert one.actions[0].position_id != two.actions[0].position_id


def test_a_position_holds_at_most_5000_open_lots() -> None:
    fills = [make_fill(f"f{number}", "BUY", 1, 10, number) for number in range(OPEN_LOTS_MAX + 1)]
    folded = fold(NET, fills, LotMethod.FIFO)
    assert folded.misfits == {fills[-1].fill_id: "too_many_lots"}
    assert folded.state.positions[0].open_lot_count == OPEN_LOTS_MAX


def test_amounts_that_grow_beyond_their_column_do_not_fit() -> None:
    huge = [make_fill(name, "BUY", "90000000", "900000000000", minute) for minute, name in enumerate("ab")]
    assert fold(NET, huge, LotMethod.FIFO).misfits == {}
    assert refusal(NET, make_fill("c", "BUY", "900000000000", "900000000000")) == "number_overflow"


def test_a_split_of_a_flat_instrument_changes_nothing() -> None:
    folded = fold(NET, [make_split("live", (4, 1), 0), make_fill("a", "BUY", 1, 10, 1)], LotMethod.FIFO)
    assert (folded.splits, folded.state.positions[0].quantity_open) == ([], 1)


def test_booking_leaves_the_state_it_was_given_as_it_was() -> None:
    before = after(NET, make_fill("a", "BUY", 5, 10)).state
    book(before, make_fill("b", "SELL", 2, 11, 1), LotMethod.FIFO)
    assert before == after(NET, make_fill("a", "BUY", 5, 10)).state


def test_a_margin_close_at_its_opening_price_needs_no_rate_and_a_paid_one_does() -> None:
    for style, expected in (("margin", Decimal(-3)), ("full", None)):
        terms: dict[str, Any] = {"currency": "JPY", "fees_currency": "USD", "fees_rate": "1", "cash_style": style}
        opened = make_fill("a", "BUY", 10, 150, fees="1", **terms)
        booked = after(NET, opened, make_fill("b", "SELL", 10, 150, 1, fees="2", **terms))
        assert booked.actions[0].realized_pnl_base == expected
