"""Growth of what brokers bring: a statement's executions taken in, not booked and booked, and a tick over a fleet of accounts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from fillbook.ibkr.accounts import configure_accounts
from fillbook.ibkr.model import Row
from fillbook.ibkr.runs import import_statement_once
from fillbook.runtime.sql import statement
from tests.bench.growth_place import Works, ground, opened, spent
from tests.bench.ibkr import NOW
from tests.bench.mt5_broker import Brokers, brokers
from tests.bench.mt5_place import House, place
from tests.support.ibkr import CONFIGS
from tests.support.ibkr_statement import long_statement
from tests.support.ibkr_world import Statement

CHUNK = 1_000
"""Small against every size, so that each size is several transactions."""


@contextmanager
def ingest(sizes: Sequence[int]) -> Iterator[Works]:
    """A statement of ``size`` executions into an empty room, not booked, and booked: every execution is a fill then."""
    rows: dict[int, list[Row]] = {size: [row for part in long_statement(size, CHUNK) for row in part] for size in sizes}
    with ground() as here:

        def taken(is_booked: bool, size: int) -> float:
            with opened(here.new_database()) as db:
                configure_accounts(db, CONFIGS, NOW)
                if is_booked:
                    with db.transaction() as tx:
                        tx.execute(statement("update ibkr.accounts set opened_at = :now"), now=NOW)
                return spent(db, lambda: import_statement_once(db, Statement(rows[size], size=CHUNK), request_id=None, now=NOW))

        yield {"taking a statement in": partial(taken, False), "taking it in and booking it": partial(taken, True)}


@contextmanager
def accounts(sizes: Sequence[int]) -> Iterator[Works]:
    """A tick over ``size`` linked accounts of which nothing is new, in shards, at a service that answers at once."""
    with place() as here, brokers(here.clock, here.now(), count=1) as found:
        found.grow(max(sizes), here.now())
        houses = {size: _fleet(here.house(f"growth_{size}", found), found, size) for size in sizes}

        def work(size: int) -> float:
            before = houses[size].runs_by_account()
            ran = houses[size].sharded(1)
            houses[size].check(ran.run_id, before)
            return ran.workers + ran.postgres

        yield {"a tick over accounts": work}
        for house in houses.values():
            house.dismiss()


def _fleet(house: House, found: Brokers, size: int) -> House:
    """``size`` accounts of the service linked and read twice, which leaves what a tick without news compares with."""
    house.link(found.accounts[:size])
    for _ in range(2):
        house.sharded(1)
    return house
