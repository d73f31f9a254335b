"""Results on the wire: of a range, by group, and day by day. Amounts in ``currency``; null is what cannot be known."""

from __future__ import annotations

from typing_extensions import TypedDict

from fillbook.tracker.shapes import Amount, Frame, Instant, Milliseconds, Percent


class Counts(TypedDict):
    """What was executed in the range, and how the positions that it closed ended."""

    entries: int
    adds: int
    trims: int
    exits: int
    wins: int
    losses: int
    flats: int
    pending: int


class Results(Counts):
    """The results of one currency.

    ``trades`` = positions with activity, ``closed`` = those closed by it, ``open`` = the others. ``realized_pnl``, ``fees`` and
    the two gross amounts are sums over the executions; rates, averages, ``best`` and ``worst`` are of whole closed positions.
    ``gross_win`` and ``gross_loss`` are the gaining and the losing parts, lot by lot, as on a published day.
    """

    currency: str
    trades: int
    open: int
    closed: int
    win_rate_percent: Percent | None
    realized_pnl: Amount | None
    fees: Amount | None
    gross_win: Amount | None
    gross_loss: Amount | None
    profit_factor: Amount | None
    avg_win: Amount | None
    avg_loss: Amount | None
    expectancy: Amount | None
    best: Amount | None
    worst: Amount | None
    avg_hold_seconds: int | None


class Group(Results):
    """The results of a group; ``key`` is null for what carries no such word."""

    key: str | None


class Summary(Frame):
    """The results of a range: per currency, by group, and what the groups that are not shown add up to."""

    known_as_of_ts: Milliseconds
    known_as_of_at: Instant
    group_by: str | None
    count: int
    totals: list[Results]
    groups: list[Group]
    other: list[Results]


class Day(Counts):
    """A trading day in one currency; ``open_at_close``: positions that were open when the day had ended."""

    date: str
    currency: str
    realized_pnl: Amount | None
    fees: Amount | None
    open_at_close: int


class Week(Counts):
    """The trading days of a calendar week that are within the range: its sums."""

    first_date: str
    last_date: str
    currency: str
    realized_pnl: Amount | None
    fees: Amount | None
    open_at_close: int


class Calendar(Frame):
    """Trading days of a span, oldest first, and their weeks."""

    known_as_of_ts: Milliseconds
    known_as_of_at: Instant
    first_date: str
    last_date: str
    count: int
    days: list[Day]
    weeks: list[Week]
