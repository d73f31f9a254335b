"""The sums behind results: cells of currency, group and date, over the actions of a range.

The ledger keeps sums of whole New York dates and of calendar months. Of a range those are read of every month, and beside them of
every date, that no later row touches; the rest, today before all, and the ends of a range that are no midnights, is added up from
the actions. What was at another moment is always added up from the actions as they were known. Reads views of the ledger alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from fillbook.calendar import NEW_YORK
from fillbook.ledger.moment import Moment
from fillbook.runtime.sql import load_queries
from fillbook.tracker import days
from fillbook.tracker.store import Row, Seen
from fillbook.values import frozen

QUERIES: Final = load_queries("fillbook.tracker", "figures.sql")
OF_AN_EXECUTION: Final = frozenset({"day", "weekday", "reason"})
KEPT_BY: Final = {None: "none", "book": "none", "day": "none", "weekday": "none"}
BY_DATE: Final = frozenset({"day", "weekday"})
"""By which kept word a question is answered, where that is not its own."""
EVER: Final = datetime(1900, 1, 1, tzinfo=UTC)
FOR_EVER: Final = datetime(9000, 1, 1, tzinfo=UTC)
Span = tuple[datetime, datetime]


@frozen
class Asked:
    """Which actions: executed in [since, until), at which moment.

    ``by`` is the word they are told apart by; not ``is_past``: as the ledger stands now.
    """

    since: datetime | None
    until: datetime | None
    at: Moment
    is_past: bool
    by: str | None = None

    @property
    def clocks(self) -> dict[str, datetime]:
        """T and K for a statement; what is now needs neither."""
        if not self.is_past:
            return {"as_of": FOR_EVER, "known_as_of": FOR_EVER}
        return {"as_of": self.at.as_of, "known_as_of": self.at.known_as_of}

    @property
    def span(self) -> Span:
        """Its two ends."""
        return self.since or EVER, self.until or FOR_EVER


@frozen
class Kept:
    """What is kept of a book: dates from the first to the last, but for those that later rows touch.

    ``has_worth``: what its days were worth counts as well, of every day before the first touched one.
    """

    first: date
    last: date
    touched: tuple[date, ...]
    has_worth: bool

    def values(self, day: date) -> bool:
        """Whether the kept worth of a day is what it would be worked out to be now."""
        return self.has_worth and (not self.touched or day < self.touched[0])


class Sums:
    """The sums of some books, within one look."""

    def __init__(self, seen: Seen) -> None:
        """Nothing is read before it is asked for."""
        self._seen = seen
        self._books: Mapping[str, Kept] | None = None

    def cells(self, asked: Asked) -> list[Row]:
        """Sums by currency and group, of days and weekdays by date: the columns of ``results.Cell`` with their place.

        A place may come several times: its cells add.
        """
        found, spans = self._kept(asked, "kept")
        if spans["books"]:
            found += self._seen.tx.query(QUERIES["results"], by=asked.by or "", is_past=asked.is_past, **spans, **asked.clocks)
        return found

    def executed(self, asked: Asked) -> list[Row]:
        """How many executions and what they realized, as the ledger stands now: ``count``, ``realized``, ``unknown_realized``.

        By currency, of days by date, of tickers by ``key``. A place may come several times: its parts add.
        """
        found, spans = self._kept(asked, "executed_kept")
        if spans["books"]:
            found += self._seen.tx.query(QUERIES["executed"], by=asked.by or "", **spans)
        return found

    def active(self, asked: Asked) -> list[Row]:
        """How many positions acted on each date by the word of an execution: ``trades``, in parts that add."""
        found, spans = self._kept(asked, "kept")
        if spans["books"]:
            found += self._seen.tx.query(QUERIES["active"], by=asked.by, **spans, **asked.clocks)
        return found

    def carried(self, asked: Asked) -> list[Row]:
        """How many positions acted that were opened before the range: ``trades``."""
        if asked.since is None:
            return []
        since, until = asked.span
        common = {"books": self._seen.book_ids, "by": asked.by or "", "since": since, "until": until}
        if asked.is_past:
            return self._seen.tx.query(QUERIES["carried_then"], **common, **asked.clocks)
        return self._seen.tx.query(QUERIES["carried"], **common)

    def open_at(self, asked: Asked, at: datetime) -> dict[str, int]:
        """How many positions of each currency were open when an instant came."""
        books = self._seen.book_ids
        if asked.is_past:
            rows = self._seen.tx.query(QUERIES["open_at_then"], books=books, at=at, **asked.clocks)
        else:
            rows = self._seen.tx.query(QUERIES["open_at"], books=books, at=at)
        return {row["currency"]: row["positions"] for row in rows}

    def base_currencies(self) -> list[str]:
        """The currencies in which the books count."""
        rows = self._seen.tx.query(QUERIES["base_currencies"], books=self._seen.book_ids)
        return [row["currency"] for row in rows]

    def books(self) -> Mapping[str, Kept]:
        """The books whose sums count, with what is kept of them."""
        if self._books is None:
            rows = self._seen.tx.query(QUERIES["touched"], books=self._seen.book_ids)
            self._books = {
                row["book_id"]: Kept(
                    first=row["first_day"], last=row["last_day"], touched=tuple(sorted(row["days"])), has_worth=row["has_worth"]
                )
                for row in rows
                if row["first_day"] is not None
            }
        return self._books

    def _kept(self, asked: Asked, name: str) -> tuple[list[Row], dict[str, Any]]:
        """What is kept of a range, as the named statement says it, and the spans that are not."""
        since, until = asked.span
        first, last = _whole(since, until)
        kept = {} if asked.is_past or first > last else self.books()
        spans: dict[str, Any] = {"books": [], "sinces": [], "untils": []}
        for book_id in self._seen.book_ids:
            mine = kept.get(book_id)
            pieces = [(since, until)] if mine is None else _left(since, until, first, last, mine.touched)
            spans["books"] += [book_id] * len(pieces)
            spans["sinces"] += [span[0] for span in pieces]
            spans["untils"] += [span[1] for span in pieces]
        given: dict[str, Any] = {"day_books": [], "firsts": [], "lasts": [], "month_books": [], "months": []}
        for book_id, mine in kept.items():
            begin, end = max(first, mine.first.replace(day=1)), min(last, _month_end(mine.last))
            days_alone, months = _pieces(begin, end, mine.touched, asked.by in BY_DATE)
            given["day_books"] += [book_id] * len(days_alone)
            given["firsts"] += [span[0] for span in days_alone]
            given["lasts"] += [span[1] for span in days_alone]
            given["month_books"] += [book_id] * len(months)
            given["months"] += months
        if not given["day_books"] and not given["months"]:
            return [], spans
        rows = self._seen.tx.query(QUERIES[name], by=asked.by or "", dimension=KEPT_BY.get(asked.by, asked.by), **given)
        return rows, spans


def _whole(since: datetime, until: datetime) -> tuple[date, date]:
    """The first and the last date that lie whole within a range."""
    first = since.astimezone(NEW_YORK).date()
    if days.midnight(first) < since:
        first += timedelta(days=1)
    return first, until.astimezone(NEW_YORK).date() - timedelta(days=1)


def _left(since: datetime, until: datetime, first: date, last: date, touched: Iterable[date]) -> list[Span]:
    """What the whole dates that are kept leave of a range: its ends, and the dates that were touched."""
    begin, end = days.midnight(first), days.midnight(last + timedelta(days=1))
    found = [(since, begin)] if since < begin else []
    found += [(days.midnight(day), days.midnight(day + timedelta(days=1))) for day in touched if first <= day <= last]
    return [*found, (end, until)] if end < until else found


def _pieces(first: date, last: date, touched: Iterable[date], is_by_date: bool) -> tuple[list[tuple[date, date]], list[date]]:
    """The spans of untouched dates from the first to the last, and the whole months among them, which stand for their dates."""
    months: list[date] = []
    gaps = {day: day for day in touched if first <= day <= last}
    month = first if first.day == 1 else _month_end(first) + timedelta(days=1)
    while not is_by_date and (end := _month_end(month)) <= last:
        if not any(month <= day <= end for day in gaps):
            months.append(month)
        month = end + timedelta(days=1)
    gaps |= {month: _month_end(month) for month in months}
    found: list[tuple[date, date]] = []
    begin = first
    for day in sorted(gaps):
        if begin < day:
            found.append((begin, day - timedelta(days=1)))
        begin = gaps[day] + timedelta(days=1)
    return ([*found, (begin, last)] if begin <= last else found), months


def _month_end(day: date) -> date:
    """The last date of a day's month."""
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1) - timedelta(days=1)
