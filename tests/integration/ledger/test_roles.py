"""Least privilege: who may write which book, that history is append-only, that readers see views only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fillbook.ledger import audit, service
from fillbook.ledger.model import Mark
from fillbook.runtime.db import ConstraintViolated, Database, DatabaseFailed
from fillbook.runtime.sql import statement
from tests.conftest import OpenDatabase
from tests.support.ledger import DAY, StoredWorld, at, exact, make_book, make_fill

Query = Callable[..., list[dict[str, Any]]]
DENIED = "42501"


def refused(database: Database, text: str) -> str:
    """The sqlstate with which a statement is refused."""
    with pytest.raises((DatabaseFailed, ConstraintViolated)) as caught, database.transaction() as tx:
        tx.execute(statement(text))
    return str(caught.value.sqlstate)


@pytest.mark.parametrize(
    ("role", "book_id"), [("ledger_writer", "live"), ("desk_operator", "ibkr:U1"), ("replay_writer", "replay:1")]
)
def test_each_writer_does_everything_a_booking_needs_in_its_own_books(
    db: Database, open_database: OpenDatabase, query: Query, role: str, book_id: str
) -> None:
    world = StoredWorld(open_database(role), make_book(book_id))
    facts = {"source": "operator", "account_key": "ann"}
    world.deliver([make_fill("a", "BUY", 10, 100, **facts), make_fill("b", "SELL", 12, 101, 1, position_effect="close", **facts)])
    world.deliver([make_fill("c", "BUY", 2, 99, 0.5, **facts)])
    world.split((2, 1), 30)
    mark = Mark(instrument="AMD", price=exact("50"), marked_at=at(31), source="test")
    service.run(world.db, lambda tx: service.mark(tx, book_id, [mark], at(31)))
    assert [version.action.action_type for version in world.actions] == ["ENTRY", "ADD_ENTRY", "EXIT"]
    assert world.parked == {}
    assert audit.audit(db, book_id, at(60)).exit == 0
    assert len(query("select from ledger.marks")) == 1


@pytest.mark.parametrize(
    ("role", "book_id"),
    [("replay_writer", "live"), ("ledger_writer", "replay:1"), ("replay_writer", "ibkr:U1"), ("desk_operator", "replay:1")],
)
def test_nobody_writes_into_the_other_ones_books(
    db: Database, open_database: OpenDatabase, query: Query, role: str, book_id: str
) -> None:
    world = StoredWorld(db, make_book(book_id))
    world.deliver([make_fill("a", "BUY", 10, 100)])
    other = open_database(role)
    with pytest.raises(Exception, match=r"policy|book_unknown|contended|moved"):
        service.run(other, lambda tx: service.book_fills(tx, book_id, [make_fill("b", "BUY", 1, 100, 1)], DAY), tries=1)
    assert len(query("select from ledger.fills")) == 1


def test_journal_and_history_are_append_only(stored: StoredWorld, open_database: OpenDatabase) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100, source="operator")])
    writer = open_database("ledger_writer")
    for table in ("fills", "adjustments", "execution_actions", "closings"):
        assert refused(writer, f"delete from ledger.{table}") == DENIED
        assert refused(writer, f"truncate ledger.{table} cascade") == DENIED
    for text in (
        "update ledger.fills set price = 1",
        "update ledger.execution_actions set fees = 1",
        "update ledger.closings set quantity = 1",
        "delete from ledger.positions",
        "delete from ledger.lots",
        "delete from ledger.marks",
        "update ledger.books set start_cash = 1",
        "update ledger.books set lot_method = 'LIFO'",
    ):
        assert refused(writer, text) == DENIED


def test_superseded_at_is_set_once(stored: StoredWorld, open_database: OpenDatabase) -> None:
    fill = make_fill("a", "BUY", 10, 100, source="operator")
    stored.deliver([fill])
    stored.deliver([make_fill("a", "BUY", 11, 100, source="operator", source_revision=2, cause="revision")])
    writer = open_database("ledger_writer")
    with pytest.raises(ConstraintViolated, match="superseded_once"), writer.transaction() as tx:
        tx.execute(statement("update ledger.execution_actions set superseded_at = null where version = 1"))


def test_readers_see_views_and_no_table(stored: StoredWorld, open_database: OpenDatabase, query: Query) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)])
    reader = open_database("ledger_reader")
    views = [row["viewname"] for row in query("select viewname from pg_views where schemaname = 'ledger'")]
    assert len(views) == 28
    for view in views:
        with reader.transaction() as tx:
            tx.query(statement(f"select * from ledger.{view}"))
    tables = [row["tablename"] for row in query("select tablename from pg_tables where schemaname = 'ledger'")]
    assert len(tables) == 19
    for table in tables:
        assert refused(reader, f"select 1 from ledger.{table}") == DENIED


def test_every_table_with_a_book_is_under_row_level_security(query: Query) -> None:
    rows = query(
        "select c.relname, c.relrowsecurity from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'book_id' "
        "where c.relnamespace = 'ledger'::regnamespace and c.relkind = 'r'"
    )
    assert len(rows) == 18
    assert all(row["relrowsecurity"] for row in rows)


def test_functions_are_closed_to_everyone_else(open_database: OpenDatabase) -> None:
    for role, text in (
        ("ledger_reader", "select ledger.load('{}')"),
        ("ledger_reader", "select ledger.apply('{}')"),
        ("ledger_writer", "select ledger.clear_replay_book('replay:1')"),
        ("ledger_writer", "select ledger.empty_book('{}')"),
        ("replay_writer", "select ledger.restore('{}')"),
        ("notify_writer", "select ledger.load('{}')"),
    ):
        assert refused(open_database(role), text) == DENIED
