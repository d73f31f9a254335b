"""What is noted of an account whose work broke where even its own edge did not hold: a failure like any other, in one call.

Nothing of the account is read but what its claim brought, and nothing is decided by the code that broke. Only an unreachable
database, or the end of the run, leaves an account without a row: it is as due as before, and handed on within its run.
Source: mt5 specification, 2.
"""

from __future__ import annotations

from datetime import datetime

from fillbook.mt5 import bookkeeping, ids, store
from fillbook.mt5.desk import DeskClosed
from fillbook.mt5.duetimes import after_failure, is_told
from fillbook.mt5.faults import TEXTS
from fillbook.mt5.records import Claimed, Outcome
from fillbook.mt5.terms import Terms
from fillbook.mt5.words import Code, SyncStatus
from fillbook.mt5.worked import Worked
from fillbook.outbox.service import enqueue, partitions_of
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import Unavailable


def is_nobodys_fault(crash: BaseException) -> bool:
    """Whether an account was left because the run was over or the database away: nothing is noted of it then."""
    return isinstance(crash, DeskClosed | Unavailable)


def note(db: Database, claimed: Claimed, terms: Terms, *, started_at: datetime, duration_ms: int, now: datetime) -> Worked | None:
    """Note that our own code broke on an account; None: another worker has it meanwhile, and tells of it."""
    outcome = Outcome(
        log_id=ids.log_id(terms.run_id, claimed.account_id),
        sync_type=terms.sync_type,
        started_at=started_at,
        completed_at=now,
        status=SyncStatus.FAILED,
        duration_ms=duration_ms,
        error_code=Code.INTERNAL,
        error_message=TEXTS[Code.INTERNAL],
    )
    failures = claimed.account.sync_failure_count + 1
    dice = bookkeeping.dice(terms.run_id, claimed.account_id)
    due = after_failure(terms.slot, failures, dice, terms.limits.backoff)

    def work(tx: Tx) -> tuple[int, ...] | None:
        counted = store.note_crash(tx, claimed, terms.run_id, outcome, next_due_at=due, now=now)
        if counted is None:
            return None
        detail = {"error_class": Code.INTERNAL.value, "failures": counted}
        events = [bookkeeping.event(claimed.account, terms, now, "sync_failed", "", detail)] if is_told(counted) else []
        enqueue(tx, events)
        return partitions_of(events)

    partitions = db.run(work)
    if partitions is None:
        return None
    return Worked(
        account_id=claimed.account_id,
        status=SyncStatus.FAILED,
        error_code=Code.INTERNAL,
        error_message=outcome.error_message,
        started_at=started_at,
        completed_at=outcome.completed_at,
        duration_ms=duration_ms,
        partitions=partitions,
    )
