"""Scenario 32: the worker of a shard is killed between and inside accounts; what it finished stays, the rest is taken up."""

from __future__ import annotations

import json
import random
import time
import urllib.request
from datetime import UTC, datetime

import pytest

from infra.local import mt5_desk
from infra.local.desk import LocalCloud
from tests.e2e.conftest import WAIT_SECONDS, NewDesk, counted
from tests.support import leases

pytestmark = [pytest.mark.bundles, pytest.mark.slow]

START = datetime(2026, 2, 3, 21, 0, tzinfo=UTC)
SHARD = "account_sync_shard"
KILLS = 3
SEED = 20260203
LOGGED = "select count(*) from mt5.sync_logs where status = 'success'"


def fault(desk: LocalCloud, knob: str, **rule: object) -> None:
    """The fake MT5 service does this from now on."""
    body = json.dumps({"fault": knob, **rule}).encode()
    request = urllib.request.Request(f"{desk.place.mt5_url}/_fake/faults", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_a_worker_killed_between_and_inside_accounts_leaves_no_account_half_written(new_desk: NewDesk) -> None:
    settings = {"MT5_INLINE_ACCOUNTS_MAX": "1", "MT5_SHARD_ACCOUNTS_MAX": "50", "MT5_SHARD_WINDOW": "4"}
    functions = ["account_sync", SHARD, "outbox_relay"]
    desk = new_desk(functions=functions, desk_start=START, overrides=settings)
    desk.control.pause_jobs("mt5-sync")
    environment = desk.operator_environment
    assert mt5_desk.link_fleet(environment, now=START, since=START.date()) == 25
    fault(desk, "latency", ms=60, jitter=60)
    assert mt5_desk.sync_all(environment).accounts == 0  # handed to a message
    dice, end, killed_at = random.Random(SEED), time.monotonic() + WAIT_SECONDS, list[int]()
    while counted(desk.database, "select count(*) from mt5.sync_runs where status = 'running'"):
        assert time.monotonic() < end, desk.logs(SHARD)[-3000:]
        done = counted(desk.database, LOGGED)
        if len(killed_at) < KILLS and done > (killed_at[-1] if killed_at else 0) + 2:
            time.sleep(dice.uniform(0, 0.05))
            killed_at.append(counted(desk.database, LOGGED))
            desk.kill(SHARD)
            desk.wait_until_up(SHARD)
            leases.end_of(desk.database, SHARD)
        desk.clock.step(5)
        time.sleep(0.02)
    assert len(killed_at) == KILLS, killed_at
    assert counted(desk.database, LOGGED) == counted(desk.database, "select count(distinct account_id) from mt5.sync_logs") == 25
    assert counted(desk.database, "select count(*) from mt5.sync_runs where status = 'finished' and success_count = 25") == 1
    assert counted(desk.database, "select count(*) from mt5.account_sync_state where cash_state = 'ok'") == 25
    assert counted(desk.database, "select count(*) from mt5.ledger_differences where not_comparable is null") == 0
    stored = counted(desk.database, "select count(*) from mt5.trading_accounts where last_successful_sync_at is not null")
    assert stored == 25
    assert counted(desk.database, "select count(*) from mt5.account_sync_state where lease_until > clock_timestamp()") == 0
