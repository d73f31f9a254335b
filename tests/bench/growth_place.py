"""Where growth is measured: a server of its own, databases from a migrated template, the processor time of one connection."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.database.migrate import migrate
from infra.local.postgres import PostgresServer
from tests.bench.processor import running_seconds
from tests.bench.report import RESULTS
from tests.support.servers import database_config

TEMPLATE = "growth"
Work = Callable[[int], float]
"""Something done at a size: the processor seconds it took, of ours and of the server's process."""
Works = Mapping[str, Work]
"""Works of one kind by what they do."""


class Ground:
    """A server with a migrated template."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._numbers = itertools.count(1)

    def new_database(self) -> str:
        """The URL of a fresh migrated database."""
        name = f"{TEMPLATE}_{next(self._numbers)}"
        self.server.run("psql", "-qc", f"create database {name} template {TEMPLATE}")
        return self.server.url(database=name)


@contextmanager
def ground() -> Iterator[Ground]:
    """A server that forgets nothing it must not, and flushes nothing: what a flush waits for is not processor time."""
    data = RESULTS / "growth-pg"
    shutil.rmtree(data, ignore_errors=True)
    with PostgresServer(data, fsync=False, settings={"max_wal_size": "4GB"}) as server:
        server.run("psql", "-qc", f"create database {TEMPLATE}")
        migrate(server.url(database=TEMPLATE))
        yield Ground(server)
    shutil.rmtree(data, ignore_errors=True)


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """A database behind one connection, so that one process of the server does everything."""
    db = Database.open(database_config(url), application_name="bench", pool_size=1, statement_timeout_seconds=600)
    try:
        yield db
    finally:
        db.close()


def spent(db: Database, work: Callable[[], object]) -> float:
    """Processor seconds of this process and of the one behind ``db`` while ``work`` was done."""
    with db.transaction() as tx:
        (row,) = tx.query(statement("select pg_backend_pid() as pid"))
    before = time.process_time() + running_seconds(row["pid"])
    work()
    return time.process_time() + running_seconds(row["pid"]) - before
