"""The gate: a busy statement in shuffled chunks by four workers at once ends as the same statement told in order by one.

One shuffle by default, the twenty of the specification with ``FILLBOOK_FULL=1``. Source: ibkr.md 16.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from fillbook.ibkr.model import Cancel, Row, Sighting
from fillbook.ibkr.runs import import_statement_once
from fillbook.ledger import audit
from fillbook.runtime.errors import Unavailable
from tests.support import ibkr_statement as shape
from tests.support.campaigns import small_or_full
from tests.support.ibkr import FIRST
from tests.support.ibkr_world import Statement, World

WORKERS = 4
TRIES = 20
STATES = small_or_full(1, 20)
ROWS = shape.busy_statement()


def test_the_statement_holds_every_shape_in_its_number() -> None:
    sightings = [row for row in ROWS if isinstance(row, Sighting)]
    facts = [row.facts for row in sightings]
    orders = Counter(one.flex_order_id for one in facts if one.flex_order_id)
    alike = Counter((one.executed_at, one.conid, one.price, one.quantity, one.side) for one in facts if one.sec_type == "STK")
    legs = [one for one in facts if one.sec_type == "OPT" and one.transaction_type == "ExchTrade"]
    late = [one for one in facts if one.sec_type == "CASH" and one.trade_day != one.executed_at.date()]
    assert len(sightings) >= 671
    assert 320 <= len(orders) <= 360
    assert max(orders.values()) == 59
    assert sum(count > 1 for count in alike.values()) >= 65
    assert len(legs) == 240
    assert {one.brokerage_order_id for one in legs} == {None}
    assert sum(one.transaction_type == "BookTrade" for one in facts) == 9
    assert len(late) == 24
    assert sum(isinstance(row, Cancel) for row in ROWS) == 3 + 2 + 1
    assert all(one.transaction_id is not None and one.transaction_id > 2**32 for one in facts)


def chunks(rows: list[Row], chance: random.Random) -> list[list[Row]]:
    mixed = rows.copy()
    chance.shuffle(mixed)
    parts = []
    while mixed:
        size = chance.randint(1, 90)
        parts.append(mixed[:size])
        mixed = mixed[size:]
    return parts


def tell_at_once(world: World, parts: list[list[Row]]) -> None:
    def work(part: list[Row]) -> None:
        for _ in range(TRIES):  # where the account is held longer than a transaction may wait, the job is tried again
            try:
                assert import_statement_once(world.db, Statement(part), request_id=None, now=world.now).adds_up
            except Unavailable:
                continue
            return
        raise AssertionError(f"{TRIES} tries were not enough")

    with ThreadPoolExecutor(WORKERS) as workers:
        list(workers.map(work, parts))


def test_in_any_order_by_four_workers_at_once_it_ends_as_told_in_order_and_told_again_it_writes_nothing(
    anew: Callable[[], World],
) -> None:
    told = anew()
    told.imported(Statement(ROWS))
    expected = told.export()
    before, stamps = told.written(), told.query("select id, updated_at from ibkr.trade_executions order by id")
    tell_at_once(told, chunks(ROWS, random.Random(99)))
    assert told.written() == before
    assert told.query("select id, updated_at from ibkr.trade_executions order by id") == stamps
    assert told.export() == expected
    for state in range(STATES):
        world = anew()
        tell_at_once(world, chunks(ROWS, random.Random(state)))
        assert world.export() == expected, f"random state {state}"
        result = audit.audit(world.db, FIRST.book_id, world.now)
        assert result.exit == 0, (state, result.findings)
