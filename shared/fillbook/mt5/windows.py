"""Which spans of an account's history a run reads: forward with an overlap, again where a gap is open, down into the past.

All times are milliseconds on the server clock. A window ends a day ahead of the server's clock, so that nothing is hidden by
a clock that is ahead of UTC. Source: mt5 specification, 7.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final

from fillbook.mt5.model import AccountState, Window
from fillbook.mt5.words import BackfillState
from fillbook.values import frozen

HOUR_MSC: Final = 3_600_000
DAY_MSC: Final = 24 * HOUR_MSC
AHEAD_MSC: Final = DAY_MSC
SHORT_OVERLAP_MSC: Final = 2 * HOUR_MSC
EARLIEST: Final = date(2015, 1, 1)
_EPOCH: Final = date(1970, 1, 1)
_REREADS_DAYS: Final = (7, 30)
"""After the first and the second run with a gap; after the third everything stored is read again."""


@frozen
class Spans:
    """How much history is read (settings ``MT5_HISTORY_…``, ``MT5_BACKFILL_…``)."""

    default_days: int = 30
    overlap_hours: int = 48
    chunk_days: int = 7
    chunks_per_run: int = 2


@frozen
class Wanted:
    """The window of a run's forward read; ``cursor``: where an earlier run stopped in it. ``is_whole``: everything stored."""

    window: Window
    cursor: str | None = None
    is_whole: bool = False


@frozen
class Deepened:
    """How far the past is read after a chunk."""

    history_floor_msc: int
    empty_chunks: int
    backfill_state: BackfillState


def forward(
    state: AccountState,
    server_msc: int,
    target: date | None,
    *,
    overlap_is_large: bool = False,
    spans: Spans,
) -> Wanted:
    """The window to read now. ``server_msc``: the server's clock; ``target``: the account's ``backfill_target``.

    ``overlap_is_large``: the usual overlap holds more deals than one page; it is then read once an hour, two hours otherwise.
    A window begins with an hour: one that moved with every run would lose a deal at its begin again and again, and an account
    that does nothing would never be unchanged.
    """
    if state.page_cursor is not None and state.page_from_msc is not None and state.page_to_msc is not None:
        return Wanted(window=Window(from_msc=state.page_from_msc, to_msc=state.page_to_msc), cursor=state.page_cursor)
    to_msc = server_msc + AHEAD_MSC
    until = state.history_until_msc
    if until is None:
        return Wanted(window=Window(from_msc=first_msc(server_msc, target, spans), to_msc=to_msc))
    is_short = overlap_is_large and server_msc // HOUR_MSC == until // HOUR_MSC
    start = until - (SHORT_OVERLAP_MSC if is_short else spans.overlap_hours * HOUR_MSC)
    start -= start % HOUR_MSC
    floor = until if state.history_floor_msc is None else state.history_floor_msc
    is_whole = state.cash_gap_runs == len(_REREADS_DAYS) + 1
    if is_whole:
        start = min(start, floor)
    elif 0 < state.cash_gap_runs <= len(_REREADS_DAYS):
        start = min(start, max(floor, server_msc - _REREADS_DAYS[state.cash_gap_runs - 1] * DAY_MSC))
    return Wanted(window=Window(from_msc=max(start, 0), to_msc=to_msc), is_whole=is_whole)


def first_msc(server_msc: int, target: date | None, spans: Spans) -> int:
    """Where the first read begins: the last 30 days, or less if the target is nearer."""
    start = server_msc - spans.default_days * DAY_MSC
    return max(0, start if target is None else max(start, min(day_msc(target), server_msc)))


def target_msc(state: AccountState, target: date | None) -> int | None:
    """How far down the past is wanted; None: not beyond what the first read brought."""
    if target is None or state.history_floor_msc is None:
        return state.history_floor_msc
    return day_msc(max(target, EARLIEST))


def backfill(state: AccountState, target: date | None, spans: Spans) -> tuple[Window, ...]:
    """The chunks to read below the floor, the upper one first; empty ones before have doubled their length."""
    floor, goal = state.history_floor_msc, target_msc(state, target)
    if floor is None or goal is None or state.backfill_state in (BackfillState.DONE, BackfillState.BLOCKED):
        return ()
    # from 2015 on fewer than 2^10 chunks of seven days exist
    length = spans.chunk_days * DAY_MSC << min(state.empty_chunks, 10)
    windows: list[Window] = []
    while floor > goal and len(windows) < spans.chunks_per_run:
        windows.append(Window(from_msc=max(goal, floor - length), to_msc=floor))
        floor = windows[-1].from_msc
    return tuple(windows)


def narrowed(window: Window, rows: int | None, rows_max: int) -> Window:
    """The upper end of a window that was too large: half of it, or as much as would hold ``rows_max`` of its ``rows``."""
    length = (window.to_msc - window.from_msc) // 2
    if rows:
        length = min(length, (window.to_msc - window.from_msc) * rows_max // rows)
    return Window(from_msc=window.to_msc - max(length, 1), to_msc=window.to_msc)


def may_backfill(remaining: timedelta, budget: timedelta, *, has_failed: bool, has_gap: bool) -> bool:
    """Whether the past may be read in this run: with more than half the budget left and nothing wrong with the present."""
    return remaining * 2 > budget and not has_failed and not has_gap


def deepened(state: AccountState, chunk: Window, deals_count: int, target: date | None, *, is_inception: bool) -> Deepened:
    """The state after a chunk was read whole. ``is_inception``: the opening balance has come down to 0 at a deposit."""
    goal = target_msc(state, target)
    is_done = is_inception or goal is None or chunk.from_msc <= goal
    return Deepened(
        history_floor_msc=chunk.from_msc,
        empty_chunks=0 if deals_count else state.empty_chunks + 1,
        backfill_state=BackfillState.DONE if is_done else BackfillState.RUNNING,
    )


def backfill_state(state: AccountState, target: date | None) -> BackfillState:
    """Where the backfill stands; a target set further back wakes one that was done, unless inception was reached."""
    floor, goal = state.history_floor_msc, target_msc(state, target)
    if floor is None or goal is None:
        return BackfillState.PENDING
    if floor <= goal or state.opening_proven:
        return BackfillState.DONE
    return BackfillState.RUNNING if state.backfill_state is BackfillState.DONE else state.backfill_state


def day_msc(day: date) -> int:
    """Midnight of a day on the server clock."""
    return (day - _EPOCH).days * DAY_MSC


def day_of(time_msc: int) -> date:
    """The date on the server clock."""
    return _EPOCH + timedelta(days=time_msc // DAY_MSC)


def is_older(opened_at: datetime, now: datetime, hours: int) -> bool:
    """Whether something opened at an instant is that many hours old."""
    return now - opened_at >= timedelta(hours=hours)
