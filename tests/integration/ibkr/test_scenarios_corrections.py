"""Scenarios of the specification (section 15) on Postgres, each run twice: revisions, cancels, busts, settling."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations

import pytest

from fillbook.ibkr.model import Row
from tests.support.ibkr import cancel, exec_id, flex, report, tws
from tests.support.ibkr_world import World


def test_scenario_1_two_fills_of_one_permanent_id_are_one_trade(world: World) -> None:
    metrics = world.socket(tws(exec_id(1), "BOT", "60", "10.5"), tws(exec_id(2), "BOT", "40", "10.52"))
    assert (metrics.fetched_executions_count, metrics.inserted_executions_count, metrics.touched_trades_count) == (2, 2, 1)
    assert metrics.state == "complete"
    assert metrics.missing_commissions_count == 2
    [trade] = world.trades()
    assert (trade["total_quantity"], trade["avg_price"], trade["match_kind"]) == (100, Decimal("10.508"), "perm_id")
    assert sorted((row["quantity"], row["cause"]) for row in world.fills().values()) == [(40, "first"), (60, "first")]


def test_scenario_2_the_same_window_again_changes_nothing(world: World) -> None:
    rows = [tws(exec_id(1)), tws(exec_id(2)), report(exec_id(1))]
    world.socket(*rows)
    metrics = world.socket(*rows)
    assert (metrics.fetched_executions_count, metrics.unchanged_executions_count) == (2, 2)
    assert (metrics.inserted_executions_count, metrics.updated_executions_count) == (0, 0)
    assert (metrics.canonical_changes_count, metrics.touched_trades_count, metrics.missing_commissions_count) == (0, 0, 1)


def test_scenario_3_a_later_revision_takes_the_place(world: World) -> None:
    world.socket(tws(exec_id(1, 1), "BOT", "100"), report(exec_id(1, 1), "1.0"))
    metrics = world.socket(tws(exec_id(1, 2), "BOT", "60", "10.4"), report(exec_id(1, 2), "0.65"))
    assert (metrics.inserted_executions_count, metrics.canonical_changes_count) == (1, 1)
    [trade] = world.trades()
    assert (trade["total_quantity"], trade["commission"]) == (60, Decimal("0.65"))
    [fill] = world.fills().values()
    assert (fill["source_revision"], fill["cause"], fill["quantity"]) == (2, "revision", 60)


def test_scenario_4_a_late_lower_revision_changes_nothing_that_counts(world: World) -> None:
    world.socket(tws(exec_id(1, 2), "BOT", "60"))
    metrics = world.socket(tws(exec_id(1, 1), "BOT", "100"))
    assert (metrics.inserted_executions_count, metrics.canonical_changes_count) == (1, 0)
    assert world.states() == {exec_id(1, 1): "superseded", exec_id(1, 2): "live"}
    assert [row["source_revision"] for row in world.fills().values()] == [1]


def test_scenario_5_the_highest_revision_rules_whatever_came_last(world: World) -> None:
    for revision in (1, 3, 2):
        world.socket(tws(exec_id(1, revision), "BOT", str(revision)))
    assert world.states() == {exec_id(1, 1): "superseded", exec_id(1, 2): "superseded", exec_id(1, 3): "live"}
    assert world.trades()[0]["total_quantity"] == 3


def test_scenario_6_the_same_id_with_another_price_is_a_restatement(world: World) -> None:
    world.statement(flex(exec_id(1), transactionID="5", seen=60))
    metrics = world.statement(flex(exec_id(1), "100", "10.6", transactionID="5", seen=120))
    assert (metrics.inserted_executions_count, metrics.updated_executions_count) == (0, 1)
    assert world.query("select count(*) as n from ibkr.execution_payloads") == [{"n": 2}]
    assert world.trades()[0]["avg_price"] == Decimal("10.6")
    [fill] = world.fills().values()
    assert (fill["source_revision"], fill["cause"], fill["price"]) == (2, "restatement", Decimal("10.6"))


def test_scenario_7_a_revision_of_another_instrument_or_side_counts_beside(world: World) -> None:
    metrics = world.socket(
        tws(exec_id(1, 1)), tws(exec_id(1, 2), conId="2", symbol="B"), tws(exec_id(2, 1)), tws(exec_id(2, 2), "SLD")
    )
    assert list(world.states().values()) == ["live", "anomaly", "live", "anomaly"]
    assert world.anomalies() == [("revision_mismatch", exec_id(1, 2)), ("revision_mismatch", exec_id(2, 2))]
    assert metrics.anomalies_count == 2
    assert len(world.fills()) == 4


def correction() -> list[Row]:
    texts = {"tradeID": "1144440025", "assetCategory": "CASH", "symbol": "USD.TWD", "conid": "37928794", "ibOrderID": "938019702"}
    return [
        flex("CUSTHSFX.012f041f.01.01", "-1143.28313142", "30.3074532", transactionID="4606872535", **texts),
        cancel(
            "1143.28313142", "30.3074532", transactionID="4610738883", origTradeID="1144440025", origTransactionID="4606872535"
        ),
        flex("CUSTHSFX.012f041f.01.02", "-1145.929445", "30.2374637", transactionID="4610738885", **texts),
    ]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_scenario_8_a_correction_triple_in_every_order(world: World, order: tuple[int, ...]) -> None:
    rows = correction()
    for position in order:
        world.statement(rows[position])
    assert world.states() == {"CUSTHSFX.012f041f.01.01": "superseded", "CUSTHSFX.012f041f.01.02": "live"}
    [trade] = world.trades()
    assert (trade["side"], trade["total_quantity"], trade["avg_price"]) == ("SELL", Decimal("1145.929445"), Decimal("30.2374637"))
    assert [row["state"] for row in world.query("select state from ibkr.broker_events")] == ["applied"]
    assert world.anomalies() == []
    [fill] = world.fills().values()
    assert (fill["is_bust"], fill["quantity"]) == (False, Decimal("1145.929445"))


def original(transaction: str = "100", **texts: str) -> Row:
    return flex(exec_id(1), transactionID=transaction, tradeID="500", **texts)


BUST = {"transactionID": "101", "origTransactionID": "100", "origTradeID": "500"}


def test_scenario_9_a_bust_voids_and_keeps_its_row(world: World) -> None:
    world.statement(original())
    metrics = world.statement(cancel("-100", **BUST))
    assert (metrics.cancel_rows_count, metrics.voided_executions_count, metrics.canonical_changes_count) == (1, 1, 1)
    assert world.executions()[exec_id(1)]["quantity"] == 100
    [trade] = world.trades()
    assert (trade["total_quantity"], trade["avg_price"], trade["status"]) == (0, None, "cancelled")
    [fill] = world.fills().values()
    assert (fill["is_bust"], fill["cause"], fill["source_revision"]) == (True, "bust", 1)
    assert world.events() == ["execution_booked", "execution_busted"]


def test_scenario_10_a_bust_before_its_original_books_nothing(world: World) -> None:
    world.statement(cancel("-100", **BUST))
    assert world.anomalies() == [("cancel_parked", "tx:101")]
    world.statement(original())
    assert world.states() == {exec_id(1): "voided"}
    assert world.anomalies() == []
    assert world.fills() == {}


def test_scenario_11_cancel_and_rebook_under_one_id_count_once(world: World) -> None:
    world.statement(original(ibCommission="-6"))
    world.statement(cancel("-100", **BUST))
    world.statement(original("102", ibCommission="0"))
    row = world.executions()[exec_id(1)]
    assert (row["state"], row["transaction_id"], row["commission"]) == ("live", 102, 0)
    [fill] = world.fills().values()
    assert (fill["is_bust"], fill["cause"], fill["source_revision"], fill["fees"]) == (False, "rebook", 2, 0)


def test_scenario_11_in_one_statement_is_told_once(world: World) -> None:
    metrics = world.statement(original(ibCommission="-6"), cancel("-100", **BUST), original("102", ibCommission="0"))
    assert (metrics.inserted_executions_count, metrics.merged_sightings_count, metrics.cancel_rows_count) == (1, 1, 1)
    [fill] = world.fills().values()
    assert (fill["cause"], fill["quantity"]) == ("first", 100)
    assert world.events() == ["execution_booked"]


def test_scenario_18_fills_equal_in_all_but_the_id_are_both_kept(world: World) -> None:
    world.statement(flex(exec_id(10), "100", "11", ibOrderID="9"), flex(exec_id(11), "100", "11", ibOrderID="9"))
    assert world.trades()[0]["total_quantity"] == 200
    assert len(world.fills()) == 2


def test_scenario_21_inner_pieces_are_fills_and_no_corrections(world: World) -> None:
    pieces = [tws(exec_id(40, slot="03", fifth=fifth), "SLD", conId="7") for fifth in ("01", "02")]
    world.socket(*pieces)
    assert set(world.states().values()) == {"live"}
    assert world.trades()[0]["total_quantity"] == 200
    assert len(world.fills()) == 2


def test_inner_pieces_give_way_to_their_statement_row_in_the_book_too(world: World) -> None:
    pieces = [tws(exec_id(40, slot="03", fifth=fifth), "SLD", conId="7") for fifth in ("01", "02")]
    world.socket(*pieces)
    world.statement(flex(exec_id(40, slot="03"), "-200", conid="7", transactionID="9"))
    fills = world.fills()
    whole = fills["0000e0d5.40.03#0"]
    first = fills["0000e0d5.40.03#01#0"]
    assert (whole["quantity"], whole["cause"], whole["replaces_fill_id"]) == (200, "settled", first["fill_id"])
    assert [fills[f"0000e0d5.40.03#0{n}#0"]["is_bust"] for n in (1, 2)] == [True, True]


def test_scenario_25_a_commission_that_comes_later_fills_in(world: World) -> None:
    world.socket(tws(exec_id(1)))
    assert world.trades()[0]["missing_commission_count"] == 1
    metrics = world.socket(tws(exec_id(1)), report(exec_id(1), "1.05"))
    assert (metrics.updated_executions_count, metrics.canonical_changes_count, metrics.missing_commissions_count) == (1, 0, 0)
    assert world.trades()[0]["commission"] == Decimal("1.05")
    [fill] = world.fills().values()
    assert (fill["cause"], fill["fees"]) == ("commission", Decimal("1.05"))
    assert "execution_booked" not in world.events()[1:]


def test_scenario_39_what_the_socket_told_is_settled_without_a_second_fill(world: World) -> None:
    world.socket(tws(exec_id(1)), report(exec_id(1), "1"))
    told = world.events()
    metrics = world.statement(flex(exec_id(1), transactionID="5", ibOrderID="77"))
    assert (metrics.inserted_executions_count, metrics.updated_executions_count) == (0, 1)
    [row] = world.executions().values()
    assert row["sources"] == ["statement", "tws"]
    assert (row["ib_perm_id"], row["flex_order_id"], row["transaction_id"]) == (1400000001, 77, 5)
    assert len(world.fills()) == 1
    assert world.events() == told


def test_a_row_of_a_settled_day_that_no_statement_told_is_shown(world: World) -> None:
    world.socket(tws(exec_id(1)), tws(exec_id(2)))
    world.statement(flex(exec_id(1)))
    assert world.anomalies() == [("not_settled", exec_id(2))]
    world.statement(flex(exec_id(2)))
    assert world.anomalies() == []
