"""One page of a run in one transaction: read in order, settle in memory, write set-based, say where the run stands.

The bucket route and the job call ``work_page`` alike: a client's loop and a task's loop are one algorithm, with HTTP in between
or without. Whoever calls holds the run's row lock, so a run has one writer. Everything a page did is committed with the place it
ended at, or nothing of it. Nothing is told to anybody. Source: replay.md 3.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from typing import Final

from fillbook.calendar import calendar
from fillbook.ledger import bookstore
from fillbook.ledger import service as ledger
from fillbook.ledger.model import Action, Fill
from fillbook.ledger.words import FILLS_MAX, INSTRUMENTS_MAX
from fillbook.replay import inputstore, store
from fillbook.replay.buckets import ReplayDay, bucket_of, replay_day
from fillbook.replay.cursors import Cursor, before, cursor_of
from fillbook.replay.hashing import NOTHING, end_hash, run_input_digest
from fillbook.replay.model import FactsFrom, Run, RunKind, RunStatus
from fillbook.replay.progress import Progress, Tally
from fillbook.replay.runbook import RunBook
from fillbook.replay.store import Held
from fillbook.replay.walk import Arrival, Page, Walk
from fillbook.runtime import clock
from fillbook.runtime.db import Tx
from fillbook.signal import intents
from fillbook.signal import store as signal_store
from fillbook.signal.profile import Profile
from fillbook.signal.state import state_from_json
from fillbook.values import frozen

DECISIONS_MAX: Final = 1_000  # rows of one document
TIME_CHECK_ROWS: Final = 64


@frozen
class Limits:
    """What a page and a book may hold."""

    tickers_max: int = 2_000
    body_bytes_max: int = 8_388_608


@frozen
class Turn:
    """What one page did. ``next_place`` is the next receipt of the stretch that is left, ``None`` when there is none."""

    held: Held
    page: Page
    last: Cursor | None
    next_place: Cursor | None


def load_walk(tx: Tx, held: Held, profile: Profile, tickers: Iterable[str], day: date, limits: Limits) -> Walk:
    """Everything the next receipt is decided from, as it stands in the database; the book's tickers are locked."""
    book_id = held.run.book_id
    walk = Walk(book_id, profile, tickers_max=limits.tickers_max)
    (document,) = tx.call(signal_store.page_call(book_id, tickers))
    loaded = signal_store.page_of(document)
    names = [one.ticker for one in loaded]
    (books,) = tx.call(ledger.load_call(book_id, names, with_totals=True, session_date=day))
    state = ledger.read_state(books)
    walk.plans = {one.ticker: one.plan for one in loaded if one.plan is not None}
    origin = "history" if held.run.kind is RunKind.CATCH_UP else "live"
    walk.book = RunBook(state, walk.plans, profile, walk.vix, day=day, origin=origin)
    for one in loaded:
        position = intents.position_facts(walk.book.position(one.ticker), one.plan)
        walk.remember(one.ticker, one.version, state_from_json(one.state, position))
    return walk


def meet(tx: Tx, walk: Walk, tickers: Iterable[str]) -> None:
    """Make rows for tickers that a walk kept in memory has not met."""
    new = sorted({*tickers} - walk.states.keys())
    if new:
        (document,) = tx.call(signal_store.page_call(walk.book_id, new))
        for one in signal_store.page_of(document):
            if one.ticker not in walk.states:
                walk.remember(one.ticker, one.version, state_from_json(one.state))


def upcoming(
    tx: Tx, run: Run, now: datetime, rows_max: int, limits: Limits
) -> tuple[ReplayDay | None, list[Arrival], Cursor | None]:
    """The day that has receipts left, up to ``rows_max`` of them, and the place after them; no day: nothing is left."""
    for session in calendar().sessions(run.scope.date_from, run.scope.date_to):
        day = replay_day(session.date, run.scope.session, now)
        cursor = before(day.start) if run.cursor is None else cursor_of(run.cursor)
        if cursor.ts >= day.end:
            continue
        if cursor.ts < day.start:
            cursor = before(day.start)
        wanted = inputstore.window(run.scope, run.pins.inputs, day.start, day.settled)
        found = inputstore.arrivals(tx, wanted, cursor, rows_max + 1, body_bytes_max=limits.body_bytes_max)
        if found:
            return day, found[:rows_max], found[rows_max].place if len(found) > rows_max else None
    return None, [], None


def work_page(
    tx: Tx,
    held: Held,
    walk: Walk,
    arrivals: Sequence[Arrival],
    next_place: Cursor | None,
    now: datetime,
    *,
    deadline: float | None = None,
) -> Turn:
    """Settle receipts and write what came of them.

    ``deadline``: monotonic seconds at which a page ends before its end. Raises ``Rejected`` (``too_many_tickers``,
    ``checkpoint_too_large``); nothing is stored then.
    """
    assert walk.book is not None
    run = held.run
    receipts = [arrival.receipt for arrival in arrivals]
    if run.pins.facts is FactsFrom.RECORDED:
        walk.book.recorded = inputstore.recorded_facts(tx, receipts)
    if run.kind is RunKind.PARITY:
        walk.profiles = inputstore.recorded_profiles(tx, receipts)
    walk.book.late = late_bookings(tx, walk, now)
    opened = walk.book.opened
    page = Page()
    steps = _Steps(held, walk, page, now)
    done = 0
    with _uncollected():
        for arrival in arrivals:
            if deadline is not None and done and done % TIME_CHECK_ROWS == 0 and clock.monotonic() > deadline:
                next_place = arrival.place
                break
            steps.take(arrival)
            done += 1
        steps.end(None if next_place is None else bucket_of(next_place.ts))
    write_page(tx, walk, page, now)
    last = arrivals[done - 1].place if done else None
    held = replace(
        held,
        progress=None if steps.tally is None else steps.tally.progress,
        run=replace(
            run,
            status=RunStatus.PAUSED if run.status is RunStatus.PLANNED else run.status,
            cursor=run.cursor if last is None else last.text,
            rows=run.rows + page.decided,
            conflicts=run.conflicts + page.conflicts,
            trades_created=run.trades_created + walk.book.opened - opened,
            result_hash=steps.result_hash,
        ),
    )
    return Turn(held=held, page=page, last=last, next_place=next_place)


@contextmanager
def _uncollected() -> Iterator[None]:
    """A page makes a million values and no cycle among them: the collector would look through all of them for nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Steps:
    """The receipts of a page, bucket after bucket."""

    def __init__(self, held: Held, walk: Walk, page: Page, now: datetime) -> None:
        self.tally = None if held.progress is None else Tally(held.progress)
        self.result_hash = held.run.result_hash or NOTHING
        self._run_id = held.run.run_id
        self._walk = walk
        self._page = page
        self._now = now

    def take(self, arrival: Arrival) -> None:
        bucket = bucket_of(arrival.receipt.ts)
        if self.tally is not None and self.tally.bucket != bucket:
            self.close()
        if self.tally is None:
            self.tally = Tally(Progress(bucket=bucket))
        self._walk.take(arrival, self._page, self.tally)

    def end(self, next_bucket: int | None) -> None:
        """The page ends; its last bucket does where the next receipt is of another one."""
        if self.tally is not None:
            self._walk.write_out(self._page, self.tally, self._now)
            if self.tally.bucket != next_bucket:
                self.close()

    def close(self) -> None:
        """The bucket is behind the run: its hash joins the chain, its checkpoint is kept."""
        if self.tally is not None:
            self._walk.write_out(self._page, self.tally, self._now)
            progress = self.tally.progress
            self.result_hash = progress.closes(self.result_hash)
            self._page.checkpoints.append(self._walk.checkpoint(self._run_id, progress, self.result_hash, self._now))
            self.tally = None


def write_page(tx: Tx, walk: Walk, page: Page, now: datetime) -> None:
    """Write what a page gathered: fills in as few calls as the ledger takes, then rows, marks and checkpoints."""
    assert walk.book is not None
    tell_ledger(tx, walk, now)
    if page.marks:
        ledger.mark(tx, walk.book_id, page.marks, now)
    rows = page.document(walk, now)
    decisions = rows.pop("decisions", [])
    for start in range(0, len(decisions), DECISIONS_MAX):
        tx.send(signal_store.apply_call({"decisions": decisions[start : start + DECISIONS_MAX]}))
    if rows:
        tx.send(signal_store.apply_call(rows))
    store.put_checkpoints(tx, page.checkpoints)
    for ticker, final in page.finals.items():
        walk.stored[ticker] = final.state.version
    walk.book.written()


def tell_ledger(tx: Tx, walk: Walk, now: datetime) -> None:
    """Book for real what the page booked in memory; both are one pure function, so a difference is a bug."""
    book = walk.book
    assert book is not None
    written: list[Action] = []
    for fills in _calls(book.fills):
        outcomes = ledger.book_fills(tx, walk.book_id, fills, now)
        written += [version.action for outcome in outcomes for version in outcome.actions]
    if written != book.actions:
        raise RuntimeError(f"the ledger booked otherwise than the page of {walk.book_id} did")
    book.fills, book.actions = [], []


def _calls(fills: Sequence[Fill]) -> list[list[Fill]]:
    """Fills in the order given, cut where the ledger's limits are."""
    calls: list[list[Fill]] = []
    named: set[str] = set()
    for fill in fills:
        if not calls or len(calls[-1]) == FILLS_MAX or (len(named) == INSTRUMENTS_MAX and fill.instrument not in named):
            calls.append([])
            named = set()
        calls[-1].append(fill)
        named.add(fill.instrument)
    return calls


def late_bookings(tx: Tx, walk: Walk, now: datetime) -> Callable[[list[Fill]], list[Action]]:
    """For fills that sort before what their instrument has: the ledger folds them in by itself, and the book is read again."""

    def book_late(fills: list[Fill]) -> list[Action]:
        book = walk.book
        assert book is not None
        tell_ledger(tx, walk, now)
        outcomes = ledger.book_fills(tx, walk.book_id, fills, now)
        names = sorted({*walk.states, *(fill.instrument for fill in fills)})
        day = fills[0].session_date
        (books,) = tx.call(ledger.load_call(walk.book_id, names, with_totals=True, session_date=day))
        book.reload(ledger.read_state(books), day)
        own = {fill.fill_id for fill in fills}
        return [version.action for outcome in outcomes for version in outcome.actions if version.action.fill_id in own]

    return book_late


def finish(tx: Tx, held: Held, now: datetime) -> Held:
    """A run whose scope is behind it: digest of its inputs, hash of its book; the same again must have ended the same."""
    run = held.run
    digests = [(row["bucket"], row["input_digest"]) for row in store.checkpoints(tx, run.run_id)]
    run = replace(
        run,
        status=RunStatus.DONE,
        input_digest=run_input_digest(digests),
        state_hash=bookstore.book_state_hash(tx, run.book_id),
        finished_at=now,
    )
    if held.earlier is not None and _contradicts(held.earlier, ending(run)) and not run.ticker_pass:
        run = replace(run, status=RunStatus.FAILED, error="not_deterministic")
    return replace(held, run=run)


def _contradicts(earlier: Mapping[str, str | None], now: Mapping[str, str | None]) -> bool:
    """Whether the same led to something else."""
    return earlier["hash"] != now["hash"] and {**earlier, "hash": None} == {**now, "hash": None}


def ending(run: Run) -> dict[str, str | None]:
    """How a finished run ended, and from what."""
    return {"input_digest": run.input_digest, "hash": shown_hash(run, None), "code_version": run.pins.code_version}


def shown_hash(run: Run, progress: Progress | None) -> str:
    """The hash to show: of everything decided so far, with the book once the run is done."""
    result_hash = run.result_hash or NOTHING
    if progress is not None:
        return progress.closes(result_hash)
    return result_hash if run.state_hash is None else end_hash(result_hash, run.state_hash)
