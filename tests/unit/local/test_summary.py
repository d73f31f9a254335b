"""When a played span is proven, and when it is not."""

from __future__ import annotations

from typing import Any

import pytest

from infra.local.summary import Summary

PROVEN: dict[str, Any] = {
    "since": "2026-02-02T14:30:00+00:00",
    "until": "2026-02-02T21:00:00+00:00",
    "clock": "simulated",
    "sent": 10,
    "accepted": 10,
    "refused": {},
    "repeats": 0,
    "receipts": {"decided": 10},
    "lanes": {"hold": 1},
    "executions": 2,
    "executions_by_type": {"ENTRY": 2},
    "messages": 2,
    "messages_by_state": {"posted": 2},
    "realized_pnl": {},
    "unrealized_pnl": {},
    "broker": {"ibkr:U1": {"executions": 3, "told": 3}},
    "mt5": {"accounts": 2, "synced": 2, "deals": 5, "trades": 2, "executions": 4, "told": 4},
    "syncs_mt5": True,
    "snapshot": {"stage": "final"},
    "audit_exit": 0,
    "audit_findings": 0,
    "seconds": 1.0,
}
UNSYNCED = {**PROVEN["mt5"], "synced": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"receipts": {"decided": 9, "stale": 1}},
        {"receipts": {"decided": 9}},
        {"accepted": 0},
        {"messages": 1},
        {"messages_by_state": {"posted": 1, "dead": 1}},
        {"broker": {"ibkr:U1": {"executions": 3, "told": 2}}},
        {"mt5": {**PROVEN["mt5"], "told": 3}},
        {"mt5": UNSYNCED},
        {"snapshot": {"stage": "intraday"}},
        {"audit_exit": 22},
    ],
)
def test_one_thing_that_does_not_hold_and_the_span_is_not_proven(change: dict[str, Any]) -> None:
    assert Summary(**PROVEN).is_proven
    assert not Summary(**PROVEN | change).is_proven


def test_a_desk_that_publishes_no_days_may_be_proven() -> None:
    assert Summary(**PROVEN | {"snapshot": {}}).is_proven


def test_points_of_a_day_before_the_accounts_own_time_ask_for_no_sync_of_them() -> None:
    assert Summary(**PROVEN | {"syncs_mt5": False, "mt5": UNSYNCED}).is_proven
