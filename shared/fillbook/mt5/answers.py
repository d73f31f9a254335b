"""What ``account_sync`` answers: the public contract's documents, their keys in its order.

The keys up to ``syncResults``, and those of an entry up to ``error_message``, are the contract: names and types stay as they
are. What follows them was added and may grow. Source: section 1 of the specification.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from fillbook.mt5.rebuilding import Rederived
from fillbook.mt5.runrecords import Result, Run, Totals
from fillbook.mt5.words import RunMode, RunStatus, SyncStatus
from fillbook.mt5.worked import Worked
from fillbook.values import frozen

NO_ACCOUNTS: Final = "No active accounts to sync"
STATUS_PATH: Final = "/mt5/sync/status"


@frozen
class Reply:
    """An answer before it is one: HTTP status, document, seconds for ``Retry-After``."""

    status: int
    document: Mapping[str, Any]
    retry_after_seconds: int | None = None


@frozen
class Summary:
    """What a run came to, as its caller is told. ``results``: of the accounts that were tried or skipped."""

    run_id: str
    totals: Totals
    results: Sequence[Result] = ()
    duration_ms: int = 0
    not_due: int = 0
    cursor: str | None = None
    mode: RunMode = RunMode.INLINE
    is_unhealthy: bool = False
    is_late: bool = False


# --- 200 --------------------------------------------------------------------------------------------------------------


def finished(summary: Summary) -> dict[str, Any]:
    """A run that was worked, mixed results included."""
    totals = summary.totals
    all_failed = 0 < totals.total_accounts == totals.failure_count
    return {
        "success": not (all_failed or summary.is_unhealthy),
        "executionId": summary.run_id,
        "totalAccounts": totals.total_accounts,
        "successCount": totals.success_count,
        "failureCount": totals.failure_count,
        "partialCount": totals.partial_count,
        "duration_ms": summary.duration_ms,
        "syncResults": [entry(one) for one in summary.results],
        "skippedCount": totals.skipped_count,
        "deferredCount": totals.deferred_count,
        "notDueCount": summary.not_due,
        "cursor": summary.cursor,
        "deadlineReached": summary.is_late,
        "mode": summary.mode.value,
    }


def entry(one: Result) -> dict[str, Any]:
    """One account."""
    document: dict[str, Any] = {
        "account_id": one.account_id,
        "status": one.status.value,
        "started_at": instant(one.started_at),
        "completed_at": instant(one.completed_at),
        "duration_ms": one.duration_ms,
        "trades_synced": one.trades_synced,
    }
    if one.error_message is not None:
        document["error_message"] = one.error_message
    if one.error_code is not None:
        document["error_code"] = one.error_code
    if one.error_code is not None or one.attempts > 1:
        document["attempts"] = one.attempts
    return document


def no_accounts(run_id: str, duration_ms: int) -> dict[str, Any]:
    """There is nothing to sync."""
    return finished(Summary(run_id=run_id, totals=Totals(), duration_ms=duration_ms)) | {"message": NO_ACCOUNTS}


def duplicate(run: Run, results: Sequence[Result], duration_ms: int, active: int) -> dict[str, Any]:
    """A slot of the scheduler that has a run already: that run's answer, as far as it has come."""
    totals = run.totals
    summary = Summary(
        run_id=run.run_id,
        totals=totals,
        results=results,
        duration_ms=duration_ms if run.duration_ms is None else run.duration_ms,
        not_due=max(active - totals.total_accounts, 0),
        mode=run.mode,
        is_unhealthy=run.status is RunStatus.FAILED,
        is_late=run.status is RunStatus.DEADLINE,
    )
    message = {"message": NO_ACCOUNTS} if active == 0 else {}
    return finished(summary) | {"duplicate": True, **message}


def status(run: Run, fresh_pct: Decimal | None) -> dict[str, Any]:
    """How far a run is, from its row alone. ``fresh_pct``: share of active accounts synced in the last ten minutes."""
    totals = run.totals
    return {
        "success": run.status is not RunStatus.FAILED,
        "executionId": run.run_id,
        "status": run.status.value,
        "mode": run.mode.value,
        "sync_type": run.sync_type.value,
        "scheduled_for": None if run.scheduled_for is None else instant(run.scheduled_for),
        "started_at": instant(run.started_at),
        "finished_at": None if run.finished_at is None else instant(run.finished_at),
        "duration_ms": run.duration_ms,
        "totalAccounts": totals.total_accounts,
        "successCount": totals.success_count,
        "failureCount": totals.failure_count,
        "partialCount": totals.partial_count,
        "skippedCount": totals.skipped_count,
        "deferredCount": totals.deferred_count,
        "tradesSynced": totals.trades_synced,
        "shards": run.shards_total,
        "shardsDone": run.shards_done,
        "freshPct": fresh_pct,
        "error_code": run.error_code,
    }


# --- 202 and refusals -------------------------------------------------------------------------------------------------


def accepted(run_id: str, shards: int, mode: RunMode, duration_ms: int, not_due: int = 0) -> dict[str, Any]:
    """The work is done elsewhere."""
    document = finished(Summary(run_id=run_id, totals=Totals(), duration_ms=duration_ms, mode=mode, not_due=not_due))
    return document | {"shards": shards, "statusUrl": f"{STATUS_PATH}?run_id={run_id}"}


def not_found(account_id: str, run_id: str) -> Reply:
    """No such account, or not this caller's."""
    message = f"Account {account_id} not found or inactive"
    return Reply(status=404, document={"success": False, "executionId": run_id, "error": "not_found", "message": message})


def running(run_id: str | None) -> Reply:
    """The account is being synced by a run."""
    return Reply(status=409, document={"success": False, "executionId": run_id, "error": "sync_running"})


def too_soon(run_id: str, seconds: int) -> Reply:
    """The account was asked for a moment ago."""
    document = {"success": False, "executionId": run_id, "error": "too_soon"}
    return Reply(status=429, document=document, retry_after_seconds=seconds)


def rebuilt(run_id: str, done: Rederived) -> dict[str, Any]:
    """What became of accounts made again from their deals; ``busy`` ones were held by a run, ``after``: that was not the last."""
    return {
        "success": not done.busy,
        "executionId": run_id,
        "rebuilt": [
            {
                "account_id": one.account_id,
                "trades_changed": one.trades_changed,
                "cash_changed": one.cash_changed,
                "sums_were_wrong": one.sums_were_wrong,
            }
            for one in done.rebuilt
        ],
        "busy": list(done.busy),
        "after": done.after,
    }


def refused(error: str) -> dict[str, Any]:
    """A caller that is unknown, or a body that is wrong."""
    return {"success": False, "error": error}


def broken(run_id: str, error: str, duration_ms: int) -> dict[str, Any]:
    """``configuration``, ``database_unavailable`` or ``internal``."""
    return {"success": False, "executionId": run_id, "error": error, "duration_ms": duration_ms}


# --- one account ------------------------------------------------------------------------------------------------------


def result_of(worked: Worked) -> Result:
    """An account that was tried, for the list; one that was deferred has no entry (``ValueError``)."""
    if worked.status is None:
        raise ValueError("a deferred account has no entry")
    return Result(
        account_id=worked.account_id,
        status=worked.status,
        started_at=worked.started_at,
        completed_at=worked.completed_at,
        duration_ms=worked.duration_ms,
        trades_synced=worked.trades_synced,
        error_message=worked.error_message,
        error_code=None if worked.error_code is None else worked.error_code.value,
        attempts=worked.attempts,
    )


def totals_of(results: Sequence[Result], *, deferred: int, total: int) -> Totals:
    """The counts of a list of entries."""
    counted = {status: sum(one.status is status for one in results) for status in SyncStatus}
    return Totals(
        total_accounts=total,
        success_count=counted[SyncStatus.SUCCESS],
        partial_count=counted[SyncStatus.PARTIAL],
        failure_count=counted[SyncStatus.FAILED],
        skipped_count=counted[SyncStatus.SKIPPED],
        deferred_count=deferred,
        trades_synced=sum(one.trades_synced for one in results),
    )


def instant(at: datetime) -> str:
    """An instant in milliseconds, as the contract writes it."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
