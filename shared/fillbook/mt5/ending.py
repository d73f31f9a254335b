"""How a run that was worked here ends: its totals, what is left of it as shards of their own, one line in the log."""

from __future__ import annotations

from collections.abc import Sequence

from fillbook.mt5 import dispatch, runstore
from fillbook.mt5.asked import Cursor, cursor_text
from fillbook.mt5.grounds import FRESH, Grounds
from fillbook.mt5.runrecords import Due, Run, Totals
from fillbook.mt5.words import RunStatus
from fillbook.mt5.working import Timings
from fillbook.runtime.db import Tx


def close_inline(grounds: Grounds, run: Run, totals: Totals, left: Sequence[Due]) -> str | None:
    """Close a run; what it did not come to is handed on in the same transaction. Returns the cursor to it, if any is left."""
    now = grounds.clock.now()
    first_no = run.shards_total

    def work(tx: Tx) -> dispatch.Cut | None:
        status = RunStatus.DEADLINE if left else RunStatus.FINISHED
        closed = runstore.close_run(tx, run.run_id, status, totals, now)
        if closed is None or not left:
            return None
        shards = dispatch.cut(run.run_id, left, size=grounds.config.shard_size, first_no=first_no)
        return dispatch.write_shards(tx, run, shards, now, mode=run.mode, count_accounts=False)

    made = grounds.db.run(work)
    if made is None:
        return None
    grounds.relay(made.partitions)
    return cursor_text(Cursor(run_id=run.run_id, shard_no=first_no, continuation=0))


def log_end(grounds: Grounds, run: Run, totals: Totals, duration_ms: int, timings: Timings) -> None:
    """One line for a run, with the share of active accounts that were synced in the last ten minutes."""
    now = grounds.clock.now()
    with grounds.db.transaction(read_only=True) as tx:
        fleet = runstore.fleet(tx, fresh_since=now - FRESH)
    grounds.log.info(
        "run_ended",
        execution_id=run.run_id,
        sync_type=run.sync_type.value,
        mode=run.mode.value,
        accounts=totals.total_accounts,
        succeeded=totals.success_count,
        partial=totals.partial_count,
        failed=totals.failure_count,
        skipped=totals.skipped_count,
        deferred=totals.deferred_count,
        trades=totals.trades_synced,
        duration_ms=duration_ms,
        batches_ms=timings.milliseconds(),
        active=fleet.active,
        fresh_permille=None if fleet.active == 0 else fleet.fresh * 1000 // fleet.active,
    )
