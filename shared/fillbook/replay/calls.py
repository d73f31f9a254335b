"""The bucket route: one call, one page, of the day or of one bucket of it, from where the run stands.

The position is the run's, never the client's: what a client says is compared with it, and rows it names again are skipped, so a
call may be repeated, lost or sent eight times at once. Everything happens in one transaction under the run's row lock.
Source: replay.md 1 and 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from fillbook.ledger import service as ledger
from fillbook.replay import inputstore, passes, rewinding, runs, service, store
from fillbook.replay.asked import Asked, is_id
from fillbook.replay.buckets import BUCKET_MS, ReplayDay, bucket_of, replay_day
from fillbook.replay.cursors import Cursor, before, cursor_of
from fillbook.replay.inputstore import Window
from fillbook.replay.model import BucketAnswer, Run, RunKind, RunStatus, SessionKind
from fillbook.replay.runs import Desk
from fillbook.replay.service import Limits, Turn
from fillbook.replay.store import Held
from fillbook.replay.walk import Arrival, Page
from fillbook.runtime.clock import monotonic
from fillbook.runtime.db import Tx
from fillbook.runtime.errors import Conflict, Rejected

BUSY_SECONDS: Final = 2


class Explained(Conflict):
    """A conflict with what the caller needs to go on (``expected``, ``expectedBucket``)."""

    def __init__(self, reason: str, detail: str, *, retry_after_seconds: int | None = None, **facts: Any) -> None:
        super().__init__(reason, detail)
        self.facts: Mapping[str, Any] = facts
        self.retry_after_seconds = retry_after_seconds


def busy(run_id: str) -> Explained:
    """Another writer has the run."""
    return Explained("run_busy", f"run {run_id} is worked on", retry_after_seconds=BUSY_SECONDS)


def process(desk: Desk, asked: Asked, *, created_by: str, now: datetime, limits: Limits, deadline: float | None) -> BucketAnswer:
    """Work one page and say where the run stands.

    Raises ``Rejected`` (``no_session``, ``date_in_future``, ``bucket_not_in_day``, ``run_unknown``, ``param``), ``Conflict``
    (``run_differs``, ``gaps``) and ``Explained`` (``run_busy``, ``offset_mismatch``, ``bucket_skipped``).
    """
    day_of(desk, asked, now)
    run = runs.found_or_made(desk, asked, kind=RunKind.BUCKET if asked.bucket else RunKind.DAY, created_by=created_by, now=now)

    def work(tx: Tx) -> BucketAnswer:
        held = store.lock(tx, run.run_id)
        if held is None:
            raise busy(run.run_id)
        return _Call(tx, desk, asked, held, now, limits).answer(deadline)

    return ledger.run(desk.db, work)


def day_of(desk: Desk, asked: Asked, now: datetime) -> ReplayDay:
    """The day that is meant, with the session of the run where there is one; the asked bucket is one of it."""

    def session(tx: Tx) -> SessionKind:
        held = store.find(tx, runs.run_id_of(asked), None)
        if held is None and asked.run is not None and is_id(asked.run):
            raise Rejected("run_unknown", status=404, field="run")
        return asked.session if held is None or "session" in asked.given else held.run.scope.session

    day = replay_day(asked.date, desk.db.run(session, read_only=True), now)
    if asked.bucket is not None:
        day.checked(asked.bucket)
    return day


class _Call:
    """One call on a run that is locked."""

    def __init__(self, tx: Tx, desk: Desk, asked: Asked, held: Held, now: datetime, limits: Limits) -> None:
        self.tx, self.desk, self.asked, self.now, self.limits = tx, desk, asked, now, limits
        self.held = replace(held, run=runs.check_same(held.run, asked, desk))
        self._check_ticker()
        self.day = replay_day(asked.date, held.run.scope.session, now)
        self.purged = 0
        self._created_before = 0

    def _check_ticker(self) -> None:
        """A run of all tickers takes one alone only where it is purged first, or while it is run again."""
        ticker, asked = self.run.scope.ticker, self.asked
        may_pass = ticker is None and (asked.clean_slate or self.held.pass_ticker is not None)
        if "ticker" in asked.given and asked.ticker != ticker and not may_pass:
            raise Conflict("run_differs", f"run {self.run.run_id} has another ticker")

    @property
    def run(self) -> Run:
        return self.held.run

    def answer(self, deadline: float | None) -> BucketAnswer:
        started = monotonic()
        if self.asked.clean_slate:
            self.held, self.purged = rewinding.clean_slate(self.tx, self.held, self.day, self.asked.ticker, self.now)
        elif self.run.status is RunStatus.FAILED:
            raise Conflict("run_failed", f"run {self.run.run_id}: {self.run.error}")
        self._created_before = self.run.trades_created
        if self.held.pass_ticker is not None:
            return self._pass(self.held.pass_ticker, started)
        cursor = self._cursor()
        skipped, room = self._window(cursor)
        chosen, following = self._chosen(cursor, room)
        turn = self._turn(chosen, following, deadline)
        self._put(turn, seconds=monotonic() - started)
        return self._answer(turn, skipped)

    def _pass(self, ticker: str, started: float) -> BucketAnswer:
        """A page of a ticker that is run again alone, as far as the run stands."""
        if self.asked.ticker != ticker:
            raise Explained("pass_open", f"run {self.run.run_id} runs one ticker again", ticker=ticker)
        stands, passed = cursor_of(self.run.cursor or ""), cursor_of(self.held.pass_cursor or "")
        wanted = replace(self._scope(), ticker=ticker, until=max(self.day.start, bucket_of(stands.ts) + BUCKET_MS))
        upcoming = [one for one in self._arrivals(wanted, passed, self.asked.limit + 1) if one.place.key <= stands.key]
        chosen, rest = upcoming[: self.asked.limit], upcoming[self.asked.limit :]
        following = rest[0].place if rest else None
        turn = passes.work_pass(self.tx, self.held, chosen, following, self.day.date, self.now, self.limits)
        self.held = turn.held
        is_over = following is None and not inputstore.places(self.tx, self._scope(), stands, 1)
        self._put(replace(turn, last=None), seconds=monotonic() - started, is_over=is_over)
        return self._answer(turn, 0)

    def _scope(self) -> Window:
        return inputstore.window(self.run.scope, self.run.pins.inputs, self.day.start, self.day.settled)

    def _cursor(self) -> Cursor:
        """Where the run stands in this day; a run that has not begun may begin at any bucket."""
        if self.run.cursor is None:
            return before(self.day.start if self.asked.bucket is None else self.asked.bucket)
        cursor = cursor_of(self.run.cursor)
        if cursor.ts >= self.day.start:
            return cursor
        self._check_days_before()
        return before(self.day.start)

    def _check_days_before(self) -> None:
        """A run of several days goes day after day."""
        _, left, _ = service.upcoming(self.tx, self.run, self.now, 1, self.limits)
        if left and left[0].receipt.ts < self.day.start:
            raise _skipped(left[0].place)

    def _window(self, cursor: Cursor) -> tuple[int, int]:
        """How many of the rows that the client names are behind the run, and how many may be worked."""
        asked, limit = self.asked, self.asked.limit
        if asked.by_cursor:
            if asked.after is not None and asked.after.key >= cursor.key:
                return 0, limit
            since = asked.after or before(self.day.start if asked.bucket is None else asked.bucket)
            named = inputstore.places(self.tx, self._scope(), since, limit)
            skipped = sum(place.key <= cursor.key for place in named) if self.run.cursor is not None else 0
            return skipped, limit - skipped
        if asked.offset is None:
            return 0, limit
        handled = self._handled()
        if asked.offset > handled:
            raise Explained("offset_mismatch", f"run {self.run.run_id} has handled {handled} rows", expected=handled)
        skipped = min(limit, handled - asked.offset)
        return skipped, limit - skipped

    def _handled(self) -> int:
        """Rows of the day, or of the asked bucket, that are behind the run."""
        asked, day, progress = self.asked, self.day, self.held.progress
        first, end = (day.start, day.end) if asked.bucket is None else (asked.bucket, asked.bucket + 1)
        rows = store.checkpoints(self.tx, self.run.run_id)
        done: int = sum(row["rows"] + row["conflicts"] for row in rows if first <= row["bucket"] < end)
        return done + (progress.handled if progress is not None and first <= progress.bucket < end else 0)

    def _arrivals(self, wanted: Window, after: Cursor, rows_max: int) -> list[Arrival]:
        return inputstore.arrivals(self.tx, wanted, after, rows_max, body_bytes_max=self.limits.body_bytes_max)

    def _chosen(self, cursor: Cursor, room: int) -> tuple[list[Arrival], Cursor | None]:
        """The receipts to work now, and the place after them; of a bucket no more is read than it holds."""
        bucket, scope = self.asked.bucket, self._scope()
        wanted = scope if bucket is None else replace(scope, until=min(scope.until, bucket + BUCKET_MS))
        upcoming = self._arrivals(wanted, cursor, room + 1)
        if bucket is not None and upcoming and bucket_of(upcoming[0].receipt.ts) < bucket:
            raise _skipped(upcoming[0].place)
        if len(upcoming) > room:
            return upcoming[:room], upcoming[room].place
        if bucket is None:
            return upcoming, None
        left = inputstore.places(self.tx, scope, upcoming[-1].place if upcoming else cursor, 1)
        return upcoming, left[0] if left else None

    def _turn(self, chosen: Sequence[Arrival], following: Cursor | None, deadline: float | None) -> Turn:
        if not chosen:
            return Turn(held=self.held, page=Page(), last=None, next_place=following)
        profile = runs.profile_of(self.run)
        tickers = sorted({arrival.receipt.ticker for arrival in chosen})
        walk = service.load_walk(self.tx, self.held, profile, tickers, self.day.date, self.limits)
        return service.work_page(self.tx, self.held, walk, chosen, following, self.now, deadline=deadline)

    def _put(self, turn: Turn, *, seconds: float, is_over: bool | None = None) -> None:
        """Write where the run stands now; a run whose last day is behind it is finished."""
        held, is_moved = turn.held, turn.last is not None
        if is_moved and held.run.status is not RunStatus.PAUSED:
            held = replace(held, run=replace(held.run, status=RunStatus.PAUSED, state_hash=None, finished_at=None))
        is_last = self.day.date == held.run.scope.date_to and self.day.settled == self.day.end
        if (turn.next_place is None if is_over is None else is_over) and is_last and held.run.status is not RunStatus.DONE:
            held = service.finish(self.tx, held, self.now)
        self.held = held
        store.put(self.tx, held, self.now, seconds=seconds)

    def _answer(self, turn: Turn, skipped: int) -> BucketAnswer:
        following = None if turn.next_place is None else bucket_of(turn.next_place.ts)
        bucket = self.asked.bucket if turn.last is None else bucket_of(turn.last.ts)
        buckets = self._buckets()
        done = len(buckets) if following is None else sum(one < following for one in buckets)
        return BucketAnswer(
            run=self.run,
            bucket=bucket,
            rows=turn.page.decided,
            skipped=skipped,
            conflicts=turn.page.conflicts,
            trades_created=0 if turn.last is None else turn.held.run.trades_created - self._created_before,
            trades_purged=self.purged,
            next_bucket=following,
            has_more=following is not None,
            has_more_in_bucket=following is not None and following == bucket,
            after=self.run.cursor and cursor_of(self.run.cursor).token,
            result_hash=service.shown_hash(self.run, self.held.progress),
            buckets_done=done,
            buckets_total=len(buckets),
            changed=self._changed(turn, following),
        )

    def _buckets(self) -> tuple[int, ...]:
        if self.run.scope.session is SessionKind.REGULAR:
            return self.day.buckets()
        return self.day.buckets(inputstore.buckets(self.tx, self._scope()))

    def _changed(self, turn: Turn, following: int | None) -> bool:
        """Whether rows came into what is behind the run: asked when a finished bucket is named again, and at the day's end."""
        scope, bucket = self._scope(), self.asked.bucket
        if bucket is not None and turn.last is None:
            scope = replace(scope, since=bucket, until=bucket + BUCKET_MS)
        elif following is not None:
            return False
        return bool(rewinding.changed_buckets(self.tx, self.run, scope))


def _skipped(place: Cursor) -> Explained:
    expected = bucket_of(place.ts)
    return Explained("bucket_skipped", "rows of this run would be skipped", expectedBucket=expected)
