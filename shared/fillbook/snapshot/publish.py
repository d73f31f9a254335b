"""A call of the publisher: one day, a slot's days or a range, each published for itself, within the time that a call has.

Days are worked in ascending order. One that fails does not stop the others, except where it would be the same with them: views
that break their contract, a database that is away. A block of days shares one refresh. A day that was left in parts is published
again by whatever call comes next. Source: snapshot specification, 4.1, 4.2, 4.8 and 4.9; decision 0050.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import Final

from fillbook.calendar import NEW_YORK, calendar
from fillbook.outbox.service import enqueue, partitions_of
from fillbook.runtime import clock as process_clock
from fillbook.runtime import logs
from fillbook.runtime.errors import Unavailable
from fillbook.snapshot import days as trading_days
from fillbook.snapshot import publications, source, telling
from fillbook.snapshot.asked import Asked, Trigger, days_of
from fillbook.snapshot.model import Slot, Stage, Status, WorkDay
from fillbook.snapshot.outcomes import STOPPERS, DayResult, Outcome
from fillbook.snapshot.publications import Publication
from fillbook.snapshot.publishing import Errand, Ground, publish_day
from fillbook.snapshot.source import ViewContract

CALL_SECONDS: Final = 540
DAY_SECONDS: Final = 240
FINAL_DUE: Final = time(16, 45)
"""New York; a session that has no final publication then is overdue."""

_TURN = threading.Lock()
"""Refreshes of this process wait here, not for its one connection, which is waited for three seconds only."""
_log = logs.get("snapshot")


def publish(ground: Ground, asked: Asked, *, run_id: str, call_seconds: float = CALL_SECONDS) -> Outcome:
    """Do what was asked for. Raises ``Rejected`` for days that cannot be published at all; everything else is in the outcome."""
    begun = process_clock.monotonic()
    wanted = days_of(asked, calendar(), ground.clock.now())
    is_range = asked.trigger is Trigger.BACKFILL
    if not wanted:
        closed = () if is_range else (DayResult(date=asked.first, status=Status.CLOSED),)
        return Outcome(run_id=run_id, results=closed, is_range=is_range)
    torn = () if is_range else _left_in_parts(ground, asked, wanted)
    is_watch = asked.slot is Slot.WATCH
    worked = sorted(torn if is_watch else (*torn, *wanted))
    results = _worked(ground, asked, worked, frozenset(torn), run_id, begun + call_seconds) if worked else []
    if is_watch:
        results.append(_watch(ground, asked, wanted[-1], run_id))
    return Outcome(run_id=run_id, results=tuple(results), is_range=is_range)


def _worked(
    ground: Ground, asked: Asked, wanted: Sequence[date], torn: frozenset[date], run_id: str, end: float
) -> list[DayResult]:
    """A result per day; what is forced is forced for the days that were asked for alone."""
    failed = _broken_views(ground, asked, wanted[0], run_id)
    results = [] if failed is None else [failed]
    unforced = replace(asked, force=(), reason=None)
    for block in trading_days.blocks(wanted[len(results) :]):
        preparation = _Preparation(ground, asked, block, run_id)
        for day in block:
            its = unforced if day in torn else asked
            results.append(_result(ground, its, day, run_id, preparation, results, end))
        preparation.take_away()
    return results


def _left_in_parts(ground: Ground, asked: Asked, wanted: Sequence[date]) -> tuple[date, ...]:
    """Days of the last week that were not asked for and may stand torn; they are worked with whatever is asked."""
    if asked.dry_run or not (asked.refresh or ground.refreshing is None):
        return ()
    today = calendar().trading_day(ground.clock.now())
    with suppress(Unavailable), ground.db.transaction(read_only=True) as tx:
        found = publications.unsettled(tx, today - publications.KEPT_FOR, today)
        return tuple(day for day in found if asked.slot is Slot.WATCH or day not in wanted)
    return ()


def _result(
    ground: Ground,
    asked: Asked,
    day: date,
    run_id: str,
    preparation: _Preparation,
    before: Sequence[DayResult],
    end: float,
) -> DayResult:
    """One day's result; one that no time is left for, or that would only fail again, is not started."""
    now = process_clock.monotonic()
    if now >= end or any(result.status in STOPPERS for result in before):
        return DayResult(date=day, status=Status.NOT_STARTED)
    deadline = min(now + DAY_SECONDS, end)
    return publish_day(ground, Errand(run_id=run_id, asked=asked, date=day, deadline=deadline, prepare=preparation))


class _Preparation:
    """Puts a block of days on the work list and refreshes the views, once, when its first day is worked."""

    def __init__(self, ground: Ground, asked: Asked, block: Sequence[date], run_id: str) -> None:
        self._ground = ground
        self._is_wanted = asked.refresh and ground.refreshing is not None
        self._block = block
        self._run_id = run_id
        self._added: list[WorkDay] = []
        self._is_done = False

    def __call__(self) -> None:
        """Raises ``Unavailable``; the next day then tries again."""
        if self._is_done or not self._is_wanted or self._ground.refreshing is None:
            return
        now = self._ground.clock.now()
        standing = trading_days.standing(now)
        known = {one.report_date for one in standing}
        self._added = [trading_days.plan(day, now) for day in self._block if day not in known]
        source.put_days(self._ground.db, standing, backfill=self._added, run_id=self._run_id)
        with _TURN:
            source.refresh(self._ground.refreshing)
        self._is_done = True

    def take_away(self) -> None:
        """Take days that are no standing ones off the list again; a database that is away has them leave by themselves."""
        if self._added:
            with suppress(Unavailable):
                source.put_days(self._ground.db, trading_days.standing(self._ground.clock.now()), run_id=self._run_id)


# --- before any day ---------------------------------------------------------------------------------------------------


def _broken_views(ground: Ground, asked: Asked, day: date, run_id: str) -> DayResult | None:
    """Step 1: the first day's result where the views cannot be read, told once for the whole call."""
    try:
        source.check_views(ground.db, ground.names)
    except ViewContract as broken:
        result = DayResult(
            date=day, status=Status.VIEW_CONTRACT, problems=broken.problems, detail=f"{len(broken.problems)} problems"
        )
    except Unavailable as error:
        _log.error("snapshot_source_unavailable", run_id=run_id, date=day, reason=error.reason)
        return DayResult(date=day, status=Status.SOURCE_UNAVAILABLE)
    else:
        return None
    _log.error("snapshot_view_contract", run_id=run_id, date=day, paths=[problem.path for problem in result.problems])
    if not asked.dry_run:
        now = ground.clock.now()
        events = telling.ended(run_id, result, None, now)
        with ground.db.transaction() as tx:
            publications.record(tx, Publication(run_id=run_id, asked=asked, started_at=now, finished_at=now), result)
            enqueue(tx, events)
        ground.relay(partitions_of(events))
    return result


# --- the watch --------------------------------------------------------------------------------------------------------


def final_due(day: date) -> datetime:
    """When a session's final figures are due, as a UTC instant."""
    return datetime.combine(day, FINAL_DUE, NEW_YORK).astimezone(UTC)


def _watch(ground: Ground, asked: Asked, day: date, run_id: str) -> DayResult:
    """Look whether the day is published as final, and say so once where it is not and should be."""
    now = ground.clock.now()
    result = DayResult(date=day, status=Status.WATCHED)
    try:
        with ground.db.transaction() as tx:
            if publications.is_duplicate(tx, asked, day):
                return DayResult(date=day, status=Status.DUPLICATE)
            is_overdue = now >= final_due(day) and not publications.is_final(tx, day)
            events = (telling.overdue(run_id, day, final_due(day), now),) if is_overdue else ()
            if is_overdue:
                result = DayResult(date=day, status=Status.WATCHED, detail="overdue")
            publications.record(tx, Publication(run_id=run_id, asked=asked, started_at=now, finished_at=now), result)
            enqueue(tx, events)
    except Unavailable as error:
        _log.error("snapshot_source_unavailable", run_id=run_id, date=day, reason=error.reason)
        return DayResult(date=day, status=Status.SOURCE_UNAVAILABLE)
    _log.info("snapshot_watched", run_id=run_id, date=day, is_overdue=is_overdue, stage=Stage.FINAL)
    ground.relay(partitions_of(events))
    return result
