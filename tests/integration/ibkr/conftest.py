"""A desk on the test's own database, acting with the grants of the function's login role only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.database.roles import login_role_statement
from tests.support.ibkr_socket import SocketWorld
from tests.support.ibkr_world import WORKER_GROUPS, Query, World

ROLE = "ibkr_test_worker"
EMPTY = """do $$ begin execute (
    select 'truncate ' || string_agg(format('%I.%I', schemaname, tablename), ', ') || ' cascade'
      from pg_tables where schemaname in ('ibkr', 'ledger') or (schemaname, tablename) = ('outbox', 'events')); end $$"""


@pytest.fixture
def worker(db: Database, open_database: Any) -> Database:
    """A database that acts as the function does."""
    with db.transaction() as tx:
        tx.execute(statement(login_role_statement(ROLE, WORKER_GROUPS)))
    return open_database(ROLE, pool_size=8)


@pytest.fixture
def world(worker: Database, query: Query) -> World:
    """A desk whose opening balance is booked, so that executions are told to the ledger."""
    return World(worker, query)


@pytest.fixture
def make_world(worker: Database, query: Query) -> Callable[..., World]:
    """``make_world(opened=False)``: a desk that still waits for its opening balance."""

    def make(**options: Any) -> World:
        return World(worker, query, **options)

    return make


@pytest.fixture
def desk(worker: Database, query: Query) -> Iterator[SocketWorld]:
    """A desk beside a fake TWS; whatever a test does, no order message may ever reach it."""
    made = SocketWorld(worker, query)
    with made.fake:
        yield made
        assert made.fake.orders() == []


@pytest.fixture
def anew(db: Database, worker: Database, query: Query) -> Callable[[], World]:
    """Empties the test's database and returns a desk on it."""

    def make() -> World:
        with db.transaction() as tx:
            tx.execute(statement(EMPTY))
        return World(worker, query)

    return make
