"""Slots of very large fleets are handed to the job, whose tasks each work whatever is due in a range of logical shards.

A slot is handed over by one call to the platform, between transactions; its row in ``sync_runs`` then counts tasks as it counts
shards elsewhere. Every task has a run of its own. Leases make a lost or doubled task, and a second execution, harmless: whatever
nobody came to is as due as before. Source: mt5 specification, 1 and 11.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from fillbook.ledger.ids import derived
from fillbook.mt5 import answers, runstore
from fillbook.mt5.duetimes import slot_of
from fillbook.mt5.ending import log_end
from fillbook.mt5.grounds import Grounds
from fillbook.mt5.part import Course
from fillbook.mt5.runrecords import Opened, Run, Totals
from fillbook.mt5.words import RunMode, RunStatus, SyncType
from fillbook.mt5.working import Timings, pace_size, work_range
from fillbook.runtime.db import Tx

LOGICAL_SHARDS: Final = 1024
JOB: Final = "account-sync-shard-job"
TASKS_MAX: Final = 20
"""Of all executions together (the manifest says the same: a task holds a connection)."""
TASKS_PER_THRESHOLD: Final = 4
"""A task gets a quarter of what ``MT5_JOB_ABOVE_ACCOUNTS`` says: 5,000 accounts, which it works in about five minutes."""
ALIVE_SECONDS: Final = 60


def tasks_for(due: int, above: int, alive: int) -> int:
    """How many tasks a slot is worth, beside those that are at work still; 0: they are as many as there may be."""
    return max(min(ceil(due * TASKS_PER_THRESHOLD / above), TASKS_MAX - alive), 0)


def hand_over(grounds: Grounds, run: Run, due: int) -> int:
    """Start the job for a slot and note how many tasks it has; 0: those of earlier slots are still at it, and the slot is closed.

    Raises ``Unavailable`` when the job cannot be started.
    """
    with grounds.db.transaction(read_only=True) as tx:
        alive = runstore.tasks_alive(tx, ALIVE_SECONDS)
    tasks = tasks_for(due, grounds.config.mt5_job_above_accounts, alive)
    if not tasks:
        grounds.log.warning("job_is_full", execution_id=run.run_id, due=due, tasks_alive=alive)
        grounds.db.run(lambda tx: runstore.close_run(tx, run.run_id, RunStatus.SKIPPED, Totals(), grounds.clock.now()))
        return 0
    execution = grounds.jobs.run(JOB, tasks=tasks, environment={"MT5_JOB_RUN_ID": run.run_id})
    grounds.db.run(lambda tx: runstore.hand_to_job(tx, run.run_id, tasks, grounds.clock.now()))
    grounds.log.info("job_started", execution_id=run.run_id, job_execution=execution, tasks=tasks, due=due)
    return tasks


def share(index: int, count: int) -> tuple[int, int]:
    """Logical shards of task ``index`` of ``count``, both ends included; the tasks together have each of them once.

    Raises ``ValueError`` for an index that does not fit, or more tasks than shards.
    """
    if not 0 <= index < count <= LOGICAL_SHARDS:
        raise ValueError("a task's index is below the count of tasks, of which there are 1024 at most")
    return index * LOGICAL_SHARDS // count, (index + 1) * LOGICAL_SHARDS // count - 1


def work_off(grounds: Grounds, *, execution: str, index: int, count: int, slot_run_id: str | None = None) -> answers.Summary:
    """Work a task's share until nothing is due or time is over. The same execution's task again takes its own run over.

    ``slot_run_id``: the slot that is over when all its tasks are.
    """
    begun, now = grounds.time.monotonic(), grounds.clock.now()
    run_id = derived("mt5_job", execution, index)

    def open_(tx: Tx) -> tuple[Opened, int]:
        opened = runstore.open_run(
            tx,
            run_id,
            sync_type=SyncType.SCHEDULED,
            requested_by=f"job {execution} {index}/{count}",
            now=now,
            mode=RunMode.JOB,
            stale_seconds=0,
        )
        return opened, runstore.active(tx, count_max=grounds.config.counted_accounts_max)

    opened, active = grounds.db.run(open_)
    run = opened.run
    course = Course(
        slot=slot_of(now),
        active_accounts=active,
        deadline=begun + grounds.config.mt5_run_budget_seconds,
        size=pace_size(grounds.config, is_shard=True),
    )
    timings = Timings(grounds.time, grounds.log, run_id)
    worked = work_range(grounds, run, share(index, count), course, timings)
    totals = answers.totals_of(worked.results, deferred=worked.deferred, total=len(worked.results) + worked.deferred)
    status = RunStatus.DEADLINE if worked.left else RunStatus.FINISHED
    grounds.db.run(lambda tx: runstore.end_task(tx, run_id, slot_run_id, status, totals, grounds.clock.now()))
    duration_ms = round((grounds.time.monotonic() - begun) * 1000)
    log_end(grounds, run, totals, duration_ms, timings)
    return answers.Summary(run_id=run_id, totals=totals, results=worked.results, duration_ms=duration_ms, mode=RunMode.JOB)
