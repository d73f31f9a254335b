"""Journeys 6 to 12 of the page: Kanban, a position from its first entry, and History."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.local.postgres import PostgresServer
from tests.support.notify_desk import open_desk
from tests.support.servers import TEMPLATE, database_config
from tests.support.tracker_browser import ADMIN, CHROMIUM, READER, Visitor, served
from tests.support.tracker_journeys import NOW, JourneyDesk

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def desk(postgres: PostgresServer, _superuser: Callable[[str], None], tmp_path_factory: Any) -> Iterator[tuple[str, JourneyDesk]]:
    name = "journeys"
    _superuser(f"create database {name} template {TEMPLATE} strategy = file_copy")
    url = postgres.url(database=name)
    opened: list[Database] = []

    def database(role: str | None = None) -> Database:
        opened.append(Database.open(database_config(f"{url}?role={role}" if role else url), application_name="tests"))
        return opened[-1]

    owner = database()

    def query(text: str, **params: object) -> list[dict[str, Any]]:
        with owner.transaction() as tx:
            return tx.query(statement(text), **params)

    with open_desk(database("discord_notifier"), owner) as notify:
        desk = JourneyDesk(owner, database("signal_worker"), notify, query)
        desk.furnish()
        with served(url, tmp_path_factory.mktemp("journeys"), NOW) as address:
            yield address, desk
    for one in opened:
        one.close()
    _superuser(f"drop database {name} with (force)")


def test_scratch(browser: Browser, desk: Any) -> None:
    import os
    import time

    address, world = desk
    print("SERVED", address, READER, ADMIN, flush=True)
    stop = Path("/tmp/tkl_stop")
    cmd = Path("/tmp/tkl_cmd")
    stop.unlink(missing_ok=True)
    while not stop.exists():
        if cmd.exists():
            getattr(world, cmd.read_text().strip())()
            cmd.unlink()
        time.sleep(0.3)
