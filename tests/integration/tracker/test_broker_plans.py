"""Pages of broker trades and runs walk an index, whatever the size: the plans of the statements that screens repeat."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from fillbook.tracker.store import QUERIES

NOBODY = "00000000-0000-0000-0000-000000000000"
TRADES = 4_000
RECENT = datetime.now(UTC) - timedelta(hours=6)  # the rows are filled in before the database's own now
PAGE = {
    "status": None,
    "symbol": None,
    "executed_from": None,
    "executed_to": None,
    "include_merged": False,
    "include_hidden": False,
    "tenant_id": "desk",
    "after_at": None,
    "after_id": None,
    "limit": 101,
}
FILL = f"""
insert into ibkr.accounts (id, code, is_enabled, base_currency, flex_time_zone, trade_day_zone, created_at, updated_at)
select n, 'U' || n, true, 'USD', 'America/New_York', 'America/New_York', now(), now() from generate_series(1, 4) n;
insert into ibkr.trades (id, account_id, match_kind, confidence, symbol, status, total_quantity, canonical_count,
                         last_executed_at, first_executed_at, fetched_at, created_at, updated_at)
select gen_random_uuid(), 1 + n % 4, 'single', 'low', 'T' || n % 200, 'unknown', 1, 1, now() - n * interval '1 minute',
       now() - n * interval '1 minute', now(), now(), now()
  from generate_series(1, {TRADES}) n;
insert into ibkr.trade_executions (id, trade_id, account_id, ib_exec_id, id_kind, exec_id_base, settled_key, is_correctable,
                                   state, transaction_type, exec_role, conid, symbol, sec_type, underlying_symbol, executed_at,
                                   executed_at_text, is_time_ambiguous, trade_day, side, quantity, price, currency, sources,
                                   payload_hash, raw, observed_at, fetched_at, created_at, updated_at)
select gen_random_uuid(), t.id, t.account_id, t.id::text, 'broker', t.id::text, t.id::text, false,
       'live', 'ExchTrade', 'standalone',
       1, t.symbol, 'STK', 'U' || t.symbol, t.last_executed_at, '', false, '2026-01-05', 'BUY', 1, 1, 'USD', '{{tws}}',
       decode(repeat('00', 32), 'hex'), '{{}}', now(), now(), now(), now()
  from ibkr.trades t;
insert into ibkr.sync_runs (id, source, kind, is_backfill, state, requested_from, requested_to, started_at, finished_at,
                            parser_version)
select gen_random_uuid(), 'tws', 'executions', false, 'complete', now() - interval '2 days', now(), now() - n * interval '1 hour',
       now(), 1 from generate_series(1, {TRADES}) n;
insert into ibkr.sync_coverage (account_id, run_id, is_complete) select 1, id, true from ibkr.sync_runs"""


@pytest.fixture
def full(db: Database) -> Database:
    """Accounts with some thousands of trades and runs, with statistics."""
    with db.transaction() as tx:
        for text in FILL.split(";\n"):
            tx.execute(statement(text))
        for table in ("trades", "trade_executions", "sync_runs", "sync_coverage", "accounts"):
            tx.execute(statement(f"analyze ibkr.{table}"))
    return db


def scans(db: Database, name: str, **params: object) -> set[str]:
    """What the plan of a statement reads: the indexes it walks, ``seq <table>`` for each table read whole."""
    text = QUERIES[name]
    with db.transaction(read_only=True) as tx:
        rows = tx.query(statement(f"explain (format json) {text.text}"), **params)
    found: set[str] = set()

    def walk(node: dict[str, Any]) -> None:
        if "Index Name" in node:
            found.add(node["Index Name"])
        if node["Node Type"] == "Seq Scan":
            found.add(f"seq {node['Relation Name']}")
        for child in node.get("Plans", ()):
            walk(child)

    walk(next(iter(rows[0].values()))[0]["Plan"])
    return found


@pytest.mark.parametrize(
    "asked",
    [
        {"accounts": [1, 2, 3, 4]},
        {"accounts": [1, 2, 3, 4], "after_at": datetime(2026, 1, 1, tzinfo=UTC), "after_id": NOBODY},
    ],
)
def test_a_page_of_trades_walks_the_index_of_pages(full: Database, asked: dict[str, object]) -> None:
    found = scans(full, "broker_trades", **(PAGE | asked))
    assert "trades_page_idx" in found
    assert "seq trades" not in found


FILTERS: list[dict[str, object]] = [
    {"symbol": "T7"},
    {"symbol": "UT7"},
    {"symbol": "nothing"},
    {"status": "unknown"},
    {"status": "cancelled"},
    {"executed_from": RECENT},
    {"executed_from": RECENT - timedelta(days=1), "executed_to": RECENT},
    {"include_merged": True},
    {"symbol": "T7", "status": "unknown", "executed_from": RECENT},
]


@pytest.mark.parametrize("accounts", [[2], [1, 2, 3, 4]], ids=["one account", "all accounts"])
@pytest.mark.parametrize("asked", FILTERS, ids=[" ".join(one) for one in FILTERS])
def test_a_filter_never_reads_a_table_whole(full: Database, asked: dict[str, object], accounts: list[int]) -> None:
    found = scans(full, "broker_trades", **(PAGE | {"accounts": accounts} | asked))
    assert not found & {"seq trades", "seq trade_executions"}, found


def test_one_account_walks_its_own_index(full: Database) -> None:
    assert scans(full, "broker_trades", **(PAGE | {"accounts": [2]})) & {"trades_account_last_idx", "trades_page_idx"}


@pytest.mark.parametrize("is_canonical", [None, True, False])
def test_the_executions_of_a_trade_are_found_by_an_index(
    full: Database, query: Callable[..., Any], is_canonical: bool | None
) -> None:
    (trade,) = query("select id, account_id from ibkr.trades limit 1")
    params = {"trade_id": trade["id"], "account_id": trade["account_id"], "is_canonical": is_canonical, "limit": 501}
    found = scans(full, "broker_executions", **params)
    assert "trade_executions_trade_idx" in found
    assert "seq trade_executions" not in found


@pytest.mark.parametrize(
    ("name", "params", "table"),
    [
        ("broker_trade", {"trade_id": NOBODY, "books": ["ibkr:U1"]}, "trades"),
        ("account_runs", {"account_id": 1, "after_at": None, "after_id": None, "limit": 11}, "sync_runs"),
    ],
)
def test_one_trade_and_the_newest_runs_are_found_by_an_index(
    full: Database, query: Callable[..., Any], name: str, params: dict[str, object], table: str
) -> None:
    assert query("select count(*) as n from ibkr.sync_coverage") == [{"n": TRADES}]
    assert f"seq {table}" not in scans(full, name, **params)
