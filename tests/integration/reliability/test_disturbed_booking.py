"""Checks 5, 6, 7, 8 and 13: at once, in any order, with other content, against forced failures – the same book, or a reason."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ledger import audit, service
from fillbook.ledger.model import Fill
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Conflict, Rejected, Unavailable
from tests.integration.reliability.conftest import Query
from tests.support.campaigns import small_or_full
from tests.support.ledger import DAY, StoredWorld, at, make_book, make_fill
from tests.support.receipts import body
from tests.support.signal_live import LiveDesk, digest, wipe

ORDERS = small_or_full(25, 100)
AT_ONCE = 32


def together(number: int, work: Callable[[int], Any]) -> list[Any]:
    """Do the work on as many threads, all beginning at the same moment."""
    start = threading.Barrier(number)

    def one(which: int) -> Any:
        start.wait()
        return work(which)

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(one, range(number)))


def fact(name: str, side: str, quantity: object, price: object, minute: float, **options: Any) -> Fill:
    return make_fill(name, side, quantity, price, minute, source="ibkr", account_key="U1", **options)


# an exit before its entry (its own minute is earlier than nothing else), ties, a reversal, a trim over three lots, a late fee
FACTS = [
    fact("e1", "BUY", 10, 100, 0, fees="1"),
    fact("e2", "BUY", 10, 110, 1),
    fact("e3", "BUY", 10, 120, 2),
    fact("t1", "SELL", 24, 130, 3, fees="2.4"),
    fact("x1", "SELL", 6, 125, 4, position_effect="close"),
    fact("r1", "BUY", 5, 90, 5),
    fact("r2", "SELL", 8, 95, 6),
    fact("r3", "BUY", 3, 94, 6, venue_order="2"),
    fact("n1", "SELL", "0.5", "300.25", 1, instrument="NVDA"),
    fact("n2", "BUY", "0.2", "299", 2, instrument="NVDA", position_effect="close"),
    fact("n3", "BUY", "0.3", "301.5", 3, instrument="NVDA", position_effect="close"),
]


def test_check_5_one_message_at_once_on_thirty_two_threads_is_one_booking(desk: LiveDesk, query: Query) -> None:
    told = together(AT_ONCE, lambda _: redelivered(desk, body()))
    assert sorted(one.result for one in told) == ["decided"] + ["duplicate"] * (AT_ONCE - 1)
    assert (desk.count("signal.receipts"), desk.types(), desk.count("outbox.events")) == (1, ["ENTRY"], 1)


def redelivered(desk: LiveDesk, document: dict[str, Any]) -> Any:
    """Deliver until it is acknowledged; a refusal for now (too many at once) is delivered again, as Pub/Sub does."""
    for _ in range(50):
        try:
            return desk.take(document)
        except Unavailable:
            continue
    raise AssertionError("never acknowledged")


@pytest.mark.slow
def test_check_6_a_day_in_a_hundred_random_orders_is_the_day_in_time_order(db: Database) -> None:
    calm = StoredWorld(db, make_book("ibkr:calm"))
    for each in FACTS:
        calm.deliver([each])
    expected, figures = told_of(calm), lots_of(calm)
    assert len(calm.positions) >= 3
    assert calm.parked == {}
    for seed in range(ORDERS):
        world = StoredWorld(db, make_book(f"ibkr:{seed}"))
        order = random.Random(seed).sample(FACTS, len(FACTS))
        for each in order:
            (outcome,) = world.deliver([each])
            assert outcome.status in ("booked", "parked"), outcome
            assert (outcome.reason is not None) == (outcome.status == "parked"), "parked, and no word why"
        assert (told_of(world), lots_of(world), world.parked) == (expected, figures, {}), f"order {seed}"
    for seed in (0, ORDERS // 2, ORDERS - 1):
        assert audit.audit(db, f"ibkr:{seed}", at(60)).exit == 0


def told_of(world: StoredWorld) -> list[tuple[Any, ...]]:
    """Every current execution by what a person would check."""
    names = "fill_id action_type quantity price realized_pnl position_quantity_after position_vwap_after".split()
    return [tuple(getattr(version.action, name) for name in names) for version in world.actions]


def lots_of(world: StoredWorld) -> list[tuple[Any, ...]]:
    return [
        (
            position.direction,
            position.status,
            position.quantity_open,
            position.realized_pnl,
            [(lot.fill_id, lot.quantity_open, lot.price_adjusted) for lot in position.lots],
        )
        for position in world.positions
    ]


def test_check_7_two_workers_trimming_one_lot_at_once_never_take_more_than_it_holds(db: Database) -> None:
    world = StoredWorld(db, make_book())
    for attempt in range(20):
        name = f"ZZ{attempt}"
        world.deliver([make_fill(f"entry {name}", "BUY", 10, 100, instrument=name)])

        def trim(which: int, name: str = name) -> bool:
            fill = make_fill(f"trim{which} {name}", "SELL", 6, 110 + which, 1 + which, instrument=name, position_effect="close")
            try:
                world.deliver([fill])
            except Rejected:
                return False
            return True

        assert sorted(together(2, trim)) == [False, True]
        (position,) = [one for one in world.positions if one.instrument == name]
        assert (position.quantity_open, [lot.quantity_open for lot in position.lots]) == (4, [4])
    closed = [closing.quantity for v in world.actions for closing in v.action.closings]
    assert closed == [6] * 20
    assert audit.audit(db, "live", at(60)).exit == 0


def test_check_7_many_workers_trimming_one_position_close_what_was_opened_and_no_more(db: Database) -> None:
    world = StoredWorld(db, make_book())
    world.deliver([make_fill(f"entry{n}", "BUY", 10, 100 + n, n) for n in range(3)])

    def trim(which: int) -> bool:
        for _ in range(50):
            try:
                world.deliver([make_fill(f"trim{which}", "SELL", 4, 120, 10, position_effect="close")])
            except Rejected:
                return False
            except Unavailable:
                continue
            return True
        raise AssertionError("never answered")

    assert together(10, trim).count(True) == 7  # 30 / 4: the eighth would close more than is open
    (position,) = world.positions
    closings = [closing for v in world.actions for closing in v.action.closings]
    assert position.quantity_open == 2
    assert sum(closing.quantity for closing in closings) == 28
    assert all(lot.quantity_open >= 0 for lot in position.lots)
    assert audit.audit(db, "live", at(60)).exit == 0


def test_check_8_other_content_under_a_booked_key_is_refused_at_once_and_later(db: Database) -> None:
    world = StoredWorld(db, make_book())
    first = make_fill("a", "BUY", 10, 100)
    world.deliver([first])
    before = (world.state_hash, world.chain_head)
    changes = ({"price": Decimal(101)}, {"quantity": Decimal(9)}, {"executed_at": at(5)}, {"fees": Decimal(1)})

    def other(which: int) -> str:
        try:
            return world.deliver([replace(first, **changes[which % len(changes)])])[0].status
        except Conflict as error:
            return error.reason

    assert set(together(8, other)) == {"fill_content_changed"}
    assert (world.state_hash, world.chain_head) == before
    assert world.deliver([first])[0].status == "duplicate"


def test_check_8_another_receipt_for_a_decided_minute_is_recorded_and_changes_nothing(desk: LiveDesk, query: Query) -> None:
    desk.send()
    before = digest(query)
    results = together(4, lambda which: redelivered(desk, body(price=Decimal("100.41") + which)).result)
    after = digest(query)
    assert results == ["conflict"] * 4
    assert desk.count("signal.receipts") == 5
    assert {table: rows for table, rows in after.items() if table != "signal.receipts"} == {
        table: rows for table, rows in before.items() if table != "signal.receipts"
    }


FORCED = """
do $$ begin
    create sequence public.forced;
    grant usage on schema public to public;
    grant usage on sequence public.forced to public;
    create function public.fail() returns trigger language plpgsql as $f$ begin
        if nextval('public.forced') <= {times} then raise exception 'forced' using errcode = '{sqlstate}'; end if;
        return new;
    end $f$;
    create trigger forced before insert on {table} for each row execute function public.fail();
end $$
"""
FAILURES = [
    (sqlstate, table)
    for sqlstate in ("40001", "40P01", "55P03")
    for table in ("signal.decisions", "ledger.fills", "ledger.execution_actions", "outbox.events")
]


@pytest.mark.parametrize(("sqlstate", "table"), FAILURES)
def test_check_13_a_forced_failure_runs_the_whole_receipt_again_and_ends_in_the_same_state(
    desk: LiveDesk, query: Query, sqlstate: str, table: str
) -> None:
    undisturbed = desk.send()
    expected = digest(query)
    wipe(query)
    query(FORCED.format(times=2, sqlstate=sqlstate, table=table))
    assert desk.send() == undisturbed
    assert digest(query) == expected
    assert query("select last_value from public.forced") == [{"last_value": 3}]


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_check_13_a_failure_without_end_is_given_up_after_five_tries_and_nothing_stays(
    desk: LiveDesk, query: Query, sqlstate: str
) -> None:
    query(FORCED.format(times=1_000, sqlstate=sqlstate, table="ledger.fills"))
    with pytest.raises(Unavailable):
        desk.send()
    assert query("select last_value from public.forced") == [{"last_value": 5}]
    assert desk.count("signal.receipts") == desk.count("ledger.fills") == desk.count("outbox.events") == 0


def test_check_13_books_that_cross_each_other_in_every_order_lose_nothing(db: Database) -> None:
    """Batches that name the same instruments in opposite orders: deadlock is what a careless locker would get."""
    world = StoredWorld(db, make_book("ibkr:U1"))
    names = ["AMD", "NVDA", "ZZTA", "ZZTB"]

    def book(which: int) -> None:
        order = random.Random(which).sample(names, len(names))
        fills = [fact(f"{name}{which}", "BUY", 1, 100, which, instrument=name) for name in order]
        for _ in range(50):
            try:
                service.run(db, lambda tx: service.book_fills(tx, "ibkr:U1", fills, DAY))
            except Unavailable:
                continue
            return
        raise AssertionError("never booked")

    together(12, book)
    assert [(position.quantity_open, len(position.lots)) for position in world.positions] == [(12, 12)] * 4
    assert audit.audit(db, "ibkr:U1", at(60)).exit == 0
