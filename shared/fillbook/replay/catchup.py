"""Catching live up after an outage: stored receipts that live found stale are decided in the live book, in order, once.

Never a purge, off by default, and only when four things hold: the desk is at rest, a plan of the same scope was made a moment
ago, its text was typed, and the database lets this role write live rows. With the same receipts come the same ids; the fills have
origin ``history``, so nothing is told one by one. Source: replay.md 2.3.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from fillbook.calendar import calendar
from fillbook.ledger import bookstore
from fillbook.ledger import service as ledger
from fillbook.ledger.ids import derived
from fillbook.replay import inputstore, runs, service, store
from fillbook.replay.asked import Asked
from fillbook.replay.buckets import ReplayDay, bucket_of, replay_day
from fillbook.replay.calls import busy
from fillbook.replay.cursors import before, cursor_of
from fillbook.replay.model import LIVE_BOOK, BucketAnswer, Run, RunKind, RunStatus
from fillbook.replay.runs import Desk
from fillbook.replay.service import Limits
from fillbook.runtime import logs
from fillbook.runtime.clock import monotonic
from fillbook.runtime.db import Tx
from fillbook.runtime.errors import Conflict, Rejected
from fillbook.signal.receipt import milliseconds
from fillbook.values import frozen

PLAN_MINUTES: Final = 15
PLAN_DIGITS_MAX: Final = 16
REST_MINUTES: Final = 10
PAGE_ROWS: Final = 500
_COUNTED: Final = ("rows", "conflicts", "trades_created")

_log = logs.get("replay")


@frozen
class Target:
    """Whether live may be caught up here, and what plans are signed with."""

    is_enabled: bool
    secret: bytes


def check_wanted(asked: Asked, target: Target) -> None:
    """Refuse what can never be: ``Rejected`` 403 ``live_target_disabled``, 400 ``live_never_purged``."""
    if asked.clean_slate:
        raise Rejected("live_never_purged", "the ledger deletes no live history", field="cleanSlate")
    if not target.is_enabled:
        raise Rejected("live_target_disabled", status=403)


def plan(desk: Desk, asked: Asked, target: Target, now: datetime) -> dict[str, Any]:
    """What would be decided, and the token that lets it happen within a quarter of an hour; nothing is written."""
    check_wanted(asked, target)
    day = replay_day(asked.date, asked.session, now)

    def work(tx: Tx) -> dict[int, int]:
        counts: dict[int, int] = {}
        cursor = before(day.start)
        while places := inputstore.places(tx, _scope(asked, day), cursor, PAGE_ROWS):
            for place in places:
                counts[bucket_of(place.ts)] = counts.get(bucket_of(place.ts), 0) + 1
            cursor = places[-1]
        return counts

    counts = desk.db.run(work, read_only=True)
    return {
        "ok": True,
        "dryRun": True,
        "target": "live",
        "date": asked.date.isoformat(),
        "ticker": asked.ticker,
        "buckets": [{"bucket": bucket, "rows": rows} for bucket, rows in sorted(counts.items())],
        "rows": sum(counts.values()),
        "confirm": confirmation(asked),
        "planToken": _token(asked, target, milliseconds(now)),
    }


def confirmation(asked: Asked) -> str:
    """What a person has to type."""
    return " ".join(filter(None, ("REPLAY", asked.date.isoformat(), asked.ticker, "INTO live")))


def catch_up(
    desk: Desk, asked: Asked, target: Target, *, created_by: str, now: datetime, limits: Limits, deadline: float
) -> BucketAnswer:
    """Decide what live did not, page by page, until nothing is left or the deadline comes; the counts are those of all pages.

    Raises what ``check_wanted`` raises, ``Rejected('confirm')``, ``Conflict``: ``live_busy``, ``dry_run_first``.
    """
    check_wanted(asked, target)
    if asked.confirm != confirmation(asked):
        raise Rejected("confirm", "the text is not the one to type", field="confirm")
    if calendar().is_regular(now):
        raise Conflict("live_busy", "the session is open")
    planned = _planned(asked, target, now)
    day = replay_day(asked.date, asked.session, now)
    run = _found_or_made(desk, asked, planned, created_by, now)
    catching = _Catching(desk, run, asked, day, limits)
    pages: list[BucketAnswer] = []
    while True:
        pages.append(ledger.run(desk.db, lambda tx: catching.page(tx, now, deadline)))
        if not pages[-1].has_more or monotonic() > deadline:
            return _summed(pages)


def _summed(pages: Sequence[BucketAnswer]) -> BucketAnswer:
    """One answer for several pages: what all of them did, and where the last one stands."""
    return replace(pages[-1], **{name: sum(getattr(page, name) for page in pages) for name in _COUNTED})


def _scope(asked: Asked, day: ReplayDay) -> inputstore.Window:
    return inputstore.Window(
        since=day.start,
        until=day.settled,
        ticker=asked.ticker,
        script_version=asked.script_version,
        inputs=inputstore.UNDECIDED,
    )


def _token(asked: Asked, target: Target, at: int) -> str:
    named = f"{at}|{asked.date}|{asked.ticker}|{asked.script_version}|{asked.profile}|{asked.session.value}"
    return f"{at}.{hmac.new(target.secret, named.encode(), hashlib.sha256).hexdigest()}"


def _planned(asked: Asked, target: Target, now: datetime) -> int:
    """When the plan was made; ``Conflict('dry_run_first')`` without one of this scope that is still good."""
    at, _, _ = (asked.plan or "").partition(".")
    is_number = at.isascii() and at.isdigit() and len(at) <= PLAN_DIGITS_MAX
    if is_number and hmac.compare_digest(_token(asked, target, int(at)).encode(), (asked.plan or "").encode()):
        age = milliseconds(now) - int(at)
        if 0 <= age <= PLAN_MINUTES * 60_000:
            return int(at)
    raise Conflict("dry_run_first", "no plan of this scope within a quarter of an hour")


def _found_or_made(desk: Desk, asked: Asked, planned: int, created_by: str, now: datetime) -> Run:
    run_id = derived("replay_catch_up", asked.date.isoformat(), asked.ticker, planned)

    def work(tx: Tx) -> Run:
        held = store.find(tx, run_id, None)
        if held is not None:
            return held.run  # what live decided a moment ago was this
        last = inputstore.live_last_recorded(tx)
        if last is not None and now - last < timedelta(minutes=REST_MINUTES):
            raise Conflict("live_busy", "live decided a moment ago")
        made = runs.make(asked, desk, kind=RunKind.CATCH_UP, created_by=created_by, now=now)
        run = replace(made, run_id=run_id, name=None, book_id=LIVE_BOOK, state_hash=bookstore.book_state_hash(tx, LIVE_BOOK))
        store.insert(tx, run, status=RunStatus.PAUSED)
        return run

    return ledger.run(desk.db, work)


class _Catching:
    """The pages of one catch-up; ``before`` is the hash of the live book when it began."""

    def __init__(self, desk: Desk, run: Run, asked: Asked, day: ReplayDay, limits: Limits) -> None:
        self._desk, self._run, self._asked, self._day, self._limits = desk, run, asked, day, limits
        self._before = run.state_hash

    def page(self, tx: Tx, now: datetime, deadline: float) -> BucketAnswer:
        """One page in the live book."""
        begun = monotonic()
        held = store.lock(tx, self._run.run_id)
        if held is None:
            raise busy(self._run.run_id)
        cursor = before(self._day.start) if held.run.cursor is None else cursor_of(held.run.cursor)
        scope, limits = _scope(self._asked, self._day), self._limits
        found = inputstore.arrivals(tx, scope, cursor, PAGE_ROWS + 1, body_bytes_max=limits.body_bytes_max)
        chosen, following = found[:PAGE_ROWS], found[PAGE_ROWS].place if len(found) > PAGE_ROWS else None
        tickers = {one.receipt.ticker for one in chosen}
        walk = service.load_walk(tx, held, runs.profile_of(held.run), tickers, self._day.date, limits)
        created = held.run.trades_created
        turn = service.work_page(tx, held, walk, chosen, following, now, deadline=deadline)
        held = turn.held
        if turn.next_place is None:
            state_hash = bookstore.book_state_hash(tx, LIVE_BOOK)
            held = replace(held, run=replace(held.run, status=RunStatus.DONE, state_hash=state_hash, finished_at=now))
            self._tell(held.run)
        store.put(tx, held, now, seconds=monotonic() - begun)
        return self._answer(held, turn, held.run.trades_created - created)

    def _answer(self, held: store.Held, turn: service.Turn, created: int) -> BucketAnswer:
        following = None if turn.next_place is None else bucket_of(turn.next_place.ts)
        bucket = None if turn.last is None else bucket_of(turn.last.ts)
        buckets = self._day.buckets()
        return BucketAnswer(
            run=held.run,
            bucket=bucket,
            rows=turn.page.decided,
            skipped=0,
            conflicts=turn.page.conflicts,
            trades_created=created,
            trades_purged=0,
            next_bucket=following,
            has_more=following is not None,
            has_more_in_bucket=following is not None and following == bucket,
            after=None if turn.last is None else turn.last.token,
            result_hash=service.shown_hash(replace(held.run, state_hash=None), held.progress),
            buckets_done=len(buckets) if following is None else sum(one < following for one in buckets),
            buckets_total=len(buckets),
        )

    def _tell(self, run: Run) -> None:
        _log.info(
            "live_caught_up",
            run_id=run.run_id,
            date=run.scope.date_from,
            ticker=run.scope.ticker,
            rows=run.rows,
            trades_created=run.trades_created,
            state_hash_before=self._before,
            state_hash_after=run.state_hash,
        )
