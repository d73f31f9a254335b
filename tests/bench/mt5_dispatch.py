"""The dispatcher over a large fleet: who is due is found by the index, cut into shards, written and published.

The rows of a million accounts are made by one statement, at two instances with four servers; what is due grows from slot to slot.
Timed is the whole call of ``account_sync``: run, choice, capacity, shards with their events, and their publication.
"""

from __future__ import annotations

import math
import re
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

from fillbook.mt5 import runstore, store
from fillbook.mt5.duetimes import due_until, slot_of
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from tests.bench.mt5_broker import brokers
from tests.bench.mt5_place import ROLE, House, Place
from tests.bench.report import Stage
from tests.support.plans import rows_read
from tests.support.servers import database_config

ROWS = {True: 1_000_000, False: 100_000}
FEW, DUE, MANY = 2_500, 10_000, 40_000
GOAL_SECONDS, MEMORY_MB, EXPONENT = 2.0, 25.0, 1.05
TIMES = 3
INDEX = "account_sync_state_due_ix"
MADE = """
set session_replication_role = replica;
insert into mt5.servers (server, zone_name, shift_minutes) select 'Bulk-' || n, 'UTC', 0 from generate_series(0, 3) n;
insert into mt5.trading_accounts (id, broker_name, server, login_number, instance_key, mt5_service_account_id, book_id)
select gen_random_uuid(), 'Bench', 'Bulk-' || n % 4, n, 's' || n % 2, 'bulk-' || n, 'mt5:Bulk:' || n
  from generate_series(1, {rows}) n;
insert into mt5.account_sync_state (account_id, tenant_id, next_due_at)
select id, tenant_id, '{slot}'::timestamptz + case when login_number % {rows} < {few} then interval '0'
                                                   when login_number % {rows} < {due} then interval '5 minutes'
                                                   when login_number % {rows} < {many} then interval '20 minutes'
                                                   else interval '70 minutes' end
  from mt5.trading_accounts;
analyze mt5.trading_accounts; analyze mt5.account_sync_state;
"""


def measure(stage: Stage, here: Place, *, is_large: bool) -> None:
    """Add the figures."""
    rows = ROWS[is_large]
    with brokers(here.clock, here.now()) as found:
        house = here.house("dispatch", found)
        slot = slot_of(here.now())
        made = MADE.format(rows=rows, slot=slot.isoformat(), few=FEW, due=DUE, many=MANY)
        begun = time.perf_counter()
        here.server.run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", house.name, "-c", made)
        stage.note(
            f"dispatch: {rows:,} rows of account_sync_state and their accounts, made in {time.perf_counter() - begun:.0f} s"
        )
        _page(stage, house, rows, due_until(slot + timedelta(minutes=5)))
        minutes = {FEW: [0], DUE: [5, 10, 15][:TIMES], MANY: [20]}
        took: dict[int, list[float]] = {}
        spent: dict[int, list[tuple[float, float]]] = {}
        memory: dict[int, float] = {}
        sync = house.child("sync", {"MT5_JOB_ABOVE_ACCOUNTS": str(MANY)})
        for due, offsets in minutes.items():
            for offset in offsets:
                before = here.spent()
                answer = sync.ask(
                    "sync", body={"sync_type": "scheduled"}, scheduled_at=(slot + timedelta(minutes=offset)).isoformat()
                )
                took.setdefault(due, []).append(answer["seconds"])
                spent.setdefault(due, []).append((answer["cpu"], here.spent() - before))
                _check(house, answer, due)
                memory[due] = answer["mb"]
        house.dismiss()
    stage.at_most(f"dispatch of {DUE:,} due among {rows:,}", took[DUE], GOAL_SECONDS, "s")
    stage.add(f"dispatch of {DUE:,} due, processor time of the function", [one[0] for one in spent[DUE]], "s")
    stage.add(f"dispatch of {DUE:,} due, processor time of Postgres", [one[1] for one in spent[DUE]], "s")
    stage.add(f"dispatch of {FEW:,} due among {rows:,}", took[FEW], "s")
    stage.add(f"dispatch of {MANY:,} due among {rows:,}", took[MANY], "s")
    exponent = math.log(min(took[MANY]) / min(took[FEW])) / math.log(MANY / FEW)
    stage.at_most(f"growth of dispatch, {FEW:,} to {MANY:,} due (1 is linear)", [exponent], EXPONENT, "exponent")
    stage.at_most(f"memory that {MANY:,} due want more than {FEW:,}", [memory[MANY] - memory[FEW]], MEMORY_MB, "MiB")
    stage.add("peak memory of the dispatcher", [memory[MANY]], "MiB")


def _check(house: House, answer: dict[str, Any], due: int) -> None:
    """Every due account is in exactly one shard, and every shard was published."""
    run_id = answer["document"]["executionId"]
    (row,) = house.query(
        statement(
            "select count(distinct one)::integer as accounts, count(one)::integer as places,"
            " count(distinct shard_no)::integer as shards"
            " from mt5.sync_shards, unnest(account_ids) as one where run_id = :run_id::uuid"
        ),
        run_id=run_id,
    )
    if answer["status"] != 202 or row["accounts"] != due or row["places"] != due or len(answer["messages"]) != row["shards"]:
        raise AssertionError((answer["status"], answer["document"], row, len(answer["messages"])))


def _page(stage: Stage, house: House, rows: int, due_before: Any) -> None:
    """What the statements read, as the function's own role sees the tables."""
    config = database_config(house.place.server.url(ROLE, house.name))
    db = Database.open(config, application_name="bench", pool_size=1, statement_timeout_seconds=600)
    given: dict[str, Any] = {
        "due_before": due_before,
        "after_due": "-infinity",
        "after_id": UUID(int=0),
        "tenant_id": None,
        "with_reauth": False,
        "rows_max": 5_000,
    }
    with db.transaction(read_only=True) as tx:
        told = tx.query(statement("explain " + store.QUERIES["due_page"].text), **given)
        plan = "\n".join(str(next(iter(row.values()))) for row in told)
        read = rows_read(tx, store.QUERIES["due_page"], **given)
        begun = time.perf_counter()
        tx.query(store.QUERIES["due_page"], **given)
        page = time.perf_counter() - begun
        begun = time.perf_counter()
        runstore.active(tx)
        fleet = time.perf_counter() - begun
    db.close()
    is_used = re.search(rf"Index (?:Only )?Scan using {INDEX}", plan) is not None
    stage.at_least("the page of due accounts is read by its index (1: yes)", [float(is_used)], 1, "")
    stage.at_most("rows read for a page of 5,000, of both tables", [read], 11_000, "rows")
    stage.at_most(f"a page of 5,000 due among {rows:,}", [page], 1.0, "s")
    stage.add(f"counting the active of {rows:,}", [fleet], "s")
