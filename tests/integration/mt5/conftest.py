"""Accounts on the test's own database: a worker with the grants of the functions' login role, an operator, a tenant's reader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.database.roles import login_role_statement
from tests.support.mt5_syncing import Syncing
from tests.support.mt5_world import WORKER_GROUPS, Query, World

ROLE = "mt5_test_worker"


@pytest.fixture
def world(db: Database, open_database: Any, query: Query) -> World:
    """An empty room."""
    with db.transaction() as tx:
        tx.execute(statement(login_role_statement(ROLE, WORKER_GROUPS)))
    return World(open_database(ROLE, pool_size=4), open_database("desk_operator"), query)


@pytest.fixture
def reader(open_database: Any) -> Database:
    """The page's database: it sees what belongs to the tenant that its transaction names."""
    return open_database("tracker_reader")


@pytest.fixture
def syncing(db: Database, open_database: Any, query: Query) -> Iterator[Syncing]:
    """Accounts of a fake broker beside an empty room."""
    with db.transaction() as tx:
        tx.execute(statement(login_role_statement(ROLE, WORKER_GROUPS)))
    made = Syncing(open_database(ROLE, pool_size=4), open_database("desk_operator"), query)
    with made.fake:
        yield made
