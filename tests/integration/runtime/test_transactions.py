"""What a room may rely on: documents in, documents out, in few round trips."""

from decimal import Decimal

import pytest

from fillbook.runtime.db import Call, ConstraintViolated
from fillbook.runtime.sql import statement


@pytest.fixture
def echo(db):
    with db.transaction() as tx:
        tx.execute(statement("create schema room"))
        tx.execute(statement("create function room.echo(d jsonb) returns jsonb language sql as 'select d'"))
        tx.execute(statement("create table room.kept (id int constraint kept_pkey primary key, note text)"))
        tx.execute(
            statement(
                "create function room.keep(d jsonb) returns void language sql as $$ insert into room.kept "
                "select (d->>'id')::int, d->>'note' $$"
            )
        )
    return db


def test_a_document_comes_back_as_it_was_sent(echo):
    with echo.transaction() as tx:
        one, two = tx.call(Call("room.echo", {"note": "it's \\ 'quoted'", "x": Decimal("1.10")}), Call("room.echo", [1, None]))
    assert one == {"note": "it's \\ 'quoted'", "x": "1.10"}
    assert two == [1, None]


def test_sends_ride_with_the_commit(echo, query):
    with echo.transaction() as tx:
        tx.send(Call("room.keep", {"id": 1, "note": "a"}), Call("room.keep", {"id": 2, "note": "b"}))
    assert query("select id, note from room.kept order by id") == [{"id": 1, "note": "a"}, {"id": 2, "note": "b"}]


def test_a_violated_constraint_has_its_name_and_nothing_stays(echo, query):
    with pytest.raises(ConstraintViolated) as caught, echo.transaction() as tx:
        tx.send(Call("room.keep", {"id": 1}), Call("room.keep", {"id": 1}))
    assert caught.value.constraint == "kept_pkey"
    assert query("select * from room.kept") == []


def test_parameters_are_typed_by_the_server(query):
    assert query("select :a::numeric as a, :b::text[] as b", a=Decimal("0.10"), b=["x", 'y"z']) == [
        {"a": Decimal("0.10"), "b": ["x", 'y"z']}
    ]
