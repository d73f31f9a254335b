"""A populated database is brought from an older version to the newest while the old code goes on working: nobody notices.

The old code's statements are those of today's worker and of readers of views that the old version had: that they work there is
shown before anything is migrated. A report that reads on and on keeps the migration waiting meanwhile, as in every real night.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ledger import audit
from fillbook.runtime.clock import monotonic
from fillbook.runtime.db import Database
from fillbook.runtime.dberrors import Contended
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.pool import Pool
from fillbook.runtime.sql import statement
from fillbook.runtime.tx import Tx
from fillbook.signal.receipt import instant
from infra.database import migrate as migrations
from infra.local.postgres import PostgresServer
from tests.support.catalog import catalog
from tests.support.receipts import body
from tests.support.servers import WHOLE_TEMPLATE, database_config
from tests.support.signal_live import LiveDesk, digest

BASE = "0023"
"""Where the old code stood: ten versions back, tables of the ledger get their keys anew on the way."""
TICKERS = 10
STORY = ((0, "100.40"), (5, "100.60"), (20, "102.10"), (22, "102.00"), (24, "102.07"), (40, "97.00"))
STORIES_BEFORE = 4
REPORT_SECONDS = 3.2  # longer than a lock is waited for: whoever queued behind a migration that waits for it would fail
PAUSE_SECONDS = 0.02
ANSWER_SECONDS_MAX = 20.0
"""Bounded, not measured. Longer than three seconds no function waits for a lock: whoever did is among those that failed."""
QUESTIONS = {
    "tracker_reader": (
        "select count(*) from ledger.v_actions",
        "select ticker, lane, reason from signal.v_board order by ticker",
        "select position_id, status, realized_pnl from ledger.v_positions order by position_id",
        "select * from ledger.v_lots order by lot_id",
        "select count(*) from notify.v_messages",
        "select * from outbox.v_backlog",
    ),
    "ledger_reader": ("select * from ledger.v_books", "select * from ledger.v_book_totals"),
}
NewDatabase = Callable[[str], Database]


class Watched(Database):
    """The worker's database; a wait for a lock that was too long is kept, because the worker would only try again."""

    def __init__(self, pool: Pool, waited: list[str]) -> None:
        super().__init__(pool)
        self._waited = waited

    @contextmanager
    def transaction(self, **options: Any) -> Iterator[Tx]:
        """As the worker's."""
        try:
            with super().transaction(**options) as tx:
                yield tx
        except Contended as error:
            self._waited.append(str(error))
            raise


@pytest.fixture
def template() -> str:
    """All months, not only those that tests write to: what the migrated database is compared with."""
    return WHOLE_TEMPLATE


@pytest.fixture
def old(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty database of the older version."""
    postgres.run("psql", "-qc", "create database released")
    url = postgres.url(database="released")
    migrations.migrate(url, to=BASE)
    yield url
    postgres.run("psql", "-qc", "drop database released with (force)")


def stories() -> list[list[dict[str, Any]]]:
    return [
        [body(minutes=minutes, price=Decimal(price), ticker=f"ZZT{number}", sector=None) for minutes, price in STORY]
        for number in range(TICKERS)
    ]


class Looked(LiveDesk):
    """A desk with a database that sees everything, to look at it."""

    def __init__(self, url: str, worker: Database, opened: list[Database]) -> None:
        self.looking = Database.open(database_config(url), application_name="looking", pool_size=2)
        opened.append(self.looking)
        super().__init__(worker, self.asked)

    def asked(self, text: str, **params: object) -> list[dict[str, Any]]:
        with self.looking.transaction() as tx:
            return tx.query(statement(text), **params)


@pytest.fixture
def opened() -> Iterator[list[Database]]:
    databases: list[Database] = []
    yield databases
    for database in databases:
        database.close()


class Traffic:
    """Old code at work in threads of its own, until it is told that the migration has ended and everything was delivered."""

    def __init__(self, desk: LiveDesk, url: str, opened: list[Database]) -> None:
        self.desk, self.url, self.opened = desk, url, opened
        self.migrated = threading.Event()
        self.failed: list[str] = []
        self.seconds: list[tuple[float, str]] = []
        self.meanwhile = 0

    def asked(self, name: str, request: Callable[[], object]) -> None:
        """One request: how long it took, and whether it failed."""
        began = monotonic()
        try:
            request()
        except Exception as error:  # noqa: BLE001 - whatever a caller would have seen
            self.failed.append(f"{name}: {error!r}")
        self.seconds.append((monotonic() - began, name))
        self.meanwhile += not self.migrated.is_set()

    def deliver(self, story: list[dict[str, Any]]) -> None:
        """A ticker's receipts, one after the other."""
        for document in story:
            self.asked("receipt", lambda document=document: self.desk.take(document))
            time.sleep(0 if self.migrated.is_set() else PAUSE_SECONDS)

    def read(self, role: str) -> None:
        """A reader's questions, again and again."""
        database = Database.open(database_config(f"{self.url}?role={role}"), application_name="reader", pool_size=1)
        self.opened.append(database)
        is_last = False
        while not is_last:
            is_last = self.migrated.is_set()
            for text in QUESTIONS[role]:
                self.asked(text, lambda text=text: answer(database, text))
            time.sleep(PAUSE_SECONDS)

    def report(self) -> None:
        """One long transaction of a reader, which nobody may interrupt."""
        database = Database.open(database_config(f"{self.url}?role=tracker_reader"), application_name="report", pool_size=1)
        self.opened.append(database)
        with database.transaction(read_only=True, isolation="repeatable read") as tx:
            tx.query(statement("select count(*) from ledger.v_actions"))
            time.sleep(REPORT_SECONDS)
            tx.query(statement("select count(*) from ledger.v_lots"))


def answer(database: Database, text: str) -> list[dict[str, Any]]:
    with database.transaction(read_only=True) as tx:
        return tx.query(statement(text))


@pytest.mark.slow
def test_old_code_books_and_reads_on_while_a_populated_database_is_migrated(
    old: str, database_url: str, opened: list[Database]
) -> None:
    waited: list[str] = []
    worker = Database.open(database_config(f"{old}?role=signal_worker"), application_name="worker", pool_size=4)
    watched = Watched(worker._pool, waited)
    opened.append(worker)
    desk = Looked(old, watched, opened)
    traffic = Traffic(desk, old, opened)
    for story in stories()[:STORIES_BEFORE]:
        for document in story:
            assert desk.take(document).result == "decided"
    with ThreadPoolExecutor(6) as threads:
        reading = [threads.submit(traffic.read, role) for role in QUESTIONS]
        report = threads.submit(traffic.report)
        booking = [threads.submit(traffic.deliver, story) for story in stories()[STORIES_BEFORE:]]
        time.sleep(PAUSE_SECONDS)
        try:
            migrations.migrate(old)
        finally:
            traffic.migrated.set()
        for future in (*reading, report, *booking):
            future.result()
    assert (traffic.failed, waited) == ([], [])
    assert traffic.meanwhile >= 30, "there was no traffic to speak of"
    longest, name = max(traffic.seconds)
    assert longest < ANSWER_SECONDS_MAX, name
    same_state(desk, database_url, opened)


def same_state(desk: Looked, database_url: str, opened: list[Database]) -> None:
    """The same receipts on a database that was new from the start: the same books, decisions and objects."""
    worker = Database.open(database_config(f"{database_url}?role=signal_worker"), application_name="worker")
    opened.append(worker)
    calm = Looked(database_url, worker, opened)
    for story in stories():
        for document in story:
            calm.take(document)
    found, expected = digest(desk.query), digest(calm.query)
    for table in ("signal.receipts", "signal.plans", "signal.stop_history", "ledger.v_lots", "ledger.v_positions"):
        assert found[table] == expected[table], table
    decisions = "select ticker, ts, lane::text as lane, rule, score, action_ids from signal.v_decisions order by ticker, ts"
    assert desk.query(decisions) == calm.query(decisions)
    assert desk.count("outbox.events") == desk.count("ledger.execution_actions") > TICKERS
    for looked_at in (desk.looking, calm.looking):
        assert audit.audit(looked_at, "live", instant(body()["ts"])).exit == 0
    assert catalog(desk.looking) == catalog(calm.looking)


def test_a_migration_that_finds_a_table_busy_waits_half_a_second_at_a_time_and_says_when_it_gives_up(
    old: str, monkeypatch: pytest.MonkeyPatch, opened: list[Database]
) -> None:
    monkeypatch.setattr(migrations, "UPGRADE_TRIES", 2)
    monkeypatch.setattr(migrations, "BUSY_PAUSE_SECONDS", (0.0, 0.01))
    reader = Database.open(database_config(old), application_name="reader", pool_size=1)
    opened.append(reader)
    with reader.transaction() as tx:
        tx.query(statement("select count(*) from outbox.events"))
        began = monotonic()
        with pytest.raises(Exception, match="55P03"):
            migrations.migrate(old)
        assert monotonic() - began >= 2 * migrations.LOCK_WAIT_MS / 1000
    migrations.migrate(old)


def test_indexes_are_made_outside_a_transaction_while_the_table_is_written(
    old: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, opened: list[Database]
) -> None:
    """A file that asks for it is run statement by statement; it may be run again after a broken attempt."""
    text = """-- outside a transaction
-- What a question of a later version walks.
drop index concurrently if exists ledger.books_by_name;
create index concurrently books_by_name on ledger.books (chain_head);
"""
    for path in migrations.MIGRATIONS.glob("*.sql"):
        (tmp_path / path.name).write_text(path.read_text("utf-8") if path.name < "0037" else text)
    monkeypatch.setattr(migrations, "MIGRATIONS", tmp_path)
    writer = Database.open(database_config(old), application_name="writer", pool_size=1)
    opened.append(writer)
    migrations.migrate(old, to="0033")
    answer(writer, "select 1")
    migrations.migrate(old)
    (row,) = answer(writer, "select indisvalid from pg_index where indexrelid = 'ledger.books_by_name'::regclass")
    assert row == {"indisvalid": True}
    assert "create index books_by_name" in migrations.schema_text()
    with pytest.raises(Unavailable):
        migrations.migrate(old.replace("postgres@", "nobody@"))
