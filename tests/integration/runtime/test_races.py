"""Lost races run again, a bounded number of times, and end in the same state (reliability 13)."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fillbook.runtime import clock
from fillbook.runtime.db import Call, ConstraintViolated, Contended
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.sql import statement


@pytest.fixture
def pauses(monkeypatch):
    """Every pause, in seconds; nobody really waits."""
    taken = []
    monkeypatch.setattr(clock, "sleep", taken.append)
    return taken


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03"])
def test_a_lost_race_runs_the_whole_use_case_again(room, query, pauses, code):
    runs = []

    def work(tx):
        runs.append(1)
        tx.call(Call("room.keep", {"id": 1}))
        if len(runs) < 3:
            tx.call(Call("room.fail", {"code": code}))
        return "done"

    assert room.run(work) == "done"
    assert (len(runs), len(pauses)) == (3, 2)
    assert query("select id from room.kept") == [{"id": 1}]
    assert all(0.02 <= pause <= 0.5 for pause in pauses)


def test_a_race_lost_for_ever_ends_in_unavailable_after_five_tries(room, pauses):
    runs = []

    def work(tx):
        runs.append(1)
        tx.call(Call("room.fail", {"code": "40001"}))

    with pytest.raises(Unavailable, match="database_contended"):
        room.run(work)
    assert len(runs) == 5


def test_the_budget_ends_the_tries_early(room, pauses):
    runs = []

    def work(tx):
        runs.append(1)
        tx.call(Call("room.fail", {"code": "40001"}))

    with pytest.raises(Unavailable, match="database_contended"):
        room.run(work, budget_seconds=0.01)
    assert len(runs) == 1


def test_outside_run_a_lost_race_is_unavailable_at_once(room):
    with pytest.raises(Contended):
        room.call(Call("room.fail", {"code": "55P03"}))


def test_a_unique_violation_runs_again_only_where_it_was_named(room, pauses):
    room.call(Call("room.keep", {"id": 1}))
    runs = []

    def work(tx):
        runs.append(1)
        tx.call(Call("room.keep", {"id": 1 if len(runs) == 1 else 2}))

    with pytest.raises(ConstraintViolated):
        room.run(work)
    runs.clear()
    room.run(work, retry_constraints=("kept_pkey",))
    assert len(runs) == 2


def test_a_real_deadlock_between_two_threads_ends_with_both_having_written(room, query):
    room.call(Call("room.keep", {"id": 1, "amount": 0}), Call("room.keep", {"id": 2, "amount": 0}))
    both_hold_one = threading.Barrier(2, timeout=60)
    runs = []

    def work(first, second):
        def transfer(tx):
            runs.append(1)
            tx.execute(statement("set local deadlock_timeout = '20ms'"))
            tx.call(Call("room.bump", {"id": first}))
            if len(runs) <= 2:
                both_hold_one.wait()
            tx.call(Call("room.bump", {"id": second}))

        room.run(transfer)

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(work, 1, 2), threads.submit(work, 2, 1)]:
            done.result()
    assert len(runs) == 3
    assert [str(row["amount"]) for row in query("select amount from room.kept order by id")] == ["2", "2"]


def test_real_serialization_failures_lose_no_update(room, query):
    room.call(Call("room.keep", {"id": 1, "amount": 0}))

    def work(_):
        room.run(lambda tx: tx.call(Call("room.bump", {"id": 1})), isolation="serializable", tries=50, budget_seconds=60)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(24)))
    assert query("select amount::int as a from room.kept") == [{"a": 24}]


def test_a_lock_held_too_long_is_contended(room, open_database):
    room.call(Call("room.keep", {"id": 1, "amount": 0}))
    impatient = open_database()
    with impatient.transaction() as tx:
        tx.execute(statement("set lock_timeout = '20ms'"))
    with room.transaction() as tx:
        tx.call(Call("room.bump", {"id": 1}))
        with pytest.raises(Contended):
            impatient.call(Call("room.bump", {"id": 1}))
