"""The sums behind results: cells of currency, group and date, over the actions of a range. Reads views of the ledger alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from fillbook.ledger.moment import Moment
from fillbook.runtime.sql import load_queries
from fillbook.tracker.store import Row, Seen
from fillbook.values import frozen

QUERIES: Final = load_queries("fillbook.tracker", "figures.sql")
OF_AN_EXECUTION: Final = frozenset({"day", "weekday", "reason"})
EVER: Final = datetime(1900, 1, 1, tzinfo=UTC)
FOR_EVER: Final = datetime(9000, 1, 1, tzinfo=UTC)


@frozen
class Asked:
    """Which actions: of the books of ``seqs``, executed in [since, until), at which moment.

    ``by`` is the word they are told apart by; not ``is_past``: as the ledger stands now.
    """

    seqs: Mapping[str, int]
    since: datetime | None
    until: datetime | None
    at: Moment
    is_past: bool
    by: str | None = None

    @property
    def books(self) -> list[str]:
        """The books by name."""
        return list(self.seqs)

    @property
    def clocks(self) -> dict[str, datetime]:
        """T and K for a statement; what is now needs neither."""
        if not self.is_past:
            return {"as_of": FOR_EVER, "known_as_of": FOR_EVER}
        return {"as_of": self.at.as_of, "known_as_of": self.at.known_as_of}

    @property
    def range(self) -> dict[str, datetime]:
        """Its two ends."""
        return {"since": self.since or EVER, "until": self.until or FOR_EVER}

    @property
    def spans(self) -> dict[str, Any]:
        """The range, once for each book."""
        ends = self.range
        return {
            "books": self.books,
            "sinces": [ends["since"]] * len(self.books),
            "untils": [ends["until"]] * len(self.books),
        }


def cells(seen: Seen, asked: Asked) -> list[Row]:
    """Sums by currency and group, of days and weekdays by New York date: the columns of ``results.Cell`` with their place."""
    return seen.tx.query(QUERIES["results"], by=asked.by, **asked.spans, **asked.clocks)


def active(seen: Seen, asked: Asked) -> list[Row]:
    """How many positions acted on each date by the word of an execution: ``trades``."""
    return seen.tx.query(QUERIES["active"], by=asked.by, **asked.spans, **asked.clocks)


def carried(seen: Seen, asked: Asked) -> list[Row]:
    """How many positions acted that were opened before the range: ``trades``."""
    if asked.since is None:
        return []
    common = {"books": asked.books, "by": asked.by, **asked.range}
    if asked.is_past:
        return seen.tx.query(QUERIES["carried_then"], **common, **asked.clocks)
    return seen.tx.query(QUERIES["carried"], **common)


def open_at(seen: Seen, asked: Asked, at: datetime) -> dict[str, int]:
    """How many positions of each currency were open when an instant came."""
    if asked.is_past:
        rows = seen.tx.query(QUERIES["open_at_then"], books=asked.books, at=at, **asked.clocks)
    else:
        rows = seen.tx.query(QUERIES["open_at"], books=asked.books, at=at)
    return {row["currency"]: row["positions"] for row in rows}


def base_currencies(seen: Seen) -> list[str]:
    """The currencies in which the books of the answer count."""
    return [row["currency"] for row in seen.tx.query(QUERIES["base_currencies"], books=seen.book_ids)]
