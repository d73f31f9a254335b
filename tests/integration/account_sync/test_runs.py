"""Runs of account_sync against a fake broker: what is answered, logged, stored and counted."""

from __future__ import annotations

from tests.support.mt5_runs import Fleet


def test_three_healthy_accounts_are_synced_and_logged(fleet: Fleet) -> None:
    ids = fleet.fleet(3)
    answer = fleet.call()
    assert answer["status_code"] == 200
    assert answer["success"], answer
    assert answer["successCount"] == answer["totalAccounts"] == 3, answer
