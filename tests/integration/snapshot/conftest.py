"""A database that the tests of a module share: each opens a book of its own in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fillbook.runtime.db import Database
from infra.local.postgres import PostgresServer
from tests.support.servers import TEMPLATE, database_config
from tests.support.snapshot_desk import SnapshotDesk


@pytest.fixture(scope="module")
def desk_url(postgres: PostgresServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of this module's database."""
    name = f"snapshot_{Path(request.path).stem}"
    postgres.run("psql", "-qc", f"create database {name} template {TEMPLATE} strategy = file_copy")
    yield postgres.url(database=name)
    postgres.run("psql", "-qc", f"drop database {name} with (force)")


@pytest.fixture(scope="module")
def desk(desk_url: str) -> Iterator[SnapshotDesk]:
    """Books and figures in this module's database, as its owner."""
    db = Database.open(database_config(desk_url), application_name="tests", statement_timeout_seconds=120)
    yield SnapshotDesk(db)
    db.close()
