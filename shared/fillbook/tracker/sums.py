"""The sums behind results: cells of currency, group and date, over the actions of a range.

The ledger keeps sums of whole New York dates. Of a range those are read of every date that no later row touches; the rest, today
before all, and the ends of a range that are no midnights, is added up from the actions. What was at another moment is always
added up from the actions as they were known. Reads views of the ledger alone.
"""

from __future__ import annotations

from collections.abc import Mapping
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


class Sums:
    """The sums of some books, within one look."""

    def __init__(self, seen: Seen) -> None:
        """Nothing is read before it is asked for."""
        self._seen = seen
        self._dirty: Mapping[str, frozenset[date]] | None = None

    def cells(self, asked: Asked) -> list[Row]:
        """Sums by currency and group, of days and weekdays by date: the columns of ``results.Cell`` with their place.

        A place may come several times: its cells add.
        """
        found, spans = self._kept("kept_results", asked)
        if spans["books"]:
            found += self._seen.tx.query(QUERIES["results"], by=asked.by or "", is_past=asked.is_past, **spans, **asked.clocks)
        return found

    def active(self, asked: Asked) -> list[Row]:
        """How many positions acted on each date by the word of an execution: ``trades``, in parts that add."""
        found, spans = self._kept("kept_active", asked)
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

    def _kept(self, name: str, asked: Asked) -> tuple[list[Row], dict[str, Any]]:
        """What is kept of a range, and the spans that are not."""
        since, until = asked.span
        dirty = {} if asked.is_past else self._touched()
        spans: dict[str, Any] = {"books": [], "sinces": [], "untils": []}
        first, last = _whole(since, until)
        for book_id in self._seen.book_ids:
            pieces = [(since, until)]
            if book_id in dirty and first <= last:
                pieces = list(_left(since, until, first, last, dirty[book_id]))
            for begin, end in pieces:
                spans["books"].append(book_id)
                spans["sinces"].append(begin)
                spans["untils"].append(end)
        if not dirty or first > last:
            return [], spans
        left_out = [(book_id, day) for book_id, mine in dirty.items() for day in mine]
        rows = self._seen.tx.query(
            QUERIES[name],
            by=asked.by or "",
            dimension=KEPT_BY.get(asked.by, asked.by),
            books=list(dirty),
            first=first,
            last=last,
            out_books=[book_id for book_id, _ in left_out],
            out_days=[day for _, day in left_out],
        )
        return rows, spans

    def _touched(self) -> Mapping[str, frozenset[date]]:
        """The books whose sums count, each with the dates that later rows touch."""
        if self._dirty is None:
            rows = self._seen.tx.query(QUERIES["touched"], books=self._seen.book_ids)
            self._dirty = {row["book_id"]: frozenset(row["days"]) for row in rows}
        return self._dirty


def _whole(since: datetime, until: datetime) -> tuple[date, date]:
    """The first and the last date that lie whole within a range."""
    first = since.astimezone(NEW_YORK).date()
    if days.midnight(first) < since:
        first += timedelta(days=1)
    return first, until.astimezone(NEW_YORK).date() - timedelta(days=1)


def _left(since: datetime, until: datetime, first: date, last: date, dirty: frozenset[date]) -> list[Span]:
    """What the whole dates that are kept leave of a range: its ends, and the dates that were touched."""
    begin, end = days.midnight(first), days.midnight(last + timedelta(days=1))
    found = [(since, begin)] if since < begin else []
    found += [(days.midnight(day), days.midnight(day + timedelta(days=1))) for day in sorted(dirty) if first <= day <= last]
    return [*found, (end, until)] if end < until else found
