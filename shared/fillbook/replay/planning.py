"""The plan of a call: what it would do, nothing written. A run that does not exist yet is planned without being made.

Source: replay.md 1 (dryRun).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from fillbook.replay import gaps, gapstore, inputstore, runs, store
from fillbook.replay.asked import Asked
from fillbook.replay.buckets import replay_day
from fillbook.replay.model import RunKind
from fillbook.replay.rewinding import going
from fillbook.replay.runs import Desk
from fillbook.runtime.db import Tx

ROWS_PER_SECOND: Final = 1_000  # a cautious guess until a run has shown its own


def plan(desk: Desk, asked: Asked, now: datetime) -> dict[str, Any]:
    """Buckets, rows in each, gap report, what a clean slate would purge, about how many seconds; in one snapshot."""

    def work(tx: Tx) -> dict[str, Any]:
        held = store.find(tx, runs.run_id_of(asked), None)
        run = held.run if held is not None else runs.make(asked, desk, kind=RunKind.DAY, created_by="", now=now)
        day = replay_day(asked.date, run.scope.session, now)
        scope = replace(run.scope, date_from=asked.date, date_to=asked.date)
        there = inputstore.buckets(tx, inputstore.window(scope, run.pins.inputs, day.start, day.settled))
        rows = sum(count for count, _ in there.values())
        speed = run.rows / run.wall_seconds if run.rows and run.wall_seconds else Decimal(ROWS_PER_SECOND)
        purge = going(tx, run, day.start, asked.ticker) if asked.clean_slate and held is not None else None
        return {
            "ok": True,
            "dryRun": True,
            "runId": run.run_id,
            "date": asked.date.isoformat(),
            "ticker": run.scope.ticker,
            "buckets": [{"bucket": bucket, "rows": there.get(bucket, (0, ""))[0]} for bucket in day.buckets(there)],
            "rows": rows,
            "seconds": int(rows / speed) + 1,
            "gaps": gaps.document(gapstore.gap_reports(tx, scope, now)),
            "purge": purge,
        }

    with desk.db.transaction(read_only=True, isolation="repeatable read") as tx:
        return work(tx)
