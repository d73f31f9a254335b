"""A publishing desk on the test's own database, which is a copy of one that holds W1 and views refreshed for its evening."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from fillbook.snapshot import days, source
from infra.local.postgres import PostgresServer
from tests.support.servers import TEMPLATE, database_config
from tests.support.snapshot_publishing import EVENING, PublishDesk

W1_TEMPLATE = "snapshot_w1"


@pytest.fixture(scope="session")
def w1_template(postgres: PostgresServer, _superuser: Callable[[str], None]) -> Iterator[str]:
    """W1 booked, its day on the work list, the views refreshed at 16:30, small copies beside them; nothing published."""
    _superuser(f"create database {W1_TEMPLATE} template {TEMPLATE} strategy = file_copy")
    db = Database.open(
        database_config(postgres.url(database=W1_TEMPLATE)), application_name="tests", statement_timeout_seconds=60
    )

    def query(text: str) -> list[dict[str, Any]]:
        with db.transaction() as tx:
            return tx.query(statement(text))

    world = PublishDesk(lambda *_, **__: db, db, query)
    world.w1()
    source.put_days(db, days.standing(EVENING))
    source.refresh(db)
    world.make_foreign_views()
    db.close()
    yield W1_TEMPLATE
    _superuser(f"drop database {W1_TEMPLATE} with (force)")


@pytest.fixture
def desk(open_database: Any, db: Database, query: Callable[..., list[dict[str, Any]]]) -> PublishDesk:
    """What the test's database holds, before a shelf that takes every day."""
    return PublishDesk(open_database, db, query)


@pytest.fixture
def small(desk: PublishDesk) -> PublishDesk:
    """The same, publishing the small copies of W1's views as somebody else's: what a step costs most is a day's points."""
    desk.read_foreign_views()
    return desk
