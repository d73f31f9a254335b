"""Taking a run back: clean slate of a day or of a ticker, and what changed among the receipts since a bucket was decided.

Only ever in the run's own book. The signal side returns to the checkpoint before the first bucket that goes; the ledger side is
emptied and what stays is booked again in order, so that its chain stays whole. Receipts are never touched.
Source: replay.md 4 and 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from fillbook.calendar import calendar
from fillbook.ledger import bookstore
from fillbook.ledger import service as ledger
from fillbook.ledger.model import Fill, FillVersion, Mark
from fillbook.ledger.words import FILLS_MAX
from fillbook.replay import inputstore, opening, service, store
from fillbook.replay.buckets import ReplayDay
from fillbook.replay.cursors import before
from fillbook.replay.hashing import Remembered, unpacked
from fillbook.replay.inputstore import Window
from fillbook.replay.model import Checkpoint, Run, RunStatus
from fillbook.replay.store import Held
from fillbook.runtime.db import Tx
from fillbook.signal.intents import SOURCE
from fillbook.signal.receipt import instant

ONE_DAY: Final = timedelta(days=1)
END_OF_TIME: Final = 253_402_300_799_000  # 9999-12-31


def changed_buckets(tx: Tx, run: Run, scope: Window) -> list[int]:
    """Buckets behind the run whose receipts are not those that were handled, ascending."""
    there = inputstore.buckets(tx, scope)
    kept = {row["bucket"]: row["input_digest"] for row in store.checkpoints(tx, run.run_id)}
    last = max(kept, default=-1)
    return sorted(
        bucket
        for bucket in there.keys() | kept.keys()
        if scope.since <= bucket < scope.until and bucket <= last and (there.get(bucket) or (0, None))[1] != kept.get(bucket)
    )


def going(tx: Tx, run: Run, start: int, ticker: str | None) -> dict[str, int]:
    """What a clean slate from ``start`` on would purge: decisions of one ticker or all, fills, positions opened."""
    alone = ticker if run.scope.ticker is None else None
    purged = inputstore.acting_receipts(tx, run.book_id, start, alone)
    gone, _ = split(tx, run, purged)
    positions = inputstore.entries_of(tx, run.book_id, [fill.fill_id for fill in gone]) if gone else 0
    return {"decisions": inputstore.decided(tx, run.book_id, start, alone), "fills": len(gone), "positions": positions}


def clean_slate(tx: Tx, held: Held, day: ReplayDay, ticker: str | None, now: datetime) -> tuple[Held, int]:
    """Purge the day, and every later date of the run, from its book; returns the run and how many positions went.

    A ticker of a run of all tickers goes alone: it is run again by itself, and the run is marked for it.
    """
    run = held.run
    if run.cursor is None:
        return held, 0
    if ticker is not None and run.scope.ticker is None:
        return _cut_ticker(tx, held, day, ticker, now)
    earlier = service.ending(run) if run.status is RunStatus.DONE else held.earlier
    return cut(tx, replace(held, earlier=earlier), day.start, now, day=day)


def _cut_ticker(tx: Tx, held: Held, day: ReplayDay, ticker: str, now: datetime) -> tuple[Held, int]:
    run = held.run
    rows = inputstore.decided(tx, run.book_id, day.start, ticker)
    gone, stays = split(tx, run, inputstore.acting_receipts(tx, run.book_id, day.start, ticker))
    count = inputstore.entries_of(tx, run.book_id, [fill.fill_id for fill in gone]) if gone else 0
    memories, _ = memories_before(tx, run, day.start)
    alone = {ticker: memories[ticker]} if ticker in memories else {}
    marks = kept_marks(tx, run, day.start, END_OF_TIME, ticker)
    opening.restore(tx, run, alone, from_ts=day.start, snapshots_from=day.date, ticker=ticker)
    rebook(tx, run, stays, now)
    ledger.mark(tx, run.book_id, marks, now)
    run = replace(
        run,
        status=RunStatus.PAUSED,
        rows=run.rows - rows,
        trades_created=run.trades_created - count,
        trades_purged=run.trades_purged + count,
        ticker_pass=True,
        state_hash=None,
        finished_at=None,
    )
    return replace(held, run=run, pass_ticker=ticker, pass_cursor=before(day.start).text, earlier=None), count


def cut(tx: Tx, held: Held, start: int, now: datetime, *, day: ReplayDay | None = None) -> tuple[Held, int]:
    """Everything from ``start`` on goes; the run stands where it stood before it. Also returns how many positions went.

    ``day``: the session date that goes with it from its beginning, so that its snapshots go too.
    """
    run = held.run
    purged = inputstore.acting_receipts(tx, run.book_id, start, None)
    memories, checkpoint = memories_before(tx, run, start)
    gone, stays = split(tx, run, purged)
    count = inputstore.entries_of(tx, run.book_id, [fill.fill_id for fill in gone]) if gone else 0
    rows = store.checkpoints(tx, run.run_id)
    marks = kept_marks(tx, run, start, END_OF_TIME)
    snapshots_from = calendar().trading_day(instant(start)) + ONE_DAY if day is None else day.date
    opening.restore(tx, run, memories, from_ts=start, snapshots_from=snapshots_from)
    rebook(tx, run, stays, now)
    ledger.mark(tx, run.book_id, marks, now)
    store.cut_checkpoints(tx, run.run_id, start)
    kept = [row for row in rows if row["bucket"] < start]
    run = replace(
        run,
        status=RunStatus.PAUSED,
        cursor=before(start).text if kept else None,
        rows=sum(row["rows"] for row in kept),
        conflicts=sum(row["conflicts"] for row in kept),
        trades_created=run.trades_created - count,
        trades_purged=run.trades_purged + count,
        result_hash=checkpoint.result_hash if checkpoint is not None else None,
        state_hash=None,
        input_digest=None,
        finished_at=None,
        error=None,
    )
    return replace(held, run=run, progress=None), count


def memories_before(tx: Tx, run: Run, start: int) -> tuple[Mapping[str, Remembered], Checkpoint | None]:
    """What was remembered of each ticker when ``start`` began, and the checkpoint that says so."""
    checkpoint = store.checkpoint_before(tx, run.run_id, start)
    if checkpoint is None:
        return opening.beginning(tx, run).memories, None
    return unpacked(checkpoint.states), checkpoint


def split(tx: Tx, run: Run, purged: set[str]) -> tuple[list[Fill], list[Fill]]:
    """The book's fills that came of these receipts, and those that did not, both in the order they were booked in."""
    gone: list[Fill] = []
    stays: list[Fill] = []
    for version in bookstore.journal(tx, run.book_id):
        assert isinstance(version, FillVersion), "a replay book has no splits of its own"
        fill = version.fill
        came_of = fill.source_id.partition("#")[0] if fill.source == SOURCE and fill.origin != "history" else None
        (gone if came_of in purged else stays).append(fill)
    return gone, stays


def kept_marks(tx: Tx, run: Run, since: int, until: int, ticker: str | None = None) -> list[Mark]:
    """Marks of the book outside a stretch that goes; ``ticker``: whose marks go altogether."""
    rows = tx.query(store.QUERIES["marks_kept"], book_id=run.book_id, since=instant(since), until=instant(until), ticker=ticker)
    return [Mark(**row) for row in rows]


def rebook(tx: Tx, run: Run, fills: Sequence[Fill], now: datetime) -> None:
    """Empty the run's book and book these fills, in order."""
    ledger.clear_replay_book(tx, run.book_id)
    for start in range(0, len(fills), FILLS_MAX):
        ledger.book_fills(tx, run.book_id, list(fills[start : start + FILLS_MAX]), now)
