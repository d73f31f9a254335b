"""Slots of very large fleets through the job: handed over, worked by tasks, doubled, lost, and never more than may be."""

from __future__ import annotations

from typing import Any

import pytest

from fillbook.mt5 import job
from fillbook.mt5.answers import Summary
from fillbook.mt5.job import share
from fillbook.runtime.errors import Unavailable
from tests.support.mt5_runs import Fleet

LARGE: dict[str, Any] = {"mt5_inline_accounts_max": 2, "mt5_job_above_accounts": 5}


def work_tasks(fleet: Fleet, slot_run_id: str, count: int, execution: str = "e1") -> list[Summary]:
    """What the tasks of an execution do, one after the other."""
    return [
        job.work_off(fleet.grounds(), execution=execution, index=index, count=count, slot_run_id=slot_run_id)
        for index in range(count)
    ]


def test_beyond_the_threshold_a_slot_is_handed_to_the_job_whose_tasks_end_it(fleet: Fleet) -> None:
    ids = fleet.fleet(7)
    answer = fleet.tick(**LARGE)
    run_id = answer["executionId"]
    assert (answer["status_code"], answer["mode"], answer["shards"]) == (202, "job", 6)
    assert fleet.jobs.started == [("account-sync-shard-job", 6, {"MT5_JOB_RUN_ID": run_id})]
    assert fleet.shards == []
    assert (fleet.run(run_id)["mode"], fleet.run(run_id)["status"]) == ("job", "running")
    again = fleet.tick(**LARGE)
    assert (again["duplicate"], again["shards"], len(fleet.jobs.started)) == (True, 6, 1)
    for index, done in enumerate(work_tasks(fleet, run_id, 6)):
        assert done.totals.success_count == len(done.results)
        assert fleet.run(run_id)["shards_done"] == 6 or index < 5
    run = fleet.run(run_id)
    assert (run["status"], run["shards_done"], run["success_count"], run["total_accounts"]) == ("finished", 6, 7, 7)
    assert sorted(str(row["account_id"]) for row in fleet.logs("success")) == sorted(ids)


def test_a_doubled_task_and_a_second_execution_find_nothing_and_count_nothing(fleet: Fleet) -> None:
    fleet.fleet(6)
    run_id = fleet.tick(**LARGE)["executionId"]
    for execution in ("e1", "e1", "e2"):
        work_tasks(fleet, run_id, 2, execution)
    run = fleet.run(run_id)
    assert (run["success_count"], len(fleet.logs())) == (6, 6)
    assert run["shards_done"] == 4, "each task of each execution once"


def test_a_task_that_is_lost_is_begun_again_under_its_own_run(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.fleet(6)
    run_id = fleet.tick(**LARGE, mt5_sessions_max=10)["executionId"]
    with monkeypatch.context() as patch:
        patch.setattr(job, "work_range", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            work_tasks(fleet, run_id, 1)
    (done,) = work_tasks(fleet, run_id, 1)
    assert done.totals.success_count == 6
    assert len(fleet.query("select 1 as one from mt5.sync_runs where scheduled_for is null")) == 1


def test_a_job_that_cannot_be_started_fails_its_slot_and_the_retry_starts_it(fleet: Fleet) -> None:
    fleet.fleet(6)
    fleet.jobs.is_away = True
    with pytest.raises(Unavailable):
        fleet.tick(**LARGE)
    (run,) = fleet.query("select status::text as status, error_code from mt5.sync_runs")
    assert (run["status"], run["error_code"]) == ("failed", "job_not_started")
    fleet.jobs.is_away = False
    answer = fleet.tick(**LARGE)
    assert (answer["mode"], answer["shards"], len(fleet.jobs.started)) == ("job", 5, 1)


def test_no_more_tasks_are_started_than_may_be_at_work(fleet: Fleet) -> None:
    fleet.fleet(6)
    alive = (
        "insert into mt5.sync_runs (run_id, sync_type, requested_by, mode, status, started_at, heartbeat_at)"
        " select gen_random_uuid(), 'scheduled', 'job', 'job', 'running', :at, clock_timestamp() from generate_series(1, :n)"
        " returning 1"
    )
    fleet.query(alive, at=fleet.clock.now(), n=job.TASKS_MAX - 3)
    assert fleet.tick(**LARGE)["shards"] == 3
    fleet.query(alive, at=fleet.clock.now(), n=3)
    fleet.clock.step(300)
    answer = fleet.tick(**LARGE)
    assert (answer["mode"], answer["shards"], len(fleet.jobs.started)) == ("job", 0, 1)
    assert fleet.run(answer["executionId"])["status"] == "skipped"


def test_a_slot_whose_tasks_were_lost_for_good_is_ended_by_a_later_one(fleet: Fleet) -> None:
    fleet.fleet(6)
    run_id = fleet.tick(**LARGE)["executionId"]
    fleet.query("update mt5.sync_runs set heartbeat_at = clock_timestamp() - interval '3 hours' returning 1")
    fleet.clock.step(300)
    fleet.tick(**LARGE)
    run = fleet.run(run_id)
    assert (run["status"], run["error_code"]) == ("failed", "task_lost")


@pytest.mark.parametrize(
    ("due", "alive", "tasks"), [(20_001, 0, 5), (100_000, 0, 20), (1_000_000, 0, 20), (30_000, 18, 2), (9, 20, 0)]
)
def test_a_task_has_five_thousand_accounts_and_all_tasks_are_twenty(due: int, alive: int, tasks: int) -> None:
    assert job.tasks_for(due, 20_000, alive) == tasks


def test_tasks_of_the_job_share_what_is_due_by_logical_shard(fleet: Fleet) -> None:
    ids = fleet.fleet(12)
    done = [job.work_off(fleet.grounds(), execution="e1", index=index, count=3) for index in range(3)]
    assert sum(one.totals.success_count for one in done) == 12
    assert sorted(str(row["account_id"]) for row in fleet.logs()) == sorted(ids)
    for index, one in enumerate(done):
        numbers = {fleet.row(result.account_id)["shard"] for result in one.results}
        low, high = share(index, 3)
        assert all(low <= number <= high for number in numbers)
    again = job.work_off(fleet.grounds(), execution="e1", index=0, count=3)
    assert again.totals.total_accounts == 0


@pytest.mark.parametrize("count", [1, 3, 7, 1024])
def test_the_shares_of_all_tasks_are_every_logical_shard_once(count: int) -> None:
    covered = [number for index in range(count) for number in range(share(index, count)[0], share(index, count)[1] + 1)]
    assert covered == list(range(1024))
