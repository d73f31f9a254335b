"""Scenarios of the specification (section 15) on Postgres, each run twice: orders, labels, composites, combos, activity rows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from fillbook.ibkr.model import Row, Sighting
from tests.support.ibkr import exec_id, flex, report, tws
from tests.support.ibkr_world import World


def loose(name: int | str, *parts: str, **texts: str) -> Sighting:
    """A fill without permanent id."""
    return tws(exec_id(name), *parts, permId="0", **texts)


def test_scenario_12_a_trusted_label_joins_two_fills(world: World) -> None:
    world.socket(loose(1, orderRef="FB-7"))
    world.socket(loose(2, orderRef="FB-7"))
    [trade] = world.trades()
    assert (trade["match_kind"], trade["confidence"], trade["execution_count"]) == ("order_ref", "medium", 2)


def test_scenario_13_a_label_shared_by_orders_joins_nothing(world: World) -> None:
    world.socket(loose(1, orderRef="SpreadTrader", orderId="5"), loose(2, orderRef="SpreadTrader", orderId="6"))
    assert [trade["match_kind"] for trade in world.trades()] == ["composite", "composite"]


def test_scenario_14_fills_that_say_nothing_about_their_order_stay_alone(world: World) -> None:
    world.socket(loose(1, orderId="0"), loose(2, orderId="0"))
    assert [(trade["match_kind"], trade["confidence"]) for trade in world.trades()] == [("single", "low")] * 2


def test_scenario_15_a_fill_moves_when_its_permanent_id_is_seen(world: World) -> None:
    world.socket(loose(1, orderId="94"), loose(2, orderId="95"))
    world.socket(tws(exec_id(9), permId="1400000001", orderId="93"))
    metrics = world.socket(tws(exec_id(1), orderId="94"))
    assert (metrics.updated_executions_count, metrics.touched_trades_count, metrics.canonical_changes_count) == (1, 2, 0)
    trades = {trade["match_kind"]: trade for trade in world.trades()}
    assert trades["perm_id"]["execution_count"] == 2
    assert trades["perm_id"]["total_quantity"] == 200
    [old] = [trade for trade in world.trades(merged=True) if trade["merged_into"] is not None]
    assert (old["merged_into"], old["total_quantity"], old["ib_perm_id"]) == (trades["perm_id"]["trade_id"], 0, None)
    assert old["keys"] == []
    assert any(key.startswith("order:") for key in trades["perm_id"]["keys"])


def test_scenario_16_one_broker_day_is_one_composite(world: World) -> None:
    texts = {"orderId": "9", "secType": "FUT", "localSymbol": "ESH6"}
    world.socket(loose(1, time="20260105 23:59:50 UTC", **texts))
    world.socket(loose(2, time="20260106 00:00:10 UTC", **texts))
    [trade] = world.trades()
    assert (trade["match_kind"], trade["trade_day"]) == ("composite", date(2026, 1, 6))
    world.socket(tws(exec_id(3), time="20260105 23:59:50 UTC"), tws(exec_id(4), time="20260106 00:00:10 UTC"))
    assert [trade["execution_count"] for trade in world.trades()] == [2, 2]


def test_scenario_17_one_statement_order_filled_over_two_days(world: World) -> None:
    world.statement(flex(exec_id(1), "30", ibOrderID="9", dateTime="20260105;154500"))
    second = flex(exec_id(2), "50", ibOrderID="9", dateTime="20260106;093001", tradeDate="20260106")
    world.statement(second, days=(date(2026, 1, 6), date(2026, 1, 6)))
    [trade] = world.trades()
    assert trade["first_executed_at"] == datetime(2026, 1, 5, 20, 45, tzinfo=UTC)
    assert trade["last_executed_at"] == datetime(2026, 1, 6, 14, 30, 1, tzinfo=UTC)


def test_scenario_19_digits_are_stored_and_returned_exactly(world: World) -> None:
    forex = {"assetCategory": "CASH", "symbol": "USD.TWD", "conid": "2", "currency": "TWD", "fxRateToBase": "0.033"}
    world.statement(flex(exec_id(1), "-1143.28313142", "30.3074532", **forex), flex(exec_id(2), "0.3088", "68.41"))
    rows = world.executions()
    assert (rows[exec_id(1)]["quantity"], rows[exec_id(1)]["price"]) == (Decimal("1143.28313142"), Decimal("30.3074532"))
    assert rows[exec_id(1)]["signed_quantity"] == Decimal("-1143.28313142")
    assert rows[exec_id(2)]["quantity"] == Decimal("0.3088")
    assert {fill["quantity"] for fill in world.fills().values()} == {Decimal("1143.28313142"), Decimal("0.3088")}


def combo() -> tuple[Row, list[Row]]:
    bag = tws(exec_id(30), "BOT", "2", "1.92", conId="9", secType="BAG", symbol="CL")
    texts = {"secType": "FUT", "symbol": "CL", "multiplier": "1000"}
    legs = [
        tws(exec_id(30, slot="02"), "BOT", "2", "62.12", conId="11", localSymbol="CLH6", **texts),
        tws(exec_id(30, slot="03"), "SLD", "2", "60.2", conId="12", localSymbol="CLJ6", **texts),
    ]
    fees: list[Row] = [report(one.ib_exec_id, "4.74") for one in legs]
    return bag, [*legs, *fees]


@pytest.mark.parametrize("order", ["together", "legs first", "summary first"])
def test_scenario_20_the_summary_counts_combos_and_the_legs_carry_the_money(world: World, order: str) -> None:
    bag, legs = combo()
    runs = {"together": [[bag, *legs]], "legs first": [legs, [bag]], "summary first": [[bag], legs]}
    for rows in runs[order]:
        world.socket(*rows)
    [trade] = world.trades()
    assert (trade["total_quantity"], trade["avg_price"], trade["commission"]) == (2, Decimal("1.92"), Decimal("9.48"))
    assert len(world.fills()) == 2
    roles = {row["exec_role"] for row in world.executions().values()}
    assert roles == {"combo_summary", "leg"}


def test_scenario_22_two_legs_and_two_order_ids_are_one_combo(world: World) -> None:
    world.statement(flex(exec_id(1, slot="02"), "1", "2.1", conid="11", ibOrderID="70"))
    assert [trade["is_combo"] for trade in world.trades()] == [False]
    world.statement(flex(exec_id(1, slot="03"), "-1", "0.9", conid="12", ibOrderID="71"))
    [trade] = world.trades()
    assert (trade["is_combo"], trade["total_quantity"], trade["avg_price"], trade["conid"]) == (True, 1, Decimal("1.2"), None)


def test_scenario_23_one_instrument_in_many_fills_of_one_order_is_no_combo(world: World) -> None:
    world.statement(*(flex(exec_id(n), ibOrderID="9", brokerageOrderID="00ab.1") for n in range(5)))
    [trade] = world.trades()
    assert (trade["is_combo"], trade["total_quantity"]) == (False, 500)


def test_scenario_24_expiry_assignment_and_exercise(world: World) -> None:
    def book(transaction: str, quantity: str, price: str, note: str, **texts: str) -> Sighting:
        given = {"transactionType": "BookTrade", "notes": note, "transactionID": transaction, "ibOrderID": transaction}
        return flex("", quantity, price, **(given | texts))

    option = {"assetCategory": "OPT", "multiplier": "100", "openCloseIndicator": "C"}
    rows = [
        book("28", "-1", "0", "Ep", conid="1", symbol="A", **option),
        book("29", "2", "0", "A", conid="2", symbol="B", **option),
        book("30", "200", "100", "A", conid="3", symbol="C"),
        book("31", "-4", "0", "Ex", conid="4", symbol="D", **option),
        book("32", "400", "11.5", "Ex", conid="5", symbol="E"),
    ]
    world.statement(*rows)
    assert [(trade["keys"], trade["status"]) for trade in world.trades()] == [
        (["single:tx:28"], "expired"),
        (["single:tx:29"], "assigned"),
        (["single:tx:30"], "assigned"),
        (["single:tx:31"], "exercised"),
        (["single:tx:32"], "exercised"),
    ]
    fills = world.fills()
    assert fills["tx:28#0"]["venue_order"] == "tx:00000000000000000028"
    assert (fills["tx:28#0"]["position_effect"], fills["tx:30#0"]["position_effect"]) == ("close", "auto")


def test_scenario_26_sentinel_rebate_and_foreign_commission(world: World) -> None:
    world.socket(tws(exec_id(1)), report(exec_id(1), "1"), tws(exec_id(2)), report(exec_id(2), "-0.25", "CHF"))
    rows = world.executions()
    assert rows[exec_id(1)]["broker_realized_pnl"] is None
    assert (rows[exec_id(2)]["commission"], rows[exec_id(2)]["commission_currency"]) == (Decimal("-0.25"), "CHF")
    [trade] = world.trades()
    assert (trade["commission"], trade["missing_commission_count"]) == (None, 0)


def test_scenario_27_two_accounts_with_one_execution_id(world: World) -> None:
    rows: list[Row] = [tws(exec_id(1)), tws(exec_id(1), "BOT", "7", acctNumber="U7654321"), report(exec_id(1), "1")]
    metrics = world.socket(*rows)
    assert metrics.inserted_executions_count == 2
    assert (world.trades()[0]["total_quantity"], world.trades("U7654321")[0]["total_quantity"]) == (100, 7)
    assert world.anomalies() == [("commission_ambiguous", exec_id(1)), ("commission_ambiguous", exec_id(1))]
    assert world.executions()[exec_id(1)]["commission"] is None
    world.statement(flex(exec_id(1), transactionID="5"))
    # the other account's copy still waits for its own statement row
    assert world.anomalies() == [("commission_ambiguous", exec_id(1)), ("not_settled", exec_id(1))]


def test_scenario_32_wide_ids_are_stored(world: World) -> None:
    world.socket(tws(exec_id(1), permId="9876543210123", orderId="5000000000"))
    [trade] = world.trades()
    assert (trade["ib_perm_id"], trade["ib_order_id"]) == (9876543210123, 5000000000)
