"""Reliability 5, 7, 8, 13 at the ledger: threads on real Postgres, forced lost races, bounded tries, no deadlock."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest

from fillbook.ledger import audit, service
from fillbook.ledger.model import Outcome
from fillbook.runtime.db import Contended, Database, Tx
from fillbook.runtime.errors import Rejected, Unavailable
from tests.conftest import OpenDatabase
from tests.support.campaigns import small_or_full
from tests.support.ledger import DAY, StoredWorld, at, make_book, make_fill

Query = Callable[..., list[dict[str, Any]]]


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run ``work(0..count-1)`` on threads that start at once; an exception of one is raised here."""
    barrier = Barrier(count)

    def start(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


@pytest.fixture
def shared(open_database: OpenDatabase) -> Database:
    """A pool for many threads."""
    return open_database(pool_size=32, lock_timeout_seconds=10)


def test_reliability_5_one_fill_delivered_32_times_at_once_is_booked_once(shared: Database, query: Query) -> None:
    world = StoredWorld(shared)
    fill = make_fill("a", "BUY", 10, 100)
    statuses = [outcome.status for [outcome] in together(32, lambda _: world.deliver([fill]))]
    assert sorted(statuses) == ["booked"] + ["duplicate"] * 31
    assert len(query("select from outbox.events")) == 1
    assert audit.audit(shared, "live", at(60)).exit == 0


def test_reliability_7_two_workers_trimming_one_lot_never_close_more_than_there_is(shared: Database) -> None:
    world = StoredWorld(shared)
    world.deliver([make_fill("a", "BUY", 10, 100)])

    def trim(number: int) -> str:
        try:
            return world.deliver([make_fill(f"t{number}", "SELL", 3, 101, 1 + number, position_effect="close")])[0].status
        except Rejected as refused:
            return refused.reason

    # a later trim may be refused because an earlier one, by its time, comes after it: it never takes what is not there
    results = together(8, trim)
    assert results.count("booked") <= 3
    assert set(results) <= {"booked", "close_exceeds_open", "nothing_to_close"}
    (position,) = world.positions
    assert position.quantity_open == 10 - 3 * results.count("booked")
    assert audit.audit(shared, "live", at(60)).exit == 0


STEPS = small_or_full(4, 8)


def test_eight_workers_on_three_instruments_of_two_books_in_opposite_order_never_deadlock(shared: Database) -> None:
    books = [StoredWorld(shared, make_book("ibkr:A")), StoredWorld(shared, make_book("ibkr:B"))]
    names = ["AMD", "NVDA", "TSLA"]

    def work(worker: int) -> list[str]:
        rng = random.Random(worker)
        statuses = []
        for step in range(STEPS):
            order = names if worker % 2 else names[::-1]
            fills = [
                make_fill(f"{worker}-{step}-{name}", rng.choice(["BUY", "SELL"]), rng.randint(1, 9), 100 + step,
                          step + rng.randint(0, 2), source="ibkr", instrument=name)
                for name in order
            ]  # fmt: skip
            first, second = books if worker % 2 else books[::-1]

            def both(tx: Tx, fills: list[Any] = fills, pair: Any = (first, second)) -> list[Outcome]:
                # locks of both books first, in one total order, then the bookings
                for world in sorted(pair, key=lambda world: world.book.book_id):
                    service.lock(tx, world.book.book_id, names)
                found: list[Outcome] = []
                for world in sorted(pair, key=lambda world: world.book.book_id):
                    found += service.book_fills(tx, world.book.book_id, fills, DAY)
                return found

            single = service.run(
                shared, lambda tx, fills=fills, world=first: service.book_fills(tx, world.book.book_id, fills, DAY)
            )
            statuses += [outcome.status for outcome in single]
            if step % 3 == 0:
                statuses += [outcome.status for outcome in service.run(shared, both)]
        return statuses

    statuses = [status for statuses in together(8, work) for status in statuses]
    assert set(statuses) <= {"booked", "duplicate"}
    for world in books:
        result = audit.audit(shared, world.book.book_id, at(60))
        assert result.exit == 0, result.findings[:3]


class Losing:
    """Transactions whose messages of one kind lose a race the first times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: str, times: int) -> None:
        self.left = times
        plain = getattr(Tx, place)

        def lose(tx: Tx, *args: Any, **kwargs: Any) -> Any:
            if self.left:
                self.left -= 1
                raise Contended("database_contended", "forced")
            return plain(tx, *args, **kwargs)

        monkeypatch.setattr(Tx, place, lose)
        monkeypatch.setattr("fillbook.runtime.clock.sleep", lambda seconds: None)


@pytest.mark.parametrize("place", ["call", "send", "commit"])
def test_reliability_13_a_lost_race_at_any_message_is_repeated_and_leaves_the_same_state(
    db: Database, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    world, calm = StoredWorld(db, make_book("ibkr:A")), StoredWorld(db, make_book("ibkr:B"))
    fills = [make_fill("a", "BUY", 10, 100, source="ibkr"), make_fill("b", "SELL", 4, 101, 1, source="ibkr")]
    for fill in fills:
        calm.deliver([fill])
        losing = Losing(monkeypatch, place, 4)
        assert world.deliver([fill])[0].status == "booked"
        assert losing.left == 0
        monkeypatch.undo()
    assert world.state_hash == calm.state_hash


def test_reliability_13_tries_are_bounded(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    world = StoredWorld(db)
    losing = Losing(monkeypatch, "call", 100)
    with pytest.raises(Unavailable, match="database_contended"):
        world.deliver([make_fill("a", "BUY", 10, 100)])
    assert losing.left == 95


def test_a_document_computed_from_an_older_book_is_computed_again(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fillbook.runtime.clock.sleep", lambda seconds: None)
    world = StoredWorld(db)
    world.deliver([make_fill("a", "BUY", 10, 100)])
    attempts = []

    def work(tx: Tx) -> list[Outcome]:
        attempts.append(1)
        fill = make_fill("c", "BUY", 1, 101, 3)
        state = service.lock(tx, "live", ["AMD"], book_row=True, fill_keys=[fill.fill_id])
        if len(attempts) == 1:
            state = replace(state, head=replace(state.head, seq=0))
        return service.book_fills(tx, "live", [fill], DAY, state=state)

    assert service.run(db, work)[0].status == "booked"
    assert len(attempts) == 2


def test_a_correction_that_moves_a_fill_locks_the_instrument_it_leaves(db: Database) -> None:
    world = StoredWorld(db, make_book("ibkr:A"))
    world.deliver([make_fill("a", "BUY", 10, 100, source="ibkr")])
    moved = make_fill("a", "BUY", 10, 100, source="ibkr", instrument="NVDA", source_revision=2, cause="revision")
    with db.transaction() as tx:
        state = service.lock(tx, "ibkr:A", ["NVDA"], book_row=True, fill_keys=[moved.fill_id], may_move=True)
        assert sorted(state.tails) == ["AMD", "NVDA"]

    def unprepared(tx: Tx) -> list[Outcome]:
        state = service.lock(tx, "ibkr:A", ["NVDA"], book_row=True, fill_keys=[moved.fill_id])
        assert sorted(state.tails) == ["NVDA"]
        return service.book_fills(tx, "ibkr:A", [moved], DAY, state=state)

    assert service.run(db, unprepared)[0].actions[0].version == 2
    assert [version.action.instrument for version in world.actions] == ["NVDA"]


def test_a_booking_is_one_read_and_one_write(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    world = StoredWorld(db)
    messages: list[str] = []
    plain = Tx._exchange

    def count(tx: Tx, message: bytes, readies: int, **options: Any) -> Any:
        messages.append(message[:60].decode("utf-8", "replace"))
        return plain(tx, message, readies, **options)

    monkeypatch.setattr(Tx, "_exchange", count)
    world.deliver([make_fill("a", "BUY", 10, 100)])
    assert len(messages) == 2
    messages.clear()

    def decided(tx: Tx) -> None:
        service.lock(tx, "live", ["AMD"])

    service.run(db, decided)
    assert len(messages) == 2
    messages.clear()

    def admitted(tx: Tx) -> None:
        fill = make_fill("b", "BUY", 1, 100, 2)
        service.lock(tx, "live", ["AMD"])
        state = service.lock(
            tx, "live", ["AMD"], book_row=True, fill_keys=[fill.fill_id], with_totals=True, session_date=DAY.date()
        )
        assert state.totals is not None
        assert (state.totals.open_long, state.totals.open_short, state.totals.entries) == (1, 0, 1)
        assert (state.totals.realized, state.totals.cost_basis_open) == ({"USD": 0}, {"USD": 1000})
        service.book_fills(tx, "live", [fill], DAY, state=state)

    service.run(db, admitted)
    assert len(messages) == 3


def test_a_read_of_the_book_takes_no_lock_on_its_row(db: Database, open_database: OpenDatabase) -> None:
    StoredWorld(db)
    with db.transaction() as holding:
        service.lock(holding, "live", [], book_row=True)
        with open_database(lock_timeout_seconds=1).transaction() as reading:
            (answer,) = reading.call(service.load_call("live", ["AMD"]))
            assert answer["book"]["book_id"] == "live"
