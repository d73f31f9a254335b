"""What an operator may do to accounts: link them once, switch, label, reach further back, enter facts, remove for good."""

from __future__ import annotations

import importlib
import threading
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.mt5 import deskstore, ids, store
from fillbook.mt5.model import Instance, ServerRule, SymbolFacts
from fillbook.mt5.records import LONG_AGO, NEVER
from fillbook.mt5.words import BackfillState, CashBucket, ConnectionStatus, ContractKind, EpochClock, ZoneState
from fillbook.runtime.db import ConstraintViolated, Settings, driver_connection
from fillbook.runtime.sql import statement
from tests.support.mt5_world import NOW, SERVER, Query, World, deal, link, trade, version
from tests.support.servers import database_config

DOWN: str = importlib.import_module("infra.database.alembic.versions.0017_mt5").DOWN


def due(world: World, account: str) -> Any:
    """When an account is due, as a claim would learn it."""
    with world.db.transaction(read_only=True) as tx:
        found = store.account(tx, account)
    assert found is not None
    return found.state.next_due_at


def test_linking_sets_nothing_that_only_a_sync_may_set(world: World) -> None:
    linked = world.link(5, account_name="main", backfill_target=date(2025, 1, 1), service_account_id="svc-5")
    assert linked.account_id == ids.account_id("desk", SERVER, 5)
    with world.db.transaction(read_only=True) as tx:
        found = store.account(tx, linked.account_id)
        assert list(store.instances(tx)) == ["default"]
    assert found is not None
    assert (found.account.last_sync_at, found.state.history_until_msc, found.state.next_due_at) == (None, None, LONG_AGO)
    assert (found.account.backfill_target, found.account.service_account_id) == (date(2025, 1, 1), "svc-5")
    assert (found.rule.zone_state, found.is_rule_measured) == (ZoneState.PROVISIONAL, False)


def test_linking_again_is_the_same_account_and_its_label_stays_when_none_is_given(world: World) -> None:
    first = world.link(5, account_name="main")
    again = world.link(5, instance_key="default")
    assert (again.account_id, again.book_id, again.is_new) == (first.account_id, first.book_id, False)
    rows = world.query("select account_name, credentials_version as v from mt5.trading_accounts")
    assert rows == [{"account_name": "main", "v": 1}]


def test_two_who_link_the_same_account_at_once_have_one(world: World) -> None:
    start = threading.Barrier(3)
    books: list[str] = []

    def work() -> None:
        start.wait()
        made = world.desk.run(lambda tx: deskstore.link_account(tx, link(5), NOW), retry_constraints=deskstore.RETRY_CONSTRAINTS)
        books.append(made.book_id)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert books == [f"mt5:{SERVER}:5"] * 3
    assert len(world.query("select 1 from mt5.trading_accounts")) == 1


def test_new_credentials_schedule_an_account_again(world: World) -> None:
    account = world.link().account_id
    (held,) = world.claim(account)
    state = replace(held.state, next_due_at=NEVER, auth_failure_count=3)
    world.apply(world.work(held, state=state, account=world.update(connection_status=ConnectionStatus.NEEDS_REAUTH)))
    world.link()
    assert due(world, account) == NEVER
    world.link(has_new_credentials=True)
    with world.db.transaction(read_only=True) as tx:
        found = store.account(tx, account)
    assert found is not None
    assert (found.state.next_due_at, found.state.auth_failure_count, found.account.credentials_version) == (LONG_AGO, 0, 2)
    assert found.account.connection_status is ConnectionStatus.UNKNOWN


def test_an_instance_that_nobody_knows_is_named_with_its_address(world: World) -> None:
    with pytest.raises(ConstraintViolated, match="trading_accounts_instance_fk"):
        world.link(5, instance_key="second", base_url=None)
    world.link(5, instance_key="second")
    given = Instance(
        instance_key="second",
        base_url="http://two",
        contract=ContractKind.V1,
        epoch_clock=EpochClock.UTC,
        sessions_max=200,
        rate_per_minute=100,
    )
    with world.db.transaction() as tx:
        store.configure_instances(tx, [given, given])
        assert store.instances(tx)["second"] == given


@pytest.mark.parametrize("by_hand", [False, True])
def test_an_inactive_account_is_not_scheduled_and_an_active_one_is_due_at_once(world: World, by_hand: bool) -> None:
    account = world.link().account_id
    world.sync(account)
    with world.desk.transaction() as tx:
        if by_hand:
            tx.execute(statement("update mt5.trading_accounts set is_active = false"))
        else:
            assert deskstore.deactivate_account(tx, account, NOW)
            assert not deskstore.deactivate_account(tx, ids.account_id("x", "y", 1), NOW)
    assert due(world, account) == NEVER
    with world.desk.transaction() as tx:
        if by_hand:
            tx.execute(statement("update mt5.trading_accounts set is_active = true"))
        else:
            deskstore.link_account(tx, link(), NOW)
    assert due(world, account) == LONG_AGO
    assert world.query("select current_setting('fillbook.tenant_id', true) as left_over") in (
        [{"left_over": None}],
        [{"left_over": ""}],
    )


def test_a_label_and_a_target_further_back_are_an_operators(world: World) -> None:
    account = world.link().account_id
    (held,) = world.claim(account)
    world.apply(world.work(held, state=replace(held.state, backfill_state=BackfillState.DONE)))
    with world.desk.transaction() as tx:
        assert deskstore.rename_account(tx, account, "new", NOW)
        assert deskstore.set_backfill_target(tx, account, date(2020, 1, 1), NOW)
    (held,) = world.claim(account, run=2)
    assert (held.account.backfill_target, held.state.backfill_state) == (date(2020, 1, 1), BackfillState.PENDING)
    assert world.query("select account_name from mt5.trading_accounts") == [{"account_name": "new"}]


def test_contract_sizes_and_clock_rules_are_entered_by_an_operator(world: World) -> None:
    account = world.link().account_id
    facts = SymbolFacts(server=SERVER, symbol="X", symbol_norm="X", contract_size=Decimal(10), digits=1, currency_profit="EUR")
    (held,) = world.claim(account)
    measured = ServerRule(server=SERVER, zone_name="America/New_York", shift_minutes=420)
    with world.db.transaction() as tx:
        assert store.write_rule(tx, measured, held.rule)
        assert not store.write_rule(tx, replace(measured, shift_minutes=60), held.rule), "another run was first"
    with world.desk.transaction() as tx:
        deskstore.set_symbol(tx, facts, NOW)
        deskstore.set_symbol(tx, replace(facts, contract_size=Decimal(100)), NOW)
        assert deskstore.confirm_clock(tx, SERVER, zone_name="Europe/Athens", shift_minutes=0, bonus_bucket=CashBucket.CREDIT)
        assert not deskstore.confirm_clock(tx, "Nowhere", zone_name="UTC", shift_minutes=0)
    loaded = world.load(held, symbols=["X"])
    assert loaded.symbols["X"].contract_size == Decimal(100)
    assert loaded.rule == ServerRule(
        server=SERVER,
        zone_name="Europe/Athens",
        shift_minutes=0,
        zone_state=ZoneState.CONFIRMED,
        bonus_bucket=CashBucket.CREDIT,
    )
    with world.db.transaction() as tx:
        assert not store.write_rule(tx, measured, measured), "what an operator confirmed is not measured away"


def remove(world: World, account: str, tenant_id: str = "desk") -> Any:
    with world.desk.transaction() as tx:
        return deskstore.remove_account(tx, account, tenant_id, "asked by its owner", NOW)


def test_an_account_is_removed_when_it_is_inactive_and_not_worked_and_a_trace_stays(world: World) -> None:
    account, other = world.link().account_id, world.link(tenant_id="other").account_id
    for one in (account, other):
        world.sync(one, deals=[version(deal(1)), version(deal(2, 77))], trades=[trade(one, 77)])
    assert remove(world, account)[0] == "active"
    with world.desk.transaction() as tx:
        deskstore.deactivate_account(tx, account, NOW)
    world.query("update mt5.account_sync_state set lease_until = clock_timestamp() + interval '1 minute' returning 1")
    assert remove(world, account)[0] == "leased"
    world.query("update mt5.account_sync_state set lease_until = null returning 1")
    assert remove(world, account, "other")[0] == "not_found"
    outcome, counts = remove(world, account)
    assert outcome == "removed"
    assert counts == {
        "sync_logs": 1,
        "sync_failures_archive": 0,
        "sync_hours": 1,
        "missed_deals": 0,
        "history_gaps": 0,
        "cash_checks": 0,
        "cash_operations": 0,
        "trades": 1,
        "deals": 2,
        "account_sync_state": 1,
    }
    (trace,) = world.query("select * from mt5.account_removals")
    assert (str(trace["account_id"]), trace["login_number"], trace["removed_at"], trace["reason"]) == (
        account,
        1001,
        NOW,
        "asked by its owner",
    )
    assert trace["removed_by"]
    assert {str(row["account_id"]) for row in world.query("select account_id from mt5.deals")} == {other}
    assert world.link(now=NOW + timedelta(days=1)).is_new


def run_script(url: str, text: str) -> None:
    with closing(driver_connection(database_config(url), Settings(application_name="tests"))) as connection:
        connection.execute_simple(text)


def test_a_room_that_holds_deals_is_not_taken_away_and_an_empty_one_can_be(world: World, database_url: str, query: Query) -> None:
    account = world.link().account_id
    world.sync(account, deals=[version(deal(1))])
    with pytest.raises(Exception, match=r"mt5\.deals has rows"):
        run_script(database_url, DOWN)
    query("delete from mt5.deals returning 1")
    # the membership of roles is the whole cluster's and other tests need it
    run_script(database_url, DOWN.replace("revoke mt5_reader from tracker_reader;", ""))
    assert query("select to_regnamespace('mt5')::text as room") == [{"room": None}]
