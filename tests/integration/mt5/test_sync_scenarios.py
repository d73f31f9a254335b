"""Scenarios of one account, end to end: a fake broker's operations through the real adapter into the room and its book."""

from __future__ import annotations

from decimal import Decimal

from fillbook.mt5.words import SyncStatus
from tests.support.mt5_syncing import Syncing


def traded(syncing: Syncing, name: str = "a") -> None:
    """A deposit, a closed trade, an open one."""
    syncing.does(name, "deposit", amount="10000.00")
    syncing.later(minutes=1)
    syncing.does(name, "open", symbol="EURUSD", side="buy", volume="1.00", price="1.10000", ref="one")
    syncing.later(minutes=1)
    syncing.does(name, "close", position="one", price="1.10100")
    syncing.later(minutes=1)
    syncing.does(name, "open", symbol="EURUSD", side="sell", volume="0.50", price="1.10200", ref="two")


def test_three_healthy_accounts_are_stored_and_logged(syncing: Syncing) -> None:
    accounts = [syncing.account(name, commission_per_lot="3.50") for name in "abc"]
    for name in "abc":
        traded(syncing, name)
    worked = syncing.run(*accounts)
    assert [one.status for one in worked] == [SyncStatus.SUCCESS] * 3, (worked, syncing.crashes)
    for account, name in zip(accounts, "abc", strict=True):
        row = syncing.row(account)
        assert (row["sync_failure_count"], row["last_connection_error"]) == (0, None)
        assert row["last_sync_at"] == row["last_successful_sync_at"] == syncing.now
        assert len(syncing.logs(account)) == 1
        syncing.check_truth(account, name)
        syncing.check_money(account)
        syncing.check_lots(account)
    assert syncing.breaks() == []
    assert syncing.row(accounts[0])["balance"] == Decimal("10091.25")
