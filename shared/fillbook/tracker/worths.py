"""What books are worth at some moments: kept of finished days, worked out of the rest.

The ledger keeps at night what the positions of each session's day had gained at the marks of its close, as they were held then
and by the day's end. Such a day is read
unless a later row touches it or one before it; every other moment is asked of the ledger's own ``worth_at``, which also took what
is kept. So both say the same. Reads views of the ledger alone. Source: tracker.md 4.3; decision 0052.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import localcontext
from typing import Any, Final

from fillbook.money import CONTEXT, ZERO
from fillbook.runtime.sql import load_queries
from fillbook.tracker.store import Row, Seen
from fillbook.tracker.sums import Kept, Sums
from fillbook.values import frozen

QUERIES: Final = load_queries("fillbook.tracker", "portfolio.sql")
OF_A_DAY: Final = ("open_positions", "unrealized", "lacks_unrealized", "stale")
"""What is kept."""
OF_NOW: Final = (*OF_A_DAY, "net", "gross", "lacks_worth", "outlay", "lacks_outlay")
Held = Mapping[str, Row]
"""What was held of each currency at a moment: ``OF_A_DAY``, of one without a day all of ``OF_NOW`` and ``missing_marks``."""


@frozen
class Moment:
    """Held by ``held_at`` (included), at the last marks before ``valued_at``; ``day``: at that session's close or day's end."""

    held_at: datetime
    valued_at: datetime
    day: date | None = None


class Worths:
    """The worth of some books, within one look. What was asked once is not asked again."""

    def __init__(self, seen: Seen, sums: Sums) -> None:
        """Nothing is read before it is asked for."""
        self._seen = seen
        self._sums = sums
        self._known: dict[tuple[datetime, datetime], Held] = {}

    def at(self, moments: Sequence[Moment]) -> list[Held]:
        """What was held at each moment; one without a day is told with all there is."""
        asked = [one for one in moments if (one.held_at, one.valued_at) not in self._known]
        kept = self._kept([one for one in asked if one.day is not None])
        lacking = [
            (book_id, number) for number, one in enumerate(asked) for book_id in self._seen.book_ids if (book_id, one) not in kept
        ]
        worked_out = self._worked_out(asked, lacking) if lacking else []
        for number, one in enumerate(asked):
            rows = [row for book_id in self._seen.book_ids for row in kept.get((book_id, one), ())]
            rows += [row for row in worked_out if row["n"] == number]
            self._known[one.held_at, one.valued_at] = _added(rows, OF_NOW if one.day is None else OF_A_DAY)
        return [self._known[one.held_at, one.valued_at] for one in moments]

    def _worked_out(self, asked: Sequence[Moment], lacking: Sequence[tuple[str, int]]) -> list[Row]:
        return self._seen.tx.query(
            QUERIES["worth_at"],
            books=[book_id for book_id, _ in lacking],
            ns=[number for _, number in lacking],
            held_ats=[asked[number].held_at for _, number in lacking],
            valued_ats=[asked[number].valued_at for _, number in lacking],
        )

    def _kept(self, asked: Sequence[Moment]) -> dict[tuple[str, Moment], list[Row]]:
        """The rows of the days that are kept, by book and moment; a day that is not there has to be worked out."""
        found: dict[tuple[str, Moment], list[Row]] = {}
        books = self._sums.books() if asked else {}
        spans = {book_id: span for book_id, kept in books.items() if (span := _span(kept, asked)) is not None}
        if not spans:
            return found
        rows = self._seen.tx.query(
            QUERIES["kept_worth"],
            books=list(spans),
            firsts=[first for first, _ in spans.values()],
            lasts=[last for _, last in spans.values()],
        )
        wanted = {(one.day, one.held_at, one.valued_at): one for one in asked}
        for row in rows:
            moment = wanted.get((row["day"], row["held_at"], row["valued_at"]))
            if moment is not None and books[row["book_id"]].values(row["day"]):
                found.setdefault((row["book_id"], moment), []).append(row)
        return found


def _span(kept: Kept, asked: Sequence[Moment]) -> tuple[date, date] | None:
    """The first and the last of the days asked for that may be kept of a book."""
    days = [one.day for one in asked if one.day is not None and kept.values(one.day)]
    return (min(days), max(days)) if days else None


def _added(rows: Sequence[Row], names: Sequence[str]) -> Held:
    """Rows of several books added up by currency."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(row["currency"], []).append(row)
    found: dict[str, Row] = {}
    with localcontext(CONTEXT):
        for currency, mine in parts.items():
            total: dict[str, Any] = {name: sum((row[name] for row in mine), ZERO) for name in names}
            missing = sorted({symbol for row in mine for symbol in row.get("missing_marks", ())})
            counts = {name: int(total[name]) for name in names if name.startswith(("lacks_", "open_", "stale"))}
            found[currency] = {**total, **counts, "missing_marks": missing}
    return found
