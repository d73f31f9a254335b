"""Nouns of runs: what was asked, in which parts it is worked, what it brought. Frozen and pure; ids are uuid texts."""

from __future__ import annotations

from datetime import datetime

from fillbook.mt5.words import RunMode, RunStatus, ShardState, SyncStatus, SyncType
from fillbook.values import frozen


@frozen
class Totals:
    """What a run, or a part of it, brought."""

    total_accounts: int = 0
    success_count: int = 0
    partial_count: int = 0
    failure_count: int = 0
    skipped_count: int = 0
    deferred_count: int = 0
    trades_synced: int = 0


@frozen
class Run:
    """A row of ``mt5.sync_runs``. ``scheduled_for``: the slot. ``duration_ms`` is desk time."""

    run_id: str
    sync_type: SyncType
    scheduled_for: datetime | None
    requested_by: str
    mode: RunMode
    status: RunStatus
    error_code: str | None
    started_at: datetime
    finished_at: datetime | None
    duration_ms: int | None
    shards_total: int
    shards_done: int
    totals: Totals


@frozen
class Opened:
    """How a run was opened: ``opened``, ``duplicate``, or ``taken_over`` (then ``run`` keeps the id of the one before)."""

    outcome: str
    run: Run


@frozen
class Shard:
    """A row of ``mt5.sync_shards``: at most 500 accounts of one instance."""

    run_id: str
    shard_no: int
    instance_key: str
    account_ids: tuple[str, ...]
    continuation: int = 0
    state: ShardState = ShardState.QUEUED


@frozen
class Fleet:
    """Active accounts, and how many of them had a success that is young enough."""

    active: int
    fresh: int


@frozen
class Result:
    """A logged outcome of a run, as it is told to a caller."""

    account_id: str
    status: SyncStatus
    started_at: datetime
    completed_at: datetime
    duration_ms: int
    trades_synced: int
    error_message: str | None
    error_code: str | None
    attempts: int


@frozen
class Due:
    """An account to be synced; (``next_due_at``, ``account_id``) is the key that the next page begins after."""

    account_id: str
    tenant_id: str
    server: str
    instance_key: str
    shard: int
    next_due_at: datetime
