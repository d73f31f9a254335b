"""Compare two runs, or a run with the live book: read both decision logs, find where they part, keep what was found.

Reading happens in one REPEATABLE READ transaction, so both sides are of one moment; the result is stored in a second one, in
the place of the last comparison of the same two. Of a run that is not done what is compared ends with its last finished
bucket, on both sides: it differs in nothing that it has not reached. Nothing of either side is written. Source: replay.md 8.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from fillbook.calendar import calendar
from fillbook.outbox.model import derived_id
from fillbook.replay import comparisonstore as store
from fillbook.replay.buckets import BUCKET_MS, ReplayDay, replay_day
from fillbook.replay.causes import Parted, Told, explained, taken_before
from fillbook.replay.compare import Difference, Tally, compare, positions
from fillbook.replay.comparisonstore import LoggedStretch
from fillbook.replay.model import LIVE_BOOK, Comparison, Divergence, SessionKind
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import Conflict, Rejected
from fillbook.signal.profile import ProfileError, load
from fillbook.signal.receipt import instant
from fillbook.values import frozen

_DONE: Final = "done"


@frozen
class Side:
    """One side of a comparison: ``label`` is the run's id or ``live``; ``row`` the run's record, ``None`` for live.

    ``until``: the end of the last bucket that an unfinished run has behind it, ``None`` when all of it is.
    """

    label: str
    book_id: str
    row: Mapping[str, Any] | None = None
    until: int | None = None


@frozen
class _Scope:
    """What both sides are compared in; ``days`` is ``None`` when both are runs and no day was named."""

    days: tuple[ReplayDay, ...] | None
    ticker: str | None
    script_version: str
    until: int | None = None


def compare_runs(db: Database, a: str, b: str, *, day: date | None = None, now: datetime, unfinished: bool = False) -> Comparison:
    """Compare ``a`` with ``b``, each a run's id or name, or ``live``; ``day`` narrows both to one session date.

    ``live`` is compared in the scope of the run beside it, and today as far as buckets count at ``now``. ``unfinished``: the
    caller has just worked the run that far, so what it lacks is a difference. Raises ``Rejected``: ``run_unknown`` (404),
    ``param`` (nothing or twice live), ``too_many_lines``, what ``replay_day`` refuses of ``day``; ``Conflict('run_not_begun')``.
    """
    with db.transaction(read_only=True, isolation="repeatable read") as tx:
        left, right = (_side(tx, name, field, unfinished=unfinished) for name, field in ((a, "a"), (b, "b")))
        if left.row is None and right.row is None:
            raise Rejected("param", "live is compared with a run", field="b")
        found = _compared(tx, left, right, _scope(left, right, day, now), now)
    with db.transaction() as tx:
        store.keep(tx, found)
    return found


def _side(tx: Tx, name: str, field: str, *, unfinished: bool) -> Side:
    if name == LIVE_BOOK:
        return Side(label=LIVE_BOOK, book_id=LIVE_BOOK)
    row = store.run_row(tx, name)
    if row is None:
        raise Rejected("run_unknown", f"no run {name}", field=field, status=404)
    side = Side(label=str(row["run_id"]), book_id=row["book_id"], row=row)
    if row["status"] == _DONE or unfinished:
        return side
    if row["last_bucket"] is None:
        raise Conflict("run_not_begun", f"run {row['run_id']} has no bucket behind it")
    return replace(side, until=row["last_bucket"] + BUCKET_MS)


def _scope(left: Side, right: Side, day: date | None, now: datetime) -> _Scope:
    ends = [side.until for side in (left, right) if side.until is not None]
    return replace(_wanted(left, right, day, now), until=min(ends, default=None))


def _wanted(left: Side, right: Side, day: date | None, now: datetime) -> _Scope:
    rows = [side.row for side in (left, right) if side.row is not None]
    session = SessionKind(rows[0]["session"])
    ticker = next((row["ticker"] for row in rows if row["ticker"] is not None), None)
    if day is not None:
        return _Scope(days=(replay_day(day, session, now),), ticker=ticker, script_version=rows[0]["script_version"])
    if len(rows) == 2:
        return _Scope(days=None, ticker=ticker, script_version="*")
    sessions = calendar().sessions(rows[0]["date_from"], rows[0]["date_to"])
    days = tuple(replay_day(one.date, session, now) for one in sessions)
    return _Scope(days=days, ticker=ticker, script_version=rows[0]["script_version"])


def _compared(tx: Tx, left: Side, right: Side, scope: _Scope, now: datetime) -> Comparison:
    tickers = store.tickers_of(tx, [left.book_id, right.book_id], scope.ticker)
    tallies = Tally(), Tally()
    logs = [
        tally.over(store.log_of(tx, _stretch(side, scope), tickers)) for side, tally in zip((left, right), tallies, strict=True)
    ]
    differences = compare(*logs)
    a, b = tallies
    days = None if scope.days is None else f"{scope.days[0].date}/{scope.days[-1].date}"
    return Comparison(
        comparison_id=str(derived_id("comparison", left.label, right.label, days)),
        a=left.label,
        b=right.label,
        identical=not differences,
        totals_a=a.totals(),
        totals_b=b.totals(),
        positions=positions(a, b),
        tickers=len(a.tickers | b.tickers),
        divergences=tuple(_explained(tx, left, right, scope, differences)) if differences else (),
        recorded_at=now,
    )


def _stretch(side: Side, scope: _Scope) -> LoggedStretch:
    """A run holds nothing but its script version; of live only what the run beside it would have taken."""
    version = "*" if side.row is not None else scope.script_version
    return LoggedStretch(book_id=side.book_id, ticker=scope.ticker, script_version=version, days=scope.days, until=scope.until)


def _explained(tx: Tx, left: Side, right: Side, scope: _Scope, differences: list[Difference]) -> Iterator[Divergence]:
    places = [(one.ticker, one.ts) for one in differences]
    told = [_told(tx, side, places) for side in (left, right)]
    tickers = [one.ticker for one in differences]
    since = scope.days[0].date if scope.days is not None else date.min
    starts = [store.starts_of(tx, side.book_id, tickers, since) for side in (left, right)]
    parted = _parted(tx, left, right, scope, differences)
    for one in differences:
        place = (one.ticker, one.ts)
        before = (starts[0].get(one.ticker), starts[1].get(one.ticker))
        yield explained(one, told[0].get(place), told[1].get(place), before, taken_before(parted, one))


def _parted(tx: Tx, left: Side, right: Side, scope: _Scope, differences: list[Difference]) -> tuple[Parted, ...]:
    until = max(one.ts for one in differences)
    since = scope.days[0].start if scope.days is not None else 0
    return store.parted_of(tx, left.book_id, right.book_id, instant(since), instant(until) + timedelta(milliseconds=1))


def _told(tx: Tx, side: Side, places: list[tuple[str, int]]) -> dict[tuple[str, int], Told]:
    """What a side stored at the differences, each with the profile it was decided under, where anybody still has it."""
    configs: dict[str, Mapping[str, Any]] = {}
    if side.row is not None:
        configs[side.row["config_digest"]] = side.row["config"]
    found: dict[tuple[str, int], Told] = {}
    for place, profile, told in store.told_of(tx, side.book_id, places, configs):
        found[place] = told if told.config is not None else _with_shipped(told, profile, configs)
    return found


def _with_shipped(told: Told, name: str, configs: dict[str, Mapping[str, Any]]) -> Told:
    """The same with the shipped profile of that name, if it is the one that was used."""
    try:
        profile = load(name)
    except ProfileError:
        return told
    if profile.digest != told.config_digest:
        return told
    configs[profile.digest] = json.loads(profile.text, parse_float=Decimal)
    return told.under(configs[profile.digest])
