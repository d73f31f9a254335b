"""Runs, their shards, and who is due. Nothing is decided here; who opened a transaction also commits it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from fillbook.mt5 import columns
from fillbook.mt5.records import LONG_AGO
from fillbook.mt5.runrecords import Due, Fleet, Opened, Result, Run, Shard, Totals
from fillbook.mt5.store import QUERIES
from fillbook.mt5.words import RunMode, RunStatus, ShardState, SyncStatus, SyncType
from fillbook.runtime.db import Call, Database, Tx

STALE_SECONDS: Final = 60
DUE_ROWS_MAX: Final = 5_000


# --- runs -------------------------------------------------------------------------------------------------------------


def open_run(
    tx: Tx,
    run_id: str,
    *,
    sync_type: SyncType,
    requested_by: str,
    now: datetime,
    scheduled_for: datetime | None = None,
    mode: RunMode = RunMode.INLINE,
    stale_seconds: int = STALE_SECONDS,
) -> Opened:
    """Open a run, or learn that its slot has one; one that failed, or is silent too long (real time), is taken over.

    The partitions of the log for today and tomorrow (desk time) are there afterwards.
    """
    document = {
        "run_id": run_id,
        "sync_type": sync_type,
        "scheduled_for": scheduled_for,
        "requested_by": requested_by,
        "mode": mode,
        "now": now,
        "stale_seconds": stale_seconds,
    }
    (answer,) = tx.call(Call("mt5.open_run", document))
    return Opened(outcome=answer["outcome"], run=columns.run_of(answer["run"]))


def heartbeat(db: Database, run_id: str) -> bool:
    """Say that a run is alive; False: it is over."""
    return db.run(lambda tx: tx.execute(QUERIES["heartbeat"], run_id=UUID(run_id))) == 1


def close_run(
    tx: Tx, run_id: str, status: RunStatus, totals: Totals, now: datetime, *, error_code: str | None = None
) -> Run | None:
    """End a run that was worked here, adding what it brought; None: it was over already."""
    document = {
        "run_id": run_id,
        "status": status,
        "error_code": error_code,
        "totals": columns.totals_row(totals),
        "now": now,
    }
    (answer,) = tx.call(Call("mt5.close_run", document))
    return None if answer is None else columns.run_of(answer)


def tasks_alive(tx: Tx, alive_seconds: int) -> int:
    """How many tasks of the job are at work, by their heartbeats (real time)."""
    (row,) = tx.query(QUERIES["tasks_alive"], alive_seconds=alive_seconds)
    return int(row["count"])


def hand_to_job(tx: Tx, run_id: str, tasks: int, now: datetime) -> None:
    """Note that a slot has so many tasks of the job, and end slots of the job whose tasks are lost."""
    tx.call(Call("mt5.hand_to_job", {"run_id": run_id, "tasks": tasks, "now": now}))


def end_task(tx: Tx, run_id: str, slot_run_id: str | None, status: RunStatus, totals: Totals, now: datetime) -> bool:
    """End a task's run, and with the last one the slot it is of; False: it was over already."""
    document = {
        "run_id": run_id,
        "slot_run_id": slot_run_id,
        "status": status,
        "totals": columns.totals_row(totals),
        "now": now,
    }
    (answer,) = tx.call(Call("mt5.end_task", document))
    return bool(answer)


def run(tx: Tx, run_id: str) -> Run | None:
    """A run, where there is one."""
    rows = tx.query(QUERIES["one_run"], run_id=UUID(run_id))
    return columns.run_of(rows[0]["run"]) if rows else None


def results(tx: Tx, of_run: Run, account_ids: Sequence[str]) -> tuple[Result, ...]:
    """Logged outcomes of a run about given accounts; an account that is done and not among them was an unlogged success."""
    rows = tx.query(QUERIES["run_results"], run_id=UUID(of_run.run_id), account_ids=list(account_ids), since=of_run.started_at)
    return tuple(Result(**(row | {"account_id": str(row["account_id"]), "status": SyncStatus(row["status"])})) for row in rows)


# --- shards -----------------------------------------------------------------------------------------------------------


def add_shards(tx: Tx, run_id: str, shards: Sequence[Shard], *, mode: RunMode, total_accounts: int) -> tuple[int, ...]:
    """Cut a run into shards; the numbers of those that are new. Cutting it again changes nothing."""
    rows = [{"shard_no": one.shard_no, "instance_key": one.instance_key, "account_ids": list(one.account_ids)} for one in shards]
    document = {"run_id": run_id, "mode": mode, "total_accounts": total_accounts, "shards": rows}
    (answer,) = tx.call(Call("mt5.add_shards", document))
    return tuple(answer)


def begin_shard(tx: Tx, run_id: str, shard_no: int, continuation: int, now: datetime) -> tuple[Shard, Run] | None:
    """Begin a shard, or again after a crash; None: it is over, or another continuation has what is left of it."""
    document = {"run_id": run_id, "shard_no": shard_no, "continuation": continuation, "now": now}
    (answer,) = tx.call(Call("mt5.begin_shard", document))
    return None if answer is None else (columns.shard_of(answer["shard"]), columns.run_of(answer["run"]))


def take_shard(tx: Tx, run_id: str, instance_key: str, now: datetime) -> Shard | None:
    """Begin the next queued shard of a run at an instance without its message; None: there is none, or a run by hand waits.

    A shard with an account that was moved to another instance is left to its message.
    """
    rows = tx.query(QUERIES["shard_taken"], run_id=UUID(run_id), instance_key=instance_key, now=now, alive_seconds=STALE_SECONDS)
    return columns.shard_of(rows[0]["shard"]) if rows else None


def accounts_queued(tx: Tx, run_id: str, instance_key: str) -> int:
    """How many accounts wait in queued shards of a run at an instance."""
    (row,) = tx.query(QUERIES["accounts_queued"], run_id=UUID(run_id), instance_key=instance_key)
    return int(row["count"])


def close_shard(tx: Tx, shard: Shard, totals: Totals, now: datetime, *, state: ShardState = ShardState.DONE) -> Run | None:
    """End a shard (``done`` or ``dead``), adding what it brought, and with the last one the run; None: it was over already."""
    return _leave(tx, shard, state, (), totals, now)


def continue_shard(tx: Tx, shard: Shard, account_ids: Sequence[str], totals: Totals, now: datetime) -> Run | None:
    """Hand the accounts that are left to the shard's next continuation (``continuation + 1``); None: that was done already."""
    return _leave(tx, shard, ShardState.QUEUED, account_ids, totals, now)


def _leave(tx: Tx, shard: Shard, state: ShardState, account_ids: Sequence[str], totals: Totals, now: datetime) -> Run | None:
    document = {
        "run_id": shard.run_id,
        "shard_no": shard.shard_no,
        "continuation": shard.continuation,
        "state": state,
        "account_ids": list(account_ids),
        "totals": columns.totals_row(totals),
        "now": now,
    }
    (answer,) = tx.call(Call("mt5.leave_shard", document))
    return None if answer is None else columns.run_of(answer)


# --- who is due -------------------------------------------------------------------------------------------------------


def due_page(
    tx: Tx,
    *,
    due_before: datetime | None,
    after: Due | None = None,
    tenant_id: str | None = None,
    with_reauth: bool = False,
    rows_max: int = DUE_ROWS_MAX,
) -> tuple[Due, ...]:
    """A page of active accounts that are due (None: all of them), longest due first, after the last one of the page before."""
    rows = tx.query(
        QUERIES["due_page"],
        due_before=due_before,
        after_due=columns.due_text(after.next_due_at if after else LONG_AGO),
        after_id=UUID(after.account_id) if after else UUID(int=0),
        tenant_id=tenant_id,
        with_reauth=with_reauth,
        rows_max=rows_max,
    )
    return tuple(
        Due(**(row | {"account_id": str(row["account_id"]), "next_due_at": columns.instant(row["next_due_at"])})) for row in rows
    )


def fleet(tx: Tx, *, fresh_since: datetime, tenant_id: str | None = None) -> Fleet:
    """Count all active accounts, and those with a success since ``fresh_since``."""
    (row,) = tx.query(QUERIES["fleet"], fresh_since=fresh_since, tenant_id=tenant_id)
    return Fleet(**row)


def active(tx: Tx, *, count_max: int | None = None, tenant_id: str | None = None) -> int:
    """Count active accounts, no further than ``count_max``."""
    (row,) = tx.query(QUERIES["active"], count_max=count_max, tenant_id=tenant_id)
    return int(row["active"])


def due(tx: Tx, *, due_before: datetime, count_max: int | None = None, tenant_id: str | None = None) -> int:
    """Count accounts that are due, no further than ``count_max``; all of them without it."""
    (row,) = tx.query(QUERIES["due"], due_before=due_before, count_max=count_max, tenant_id=tenant_id)
    return int(row["due"])


def lease_holder(tx: Tx, account_id: str) -> str | None:
    """The run that holds an account now."""
    rows = tx.query(QUERIES["run_of_lease"], account_id=UUID(account_id))
    return str(rows[0]["lease_run_id"]) if rows else None
