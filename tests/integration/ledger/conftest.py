"""Each scenario is told to a book in memory and to one in Postgres; the stored one must pass its audit afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fillbook.ledger import audit
from fillbook.ledger.model import Book
from fillbook.runtime.db import Database
from tests.support.ledger import MemoryWorld, StoredWorld, at, make_book

World = MemoryWorld | StoredWorld
MakeWorld = Callable[..., World]


@pytest.fixture(params=["memory", "postgres"])
def make_world(request: pytest.FixtureRequest) -> Iterator[MakeWorld]:
    """``make_world(book_id, method, netting, **book)`` opens a book in the world of the day."""
    stored: list[StoredWorld] = []
    db: Database | None = request.getfixturevalue("db") if request.param == "postgres" else None

    def make(book_id: str = "live", method: str = "FIFO", netting: str = "net", **options: object) -> World:
        book: Book = make_book(book_id, method, netting, **options)
        if db is None:
            return MemoryWorld(book)
        world = StoredWorld(db, book)
        stored.append(world)
        return world

    yield make
    for world in stored:
        result = audit.audit(world.db, world.book.book_id, at(60))
        assert result.exit == 0, result.findings


@pytest.fixture
def stored(db: Database) -> StoredWorld:
    """A live book in Postgres."""
    return StoredWorld(db, make_book())
