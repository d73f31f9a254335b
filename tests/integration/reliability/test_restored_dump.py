"""Reliability 33: a dump restored into an empty server and rebuilt is the same book, to the last hash.

The dumps are made and read by the server's own ``pg_dump`` and ``psql``, into a server that has never held anything.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from fillbook.ledger import audit, rebuild
from fillbook.ledger.bookstore import book_head, book_state_hash
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.database.migrate import migrate
from infra.local.postgres import PostgresServer
from tests.integration.reliability.conftest import Query
from tests.support.ledger import StoredWorld, at, make_book, make_fill
from tests.support.receipts import body
from tests.support.servers import database_config
from tests.support.signal_live import LiveDesk

BOOKS = ("live", "ibkr:U1", "mt5:server:7")
TABLES = ("books", "fills", "adjustments", "execution_actions", "closings", "positions", "lots", "parked_fills")
JOURNAL = ("books", "fills", "adjustments")
EVERY_TABLE = """select format('%I.%I', n.nspname, c.relname) as name
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'm') and not c.relispartition
   and n.nspname not in ('pg_catalog', 'information_schema') order by 1"""


def disturbed(db: Database) -> None:
    """Three books: decisions, facts with corrections, busts, late fees, a split and a parked one, hedged positions."""
    rng = random.Random(33)
    live = StoredWorld(db, make_book("live"))
    live.deliver([make_fill("a", "BUY", 10, 100, fees="1"), make_fill("b", "SELL", 4, "110.25", 2, fees="0.4")])
    broker = StoredWorld(db, make_book("ibkr:U1", "HIFO"))
    for number in range(50):
        fill = make_fill(
            f"f{rng.randrange(35)}",
            rng.choice(["BUY", "BUY", "SELL"]),
            rng.randint(1, 9),
            rng.randint(90, 110),
            rng.randint(0, 120),
            source="ibkr",
            instrument=rng.choice(["AMD", "NVDA"]),
            source_revision=rng.choice([1, 1, 2, 3]),
            is_bust=rng.random() < 0.1,
            position_effect=rng.choice(["auto", "auto", "close"]),
            fees=rng.choice([Decimal("0.35"), None]),
        )
        broker.deliver([fill], at(number))
        if number == 25:
            broker.split((4, 1), 60)
    hedged = StoredWorld(db, make_book("mt5:server:7", "SPECIFIC", "hedge"))
    for number, direction in enumerate(("LONG", "SHORT")):
        side = "BUY" if direction == "LONG" else "SELL"
        hedged.deliver(
            [make_fill(direction, side, "0.1", "1.2345", number, source="mt5", direction=direction, lot_ref=direction)]
        )


def decided(db: Database, query: Query) -> None:
    """Receipts of a ticker that entered and trimmed, so that rooms beside the ledger hold rows too."""
    desk = LiveDesk(db, query)
    for minutes, price in ((0, "100.40"), (20, "102.10"), (25, "103.00")):
        desk.take(body(minutes=minutes, price=Decimal(price)))


def rows(db: Database, tables: tuple[str, ...] = TABLES) -> dict[str, list[str]]:
    """Every row of the tables, ordered, as text: "same state" is equality of these."""
    with db.transaction(read_only=True) as tx:
        return {
            name: [row["row"] for row in tx.query(statement(f"select to_json(t)::text as row from ledger.{name} t order by 1"))]
            for name in tables
        }


def everything(db: Database) -> dict[str, list[str]]:
    """Every row of every table of every room, ordered, as text; partitions under the names of their tables."""
    with db.transaction(read_only=True) as tx:
        names = [row["name"] for row in tx.query(statement(EVERY_TABLE))]
        return {
            name: [row["row"] for row in tx.query(statement(f"select to_json(t)::text as row from {name} t order by 1"))]
            for name in names
        }


def hashes(db: Database) -> dict[str, tuple[str, str]]:
    """Book id -> (state hash, chain head)."""
    with db.transaction(read_only=True) as tx:
        return {book: (book_state_hash(tx, book), book_head(tx, book).chain_head.hex()) for book in BOOKS}


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[PostgresServer]:
    """A server that has never held anything."""
    with PostgresServer(tmp_path / "pgdata", fsync=False) as server:
        yield server


def opened(url: str, role: str | None = None) -> Database:
    return Database.open(database_config(f"{url}?role={role}" if role else url), application_name="tests")


def test_check_33_a_dump_of_everything_restored_into_an_empty_server_is_the_same_state(
    db: Database, query: Query, database_url: str, postgres: PostgresServer, empty: PostgresServer
) -> None:
    disturbed(db)
    decided(db, query)
    name = database_url.rpartition("/")[2]
    roles = postgres.run("pg_dumpall", "--roles-only", "--no-role-passwords")
    empty.run("psql", "-q", "-v", "ON_ERROR_STOP=1", text=_without_superuser(roles))
    empty.run("psql", "-qc", "create database restored")
    # as in the cloud, where nobody is a superuser: the owner, who sees every row behind the walls and may not skip them
    dump = postgres.run("pg_dump", "--role=fillbook_owner", "--enable-row-security", "-d", name)
    empty.run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", "restored", text=dump)
    restored = opened(empty.url(database="restored"))
    try:
        kept = everything(db)
        assert everything(restored) == kept
        assert {name.partition(".")[0] for name, held in kept.items() if held} >= {"ledger", "signal", "outbox"}
        assert hashes(restored) == hashes(db)
        for book in BOOKS:
            assert rebuild.check(restored, book).is_equal
            assert audit.audit(restored, book, at(200)).exit == 0
        maintenance = opened(empty.url(database="restored"), "ledger_maintenance")
        try:
            assert all(rebuild.write(maintenance, book).is_equal for book in BOOKS)
        finally:
            maintenance.close()
        assert rows(restored) == rows(db)
        others = {name: held for name, held in everything(restored).items() if not name.startswith("ledger.")}
        assert others == {name: held for name, held in kept.items() if not name.startswith("ledger.")}
    finally:
        restored.close()


def test_check_33_a_dump_of_the_journal_alone_is_enough(
    db: Database, database_url: str, postgres: PostgresServer, empty: PostgresServer
) -> None:
    disturbed(db)
    name = database_url.rpartition("/")[2]
    empty.run("psql", "-qc", "create database restored")
    url = empty.url(database="restored")
    migrate(url)
    chosen = [part for table in JOURNAL for part in ("-t", f"ledger.{table}")]
    empty.run(
        "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", "restored", text=postgres.run("pg_dump", "--data-only", "-d", name, *chosen)
    )
    restored, maintenance = opened(url), opened(url, "ledger_maintenance")
    try:
        assert rows(restored, ("execution_actions", "lots")) == {"execution_actions": [], "lots": []}
        for book in BOOKS:
            found = rebuild.write(maintenance, book, accept=True)
            assert (found.state_hash, found.chain_head) == hashes(db)[book]
            assert rebuild.check(restored, book).is_equal
        assert hashes(restored) == hashes(db)
        assert rows(restored) == rows(db)
        # the outbox was not in the dump, so nothing says that the last days were announced: every other invariant holds
        found_by = {book: {f.invariant for f in audit.audit(restored, book, at(200)).findings} for book in BOOKS}
        assert found_by == {book: {audit.ANNOUNCED} for book in BOOKS}
    finally:
        restored.close()
        maintenance.close()


def _without_superuser(text: str) -> str:
    """The roles without the one that every server has."""
    return "\n".join(
        line for line in text.splitlines() if not line.endswith("ROLE postgres;") and "ROLE postgres WITH" not in line
    )
