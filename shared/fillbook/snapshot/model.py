"""Nouns of the room: a day's figures as they are read, published, received and shown.

Everything is frozen and pure. Numbers are exact Decimals, ``None`` means *unknown* and is never zero; instants are aware UTC, cut
to milliseconds where they are published. A *day* is a trading day in New York. Source: snapshot specification, 1 to 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

MISSING: Final = "\N{EM DASH}"
"""The display text of a value that is not known."""
SCHEMA_VERSION: Final = 1
KPI_VERSION: Final = 1
SOURCE: Final = "fillbook-snapshot-publisher"

KPIS_MAX: Final = 200
POINTS_MAX: Final = 50_000
EXTREMES_MAX: Final = 5_000
ASSETS_MAX: Final = 5_000
ID_MAX: Final = 2**53 - 1
NUMBER_LIMIT: Final = Decimal(10) ** 15
PROBLEMS_MAX: Final = 100

# --- words ------------------------------------------------------------------------------------------------------------


class Kind(StrEnum):
    """What a KPI's number counts."""

    NUMBER = "number"
    CURRENCY = "currency"
    PERCENT = "percent"
    DURATION = "duration"
    RATIO = "ratio"
    TEXT = "text"


class Stage(StrEnum):
    """How far the day was when it was valued: before the open, between open and close, from the close on."""

    PREMARKET = "premarket"
    INTRADAY = "intraday"
    FINAL = "final"


class Side(StrEnum):
    """Largest first, or smallest first."""

    HI = "hi"
    LO = "lo"


class Slot(StrEnum):
    """The scheduled calls of a day."""

    PREMARKET = "premarket"
    MIDDAY = "midday"
    POSTMARKET = "postmarket"
    WATCH = "watch"


class Missing(StrEnum):
    """Why a KPI has no number. The first three are faults, the others what a quiet day looks like."""

    NO_MARK = "no_mark"
    UNKNOWN_COST = "unknown_cost"
    NO_QUOTE = "no_quote"
    NONE_CLOSED = "none_closed"
    NO_LOSSES = "no_losses"
    NO_HISTORY = "no_history"
    TOO_FEW = "too_few"
    NONE_OPEN = "none_open"
    NO_BASE = "no_base"


FAULTS: Final = frozenset({Missing.NO_MARK, Missing.UNKNOWN_COST, Missing.NO_QUOTE})


class Guard(StrEnum):
    """Completeness guards, by the names by which a manual call may force them (``no_session`` too)."""

    EMPTY_VIEW = "empty_view"
    MISSING_KPI = "missing_kpi"
    NULL_RISE = "null_rise"
    SHARP_FALL = "sharp_fall"
    OLDER = "older"
    NO_SESSION = "no_session"


class Status(StrEnum):
    """How the publication of a day ended (4.10)."""

    PUBLISHED = "published"
    PUBLISHED_UNVERIFIED = "published_unverified"
    PUBLISHED_FALLBACK = "published_fallback"
    UNCHANGED = "unchanged"
    CLOSED = "closed"
    DUPLICATE = "duplicate"
    DRY_RUN = "dry_run"
    WATCHED = "watched"
    BAD_REQUEST = "bad_request"
    CONFIGURATION = "configuration"
    VIEW_CONTRACT = "view_contract"
    REFUSED_GUARD = "refused_guard"
    REFUSED_VALIDATION = "refused_validation"
    KEPT = "kept"
    REFUSED_RECEIVER = "refused_receiver"
    CONFLICT = "conflict"
    BUSY = "busy"
    SOURCE_UNAVAILABLE = "source_unavailable"
    PARTIAL = "partial"
    NOT_STARTED = "not_started"


# --- a published day --------------------------------------------------------------------------------------------------


@frozen
class Kpi:
    """A row of ``rows``. ``value`` is the display text, ``MISSING`` when not known; ``missing_reason``: ours, or free text."""

    kpi: str
    value: str
    value_num: Decimal | None
    kind: Kind
    unit: str | None = None
    sort_order: int
    missing_reason: str | None = None


@frozen
class Point:
    """One value of a KPI's series. ``src``: ledger, live, stale, or what somebody else's source says."""

    kpi: str
    t: datetime
    v: Decimal
    src: str | None = None


@frozen
class Extreme:
    """A trade at one end of a KPI. ``trade_id`` is None only where somebody else sent none; ``others``: kept, never read."""

    kpi: str
    side: Side
    rank: int
    trade_id: int | None
    symbol: str | None
    contract_name: str
    metric_raw: Decimal | None = None
    metric_abs: Decimal | None = None
    individual_pnl: Decimal | None = None
    abs_individual_pnl: Decimal | None = None
    percent_change: Decimal | None = None
    cost_basis: Decimal | None = None
    qty: Decimal | None = None
    bid_price: Decimal | None = None
    ask_price: Decimal | None = None
    mid_price: Decimal | None = None
    mid_ts: datetime | None = None
    mid_mark_pnl: Decimal | None = None
    liquidity_drag: Decimal | None = None
    others: Mapping[str, Any] = field(default_factory=dict)


EXTREME_NUMBERS: Final = (
    "metric_raw metric_abs individual_pnl abs_individual_pnl percent_change cost_basis qty bid_price ask_price mid_price "
    "mid_mark_pnl liquidity_drag"
).split()


@frozen
class Asset:
    """A position of the portfolio."""

    trade_id: int
    symbol: str | None
    contract_name: str


@frozen
class Snapshot:
    """A day as it is published: rows by sort_order, points by (kpi, t), extremes by (kpi, side, rank), assets by (id, contract).

    ``series`` names every KPI that has a series, in order, also one without a point. ``watermark`` and ``provenance`` are
    documents of JSON values (numbers int or Decimal) and take no part in the content's hash.
    """

    date: date
    updated_at: datetime
    headline: str
    summary: str
    rows: tuple[Kpi, ...]
    series: tuple[str, ...]
    points: tuple[Point, ...]
    extremes: tuple[Extreme, ...]
    assets: tuple[Asset, ...]
    source: str | None = None
    schema_version: int | None = None
    kpi_version: int | None = None
    stage: Stage | None = None
    watermark: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] | None = None


@frozen
class Counts:
    """Items of a snapshot."""

    kpis: int = 0
    series: int = 0
    extremes: int = 0
    assets: int = 0


@frozen
class Dropped:
    """What was resolved or left out on the way, and is counted."""

    duplicates: int = 0
    null_points: int = 0


@frozen
class Problem:
    """What is wrong with a document, and where. ``value`` is at most 80 characters of what stood there."""

    path: str
    code: str
    message: str
    value: str | None = None


# --- the source -------------------------------------------------------------------------------------------------------


@frozen
class WorkDay:
    """A row of the work list: every calendar fact the views need, and their "now" (``as_of``)."""

    report_date: date
    window_start: datetime
    window_end: datetime
    session_open: datetime
    session_close: datetime
    as_of: datetime
    valuation_at: datetime
    previous_date: date
    previous_close: datetime

    @property
    def stage(self) -> Stage:
        """What the day is valued as."""
        if self.as_of >= self.session_close:
            return Stage.FINAL
        return Stage.INTRADAY if self.as_of >= self.session_open else Stage.PREMARKET


@frozen
class Watermark:
    """What a day's figures were computed from. ``after_close``: actions executed after the session's close, where it is known."""

    as_of: datetime
    valuation_at: datetime
    last_recorded_at: datetime | None
    last_mark_at: datetime | None
    actions: int
    closings: int
    open_positions: int
    ledger_seq: Mapping[str, int]
    refreshed_at: datetime
    excluded: Mapping[str, int]
    after_close: int | None = None


@frozen
class Source:
    """What six selects of one read-only transaction gave for a day: rows by column name, in read order.

    ``values`` (by KPI name) and ``watermark`` are None where the views are somebody else's and have no companions;
    ``start_cash`` is what the books began with, where it is known.
    """

    day: WorkDay
    kpis: tuple[Mapping[str, Any], ...]
    series: tuple[Mapping[str, Any], ...]
    extremes: tuple[Mapping[str, Any], ...]
    portfolio: tuple[Mapping[str, Any], ...]
    values: Mapping[str, Mapping[str, Any]] | None
    watermark: Watermark | None
    start_cash: Decimal | None = None


# --- errors -----------------------------------------------------------------------------------------------------------


class BadSnapshot(Rejected):
    """A document that is not taken, with all that is wrong: ``problem_count`` problems, of which at most a hundred are listed."""

    def __init__(
        self, problems: Sequence[Problem], *, count: int | None = None, reason: str = "bad_snapshot", status: int = 422
    ) -> None:
        self.problems = tuple(problems[:PROBLEMS_MAX])
        self.problem_count = len(problems) if count is None else count
        first = problems[0]
        super().__init__(reason, f"{self.problem_count} problems, first: {first.path[:100]} {first.code}", status=status)
