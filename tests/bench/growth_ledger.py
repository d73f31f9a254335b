"""Growth of what books: executions one by one, a book made again, a day replayed, a published day stored."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from fillbook.ledger import rebuild, service
from fillbook.ledger.model import Book, Fill
from fillbook.runtime.db import Database
from fillbook.snapshot import document
from fillbook.snapshot.model import Stage
from fillbook.snapshot.receive import Delivery, receive
from tests.bench import replay
from tests.bench.growth_place import Works, ground, opened, spent
from tests.bench.rebuild import BATCH, STARTED_AT, history
from tests.bench.snapshot import GROWTH_MINUTES
from tests.support.snapshot_shapes import Shape, snapshot

REPLAYED = date(2026, 2, 2)


def _history(size: int, account: str) -> list[Fill]:
    return [replace(fill, account_key=account) for fill in history(size)]


def _opened_book(db: Database, account: str) -> str:
    book = f"ibkr:{account}"
    service.run(db, lambda tx: service.open_book(tx, Book(book_id=book), STARTED_AT))
    return book


@contextmanager
def booking(_: Sequence[int]) -> Iterator[Works]:
    """``size`` executions of a hundred instruments, one by one, into an empty book."""
    numbers = itertools.count(1)
    with ground() as here, opened(here.new_database()) as db:

        def work(size: int) -> float:
            account = f"B{next(numbers)}"
            book, fills = _opened_book(db, account), _history(size, account)

            def booked() -> None:
                for fill in fills:
                    service.run(db, lambda tx, fill=fill: service.book_fills(tx, book, [fill], STARTED_AT))

            return spent(db, booked)

        yield {"booking one by one": work}


@contextmanager
def rebuilding(sizes: Sequence[int]) -> Iterator[Works]:
    """A book of ``size`` fills made again from its journal and written."""
    with ground() as here:
        url = here.new_database()
        books: dict[int, str] = {}
        with opened(url) as db:
            for size in sizes:
                books[size] = _opened_book(db, f"R{size}")
                fills = _history(size, f"R{size}")
                for start in range(0, size, BATCH):
                    batch = fills[start : start + BATCH]
                    service.run(db, lambda tx, size=size, batch=batch: service.book_fills(tx, books[size], batch, STARTED_AT))
        with opened(f"{url}?role=ledger_maintenance") as db:

            def work(size: int) -> float:
                return spent(db, lambda: rebuild.write(db, books[size]))

            yield {"making a book again": work}


@contextmanager
def replaying(sizes: Sequence[int]) -> Iterator[Works]:
    """A stored session of ``size`` tickers replayed as a job of one task, in a process of its own."""
    numbers = itertools.count(1)
    days = {size: REPLAYED + timedelta(days=number) for number, size in enumerate(sizes)}
    with ground() as here:
        url = here.new_database()
        with opened(url) as db:
            for size, day in days.items():
                replay.keep(db, day, size)
        here.server.run("psql", "-qc", "analyze signal.receipts", url.rpartition("/")[2])

        def work(size: int) -> float:
            found = replay.counted(here.server, url, "job", day=days[size].isoformat(), run=f"growth-{next(numbers)}")
            return float(found["cpu"] + found["server"])

        yield {"replaying a session": work}


@contextmanager
def receiving(_: Sequence[int]) -> Iterator[Works]:
    """A day of ``size`` series of 400 points taken in as the API does: read, checked, stored in place of the one before."""
    numbers = itertools.count(1)
    begin = datetime(2026, 2, 12, 12, tzinfo=UTC)
    with quiet(), ground() as here, opened(f"{here.new_database()}?role=snapshot_api") as db:

        def work(size: int) -> float:
            number = next(numbers)
            shape = Shape(kpis=max(25, size), series=size, minutes=GROWTH_MINUTES)
            now = begin + timedelta(minutes=number)
            body = document.encoded(snapshot(shape, updated_at=now, seed=number, stage=Stage.INTRADAY))
            return spent(db, lambda: receive(db, Delivery(raw=body, forced=frozenset(), request_id="growth"), now))

        yield {"taking a published day in": work}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the line that is logged of each day: it would stand between the figures."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
