"""Limits of the book, asked under its lock: scenarios 26 to 28."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from fillbook.calendar import calendar
from fillbook.ledger import service as ledger
from fillbook.ledger.model import Book
from fillbook.signal.profile import load, parse_profile
from fillbook.signal.receipt import instant
from tests.support.campaigns import small_or_full
from tests.support.receipts import MINUTE_MS, R_TS, body
from tests.support.signal_desk import mirrored
from tests.support.signal_live import LiveDesk

D = Decimal
DAY = 24 * 60
Query = Callable[..., list[dict[str, Any]]]


def later(minutes: int, **changes: Any) -> dict[str, Any]:
    """R with its trigger moved along."""
    return body(minutes=minutes, trigger_ts=R_TS + (minutes - 15) * MINUTE_MS, **changes)


def enter(desk: LiveDesk, count: int, *, sector: str | None = None, minutes: int = 0) -> None:
    for number in range(count):
        assert desk.take(later(minutes, ticker=f"ZE{minutes}{number}", sector=sector)).lane == "enter_now"


def test_scenario_26_the_eleventh_entry_of_a_session_date_is_refused(desk: LiveDesk) -> None:
    enter(desk, 10)
    assert desk.send().lane == "flip_watch"
    assert (desk.decision()["reason"], desk.refused_by()) == ("blocked", ["L3"])
    assert desk.decision()["account"]["entries_today"] == 10
    assert desk.take(later(DAY)).lane == "enter_now"


def test_scenario_26_a_fourth_position_in_a_sector_is_refused(desk: LiveDesk) -> None:
    enter(desk, 3, sector="Industrial Services")
    assert desk.send().lane == "flip_watch"
    assert (desk.refused_by(), desk.decision()["account"]["open_in_sector"]) == (["L1"], 3)
    assert desk.send(ticker="ZZTC", sector=None).lane == "enter_now"
    assert desk.take(later(1, ticker="ZE00", sector="Industrial Services", price=D("96.90"))).lane == "exit"
    assert desk.send(ticker="ZZTD").lane == "enter_now", "a closed position frees its sector"


def test_scenario_27_twelve_open_on_a_side_refuse_that_side_only(desk: LiveDesk) -> None:
    enter(desk, 10, minutes=-DAY)
    enter(desk, 2)
    assert desk.send().lane == "flip_watch"
    assert (desk.refused_by(), desk.decision()["account"]["open_long"]) == (["L2"], 12)
    assert desk.take(mirrored(ticker="ZZTC")).lane == "enter_now"


@pytest.mark.parametrize(("cash", "quantity"), [("999.99", None), ("1000.00", "9.9601")])
def test_scenario_27_buying_power_refuses_and_caps(desk: LiveDesk, cash: str, quantity: str | None) -> None:
    ledger.run(desk.db, lambda tx: ledger.open_book(tx, Book(book_id="live", start_cash=D(cash)), instant(R_TS)))
    desk.send()
    assert [str(row["quantity"].normalize()) for row in desk.actions()] == ([quantity] if quantity else [])
    assert desk.refused_by() == ([] if quantity else ["L4"])
    if quantity:
        assert desk.decision()["intents"][0]["notional"] == "1000"


def test_scenario_27_with_executions_off_lanes_go_on_and_nothing_is_booked(desk: LiveDesk) -> None:
    off = desk.with_strategy(book_executions=False)
    assert off.send().lane == "flip_watch"
    assert (desk.refused_by(), desk.types()) == (["L0"], [])


def test_realized_profit_counts_into_the_equity_of_the_next_entry(desk: LiveDesk) -> None:
    desk.send()
    desk.send(minutes=20, price=D("104.90"))
    desk.take(later(21, ticker="ZZTC"))
    account = desk.decision(ticker="ZZTC")["account"]
    assert (account["equity"], account["buying_power"]) == ("100169.3683", "100169.3683")


def test_the_volatility_ticker_is_read_from_this_book(desk: LiveDesk) -> None:
    risky = desk.with_strategy(profile=load("tt-2026-02-12"))
    risky.send(ticker="VIX", price=D("26"), sl=None, tp=None, tp_levels=None, trigger_price=D("26"))
    risky.send(minutes=0)
    assert desk.decision()["account"]["vix"] == "26"
    assert desk.decision()["account"]["vix_ts"] == R_TS


TRIES = small_or_full(100, 1_000)
ONE_A_DAY = {"per_sector": 3, "per_side": 1_000_000, "entries_per_day": 1}


def one_slot_a_day() -> Any:
    """The profile with one entry a day and room for everything else."""
    document = json.loads(load("tt-2026-02").text)
    document["limits"] = ONE_A_DAY
    document["size"] |= {"start_cash": 1_000_000_000}
    return parse_profile(json.dumps(document))


def race(desk: LiveDesk, days: int) -> None:
    """On each of ``days`` session dates two new tickers meet one free slot at once; a deadlock that is given up is an error."""
    racing = desk.with_strategy(profile=one_slot_a_day())
    sessions = calendar().sessions(instant(R_TS).date(), calendar().last_day)[:days]
    with ThreadPoolExecutor(2) as threads:
        for number, session in enumerate(sessions):
            minutes = int((session.open_at - instant(R_TS)).total_seconds()) // 60 + 45
            both = [later(minutes, ticker=f"ZR{number}{name}", sector=None) for name in "AB"]
            lanes = sorted(str(processed.lane) for processed in threads.map(racing.take, both))
            assert lanes == ["enter_now", "flip_watch"], (number, lanes)


@pytest.mark.slow
def test_scenario_28_two_tickers_at_once_and_one_slot_left_give_one_entry_and_never_a_deadlock(
    desk: LiveDesk, query: Query
) -> None:
    race(desk, TRIES)
    assert desk.types() == ["ENTRY"] * TRIES
    refused = query("select blocks from signal.decisions where lane = 'flip_watch'")
    assert [[block["rule"] for block in row["blocks"]] for row in refused] == [["L3"]] * TRIES
