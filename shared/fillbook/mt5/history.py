"""What a read of history proves: pages of one window, the watermark, what a gap asks for next, and whether anything is new.

A window counts only when every page of it came and none had shifted under the reading; the watermark moves only where the
money adds up, and never back. A gap is answered by reading more, and after everything was read, by saying so.
Source: mt5 specification, 2 and 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from enum import Enum, auto
from typing import Final

from fillbook.mt5.cash import CashCheck
from fillbook.mt5.model import AccountState, Deal, DealPage, Head, Window
from fillbook.mt5.windows import AHEAD_MSC, is_older
from fillbook.mt5.words import CashResult, CashState
from fillbook.values import frozen

PAGES_MAX: Final = 20
PAGES_PER_COMMIT: Final = 5
GAP_RUNS_MAX: Final = 3
GAP_HOLDS_HOURS: Final = 24


# --- pages ------------------------------------------------------------------------------------------------------------


class Next(Enum):
    """What to do after a page."""

    READ = auto()
    DONE = auto()
    RESTART = auto()
    DRIFT = auto()
    STOP = auto()


@frozen
class Reading:
    """A window being read: what its pages said so far.

    ``known_msc``: the earliest moment a page described, None while no page told its clock. ``count``: pages in this run.
    """

    window: Window
    cursor: str | None = None
    is_resumed: bool = False
    count: int = 0
    total: int | None = None
    last: tuple[int, int] | None = None
    known_msc: int | None = None
    is_restarted: bool = False
    is_whole: bool = False

    @property
    def is_due(self) -> bool:
        """Whether what was read is to be committed before more is asked for."""
        return self.count > 0 and self.count % PAGES_PER_COMMIT == 0

    @property
    def proven_msc(self) -> int | None:
        """Up to where the window is known once it is whole; one begun in an earlier run only up to its begin."""
        if not self.is_whole or self.known_msc is None:
            return None
        return min(self.known_msc, self.window.to_msc - AHEAD_MSC) if self.is_resumed else self.known_msc


def begin(window: Window, cursor: str | None = None) -> Reading:
    """A window of which nothing was read, or the rest of one."""
    return Reading(window=window, cursor=cursor, is_resumed=cursor is not None)


def taken(reading: Reading, page: DealPage, pages_max: int = PAGES_MAX, rows_max: int | None = None) -> tuple[Reading, Next]:
    """The window after one more page, and what to do now. ``rows_max``: a window that says it holds more is not read on.

    RESTART: it shifted under the reading, begin again once (pages read stay stored). DRIFT: it shifted again, the step fails.
    STOP: enough for one run; ``cursor`` says where the next one goes on.
    """
    keys = _keys(page)
    if _has_drifted(reading, page, keys):
        if reading.is_restarted:
            return reading, Next.DRIFT
        return replace(begin(reading.window), is_restarted=True, count=reading.count + 1), Next.RESTART
    after = replace(
        reading,
        cursor=page.next_cursor,
        count=reading.count + 1,
        total=page.total,
        last=max(keys) if keys else reading.last,
        known_msc=_earlier(reading.known_msc, described_msc(page.head)),
        is_whole=page.next_cursor is None,
    )
    if after.is_whole:
        return after, Next.DONE
    is_too_large = rows_max is not None and page.total is not None and page.total > rows_max
    return after, Next.STOP if is_too_large or after.count >= pages_max else Next.READ


def described_msc(head: Head) -> int | None:
    """The moment on the server clock that an answer describes."""
    return None if head.server_time_msc is None else head.server_time_msc - head.cache_age_ms


def within(window: Window, deals: Iterable[Deal]) -> tuple[Deal, ...]:
    """The deals of the window; a service may return more than it was asked for."""
    return tuple(deal for deal in deals if window.from_msc <= deal.time_msc < window.to_msc)


def _keys(page: DealPage) -> list[tuple[int, int]]:
    if page.is_paired:
        return [(pair.close_msc, pair.ticket) for pair in page.paired]
    return [(deal.time_msc, deal.deal_ticket) for deal in page.deals]


def _has_drifted(reading: Reading, page: DealPage, keys: Sequence[tuple[int, int]]) -> bool:
    """Whether the pages do not fit together: another total, or a row that belongs before the last page's end."""
    if None not in (reading.total, page.total) and reading.total != page.total:
        return True
    return not page.is_paired and reading.last is not None and bool(keys) and min(keys) < reading.last


def _earlier(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else min(one, other)


# --- the watermark and gaps -------------------------------------------------------------------------------------------


@frozen
class Gap:
    """The oldest open gap of an account, and by how much its money was off then."""

    opened_at: datetime
    amount: Decimal | None = None


@frozen
class Proof:
    """What a run brought of history. ``check`` None: info did not come, nothing was checked.

    ``gap``: the oldest gap that stays open after this run, of whatever cause.
    """

    reading: Reading
    check: CashCheck | None
    gap: Gap | None = None


def watermark(state: AccountState, proof: Proof, now: datetime) -> int | None:
    """``history_until_msc`` after a run: never lower, never past a missing page, an unproven answer or a young gap."""
    until, reached = state.history_until_msc, proof.reading.proven_msc
    if reached is None or proof.check is None:
        return until
    if proof.gap is not None and not is_older(proof.gap.opened_at, now, GAP_HOLDS_HOURS):
        return until
    if proof.check.result is CashResult.GAP and (proof.gap is None or not state.opening_proven):
        return until
    return reached if until is None else max(until, reached)


@frozen
class CashStep:
    """What a cash check changes in the account's state. ``opens``, ``closes``: a row of ``history_gaps`` of cause ``cash``."""

    cash_state: CashState
    cash_gap_runs: int
    opens: bool = False
    closes: bool = False
    reanchors: bool = False


def after_check(state: AccountState, check: CashCheck, previous: Gap | None) -> CashStep:
    """The next step after a check. ``previous``: the open cash gap before it, its ``amount`` that of the last check.

    A gap is read again over 7 days, 30 days, everything stored. One of another amount starts over. The same gap after all
    three: a history without a proven beginning is anchored anew, a proven one keeps its gap.
    """
    if check.result is CashResult.UNAVAILABLE:
        return CashStep(cash_state=CashState.UNAVAILABLE, cash_gap_runs=0, closes=previous is not None)
    if check.result is not CashResult.GAP:
        return CashStep(cash_state=CashState.OK, cash_gap_runs=0, closes=previous is not None)
    if previous is None or previous.amount != check.gap:
        return CashStep(cash_state=CashState.GAP, cash_gap_runs=1, opens=previous is None)
    runs = state.cash_gap_runs
    if runs < GAP_RUNS_MAX:
        return CashStep(cash_state=CashState.GAP, cash_gap_runs=runs + 1)
    if state.opening_proven:
        return CashStep(cash_state=CashState.GAP, cash_gap_runs=GAP_RUNS_MAX + 1)
    return CashStep(cash_state=CashState.OK, cash_gap_runs=0, closes=True, reanchors=True)
