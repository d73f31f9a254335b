"""What is taken back of the statements' account leaves what it holds, is told once, and the last word on an execution stands."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from infra.chaos import days
from infra.chaos.statements import Statements
from infra.local import flex_book
from infra.local.plan import FLEX_ACCOUNT
from tests.support.campaigns import small_or_full

sessions = st.sampled_from([day for season in days.seasons_of(2026) for day in season.days])
trips = st.lists(st.integers(0, 3), max_size=6)
bookings = st.lists(st.tuples(st.integers(0, 7), st.sampled_from((-7, 3, 12))), max_size=6)


@settings(max_examples=small_or_full(20, 500))
@given(day=sessions, busts=trips, again=bookings)
def test_busts_keep_what_is_held_and_nothing_is_taken_back_twice(
    day: date, busts: list[int], again: list[tuple[int, int]]
) -> None:
    rows = {row["ibExecID"]: row for row, _ in flex_book.executions(FLEX_ACCOUNT, day)}
    at = days.moments(day)[-1].at
    broker = Statements()
    new = [broker.bust(day, trip, at) for trip in busts]
    booked = [broker.book_again(day, fill, cents, at) for fill, cents in again]
    assert sum(new) == len(set(busts))
    left = list(broker.expected([day]))
    assert len(left) == len(rows) - 2 * sum(new)
    held: Counter[str] = Counter()
    for name, quantity, _ in left:
        held[rows[name]["symbol"]] += quantity if rows[name]["buySell"] == "BUY" else -quantity
    assert not any(held.values())
    moved = [name for name, _, price in left if price != Decimal(rows[name]["tradePrice"])]
    assert len(moved) == sum(booked)


@settings(max_examples=small_or_full(20, 500))
@given(day=sessions, trip=st.integers(0, 3), minutes=st.integers(0, 24 * 60))
def test_a_statement_tells_a_bust_from_its_instant_on_and_keeps_the_row(day: date, trip: int, minutes: int) -> None:
    rows = [row for row, _ in flex_book.executions(FLEX_ACCOUNT, day)]
    at = days.moments(day)[0].at + timedelta(minutes=minutes)
    known = [flex_book.TakenBack(exec_id=rows[trip]["ibExecID"], at=at)]
    before, after = (
        flex_book.statement((FLEX_ACCOUNT,), (day, day), instant, known).decode() for instant in (at - timedelta(seconds=1), at)
    )
    assert before.count("TradeCancel") == 0
    assert after.count("TradeCancel") == 1
    assert before.count("<Trade ") == len(rows) == after.count("<Trade ") - 1
