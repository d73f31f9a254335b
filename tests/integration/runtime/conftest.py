"""A database with a small room, reached directly or through the counting proxy."""

from collections.abc import Iterator

import pytest

from fillbook.runtime.db import Database, Settings, driver_connection
from tests.support.proxy import Proxy
from tests.support.rooms import ROOM
from tests.support.servers import database_config


def run_script(url: str, text: str) -> None:
    """Run several statements as the owner."""
    connection = driver_connection(database_config(url), Settings(application_name="setup"))
    connection.execute_simple(text)
    connection.close()


@pytest.fixture
def room(db, database_url) -> Database:
    """The test's database with the room in it."""
    run_script(database_url, ROOM)
    return db


@pytest.fixture
def proxy(postgres) -> Iterator[Proxy]:
    """A proxy before the session's server."""
    with Proxy("127.0.0.1", postgres.port) as proxy:
        yield proxy


@pytest.fixture
def through(room, proxy, database_url) -> Iterator[Database]:
    """The room's database, reached through ``proxy``."""
    database = Database.open(database_config(proxy.url(database_url)), application_name="through")
    yield database
    database.close()
