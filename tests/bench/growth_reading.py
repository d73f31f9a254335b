"""Growth of what is read: answers of the read API over books of more and more positions. It should not grow at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import requests

from tests.bench import api_place
from tests.bench.growth_place import Works

CALLS = 20
PATHS = {
    "a page of 200": "/timed/trades",
    "executions": "/timed/ledger/actions",
    "a ticker's position": "/timed/trades?ticker=T77&limit=1",
    "activity": "/timed/activity",
    "calendar of a month": "/timed/calendar",
}


@contextmanager
def reading(sizes: Sequence[int]) -> Iterator[Works]:
    """Answers over a book of the one size: processor seconds of the function and of the database, one answer of many."""
    (only,) = sizes
    with api_place.place(only) as where, requests.Session() as session:

        def answered(path: str, size: int) -> float:
            if size != only:
                raise ValueError(size)
            where.get(session, path)
            spent = 0.0
            for _ in range(CALLS):
                where.change()  # else it is sent what was made before
                before = sum(where.busy_ms)
                where.get(session, path)
                spent += sum(where.busy_ms) - before
            return spent / CALLS / 1000

        yield {f"answering {name}": partial(answered, path) for name, path in PATHS.items()}
