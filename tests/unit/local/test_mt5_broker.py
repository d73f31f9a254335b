"""The fake's broker: the hand-made cases kept beside the repository, what is possible and what is not, what corrections do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from infra.local import mt5_truth
from infra.local.mt5_broker import Book
from infra.local.mt5_model import EPOCH, EUROPE, MONEY_FIELDS, NEW_YORK_PLUS_7, Deal, fixed, iso
from infra.local.mt5_operations import OPERATIONS
from tests.support.mt5_cases import EDGES, NETS, TERMS, booked, needs_samples, samples

AT = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)
CASES = samples(EDGES)
FIGURES = {"close_price_vwap": "close_price"}
DEALT = [name for name, one in CASES.items() if "deals" in one and name not in ("key_space_collision", "exit_only_in_window")]


def truth(book: Book) -> list[dict[str, object]]:
    return [one.document() for one in mt5_truth.trades(book.changes, book.terms.digits)]


def agrees(told: dict[str, object], expected: dict[str, Any]) -> None:
    """A true trade has the figures that a case states of it."""
    for name, wanted in expected.items():
        match name:
            case "direction":
                assert told["side"] == wanted.lower()
            case "closed_volume":
                assert Decimal(str(told["volume"])) - Decimal(str(told["open_volume"])) == Decimal(wanted)
            case "closed_at_msc":
                assert told["close_time"] == iso(EPOCH + timedelta(milliseconds=wanted))
            case "position_id" | "episode" | "status" | "deals":
                assert told[name] == wanted, name
            case _:
                assert Decimal(str(told[FIGURES.get(name, name)])) == Decimal(wanted), name


def raw(deal: Deal) -> dict[str, Any]:
    names = ("ticket", "order", "time_msc", "type", "entry", "magic", "position_id", "reason", "volume", "price", "symbol")
    return {name: getattr(deal, name) for name in (*names, *MONEY_FIELDS, "comment", "external_id")}


@needs_samples
@pytest.mark.parametrize("name", DEALT)
def test_the_operations_behind_a_case_make_its_deals_and_its_trades(name: str) -> None:
    case = CASES[name]
    book = booked(case["deals"], nets=case.get("margin_mode") == "netting")
    made = [raw(deal) for deal in book.state(AT).rows]
    assert made == [{key: row[key] for key in made[0]} for row in case["deals"]]
    told = truth(book)
    assert len(told) == len(case["expected"])
    for trade, expected in zip(told, case["expected"], strict=True):
        agrees(trade, expected)


@needs_samples
def test_a_partial_close_leaves_the_trade_open_with_what_is_left() -> None:
    case = CASES["partial_close_hedging"]
    [told] = truth(booked(case["deals"][:2]))
    agrees(told, case["after_first_out"])
    assert told["profit"] == "80.00"


@needs_samples
def test_a_reversal_keeps_the_identifier_and_changes_the_ticket() -> None:
    case = CASES["netting_scale_in_then_reversal"]
    book = booked(case["deals"][:3], nets=True)
    [held] = book.positions.values()
    wanted = case["position_snapshot_after_9103"]
    told = (held.ticket, held.position_id, held.side, held.volume)
    assert told == (wanted["ticket"], wanted["identifier"], wanted["type"], wanted["volume"])
    assert [one["net"] for one in truth(booked(case["deals"], nets=True))] == ["-4.00", "16.00"]


@needs_samples
def test_an_exit_whose_entry_is_before_the_window_has_a_whole_life_by_position() -> None:
    case = CASES["exit_only_in_window"]
    book = booked(case["full_life_by_position"])
    [exit_] = case["deals"]
    at = EPOCH + timedelta(milliseconds=exit_["time_msc"])
    assert [deal.ticket for deal in book.between(exit_["time_msc"] - 1000, exit_["time_msc"] + 1, at)] == [exit_["ticket"]]
    assert [deal.ticket for deal in book.life(exit_["position_id"], at)] == [
        row["ticket"] for row in case["full_life_by_position"]
    ]
    agrees(truth(book)[0], case["expected_after_by_position"][0])


@needs_samples
def test_movements_of_money_are_no_trades_and_credit_is_no_balance() -> None:
    case = CASES["cash_operations"]
    book = booked(case["deals"])
    told = [(one["kind"], Decimal(str(one["amount"]))) for one in mt5_truth.cash(book.changes)]
    wanted = {"deposits": "deposit", "withdrawals": "withdrawal", "charges": "charge"}
    assert told == [(wanted.get(name, name), Decimal(amount)) for name, amount in case["expected_ledger"].items()]
    assert (book.balance, book.credit) == (Decimal("9491.75"), Decimal("100.00"))


@needs_samples
def test_an_edited_deal_moves_price_result_and_balance() -> None:
    case = CASES["edited_deal"]
    book = booked(case["first_read"])
    before, at = book.balance, book.changes[-1].at + timedelta(hours=1)
    edited = case["second_read"][1]
    book.operate("edit_deal", at, deal=edited["ticket"], price=edited["price"], profit=edited["profit"])
    assert [raw(deal) for deal in book.state(at).rows][1]["price"] == edited["price"]
    assert book.balance - before == Decimal(-100)
    agrees(truth(book)[0], {**case["expected"]["trade"], "deals": 2})
    assert book.state(at - timedelta(minutes=1)).rows[1].price == case["first_read"][1]["price"]


@needs_samples
def test_a_position_is_renumbered_and_stays_the_same() -> None:
    case = CASES["ticket_renumbered_by_swap_reopen"]
    book = Book(TERMS)
    book.operate("open", AT, symbol="EURUSD", side="buy", volume="0.10", order=case["expected"]["position_id"], ref="p")
    for day in ("day1", "day2"):
        book.operate("swap_reopen", AT, position="p", order=case[day]["ticket"], swap="-0.20")
    [held] = book.positions.values()
    assert (held.ticket, held.position_id) == (case["day2"]["ticket"], case["expected"]["position_id"])
    assert [(one["ticket"], one["position_id"]) for one in truth(book)] == [(held.ticket, held.position_id)]
    book.operate("close", AT, position="p")
    assert book.deals[1_000_002].swap == Decimal("-0.40")


@needs_samples
@pytest.mark.parametrize("row", CASES.get("dst_new_york_plus_7", {"rows": []})["rows"], ids=lambda row: row["utc"])
def test_the_server_clock_changes_on_us_dates_where_the_rule_is_new_york(row: dict[str, str]) -> None:
    at = datetime.fromisoformat(row["utc"])
    wall = datetime.fromisoformat(row["server"]).replace(tzinfo=UTC)
    assert EPOCH + timedelta(milliseconds=NEW_YORK_PLUS_7.msc(at)) == wall


def test_a_european_server_and_one_that_never_changes_tell_other_times() -> None:
    march, july = datetime(2026, 3, 10, 9, tzinfo=UTC), datetime(2026, 7, 1, 9, tzinfo=UTC)
    hours = [(rule.msc(at) // 3_600_000) % 24 for at in (march, july) for rule in (NEW_YORK_PLUS_7, EUROPE, fixed(180))]
    assert hours == [12, 11, 12, 12, 12, 12]


REFUSED = [
    (False, "open", {"symbol": "NOPE", "side": "buy", "volume": 1}, "unknown symbol"),
    (False, "open", {"symbol": "EURUSD", "side": "long", "volume": 1}, "side is"),
    (False, "open", {"symbol": "EURUSD", "side": "buy", "volume": 0}, "above zero"),
    (False, "open", {"symbol": "EURUSD", "side": "buy", "volume": "NaN"}, "no number"),
    (False, "open", {"symbol": "EURUSD", "side": "buy", "volume": 1, "stop": 1}, "unknown field: stop"),
    (False, "open", {"symbol": "EURUSD", "side": "buy", "volume": 1, "ticket": 1_000_001}, "exists"),
    (False, "open", {"symbol": "EURUSD", "side": "buy", "volume": 1, "order": 5_000_001}, "exists"),
    (True, "open", {"symbol": "TEST", "side": "buy", "volume": 1}, "nets"),
    (False, "scale_in", {"position": "p", "volume": 1}, "hedging"),
    (False, "reverse", {"position": "p", "volume": 3}, "never reverses"),
    (True, "reverse", {"position": "p", "volume": 1}, "more than is open"),
    (False, "partial_close", {"position": "p", "volume": 1}, "leaves something"),
    (False, "close", {"position": "q"}, "no open position"),
    (False, "close_by", {"position": "p", "by": "p"}, "opposite"),
    (False, "deposit", {"amount": -1}, "above zero"),
    (False, "cash", {"amount": 1, "type": 0}, "movement of money"),
    (False, "edit_deal", {"deal": 1_000_001}, "nothing to change"),
    (False, "edit_deal", {"deal": 7, "price": 1}, "no deal"),
    (False, "late_cost", {"position": 7, "commission": -1}, "no position"),
    (False, "burn", {}, "unknown operation"),
]


@pytest.mark.parametrize(("nets", "kind", "given", "text"), REFUSED)
def test_what_a_broker_would_not_do_is_refused_and_changes_nothing(
    nets: bool, kind: str, given: dict[str, Any], text: str
) -> None:
    book = Book(NETS if nets else TERMS)
    book.operate("open", AT, symbol="TEST", side="buy", volume=1, ref="p")
    before = (book.balance, dict(book.positions), dict(book.deals), len(book.changes))
    with pytest.raises(ValueError, match=text):
        book.operate(kind, AT, **given)
    assert (book.balance, dict(book.positions), dict(book.deals), len(book.changes)) == before


def test_an_operation_before_the_last_one_is_refused_but_its_deal_may_be_dated_back_and_appear_late() -> None:
    book = Book(TERMS)
    book.operate("deposit", AT, amount=100)
    with pytest.raises(ValueError, match="before the last one"):
        book.operate("deposit", AT - timedelta(seconds=1), amount=1)
    appears = AT + timedelta(hours=2)
    book.operate("charge", AT, amount="-1.25", dated_at=AT - timedelta(hours=20), appears_at=appears)
    whole = (0, TERMS.clock.msc(AT) + 1)
    assert book.state(AT).balance == Decimal("98.75")
    assert [deal.type for deal in book.between(*whole, AT)] == [2]
    assert [deal.type for deal in book.between(*whole, appears)] == [4, 2]


def test_an_exit_taken_back_opens_the_position_again() -> None:
    book = Book(TERMS)
    book.operate("open", AT, symbol="TEST", side="sell", volume=2, price=100, ref="p")
    [ticket] = book.operate("close", AT, position="p", price=90).tickets
    assert (book.balance, book.positions) == (Decimal(20), {})
    book.operate("delete_deal", AT, deal=ticket)
    assert [(one.volume, one.side) for one in book.positions.values()] == [(2, 1)]
    assert book.balance == 0
    assert [(one["status"], one["deals"]) for one in truth(book)] == [("open", 1)]
    with pytest.raises(ValueError, match="no deal"):
        book.operate("delete_deal", AT, deal=ticket)


def test_a_cancelled_deal_keeps_its_number_and_loses_its_volume_and_money() -> None:
    book = Book(NETS)
    book.operate("open", AT, symbol="TEST", side="buy", volume=2, price=100, ref="p")
    [ticket] = book.operate("scale_in", AT, position="p", volume=2, price=110, commission=-3).tickets
    book.operate("cancel_deal", AT, deal=ticket)
    [held] = book.positions.values()
    assert (held.volume, held.price_open, book.deals[ticket].type, book.deals[ticket].amount) == (2, 100, 13, 0)
    assert [(one["volume"], one["open_price"], one["net"]) for one in truth(book)] == [("2", "100", "0.00")]


def test_a_deal_that_others_rest_on_cannot_be_taken_back() -> None:
    book = Book(TERMS)
    [entry] = book.operate("open", AT, symbol="TEST", side="buy", volume=2, ref="p").tickets
    book.operate("partial_close", AT, position="p", volume=1)
    with pytest.raises(ValueError, match="depend on it"):
        book.operate("delete_deal", AT, deal=entry)
    with pytest.raises(ValueError, match="depend on it"):
        book.operate("edit_deal", AT, deal=entry, volume="0.5")


def test_an_entry_without_which_the_position_had_been_flat_in_between_cannot_be_taken_back() -> None:
    book = Book(NETS)
    [entry] = book.operate("open", AT, symbol="TEST", side="buy", volume=2, ref="p").tickets
    book.operate("scale_in", AT, position="p", volume=1)
    book.operate("partial_close", AT, position="p", volume=1)
    book.operate("scale_in", AT, position="p", volume=1)
    with pytest.raises(ValueError, match="depend on it"):  # what came afterwards would have been another position
        book.operate("delete_deal", AT, deal=entry)


def test_a_reversal_shares_an_odd_cent_of_its_costs() -> None:
    book = Book(NETS)
    book.operate("open", AT, symbol="TEST", side="buy", volume=1, price=100, ref="p")
    book.operate("reverse", AT, position="p", volume=3, price=110, commission="-0.10", fee="-0.05", swap="-1")
    told = [(one["profit"], one["commission"], one["fee"], one["swap"], one["net"]) for one in truth(book)]
    assert told == [("10.00", "-0.03", "-0.02", "-1", "8.95"), ("0", "-0.07", "-0.03", "0", "-0.10")]


def test_half_a_cent_of_shared_costs_goes_to_the_even_side() -> None:
    book = Book(NETS)
    book.operate("open", AT, symbol="TEST", side="buy", volume=1, price=100, ref="p")
    book.operate("reverse", AT, position="p", volume=6, price=100, commission="-0.03", fee="-0.09")
    assert [(one["commission"], one["fee"]) for one in truth(book)] == [("0.00", "-0.02"), ("-0.03", "-0.07")]


def test_the_broker_averages_what_is_held_while_the_truth_averages_all_that_went_in() -> None:
    book = Book(NETS)
    book.operate("open", AT, symbol="TEST", side="buy", volume=2, price=100, ref="p")
    book.operate("partial_close", AT, position="p", volume=1, price=100)
    book.operate("scale_in", AT, position="p", volume=1, price=110)
    [held] = book.positions.values()
    [told] = truth(book)
    assert held.price_open == 105
    assert Decimal(str(told["open_price"])) == Decimal(310) / 3


def test_results_in_another_currency_are_turned_at_a_rate_that_never_moves() -> None:
    book = Book(TERMS)
    book.operate("open", AT, symbol="USDJPY", side="buy", volume="0.10", price="154.000", ref="p")
    book.operate("close", AT, position="p", price="155.000")
    assert book.balance == Decimal("64.80")


def test_every_operation_of_the_specification_is_there() -> None:
    wanted = "open scale_in partial_close close reverse close_by deposit withdraw credit charge monthly_commission swap_reopen"
    assert {*wanted.split(), "late_cost", "edit_deal", "delete_deal"} <= OPERATIONS.keys()
