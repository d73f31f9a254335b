"""The published day on the wire, as its publisher wrote it: values as text, unknown as null with its reason."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from fillbook.tracker.shapes import Amount, Frame, Instant, Milliseconds, Page


class Kpi(TypedDict):
    """A figure: its display text, its exact number, and why there is none."""

    kpi: str
    value: str
    value_num: Amount | None
    kind: str
    unit: str | None
    sort_order: int
    missing_reason: str | None


class Asset(TypedDict):
    """An open position; ``trade_id`` is the whole number that the published day names it by."""

    trade_id: int
    symbol: str | None
    contract_name: str


class Publication(TypedDict):
    """How the newest publication of the day ended."""

    status: str
    target: str
    verified: bool | None
    finished_ts: Milliseconds
    finished_at: Instant


class PublishedDay(TypedDict):
    """A day as it stands published."""

    date: str
    stage: Literal["premarket", "intraday", "final"] | None
    version: int
    kpi_version: int | None
    content_sha256: str
    headline: str
    summary: str
    counts: dict[str, int] | None
    books: list[str]
    updated_ts: Milliseconds
    updated_at: Instant
    received_ts: Milliseconds
    received_at: Instant
    watermark: dict[str, Any] | None
    publication: Publication | None
    kpis: list[Kpi]
    assets: list[Asset]


class Published(Frame):
    """The day asked for, else the newest; null where none is published."""

    snapshot: PublishedDay | None


class DayNamed(TypedDict):
    """A published day in the list of days."""

    date: str
    stage: str | None
    version: int
    headline: str
    updated_ts: Milliseconds
    updated_at: Instant
    restated: int


class PublishedDates(Page):
    """Published days, the latest first."""

    items: list[DayNamed]


class SeriesPoint(TypedDict):
    """A figure at an instant; ``source``: ledger, live or stale."""

    ts: Milliseconds
    at: Instant
    value: Amount
    source: str | None


class Series(Frame):
    """The points of a figure on a day, oldest first."""

    date: str
    version: int
    kpi: str
    count: int
    points: list[SeriesPoint]


class Extreme(TypedDict):
    """A trade at an end of a figure."""

    kpi: str
    side: Literal["hi", "lo"]
    rank: int
    trade_id: int | None
    symbol: str | None
    contract_name: str
    metric_raw: Amount | None
    metric_abs: Amount | None
    individual_pnl: Amount | None
    abs_individual_pnl: Amount | None
    change_percent: Amount | None
    cost_basis: Amount | None
    qty: Amount | None
    bid_price: Amount | None
    ask_price: Amount | None
    mid_price: Amount | None
    mid_ts: Milliseconds | None
    mid_at: Instant | None
    mid_mark_pnl: Amount | None
    liquidity_drag: Amount | None


class Extremes(Frame):
    """The trades at the ends of the figures of a day, by figure, side and rank."""

    date: str
    version: int
    currency: str
    count: int
    items: list[Extreme]


class Restatement(TypedDict):
    """What a later version of a final day changed; ``late_actions`` are its cause."""

    date: str
    version: int
    subject: str
    name: str
    old_text: str | None
    new_text: str | None
    old_num: Amount | None
    new_num: Amount | None
    difference: Amount | None
    recorded_ts: Milliseconds
    recorded_at: Instant
    late_actions: list[Any] | None


class Restatements(Page):
    """What was restated, the latest first."""

    items: list[Restatement]
