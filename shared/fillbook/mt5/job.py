"""A task of the job: works whatever is due in its range of logical shards. Leases make a lost or doubled one harmless."""

from __future__ import annotations

from typing import Final

from fillbook.ledger.ids import derived
from fillbook.mt5 import answers, runstore
from fillbook.mt5.duetimes import slot_of
from fillbook.mt5.ending import log_end
from fillbook.mt5.grounds import Grounds
from fillbook.mt5.part import Course
from fillbook.mt5.runrecords import Opened
from fillbook.mt5.words import RunMode, RunStatus, SyncType
from fillbook.mt5.working import Timings, pace_size, work_range
from fillbook.runtime.db import Tx

LOGICAL_SHARDS: Final = 1024


def share(index: int, count: int) -> tuple[int, int]:
    """Logical shards of task ``index`` of ``count``, both ends included; the tasks together have each of them once.

    Raises ``ValueError`` for an index that does not fit, or more tasks than shards.
    """
    if not 0 <= index < count <= LOGICAL_SHARDS:
        raise ValueError("a task's index is below the count of tasks, of which there are 1024 at most")
    return index * LOGICAL_SHARDS // count, (index + 1) * LOGICAL_SHARDS // count - 1


def work_off(grounds: Grounds, *, execution: str, index: int, count: int) -> answers.Summary:
    """Work a task's share until nothing is due or time is over. The same execution's task again takes its own run over."""
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
    grounds.db.run(lambda tx: runstore.close_run(tx, run_id, status, totals, grounds.clock.now()))
    duration_ms = round((grounds.time.monotonic() - begun) * 1000)
    log_end(grounds, run, totals, duration_ms, timings)
    return answers.Summary(run_id=run_id, totals=totals, results=worked.results, duration_ms=duration_ms, mode=RunMode.JOB)
