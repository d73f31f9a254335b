"""A statement that is planned once: its plan stays with the connection, and whatever goes wrong, it can be asked again."""

import pytest

from fillbook.runtime.db import DatabaseFailed
from fillbook.runtime.sql import Statement, statement

ASKED = Statement(name="one", purpose="Adds.", text="select :a::integer + 1 as n", is_planned_once=True)
DIVIDED = Statement(name="by", purpose="Divides.", text="select 10 / :by::integer as n", is_planned_once=True)
KEPT = statement("select generic_plans + custom_plans as plans, custom_plans from pg_prepared_statements order by prepare_time")


def asked(database, what=ASKED, **given):
    with database.transaction(read_only=True) as tx:
        return tx.query(what, **given)[0]["n"]


def kept(database):
    with database.transaction() as tx:
        return [(row["plans"], row["custom_plans"]) for row in tx.query(KEPT)]


def test_it_is_planned_once_a_connection_whatever_is_asked(through, proxy):
    assert [asked(through, a=number) for number in (1, 2, 3)] == [2, 3, 4]
    assert kept(through) == [(3, 0)]
    with through.transaction() as tx:
        assert tx.query(statement("select current_setting('plan_cache_mode') as mode")) == [{"mode": "auto"}]
    proxy.reset()
    with through.transaction() as tx:
        assert [tx.query(ASKED, a=number) for number in (5, 6)] == [[{"n": 6}], [{"n": 7}]]
    assert proxy.trips == 3  # begin and the manner ride with the first


def test_what_is_asked_beside_it_is_planned_for_its_own_parameters(room):
    mode = statement("select current_setting('plan_cache_mode') as mode")
    with room.transaction(read_only=True) as tx:
        assert tx.query(ASKED, a=1) == [{"n": 2}]
        assert tx.query(mode) == [{"mode": "auto"}]
        assert tx.query(ASKED, a=2) == [{"n": 3}]
    assert kept(room) == [(2, 0)]


def test_it_can_be_asked_again_after_it_failed(room):
    assert asked(room, DIVIDED, by=5) == 2
    with pytest.raises(DatabaseFailed):
        asked(room, DIVIDED, by=0)
    assert asked(room, DIVIDED, by=2) == 5
    assert kept(room) == [(1, 0)]


def test_a_plan_of_what_looks_otherwise_now_is_made_anew(room):
    whole = Statement(name="all", purpose="All.", text="select * from room.kept where id = :id::integer", is_planned_once=True)
    with room.transaction() as tx:
        tx.query(whole, id=1)
    with room.transaction() as tx:
        tx.execute(statement("alter table room.kept add column more text"))
    with pytest.raises(DatabaseFailed), room.transaction() as tx:
        tx.query(whole, id=1)
    with room.transaction() as tx:
        assert tx.query(whole, id=1) == []


def test_another_connection_plans_it_for_itself(through, proxy):
    assert asked(through, a=1) == 2
    proxy.kill()
    assert asked(through, a=1) == 2
    assert kept(through) == [(1, 0)]
