"""The account on the wire: what the books are worth now, how that came about, and how it went. Null is what cannot be known."""

from __future__ import annotations

from typing_extensions import TypedDict

from fillbook.tracker.shapes import Amount, Frame, Instant, Milliseconds, Percent


class Worth(TypedDict):
    """The account in one currency, rounded as a published day is: money to two decimals, percent to four, half to even.

    ``equity`` = start cash + all realized + unrealized; ``day_pnl`` is it against the close of the session before.
    ``day_realized_pnl`` is what the closings of the day brought. ``missing_marks``: tickers of open positions without a price.
    """

    currency: str
    start_cash: Amount
    cash: Amount | None
    positions_value: Amount | None
    equity: Amount | None
    realized_pnl: Amount | None
    unrealized_pnl: Amount | None
    day_pnl: Amount | None
    day_realized_pnl: Amount | None
    day_return_percent: Percent | None
    gross_exposure: Amount | None
    net_exposure: Amount | None
    open_positions: int
    missing_marks: list[str]


class Point(TypedDict):
    """What one currency was worth at an instant; ``state``: ``ledger`` without a mark, ``live`` or ``stale``."""

    ts: Milliseconds
    at: Instant
    currency: str
    equity: Amount
    state: str


class Executed(TypedDict):
    """Executions of a date or a ticker in one currency."""

    currency: str
    count: int
    realized_pnl: Amount | None


class OnADay(Executed):
    """Of a trading day."""

    date: str


class OfATicker(Executed):
    """Of a ticker."""

    ticker: str


class Executions(TypedDict):
    """What was executed in the range; of tickers those with the most executions."""

    count: int
    by_day: list[OnADay]
    by_ticker: list[OfATicker]


class Portfolio(Frame):
    """The account, its curve without invented points, and its executions.

    ``date`` is the trading day of ``as_of``, ``valuation_at`` when its marks were looked at.
    """

    date: str
    valuation_ts: Milliseconds
    valuation_at: Instant
    range: str
    totals: list[Worth]
    curve: list[Point]
    executions: Executions
