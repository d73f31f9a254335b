"""The marks of an instrument: what a chart draws. Nothing is filled in between them. Source: tracker.md 3."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, cast

from fillbook.calendar import calendar
from fillbook.ledger.valuation import FRESH, mark_state
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import load_queries
from fillbook.tracker import listing, store
from fillbook.tracker.marks_model import Mark, Marks
from fillbook.tracker.model import single
from fillbook.tracker.route import Given, Parameter, Route, Source, names
from fillbook.tracker.store import Row
from fillbook.tracker.wire import answer, instants, text

QUERIES: Final = load_queries("fillbook.tracker", "marks.sql")
POINTS_MAX: Final = 5_000
INSTRUMENT_LENGTH_MAX: Final = 128
EVER: Final = datetime(1900, 1, 1, tzinfo=UTC)
FOR_EVER: Final = datetime(9000, 1, 1, tzinfo=UTC)

INSTRUMENT: Final = Parameter(
    name="instrument",
    schema={"type": "string", "minLength": 1, "maxLength": INSTRUMENT_LENGTH_MAX, "examples": ["AAPL"]},
    purpose="The instrument as its book names it; of the desk's own books the ticker.",
)
LIMIT: Final = listing.limit(POINTS_MAX, POINTS_MAX)
PARAMETERS: Final = (listing.BOOKS, *listing.RANGE, LIMIT)


def marks(db: Database, key: DeskKey, given: Given, now: datetime, *, instrument: str) -> Marks:
    """The marks of an instrument in the books of the answer; 404 ``instrument_unknown`` for a name that can be none."""
    asked = listing.read(single(given, names(PARAMETERS)), "marks", POINTS_MAX, POINTS_MAX)
    if not (0 < len(instrument) <= INSTRUMENT_LENGTH_MAX and instrument.isprintable()):
        raise Rejected("instrument_unknown", "no such instrument", status=404)
    with store.look(db, key, asked.books) as seen:
        rows = seen.tx.query(
            QUERIES["marks"],
            books=seen.book_ids,
            instrument=instrument,
            since=asked.since or EVER,
            until=asked.until or FOR_EVER,
            limit=asked.limit + 1,
        )
    shown = rows[: asked.limit][::-1]
    found = answer(
        now,
        max((row["marked_at"] for row in shown), default=None),
        seen.books,
        instrument=instrument,
        count=len(shown),
        has_more=len(rows) > asked.limit,
        points=_points(shown, now),
    )
    return cast("Marks", found)


def _points(rows: list[Row], now: datetime) -> list[Mark]:
    """The marks with how long each was good: until the next one of its book came, the last one until now."""
    exchange = calendar()
    until: dict[str, datetime] = {}
    found: list[Mark] = []
    for row in reversed(rows):
        book_id = row["book_id"]
        state = mark_state(row["marked_at"], until.get(book_id, now), book_id.partition(":")[0], exchange)
        until[book_id] = row["marked_at"]
        point = {
            **instants("", row["marked_at"]),
            "book_id": book_id,
            "price": text(row["price"]),
            "bid": text(row["bid"]),
            "ask": text(row["ask"]),
            "state": "fresh" if state == FRESH else "stale",
        }
        found.append(cast("Mark", point))
    return found[::-1]


ROUTES: Final = (
    Route(
        path="/timed/marks/{instrument}",
        purpose="The marks of an instrument, oldest first.",
        use_case=marks,
        answer=Marks,
        parameters=(*PARAMETERS, INSTRUMENT),
        sources=frozenset({Source.MARKS, Source.MINUTE}),
    ),
)
