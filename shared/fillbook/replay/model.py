"""Nouns of the room ``replay``: what is run again, how far it is, what was missing, where two runs part.

Everything is frozen and pure. A **bucket** is a 5-minute slot of receipt ``ts``, written as its start in milliseconds UTC;
every ``ts`` is milliseconds UTC as well. A **run** owns one book, ``replay:<run_id>``, and pins everything its outcome depends
on when it is made: scope, profile, inputs, start, facts, code. Unknown is ``None``. Source: replay.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from fillbook.money import ZERO
from fillbook.values import frozen

BOOK_PREFIX: Final = "replay:"
ANY_SCRIPT: Final = "*"
LIVE_BOOK: Final = "live"


class RunKind(StrEnum):
    """What a run was made for; ``parity`` and ``catch_up`` speak of the live book."""

    BUCKET = "bucket"
    DAY = "day"
    RANGE = "range"
    PARITY = "parity"
    CATCH_UP = "catch_up"


class RunStatus(StrEnum):
    """How far a run is. ``planned`` and ``running`` are worked by a job; ``paused`` goes on when somebody calls."""

    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class SessionKind(StrEnum):
    """Which minutes of a trading day: its regular session, or all that belong to it."""

    REGULAR = "regular"
    ALL = "all"


class Inputs(StrEnum):
    """Which receipts of the scope: all that are stored, or those that live decided."""

    ALL = "all"
    AS_DECIDED = "as_decided"


class FactsFrom(StrEnum):
    """Whose account facts the limits see: the run's own book, or those recorded with each live decision."""

    OWN = "own"
    RECORDED = "recorded"


class Grade(StrEnum):
    """How whole a day's receipts are: at least 99 % of its ticker-minutes, at least 90 %, fewer."""

    COMPLETE = "complete"
    THIN = "thin"
    GAP = "gap"


class Cause(StrEnum):
    """Why two runs part, in the order in which it is asked."""

    INPUT = "input"
    START = "start"
    CONFIG = "config"
    FACTS = "facts"
    CODE = "code"


@frozen
class Scope:
    """What is run: trading days, one ticker or all (``None``), one script version (``*``: any), which minutes of each day."""

    date_from: date
    date_to: date
    ticker: str | None = None
    script_version: str = "2.5.0"
    session: SessionKind = SessionKind.REGULAR


@frozen
class Pins:
    """What a run's outcome depends on beside its scope. ``config`` is the profile's whole JSON, ``start_from``: empty, live."""

    profile: str
    config: Mapping[str, Any]
    config_digest: str
    code_version: str
    inputs: Inputs = Inputs.ALL
    start_from: str = "empty"
    facts: FactsFrom = FactsFrom.OWN


@frozen
class Run:
    """One row of ``replay.run_records``.

    ``cursor`` is the place of the last row handled (``cursor_text``), ``None`` before the first. ``rows`` are receipts decided,
    ``conflicts`` receipts that another one with the same ticker and ts came before. ``accepted_code`` names the other code
    versions under which somebody let the run go on. ``wall_seconds`` is work, not waiting.
    """

    run_id: str
    kind: RunKind
    book_id: str
    scope: Scope
    pins: Pins
    status: RunStatus
    name: str | None = None
    cursor: str | None = None
    rows: int = 0
    conflicts: int = 0
    trades_created: int = 0
    trades_purged: int = 0
    gaps: Mapping[str, Any] | None = None
    input_digest: str | None = None
    result_hash: str | None = None
    state_hash: str | None = None
    ticker_pass: bool = False
    accepted_code: tuple[str, ...] = ()
    parent_run_id: str | None = None
    pinned: bool = False
    error: str | None = None
    attempts: int = 0
    created_by: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    wall_seconds: Decimal = ZERO


@frozen
class Checkpoint:
    """Where a run stood when a bucket was finished; ``states`` is gzip JSON of every ticker's state, at most 2 MB.

    ``input_digest`` covers the ids of the bucket's receipts in order, ``state_digest`` all ticker states, open positions and
    account totals after it, ``bucket_hash`` what was decided in it, ``result_hash`` everything decided so far.
    """

    run_id: str
    bucket: int
    rows: int
    conflicts: int
    actions: int
    input_digest: str
    bucket_hash: str
    state_digest: str
    result_hash: str
    states: bytes
    recorded_at: datetime


@frozen
class BucketAnswer:
    """What one call of the bucket route did; the wire names stand in ``wire.py`` (replay.md 1).

    ``bucket``: of the last row handled, the asked one when it is empty, ``None`` when nothing was left. ``rows`` were decided by
    this call, ``skipped`` before it. ``next_bucket``: the next one that still holds rows.
    """

    run: Run
    bucket: int | None
    rows: int
    skipped: int
    conflicts: int
    trades_created: int
    trades_purged: int
    next_bucket: int | None
    has_more: bool
    has_more_in_bucket: bool
    after: str | None
    result_hash: str
    buckets_done: int
    buckets_total: int
    changed: bool = False


@frozen
class Missing:
    """Buckets of one ticker that hold no receipt, ``first`` to ``last``, both included."""

    first: int
    last: int


@frozen
class TickerGaps:
    """What is there of one ticker on one day: its minutes, the first and the last, and the buckets without any."""

    ticker: str
    minutes: int
    first_ts: int | None
    last_ts: int | None
    missing: tuple[Missing, ...] = ()


@frozen
class GapReport:
    """How whole the receipts of one day are. ``unseen``: tickers the desk knows that sent nothing that day.

    ``minutes_expected`` is the session's minutes for every ticker seen or known. ``by_script`` and ``by_result`` count rows.
    """

    date: date
    grade: Grade
    buckets_expected: int
    buckets_present: int
    empty: tuple[Missing, ...]
    tickers_seen: int
    unseen: tuple[str, ...]
    minutes_expected: int
    minutes_present: int
    tickers: tuple[TickerGaps, ...]
    by_script: Mapping[str, int]
    by_result: Mapping[str, int]
    quarantined: int


@frozen
class Totals:
    """What one side of a comparison did; ``realized_pnl`` is plain text, ``None`` when an amount is unknown."""

    decided: int
    entries: int
    adds: int
    trims: int
    exits: int
    realized_pnl: str | None


@frozen
class Divergence:
    """The first difference of one ticker, and how many came after it. Values are plain text or JSON, ``None`` when absent."""

    ticker: str
    ts: int
    receipt_id: str | None
    field: str
    value_a: Any
    value_b: Any
    cause: Cause
    rule: str | None = None
    detail: Mapping[str, Any] | None = None
    later_count: int = 0


@frozen
class Comparison:
    """Two decision logs walked side by side; ``a`` and ``b`` are run ids or ``live``.

    ``positions`` counts ``equal``, ``left_only``, ``right_only`` and ``different`` ones. ``divergences`` are one per ticker, the
    earliest first.
    """

    comparison_id: str
    a: str
    b: str
    identical: bool
    totals_a: Totals
    totals_b: Totals
    positions: Mapping[str, int]
    tickers: int
    divergences: tuple[Divergence, ...]
    recorded_at: datetime
