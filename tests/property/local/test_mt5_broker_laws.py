"""Laws of the fake's broker, whatever happens on an account: its cash adds up, its truth adds up, its past can be read again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local import mt5_fleet, mt5_truth
from infra.local.mt5_broker import Book, place
from infra.local.mt5_model import CREDIT, EXCHANGE, HEDGING, IN, INOUT, NETTING, Deal, Terms

BEGINS = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)  # the New York clock changes two days later
MODES = st.sampled_from((HEDGING, NETTING, EXCHANGE))
SEEDS = st.integers(0, 2**32)
STEPS = st.integers(1, 40)


def wandered(seed: int, mode: int, steps: int) -> tuple[Book, list[mt5_fleet.Operation]]:
    book = Book(Terms(margin_mode=mode, commission_per_lot=Decimal("3.5")))
    return book, mt5_fleet.wander(book, BEGINS, steps, random.Random(seed))


def corrected(book: Book, chance: random.Random, count: int) -> None:
    """Edit, delete and cancel at random what can be."""
    at = book.changes[-1].at
    for _ in range(count):
        if not book.deals:
            return
        ticket = chance.choice(sorted(book.deals))
        kind = chance.choice(("edit_deal", "edit_deal", "delete_deal", "cancel_deal"))
        changes = {"profit": str(chance.randint(-100, 100)), "price": "1.5"} if kind == "edit_deal" else {}
        try:
            book.operate(kind, at, deal=ticket, **changes)
        except ValueError:
            continue  # other deals rest on it


def balance_of(deals: list[Deal]) -> Decimal:
    return sum((deal.amount for deal in deals if deal.type != CREDIT), Decimal(0))


@given(SEEDS, MODES, STEPS, st.integers(0, 6))
def test_the_balance_is_the_sum_of_all_deals_at_every_moment(seed: int, mode: int, steps: int, corrections: int) -> None:
    book, _ = wandered(seed, mode, steps)
    corrected(book, random.Random(seed), corrections)
    for change in book.changes:
        state = book.state(change.at)
        assert state.balance == balance_of(state.rows)
    assert (book.balance, book.credit) == (state.balance, state.credit)


@given(SEEDS, MODES, STEPS, st.integers(0, 6))
def test_true_trades_and_movements_of_money_are_the_balance(seed: int, mode: int, steps: int, corrections: int) -> None:
    book, _ = wandered(seed, mode, steps)
    corrected(book, random.Random(seed), corrections)
    net = sum((one.net for one in mt5_truth.trades(book.changes)), Decimal(0))
    cash = sum((Decimal(str(one["amount"])) for one in mt5_truth.cash(book.changes)), Decimal(0))
    assert net + cash == book.balance


@given(SEEDS, MODES, STEPS, st.integers(0, 6))
def test_what_is_open_in_truth_is_what_the_broker_holds(seed: int, mode: int, steps: int, corrections: int) -> None:
    book, _ = wandered(seed, mode, steps)
    corrected(book, random.Random(seed), corrections)
    told = mt5_truth.trades(book.changes)
    assert all(one.open_volume >= 0 for one in told)
    true = {one.position_id: (one.ticket, one.symbol, one.side, one.open_volume) for one in told if one.status == "open"}
    held = {
        one.position_id: (one.ticket, one.symbol, "buy" if one.side == 0 else "sell", one.volume)
        for one in book.positions.values()
    }
    assert true == held


@given(SEEDS, MODES, STEPS)
def test_volume_is_conserved_in_the_deals_of_every_position(seed: int, mode: int, steps: int) -> None:
    book, _ = wandered(seed, mode, steps)
    signed: dict[int, Decimal] = {}
    for deal in book.state(book.changes[-1].at).rows:
        if deal.position_id:
            signed[deal.position_id] = signed.get(deal.position_id, Decimal(0)) + (
                deal.volume if deal.type == 0 else -deal.volume
            )
    held = {one.position_id: one.volume if one.side == 0 else -one.volume for one in book.positions.values()}
    assert {one: volume for one, volume in signed.items() if volume} == held


@given(SEEDS, MODES, STEPS)
def test_reversals_are_where_episodes_begin_and_hedging_knows_none(seed: int, mode: int, steps: int) -> None:
    book, _ = wandered(seed, mode, steps)
    turned = sum(deal.entry == INOUT for deal in book.deals.values())
    begun = sum(deal.entry == IN and bool(deal.volume) for deal in book.deals.values())
    told = mt5_truth.trades(book.changes)
    assert len([one for one in told if one.episode > 1]) == turned
    assert sum(len(one.opened) for one in told) == begun + turned
    assert not (turned and mode == HEDGING)


@given(SEEDS, MODES, STEPS, st.data())
def test_the_past_reads_as_it_was_when_it_was_the_present(seed: int, mode: int, steps: int, data: st.DataObject) -> None:
    book, done = wandered(seed, mode, steps)
    corrected(book, random.Random(seed), 2)
    at = data.draw(st.sampled_from([one["at"] for one in done]))
    again = Book(book.terms)
    for one in done:
        if one["at"] <= at:
            again.operate(**one)
    if at == book.changes[-1].at:
        corrected(again, random.Random(seed), 2)
    there, here = book.state(at), again.state(at)
    assert (there.rows, there.positions, there.balance) == (here.rows, here.positions, here.balance)
    assert book.state(book.changes[-1].at).balance == book.balance


@given(SEEDS, MODES, STEPS, st.integers(0, 8))
def test_a_window_is_cut_at_its_start_inclusive_and_its_end_exclusive(seed: int, mode: int, steps: int, cut: int) -> None:
    book, _ = wandered(seed, mode, steps)
    at = book.changes[-1].at
    rows = book.state(at).rows
    assert [place(deal) for deal in rows] == sorted(place(deal) for deal in rows)
    middle = rows[min(cut, len(rows) - 1)].time_msc
    assert book.between(0, middle, at) + book.between(middle, 2**62, at) == rows
    assert all(deal.time_msc >= middle for deal in book.between(middle, 2**62, at))


MAKERS: list[tuple[Callable[[Book], None], int]] = [
    (lambda book: mt5_fleet.churn(book, BEGINS, 2350), 2350),
    (lambda book: mt5_fleet.churn(book, BEGINS, 1), 1),
    (lambda book: mt5_fleet.burst(book, BEGINS), 65),
]


@pytest.mark.parametrize(("make", "count"), MAKERS)
def test_histories_by_number_have_that_number_of_deals(make: Callable[[Book], None], count: int) -> None:
    book = Book(replace(Terms(), commission_per_lot=Decimal("3.5")))
    make(book)
    assert len(book.deals) == count
    assert book.balance == balance_of(list(book.deals.values()))


def test_a_burst_closes_29_of_its_positions_in_one_second_at_one_price() -> None:
    book = Book(Terms())
    mt5_fleet.burst(book, BEGINS)
    told = mt5_truth.trades(book.changes)
    assert [one.status for one in told] == ["closed"] * 32
    closed = [one.close_time for one in told if one.close_time is not None]
    assert max(closed.count(at) for at in closed) == 29
    assert {price for one in told for _, price in one.closed} == {told[0].closed[0][1]}
    assert book.balance - 10_000 == sum(one.net for one in told)
    assert closed[-1] - BEGINS < timedelta(minutes=12)
