"""A statement on a second connection: it sees what its transaction sees, at the same time, and leaves nothing behind."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from fillbook.runtime.db import Call, Database, DatabaseFailed
from fillbook.runtime.sql import statement
from tests.integration.runtime.test_transactions import ALL_KEPT, wait_until

AT_WORK = statement(
    "select count(*)::integer as n from pg_stat_activity"
    " where state = 'active' and query like '%pg_sleep%' and pid <> pg_backend_pid()"
)
SLOW = statement("select :n::integer as n from pg_sleep(1)")
WRONG = statement("select 1 / :n::integer as n")


def test_it_sees_what_the_transaction_sees_and_nothing_that_came_since(room: Database) -> None:
    room.run(lambda tx: tx.call(Call("room.keep", {"id": 1})))
    with room.transaction(read_only=True, isolation="repeatable read") as tx:
        assert len(tx.query(ALL_KEPT)) == 1
        room.run(lambda other: other.call(Call("room.keep", {"id": 2})))
        with room.beside(tx, ALL_KEPT) as rows:
            assert rows() == tx.query(ALL_KEPT)
    assert len(room.run(lambda tx: tx.query(ALL_KEPT))) == 2


def test_the_server_works_on_it_while_the_transaction_goes_on(room: Database) -> None:
    with room.transaction(read_only=True, isolation="repeatable read") as tx:
        tx.query(ALL_KEPT)
        with room.beside(tx, SLOW, n=7) as rows:
            wait_until(lambda: tx.query(AT_WORK) == [{"n": 1}])
            assert rows() == [{"n": 7}]


def test_where_all_connections_are_lent_the_transaction_itself_is_asked(room: Database) -> None:
    with ExitStack() as others, room.transaction(read_only=True, isolation="repeatable read") as tx:
        tx.query(ALL_KEPT)
        for _ in range(room._pool._size - 1):
            others.enter_context(room.transaction()).call(Call("room.echo", [1]))
        with room.beside(tx, SLOW, n=7) as rows:
            assert tx.query(AT_WORK) == [{"n": 0}]
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
