"""Every Flex document of the sample folder yields what its description states, and nothing more when it comes again."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from fillbook.ibkr.accounts import configure_accounts
from fillbook.ibkr.allowlist import AccountConfig
from fillbook.ibkr.model import SyncMetrics
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected
from tests.support.ibkr_flex import SAMPLE_CONFIGS, imported, sample, write
from tests.support.ibkr_world import Query

NOW = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)


class Desk:
    """An empty desk with the accounts of the sample data."""

    def __init__(self, db: Database, query: Query, folder: Path) -> None:
        self.db, self.query, self.folder = db, query, folder
        configure_accounts(db, SAMPLE_CONFIGS, NOW)

    def take(self, body: bytes) -> SyncMetrics:
        """Import twice; the second time nothing changes."""
        first = imported(self.db, write(self.folder / "statement.xml", body), NOW)
        again = imported(self.db, write(self.folder / "statement.xml", body), NOW)
        assert (again.inserted_executions_count, again.updated_executions_count, again.touched_trades_count) == (0, 0, 0)
        return first

    def states(self) -> dict[str, int]:
        rows = self.query("select state, count(*)::int as n from ibkr.trade_executions group by state order by state")
        return {row["state"]: row["n"] for row in rows}

    def trades(self, where: str = "true", **values: Any) -> list[dict[str, Any]]:
        return self.query(f"select * from ibkr.trades where merged_into is null and {where} order by first_executed_at", **values)

    def execution(self, ib_exec_id: str) -> dict[str, Any]:
        (row,) = self.query("select * from ibkr.trade_executions where ib_exec_id = :id", id=ib_exec_id)
        return row

    def quarantine(self) -> list[str]:
        return [row["reason"] for row in self.query("select reason from ibkr.quarantine")]

    def is_empty(self) -> bool:
        tables = ("trade_executions", "execution_payloads", "sync_runs", "sync_coverage", "sync_cursors", "quarantine")
        return not any(self.query(f"select 1 as x from ibkr.{name} limit 1") for name in tables)


@pytest.fixture
def desk(worker: Database, query: Query, tmp_path: Path) -> Desk:
    return Desk(worker, query, tmp_path)


def test_an_activity_statement_of_every_odd_case(desk: Desk) -> None:
    metrics = desk.take(sample("synthetic_flex_activity_edge_cases.xml"))
    assert (metrics.fetched_executions_count, metrics.skipped_rows_count) == (39, 3)
    assert desk.states() == {"live": 31, "superseded": 1, "voided": 2}
    assert (metrics.cancel_rows_count, metrics.merged_sightings_count, metrics.quarantined_rows_count) == (4, 1, 0)
    assert [row["state"] for row in desk.query("select state from ibkr.broker_events")] == ["applied"] * 4
    assert len(desk.trades()) == 24
    assert len(desk.trades("is_combo")) == 2
    [apple] = desk.trades("flex_order_id = 4100000001")
    assert (apple["total_quantity"], apple["avg_price"]) == (100, Decimal("10.454"))
    assert apple["first_executed_at"] == datetime(2026, 1, 5, 20, 45, tzinfo=UTC)
    assert apple["last_executed_at"] == datetime(2026, 1, 6, 14, 30, 1, tzinfo=UTC)
    [czr] = desk.trades("symbol like 'CZR%'")
    assert (czr["total_quantity"], czr["commission"]) == (1, Decimal("-0.3333"))
    [xyz] = desk.query(
        "select quantity, transaction_id, commission from ibkr.trade_executions where symbol = 'XYZ' and is_canonical"
    )
    assert xyz == {"quantity": 5000, "transaction_id": 35000000923, "commission": 0}


def test_combos_and_the_clock_change_of_the_same_statement(desk: Desk) -> None:
    desk.take(sample("synthetic_flex_activity_edge_cases.xml"))
    combos = {(row["total_quantity"], row["avg_price"], row["commission"]) for row in desk.trades("is_combo")}
    assert combos == {(1, Decimal("-2.69"), Decimal("3.1492")), (2, Decimal("1.2"), Decimal(4))}
    rows = desk.query(
        "select executed_at_text as text, executed_at as at from ibkr.trade_executions where executed_at_text ~ 'E[SD]T$'"
    )
    assert {row["text"][-3:]: row["at"].strftime("%H:%M:%SZ") for row in rows} == {"EST": "06:30:00Z", "EDT": "05:30:00Z"}


def test_trade_confirmations_spell_their_columns_otherwise(desk: Desk) -> None:
    metrics = desk.take(sample("synthetic_flex_trade_confirms.xml"))
    assert (metrics.fetched_executions_count, metrics.cancel_rows_count) == (4, 1)
    assert desk.states() == {"live": 2, "voided": 1}
    counted = {(row["side"], row["total_quantity"], row["avg_price"]) for row in desk.trades("canonical_count > 0")}
    assert counted == {("BUY", 1, Decimal("1.06")), ("SELL", 1, Decimal("1.44"))}
    sources = desk.query("select distinct source from ibkr.execution_payloads")
    assert [row["source"] for row in sources] == ["confirmation"]


@pytest.mark.parametrize(
    ("name", "states", "trades"),
    [
        ("flex_pp_02.xml", {"live": 9}, 9),
        ("flex_pp_10.xml", {"live": 2}, 2),
        ("flex_pp_14.xml", {"live": 8}, 8),
        ("flex_ibflexreader_fut_fop.xml", {"live": 15}, 11),
    ],
)
def test_statements_of_other_people(desk: Desk, name: str, states: dict[str, int], trades: int) -> None:
    metrics = desk.take(sample(name))
    assert (desk.states(), len(desk.trades()), metrics.quarantined_rows_count) == (states, trades, 0)


def test_scenario_24_assignments_without_an_execution_id_are_keyed_and_told(desk: Desk) -> None:
    desk.take(sample("flex_pp_02.xml"))
    assigned = desk.trades("status = 'assigned'")
    assert [row["last_executed_at"].strftime("%H:%M:%SZ") for row in assigned] == ["20:20:00Z"] * 2


def test_scenario_24_expiry_assignment_and_exercise_with_their_stock_rows(desk: Desk) -> None:
    desk.take(sample("synthetic_flex_activity_edge_cases.xml"))
    rows = desk.query("select id_kind, transaction_type from ibkr.trade_executions where transaction_type = 'BookTrade'")
    assert {row["id_kind"] for row in rows} == {"transaction"}
    assert {row["status"] for row in desk.trades()} >= {"expired", "assigned", "exercised"}


def test_scenario_9_a_purchase_that_was_cancelled(desk: Desk) -> None:
    metrics = desk.take(sample("flex_pp_09.xml"))
    assert (desk.states(), metrics.cancel_rows_count) == ({"voided": 1}, 1)
    [trade] = desk.trades()
    assert (trade["total_quantity"], trade["status"]) == (0, "cancelled")


def test_a_row_without_any_identity_is_kept_apart(desk: Desk) -> None:
    metrics = desk.take(sample("flex_pp_13.xml"))
    assert (desk.states(), desk.quarantine(), metrics.state) == ({}, ["no_identity"], "partial")


def test_the_account_of_the_row_counts_not_that_of_the_statement(worker: Database, query: Query, tmp_path: Path) -> None:
    desk = Desk(worker, query, tmp_path)
    off = tuple(
        AccountConfig(account=one.account, is_enabled=one.account.code != "U7654321", aliases=one.aliases)
        for one in SAMPLE_CONFIGS
    )
    configure_accounts(worker, off, NOW)
    metrics = desk.take(sample("flex_pp_13.xml"))
    assert (desk.quarantine(), metrics.state) == (["account_not_allowed"], "complete")


def test_a_query_without_the_time_of_execution_is_refused_by_name(desk: Desk) -> None:
    body = sample("flex_pp_20.xml")
    with pytest.raises(Rejected, match="dateTime or tradeDate \\+ tradeTime") as caught:
        desk.take(body)
    assert (caught.value.reason, desk.is_empty()) == ("flex_columns_missing", True)
    metrics = desk.take(body.replace(b'levelOfDetail="EXECUTION"', b'dateTime="20220601;103000" levelOfDetail="EXECUTION"'))
    assert (metrics.inserted_executions_count, metrics.skipped_rows_count) == (1, 3)
    [trade] = desk.trades()
    assert (trade["total_quantity"], trade["avg_price"]) == (157, Decimal("19.065"))


def test_a_query_without_identity_is_refused_by_name(desk: Desk) -> None:
    with pytest.raises(Rejected, match="ibExecID or execID or transactionID or tradeID"):
        desk.take(sample("flex_pp_26.xml"))
    assert desk.is_empty()


def test_scenario_19_digits_are_stored_as_they_came(desk: Desk) -> None:
    desk.take(sample("flex_pp_28.xml"))
    row = desk.execution("CUSTHSFX.012f041f.01.01")
    assert (str(row["quantity"]), str(row["price"])) == ("1143.28313142", "30.3074532")


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_scenario_8_a_correction_triple_in_any_order(desk: Desk, order: tuple[int, int, int]) -> None:
    lines = sample("flex_pp_28.xml").splitlines(keepends=True)
    rows = [line for line in lines if line.startswith(b"<Trade ")]
    others = [line for line in lines if not line.startswith(b"<Trade ")]
    at = others.index(b"</Trades>\n") if b"</Trades>\n" in others else others.index(b"</Trades>\r\n")
    for place in order:
        desk.take(b"".join([*others[:at], rows[place], *others[at:]]))
    assert desk.states() == {"live": 1, "superseded": 1}
    [trade] = desk.trades()
    assert (trade["side"], trade["total_quantity"], trade["avg_price"]) == ("SELL", Decimal("1145.929445"), Decimal("30.2374637"))
    assert trade["last_executed_at"] == datetime(2025, 9, 11, 21, 0, tzinfo=UTC)
    assert [row["state"] for row in desk.query("select state from ibkr.broker_events")] == ["applied"]


def test_futures_combos_and_a_label_shared_by_many_orders(desk: Desk) -> None:
    desk.take(sample("flex_ibflexreader_fut_fop.xml"))
    [combo] = desk.trades("is_combo")
    assert (combo["total_quantity"], combo["avg_price"], combo["commission"]) == (1, Decimal("-0.0153"), Decimal("4.94"))
    rows = desk.trades("symbol like 'FDAX%'")
    assert {(row["side"], row["total_quantity"], row["avg_price"]) for row in rows} == {("BUY", 2, 11463), ("SELL", 2, 11474)}
