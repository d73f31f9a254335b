"""Scenarios of one account, end to end: a fake broker's operations through the real adapter into the room and its book."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fillbook.mt5.rebuilding import rebuild
from fillbook.mt5.words import ContractKind, SyncStatus
from tests.support.mt5_syncing import Syncing, traded
from tests.support.tracker_words import ROLE, Words, ask, send, tracker

V1, V0 = ContractKind.V1, ContractKind.V0
both = pytest.mark.parametrize("kind", [V1, V0])


def amounts(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


@both
def test_1_three_healthy_accounts_are_stored_and_logged(syncing: Syncing, kind: ContractKind) -> None:
    accounts = [syncing.account(name, commission_per_lot="3.50") for name in "abc"]
    syncing.speak(kind)
    for name in "abc":
        traded(syncing, name)
    worked = syncing.run(*accounts)
    assert [one.status for one in worked] == [SyncStatus.SUCCESS] * 3, (worked, syncing.crashes)
    for account, name in zip(accounts, "abc", strict=True):
        row = syncing.row(account)
        assert (row["sync_failure_count"], row["last_connection_error"], row["connection_status"]) == (0, None, "connected")
        assert row["last_sync_at"] == row["last_successful_sync_at"] == syncing.now
        assert row["cash_state"] == "ok"
        assert len(syncing.logs(account)) == 1
        syncing.check_truth(account, name)
        syncing.check_money(account)
        syncing.check_lots(account)
    assert syncing.breaks() == []
    assert Decimal(str(syncing.row(accounts[0])["balance"])) == Decimal("10091.25")


def test_13_bursts_of_equal_fills_on_a_hedging_account(syncing: Syncing) -> None:
    account = syncing.account(commission_per_lot="3.00")
    syncing.does("a", "deposit", amount="5000.00")
    for number in range(32):
        syncing.later(seconds=20)
        syncing.does("a", "open", symbol="XAUUSD", side="buy", volume="0.02", price="4010.50", ref=f"p{number}", fee="-0.01")
    syncing.later(minutes=1)
    for number in range(29):
        syncing.does("a", "close", position=f"p{number}", price="4012.30", fee="-0.01")
    for number in range(29, 32):
        syncing.later(seconds=5)
        syncing.does("a", "close", position=f"p{number}", price="4009.10")
    syncing.good(account)
    rows = syncing.trades(account)
    assert [row["status"] for row in rows] == ["closed"] * 32
    assert syncing.count("cash_operations", account) == 1
    assert syncing.row(account)["cash_state"] == "ok"
    assert sum(row["net_pnl"] for row in rows) == Decimal(syncing.fake.truth("a")["balance"]) - 5000
    syncing.check_truth(account, "a")


def test_14_a_partial_close_leaves_one_open_row_and_ends_in_one_closed_row(syncing: Syncing) -> None:
    account = syncing.account()
    syncing.does("a", "deposit", amount="1000.00")
    syncing.does("a", "open", symbol="EURUSD", side="buy", volume="1.00", price="1.10000", commission="-3.50", ref="p")
    syncing.later(minutes=3)
    syncing.does("a", "partial_close", position="p", volume="0.40", price="1.10200", commission="-1.40", swap="0")
    syncing.good(account)
    (row,) = syncing.trades(account)
    assert amounts(row, "status", "open_volume", "realized_profit") == ("open", Decimal("0.60"), Decimal("80.00"))
    syncing.check_lots(account)
    syncing.does("a", "close", position="p", price="1.10100", commission="-2.10", swap="-1.40")
    syncing.good(account)
    (row,) = syncing.trades(account)
    assert amounts(row, "status", "close_price", "net_pnl") == ("closed", Decimal("1.10140"), Decimal("131.60"))
    syncing.check_truth(account, "a")


def test_15_a_netting_reversal_makes_two_episodes(syncing: Syncing) -> None:
    account = syncing.account(mode="netting")
    syncing.does("a", "deposit", amount="1000.00")
    syncing.does("a", "open", symbol="TEST", side="buy", volume="1", price="99.00", commission="-1.00", ref="p")
    syncing.later(minutes=1)
    syncing.does("a", "scale_in", position="p", volume="1", price="101.00", commission="-1.00")
    syncing.later(minutes=1)
    syncing.does("a", "partial_close", position="p", volume="1", price="110.00", commission="-1.00")
    syncing.later(minutes=1)
    syncing.does("a", "reverse", position="p", volume="3", price="90.00", commission="-3.00")
    syncing.later(minutes=1)
    syncing.good(account)
    syncing.does("a", "close", position="p", price="80.00", commission="-2.00")
    syncing.good(account)
    rows = [(row["type"], row["episode"], row["status"], row["net_pnl"]) for row in syncing.trades(account)]
    assert rows == [("buy", 1, "closed", Decimal("-4.00")), ("sell", 2, "closed", Decimal("16.00"))]
    syncing.check_truth(account, "a")
    syncing.check_money(account)
    assert syncing.breaks() == []


def test_16_a_close_by_ends_one_position_and_a_part_of_the_other(syncing: Syncing) -> None:
    account = syncing.account()
    syncing.does("a", "deposit", amount="1000.00")
    syncing.does("a", "open", symbol="EURUSD", side="buy", volume="1.00", price="1.10000", ref="long")
    syncing.does("a", "open", symbol="EURUSD", side="sell", volume="0.60", price="1.10500", ref="short")
    syncing.good(account)
    syncing.does("a", "close_by", position="long", by="short")
    syncing.good(account)
    first, second = syncing.trades(account)
    assert amounts(first, "status", "open_volume", "realized_profit") == ("open", Decimal("0.40"), Decimal("300.00"))
    assert amounts(second, "status", "realized_profit") == ("closed", Decimal(0))
    syncing.check_truth(account, "a")
    syncing.check_lots(account)


def test_17_cash_operations_are_never_trades(syncing: Syncing) -> None:
    account = syncing.account()
    syncing.does("a", "deposit", amount="10000.00")
    syncing.does("a", "withdraw", amount="500.00")
    syncing.does("a", "credit", amount="100.00")
    syncing.does("a", "charge", amount="-1.25")
    syncing.does("a", "monthly_commission", amount="-7.00")
    syncing.good(account)
    assert syncing.trades(account) == []
    found = syncing.query("select kind, amount from mt5.cash_operations order by deal_ticket")
    assert [(row["kind"], row["amount"]) for row in found] == [
        ("deposit", Decimal("10000.00")),
        ("withdrawal", Decimal("-500.00")),
        ("credit", Decimal("100.00")),
        ("charge", Decimal("-1.25")),
        ("commission", Decimal("-7.00")),
    ]
    row = syncing.row(account)
    assert (Decimal(str(row["balance"])), Decimal(str(row["credit"]))) == (Decimal("9491.75"), Decimal("100.00"))
    assert (row["cash_state"], row["opening_proven"]) == ("ok", True)


def test_18_a_deal_with_another_positions_number_is_another_row(syncing: Syncing) -> None:
    account = syncing.account()
    syncing.does("a", "deposit", amount="1000.00")
    first = syncing.does("a", "open", symbol="EURUSD", side="buy", volume="0.10", price="1.1", position_id=555)
    syncing.does("a", "open", symbol="EURUSD", side="sell", volume="0.10", price="1.1", ticket=first.position_id, position_id=777)
    syncing.good(account)
    assert [row["position_id"] for row in syncing.trades(account)] == [555, 777]
    syncing.check_truth(account, "a")


def test_19_a_renumbered_position_stays_the_same_row(syncing: Syncing) -> None:
    account = syncing.account()
    traded(syncing)
    syncing.good(account)
    (before,) = [row for row in syncing.trades(account) if row["status"] == "open"]
    syncing.does("a", "swap_reopen", position="two", swap="-0.35")
    syncing.good(account)
    (after,) = [row for row in syncing.trades(account) if row["status"] == "open"]
    assert after["id"] == before["id"]
    assert after["ticket"] != before["ticket"]
    syncing.check_truth(account, "a")


def test_20_a_position_that_is_gone_waits_for_its_deal(syncing: Syncing) -> None:
    account = syncing.account()
    traded(syncing)
    syncing.good(account)
    closing_at = syncing.now
    syncing.does("a", "close", position="two", price="1.10100", appears_at=syncing.now + timedelta(minutes=12))
    states = []
    for _ in range(4):
        syncing.run(account)
        (row,) = [row for row in syncing.trades(account) if row["symbol"] == "EURUSD" and row["type"] == "sell"]
        states.append(row["status"])
    assert states == ["close_pending", "close_pending", "closed", "closed"]
    assert row["close_time"] == closing_at
    assert syncing.gaps(account, is_open=True) == []
    syncing.check_truth(account, "a")


def test_23_a_snapshot_older_than_the_closing_deal_reopens_nothing(syncing: Syncing) -> None:
    account = syncing.account()
    traded(syncing)
    syncing.good(account)
    syncing.later(seconds=10)
    syncing.does("a", "close", position="two", price="1.10100")
    syncing.good(account)
    syncing.fake.fault("stale", endpoint="snapshot", age=330, declared=True, count=1)
    (worked,) = syncing.run(account)
    assert worked.status is SyncStatus.SUCCESS
    assert [row["status"] for row in syncing.trades(account)] == ["closed", "closed"]


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 6), 2), ((2026, 3, 10), 3), ((2026, 10, 27), 3), ((2026, 11, 3), 2)])
def test_25_times_follow_new_york(syncing: Syncing, day: tuple[int, int, int], hours: int) -> None:
    syncing.fake.clock.set(datetime(*day, 12, 0, tzinfo=UTC))
    account = syncing.account()
    at = syncing.now
    syncing.does("a", "deposit", amount="1000.00")
    syncing.does("a", "open", symbol="EURUSD", side="buy", volume="0.10", price="1.1", ref="p")
    syncing.good(account)
    (deal,) = syncing.query("select time_server_msc from mt5.deals where position_id > 0")
    assert deal["time_server_msc"] == int((at + timedelta(hours=hours)).timestamp() * 1000)
    (row,) = syncing.trades(account)
    assert row["open_time"] == at
    rule = syncing.query("select zone_name, shift_minutes, zone_state from mt5.servers")[0]
    assert tuple(rule.values()) == ("America/New_York", 420, "provisional")


def test_26_a_deal_of_a_server_ahead_of_utc_is_seen_at_once(syncing: Syncing) -> None:
    syncing.fake.add_server("Ahead-Live", zone_name="UTC", shift_minutes=180)
    account = syncing.account(server="Ahead-Live")
    syncing.does("a", "deposit", amount="1000.00")
    syncing.good(account)
    syncing.does("a", "open", symbol="EURUSD", side="buy", volume="0.10", price="1.1")
    syncing.later(minutes=25)
    syncing.good(account)
    assert len(syncing.trades(account)) == 1
    assert syncing.query("select zone_name, shift_minutes from mt5.servers where server = 'Ahead-Live'") == [
        {"zone_name": "UTC", "shift_minutes": 180}
    ]


@both
def test_27_numbers_survive_as_they_were_said(syncing: Syncing, kind: ContractKind) -> None:
    account = syncing.account(overrides={"margin_level": "101398.67590140559", "margin": "10.00"}, shape={"numbers": "noisy"})
    idle = syncing.account("b")
    syncing.speak(kind)
    syncing.does("a", "deposit", amount="1000.00", ticket=2975166898)
    syncing.does(
        "a",
        "open",
        symbol="SHIBUSD",
        side="buy",
        volume="1.00",
        price="0.00001234",
        ticket=9007199254740993,
        position_id=9007199254740995,
    )
    syncing.does("b", "deposit", amount="10.00")
    syncing.run(account, idle)
    levels = syncing.query("select margin_level::text as level from mt5.trading_accounts order by login_number")
    assert [row["level"] for row in levels] == ["101398.675901406", None]
    (row,) = syncing.trades(account)
    assert (row["position_id"], row["open_price"]) == (9007199254740995, Decimal("0.00001234"))
    tickets = syncing.query("select deal_ticket from mt5.deals where account_id = :id::uuid order by 1", id=account)
    assert [row["deal_ticket"] for row in tickets] == [2975166898, 9007199254740993]


def test_33_notes_tags_and_hiding_stay_through_syncs_close_and_rebuild(
    syncing: Syncing, open_database: Any, query: Any, function_app: Any, database_url: str, tmp_path: Path
) -> None:
    account = syncing.account()
    traded(syncing)
    syncing.good(account)
    client = tracker(function_app, database_url, tmp_path, syncing.now)
    ids = {row["status"]: str(row["id"]) for row in syncing.trades(account)}
    opened, hidden = ids["open"], ids["closed"]
    said = {"notes": "Watch the close.", "tags": ["swing", "fx"], "strategy": "breakout"}
    assert send(client, "POST", f"/api/v1/trades/{opened}/notes", said)[0] == 201
    assert send(client, "POST", f"/api/v1/trades/{hidden}/notes", {"is_hidden": True})[0] == 201
    before = Words(open_database(ROLE), query).kept()

    def seen() -> None:
        assert Words(open_database(ROLE), query).kept() == before
        (shown,) = ask(client, "/api/v1/trades", platform="mt5")[1]["items"]
        assert (shown["trade_id"], shown["is_hidden"], shown["notes_version"]) == (opened, False, 1)
        assert {name: shown[name] for name in said} == said
        both = ask(client, "/api/v1/trades", platform="mt5", include_hidden="true")[1]["items"]
        assert {one["trade_id"]: one["is_hidden"] for one in both} == {opened: False, hidden: True}
        assert ask(client, f"/api/v1/trades/{hidden}")[1]["trade"]["is_hidden"] is True

    seen()
    syncing.good(account, times=3)
    seen()
    syncing.does("a", "close", position="two", price="1.10100")
    syncing.good(account)
    seen()
    rebuild(syncing.db, account, syncing.now)
    seen()
    assert [row["status"] for row in syncing.trades(account)] == ["closed", "closed"]
    assert ask(client, "/api/v1/trades", platform="mt5", status="open")[1]["items"] == []
