"""Scenario 24 and law 10: tenants, and everybody else, see and touch exactly what they may."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import pytest

from fillbook.mt5 import deskstore
from fillbook.runtime.db import ConstraintViolated, Database, DatabaseFailed, Settings, driver_connection
from fillbook.runtime.sql import statement
from tests.support.mt5_world import NOW, World, deal, version
from tests.support.servers import database_config

DENIED = "42501"
TENANT_TABLES = (
    "trading_accounts",
    "account_sync_state",
    "deals",
    "trades",
    "cash_operations",
    "cash_checks",
    "history_gaps",
    "missed_deals",
    "sync_logs",
    "sync_failures_archive",
    "sync_hours",
    "account_removals",
)
PLAIN_TABLES = (
    "service_instances",
    "servers",
    "symbols",
    "sync_runs",
    "sync_shards",
    "service_breakers",
    "rate_tokens",
    "session_slots",
)
VIEWS = (
    "recent_sync_executions",
    "account_success_24h",
    "accounts_with_failures",
    "sync_performance_by_hour",
    "recent_sync_failures",
    "account_sync_health",
    "coverage_days",
    "fleet_freshness",
    "account_trades",
    "ledger_differences",
    "v_account_runs",
    "v_account_states",
    "v_position_deals",
)
ALWAYS_EMPTY = {"account_removals"}


def refused(database: Database, text: str, tenant_id: str | None = None) -> str:
    """The sqlstate with which a statement is refused."""
    with pytest.raises((DatabaseFailed, ConstraintViolated)) as caught, database.transaction(tenant_id=tenant_id) as tx:
        tx.execute(statement(text))
    return str(caught.value.sqlstate)


@pytest.fixture
def two(world: World) -> World:
    """Two tenants who linked the same login of the same server and hold the same tickets."""
    for tenant in ("desk", "other"):
        world.fill(world.link(tenant_id=tenant).account_id)
    return world


def tenants_seen(reader: Database, name: str, tenant_id: str | None) -> set[str]:
    with reader.transaction(tenant_id=tenant_id, read_only=True) as tx:
        tx.execute(statement(f"set local fillbook.now = '{NOW.isoformat()}'"))
        return {row["tenant_id"] for row in tx.query(statement(f"select tenant_id from mt5.{name}"))}


def test_scenario_24_a_tenant_sees_its_own_rows_and_none_is_seen_without_one(two: World, reader: Database) -> None:
    for name in (*TENANT_TABLES, *VIEWS):
        everyone = set() if name in ALWAYS_EMPTY else {"desk", "other"}
        for tenant in (None, "", "nobody"):
            assert tenants_seen(reader, name, tenant) == set(), (name, tenant)
        for tenant in ("desk", "other"):
            assert tenants_seen(reader, name, tenant) == everyone & {tenant}, name
        for database in (two.db, two.desk):
            assert tenants_seen(database, name, None) == everyone, name


def test_scenario_24_two_tenants_of_one_login_have_two_books(two: World) -> None:
    rows = two.query("select tenant_id, book_id, id::text from mt5.trading_accounts order by tenant_id")
    assert [row["book_id"] for row in rows] == ["mt5:Alpha-Demo:1001", f"mt5:Alpha-Demo:1001~{rows[1]['id'][:8]}"]
    assert len(two.query("select distinct id from mt5.trades")) == 4


def test_scenario_24_a_tenant_changes_nothing(two: World, reader: Database) -> None:
    for text in (
        "insert into mt5.sync_logs select * from mt5.sync_logs",
        "update mt5.trading_accounts set balance = 1000000",
        "delete from mt5.trades",
        "update mt5.trades set net_pnl = 1",
        "insert into mt5.deals select * from mt5.deals",
        "select mt5.load_account('{}')",
        "select mt5.link_account('{}')",
        "select mt5.make_log_partitions('{}')",
    ):
        assert refused(reader, text, "desk") == DENIED, text


def test_what_has_no_tenant_is_not_shown_to_one(world: World, reader: Database) -> None:
    for table in PLAIN_TABLES:
        assert refused(reader, f"select 1 from mt5.{table}", "desk") == DENIED, table
        for database in (world.db, world.desk):
            with database.transaction(read_only=True) as tx:
                tx.query(statement(f"select 1 from mt5.{table}"))


def test_every_tenant_table_is_walled_by_the_same_policies_and_the_wall_is_forced(world: World) -> None:
    rows = world.query(
        """
        select c.relname::text as name, c.relrowsecurity and c.relforcerowsecurity as is_walled,
               array(select p.policyname || ' ' || p.cmd || ' ' || p.roles::text from pg_policies p
                      where p.schemaname = 'mt5' and p.tablename = c.relname order by 1) as policies
          from pg_class c
         where c.relnamespace = 'mt5'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
           and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id')
        """
    )
    assert {row["name"] for row in rows} == set(TENANT_TABLES)
    for row in rows:
        name = row["name"]
        wanted = [
            f"{name}_operator SELECT {{desk_operator}}",
            f"{name}_owner ALL {{fillbook_owner}}",
            f"{name}_tenant ALL {{public}}",
            f"{name}_writer ALL {{mt5_writer}}",
        ]
        if name == "trading_accounts":
            wanted.insert(1, f"{name}_operator_update UPDATE {{desk_operator}}")
        assert row["is_walled"]
        assert row["policies"] == wanted
    told = world.query(
        "select distinct qual, with_check from pg_policies where schemaname = 'mt5' and policyname like '%\\_tenant'"
    )
    assert len(told) == 1
    assert told[0]["qual"] == told[0]["with_check"]
    assert "NULLIF(current_setting('fillbook.tenant_id'::text, true), ''::text)" in told[0]["qual"]


def test_nobody_is_granted_a_partition_and_every_view_asks_as_its_reader(world: World) -> None:
    world.open()
    partitions = world.query(
        "select c.relname::text as name, c.relacl::text as acl from pg_inherits i join pg_class c on c.oid = i.inhrelid "
        "where i.inhparent = 'mt5.sync_logs'::regclass"
    )
    assert len(partitions) == 3
    assert {row["acl"] for row in partitions} == {None}
    views = world.query(
        "select relname::text as name, reloptions::text as options from pg_class "
        "where relnamespace = 'mt5'::regnamespace and relkind = 'v'"
    )
    assert {row["name"] for row in views} == set(VIEWS)
    assert {row["options"] for row in views} == {"{security_invoker=true}"}


def test_the_worker_adds_to_the_journal_of_deals_and_takes_nothing_back(two: World) -> None:
    for text in (
        "update mt5.deals set price = 1",
        "delete from mt5.deals",
        "truncate mt5.deals",
        "delete from mt5.trading_accounts",
        "insert into mt5.account_sync_state select * from mt5.account_sync_state",
        "update mt5.trading_accounts set is_active = false",
        "update mt5.trading_accounts set account_name = 'x'",
        "update mt5.trading_accounts set book_id = 'live'",
        "update mt5.sync_logs set status = 'success'",
        "delete from mt5.sync_logs",
        "drop table mt5.sync_logs_default",
        "select mt5.link_account('{}')",
        "select mt5.remove_account('{}')",
        "insert into mt5.account_removals select * from mt5.account_removals",
    ):
        assert refused(two.db, text) == DENIED, text


def test_an_operator_changes_labels_and_switches_and_nothing_else(two: World) -> None:
    with two.desk.transaction() as tx:
        assert (
            tx.execute(statement("update mt5.trading_accounts set account_name = 'x', is_active = false, backfill_target = null"))
            == 2
        )
        tx.execute(statement("update mt5.servers set zone_state = 'confirmed'"))
        tx.execute(statement("update mt5.symbols set contract_size = 1"))
    for text in (
        "update mt5.trading_accounts set balance = 1",
        "update mt5.trading_accounts set tenant_id = 'other'",
        "update mt5.account_sync_state set lease_token = 0",
        "delete from mt5.trading_accounts",
        "insert into mt5.deals select * from mt5.deals",
        "update mt5.trades set net_pnl = 1",
        "update mt5.symbols set server = 'x'",
        "select mt5.apply_account('{}')",
    ):
        assert refused(two.desk, text) == DENIED, text


def test_functions_that_act_as_the_owner_have_a_fixed_path_and_are_few(world: World) -> None:
    rows = world.query(
        "select proname::text as name, proconfig::text as config from pg_proc "
        "where pronamespace = 'mt5'::regnamespace and prosecdef order by 1"
    )
    assert [row["name"] for row in rows] == [
        "drop_log_partitions",
        "follow_account",
        "is_closed_day",
        "link_account",
        "make_log_partitions",
        "remove_account",
    ]
    assert {row["config"] for row in rows} == {'{"search_path=pg_catalog, pg_temp"}'}


OWNED_BY_A_MORTAL = """
do $$
declare
    name text;
begin
    if not exists (select from pg_roles where rolname = 'mt5_test_owner') then
        create role mt5_test_owner nologin;
    end if;
    grant create, usage on schema mt5 to mt5_test_owner;
    for name in select c.oid::regclass::text from pg_class c
                 where c.relnamespace = 'mt5'::regnamespace and c.relkind in ('r', 'p', 'v') loop
        execute format('alter table %s owner to mt5_test_owner', name);
    end loop;
    for name in select t.oid::regtype::text from pg_type t
                 where t.typnamespace = 'mt5'::regnamespace and t.typtype = 'e' loop
        execute format('alter type %s owner to mt5_test_owner', name);
    end loop;
    for name in select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'mt5'::regnamespace loop
        execute format('alter function %s owner to mt5_test_owner', name);
    end loop;
end $$
"""


def test_linking_removing_and_keeping_partitions_work_for_an_owner_who_is_walled_too(world: World, database_url: str) -> None:
    """In the cloud no owner is a superuser: forced row-level security holds for the functions that run as the owner."""
    with closing(driver_connection(database_config(database_url), Settings(application_name="tests"))) as connection:
        connection.execute_simple(OWNED_BY_A_MORTAL)
    accounts = [world.link(tenant_id=tenant).account_id for tenant in ("desk", "other")]
    assert world.link(tenant_id="other", account_name="again").is_new is False
    world.open()
    world.open(NOW + timedelta(days=3))
    world.sync(accounts[0], deals=[version(deal(1))])
    with world.desk.transaction() as tx:
        tx.execute(statement("update mt5.trading_accounts set is_active = false"))
        text = "select isfinite(next_due_at) as due from mt5.account_sync_state"
        assert [row["due"] for row in tx.query(statement(text))] == [False, False]
        outcome, counts = deskstore.remove_account(tx, accounts[0], "desk", "test", NOW)
    assert (outcome, counts["deals"], counts["sync_logs"]) == ("removed", 1, 1)
    assert [row["id"] for row in world.query("select id::text from mt5.trading_accounts")] == accounts[1:]
