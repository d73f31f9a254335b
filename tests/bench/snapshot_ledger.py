"""Refreshing the six views: a day of 500 positions and 2,000 actions with marks, over 100,000 older trades."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fillbook.runtime.sql import statement
from fillbook.snapshot import days, source
from fillbook.snapshot.source import ViewNames
from tests.bench.processor import spent_seconds
from tests.bench.report import Stage
from tests.bench.snapshot_place import opened
from tests.support.ledger import StoredWorld, make_book, make_fill
from tests.support.ledger_crowd import crowd

OPEN = datetime(2026, 6, 3, 13, 30, tzinfo=UTC)
NOW = OPEN + timedelta(hours=7)
POSITIONS = 500
STEPS = (("BUY", 10), ("BUY", 10), ("SELL", 5), ("SELL", 15))
REFRESH_SECONDS = 3.0
DELIVERED_AT_ONCE = 100
AFTER_THEM = "update ledger.books set seq = (select max(seq) from ledger.execution_actions) where book_id = 'live'"
MARKS = """
insert into ledger.marks (book_id, instrument, bucket_at, price, bid, ask, marked_at, recorded_at, source)
select 'live', 'N' || n, b, p, p - 1, p + 1, b + interval '4 minutes', b + interval '4 minutes', 'signal'
  from generate_series(0, :positions::integer - 1) n, generate_series(0, 77) k,
       lateral (select :open::timestamptz + k * interval '5 minutes' as b, 100 + (n * 7 + k * 3) % 11 as p) x
"""


def refresh(stage: Stage, url: str, *, trades: int, runs: int, positions: int = POSITIONS, server: int | None = None) -> None:
    """Make the ledger in the migrated database at ``url`` and refresh its views, a few times; ``server``: its process id."""
    with opened(url) as db:
        world = StoredWorld(db, make_book(start_cash=Decimal(100_000)))
        if trades:
            crowd(db, "live", trades, left_open=0)
            with db.transaction() as tx:
                tx.execute(
                    statement(
                        "update ledger.books set seq = (select max(seq) from ledger.execution_actions) where book_id = 'live'"
                    )
                )
        chance = random.Random(1)
        fills = []
        for number in range(positions):
            base = OPEN + timedelta(minutes=chance.randint(0, 300))
            for step, (side, quantity) in enumerate(STEPS):
                at = base + timedelta(minutes=5 * step)
                left = 5 if step == 3 and number % 2 else quantity
                price = 100 + chance.randint(-5, 5)
                fills.append(
                    make_fill(
                        f"{number}-{step}",
                        side,
                        left,
                        price,
                        instrument=f"N{number}",
                        executed_at=at,
                        received_at=at,
                        session_date=at.date(),
                        fees="1",
                    )
                )
        fills.sort(key=lambda fill: fill.executed_at)
        for start in range(0, len(fills), DELIVERED_AT_ONCE):
            world.deliver(fills[start : start + DELIVERED_AT_ONCE], NOW)
        with db.transaction() as tx:
            tx.execute(statement(MARKS), positions=positions, open=OPEN)
            for table in ("fills", "execution_actions", "positions", "lots", "closings", "marks"):
                tx.execute(statement(f"analyze ledger.{table}"))
        source.put_days(db, days.standing(NOW))
        taken, spent = [], []
        for _ in range(runs + 1):
            before, began = spent_seconds({"server": server or 0})["server"], time.perf_counter()
            source.refresh(db)
            taken.append(time.perf_counter() - began)
            spent.append(spent_seconds({"server": server or 0})["server"] - before)
        found = source.read(db, ViewNames(), days.plan(OPEN.date(), NOW))
        if found.watermark is None or found.watermark.actions != len(fills):
            raise AssertionError(f"the views do not hold the day: {found.watermark}")
    stage.add(f"refresh of all six views over {trades:,} older trades, the first", taken[:1], "s")
    stage.at_most(f"refresh of all six views over {trades:,} older trades", taken[1:], REFRESH_SECONDS, "s")
    if server is not None:
        stage.add("refresh: processor time of the server", spent[1:], "s")
