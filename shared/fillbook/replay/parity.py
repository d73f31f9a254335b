"""Parity: the day that live decided, decided again from what live saw, must come out the same to the last digit.

A parity run takes the receipts live decided, starts where live started, sees the account facts live's limits saw and, receipt
by receipt, the profile live decided under; what then differs is the code, or somebody changed what was stored. It covers every
minute of the trading day. On the day itself it goes as far as no receipt can still be decided (a price lives fifteen minutes);
the next call finishes what came later. Both books only grow, so a second call on the same day compares the same again.
Source: replay.md 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

from fillbook.calendar import NEW_YORK, calendar
from fillbook.ledger import service as ledger
from fillbook.ledger.ids import derived
from fillbook.replay import calls, runs, store
from fillbook.replay.asked import CURSOR_LIMIT, Asked, asked
from fillbook.replay.comparing import compare_runs
from fillbook.replay.model import ANY_SCRIPT, LIVE_BOOK, Comparison, FactsFrom, Inputs, Run, RunKind, RunStatus, SessionKind
from fillbook.replay.runs import Desk
from fillbook.replay.service import Limits
from fillbook.runtime import logs
from fillbook.runtime.clock import monotonic
from fillbook.runtime.db import Tx
from fillbook.runtime.errors import Unavailable

LIVE_AGE_MINUTES: Final = 15  # signals.md 2.1: an older price is never decided
STEPS_MAX: Final = 1_000
_SCOPE: Final[Mapping[str, str]] = {
    "session": SessionKind.ALL,
    "inputs": Inputs.AS_DECIDED,
    "start": "live",
    "facts": FactsFrom.RECORDED,
    "scriptVersion": ANY_SCRIPT,
}


def check_parity(desk: Desk, day: date | None, now: datetime, *, limits: Limits, deadline: float) -> tuple[Comparison, ...]:
    """Run a session date as live decided it (none given: today's, after finishing the one before) and compare with live.

    A holiday has nothing to compare. ``deadline``: monotonic seconds; a run that is not through by then goes on with the next
    call (``Unavailable('parity_unfinished')``). A difference is logged as ERROR ``parity_broken``.
    """
    days = (day,) if day is not None else _due(desk, now)
    return tuple(_checked(desk, one, now, limits, deadline) for one in days)


def run_id_of(day: date) -> str:
    """The parity run of a session date."""
    return derived("replay_parity", day.isoformat())


def _due(desk: Desk, now: datetime) -> tuple[date, ...]:
    """Today's session, and the one before when its run has still something to do."""
    today = now.astimezone(NEW_YORK).date()
    if calendar().session(today) is None:
        return ()
    before = calendar().previous_session(today).date

    def is_unfinished(tx: Tx) -> bool:
        held = store.find(tx, run_id_of(before), None)
        return held is not None and held.run.status is not RunStatus.DONE

    return (before, today) if desk.db.run(is_unfinished, read_only=True) else (today,)


def _checked(desk: Desk, day: date, now: datetime, limits: Limits, deadline: float) -> Comparison:
    settled = now - timedelta(minutes=LIVE_AGE_MINUTES)
    run = _found_or_made(desk, day, now)
    _work(desk, run, day, settled, limits, deadline)
    found = compare_runs(desk.db, run.run_id, LIVE_BOOK, day=day, now=settled, unfinished=True)
    _tell(found, day)
    return found


def _found_or_made(desk: Desk, day: date, now: datetime) -> Run:
    """The day's parity run; one that other code began is begun anew, because it is this code that is asked about."""

    def work(tx: Tx) -> Run:
        held = store.find(tx, run_id_of(day), None)
        if held is not None and held.run.pins.code_version == desk.code_version and held.run.status is not RunStatus.FAILED:
            return held.run
        if held is not None:
            runs.remove(tx, held.run.run_id)
        wanted = _asked(day, now, run=run_id_of(day))
        made = runs.make(wanted, desk, kind=RunKind.PARITY, created_by="parity", now=now)
        return runs.create(tx, desk, made, now, status=RunStatus.PAUSED, require_complete=False)

    return ledger.run(desk.db, work)


def _work(desk: Desk, run: Run, day: date, now: datetime, limits: Limits, deadline: float) -> None:
    after = ""
    for _ in range(STEPS_MAX):
        wanted = _asked(day, now, run=run.run_id, after=after, limit=CURSOR_LIMIT[1])
        answer = calls.process(desk, wanted, created_by="parity", now=now, limits=limits, deadline=deadline)
        if not answer.has_more:
            return
        after = answer.after or ""
        if monotonic() > deadline:
            break
    raise Unavailable("parity_unfinished", f"the parity run of {day} goes on with the next call")


def _asked(day: date, now: datetime, **given: Any) -> Asked:
    return asked({}, {**_SCOPE, "date": day.isoformat(), **given}, now)


def _tell(found: Comparison, day: date) -> None:
    """One line a day: INFO when nothing differs, else ERROR with the counts and the first difference."""
    log = logs.get("replay")
    if found.identical:
        log.info("parity_held", date=day, comparison_id=found.comparison_id, decided=found.totals_a.decided)
        return
    first = found.divergences[0]
    log.error(
        "parity_broken",
        date=day,
        comparison_id=found.comparison_id,
        run_id=found.a,
        divergent=len(found.divergences),
        tickers=found.tickers,
        positions_different=found.positions["different"],
        first_ticker=first.ticker,
        first_ts=first.ts,
        first_field=first.field,
        first_cause=first.cause.value,
    )
