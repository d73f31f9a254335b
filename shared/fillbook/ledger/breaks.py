"""The life of a break: found, told again when it is older, resolved by a comparison that agreed, back in a new episode.

Statements come twice, late and out of order. They are ordered by ``(as_of, source)``: one that a newer one has overtaken
on a subject says nothing about that subject any more. Pure: values in, the next versions of breaks out, each with what it
announces. Nothing here reads, writes or books. Source: ledger specification, 11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from fillbook.calendar import CalendarError, TradingCalendar, calendar
from fillbook.ledger.matching import Comparison, Finding, subject_of
from fillbook.ledger.statement import Break, BreakKey, Statement
from fillbook.values import frozen

ANNOUNCED_AGES = (2, 5)
"""A break is told when it is found, and again when it is this many sessions old."""

FOUND, RESOLVED = "break_found", "break_resolved"
_NEWS = ("expected", "actual", "difference", "cause")


@frozen
class Step:
    """The next version of a break. ``event`` is what it announces; not ``is_news``: only seen again, or a day older."""

    row: Break
    is_news: bool
    event: str | None = None


def follow(
    statement: Statement,
    comparison: Comparison,
    causes: Mapping[BreakKey, str],
    standing: Sequence[Break],
    overtaken: frozenset[str],
    now: datetime,
    market: str,
) -> list[Step]:
    """What a conclusive statement makes of the breaks of its book: found, seen again, resolved. Order: by key."""
    known = {row.key: row for row in standing}
    steps = []
    for key, finding in comparison.findings.items():
        if subject_of(key) not in overtaken:
            steps.append(_found(statement, finding, causes[key], known.get(key), now, market))
    for key, row in known.items():
        if row.resolved_at is None and comparison.agrees(key) and subject_of(key) not in overtaken:
            steps.append(_resolved(statement, row, now))
    return steps


def _found(statement: Statement, finding: Finding, cause: str, previous: Break | None, now: datetime, market: str) -> Step:
    if previous is None or previous.resolved_at is not None:
        row = Break(
            book_id=statement.book_id,
            key=finding.key,
            ticker=finding.ticker,
            version=1 if previous is None else previous.version + 1,
            episode=1 if previous is None else previous.episode + 1,
            first_seen_at=statement.as_of,
            last_seen_at=statement.as_of,
            resolved_at=None,
            expected=finding.expected,
            actual=finding.actual,
            difference=finding.difference,
            cause=cause,
            note=None if previous is None else previous.note,
            source=statement.source,
            sessions=sessions_between(statement.as_of, now, market),
            announced=0,
            updated_at=_after(previous, now),
        )
        return Step(row=replace(row, announced=_due(row)), is_news=True, event=FOUND)
    seen = replace(
        previous,
        ticker=finding.ticker,
        last_seen_at=max(previous.last_seen_at, statement.as_of),
        source=statement.source,
        expected=finding.expected,
        actual=finding.actual,
        difference=finding.difference,
        cause=cause,
    )
    return _aged(seen, now, market, is_news=any(getattr(previous, name) != getattr(seen, name) for name in _NEWS))


def _resolved(statement: Statement, row: Break, now: datetime) -> Step:
    done = replace(
        row,
        version=row.version + 1,
        resolved_at=max(statement.as_of, row.last_seen_at),
        source=statement.source,
        updated_at=_after(row, now),
    )
    return Step(row=done, is_news=True, event=RESOLVED)


def age(standing: Sequence[Break], now: datetime, market: str) -> list[Step]:
    """The open breaks that are older than they were, with what must be told of them again."""
    steps = [_aged(row, now, market, is_news=False) for row in standing if row.resolved_at is None]
    by_key = {row.key: row for row in standing}
    return [step for step in steps if step.row != by_key[step.row.key]]


def of_today(row: Break, now: datetime, market: str) -> Break:
    """An open break with its age at ``now``, for showing; a clock that steps back makes nothing younger."""
    if row.resolved_at is not None:
        return row
    return replace(row, sessions=max(row.sessions, sessions_between(row.first_seen_at, now, market)))


def noted(row: Break, note: str, now: datetime) -> Step:
    """The break with an operator's note."""
    return Step(row=replace(row, note=note, version=row.version + 1, updated_at=_after(row, now)), is_news=True)


def _aged(row: Break, now: datetime, market: str, *, is_news: bool) -> Step:
    """``row`` with its age of today; crossing 2 or 5 sessions is news."""
    older = of_today(row, now, market)
    due = _due(older)
    if due > row.announced:
        return Step(row=_versioned(replace(older, announced=due), row, now), is_news=True, event=FOUND)
    return Step(row=_versioned(older, row, now) if is_news else older, is_news=is_news)


def _versioned(row: Break, previous: Break, now: datetime) -> Break:
    return replace(row, version=previous.version + 1, updated_at=_after(previous, now))


def _due(row: Break) -> int:
    return max((level for level in ANNOUNCED_AGES if row.sessions >= level), default=0)


def _after(previous: Break | None, now: datetime) -> datetime:
    """Recorded times of one break always grow: its message is ordered by them."""
    return now if previous is None else max(now, previous.updated_at + timedelta(microseconds=1))


def sessions_between(first: datetime, now: datetime, market: str) -> int:
    """Whole sessions of ``market`` (open and close) from ``first`` to ``now``; weekends and holidays do not age a break.

    A market without a table is counted by the desk's own calendar; days beyond the table count nothing.
    """
    if now <= first:
        return 0
    try:
        sessions = _market(market)
        days = sessions.sessions(first.date() - timedelta(days=1), now.date())
    except CalendarError:
        return 0
    return sum(1 for session in days if session.open_at >= first and session.close_at <= now)


def _market(name: str) -> TradingCalendar:
    try:
        return calendar(name)
    except CalendarError:
        return calendar()
