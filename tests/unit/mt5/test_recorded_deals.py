"""Recorded and hand-worked deals, used where they lie: each case of the edge cases, and the printed outputs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fillbook.mt5.cash import check, sums
from fillbook.mt5.deals import money_of
from fillbook.mt5.fills import Wanted, wanted
from fillbook.mt5.model import Deal
from fillbook.mt5.words import CashBucket, CashKind, CashResult, TradeStatus
from tests.support.mt5_deals import (
    DATA,
    Desk,
    at,
    derived,
    facts,
    recorded,
    recorded_deal,
    shown,
    stored,
    terms,
    trades,
    utc,
    view,
)

pytestmark = [
    pytest.mark.local_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="the recorded deals are not on this machine (../shared/data/mt5)"),
]

_NAMES = {
    "direction": lambda row: row.side.value.upper(),
    "status": lambda row: row.status.value,
    "closed_volume": lambda row: row.volume - row.open_volume,
    "close_price_vwap": lambda row: row.close_price,
    "profit": lambda row: row.realized_profit,
    "net": lambda row: row.net_pnl,
    "opened_at": lambda row: row.open_time,
    "closed_at_msc": lambda row: int(row.close_time.timestamp() * 1000),
}
_NUMBERS = {"volume", "open_volume", "closed_volume", "open_price", "close_price_vwap", "profit", "commission", "swap", "net"}
_OF_THE_TEST = {"deals", "needs_backfill_by_position"}


def case(name: str) -> Any:
    return recorded("synthetic_edge_cases.json")[name]


def deals_of(rows: Any) -> list[Deal]:
    return [recorded_deal(row) for row in rows]


def agree(rows: Any, expected: Any) -> None:
    assert len(rows) == len(expected)
    found = {(row.position_id, row.episode): row for row in rows}
    for one in expected:
        row = found[one["position_id"], one.get("episode", 1)]
        for name, value in one.items():
            if name not in _OF_THE_TEST:
                said = _NAMES[name](row) if name in _NAMES else getattr(row, name)
                assert said == (Decimal(value) if name in _NUMBERS and value is not None else value), name


@pytest.mark.parametrize(
    "name",
    [
        "partial_close_hedging",
        "netting_scale_in_then_reversal",
        "close_by",
        "exit_only_in_window",
        "identical_looking_fills",
        "cost_record_after_close",
        "netting_fifo_versus_average",
    ],
)
def test_the_deals_of_a_case_give_its_trades(name: str) -> None:
    agree(trades(deals_of(case(name)["deals"])), case(name)["expected"])


def test_scenario_14_a_partial_close_leaves_one_open_row() -> None:
    deals = deals_of(case("partial_close_hedging")["deals"])
    [row] = trades(deals[:2])
    assert (row.status, row.open_volume, row.realized_profit, row.realized_swap) == ("open", Decimal("0.60"), 80, Decimal("-0.5"))
    [row] = trades(deals)
    assert (row.status, row.close_price, row.net_pnl) == ("closed", Decimal("1.10140"), Decimal("131.60"))


def test_scenario_15_a_reversal_makes_two_rows_with_their_own_costs() -> None:
    deals = deals_of(case("netting_scale_in_then_reversal")["deals"])
    assert [(row.side.value, row.net_pnl) for row in trades(deals)] == [("buy", Decimal(-4)), ("sell", Decimal(16))]
    snapshot = case("netting_scale_in_then_reversal")["position_snapshot_after_9103"]
    seen = view(0, shown(snapshot["identifier"], "sell", snapshot["volume"], ticket=snapshot["ticket"]))
    after = derived(deals[:3], (), type(seen)(at_msc=deals[2].time_msc + 1, positions=seen.positions))
    assert [(row.status, row.ticket) for row in after.trades] == [("closed", 6001), ("open", 6003)]
    assert after.agrees is True


def test_scenario_16_a_close_by_puts_each_deal_on_its_own_position() -> None:
    rows = {row.position_id: row for row in trades(deals_of(case("close_by")["deals"]))}
    assert (rows[7001].status, rows[7001].open_volume, rows[7001].realized_profit) == ("open", Decimal("0.40"), 300)
    assert (rows[7002].status, rows[7002].profit) == ("closed", 0)


def test_scenario_17_movements_of_cash_are_no_trades() -> None:
    given, desk = case("cash_operations"), Desk()
    desk.poll(deals_of(given["deals"]))
    assert desk.trades == given["expected"]
    kinds = {operation.kind: operation.amount for operation in desk.operations.values()}
    told = given["expected_ledger"]
    assert kinds == {
        CashKind.DEPOSIT: Decimal(told["deposits"]),
        CashKind.WITHDRAWAL: Decimal(told["withdrawals"]),
        CashKind.CREDIT: Decimal(told["credit"]),
        CashKind.CHARGE: Decimal(told["charges"]),
        CashKind.COMMISSION: Decimal(told["commission"]),
    }
    found = sums(desk.stored.values(), 1762950000000, None, CashBucket.BALANCE)
    checked = check(Decimal("9491.75"), Decimal("100.00"), found, opening_balance=None, currency_digits=2)
    assert (checked.result, checked.opening_balance, checked.opening_proven) == (CashResult.OK, 0, True)


def test_an_exit_without_its_entry_is_closed_and_wants_its_whole_life() -> None:
    given = case("exit_only_in_window")
    before = derived(deals_of(given["deals"]))
    assert before.reading is not None
    assert (before.trades[0].entry_complete, before.trades[0].open_price, before.trades[0].open_time) == (False, None, None)
    after = derived(deals_of(given["full_life_by_position"]), before.trades)
    agree(after.trades, given["expected_after_by_position"])
    assert after.reading is None


def test_scenario_18_a_deal_ticket_may_equal_another_positions_ticket() -> None:
    given, desk = case("key_space_collision"), Desk()
    position = given["position"]
    seen = shown(position["identifier"], "buy", position["volume"], ticket=position["ticket"])
    desk.poll(deals_of(given["deals"]), view(0, seen))
    by_status = [row.status for row in desk.trades]
    assert by_status.count(TradeStatus.OPEN) == given["expected"]["open_rows"]
    assert by_status.count(TradeStatus.CLOSED) == given["expected"]["closed_rows"]


def test_scenario_19_a_renumbered_ticket_stays_the_same_row() -> None:
    given, desk = case("ticket_renumbered_by_swap_reopen"), Desk()
    for second, day in ((10, given["day1"]), (20, given["day2"])):
        desk.poll((), view(second, shown(day["identifier"], "buy", "0.1", ticket=day["ticket"])))
    [row] = desk.trades
    assert (row.position_id, row.ticket, row.status) == (given["expected"]["position_id"], given["day2"]["ticket"], "open")


def test_scenario_20_gone_from_the_snapshot_is_pending_until_the_deal_comes() -> None:
    given, desk, found = case("disappeared_but_history_late"), Desk(), []
    out = Deal(
        **{
            **{name: getattr(recorded_deal(case("close_by")["deals"][2]), name) for name in Deal.__slots__},
            "position_id": 9801,
            "time_msc": at(25),
        }
    )
    for second, poll in ((10, given["poll1"]), (30, given["poll2"]), (40, given["poll3"])):
        seen = view(second, *(shown(position, "buy", "0.6") for position in poll["positions"]))
        desk.poll([out] if poll["deals"] else (), seen)
        found.append(desk.trades[0].status)
    assert found == given["expected"]
    assert desk.trades[0].close_time == utc(at(25))


def test_an_edited_deal_keeps_its_first_version_and_the_latest_counts() -> None:
    given, desk = case("edited_deal"), Desk()
    desk.poll(deals_of(given["first_read"]))
    desk.poll(deals_of(given["second_read"]))
    assert len(desk.versions) == given["expected"]["deal_rows"]
    assert desk.stored[9942].revision == given["expected"]["revisions_of_9942"]
    agree(desk.trades, [given["expected"]["trade"]])
    assert [action.action.realized_pnl for action in desk.world.actions] == [None, Decimal(400)]


def test_the_book_closes_fifo_where_the_broker_averages_and_agrees_when_flat() -> None:
    given = case("netting_fifo_versus_average")
    desk = Desk(terms(facts("TEST", given["contract_size"]), hedging=False))
    desk.poll(deals_of(given["deals"]))
    closings = [action.action.realized_pnl for action in desk.world.actions if action.action.closings]
    assert closings == [Decimal(text) for text in given["expected_ledger_closings"]]
    assert sum(filter(None, closings)) == desk.trades[0].net_pnl


def test_totals_of_fills_that_look_alike() -> None:
    given = case("identical_looking_fills")
    desk = Desk(terms(facts("XAUUSD", given["contract_size"])))
    desk.poll(deals_of(given["deals"]))
    told = given["expected_totals"]
    assert (len(desk.trades), len(desk.versions)) == (told["trades"], told["deals"])
    assert sum(row.net_pnl or 0 for row in desk.trades) == Decimal(told["net"])
    assert sum(action.action.realized_pnl_base or 0 for action in desk.world.actions) == Decimal(told["net"])


@pytest.mark.parametrize(
    ("name", "total"), [("mql5_book_history_deals", "10004.76"), ("mql5_docs_history_deals_get", "99947.31")]
)
def test_printed_deals_sum_to_the_balance_and_to_trades_and_cash(name: str, total: str) -> None:
    deals, desk = deals_of(recorded("python_package_deals.json")[name]), Desk()
    assert sum(money_of(deal) for deal in deals) == Decimal(total)
    desk.poll(deals)
    moved = sum(operation.amount for operation in desk.operations.values())
    assert moved + sum(row.net_pnl or 0 for row in desk.trades) == Decimal(total)


def test_commission_charged_on_entry_belongs_to_the_open_trade() -> None:
    rows = trades(deals_of(recorded("python_package_deals.json")["mql5_article_entry_commission"]))
    assert [(row.status, row.commission, row.net_pnl, row.profit) for row in rows] == [
        ("open", Decimal("-0.04"), Decimal("-0.04"), None)
    ] * 3


def test_the_rate_of_a_foreign_close_is_the_one_its_profit_implies() -> None:
    deals = deals_of(recorded("python_package_deals.json")["mql5_docs_history_deals_get"])
    life = derived([deal for deal in deals if deal.position_id == 539349382]).episodes
    told: Wanted = wanted(terms(facts("USDCHF", 100_000, "CHF")), life)
    opened, closed = told.fills
    assert opened.fx_rate is None
    assert closed.fx_rate == (Decimal("29.44") / Decimal("27.60")).quantize(Decimal("1e-12"))


def test_stored_deals_of_a_case_are_first_revisions() -> None:
    assert {each.revision for each in stored(*deals_of(case("close_by")["deals"]))} == {1}
