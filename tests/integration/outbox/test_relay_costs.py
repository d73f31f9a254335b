"""What the relay costs and survives: two round trips inline, every read by its index, and a real kill -9."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fillbook.outbox import store
from fillbook.outbox.service import partitions_of, receive, relay, relay_own
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from tests.support.outbox import NOON, commit, event, expire_leases, state
from tests.support.proxy import Proxy
from tests.support.publisher import FakePublisher
from tests.support.servers import database_config

Query = Callable[..., list[dict[str, Any]]]
ROOT = Path(__file__).parents[3]

CHILD = """
import os, signal, sys
from datetime import datetime
from fillbook.outbox.service import relay
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from tests.support.servers import database_config

class Deadly:
    def __init__(self, taken, die): self.taken, self.die, self.count = taken, die, 0
    def publish(self, topic, messages, *, timeout_seconds):
        self.count += 1
        if self.die == f"before:{self.count}": os.kill(os.getpid(), signal.SIGKILL)
        with open(self.taken, "a") as file:
            file.writelines(message.attributes["event_id"] + "\\n" for message in messages)
        if self.die == f"after:{self.count}": os.kill(os.getpid(), signal.SIGKILL)
        return ["m"] * len(messages)

url, taken, die, now = sys.argv[1:]
database = Database.open(database_config(url), application_name="child")
relay(database, Deadly(taken, die), now_from=FixedClock(datetime.fromisoformat(now)), budget_seconds=20)
"""


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOON)


def test_an_inline_turn_costs_two_round_trips_and_one_publish(
    postgres: Any, db: Database, database_url: str, clock: FixedClock
) -> None:
    with Proxy("127.0.0.1", postgres.port) as proxy:
        url = proxy.url(f"{database_url}?role=outbox_writer")
        through = Database.open(database_config(url), application_name="through")
        publisher = FakePublisher()
        for version in (1, 2, 3):
            events = [event("live/AMD", version)]
            commit(db, events)
            proxy.reset()
            relay_own(through, publisher, partitions_of(events), now_from=clock)
            trips = proxy.trips
        through.close()
    assert trips == 2
    assert len(publisher.requests) == 3
    assert all(row["published_at"] is not None for row in state(db))


def test_every_read_of_the_relay_goes_by_its_index(db: Database, clock: FixedClock, query: Query) -> None:
    commit(db, [event(f"live/T{number}", 1) for number in range(200)])
    query(
        "insert into outbox.inbox select 'c', gen_random_uuid(), 'applied', :at::timestamptz + n * interval '1 s'"
        " from generate_series(1, 5000) n",
        at=NOON,
    )
    query("analyze outbox.inbox")
    publisher = FakePublisher()
    publisher.fail_next(3)
    with db.transaction() as tx:
        tx.execute(statement("set session enable_seqscan = off"))
    before = {row["name"]: row["idx_scan"] for row in query("select indexrelname as name, idx_scan from pg_stat_user_indexes")}
    relay(db, publisher, now_from=clock, budget_seconds=10)
    clock.step(8 * 86_400)
    store.purge(db, clock.now())
    with db.transaction() as tx:
        receive(tx, "c", event("live/AMD", 1).event_id, clock.now())
        store.parked(tx)
    query("select pg_stat_force_next_flush()")
    after = {row["name"]: row["idx_scan"] for row in query("select indexrelname as name, idx_scan from pg_stat_user_indexes")}
    grown = {name for name, count in after.items() if count > before.get(name, 0)}
    assert {
        "events_due",
        "events_waiting",
        "events_published",
        "events_parked",
        "events_pk",
        "inbox_pk",
        "inbox_received",
    } <= grown


@pytest.mark.parametrize(("die", "repeats"), [("before:1", 0), ("after:1", 1), ("after:3", 1)])
def test_a_relay_killed_by_force_loses_nothing(
    db: Database, database_url: str, clock: FixedClock, query: Query, tmp_path: Path, die: str, repeats: int
) -> None:
    events = [event("live/AMD", version) for version in range(250)]
    commit(db, events)
    taken = tmp_path / "taken"
    taken.touch()
    command = [sys.executable, "-c", CHILD, database_url, str(taken), die, (NOON + timedelta(seconds=1)).isoformat()]
    child = subprocess.run(command, cwd=ROOT, check=False, timeout=30)
    assert child.returncode == -signal.SIGKILL
    expire_leases(query)
    publisher = FakePublisher()
    relay(db, publisher, now_from=clock, budget_seconds=10)
    told = taken.read_text().split() + publisher.event_ids
    assert list(dict.fromkeys(told)) == [str(one.event_id) for one in events]
    assert len(told) - len(events) == (repeats and len(publisher.requests[0]))
