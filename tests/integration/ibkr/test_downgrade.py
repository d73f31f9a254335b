"""Taking the room away: refused while it holds executions, which the broker does not all serve again."""

from __future__ import annotations

import importlib
from contextlib import closing

import pytest

from fillbook.runtime.db import Settings, driver_connection
from tests.support.ibkr import exec_id, tws
from tests.support.ibkr_world import Query, World
from tests.support.servers import database_config

DOWN: str = importlib.import_module("infra.database.alembic.versions.0012_ibkr").DOWN


def run_script(url: str, text: str) -> None:
    with closing(driver_connection(database_config(url), Settings(application_name="tests"))) as connection:
        connection.execute_simple(text)


def test_a_room_that_holds_executions_is_not_taken_away(world: World, database_url: str) -> None:
    world.socket(tws(exec_id(1)))
    with pytest.raises(Exception, match="trade_executions has rows"):
        run_script(database_url, DOWN)
    assert len(world.executions()) == 1


def test_an_empty_room_can_be_taken_away(database_url: str, query: Query) -> None:
    # the membership of roles is the whole cluster's and other tests need it
    run_script(database_url, DOWN.replace("revoke ibkr_reader from tracker_reader;", ""))
    assert query("select to_regnamespace('ibkr')::text as room") == [{"room": None}]
