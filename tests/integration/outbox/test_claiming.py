"""Own events are leased by the commit that writes them: they go out at once, and every promise of the relay still holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from fillbook.outbox import store
from fillbook.outbox.model import Event, partition_of
from fillbook.outbox.service import Claimed, commit_claiming, enqueue, partitions_of, relay, relay_own
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from tests.support.outbox import NOON, commit, event, expire_leases, state
from tests.support.proxy import Proxy
from tests.support.publisher import FakePublisher
from tests.support.servers import database_config

Query = Callable[..., list[dict[str, Any]]]
KEY = "live/AMD"
NEIGHBOUR = next(f"live/N{n}" for n in count() if partition_of(f"live/N{n}") == partition_of(KEY))
"""Another aggregate of the same partition."""


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOON)


def commit_and_claim(db: Database, events: Sequence[Event]) -> Claimed:
    """What a request does: its events and their lease in one transaction."""
    with db.transaction() as tx:
        enqueue(tx, events)
        return commit_claiming(tx, partitions_of(events), NOON)


def held(query: Query) -> int:
    """How many partitions are leased."""
    return len(query("select partition_no from outbox.partitions where lease_token is not null"))


def test_own_events_go_out_with_one_round_trip_after_the_commit(
    postgres: Any, db: Database, database_url: str, clock: FixedClock, query: Query
) -> None:
    publisher = FakePublisher()
    with Proxy("127.0.0.1", postgres.port) as proxy:
        through = Database.open(database_config(proxy.url(database_url)), application_name="through")
        for version in (1, 2):
            events = [event(KEY, version)]
            proxy.reset()
            claimed = commit_and_claim(through, events)
            committed = proxy.trips
            relay_own(through, publisher, partitions_of(events), now_from=clock, claimed=claimed)
            trips = proxy.trips
        through.close()
    assert (committed, trips) == (1, 2)
    assert publisher.event_ids == [str(event(KEY, version).event_id) for version in (1, 2)]
    assert all(row["published_at"] is not None for row in state(db))
    assert held(query) == 0


def test_older_events_of_the_partition_go_out_first(db: Database, clock: FixedClock) -> None:
    commit(db, [event(KEY, 1), event(NEIGHBOUR, 1)])
    claimed = commit_and_claim(db, [event(KEY, 2)])
    assert [(row.aggregate_key, row.aggregate_version) for row in claimed.rows] == [(KEY, "1"), (NEIGHBOUR, "1"), (KEY, "2")]
    publisher = FakePublisher()
    relay_own(db, publisher, [partition_of(KEY)], now_from=clock, claimed=claimed)
    mine = [str(event(KEY, version).event_id) for version in (1, 2)]
    assert [one for one in publisher.event_ids if one in mine] == mine
    assert len(publisher.event_ids) == 3


def test_a_partition_that_another_relay_holds_is_waited_for_as_ever(db: Database, clock: FixedClock, query: Query) -> None:
    commit(db, [event(KEY, 1)])
    other = store.claim(db, uuid4(), NOON, partitions=[partition_of(KEY)])
    claimed = commit_and_claim(db, [event(KEY, 2)])
    assert (claimed.rows, claimed.partitions, claimed.busy) == ((), (), 1)

    class Releasing(FixedClock):
        """The other relay is done once this one has asked again."""

        def now(self) -> Any:
            query("update outbox.partitions set lease_token = null where lease_token = :token", token=other.token)
            return super().now()

    publisher = FakePublisher()
    relay_own(db, publisher, [partition_of(KEY)], now_from=Releasing(NOON), claimed=claimed)
    assert publisher.event_ids == [str(event(KEY, version).event_id) for version in (1, 2)]


def test_what_is_rolled_back_leaves_no_lease(db: Database, query: Query) -> None:
    class Sudden(Exception):
        pass

    def begin_and_fail() -> None:
        with db.transaction() as tx:
            enqueue(tx, [event(KEY, 1)])
            tx.call(store.claim_call(uuid4(), NOON, partitions=[partition_of(KEY)]))
            raise Sudden

    with pytest.raises(Sudden):
        begin_and_fail()
    assert (held(query), state(db)) == (0, [])


def test_the_lease_of_a_request_that_died_ends_and_the_sweeper_goes_on(db: Database, clock: FixedClock, query: Query) -> None:
    commit_and_claim(db, [event(KEY, 1)])
    publisher = FakePublisher()
    relay(db, publisher, now_from=clock, budget_seconds=1)
    assert publisher.event_ids == []
    expire_leases(query)
    relay(db, publisher, now_from=clock, budget_seconds=1)
    assert publisher.event_ids == [str(event(KEY, 1).event_id)]


def test_a_claim_and_a_writer_of_the_same_partition_do_not_wait_for_each_other(open_database: Any) -> None:
    one, other = open_database(), open_database()
    with one.transaction() as writing:
        enqueue(writing, [event(NEIGHBOUR, 1)])
        writing.query(statement("select 1"))  # sent, not committed
        claimed = commit_and_claim(other, [event(KEY, 1)])
    assert [row.aggregate_key for row in claimed.rows] == [KEY]
    with one.transaction() as claiming:
        claiming.call(store.claim_call(uuid4(), NOON, partitions=None))
        commit(other, [event(NEIGHBOUR, 2)])


def test_a_failed_aggregate_keeps_its_place_and_its_successor_waits_for_the_sweeper(
    db: Database, clock: FixedClock, query: Query
) -> None:
    publisher = FakePublisher()
    publisher.fail_next(1)
    relay_own(db, publisher, [partition_of(KEY)], now_from=clock, claimed=commit_and_claim(db, [event(KEY, 1)]))
    claimed = commit_and_claim(db, [event(KEY, 2)])
    assert (claimed.rows, claimed.busy, held(query)) == ((), 0, 0)
    clock.step(2)
    relay(db, publisher, now_from=clock, budget_seconds=1)
    assert publisher.event_ids[-2:] == [str(event(KEY, version).event_id) for version in (1, 2)]


def test_only_the_relays_own_record_is_written_without_waiting_for_its_flush(db: Database, clock: FixedClock) -> None:
    with db.transaction() as tx:
        before = tx.query(statement("show synchronous_commit"))
    relay_own(db, FakePublisher(), [partition_of(KEY)], now_from=clock, claimed=commit_and_claim(db, [event(KEY, 1)]))
    with db.transaction() as tx:
        assert tx.query(statement("show synchronous_commit")) == before
        touching = tx.query(statement("select proname from pg_proc where prosrc like '%synchronous_commit%'"))
    assert [row["proname"] for row in touching if row["proname"] != "set_config"] == ["finish"]
