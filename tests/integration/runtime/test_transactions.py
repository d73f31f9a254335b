"""What a room may rely on: documents in, documents out, few round trips, all or nothing."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from fillbook.runtime.db import Call, ConstraintViolated, DatabaseFailed
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.runtime.sql import encode, statement
from tests.support.waiting import wait_until

ALL_KEPT = statement("select id from room.kept")


def kept(query):
    return [(row["id"], row["note"]) for row in query("select id, note from room.kept order by id")]


def test_a_document_comes_back_as_it_was_sent(room):
    with room.transaction() as tx:
        one, two = tx.call(Call("room.echo", {"note": "it's \\ 'quoted'", "x": Decimal("1.10")}), Call("room.echo", [1, None]))
    assert one == {"note": "it's \\ 'quoted'", "x": "1.10"}
    assert two == [1, None]


def test_sends_ride_with_the_next_call_in_order(room):
    with room.transaction() as tx:
        tx.send(Call("room.keep", {"id": 1, "amount": 5}))
        (answer,) = tx.call(Call("room.bump", {"id": 1}))
    assert answer == {"amount": "6"}


def test_sends_ride_with_the_commit(room, query):
    with room.transaction() as tx:
        tx.send(Call("room.keep", {"id": 1, "note": "a"}), Call("room.keep", {"id": 2, "note": "b"}))
    assert kept(query) == [(1, "a"), (2, "b")]


def test_what_a_finish_answers_is_committed_in_one_message_and_nothing_can_follow(through, proxy, query):
    with through.transaction() as tx:
        tx.call(Call("room.echo", {}))
        proxy.reset()
        tx.send(Call("room.keep", {"id": 1, "amount": 5}))
        assert tx.finish(Call("room.bump", {"id": 1}), Call("room.echo", "b")) == ({"amount": "6"}, "b")
        assert proxy.trips == 1
        assert kept(query) == [(1, None)]
        with pytest.raises(RuntimeError, match="over"):
            tx.call(Call("room.echo", {}))
    assert proxy.trips == 1


def test_a_finish_that_fails_leaves_nothing(room, query):
    def work(tx):
        tx.send(Call("room.keep", {"id": 1}))
        tx.finish(Call("room.keep", {"id": 1}))

    with pytest.raises(ConstraintViolated):
        room.run(work)
    assert kept(query) == []


def test_read_decide_write_costs_two_round_trips(through, proxy):
    with through.transaction() as tx:
        tx.call(Call("room.echo", {}))
    proxy.reset()
    with through.transaction() as tx:
        tx.call(Call("room.echo", {"lock": 1}), Call("room.echo", {"read": 2}))
        tx.send(Call("room.keep", {"id": 7}), Call("room.echo", {}))
    assert proxy.trips == 2
    assert proxy.connections == 1


def test_every_shape_of_a_transaction_costs_what_it_says(through, proxy):
    through.call(Call("room.echo", {}))

    def trips(work):
        proxy.reset()
        with through.transaction() as tx:
            work(tx)
        return proxy.trips

    assert trips(lambda tx: None) == 0
    assert trips(lambda tx: tx.send(Call("room.echo", {}))) == 1
    assert trips(lambda tx: tx.query(statement("select :a::int as a"), a=1)) == 2
    assert trips(lambda tx: (tx.send(Call("room.echo", {})), tx.query(statement("select :a::int as a"), a=1))) == 2
    proxy.reset()
    assert through.call(Call("room.echo", {"a": 1}), Call("room.echo", [2])) == ({"a": 1}, [2])
    assert proxy.trips == 1


def test_a_large_document_costs_no_more_round_trips(through, proxy):
    through.call(Call("room.echo", {}))
    proxy.reset()
    big = {"text": "é" * 400_000}
    assert through.call(Call("room.echo", big)) == (big,)
    assert proxy.trips <= 2  # one for us; the kernel may hand the proxy the message in several pieces


def test_a_violated_constraint_has_its_name_and_nothing_stays(room, query):
    with pytest.raises(ConstraintViolated) as caught, room.transaction() as tx:
        tx.send(Call("room.keep", {"id": 1}), Call("room.keep", {"id": 1}))
    assert (caught.value.constraint, caught.value.sqlstate) == ("kept_pkey", "23505")
    with pytest.raises(ConstraintViolated) as caught, room.transaction() as tx:
        tx.call(Call("room.keep", {"id": 1, "amount": Decimal(-1)}))
    assert (caught.value.constraint, caught.value.sqlstate) == ("kept_amount_check", "23514")
    assert kept(query) == []


def test_a_domain_error_raised_by_a_function_carries_its_slug(room):
    with pytest.raises(ConstraintViolated) as caught:
        room.call(Call("room.fail", {"code": "P0001", "constraint": "book_closed"}))
    assert (caught.value.constraint, caught.value.sqlstate) == ("book_closed", "P0001")


def test_an_exception_of_the_core_rolls_everything_back_and_keeps_the_connection(through, proxy, query):
    through.call(Call("room.echo", {}))

    def work(tx):
        tx.call(Call("room.keep", {"id": 1}))
        tx.send(Call("room.keep", {"id": 2}))
        raise Rejected("quantity_invalid")

    with pytest.raises(Rejected):
        through.run(work)
    assert through.call(Call("room.echo", [1])) == ([1],)
    assert proxy.connections == 1
    assert kept(query) == []


def test_a_transaction_that_failed_and_was_ignored_is_not_committed(room, query):
    def work(tx):
        tx.call(Call("room.keep", {"id": 1}))
        with pytest.raises(ConstraintViolated):
            tx.call(Call("room.keep", {"id": 1}))

    with pytest.raises(DatabaseFailed):
        room.run(work)
    assert kept(query) == []


def test_a_transaction_is_over_when_it_is_over(room):
    with room.transaction() as tx:
        tx.call(Call("room.echo", {}))
    with pytest.raises(RuntimeError):
        tx.send(Call("room.echo", {}))


def test_a_read_only_transaction_refuses_to_write_and_says_that_it_is_a_bug(room):
    with pytest.raises(DatabaseFailed) as caught, room.transaction(read_only=True) as tx:
        tx.call(Call("room.keep", {"id": 1}))
    assert caught.value.sqlstate == "25006"


def test_isolation_and_tenant_hold_for_the_transaction_only(room):
    seen = statement(
        "select current_setting('fillbook.tenant_id', true) as tenant, current_setting('transaction_isolation') as i"
    )
    with room.transaction(isolation="repeatable read", read_only=True, tenant_id="o'hara") as tx:
        assert tx.query(seen) == [{"tenant": "o'hara", "i": "repeatable read"}]
    with room.transaction() as tx:
        assert tx.query(seen) == [{"tenant": "", "i": "read committed"}]


def test_types_come_back_exact(query):
    asked = {
        "n": Decimal("123456789012345678901234567890.0123456789"),
        "t": datetime(2026, 2, 11, 14, 30, 0, 123456, tzinfo=UTC),
        "d": date(2026, 2, 11),
        "u": UUID("12345678-1234-5678-1234-567812345678"),
        "b": b"\x00\xff'",
        "i": timedelta(days=1, hours=2, seconds=3, microseconds=4),
        "a": ["x", 'y"z\\', None, "NULL", "{", ""],
        "m": [Decimal("0.10"), Decimal(2)],
        "f": True,
        "z": None,
    }
    types = {"n": "numeric", "t": "timestamptz", "d": "date", "u": "uuid", "b": "bytea", "i": "interval"}
    types |= {"a": "text[]", "m": "numeric[]", "f": "boolean", "z": "text"}
    select = ", ".join(f":{name}::{kind} as {name}" for name, kind in types.items())
    (row,) = query(f"select {select}", **asked)
    assert row == asked
    assert str(row["m"][0]) == "0.10"


def test_no_float_is_born_in_an_answer(query):
    (row,) = query("""select '{"x": 0.1, "y": [1e2]}'::jsonb as j, 0.1::float8 as f, 1.5::real as r""")
    assert row == {"j": {"x": Decimal("0.1"), "y": [Decimal(100)]}, "f": Decimal("0.1"), "r": Decimal("1.5")}
    assert type(row["f"]) is Decimal


def test_instants_that_are_none_are_refused(query):
    for text in ("select 'infinity'::timestamptz as t", "select now()::timestamp as t", "select '1 month'::interval as t"):
        with pytest.raises(ValueError, match=r"."):
            query(text)


@pytest.mark.parametrize("value", [1.5, {"a": 1}, datetime(2026, 2, 11), object()])  # noqa: DTZ001 -- naive on purpose
def test_parameters_that_could_be_misread_are_refused_before_anything_is_sent(room, value):
    with room.transaction() as tx:
        with pytest.raises(TypeError):
            tx.query(statement("select :a::text as a"), a=value)
        assert tx.query(statement("select :a::jsonb as a"), a=encode({"k": Decimal("1.0")})) == [{"a": {"k": "1.0"}}]


def test_two_columns_of_one_name_are_refused(query):
    with pytest.raises(ValueError, match="one name"):
        query("select 1 as a, 2 as a")


def test_execute_counts_rows_and_copy_brings_many(room, query):
    with room.transaction() as tx:
        tx.send(Call("room.keep", {"id": 0, "note": "first"}))
        assert tx.copy_in("copy room.kept (id, note) from stdin", (f"{n}\tnote é {n}" for n in range(1, 5001))) == 5000
        assert tx.execute(statement("update room.kept set amount = :x where id <= :n"), x=Decimal("1.5"), n=9) == 10
    assert query("select count(*) as n, count(amount) as a from room.kept") == [{"n": 5001, "a": 10}]


def test_a_copy_the_server_refuses_leaves_the_connection_usable(through, proxy):
    through.call(Call("room.echo", {}))
    with pytest.raises(ConstraintViolated), through.transaction() as tx:
        tx.copy_in("copy room.kept (id) from stdin", ["1", "1"])
    with pytest.raises(DatabaseFailed), through.transaction() as tx:
        tx.copy_in("copy room.missing (id) from stdin", ["1"])
    assert through.call(Call("room.echo", [1])) == ([1],)
    assert proxy.connections == 1


def test_a_copy_whose_rows_break_midway_throws_the_connection_away(through, proxy, query):
    def rows():
        yield "1\tx"
        raise KeyError("row")

    with pytest.raises(KeyError), through.transaction() as tx:
        tx.copy_in("copy room.kept (id, note) from stdin", rows())
    assert through.call(Call("room.echo", [1])) == ([1],)
    assert proxy.connections == 2
    assert kept(query) == []


def test_a_turn_is_waited_for_before_the_snapshot_is_taken_and_given_up_with_the_transaction(room, query):
    with room.transaction(isolation="repeatable read", turn=7) as first:
        first.call(Call("room.keep", {"id": 1}))
        with ThreadPoolExecutor(1) as pool:
            seen = pool.submit(lambda: room.run(lambda tx: tx.query(ALL_KEPT), isolation="repeatable read", turn=7))
            wait_until(lambda: query("select 1 from pg_locks where locktype = 'advisory' and not granted") != [])
            first.commit()
            first.end()
            assert [row["id"] for row in seen.result(timeout=20)] == [1]
    assert query("select 1 from pg_locks where locktype = 'advisory'") == []


def test_a_turn_is_given_up_also_when_the_transaction_fails_or_its_connection_is_lost(through, proxy, query):
    def fail():
        with through.transaction(turn=7) as tx:
            tx.call(Call("room.echo", {}))
            raise RuntimeError("core")

    def lose():
        with through.transaction(turn=7) as tx:
            tx.call(Call("room.echo", {}))
            proxy.kill()
            tx.call(Call("room.echo", {}))

    with pytest.raises(RuntimeError, match="core"):
        fail()
    assert query("select 1 from pg_locks where locktype = 'advisory'") == []
    with pytest.raises(Unavailable):
        lose()
    wait_until(lambda: query("select 1 from pg_locks where locktype = 'advisory'") == [])


def test_what_was_asked_ahead_is_answered_to_the_same_question_and_to_no_other(room):
    numbers = statement("select n from generate_series(:first::integer, :last::integer) as n")
    with room.transaction(read_only=True) as tx:
        assert tx.query(numbers, first=1, last=1) == [{"n": 1}]
        for first in (2, 4):
            tx.ahead(numbers, first=first, last=first + 1)
            with pytest.raises(RuntimeError, match="ahead"):
                tx.ahead(numbers, first=9, last=9)
            assert tx.query(numbers, first=first, last=first + 1) == [{"n": first}, {"n": first + 1}]

    def asked(after, question):
        with room.transaction(read_only=True) as tx:
            tx.query(numbers, first=1, last=1)
            tx.ahead(after)
            tx.query(question)

    one, wrong = statement("select 1 as n"), statement("select 1 / 0 as n")
    with pytest.raises(RuntimeError, match="ahead"):
        asked(one, wrong)
    with pytest.raises(DatabaseFailed):
        asked(wrong, wrong)
    with room.transaction(read_only=True) as tx:
        with pytest.raises(RuntimeError, match="ahead"):
            tx.ahead(numbers, first=1, last=1)
        assert tx.query(numbers, first=8, last=8) == [{"n": 8}], "a connection that was left half asked is never lent again"
