"""Statements use their index whatever the size: who is due among many, a live account's rows, deals by position and time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from fillbook.mt5 import runstore, store
from fillbook.mt5.records import CashAsked, Wanted
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.local.postgres import PostgresServer
from tests.support.mt5_world import NOW
from tests.support.plans import rows_read
from tests.support.servers import TEMPLATE, database_config

ACCOUNTS = 10_000
DUE = 100
CROWD = f"""
insert into mt5.servers (server, zone_name, shift_minutes) select 'S' || n, 'UTC', 0 from generate_series(0, 9) n;
insert into mt5.service_instances (instance_key, base_url) values ('default', 'http://one');
alter table mt5.account_sync_state disable trigger all;
insert into mt5.trading_accounts (id, broker_name, server, login_number, book_id)
select gen_random_uuid(), 'B', 'S' || n % 10, n, 'mt5:' || n from generate_series(1, {ACCOUNTS}) n;
insert into mt5.account_sync_state (account_id, next_due_at)
select a.id, '{NOW.isoformat()}'::timestamptz + (a.login_number - {DUE}) * interval '1 second' from mt5.trading_accounts a;
insert into mt5.deals (account_id, deal_ticket, position_id, order_id, time_server_msc, deal_type, entry, symbol, volume, price,
                       profit, commission, swap, fee, content_hash, first_seen_run)
select a.id, t, 1 + t / 2, t, t * 1000, 0, t % 2, 'X', 1, 1, 0, 0, 0, 0, '', gen_random_uuid()
  from (select id from mt5.trading_accounts order by login_number limit 20) a cross join generate_series(1, 500) t;
insert into mt5.trades (account_id, position_id, id, ticket, symbol, symbol_norm, type, volume, open_volume, open_price,
                        open_time, close_time, status, entry_complete, identity_quality)
select d.account_id, d.position_id, gen_random_uuid(), 1, 'X', 'X', 'buy', 1, (d.position_id = 1)::int, 1, '2026-01-01',
       case when d.position_id > 1 then '2026-01-02'::timestamptz end,
       case when d.position_id = 1 then 'open' else 'closed' end::mt5.trade_status,
       true, 'deals'
  from (select distinct account_id, position_id from mt5.deals) d;
vacuum analyze mt5.trading_accounts; vacuum analyze mt5.account_sync_state; vacuum analyze mt5.deals; vacuum analyze mt5.trades
"""


@pytest.fixture(scope="module")
def crowded(postgres: PostgresServer) -> Iterator[Database]:
    """Twenty thousand accounts of which two hundred are due, in a database of its own for this module."""
    name = "mt5_plans"
    postgres.run("psql", "-qc", f"create database {name} template {TEMPLATE}")
    for text in CROWD.split(";"):
        postgres.run("psql", "-qd", name, "-c", text)
    db = Database.open(database_config(postgres.url(database=name) + "?role=mt5_writer"), application_name="tests")
    yield db
    db.close()
    postgres.run("psql", "-qc", f"drop database {name} with (force)")


def plan(db: Database, text: str, **params: object) -> str:
    """The plan of a statement as it is chosen, sequential scans allowed."""
    with db.transaction(read_only=True) as tx:
        rows = tx.query(statement("explain (costs off) " + text), **params)
    return "\n".join(str(value) for row in rows for value in row.values())


def some_account(db: Database) -> str:
    with db.transaction(read_only=True) as tx:
        return str(tx.query(statement("select account_id from mt5.deals limit 1"))[0]["account_id"])


FIRST: dict[str, Any] = {"after_due": "-infinity", "after_id": "00000000-0000-0000-0000-000000000000", "tenant_id": None}


def test_who_is_due_comes_in_the_order_of_the_due_index(crowded: Database) -> None:
    text = plan(crowded, store.QUERIES["due_page"].text, **FIRST, due_before=NOW, with_reauth=False, rows_max=5000)
    assert "Index Scan using account_sync_state_due_ix" in text or "Index Only Scan using account_sync_state_due_ix" in text
    assert re.search(r"Index Scan using trading_accounts_(pk|tenant_uq)", text)
    assert "Seq Scan" not in text
    assert not re.search(r"\bSort\b", text)


def test_a_page_of_who_is_due_reads_no_more_than_it_returns(crowded: Database) -> None:
    text = "explain (analyze, costs off, timing off, format json) " + store.QUERIES["due_page"].text
    with crowded.transaction(read_only=True) as tx:
        (row,) = tx.query(statement(text), **FIRST, due_before=NOW, with_reauth=False, rows_max=50)
        (told,) = next(iter(row.values()))
        assert _read(told["Plan"]) <= 120
        page = runstore.due_page(tx, due_before=NOW)
        assert len(page) == DUE
        assert [one.next_due_at for one in page] == sorted(one.next_due_at for one in page)
        after = runstore.due_page(tx, due_before=NOW + timedelta(seconds=10), after=page[-1])
        assert len(after) == 10


def _read(node: dict[str, Any]) -> int:
    own = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] if "Relation Name" in node else 0
    return round(own) + sum(_read(child) for child in node.get("Plans", ()))


def test_a_fleet_is_counted_no_further_than_asked_for(crowded: Database) -> None:
    with crowded.transaction(read_only=True) as tx:
        assert rows_read(tx, store.QUERIES["active"], tenant_id=None, count_max=101) == 101
        assert rows_read(tx, store.QUERIES["due"], tenant_id=None, due_before=NOW, count_max=51) == 102
        assert rows_read(tx, store.QUERIES["due"], tenant_id=None, due_before=NOW, count_max=ACCOUNTS) == 2 * DUE


HOT = {
    "deals of a position": (
        "select 1 from mt5.deals d where d.account_id = :id and d.position_id = any (array[3, 4]::bigint[])",
        "deals_position_ix",
    ),
    "deals of a window": (
        "select * from mt5.deals d where d.account_id = :id and d.time_server_msc >= 1000 and d.time_server_msc < 3000",
        "deals_time_ix",
    ),
    "a ticket": ("select * from mt5.deals d where d.account_id = :id and d.deal_ticket = 7", "deals_pk"),
    "live trades": ("select position_id from mt5.trades t where t.account_id = :id and t.status <> 'closed'", "trades_live_ix"),
    "closed trades, newest first": (
        "select * from mt5.trades t where t.account_id = :id and t.status = 'closed' order by t.close_time desc limit 5",
        "trades_closed_ix",
    ),
    "the newest executions": (
        "select * from mt5.sync_logs l order by l.started_at desc limit 5",
        "sync_logs_default_started_at_idx",
    ),
    "the run of a slot": (
        "select * from mt5.sync_runs r where r.sync_type = 'scheduled' and r.scheduled_for = '2026-01-01'",
        "sync_runs_slot_uq",
    ),
    "a server of an instance": (
        """select from mt5.trading_accounts a where a.is_active and a.instance_key = 'default' and a.server = 'S3'
            order by a.id limit 9""",
        "trading_accounts_active_ix",
    ),
}


@pytest.mark.parametrize("name", HOT)
def test_a_look_up_of_the_hot_path_uses_the_index_that_is_named_for_it(crowded: Database, name: str) -> None:
    text, index = HOT[name]
    params = {"id": some_account(crowded)} if ":id" in text else {}
    assert f"using {index} " in plan(crowded, text, **params) or f"on {index}" in plan(crowded, text, **params)


def test_a_page_of_the_journal_comes_by_an_index_of_its_account(crowded: Database) -> None:
    values = {"account_id": some_account(crowded), "rows_max": 100}
    assert "deals_pk" in plan(crowded, store.QUERIES["deals_page"].text, **values, after_ticket=9, after_revision=1)
    text = plan(crowded, store.QUERIES["trades_page"].text, **values, after_position=9, after_episode=1)
    assert "trades_pk" in text or "trades_account_page_ix" in text  # a handful is sorted, a book walks its key


def scans(db: Database) -> int:
    """Sequential scans of the room's tables so far."""
    with db.transaction() as tx:
        tx.execute(statement("select pg_stat_force_next_flush()"))
    text = "select sum(seq_scan)::bigint as n from pg_stat_user_tables where schemaname = 'mt5' and relname <> 'servers'"
    with db.transaction() as tx:
        return int(tx.query(statement(text))[0]["n"])


def test_an_account_is_read_without_scanning_a_table(crowded: Database) -> None:
    account = some_account(crowded)
    before = scans(crowded)
    (held,) = store.claim(crowded, "00000000-0000-4000-8000-000000000001", [account], lease_seconds=60).claimed
    with crowded.transaction() as tx:
        wanted = Wanted(tickets=[5], position_ids=[9], cash=CashAsked(at_msc=400_000))
        loaded = store.load_account(tx, account, held.lease_token, wanted)
    assert len(loaded.deals) == 5, "the ticket's position, the position named, and that of the live trade"
    assert loaded.cash is not None
    assert scans(crowded) == before


def test_a_job_claims_what_is_due_without_scanning_a_table(crowded: Database) -> None:
    before = scans(crowded)
    given = {"shards": (0, 1023), "rows_max": 10, "lease_seconds": 60}
    found = store.claim_due(crowded, "00000000-0000-4000-8000-000000000001", due_before=NOW, **given)
    assert len(found.claimed) == 10
    assert scans(crowded) == before


def test_every_statement_of_the_room_is_valid_sql(db: Database) -> None:
    for name, asked in store.QUERIES.items():
        with db.transaction() as tx:
            tx.execute(statement(f"prepare checked_{name} as {asked.numbered}"))
