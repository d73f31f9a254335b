"""The relay on a real database with a stand-in publisher: scenarios 48 to 52 of the ledger's specification, and leases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from fillbook.outbox import relay as relay_module
from fillbook.outbox import store
from fillbook.outbox.model import partition_of
from fillbook.outbox.service import partitions_of, receive, relay, relay_own
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from fillbook.runtime.pubsub import OutMessage
from tests.support.outbox import NOON, commit, event, expire_leases, state
from tests.support.publisher import FakePublisher, Killed

Query = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOON)


@pytest.fixture
def relay_db(open_database: Any) -> Database:
    """The database with the grants of the functions that relay, and nothing more."""
    database: Database = open_database("outbox_writer", pool_size=8)
    return database


def run(database: Database, publisher: FakePublisher, clock: FixedClock, **options: Any) -> Any:
    return relay(database, publisher, now_from=clock, **{"budget_seconds": 10, **options})


def keys_of_one_partition(count: int) -> list[str]:
    """Aggregates that share a partition, so that one cannot hide behind another's lease."""
    names = (f"live/T{number}" for number in range(100_000))
    return [name for name in names if partition_of(name) == 7][:count]


def test_events_go_out_as_stored_and_are_finalised(relay_db: Database, db: Database, clock: FixedClock) -> None:
    commit(db, [event("live/AMD", version) for version in (1, 2, 3)])
    clock.step(5)
    publisher = FakePublisher()
    report = run(relay_db, publisher, clock)
    assert (report.published, report.failed, report.parked, report.is_drained) == (3, 0, 0, True)
    assert publisher.versions("live/AMD") == [1, 2, 3]
    assert len(publisher.requests) == 1
    assert publisher.envelopes()[0]["event_type"] == "execution_booked"
    assert [(row["published_at"], row["message_id"]) for row in state(db)] == [(clock.now(), f"m{index}") for index in range(3)]
    assert run(relay_db, publisher, clock).published == 0


def test_two_relays_publish_a_thousand_events_once_each_and_in_order(relay_db: Database, db: Database, clock: FixedClock) -> None:
    """Scenario 48."""
    keys = [f"live/T{number}" for number in range(20)]
    commit(db, [event(keys[number % 20], number) for number in range(1000)])
    publisher = FakePublisher()
    threads = [threading.Thread(target=run, args=(relay_db, publisher, clock)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(publisher.event_ids) == 1000
    assert len(set(publisher.event_ids)) == 1000
    for index, key in enumerate(keys):
        assert publisher.versions(key) == list(range(index, 1000, 20))
    assert all(row["published_at"] is not None for row in state(db))


def test_a_relay_killed_between_publish_and_finalise_costs_a_repeat_that_the_inbox_absorbs(
    relay_db: Database, db: Database, clock: FixedClock, query: Query
) -> None:
    """Scenario 49."""
    commit(db, [event("live/AMD", 1), event("live/AMD", 2)])
    publisher = FakePublisher()
    publisher.die_after(1)
    with pytest.raises(Killed):
        run(relay_db, publisher, clock)
    assert run(relay_db, publisher, clock).published == 0, "the dead relay's lease still holds"
    expire_leases(query)
    assert run(relay_db, publisher, clock).published == 2
    assert len(publisher.event_ids) == 4
    effects = []
    for identity in publisher.event_ids:
        with relay_db.transaction() as tx:
            effects.append(receive(tx, "discord_notifier", UUID(identity), clock.now()))
    assert effects == [True, True, False, False]
    assert publisher.versions("live/AMD") == [1, 2]


def test_an_aggregate_that_fails_waits_while_others_flow_and_follows_in_order(
    relay_db: Database, db: Database, clock: FixedClock
) -> None:
    """Scenario 50."""
    bad, good = keys_of_one_partition(2)
    commit(db, [event(bad, 1), event(good, 1), event(bad, 2)])
    publisher = FakePublisher()
    publisher.fail_next(3, bad)
    waits = []
    for _ in range(3):
        run(relay_db, publisher, clock)
        row = state(db)[0]
        waits.append((row["attempts"], (row["available_at"] - clock.now()).total_seconds(), row["last_error"]))
        assert publisher.versions(good) == [1]
        commit(db, [event(bad, 10 + row["attempts"])])
        clock.step(waits[-1][1] - 0.001)
        assert run(relay_db, publisher, clock).failed == 0, "nobody asks before the backoff is over"
        clock.step(0.001)
    assert waits == [(1, 2.0, "pubsub_unavailable"), (2, 4.0, "pubsub_unavailable"), (3, 8.0, "pubsub_unavailable")]
    run(relay_db, publisher, clock)
    assert publisher.versions(bad) == [1, 2, 11, 12, 13]


def test_a_backoff_doubles_up_to_five_minutes(relay_db: Database, db: Database, clock: FixedClock) -> None:
    commit(db, [event("live/AMD", 1)])
    publisher = FakePublisher()
    publisher.fail_next(12)
    waits = []
    for _ in range(12):
        run(relay_db, publisher, clock)
        waits.append((state(db)[0]["available_at"] - clock.now()).total_seconds())
        clock.step(waits[-1])
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]


def test_a_permanent_refusal_parks_the_one_bad_event_and_its_aggregate_moves_on(
    relay_db: Database, db: Database, clock: FixedClock
) -> None:
    """Scenario 51."""
    events = [event("live/AMD", version) for version in (1, 2, 3)]
    commit(db, events)
    publisher = FakePublisher()
    publisher.refuse(events[1].event_id)
    report = run(relay_db, publisher, clock)
    assert (report.published, report.parked, report.failed) == (2, 1, 0)
    assert publisher.versions("live/AMD") == [1, 3]
    parked = state(db)[1]
    assert (parked["parked_at"], parked["published_at"], parked["last_error"]) == (clock.now(), None, "publish_refused")


def test_a_failure_behind_a_refused_event_still_keeps_the_order(relay_db: Database, db: Database, clock: FixedClock) -> None:
    events = [event("live/AMD", version) for version in (1, 2, 3)]
    commit(db, events)
    publisher = FakePublisher()
    publisher.refuse(events[0].event_id)
    calls = iter(range(100))

    def fail_the_third_request(topic: str, messages: Sequence[OutMessage]) -> None:
        if next(calls) == 2:
            publisher.fail_next(1)

    publisher.on_publish = fail_the_third_request
    report = run(relay_db, publisher, clock)
    assert (report.published, report.parked, report.failed) == (0, 1, 1)
    clock.step(2)
    run(relay_db, publisher, clock)
    assert publisher.versions("live/AMD") == [2, 3]


def test_a_clock_set_back_delays_nothing_and_leaves_no_lease_behind(
    relay_db: Database, db: Database, clock: FixedClock, query: Query
) -> None:
    """Scenario 52: desk clock and server clock step back 10 minutes."""
    commit(db, [event("live/AMD", 1, recorded_at=NOON + timedelta(minutes=10)), event("live/NVDA", 1)])
    publisher = FakePublisher()
    publisher.fail_next(1, "live/NVDA")
    clock.step(600)
    run(relay_db, publisher, clock)
    clock.step(-600)
    assert run(relay_db, publisher, clock).published == 1, "a backoff given in the clock's future counts as over"
    commit(db, [event("live/AMD", 2, recorded_at=NOON + timedelta(minutes=10))])
    query("update outbox.partitions set lease_token = gen_random_uuid(), lease_until = clock_timestamp() + interval '10 min'")
    assert run(relay_db, publisher, clock).published == 1, "a lease longer than any lease given is void"
    assert publisher.versions("live/AMD") == [1, 2]
    with relay_db.transaction() as tx:
        assert store.backlog(tx, clock.now()).oldest_unpublished_seconds == 0


def test_a_late_worker_finalises_nothing(relay_db: Database, db: Database, clock: FixedClock, query: Query) -> None:
    commit(db, [event("live/AMD", 1)])
    late, prompt = uuid4(), uuid4()
    held = store.claim(relay_db, late, clock.now(), partitions=None)
    expire_leases(query)
    assert store.claim(relay_db, prompt, clock.now(), partitions=None).rows == held.rows
    outcome = [store.Published(id=held.rows[0].id, message_id="late")]
    assert store.finish(relay_db, late, clock.now(), outcome, "read") == (0, ())
    assert state(db)[0]["published_at"] is None
    assert store.finish(relay_db, prompt, clock.now(), [store.Published(id=held.rows[0].id, message_id="m")], "extend")[0] == 1
    store.finish(relay_db, late, clock.now(), outcome, "release")
    assert query("select count(*)::int as held from outbox.partitions where lease_token is not null") == [{"held": 1}]
    store.finish(relay_db, prompt, clock.now(), [], "release")
    assert state(db)[0]["message_id"] == "m"
    assert query("select count(*)::int as held from outbox.partitions where lease_token is not null") == [{"held": 0}]


def test_a_relay_leases_at_most_eight_partitions_and_reads_a_hundred_rows_of_each(
    relay_db: Database, db: Database, clock: FixedClock
) -> None:
    commit(db, [event(f"live/T{number}", 1) for number in range(300)] + [event("live/AMD", version) for version in range(150)])
    claimed = store.claim(relay_db, uuid4(), clock.now(), partitions=None)
    assert len(claimed.partitions) == 8
    assert {row.partition_no for row in claimed.rows} == set(claimed.partitions)
    own = partition_of("live/AMD")
    if own not in claimed.partitions:
        claimed = store.claim(relay_db, uuid4(), clock.now(), partitions=[own])
    rows = [row for row in claimed.rows if row.partition_no == own]
    assert len(rows) == 100
    assert [row.id for row in rows] == sorted(row.id for row in rows)


def test_at_most_eight_requests_run_at_once(relay_db: Database, db: Database, clock: FixedClock) -> None:
    keys = keys_of_one_partition(24)
    commit(db, [event(key, 1) for key in keys])
    publisher = FakePublisher()
    barrier = threading.Barrier(8)

    def meet(topic: str, messages: Sequence[OutMessage]) -> None:
        barrier.wait(timeout=30)

    publisher.on_publish = meet
    assert run(relay_db, publisher, clock).published == 24
    assert publisher.running_max == 8


def test_no_transaction_is_open_while_publishing(relay_db: Database, db: Database, clock: FixedClock, query: Query) -> None:
    commit(db, [event("live/AMD", 1)])
    publisher = FakePublisher()
    seen: list[Any] = []

    def look(topic: str, messages: Sequence[OutMessage]) -> None:
        seen.append(query("select count(*)::int as n from pg_stat_activity where state like 'idle in transaction%'"))

    publisher.on_publish = look
    run(relay_db, publisher, clock)
    assert seen == [[{"n": 0}]]


def test_a_lease_is_extended_while_a_publish_takes_long(
    relay_db: Database, db: Database, clock: FixedClock, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = keys_of_one_partition(2)
    commit(db, [event(slow, 1), event(quick, 1)])
    monkeypatch.setattr(relay_module, "EXTEND_SECONDS", 0.02)
    publisher = FakePublisher()
    may_end, has_begun = threading.Event(), threading.Event()

    def hold(topic: str, messages: Sequence[OutMessage]) -> None:
        if messages[0].ordering_key == slow:
            query("update outbox.partitions set lease_until = clock_timestamp() + interval '1 s' where lease_token is not null")
            has_begun.set()
            assert may_end.wait(timeout=30)

    publisher.on_publish = hold
    thread = threading.Thread(target=run, args=(relay_db, publisher, clock), kwargs={"budget_seconds": 30})
    thread.start()
    extended = (
        "select 1 from outbox.partitions where lease_token is not null and lease_until > clock_timestamp() + interval '20 s'"
    )
    finalised = "select 1 from outbox.events where published_at is not null"
    assert has_begun.wait(timeout=30)
    for _ in range(2000):
        if query(extended) and query(finalised):
            break
    else:
        pytest.fail("the lease was not extended, or the quick aggregate not finalised meanwhile")
    may_end.set()
    thread.join()
    assert all(row["published_at"] is not None for row in state(db))


def test_a_request_relays_its_own_partitions_only(relay_db: Database, db: Database, clock: FixedClock) -> None:
    mine = [event("live/AMD", 1)]
    commit(db, [*mine, event("live/NVDA", 1)])
    publisher = FakePublisher()
    relay_own(relay_db, publisher, partitions_of(mine), now_from=clock)
    assert [message.ordering_key for _, message in publisher.taken] == ["live/AMD"]
    relay_own(relay_db, publisher, (), now_from=clock)
    assert len(publisher.taken) == 1


def test_a_request_asks_again_for_a_busy_partition(
    relay_db: Database, db: Database, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "OWN_BUDGET_SECONDS", 60.0)
    commit(db, [event("live/AMD", 1)])
    other = uuid4()
    held = store.claim(relay_db, other, clock.now(), partitions=None)
    commit(db, [event("live/AMD", 2)])
    publisher = FakePublisher()
    thread = threading.Thread(target=relay_own, args=(relay_db, publisher, held.partitions), kwargs={"now_from": clock})
    thread.start()
    thread.join(timeout=0.06)
    assert thread.is_alive()
    store.finish(relay_db, other, clock.now(), [store.Published(id=held.rows[0].id, message_id="m")], "release")
    thread.join()
    assert publisher.versions("live/AMD") == [2]


def test_a_request_gives_up_after_its_budget_and_whatever_happens_swallows_it(
    relay_db: Database, db: Database, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(db, [event("live/AMD", 1)])
    own = partitions_of([event("live/AMD", 1)])
    store.claim(relay_db, uuid4(), clock.now(), partitions=None)
    monkeypatch.setattr(relay_module, "OWN_BUDGET_SECONDS", 0.1)
    publisher = FakePublisher()
    relay_own(relay_db, publisher, own, now_from=clock)
    assert publisher.taken == []
    relay_db.close()
    relay_own(relay_db, publisher, own, now_from=clock)


def test_a_bug_in_publishing_holds_its_aggregate_and_no_other(relay_db: Database, db: Database, clock: FixedClock) -> None:
    bad, good = keys_of_one_partition(2)
    commit(db, [event(bad, 1), event(good, 1)])
    publisher = FakePublisher()

    def stumble(topic: str, messages: Sequence[OutMessage]) -> None:
        if messages[0].ordering_key == bad:
            raise ZeroDivisionError

    publisher.on_publish = stumble
    run(relay_db, publisher, clock)
    assert [row["last_error"] for row in state(db)] == ["bug_ZeroDivisionError", None]


def test_two_topics_of_one_aggregate_are_two_requests_in_order(relay_db: Database, db: Database, clock: FixedClock) -> None:
    commit(db, [event("ibkr:U1", 1, event_type="sync_failed"), event("ibkr:U1", 2, event_type="sync_requested")])
    publisher = FakePublisher()
    run(relay_db, publisher, clock)
    assert [topic for topic, _ in publisher.taken] == ["events", "ibkr-jobs"]
    assert len(publisher.requests) == 2
