"""Growth of what is read: answers of the read API over books of more and more positions. It should not grow at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import requests

from tests.bench import api_place
from tests.bench.growth_place import Work

CALLS = 20
PATHS = {
    "a page of 200": "/timed/trades",
    "executions": "/timed/ledger/actions",
    "a ticker's position": "/timed/trades?ticker=T77&limit=1",
    "activity": "/timed/activity",
    "calendar of a month": "/timed/calendar",
}


def reading(path: str) -> Callable[[Sequence[int]], AbstractContextManager[Work]]:
    """An answer of ``path``: processor seconds of the function and of the database, one answer of many."""

    @contextmanager
    def begin(sizes: Sequence[int]) -> Iterator[Work]:
        (only,) = sizes
        with api_place.place(only) as where, requests.Session() as session:

            def work(size: int) -> float:
                assert size == only
                where.get(session, path)
                before = sum(where.busy_ms)
                for _ in range(CALLS):
                    where.get(session, path)
                return (sum(where.busy_ms) - before) / CALLS / 1000

            yield work

    return begin
