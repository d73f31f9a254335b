"""What is answered about how well the desk follows its brokers: runs, health by source and account, covered days."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from fillbook.tracker.brokers_model import AccountState, Failure, Text
from fillbook.tracker.shapes import Frame, Instant, Milliseconds, Percent

ServerTime = str | None
"""A wall time of the account's server, without a zone."""


class ServerWindow(TypedDict):
    """What a run asked of history and what it covered; null: the window did not come whole."""

    clock: Literal["server"]
    requested_from: ServerTime
    requested_to: ServerTime
    covered_to: ServerTime
    past_from: ServerTime
    until_before: ServerTime
    until: ServerTime


class SyncRun(TypedDict):
    """A run of an IBKR account: the window asked, what was really covered, counts by name."""

    run_id: str
    source: Literal["tws", "flex"]
    kind: Literal["executions", "positions"]
    is_backfill: bool
    state: Literal["running", "complete", "partial", "failed", "abandoned"]
    started_ts: Milliseconds
    started_at: Instant
    finished_ts: Milliseconds | None
    finished_at: Instant | None
    requested_from_ts: Milliseconds
    requested_from_at: Instant
    requested_to_ts: Milliseconds
    requested_to_at: Instant
    covered_from_ts: Milliseconds | None
    covered_from_at: Instant | None
    covered_to_ts: Milliseconds | None
    covered_to_at: Instant | None
    earliest_seen_ts: Milliseconds | None
    earliest_seen_at: Instant | None
    latest_seen_ts: Milliseconds | None
    latest_seen_at: Instant | None
    is_complete: bool
    counts: dict[str, Any]
    error_class: Text
    duration_seconds: int | None


class LinkedCounts(TypedDict):
    """What a run of a linked account brought, and after how many tries."""

    trades_synced: int
    attempts: int


class LinkedRun(TypedDict):
    """A run of a linked MT5 account."""

    run_id: str
    source: Literal["mt5"]
    kind: Literal["scheduled", "manual", "backfill"]
    state: Literal["success", "partial", "failed", "skipped"]
    started_ts: Milliseconds
    started_at: Instant
    finished_ts: Milliseconds | None
    finished_at: Instant | None
    is_complete: bool
    window: ServerWindow | None
    counts: LinkedCounts
    error_class: Text
    error_text: Text
    duration_ms: int
    duration_seconds: int


class SyncRuns(Frame):
    """A page of an account's runs, newest first; ``next_cursor`` goes into ``cursor``."""

    count: int
    has_more: bool
    items: list[SyncRun | LinkedRun]
    next_cursor: Text


class SyncSource(TypedDict):
    """How a source of an IBKR account is followed, from its last run."""

    source: Literal["tws", "flex"]
    kind: Literal["executions", "positions"]
    run_id: str
    state: Literal["ok", "late", "failing", "never"]
    run_state: str
    started_ts: Milliseconds
    started_at: Instant
    finished_ts: Milliseconds | None
    finished_at: Instant | None
    requested_from_ts: Milliseconds
    requested_from_at: Instant
    requested_to_ts: Milliseconds
    requested_to_at: Instant
    covered_from_ts: Milliseconds | None
    covered_from_at: Instant | None
    covered_to_ts: Milliseconds | None
    covered_to_at: Instant | None
    counts: dict[str, Any] | None
    error_class: Text
    lag_seconds: int | None
    has_found_nothing: bool
    last_complete_ts: Milliseconds | None
    last_complete_at: Instant | None
    high_water_ts: Milliseconds | None
    high_water_at: Instant | None


class BreakCount(TypedDict):
    """Open differences of a book by kind and cause."""

    kind: str
    cause: Text
    count: int
    oldest_ts: Milliseconds
    oldest_at: Instant


class AccountSync(TypedDict):
    """How an IBKR account is followed, and what about it waits for a person."""

    account_id: str
    code: str
    book_id: str
    is_enabled: bool
    is_opening_missing: bool
    opened_ts: Milliseconds | None
    opened_at: Instant | None
    sources: list[SyncSource]
    anomalies: dict[str, int]
    quarantine: dict[str, int]
    breaks: list[BreakCount]


class RunCounts(TypedDict):
    """Runs of the last 24 hours by how they ended."""

    success: int
    partial: int
    failed: int
    skipped: int


class LinkedSync(TypedDict):
    """How a linked MT5 account is followed."""

    account_id: str
    label: str
    book_id: str
    state: AccountState
    last_sync_ts: Milliseconds | None
    last_sync_at: Instant | None
    last_success_ts: Milliseconds | None
    last_success_at: Instant | None
    lag_seconds: int | None
    failures_in_a_row: int
    last_error: Failure | None
    next_due_ts: Milliseconds | None
    next_due_at: Instant | None
    cash_state: Text
    runs_24h: RunCounts


class StateCounts(TypedDict):
    """Accounts by state."""

    needs_login: int
    failing: int
    late: int
    ok: int
    paused: int


class Fleet(TypedDict):
    """The share of active accounts whose last success is younger than ten minutes."""

    active_accounts: int
    fresh_accounts: int
    fresh_percent: Percent | None
    oldest_success_ts: Milliseconds | None
    oldest_success_at: Instant | None


class LinkedHealth(TypedDict):
    """The linked accounts: all counted, the worst ones listed."""

    count: int
    has_more: bool
    states: StateCounts
    fleet: Fleet
    accounts: list[LinkedSync]


class SyncHealth(Frame):
    """How all accounts are followed. ``quarantine_unassigned``: rows that name no account of the desk."""

    count: int
    accounts: list[AccountSync]
    quarantine_unassigned: dict[str, int]
    mt5: LinkedHealth


class CoveredDay(TypedDict):
    """A day of an account and the run that says so."""

    account_id: str
    day: str
    state: Literal["proven", "provisional", "gap", "unknown", "closed"]
    run_id: Text


class SyncCoverage(Frame):
    """Days by account, oldest first. ``has_more``: accounts were left out because their days are too many."""

    count: int
    has_more: bool
    days: list[CoveredDay]
