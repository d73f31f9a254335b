"""How one account's history is read, end to end: failures, pages, resumed windows, the past in chunks (9 to 12)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from fillbook.mt5 import contract_v1
from fillbook.mt5.deal_rows import deal_of
from fillbook.mt5.model import Deal
from fillbook.mt5.reading import Row
from fillbook.mt5.words import ContractKind, SyncStatus
from fillbook.runtime.sql import statement
from tests.support.mt5_syncing import SERVER, Syncing, history, traded, with_pages

V1, V0 = ContractKind.V1, ContractKind.V0
both = pytest.mark.parametrize("kind", [V1, V0])


def test_9_three_failed_reads_across_midnight_lose_no_deal(syncing: Syncing) -> None:
    account = syncing.account()
    traded(syncing)
    syncing.good(account)
    until = syncing.row(account)["history_until_msc"]
    syncing.fake.clock.set(datetime(2026, 1, 14, 23, 45, tzinfo=UTC))
    syncing.fake.fault("status", endpoint="deals", code=500)
    for number in range(3):
        syncing.does("a", "open", symbol="EURUSD", side="buy", volume="0.10", price="1.10000", ref=f"late{number}")
        (worked,) = syncing.run(account, minutes=10)
        assert (worked.status, worked.error_code) == (SyncStatus.PARTIAL, "service_error")
        assert syncing.row(account)["history_until_msc"] == until
    syncing.fake.clear_faults()
    syncing.good(account)
    assert syncing.row(account)["history_until_msc"] > until
    syncing.check_truth(account, "a")


@both
def test_10_a_long_history_is_read_in_pages_and_a_broken_page_loses_nothing(syncing: Syncing, kind: ContractKind) -> None:
    account = syncing.account()
    syncing.speak(kind)
    history(syncing, 46)
    syncing.limits = with_pages(syncing.limits, 20)
    endpoint = "deals" if kind is V1 else "history"
    syncing.fake.fault("page_fails", n=2, account="a", count=2)
    (worked,) = syncing.run(account)
    assert worked.status is SyncStatus.PARTIAL
    assert syncing.row(account)["history_until_msc"] is None
    assert syncing.count("deals", account) == 20
    syncing.fake.forget_calls()
    syncing.good(account)
    assert sum(call.endpoint == endpoint for call in syncing.fake.calls()) == 3
    assert syncing.count("deals", account) == 47
    assert syncing.row(account)["history_until_msc"] is not None
    syncing.check_truth(account, "a")
    syncing.check_money(account)


def test_pages_of_a_large_window_are_kept_and_the_next_run_goes_on_inside_it(syncing: Syncing) -> None:
    account = syncing.account()
    history(syncing, 70)
    syncing.limits = with_pages(syncing.limits, 5, pages_max=12)
    syncing.fake.fault("page_fails", n=8, count=2)
    (worked,) = syncing.run(account)
    assert worked.status is SyncStatus.PARTIAL
    assert syncing.count("deals", account) == 35
    assert syncing.row(account)["page_cursor"] is not None
    syncing.fake.forget_calls()
    syncing.good(account)
    assert sum(call.endpoint == "deals" for call in syncing.fake.calls()) == 8  # 36 deals in pages of five
    assert syncing.count("deals", account) == 71
    assert syncing.row(account)["page_cursor"] is None
    syncing.check_truth(account, "a")
    syncing.check_money(account)
    syncing.good(account)
    assert syncing.row(account)["history_until_msc"] is not None


def test_an_expired_cursor_restarts_the_window(syncing: Syncing) -> None:
    account = syncing.account()
    history(syncing, 70)
    syncing.limits = with_pages(syncing.limits, 5, pages_max=6)
    syncing.good(account)
    assert syncing.row(account)["page_cursor"] is not None
    syncing.fake.expire_cursors()
    syncing.limits = with_pages(syncing.limits, 5)
    syncing.good(account)
    assert syncing.count("deals", account) == 71
    assert syncing.row(account)["history_until_msc"] is not None
    syncing.check_truth(account, "a")


@both
def test_11_the_same_window_twice_changes_no_row(syncing: Syncing, kind: ContractKind) -> None:
    account = syncing.account()
    syncing.speak(kind)
    traded(syncing)
    assert syncing.good(account).trades_synced == 2
    before = syncing.versions()
    worked = syncing.good(account)
    assert (worked.trades_synced, worked.is_unchanged) == (0, True)
    assert syncing.versions() == before
    assert len(syncing.logs(account)) == 2
    with syncing.db.transaction() as tx:  # and so without the digest
        tx.execute(statement("update mt5.account_sync_state set state_digest = null"))
    worked = syncing.good(account)
    assert (worked.trades_synced, worked.is_unchanged) == (0, False)
    assert syncing.versions() == before


def test_deals_that_came_before_are_known_and_not_read(syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    account = syncing.account()
    history(syncing, 80)
    syncing.good(account)
    assert syncing.row(account)["told_count"] == 81
    read: list[int] = []

    def noted(row: Row, time_msc: int) -> Deal:
        read.append(time_msc)
        return deal_of(row, time_msc)

    monkeypatch.setattr(contract_v1, "deal_of", noted)
    assert syncing.good(account).is_unchanged
    assert (read, syncing.logs(account)[-1]["steps"]["history"]["rows"]) == ([], 81)
    syncing.does("a", "open", symbol="EURUSD", side="buy", volume="0.01", price="1.10000", ref="last")
    assert not syncing.good(account).is_unchanged
    assert (len(read), syncing.row(account)["told_count"]) == (82, 82)
    syncing.fake.set_prices(SERVER, EURUSD="1.10500")  # of the snapshot alone
    before = syncing.count("deals", account)
    assert not syncing.good(account).is_unchanged
    assert (len(read), syncing.count("deals", account)) == (164, before), "known, and read after all"
    syncing.check_truth(account, "a")


def test_12_the_last_thirty_days_come_first_and_then_the_past_in_chunks(syncing: Syncing) -> None:
    begin = syncing.now - timedelta(days=80)
    syncing.fake.add_account(id="a", server=SERVER)
    syncing.does("a", "deposit", begin, amount="10000.00")
    for week in range(1, 11):
        syncing.does(
            "a", "open", begin + timedelta(weeks=week), symbol="EURUSD", side="buy", volume="0.10", price="1.1", ref=f"w{week}"
        )
        syncing.does("a", "close", begin + timedelta(weeks=week, hours=1), position=f"w{week}", price="1.101")
    account = syncing.linked(10_000_001, "a", backfill_target=date(2025, 10, 16))
    floors: list[int] = []
    percents: list[Decimal] = []
    for _ in range(6):
        syncing.good(account)
        floors.append(syncing.row(account)["history_floor_msc"])
        (health,) = syncing.query("select backfill_pct from mt5.account_sync_health")
        percents.append(health["backfill_pct"])
    assert syncing.count("deals", account) == 21
    thirty_days_ago = syncing.now - timedelta(days=30, minutes=25)  # of the first run, five runs ago
    first = datetime.fromtimestamp(floors[0] / 1000, UTC) - timedelta(hours=2)  # the server's clock in winter
    assert abs(first - thirty_days_ago) < timedelta(minutes=1)
    assert floors == sorted(floors, reverse=True)
    assert percents == sorted(percents)
    assert len(set(floors[:3])) == 3
    row = syncing.row(account)
    assert (row["backfill_state"], row["opening_proven"], row["opening_balance"]) == ("done", True, 0)
    syncing.check_truth(account, "a")
    syncing.check_money(account)
    syncing.check_lots(account)
    assert syncing.breaks() == []
