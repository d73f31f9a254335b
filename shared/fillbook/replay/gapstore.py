"""What the gap report counts, read from the views of room ``signal``: four statements a day, whatever the day holds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from fillbook.calendar import calendar
from fillbook.replay.buckets import ReplayDay, replay_day
from fillbook.replay.gaps import Seen, Stored, report
from fillbook.replay.model import LIVE_BOOK, GapReport, Scope, SessionKind
from fillbook.runtime.db import Tx
from fillbook.runtime.sql import load_queries
from fillbook.signal.receipt import instant, milliseconds

QUERIES: Final = load_queries("fillbook.replay", "gaps.sql")
KNOWN_DAYS: Final = 7  # a ticker that was silent for a week is not missed


def gap_reports(tx: Tx, scope: Scope, now: datetime) -> tuple[GapReport, ...]:
    """One report per session of the scope, oldest first; raises what ``replay_day`` raises for a day that cannot be run."""
    if scope.date_from == scope.date_to:
        return (gap_report(tx, replay_day(scope.date_from, SessionKind.REGULAR, now), scope),)
    sessions = calendar().sessions(scope.date_from, scope.date_to)
    return tuple(gap_report(tx, replay_day(one.date, SessionKind.REGULAR, now), scope) for one in sessions)


def gap_report(tx: Tx, day: ReplayDay, scope: Scope) -> GapReport:
    """The report of one regular session for the scope's ticker and script version."""
    start_at, end_at = instant(day.start), instant(day.settled)
    within = {"start_at": start_at, "end_at": end_at, "ticker": scope.ticker}
    counts = tx.query(QUERIES["gap_counts"], **within)
    known = tx.query(
        QUERIES["gap_known"],
        live=LIVE_BOOK,
        ticker=scope.ticker,
        since=start_at - timedelta(days=KNOWN_DAYS),
        until=end_at,
    )
    stored = Stored(
        seen=[_seen(row) for row in tx.query(QUERIES["gap_tickers"], **within, script_version=scope.script_version)],
        known=[row["ticker"] for row in known],
        by_script=_summed(counts, "script_version"),
        by_result=_summed(counts, "result"),
        quarantined=tx.query(QUERIES["gap_quarantined"], **within)[0]["bodies"],
    )
    return report(day, stored)


def _seen(row: dict[str, Any]) -> Seen:
    return Seen(
        ticker=row["ticker"],
        minutes=row["minutes"],
        first_ts=milliseconds(row["first_at"]),
        last_ts=milliseconds(row["last_at"]),
        buckets=frozenset(row["buckets"]),
    )


def _summed(rows: Iterable[dict[str, Any]], name: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for row in rows:
        sums[row[name]] = sums.get(row[name], 0) + row["rows"]
    return dict(sorted(sums.items()))
