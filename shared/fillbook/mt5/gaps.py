"""Spans of history that are not proven whole: when one opens, when it closes, and which of them the watermark waits for. Pure.

    cash             the money does not add up, and no missing deal explains it
    deal_missing     it does without a deal that complete reads no longer hold
    position_volume  snapshot and deals do not agree on a position's volume
    pages            a window's pages cannot be completed: they shift under every reading, its cursors do not last until the next
                     run, or more rows lie in its smallest part than a run may read
    floor            the past cannot be read as deep as it is wanted, and the opening balance says that something lies there

A large window that merely goes on in the next run is no gap, and neither is a past that holds nothing. What lies below the floor
says nothing about the present: the watermark does not wait for it. Source: mt5 specification, 7; decision 0030.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal

from fillbook.mt5 import windows
from fillbook.mt5.heard import Answers
from fillbook.mt5.model import AccountState, Window
from fillbook.mt5.proving import Proven
from fillbook.mt5.records import Gap, Loaded
from fillbook.mt5.trades import Derived
from fillbook.mt5.words import BackfillState, GapCause
from fillbook.values import frozen


@frozen
class Changes:
    """What opens and what closes in one run."""

    opened: tuple[Gap, ...] = ()
    closed: tuple[Gap, ...] = ()


def changes(loaded: Loaded, heard: Answers, proven: Proven, derived: Iterable[Derived], now: datetime) -> Changes:
    """The gaps that open and close with an account's answers."""
    by_cause: dict[GapCause, list[Gap]] = {cause: [] for cause in GapCause}
    for gap in loaded.gaps:
        by_cause[gap.cause].append(gap)
    found = (
        _of_money(loaded, heard, proven, by_cause, now),
        _of_volumes(heard, derived, by_cause[GapCause.POSITION_VOLUME], now),
        _of_pages(loaded, heard, proven.state, by_cause[GapCause.PAGES], now),
        _of_floor(loaded, heard, proven, by_cause[GapCause.FLOOR], now),
    )
    return Changes(
        opened=tuple(gap for one in found for gap in one.opened), closed=tuple(gap for one in found for gap in one.closed)
    )


def left_open(loaded: Loaded, opened: Iterable[Gap], closed: Iterable[Gap]) -> tuple[Gap, ...]:
    """The gaps that stay open after a run, oldest first."""
    over = {(gap.from_msc, gap.opened_at) for gap in closed}
    left = [gap for gap in loaded.gaps if (gap.from_msc, gap.opened_at) not in over]
    return tuple(sorted((*left, *opened), key=lambda gap: gap.opened_at))


def holds_watermark(gap: Gap, floor_msc: int | None) -> bool:
    """Whether a gap is one that the watermark may not pass while it is young: it lies above the floor."""
    return gap.cause is not GapCause.FLOOR and (floor_msc is None or gap.to_msc > floor_msc)


# --- money and volumes ------------------------------------------------------------------------------------------------


def _of_money(loaded: Loaded, heard: Answers, proven: Proven, by_cause: dict[GapCause, list[Gap]], now: datetime) -> Changes:
    step = proven.step
    if step is None:
        return Changes()
    closed = by_cause[GapCause.CASH] if step.closes else []
    if not proven.explained:
        closed = closed + by_cause[GapCause.DEAL_MISSING]
    cause = GapCause.DEAL_MISSING if proven.explained else GapCause.CASH if step.opens else None
    if cause is None or by_cause[cause]:
        return Changes(closed=tuple(closed))
    return Changes(opened=(_money_gap(loaded, heard, proven, cause, now),), closed=tuple(closed))


def _money_gap(loaded: Loaded, heard: Answers, proven: Proven, cause: GapCause, now: datetime) -> Gap:
    assert heard.at_msc is not None
    if cause is GapCause.DEAL_MISSING and proven.missed:
        known = {one.deal.deal_ticket: one.deal.time_msc for one in loaded.deals}
        times = [known[one.deal_ticket] for one in proven.missed if one.deal_ticket in known]
        if times:
            return Gap(from_msc=min(times), to_msc=max(times) + 1, opened_at=now, cause=cause)
    since = loaded.state.history_until_msc or proven.state.history_floor_msc or heard.at_msc
    return Gap(from_msc=min(since, heard.at_msc), to_msc=heard.at_msc, opened_at=now, cause=cause)


def _of_volumes(heard: Answers, derived: Iterable[Derived], known: list[Gap], now: datetime) -> Changes:
    if heard.view is None:
        return Changes()
    wide = {one.gap.from_msc: one.gap for one in derived if one.gap is not None}
    kept = {gap.from_msc for gap in known}
    opened = [
        Gap(from_msc=gap.from_msc, to_msc=gap.to_msc, opened_at=now, cause=GapCause.POSITION_VOLUME)
        for from_msc, gap in sorted(wide.items())
        if from_msc not in kept
    ]
    return Changes(opened=tuple(opened), closed=tuple(gap for gap in known if gap.from_msc not in wide))


# --- pages ------------------------------------------------------------------------------------------------------------


def _of_pages(loaded: Loaded, heard: Answers, state: AccountState, known: list[Gap], now: datetime) -> Changes:
    """Windows that cannot be completed, and those that now are. One gap at a time for what overlaps."""
    closed = [gap for gap in known if _is_read(gap, loaded.state, state, heard)]
    left = [gap for gap in known if gap not in closed]
    opened: list[Gap] = []
    for window in heard.stuck:
        gap = Gap(from_msc=window.from_msc, to_msc=_seen_until(window, heard), opened_at=now, cause=GapCause.PAGES)
        if not any(_overlap(gap, other) for other in (*left, *opened)):
            opened.append(gap)
    return Changes(opened=tuple(opened), closed=tuple(closed))


def _seen_until(window: Window, heard: Answers) -> int:
    """Where a window ends that was asked for beyond the server's present."""
    at = window.to_msc if heard.at_msc is None else heard.at_msc
    return max(window.from_msc + 1, min(window.to_msc, at))


def _overlap(one: Gap, other: Gap) -> bool:
    return one.from_msc < other.to_msc and other.from_msc < one.to_msc


def _is_read(gap: Gap, before: AccountState, after: AccountState, heard: Answers) -> bool:
    """Whether everything in a gap was read by now: in one window, or, of the past, down to where it begins."""
    floor = after.history_floor_msc
    if before.history_floor_msc is not None and gap.from_msc < before.history_floor_msc:
        return floor is not None and floor <= gap.from_msc
    # what lies below where history begins was never a part of it
    begins = gap.from_msc if floor is None else max(gap.from_msc, floor)
    whole = [read.window for read in heard.reads if read.reading.is_whole and heard.has_history]
    return any(window.from_msc <= begins and gap.to_msc <= window.to_msc for window in whole)


# --- the floor --------------------------------------------------------------------------------------------------------


def _of_floor(loaded: Loaded, heard: Answers, proven: Proven, known: list[Gap], now: datetime) -> Changes:
    """The past that is wanted, cannot be read, and is not empty."""
    if proven.check is None:
        return Changes()
    digits = loaded.account.currency_digits
    if heard.info is not None and heard.info.currency_digits is not None:
        digits = heard.info.currency_digits
    missing = below_floor(proven.state, heard.claimed.account.backfill_target, digits)
    if missing is None:
        return Changes(closed=tuple(known))
    if known:
        return Changes()
    gap = Gap(from_msc=missing.from_msc, to_msc=missing.to_msc, opened_at=now, cause=GapCause.FLOOR)
    return Changes(opened=(gap,))


def below_floor(state: AccountState, target: date | None, currency_digits: int) -> Window | None:
    """What is missing below the floor, where the backfill is at its end short of what is wanted and the money proves it.

    ``target``: as the account has it; one at or before 2015-01-01 means inception, where the opening balance is 0.
    """
    floor, opening = state.history_floor_msc, state.opening_balance
    if floor is None or opening is None or target is None or state.opening_proven:
        return None
    if abs(opening) <= Decimal(1).scaleb(-currency_digits):
        return None
    is_inception = target <= windows.EARLIEST
    begins = 0 if is_inception else windows.day_msc(target)
    is_short = state.backfill_state is BackfillState.BLOCKED or (is_inception and state.backfill_state is BackfillState.DONE)
    return Window(from_msc=begins, to_msc=floor) if is_short and begins < floor else None
