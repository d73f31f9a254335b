"""What brokers do to their past, what positions hide, and what operators do about it: through the real adapter and tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.mt5 import deskstore
from fillbook.mt5.model import SymbolFacts
from fillbook.mt5.rebuilding import rebuild, rebuild_server
from fillbook.mt5.words import ContractKind, SyncStatus
from fillbook.runtime.errors import Conflict
from fillbook.runtime.sql import statement
from tests.integration.mt5.test_sync_scenarios import traded
from tests.support.mt5_syncing import SERVER, Syncing


def test_an_edited_deal_is_a_revision_of_trade_and_book(syncing: Syncing) -> None:
    account = syncing.account()
    traded(syncing)
    syncing.good(account)
    (deal,) = syncing.query("select deal_ticket from mt5.deals where entry = 1")
    syncing.does("a", "edit_deal", deal=deal["deal_ticket"], price="1.10099", profit="99.00")
    syncing.good(account)
    revisions = syncing.query("select max(revision) as n from mt5.deals where deal_ticket = :t", t=deal["deal_ticket"])
    assert revisions == [{"n": 2}]
    syncing.check_truth(account, "a")
    syncing.check_money(account)


def test_a_deleted_deal_is_withdrawn_after_three_reads_and_a_day(syncing: Syncing) -> None:
    account = syncing.account()
    traded(syncing)
    cost = syncing.does("a", "monthly_commission", amount="-7.00")
    syncing.good(account)
    until = syncing.row(account)["history_until_msc"]
    syncing.does("a", "delete_deal", deal=cost.tickets[0])
    syncing.good(account)
    assert syncing.gaps(account, is_open=True) == ["deal_missing"]
    syncing.good(account, times=3)
    assert syncing.row(account)["history_until_msc"] == until
    assert syncing.row(account)["cash_state"] == "gap"
    syncing.later(hours=24)
    syncing.good(account, times=2)
    (version,) = syncing.query("select withdrawn from mt5.deals where deal_ticket = :t and revision = 2", t=cost.tickets[0])
    assert version["withdrawn"] is True
    assert (syncing.gaps(account, is_open=True), syncing.row(account)["cash_state"]) == ([], "ok")
    assert syncing.count("missed_deals", account) == 0
    syncing.check_truth(account, "a")
    syncing.check_money(account)


def test_a_late_cost_after_the_close_reaches_trade_and_book(syncing: Syncing) -> None:
    account = syncing.account()
    traded(syncing)
    syncing.good(account)
    syncing.does("a", "late_cost", position="one", commission="-2.50")
    syncing.good(account)
    (row,) = [one for one in syncing.trades(account) if one["status"] == "closed"]
    assert row["net_pnl"] == Decimal("97.50")
    syncing.check_truth(account, "a")


def test_a_position_older_than_the_first_window_is_read_whole(syncing: Syncing) -> None:
    begin = syncing.now - timedelta(days=60)
    syncing.fake.add_account(id="a", server=SERVER)
    syncing.does("a", "deposit", begin, amount="1000.00")
    syncing.does("a", "open", begin, symbol="EURUSD", side="buy", volume="1.00", price="1.10000", ref="old")
    syncing.does("a", "partial_close", syncing.now - timedelta(days=2), position="old", volume="0.40", price="1.10200")
    account = syncing.linked(10_000_001, "a")
    syncing.good(account)
    (row,) = syncing.trades(account)
    assert (row["entry_complete"], row["open_volume"], row["open_price"]) == (True, Decimal("0.60"), Decimal("1.10000"))
    assert syncing.gaps(account) == []
    assert syncing.row(account)["cash_state"] == "ok"
    syncing.check_lots(account)
    assert syncing.breaks() == []


def test_volumes_that_do_not_agree_open_a_gap_until_the_deal_comes(syncing: Syncing) -> None:
    account = syncing.account()
    traded(syncing)
    syncing.good(account)
    syncing.does(
        "a", "partial_close", position="two", volume="0.20", price="1.10200", appears_at=syncing.now + timedelta(minutes=12)
    )
    syncing.good(account)
    assert syncing.gaps(account, is_open=True) == ["position_volume"]
    syncing.good(account, times=3)
    assert syncing.gaps(account, is_open=True) == []
    assert syncing.events() == ["history_gap_found", "history_gap_closed"]
    syncing.check_truth(account, "a")
    syncing.check_lots(account)


def test_a_close_that_never_comes_is_told_once(syncing: Syncing) -> None:
    account = syncing.account()
    traded(syncing)
    syncing.good(account)
    syncing.does("a", "close", position="two", price="1.10200", appears_at=syncing.now + timedelta(days=3))
    syncing.good(account, times=15)
    assert syncing.events().count("close_pending_stale") == 1
    (row,) = [one for one in syncing.trades(account) if one["status"] != "closed"]
    assert (row["status"], row["pending_polls"]) == ("close_pending", 15)
    syncing.later(days=3)
    syncing.good(account)
    syncing.check_truth(account, "a")


def test_fills_are_told_again_when_a_contract_size_becomes_known(syncing: Syncing) -> None:
    account = syncing.account()
    syncing.speak(ContractKind.V0)  # it knows no symbols
    traded(syncing)
    syncing.good(account)
    (unknown,) = syncing.query("select distinct multiplier, currency from ledger.fills")
    assert tuple(unknown.values()) == (None, "XXX")
    with syncing.desk.transaction() as tx:
        facts = SymbolFacts(
            server=SERVER,
            symbol="EURUSD",
            symbol_norm="EURUSD",
            contract_size=Decimal(100_000),
            digits=5,
            currency_profit="USD",
        )
        deskstore.set_symbol(tx, facts, syncing.now)
    outcome = rebuild_server(syncing.db, SERVER, syncing.now, symbol="EURUSD")
    assert (len(outcome.rebuilt), outcome.busy) == (1, ())
    (book,) = syncing.query("select sum(realized_pnl_base) as gained from ledger.v_actions")
    assert book["gained"] == Decimal(100)
    before = syncing.versions()
    rebuild_server(syncing.db, SERVER, syncing.now, symbol="EURUSD")
    assert syncing.versions() == before
    syncing.good(account)
    syncing.check_truth(account, "a")
    assert syncing.differences() == []


def test_a_corrected_clock_moves_every_time_of_the_server(syncing: Syncing) -> None:
    account = syncing.account()
    traded(syncing)
    syncing.good(account)
    before = {row["position_id"]: row["open_time"] for row in syncing.trades(account)}
    with syncing.desk.transaction() as tx:
        deskstore.confirm_clock(tx, SERVER, zone_name="America/New_York", shift_minutes=480)
    outcome = rebuild_server(syncing.db, SERVER, syncing.now)
    assert [one.trades_changed for one in outcome.rebuilt] == [2]
    for row in syncing.trades(account):
        assert row["open_time"] == before[row["position_id"]] - timedelta(hours=1)
    actions = syncing.query("select min(executed_at) as first from ledger.v_actions")
    assert actions == [{"first": min(before.values()) - timedelta(hours=1)}]
    assert syncing.differences() == []


def test_a_rebuild_out_of_time_says_behind_which_account_the_rest_begins(syncing: Syncing) -> None:
    ids = sorted(str(syncing.account(name)) for name in ("a", "b"))
    seen, after = [], None
    for _ in ids:
        outcome = rebuild_server(syncing.db, SERVER, syncing.now, after=after, may_go_on=lambda: False)
        seen += [one.account_id for one in outcome.rebuilt]
        after = outcome.after
    assert (seen, after) == (ids, None)


def test_an_account_that_a_run_holds_is_not_rebuilt(syncing: Syncing) -> None:
    account = syncing.account()
    traded(syncing)
    syncing.good(account)
    syncing.sync_of()
    syncing.claimed([account])
    with pytest.raises(Conflict, match="account_leased"):
        rebuild(syncing.db, account, syncing.now)


def test_a_changed_margin_mode_stops_the_booking_and_is_told(syncing: Syncing) -> None:
    account = syncing.account()
    traded(syncing)
    syncing.good(account)
    fills = syncing.query("select count(*) as n from ledger.fills")
    info = syncing.fake.world.account("a")
    info.terms = replace(info.terms, margin_mode=0)
    syncing.does("a", "close", position="two", price="1.10000")
    syncing.later(hours=1)
    (worked,) = syncing.run(account)
    assert worked.status is SyncStatus.SUCCESS
    assert syncing.query("select count(*) as n from ledger.fills") == fills
    assert syncing.events() == ["contract_error_found"]
    assert syncing.row(account)["margin_mode"] == 2
    assert [row["status"] for row in syncing.trades(account)] == ["closed", "closed"]


def test_paired_trades_of_a_simple_service_are_stored_and_booked(syncing: Syncing) -> None:
    account = syncing.account(shape={"history": "trades"})
    syncing.speak(ContractKind.V0)
    traded(syncing)
    syncing.good(account)
    closed, held = sorted(syncing.trades(account), key=lambda row: row["status"])
    assert (closed["identity_quality"], closed["net_pnl"], closed["ledger_state"]) == ("paired", Decimal("100.00"), "booked")
    assert (held["identity_quality"], held["status"]) == ("snapshot", "open")
    assert syncing.row(account)["cash_state"] == "unavailable"
    before = syncing.versions()
    assert syncing.good(account).is_unchanged
    assert syncing.versions() == before


def test_two_tenants_with_one_login_have_two_books(syncing: Syncing, reader: Any) -> None:
    first = syncing.account()
    traded(syncing)
    second = syncing.linked(10_000_001, "a", tenant_id="other")
    syncing.run(first, second)
    books = syncing.query("select book_id, count(*) as n from ledger.fills group by 1 order by 1")
    assert [row["n"] for row in books] == [3, 3]
    assert syncing.count("trades", first) == syncing.count("trades", second) == 2
    for tenant, account in (("desk", first), ("other", second)):
        with reader.transaction(read_only=True, tenant_id=tenant) as tx:
            rows = tx.query(statement("select distinct account_id from mt5.account_trades"))
        assert [str(row["account_id"]) for row in rows] == [account]


def test_credits_and_bonuses_stay_out_of_the_balance_where_the_server_says_so(syncing: Syncing) -> None:
    account = syncing.account()
    syncing.does("a", "deposit", amount="1000.00")
    syncing.does("a", "credit", amount="50.00")
    syncing.does("a", "cash", type=6, amount="20.00")
    syncing.good(account)
    row = syncing.row(account)
    assert (row["cash_state"], row["opening_proven"]) == ("ok", True)
    syncing.check_money(account)


def test_34_a_late_deal_opens_a_gap_that_the_overlap_closes(syncing: Syncing) -> None:
    account = syncing.account()
    syncing.does("a", "deposit", amount="10000.00")
    syncing.does("a", "open", symbol="EURUSD", side="buy", volume="1.00", price="1.10000", ref="p")
    syncing.later(hours=1)
    syncing.good(account)
    syncing.later(days=1)
    syncing.good(account)
    syncing.does("a", "close", position="p", price="1.10100", appears_at=syncing.now + timedelta(hours=20))
    until = syncing.row(account)["history_until_msc"]
    syncing.good(account)
    assert syncing.row(account)["cash_state"] == "gap"
    assert syncing.gaps(account, is_open=True) == ["cash"]
    assert syncing.row(account)["history_until_msc"] == until
    assert syncing.events() == ["history_gap_found"]
    (day,) = syncing.query("select state from mt5.coverage_days where day = '2026-01-15'")
    assert day["state"] == "gap"
    syncing.later(hours=20)
    syncing.good(account)
    assert (syncing.gaps(account, is_open=True), syncing.row(account)["cash_state"]) == ([], "ok")
    assert syncing.events() == ["history_gap_found", "history_gap_closed"]
    assert syncing.row(account)["history_until_msc"] > until
    syncing.check_truth(account, "a")
    syncing.later(days=3)
    syncing.good(account)
    day = syncing.query("select state from mt5.coverage_days where day = '2026-01-15'")
    assert day == [{"state": "proven"}]
    assert syncing.breaks() == []
