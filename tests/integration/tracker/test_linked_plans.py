"""Pages of linked accounts' trades, runs and days walk an index, whatever the size, and never read another tenant's rows."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from fillbook.tracker.linked import QUERIES
from tests.support.mt5_linked import NOW, LinkedDesk, Query
from tests.support.plans import rows_read

TRADES = 6_000
LIMIT = 51
PAGE: dict[str, object] = {
    "tenant_id": "desk",
    "account_id": None,
    "status": None,
    "symbol": None,
    "include_hidden": False,
    "after_at": None,
    "after_id": None,
    "limit": LIMIT,
}
FILL = f"""
insert into mt5.trades (account_id, tenant_id, position_id, id, ticket, symbol, symbol_norm, type, volume, open_volume,
                        open_price, open_time, close_time, status, entry_complete, identity_quality)
select a.id, a.tenant_id, n, gen_random_uuid(), n, 'S' || n % 50, 'S' || n % 50, 'buy', 1, (n % 500 = 0)::integer,
       1, '2026-03-04 12:00+00'::timestamptz - n * interval '1 minute',
       '2026-03-04 13:00+00'::timestamptz - n * interval '1 minute',
       (case when n % 500 = 0 then 'open' else 'closed' end)::mt5.trade_status, true, 'deals'
  from mt5.trading_accounts a cross join generate_series(1, {TRADES}) n;
insert into mt5.sync_logs (account_id, tenant_id, id, run_id, sync_type, started_at, completed_at, status, duration_ms)
select a.id, a.tenant_id, gen_random_uuid(), gen_random_uuid(), 'scheduled', t.at, t.at, 'success', 1
  from mt5.trading_accounts a
 cross join (select '2026-03-04 12:00+00'::timestamptz - n * interval '5 minutes' as at from generate_series(1, {TRADES}) n) t"""


@pytest.fixture
def full(db: Database, open_database: Any, query: Query) -> LinkedDesk:
    """Two accounts of one tenant and two of another, each with thousands of trades and runs, with statistics."""
    desk = LinkedDesk(open_database("mt5_writer"), open_database("desk_operator"), query)
    for tenant_id in ("desk", "other"):
        for login in (50000001, 50000002):
            desk.sync(desk.link(login, tenant_id))
    with db.transaction() as tx:
        tx.query(statement('select mt5.make_log_partitions(\'{"now": "2026-02-10T00:00:00Z", "days": 30}\')'))
        for text in FILL.split(";\n"):
            tx.execute(statement(text))
        for table in ("trades", "sync_logs", "trading_accounts", "account_sync_state"):
            tx.execute(statement(f"analyze mt5.{table}"))
    return desk


@pytest.fixture
def reader(open_database: Any) -> Database:
    """The page's database."""
    found: Database = open_database("tracker_reader")
    return found


def nodes(reader: Database, name: str, **params: object) -> list[dict[str, Any]]:
    """The plan of a statement as the reader of the tenant would run it."""
    with reader.transaction(read_only=True, tenant_id="desk") as tx:
        rows = tx.query(statement(f"explain (format json) {QUERIES[name].text}"), **params)
    found: list[dict[str, Any]] = []

    def walk(node: dict[str, Any]) -> None:
        found.append(node)
        for child in node.get("Plans", ()):
            walk(child)

    walk(next(iter(rows[0].values()))[0]["Plan"])
    return found


def indexes(plan: list[dict[str, Any]]) -> set[str]:
    return {node["Index Name"] for node in plan if "Index Name" in node}


def reads(reader: Database, name: str, **params: object) -> int:
    with reader.transaction(read_only=True, tenant_id="desk") as tx:
        return rows_read(tx, QUERIES[name], **params)


def mine(desk: LinkedDesk) -> list[Any]:
    return [row["id"] for row in desk.query("select id from mt5.trading_accounts where tenant_id = 'desk' order by id")]


AFTER = {"after_at": NOW - timedelta(days=2), "after_id": "80000000-0000-0000-0000-000000000000"}


def page(reader: Database, name: str, **asked: object) -> tuple[set[str], int]:
    """The indexes that a page walks and how many rows it reads; it never puts more in order than it shows."""
    plan = nodes(reader, name, **asked)
    assert not [node for node in plan if node["Node Type"] == "Sort"]
    return indexes(plan), reads(reader, name, **asked)


@pytest.mark.parametrize("after", [{}, AFTER], ids=["first page", "a later page"])
def test_a_page_of_all_accounts_walks_the_tenants_index(full: LinkedDesk, reader: Database, after: dict[str, object]) -> None:
    walked, read = page(reader, "linked_page", **(PAGE | {"accounts": mine(full)} | after))
    assert "trades_tenant_page_ix" in walked
    assert read <= 2 * LIMIT + 10


@pytest.mark.parametrize("after", [{}, AFTER], ids=["first page", "a later page"])
def test_a_page_of_one_account_reads_little_more_than_it_shows(
    full: LinkedDesk, reader: Database, after: dict[str, object]
) -> None:
    account = mine(full)[0]
    walked, read = page(reader, "linked_page", **(PAGE | {"accounts": [account], "account_id": account} | after))
    assert walked & {"trades_account_page_ix", "trades_tenant_page_ix"}
    assert read <= 3 * LIMIT


def test_a_page_of_an_account_that_rests_walks_its_own_index(full: LinkedDesk, reader: Database, query: Query) -> None:
    account = mine(full)[0]
    query("update mt5.trades set open_time = open_time - interval '300 days' where account_id = :account", account=account)
    query("analyze mt5.trades")
    walked, read = page(reader, "linked_page", **(PAGE | {"accounts": [account], "account_id": account}))
    assert "trades_account_page_ix" in walked
    assert read <= 3 * LIMIT


@pytest.mark.parametrize("count", [1, 2], ids=["one account", "all accounts"])
def test_the_few_open_trades_are_found_among_thousands_of_closed_ones(full: LinkedDesk, reader: Database, count: int) -> None:
    asked = {name: value for name, value in PAGE.items() if name != "account_id"}
    asked |= {"accounts": mine(full)[:count], "status": "open"}
    assert "trades_live_ix" in indexes(nodes(reader, "linked_live_page", **asked))
    assert reads(reader, "linked_live_page", **asked) <= 200


def test_the_rows_of_a_page_are_found_by_their_ids(full: LinkedDesk, reader: Database) -> None:
    ids = [row["id"] for row in full.query("select id from mt5.trades where tenant_id = 'desk' limit 50")]
    assert "trades_id_uq" in indexes(nodes(reader, "linked_trades", tenant_id="desk", ids=ids))


def test_a_symbol_of_one_account_is_looked_for_among_its_own_trades(full: LinkedDesk, reader: Database) -> None:
    account = mine(full)[0]
    asked = PAGE | {"accounts": [account], "account_id": account, "symbol": "none"}
    plan = nodes(reader, "linked_page", **asked)
    assert not [node for node in plan if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "trades"]
    assert reads(reader, "linked_page", **asked) <= TRADES + 10


def test_newest_runs_are_read_from_the_end_of_the_accounts_own_index(full: LinkedDesk, reader: Database) -> None:
    asked = {"tenant_id": "desk", "account_id": mine(full)[0], "after_at": None, "after_id": None, "limit": LIMIT}
    for more in ({}, AFTER):
        walked, read = page(reader, "linked_runs", **(asked | more))
        assert any(name.endswith("_pkey") for name in walked), walked
        assert read <= 6 * LIMIT  # of thousands: the first row of each day's partition, then those of the last days


def test_a_page_of_accounts_counts_from_indexes(full: LinkedDesk, reader: Database) -> None:
    asked = {"tenant_id": "desk", "accounts": mine(full), "day_start": NOW - timedelta(hours=4)}
    assert {"trades_live_ix", "trades_closed_ix"} <= indexes(nodes(reader, "linked_accounts", **asked))
    assert reads(reader, "linked_accounts", **asked) <= 1_000


def test_days_of_one_account_do_not_read_those_of_the_others(full: LinkedDesk, reader: Database) -> None:
    asked = {"tenant_id": "desk", "accounts": mine(full)[:1], "from_day": date(2026, 2, 1), "to_day": date(2026, 3, 4)}
    plan = nodes(reader, "linked_coverage", **asked)
    assert not [node for node in plan if node["Node Type"] == "Seq Scan" and node["Relation Name"] in {"deals", "cash_checks"}]
