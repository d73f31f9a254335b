"""Whatever order a small day arrives in, however often: the book is a function of the decided receipts alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.receipts import body
from tests.support.signal_live import LiveDesk, digest, wipe

D = Decimal
Query = Callable[..., list[dict[str, Any]]]

# Two tickers that enter, trim, move a stop and leave; the second one leaves at a loss.
FIRST = ((0, "100.40"), (20, "102.10"), (25, "103.00"), (40, "102.00"))
SECOND = ((1, "100.40"), (12, "101.93"), (30, "100.30"), (45, "96.00"))
DAY = [
    *[body(minutes=minutes, price=D(price)) for minutes, price in FIRST],
    *[body(minutes=minutes, price=D(price), ticker="ZZTC", sector=None) for minutes, price in SECOND],
    *[body("Q", minutes=minutes) for minutes in (0, 5)],
]
FINAL = (
    "signal.decisions",
    "signal.ticker_states",
    "signal.lane_history",
    "signal.plans",
    "signal.stop_history",
    "signal.state_snapshots",
)
BOOKED = ("ledger.v_actions", "ledger.v_lots", "ledger.v_positions", "outbox.events")


def run(desk: LiveDesk, order: list[int]) -> list[int]:
    """Process the day's receipts in this order and return the decided ones."""
    return [number for number in order if desk.take(DAY[number]).result == "decided"]


def outcome(query: Query) -> dict[str, list[str]]:
    found = digest(query)
    return {name: found[name] for name in (*FINAL, *BOOKED)}


@settings(max_examples=15)
@given(order=st.permutations([*range(len(DAY)), *range(len(DAY))]))
def test_any_order_of_delivery_gives_the_book_of_its_decided_receipts(desk: LiveDesk, query: Query, order: list[int]) -> None:
    wipe(query)
    decided = run(desk, order)
    assert desk.count("signal.receipts") == len(DAY)
    mixed = outcome(query)
    wipe(query)
    assert run(desk, decided) == decided
    assert mixed == outcome(query)


def test_a_day_delivered_by_many_hands_at_once_is_the_day_delivered_in_order(desk: LiveDesk, query: Query) -> None:
    """Each ticker's receipts in order (its ordering key), tickers in parallel, every message five times."""
    run(desk, sorted(range(len(DAY)), key=lambda number: DAY[number]["ts"]))
    in_order = outcome(query)
    wipe(query)
    tickers: dict[str, list[dict[str, Any]]] = {}
    for document in DAY:
        tickers.setdefault(document["ticker"], []).append(document)

    def deliver(documents: list[dict[str, Any]]) -> None:
        for document in documents:
            for _ in range(5):
                desk.take(document)

    with ThreadPoolExecutor(len(tickers)) as threads:
        list(threads.map(deliver, tickers.values()))
    at_once = outcome(query)
    by_ticker = ("signal.lane_history", "signal.plans", "signal.stop_history", "ledger.v_lots", "ledger.v_positions")
    assert {name: at_once[name] for name in by_ticker} == {name: in_order[name] for name in by_ticker}


def test_the_day_of_these_tests_does_something(desk: LiveDesk) -> None:
    assert len(run(desk, list(range(len(DAY))))) == len(DAY)
    assert sorted(desk.types()) == ["ENTRY", "ENTRY", "EXIT", "EXIT", "TRIM", "TRIM", "TRIM"]
