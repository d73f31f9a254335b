"""A slot of a fleet that is too large for shards: the scheduler's call starts the job, whose tasks work every account once."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime

import pytest

from infra.local import mt5_desk
from infra.local.desk import LocalCloud
from tests.e2e.conftest import WAIT_SECONDS, NewDesk, counted
from tests.support.mt5_fleet import FleetDesk

pytestmark = [pytest.mark.bundles, pytest.mark.slow]

START = datetime(2026, 2, 3, 21, 0, tzinfo=UTC)
# 25 accounts are due: with a quarter of 24 for each task that makes five of them
LARGE = {"MT5_INLINE_ACCOUNTS_MAX": "2", "MT5_JOB_ABOVE_ACCOUNTS": "24", "MT5_SESSIONS_MAX": "100"}
RUNNING = "select count(*) from mt5.sync_runs where status = 'running'"


def wait(desk: LocalCloud, statement: str, wanted: int) -> None:
    """Until a count is what it should be."""
    end = time.monotonic() + WAIT_SECONDS
    while counted(desk.database, statement) != wanted:
        assert time.monotonic() < end, (desk.control.jobs(), desk.logs("account-sync-shard-job")[-3000:])
        time.sleep(0.05)


def test_a_slot_beyond_the_threshold_is_worked_by_tasks_of_the_job_even_when_one_is_killed(new_desk: NewDesk) -> None:
    desk = new_desk(functions=["account_sync", "account_sync_shard"], desk_start=START, overrides=LARGE)
    desk.control.pause_jobs("mt5-sync")
    assert mt5_desk.link_fleet(desk.operator_environment, now=START, since=START.date()) == 25
    FleetDesk(desk).fault("latency", ms=400)
    assert desk.control.run_job("mt5-sync") == 202
    (execution,) = desk.control.jobs()
    assert len(execution["tasks"]) == 5
    wait(desk, f"select least(1, n) from ({RUNNING} and scheduled_for is null) r(n)", 1)
    pid = next(task["pid"] for task in desk.control.jobs()[0]["tasks"] if task["pid"])
    os.kill(pid, signal.SIGKILL)
    wait(desk, RUNNING, 0)
    while any(task["status"] == "running" for task in desk.control.jobs()[0]["tasks"]):
        time.sleep(0.05)  # the last one's process still has to leave
    tasks = desk.control.jobs()[0]["tasks"]
    assert {task["status"] for task in tasks} == {"succeeded"}
    assert sorted(task["attempts"] for task in tasks) == [1] * 4 + [2]
    slots = "select count(*) from mt5.sync_runs where mode = 'job' and scheduled_for is not null"
    assert counted(desk.database, f"{slots} and status = 'finished' and shards_done = 5") == 1
    logged = counted(desk.database, "select count(*) from mt5.sync_logs where status = 'success'")
    assert logged == counted(desk.database, "select count(distinct account_id) from mt5.sync_logs")
    # what the killed task held stays leased for some minutes, and is as due as before; nobody else did it twice
    held = counted(desk.database, "select count(*) from mt5.account_sync_state where lease_until > clock_timestamp()")
    assert logged + held == 25
