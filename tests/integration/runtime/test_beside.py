"""A statement on a second connection: it sees what its transaction sees, at the same time, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from fillbook.runtime.db import Call, Database, DatabaseFailed
from fillbook.runtime.sql import statement
from tests.integration.runtime.test_transactions import ALL_KEPT
from tests.support.servers import database_config
from tests.support.waiting import WAIT_SECONDS, wait_until

HOLD = statement("select pg_advisory_xact_lock(7) is null as held")
WAITS = statement("select :n::integer as n from pg_advisory_xact_lock_shared(7)")
WAITING = statement(
    "select count(*)::integer as n from pg_locks where locktype = 'advisory' and not granted"
    " and database = (select oid from pg_database where datname = current_database())"
)
"""Locks are told as they are; what sessions do is told within a transaction as it was at the first look."""
WRONG = statement("select 1 / :n::integer as n")


def test_it_sees_what_the_transaction_sees_and_nothing_that_came_since(room: Database) -> None:
    room.run(lambda tx: tx.call(Call("room.keep", {"id": 1})))
    with room.transaction(read_only=True, isolation="repeatable read") as tx:
        assert len(tx.query(ALL_KEPT)) == 1
        room.run(lambda other: other.call(Call("room.keep", {"id": 2})))
        with room.beside(tx, ALL_KEPT) as rows:
            assert rows() == tx.query(ALL_KEPT)
    assert len(room.run(lambda tx: tx.query(ALL_KEPT))) == 2


@pytest.fixture
def patient(room: Database, database_url: str) -> Iterator[Database]:
    """The room's database by connections that wait for a lock as long as a test waits."""
    seconds = int(WAIT_SECONDS)
    database = Database.open(
        database_config(database_url),
        application_name="patient",
        statement_timeout_seconds=seconds,
        lock_timeout_seconds=seconds,
    )
    yield database
    database.close()


def test_the_server_works_on_it_while_the_transaction_goes_on(patient: Database) -> None:
    with patient.transaction(read_only=True, isolation="repeatable read") as tx, ExitStack() as holder:
        tx.query(ALL_KEPT)
        holder.enter_context(patient.transaction()).query(HOLD)
        with patient.beside(tx, WAITS, n=7) as rows:
            wait_until(lambda: tx.query(WAITING) == [{"n": 1}])
            holder.close()
            assert rows() == [{"n": 7}]


def test_where_all_connections_are_lent_the_transaction_itself_is_asked(patient: Database) -> None:
    with patient.transaction(read_only=True, isolation="repeatable read") as tx, ExitStack() as others:
        tx.query(ALL_KEPT)
        others.enter_context(patient.transaction()).query(HOLD)
        for _ in range(patient._pool._size - 2):
            others.enter_context(patient.transaction()).call(Call("room.echo", [1]))
        with patient.beside(tx, WAITS, n=7) as rows:
            assert tx.query(WAITING) == [{"n": 0}]
            others.close()
            assert rows() == [{"n": 7}]


def test_what_the_server_refuses_is_raised_and_both_connections_go_on(room: Database) -> None:
    with room.transaction(read_only=True, isolation="repeatable read") as tx:
        tx.query(ALL_KEPT)
        with pytest.raises(DatabaseFailed), room.beside(tx, WRONG, n=0) as rows:
            rows()
        assert tx.query(ALL_KEPT) == []
        with room.beside(tx, WRONG, n=1) as rows:
            assert rows() == [{"n": 1}]


def test_one_whose_rows_nobody_took_is_never_lent_again(room: Database) -> None:
    def left() -> None:
        with room.transaction(read_only=True, isolation="repeatable read") as tx:
            tx.query(ALL_KEPT)
            with room.beside(tx, WRONG, n=1):
                raise RuntimeError("core")

    for _ in range(20):  # more often than there are connections: none is lost either
        with pytest.raises(RuntimeError, match="core"):
            left()
        assert room.call(Call("room.echo", [1])) == ([1],)
