"""Only what must be decided again: from the first bucket whose receipts changed to where the states meet what they were.

Everything before the first changed bucket is kept. What follows is decided in memory from the checkpoint before it; as soon as a
bucket ends in the same states as before and no later receipts changed, the rest is kept too, and only the counts that run through
it are moved on. Where the stretch reaches the end of the run instead, it takes the place of everything from its beginning on.
Where neither happens within ``STRETCH_ROWS`` the run is taken back and walked on page by page. Either way the end is that of a
full run. One transaction. Source: replay.md 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from fillbook.calendar import calendar
from fillbook.ledger import service as ledger
from fillbook.ledger.state import LedgerState
from fillbook.replay import inputstore, opening, rewinding, runs, service, store
from fillbook.replay.buckets import BUCKET_MS, ReplayDay, bucket_of, replay_day
from fillbook.replay.cursors import Cursor, before
from fillbook.replay.hashing import NOTHING, Remembered, chained, memory_text, packed, unpacked
from fillbook.replay.model import Checkpoint, FactsFrom, Run, RunStatus
from fillbook.replay.progress import Progress, Tally
from fillbook.replay.runbook import RunBook, unused
from fillbook.replay.runs import Desk
from fillbook.replay.service import Limits
from fillbook.replay.store import QUERIES, Held
from fillbook.replay.walk import Arrival, Page, Walk
from fillbook.runtime.db import Call, Tx
from fillbook.signal import intents
from fillbook.signal import store as signal_store
from fillbook.signal.receipt import instant
from fillbook.signal.sessions import session_date
from fillbook.signal.state import state_from_json

STRETCH_ROWS: Final = 10_000


def decide_again(tx: Tx, desk: Desk, held: Held, now: datetime, limits: Limits) -> Held:
    """Bring a run up to the receipts that are stored now; under other code all of it is decided again.

    What is left to walk afterwards is walked by the page loop.
    """
    run = held.run
    if desk.code_version != run.pins.code_version:
        pins = replace(run.pins, code_version=desk.code_version)
        first = replay_day(calendar().sessions(run.scope.date_from, run.scope.date_to)[0].date, run.scope.session, now)
        held, _ = rewinding.cut(tx, replace(held, run=replace(run, pins=pins, accepted_code=())), first.start, now, day=first)
        return _kept(tx, held, now)
    changed = [bucket for day in _days(run, now) for bucket in rewinding.changed_buckets(tx, run, _scope(run, day))]
    if not changed:
        return held
    stretch = _Stretch(tx, held, min(changed), max(changed), now, limits)
    stretch.decide()
    if stretch.has_met:
        return _kept(tx, stretch.replaced(), now)
    if stretch.is_at_end:
        return _kept(tx, stretch.appended(), now)
    held, _ = rewinding.cut(tx, held, min(changed), now)
    return _kept(tx, held, now)


def _kept(tx: Tx, held: Held, now: datetime) -> Held:
    held = replace(held, run=replace(held.run, status=RunStatus.RUNNING))
    store.put(tx, held, now, seconds=0)
    return held


def _days(run: Run, now: datetime) -> Iterator[ReplayDay]:
    for session in calendar().sessions(run.scope.date_from, run.scope.date_to):
        yield replay_day(session.date, run.scope.session, now)


def _scope(run: Run, day: ReplayDay) -> inputstore.Window:
    return inputstore.window(run.scope, run.pins.inputs, day.start, day.settled)


@dataclass(slots=True)
class _Met:
    """How far it went: the last bucket that was decided again, its last receipt, and the run's hash after it."""

    bucket: int = -1
    last: Cursor | None = None
    result_hash: str = NOTHING
    page: Page = field(default_factory=Page)


class _Stretch:
    """The buckets that are decided again, in memory."""

    def __init__(self, tx: Tx, held: Held, first: int, last_changed: int, now: datetime, limits: Limits) -> None:
        self._tx, self._held, self._now, self._limits = tx, held, now, limits
        self._run = held.run
        self._first, self._last_changed = first, last_changed
        self._stored = {row["bucket"]: row for row in store.checkpoints(tx, held.run.run_id)}
        self._met = _Met()
        memories, checkpoint = rewinding.memories_before(tx, held.run, first)
        self._memories: Mapping[str, Remembered] = memories
        self._met.result_hash = NOTHING if checkpoint is None else checkpoint.result_hash
        self._walk = self._walk_from(memories)
        self.has_met = False

    @property
    def is_at_end(self) -> bool:
        """Whether everything the run had decided from the first change on is decided again."""
        return self._held.progress is None and self._met.bucket == max(self._stored)

    def _walk_from(self, memories: Mapping[str, Remembered]) -> Walk:
        """The run as it stood before the stretch: memories of the checkpoint, the book folded from the fills that stay."""
        run, profile = self._run, runs.profile_of(self._run)
        walk = Walk(run.book_id, profile, tickers_max=self._limits.tickers_max)
        purged = inputstore.acting_receipts(self._tx, run.book_id, self._first, None)
        _, self._before = rewinding.split(self._tx, run, purged)
        walk.plans = {name: signal_store.plan_row(memory.plan) for name, memory in memories.items() if memory.plan is not None}
        day = session_date(self._first, profile.trading)
        walk.book = RunBook(self._unused_book(), walk.plans, profile, walk.vix, day=day)
        for fill in self._before:
            walk.book.apply(fill)
        walk.book.opened = 0
        for name, memory in memories.items():
            position = intents.position_facts(walk.book.position(name), walk.plans.get(name))
            walk.remember(name, memory.version, state_from_json(memory.state, position))
        return walk

    def _unused_book(self) -> LedgerState:
        return unused(ledger.read_state(self._tx.call(ledger.load_call(self._run.book_id, []))[0]))

    def decide(self) -> None:
        """Decide until the states meet, the run's end is reached, or a transaction should hold no more rows."""
        cursor = before(self._first)
        for day in _days(self._run, self._now):
            if day.settled <= self._first:
                continue
            scope = _scope(self._run, day)
            while places := inputstore.places(self._tx, scope, cursor, 1):
                bucket = bucket_of(places[0].ts)
                arrivals = inputstore.arrivals(
                    self._tx,
                    replace(scope, until=bucket + BUCKET_MS),
                    cursor,
                    STRETCH_ROWS,
                    body_bytes_max=self._limits.body_bytes_max,
                )
                if self._page.decided + len(arrivals) > STRETCH_ROWS:
                    return
                self._bucket(bucket, arrivals)
                if self.has_met or self.is_at_end:
                    return
                cursor = arrivals[-1].place

    @property
    def _page(self) -> Page:
        return self._met.page

    def _bucket(self, bucket: int, arrivals: list[Arrival]) -> None:
        """Decide one bucket; the states have met when it ends where it ended before and nothing after it changed."""
        book = self._walk.book
        assert book is not None
        if self._run.pins.facts is FactsFrom.RECORDED:
            book.recorded = inputstore.recorded_facts(self._tx, [arrival.receipt for arrival in arrivals])
        tally = Tally(Progress(bucket=bucket))
        for arrival in arrivals:
            self._walk.take(arrival, self._page, tally)
        self._walk.write_out(self._page, tally, self._now)
        progress = tally.progress
        self._met.bucket, self._met.last = bucket, arrivals[-1].place
        self._met.result_hash = progress.closes(self._met.result_hash)
        checkpoint = self._walk.checkpoint(self._run.run_id, progress, self._met.result_hash, self._now)
        self._page.checkpoints.append(checkpoint)
        stored = self._stored.get(bucket)
        is_same = stored is not None and stored["state_digest"] == checkpoint.state_digest
        self.has_met = is_same and bucket >= self._last_changed

    def appended(self) -> Held:
        """Nothing follows the stretch: the run is taken back to where it begins, and the stretch is its next page."""
        tx, page, book = self._tx, self._page, self._walk.book
        assert book is not None
        assert self._met.last is not None
        held, _ = rewinding.cut(tx, self._held, self._first, self._now)
        new = page.finals.keys() - self._memories.keys()
        if new:
            tx.call(signal_store.page_call(self._run.book_id, new))
        service.write_page(tx, self._walk, page, self._now)
        run = held.run
        return replace(
            held,
            run=replace(
                run,
                cursor=self._met.last.text,
                rows=run.rows + page.decided,
                conflicts=run.conflicts + page.conflicts,
                trades_created=run.trades_created + book.opened,
                result_hash=self._met.result_hash,
            ),
        )

    def replaced(self) -> Held:
        """Write the stretch in the place of what was there; what follows it stays and counts on."""
        tx, run, page = self._tx, self._run, self._page
        end = self._met.bucket + BUCKET_MS
        book = self._walk.book
        assert book is not None
        shifts = self._shifts(end)
        open_plans = [plan.position_id for plan in self._walk.plans.values()]
        standing = tx.query(QUERIES["plans_now"], book_id=run.book_id, ids=open_plans)
        later = inputstore.acting_receipts(tx, run.book_id, end, None)
        after, _ = rewinding.split(tx, run, later)
        created = self._created(end)
        marks = rewinding.kept_marks(tx, run, self._first, end)
        opening.restore(tx, run, self._memories, from_ts=self._first, snapshots_from=None, until=end)
        rewinding.rebook(tx, run, [*self._before, *book.fills, *after], self._now)
        ledger.mark(tx, run.book_id, [*marks, *page.marks], self._now)
        rows = page.document(self._walk, self._now)
        del rows["states"]
        tx.send(signal_store.apply_call(rows))
        self._count_on(shifts, standing, end)
        store.put_checkpoints(tx, page.checkpoints)
        return replace(self._held, run=self._ended(created + book.opened))

    def _shifts(self, end: int) -> dict[str, int]:
        """By how many decisions each ticker's stretch grew."""
        span = {"since": instant(self._first), "until": instant(end)}
        had = {row["ticker"]: row["n"] for row in self._tx.query(QUERIES["decisions_in"], book_id=self._run.book_id, **span)}
        has = self._page.counts
        grown = {ticker: has.get(ticker, 0) - had.get(ticker, 0) for ticker in has.keys() | had.keys()}
        return {ticker: shift for ticker, shift in grown.items() if shift}

    def _created(self, end: int) -> int:
        """Positions that were opened outside the stretch."""
        tx, run = self._tx, self._run
        inside = inputstore.acting_receipts(tx, run.book_id, self._first, None) - inputstore.acting_receipts(
            tx, run.book_id, end, None
        )
        gone, _ = rewinding.split(tx, run, inside)
        return run.trades_created - (inputstore.entries_of(tx, run.book_id, [fill.fill_id for fill in gone]) if gone else 0)

    def _count_on(self, shifts: Mapping[str, int], standing: list[dict[str, Any]], end: int) -> None:
        tx, run = self._tx, self._run
        document = {
            "book_id": run.book_id,
            "from": instant(self._first),
            "after": instant(end),
            "snapshots_after": session_date(self._first, self._walk.profile.trading),
            "shifts": [{"ticker": ticker, "shift": shift} for ticker, shift in shifts.items()],
            "plans": standing,
        }
        tx.send(Call("signal.renumber", document))
        for row in tx.query(QUERIES["checkpoint_states"], run_id=run.run_id, bucket=end) if shifts else ():
            states = _shifted(row["states"], shifts)
            tx.execute(QUERIES["checkpoint_restated"], run_id=run.run_id, bucket=row["bucket"], states=states.hex())

    def _ended(self, created: int) -> Run:
        """The run with the stretch in its place: counts, and the hash moved through everything that was kept after it."""
        fresh: dict[int, Checkpoint] = {one.bucket: one for one in self._page.checkpoints}
        kept = {bucket: row for bucket, row in self._stored.items() if bucket not in fresh}
        result_hash, hashes = self._met.result_hash, []
        for bucket in sorted(kept):
            if bucket > self._met.bucket:
                result_hash = chained(result_hash, [f"bucket|{bucket}|{kept[bucket]['bucket_hash']}"])
                hashes.append((bucket, result_hash))
        store.rehash(self._tx, self._run.run_id, hashes)
        unfinished = self._held.progress or Progress(bucket=0)
        counted = [(one.rows, one.conflicts) for one in fresh.values()]
        counted += [(unfinished.rows, unfinished.conflicts)]
        counted += [(row["rows"], row["conflicts"]) for row in kept.values()]
        return replace(
            self._run,
            rows=sum(rows for rows, _ in counted),
            conflicts=sum(conflicts for _, conflicts in counted),
            trades_created=created,
            result_hash=result_hash,
            state_hash=None,
        )


def _shifted(states: bytes, shifts: Mapping[str, int]) -> bytes:
    """The states of a later checkpoint under the counts of decisions that they have now."""
    memories = unpacked(states)
    return packed(
        {name: memory_text(memory.state, memory.plan) for name, memory in memories.items()},
        {name: memory.version + shifts.get(name, 0) for name, memory in memories.items()},
    )
