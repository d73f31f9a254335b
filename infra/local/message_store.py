"""The message store: what was acknowledged to a publisher survives kill -9, a power cut and a restart.

One sqlite file in WAL mode with full synchronisation. One thread owns the connection and commits in groups: whatever
arrived while a commit was being flushed goes into the next one, so thousands of publishes a second share a few hundred
flushes, and each publisher still hears "yes" only after its own message is on disk. Removals ride along and nobody
waits for them: one lost in a crash is a redelivery, which is what at-least-once means.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ID_BLOCK = 100_000
WAL_PAGES = 4_000
FIRST_ID = 10_000_000_000
LINGER_SECONDS = 0.05
CLOSE_SECONDS_MAX = 5

SCHEMA = """
create table if not exists numbers (name text primary key, value integer not null) without rowid;
create table if not exists pending (
    id integer primary key,           -- order of acceptance
    subscription text not null,
    ordering_key text not null,
    published_at real not null,       -- desk time, epoch seconds
    failures integer not null,
    body blob not null                -- the push body up to its last parts
);
create table if not exists slots (job text primary key, slot real not null) without rowid;
"""


class StoreError(Exception):
    """The file could not be written; nothing of the request was kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One message waiting for one subscription."""

    id: int
    subscription: str
    ordering_key: str
    published_at: float
    failures: int
    body: bytes


@dataclass(slots=True)
class _Batch:
    rows: list[tuple[int, str, str, float, int, bytes]]
    gone: list[tuple[int]]
    failures: list[tuple[int, int]]
    slots: list[tuple[str, float]]
    done: asyncio.Future[None]


class MessageStore:
    """Owned by one event loop. ``add`` waits for the commit; ``remove``, ``failed`` and ``slot_done`` do not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="message-store")
        self._batch: _Batch | None = None
        self._writing: _Batch | None = None
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._next_id = 0
        self._reserved = 0
        self.commits = 0

    async def open(self) -> None:
        """Open or make the file and begin to write."""
        loop = asyncio.get_running_loop()
        self._reserved = await loop.run_in_executor(self._thread, self._connect)
        self._next_id = self._reserved
        self._writer = asyncio.create_task(self._write_for_ever())

    async def close(self) -> None:
        """Commit what is left and close."""
        if self._writer is not None:
            left = [batch.done for batch in (self._writing, self._batch) if batch is not None]
            self._wake.set()
            if left:  # a commit that was handed to the thread and has not begun would be cancelled with the writer
                await asyncio.wait(left, timeout=CLOSE_SECONDS_MAX)
            self._writer.cancel()
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown(wait=True)

    def new_id(self) -> int:
        """The next message id; ids are never used twice, whatever was removed in between."""
        self._next_id += 1
        return self._next_id

    async def load(self) -> Sequence[Row]:
        """All waiting messages in the order of their acceptance, without their bodies (``body`` fetches one)."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: list(self._read()))

    async def load_slots(self) -> dict[str, float]:
        """The last finished slot of each job, as epoch seconds of desk time."""
        loop = asyncio.get_running_loop()
        query = "select job, slot from slots"
        return await loop.run_in_executor(self._thread, lambda: dict(self._connection.execute(query)))

    async def body(self, row_id: int) -> bytes:
        """The body of one waiting message that is not kept in memory."""
        loop = asyncio.get_running_loop()
        query = "select body from pending where id = ?"
        found = await loop.run_in_executor(self._thread, lambda: self._connection.execute(query, (row_id,)).fetchone())
        if found is None:
            raise StoreError(f"message {row_id} is not in the store")
        return bytes(found[0])

    async def replace(self, rows: Sequence[Row], gone: Sequence[int]) -> None:
        """Add ``rows`` and remove ``gone`` in one commit; returns after it. Raises StoreError, then nothing changed."""
        batch = self._current(is_urgent=True)
        batch.rows.extend((row.id, row.subscription, row.ordering_key, row.published_at, row.failures, row.body) for row in rows)
        batch.gone.extend((row_id,) for row_id in gone)
        await asyncio.shield(batch.done)

    async def add(self, rows: Sequence[Row]) -> None:
        """Add ``rows``; returns after the commit. Raises StoreError, then none was kept."""
        await self.replace(rows, ())

    def remove(self, row_id: int) -> None:
        """Forget an acknowledged message with the next commit."""
        self._current().gone.append((row_id,))

    def failed(self, row_id: int, failures: int) -> None:
        """Remember with the next commit how often a delivery failed."""
        self._current().failures.append((failures, row_id))

    def slot_done(self, job: str, slot: float) -> None:
        """Remember with the next commit that the slot of a job is over."""
        self._current().slots.append((job, slot))

    def _current(self, *, is_urgent: bool = False) -> _Batch:
        """The batch to write to; it is committed at once when somebody waits for it, else after a short while."""
        loop = asyncio.get_running_loop()
        if self._batch is None:
            self._batch = _Batch([], [], [], [], loop.create_future())
            loop.call_later(LINGER_SECONDS, self._wake.set)
        if is_urgent:
            self._wake.set()
        return self._batch

    async def _write_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._batch = self._batch, None
            self._writing = batch
            if batch is None:
                continue
            try:
                await loop.run_in_executor(self._thread, self._commit, batch, self._next_id)
            except sqlite3.Error as error:
                batch.done.set_exception(StoreError(str(error)))
                batch.done.exception()  # removals have nobody waiting; their messages come again, which is allowed
            else:
                batch.done.set_result(None)

    def _connect(self) -> int:
        self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        self._connection.execute(f"pragma wal_autocheckpoint = {WAL_PAGES}")
        self._connection.executescript(SCHEMA)
        row = self._connection.execute("select value from numbers where name = 'reserved'").fetchone()
        return int(row[0]) if row else FIRST_ID

    def _read(self) -> Iterator[Row]:
        query = "select id, subscription, ordering_key, published_at, failures from pending order by id"
        for row_id, subscription, key, published_at, failures in self._connection.execute(query):
            yield Row(
                id=row_id,
                subscription=subscription,
                ordering_key=key,
                published_at=published_at,
                failures=failures,
                body=b"",
            )

    def _commit(self, batch: _Batch, highest_id: int) -> None:
        run, run_many = self._connection.execute, self._connection.executemany
        run("begin immediate")
        try:
            if highest_id >= self._reserved:
                # Ids are reserved in blocks, before the first of a block is acknowledged, so a crash skips, never repeats.
                self._reserved = highest_id + ID_BLOCK
                run("insert or replace into numbers values ('reserved', ?)", (self._reserved,))
            run_many("insert into pending values (?, ?, ?, ?, ?, ?)", batch.rows)
            run_many("update pending set failures = ? where id = ?", batch.failures)
            run_many("delete from pending where id = ?", batch.gone)
            run_many("insert or replace into slots values (?, ?)", batch.slots)
            run("commit")
        except BaseException:
            run("rollback")
            raise
        self.commits += 1
