"""Check 2: Postgres is killed with -9 under load: what was acknowledged is there, nothing is half there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fillbook.ledger import audit
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.sql import statement
from fillbook.signal.receipt import instant
from infra.database.migrate import migrate
from infra.local.postgres import PostgresServer
from tests.support.receipts import body
from tests.support.servers import database_config
from tests.support.signal_live import LiveDesk, digest
from tests.support.waiting import wait_until

TICKERS = 8
STORY = ((0, "100.40"), (5, "100.60"), (20, "102.10"), (22, "102.00"), (23, "102.05"), (24, "102.07"), (40, "97.00"))
KILL_AFTER = (9, 21, 38)  # receipts acknowledged


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server that keeps what it acknowledged (fsync), with two migrated databases."""
    with PostgresServer(tmp_path_factory.mktemp("durable") / "pgdata", fsync=True) as durable:
        durable.run("psql", "-qc", "create database calm")
        migrate(durable.url(database="calm"))
        durable.run("psql", "-qc", "create database killed template calm")
        yield durable


@pytest.fixture
def opened(server: PostgresServer) -> Iterator[Callable[..., Database]]:
    databases: list[Database] = []

    def open_it(name: str, role: str = "") -> Database:
        url = server.url(database=name) + (f"?role={role}" if role else "")
        databases.append(Database.open(database_config(url), application_name="load", pool_size=4))
        return databases[-1]

    yield open_it
    for database in databases:
        database.close()


def desk_of(opened: Callable[..., Database], name: str) -> LiveDesk:
    admin = opened(name)

    def query(text: str, **params: object) -> list[dict[str, Any]]:
        with admin.transaction() as tx:
            return tx.query(statement(text), **params)

    return LiveDesk(opened(name, "signal_worker"), query)


def day() -> dict[str, list[dict[str, Any]]]:
    return {
        f"ZZT{number}": [
            body(minutes=minutes, price=Decimal(price), ticker=f"ZZT{number}", sector=None) for minutes, price in STORY
        ]
        for number in range(TICKERS)
    }


@pytest.mark.slow
def test_postgres_killed_three_times_under_load_keeps_every_acknowledged_receipt_and_no_half_lot(
    server: PostgresServer, opened: Callable[..., Database], tmp_path: Path
) -> None:
    calm, desk = desk_of(opened, "calm"), desk_of(opened, "killed")
    for documents in day().values():
        for document in documents:
            assert calm.take(document).result == "decided"
    acknowledged: list[tuple[str, int]] = []
    refused: list[str] = []
    lock, port = threading.Lock(), server.port

    def is_taken(document: dict[str, Any]) -> bool:
        try:
            desk.take(document)
        except Unavailable as error:
            refused.append(error.reason)
            return False
        return True

    def deliver(documents: list[dict[str, Any]]) -> None:
        for document in documents:
            wait_until(lambda document=document: is_taken(document))
            with lock:
                acknowledged.append((document["ticker"], document["ts"]))
                if len(acknowledged) in KILL_AFTER:
                    server.kill()
                    kept.append(len(acknowledged))
                    server.start(port=port)
                    assert {(row["ticker"], row["ts"]) for row in stored(desk)} >= {
                        (ticker, instant(ts)) for ticker, ts in acknowledged
                    }, "acknowledged and gone"

    kept: list[int] = []
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(deliver, day().values()))
    assert kept == list(KILL_AFTER)
    assert len(acknowledged) == TICKERS * len(STORY)
    assert refused, "the load never noticed: it was no load"
    found, expected = digest(desk.query), digest(calm.query)
    for table in ("signal.receipts", "signal.plans", "signal.stop_history", "ledger.v_lots", "ledger.v_positions"):
        assert found[table] == expected[table], table
    assert decisions(desk) == decisions(calm)
    assert desk.count("outbox.events") == desk.count("ledger.execution_actions")
    assert audit.audit(opened("killed"), "live", instant(body()["ts"])).exit == 0


def stored(desk: LiveDesk) -> list[dict[str, Any]]:
    """Receipts that stand in the database; the first look after a kill may meet a dead connection."""
    found: list[dict[str, Any]] = []

    def is_told() -> bool:
        try:
            found[:] = desk.query("select ticker, ts from signal.receipts")
        except Unavailable:
            return False
        return True

    wait_until(is_told)
    return found


def decisions(desk: LiveDesk) -> list[dict[str, Any]]:
    """What was decided and booked; what a decision saw of the whole book depends on who came first."""
    return desk.query(
        "select ticker, ts, lane::text as lane, rule, score, action_ids from signal.v_decisions order by ticker, ts"
    )
