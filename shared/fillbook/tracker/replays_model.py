"""The shapes of replays: runs, their buckets, and where two of them part."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from fillbook.tracker.shapes import Amount, Frame, Instant, Milliseconds, Page

Status = Literal["planned", "running", "paused", "done", "failed", "cancelled"]
Kind = Literal["bucket", "day", "range", "parity", "catch_up"]


class Realized(TypedDict):
    """What a run's book realized in one currency; null where a part of it is not known."""

    currency: str
    realized_pnl: Amount | None


class Progress(TypedDict):
    """How far a run is. ``buckets_total`` null: it was made without a gap report."""

    buckets_done: int
    buckets_total: int | None
    bucket_ts: Milliseconds | None
    bucket_at: Instant | None
    rows: int
    rows_per_second: Amount | None


class Run(TypedDict):
    """A run: what was asked, what it pins, how far it is, and what came of it."""

    run_id: str
    name: str | None
    kind: Kind
    book_id: str
    date_from: str
    date_to: str
    ticker: str | None
    script_version: str
    session: Literal["regular", "all"]
    inputs: Literal["all", "as_decided"]
    start: Literal["empty", "live"]
    facts: Literal["own", "recorded"]
    profile: str
    config_digest: str
    code_version: str
    accepted_code: list[str]
    input_digest: str | None
    status: Status
    progress: Progress
    conflicts: int
    trades_created: int
    trades_purged: int
    realized: list[Realized]
    grade: Literal["complete", "thin", "gap"] | None
    result_hash: str | None
    state_hash: str | None
    ticker_pass: bool
    error: str | None
    pinned: bool
    created_by: str
    created_ts: Milliseconds
    created_at: Instant
    started_ts: Milliseconds | None
    started_at: Instant | None
    finished_ts: Milliseconds | None
    finished_at: Instant | None
    wall_seconds: Amount


class Stretch(TypedDict):
    """Missing buckets in a row: the first and the last of them."""

    first_ts: Milliseconds
    first_at: Instant
    last_ts: Milliseconds
    last_at: Instant


class TickerGaps(TypedDict):
    """What a ticker has of a day."""

    ticker: str
    minutes: int
    first_ts: Milliseconds | None
    first_at: Instant | None
    last_ts: Milliseconds | None
    last_at: Instant | None
    missing: list[Stretch]


class DayGaps(TypedDict):
    """How whole a day was before it was run."""

    date: str
    grade: Literal["complete", "thin", "gap"]
    buckets_expected: int
    buckets_present: int
    empty: list[Stretch]
    tickers_seen: int
    unseen: list[str]
    minutes_expected: int
    minutes_present: int
    by_script: dict[str, int]
    by_result: dict[str, int]
    quarantined: int
    tickers: list[TickerGaps]


class RunWhole(Run):
    """A run with the gaps found before it; null: none were looked for."""

    gaps: list[DayGaps] | None


class Runs(Page):
    """A page of runs, youngest first."""

    runs: list[Run]


class OneRun(Frame):
    """One run."""

    run: RunWhole


class Bucket(TypedDict):
    """A finished bucket: what it held, and the hash of all up to its end."""

    bucket_ts: Milliseconds
    bucket_at: Instant
    rows: int
    conflicts: int
    actions: int
    input_digest: str
    state_digest: str
    result_hash: str
    recorded_ts: Milliseconds
    recorded_at: Instant


class Buckets(Page):
    """A page of a run's buckets, the oldest first."""

    run_id: str
    status: Status
    buckets: list[Bucket]


class Totals(TypedDict):
    """What one side did. ``realized_pnl`` null: a part of it is not known."""

    decided: int
    entries: int
    adds: int
    trims: int
    exits: int
    realized_pnl: Amount | None


class Side(TypedDict):
    """One side of a comparison: ``live`` or a run."""

    label: str
    book_id: str
    name: str | None
    profile: str | None
    status: Status | None
    totals: Totals


class SideOfDivergence(TypedDict):
    """What one side has there, and the rule's sentence for it."""

    value: Any
    rule_text: str | None


class Divergence(TypedDict):
    """The first difference of a ticker: where, in which field, why; ``later_count`` more of it follow from it."""

    ticker: str
    bucket_ts: Milliseconds
    bucket_at: Instant
    ts: Milliseconds
    at: Instant
    receipt_id: str | None
    field: str
    cause: Literal["input", "start", "config", "facts", "code"]
    rule: str | None
    left: SideOfDivergence
    right: SideOfDivergence
    detail: Any
    is_outcome: bool
    later_count: int


class ComparedTrade(TypedDict):
    """What one side made of a position within what was compared."""

    position_id: str
    action_count: int
    entry_ts: Milliseconds
    entry_at: Instant
    realized_pnl: Amount | None


class FirstDifference(TypedDict):
    """The first action in which both sides differ, and in what; null: that side has none there."""

    ts: Milliseconds
    at: Instant
    action_id: str
    field: Literal["action", "action_type", "quantity", "price", "realized_pnl"]
    left: str | None
    right: str | None


class TradePair(TypedDict):
    """A position on both sides, joined by the action that opened it."""

    ticker: str
    direction: str
    currency: str
    status: Literal["equal", "left_only", "right_only", "different"]
    left: ComparedTrade | None
    right: ComparedTrade | None
    first_difference: FirstDifference | None


class PositionCounts(TypedDict):
    """How many positions were alike when they were compared."""

    equal: int
    left_only: int
    right_only: int
    different: int


class ComparisonAnswer(Frame):
    """The last stored comparison of two sides; ``difference`` is right less left. Trades that differ come first."""

    comparison_id: str
    compared_ts: Milliseconds
    compared_at: Instant
    date: str | None
    identical: bool
    left: Side
    right: Side
    difference: Totals
    positions: PositionCounts
    tickers: int
    divergent: int
    first_divergence: Divergence | None
    divergences: list[Divergence]
    has_more_divergences: bool
    trades: list[TradePair]
    has_more: bool
