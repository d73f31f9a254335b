"""The read model's way to the database: one read-only snapshot per request, views of other rooms only.

Of positions ``present.Present`` reads what is now; ``past.Past`` answers the same questions for another moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from fillbook.runtime.db import Database, Tx
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import load_queries
from fillbook.values import frozen

QUERIES = load_queries("fillbook.tracker")
Row = dict[str, Any]
Groups = dict[tuple[str, str], list[Row]]
"""By book and position."""


@frozen
class Seen:
    """One consistent look at the desk: the books of the answer with their sequence, and how recent they are."""

    tx: Tx
    books: dict[str, int]
    recorded_at: datetime | None

    @property
    def book_ids(self) -> list[str]:
        """The books of the answer."""
        return list(self.books)

    def rows(self, name: str, **params: object) -> list[Row]:
        """Run one of the room's statements within the books of the answer."""
        return self.tx.query(QUERIES[name], books=self.book_ids, **params)


@contextmanager
def look(db: Database, key: DeskKey, wanted: Sequence[str] | None) -> Iterator[Seen]:
    """Open a REPEATABLE READ READ ONLY look; a book outside the key's list does not exist (``Rejected('book_unknown')``, 404)."""
    with db.transaction(read_only=True, isolation="repeatable read", tenant_id=key.tenant_id) as tx:
        yield _seen(tx, key, wanted)


@contextmanager
def write(db: Database, key: DeskKey, wanted: Sequence[str] | None) -> Iterator[Seen]:
    """As ``look``, in a transaction that may write a user's words and is committed at its end."""
    with db.transaction(tenant_id=key.tenant_id) as tx:
        yield _seen(tx, key, wanted)


def _seen(tx: Tx, key: DeskKey, wanted: Sequence[str] | None) -> Seen:
    chosen = None if wanted is None else list(wanted)
    found = [row for row in tx.query(QUERIES["books"], tenant_id=key.tenant_id, books=chosen) if key.sees(row["book_id"])]
    known = {row["book_id"]: int(row["seq"]) for row in found}
    for book_id in wanted or ():
        # the live book exists from the first signal on; before that it is there, and empty
        if book_id not in known and not (book_id == "live" and key.sees("live")):
            raise Rejected("book_unknown", "no such book for this key", field="books", status=404)
    recorded = [row["last_recorded_at"] for row in found if row["last_recorded_at"] is not None]
    return Seen(tx=tx, books=known, recorded_at=max(recorded, default=None))


def by_position(rows: list[Row], name: str = "position_id") -> Groups:
    """Rows grouped by (book, position), order kept."""
    groups: Groups = {}
    for row in rows:
        groups.setdefault((row["book_id"], str(row[name])), []).append(row)
    return groups
