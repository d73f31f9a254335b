"""What the desk costs, on the wire: the counts of a day by function, and what a month of such days costs by line."""

from __future__ import annotations

from typing_extensions import TypedDict

from fillbook.tracker.shapes import Amount, Frame, Instant, Milliseconds


class CostFunction(TypedDict):
    """What a function used in the day. ``billed_seconds``: an instance was in work; ``month``: what it bears of the price."""

    function: str
    requests: int
    failed: int
    billed_seconds: Amount
    processor_seconds: Amount | None
    peak_bytes: int | None
    log_bytes: int | None
    sent_bytes: int
    month: Amount | None


class CostDatabase(TypedDict):
    """What the database counted in the day."""

    rows_written: int
    rows_read: int
    transactions: int
    log_ahead_bytes: int
    size_bytes: int
    processor_seconds: int | None


class CostLine(TypedDict):
    """One line of the month's bill; ``net`` after the free amounts, which are given once over all owners together."""

    owner: str
    service: str
    measure: str
    quantity: Amount
    unit: str
    gross: Amount
    net: Amount


class CostPrices(TypedDict):
    """Whose prices, and of when."""

    source: str
    as_of: str
    region: str
    currency: str


class Cost(Frame):
    """A counted day and its price. Everything is null where nobody counted: in a cloud the bill itself is the truth.

    ``month`` is computed from this one day: 21 such sessions and 30 days of schedules; ``idle_month``: nobody trades.
    ``not_measured`` names the schedules that were not called in the day and are not in the price. ``is_simulated``: the day's
    clock ran faster than the wall.
    """

    day: str | None
    days: list[str]
    source: str | None
    is_simulated: bool | None
    counted_until_ts: Milliseconds | None
    counted_until_at: Instant | None
    prices: CostPrices | None
    functions: list[CostFunction] | None
    database: CostDatabase | None
    message_bytes: int | None
    lines: list[CostLine] | None
    month: Amount | None
    idle_month: Amount | None
    not_measured: list[str] | None
