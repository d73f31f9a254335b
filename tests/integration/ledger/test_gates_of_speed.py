"""Gates of the benchmarks that count instead of timing: round trips of a booking, and a book made again row for row.

Small by default; ``FILLBOOK_FULL=1`` makes the book of 10,000 fills that the specification names again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fillbook.ledger import rebuild, service
from fillbook.ledger.model import Book
from fillbook.runtime.db import Database
from tests.bench.rebuild import BOOK, STARTED_AT, history
from tests.support.campaigns import small_or_full
from tests.support.proxy import Proxy
from tests.support.servers import database_config

Query = Callable[..., list[dict[str, Any]]]
FILLS, BATCH = small_or_full(400, 10_000), 97
TABLES = ("fills", "adjustments", "execution_actions", "closings", "positions", "lots", "parked_fills", "books")


def test_a_booking_costs_at_most_two_round_trips(db: Database, postgres: Any, database_url: str) -> None:
    service.run(db, lambda tx: service.open_book(tx, Book(book_id=BOOK), STARTED_AT))
    with Proxy("127.0.0.1", postgres.port) as proxy:
        far = Database.open(database_config(proxy.url(database_url)), application_name="tests", pool_size=1)
        try:
            trips = []
            for fill in history(12):
                proxy.reset()
                service.run(far, lambda tx, fill=fill: service.book_fills(tx, BOOK, [fill], STARTED_AT))
                trips.append(proxy.trips)
        finally:
            far.close()
    assert max(trips[1:]) <= 2, f"the first opens the connection: {trips}"


def test_a_book_made_again_is_row_for_row_what_was_booked(db: Database, open_database: Any, query: Query) -> None:
    service.run(db, lambda tx: service.open_book(tx, Book(book_id=BOOK), STARTED_AT))
    fills = history(FILLS)
    for start in range(0, FILLS, BATCH):
        part = fills[start : start + BATCH]
        service.run(db, lambda tx, part=part: service.book_fills(tx, BOOK, part, STARTED_AT))
    before = {name: query(f"select to_json(t)::text as row from ledger.{name} t order by 1") for name in TABLES}
    assert rebuild.write(open_database("ledger_maintenance"), BOOK).is_equal
    assert {name: query(f"select to_json(t)::text as row from ledger.{name} t order by 1") for name in TABLES} == before
    assert len(before["fills"]) == FILLS
