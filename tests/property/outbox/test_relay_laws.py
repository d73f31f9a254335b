"""Laws of the relay over generated histories of commits, failures, refusals, deaths, late workers and clock steps.

Whatever happens: every event that is not refused for good goes out at least once; per aggregate first appearances are in
commit order; a consumer with an inbox applies each event exactly once; refused events are parked, never lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from fillbook.outbox import store
from fillbook.outbox.model import Event, partition_of
from fillbook.outbox.relay import message_of
from fillbook.outbox.service import receive, relay
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from tests.support.outbox import NOON, commit, event, expire_leases
from tests.support.publisher import FakePublisher, Killed

KEYS = (
    *[f"live/T{number}" for number in range(400) if partition_of(f"live/T{number}") == 7][:3],
    "ibkr:U1/ibkr:1",
)  # three share one

STEPS = st.one_of(
    st.tuples(st.just("commit"), st.sampled_from(KEYS), st.integers(1, 4)),
    st.tuples(st.just("relay"), st.just(""), st.just(0)),
    st.tuples(st.just("fail"), st.sampled_from((*KEYS, "*")), st.integers(1, 3)),
    st.tuples(st.just("refuse"), st.sampled_from(KEYS), st.just(0)),
    st.tuples(st.just("die"), st.just(""), st.integers(1, 3)),
    st.tuples(st.just("hold"), st.just(""), st.just(0)),
    st.tuples(st.just("late"), st.just(""), st.just(0)),
    st.tuples(st.just("expire"), st.just(""), st.just(0)),
    st.tuples(st.just("clock"), st.just(""), st.integers(-900, 400)),
)


class History:
    """Plays steps against the database and remembers what was committed and refused."""

    def __init__(self, db: Database, query: Callable[..., Any]) -> None:
        query("truncate outbox.events, outbox.inbox")
        query("update outbox.partitions set lease_token = null, lease_until = '1970-01-01 00:00:00+00'")
        self._db = db
        self._query = query
        self.clock = FixedClock(NOON)
        self.publisher = FakePublisher()
        self.committed: dict[str, list[Event]] = defaultdict(list)
        self.refused: set[UUID] = set()
        self._held: list[tuple[UUID, tuple[store.Row, ...]]] = []

    def play(self, verb: str, key: str, number: int) -> None:
        getattr(self, f"_{verb}")(key, number)

    def _commit(self, key: str, number: int) -> None:
        first = len(self.committed[key])
        events = [event(key, first + index, recorded_at=self.clock.now()) for index in range(number)]
        commit(self._db, events)
        self.committed[key] += events

    def _relay(self, *_: object) -> None:
        try:
            relay(self._db, self.publisher, now_from=self.clock, budget_seconds=5)
        except Killed:
            return

    def _fail(self, key: str, number: int) -> None:
        self.publisher.fail_next(number, key)

    def _refuse(self, key: str, _: int) -> None:
        taken = set(self.publisher.event_ids)
        waiting = [one for one in self.committed[key] if str(one.event_id) not in taken]
        if waiting:
            self.refused.add(waiting[0].event_id)
            self.publisher.refuse(waiting[0].event_id)

    def _die(self, _: str, number: int) -> None:
        self.publisher.die_after(number)

    def _hold(self, *_: object) -> None:
        """A worker leases and reads, and is then descheduled for long."""
        token = uuid4()
        self._held.append((token, store.claim(self._db, token, self.clock.now(), partitions=None).rows))

    def _late(self, *_: object) -> None:
        """It wakes up, publishes what it had read and tries to finalise."""
        if not self._held:
            return
        token, rows = self._held.pop(0)
        outcomes: list[store.Outcome] = []
        for row in rows:
            if UUID(row.event_id) not in self.refused:
                (message_id,) = FakePublisher.publish(self._mended(), row.topic, [message_of(row)])
                outcomes.append(store.Published(id=row.id, message_id=message_id))
        store.finish(self._db, token, self.clock.now(), outcomes, "release")

    def _mended(self) -> FakePublisher:
        self.publisher._failures.clear()
        self.publisher._die_at = None
        return self.publisher

    def _expire(self, *_: object) -> None:
        expire_leases(self._query)

    def _clock(self, _: str, seconds: int) -> None:
        self.clock.step(seconds)

    def settle(self) -> None:
        """All faults are over; late workers come back; relays run until nothing is left."""
        self._mended()
        while self._held:
            self._late()
        self._expire()
        self.clock.step(301)
        relay(self._db, self.publisher, now_from=self.clock, budget_seconds=10)


@given(steps=st.lists(STEPS, min_size=3, max_size=25))
def test_nothing_is_lost_nothing_overtakes_and_every_effect_happens_once(
    db: Database, query: Callable[..., Any], steps: list[tuple[str, str, int]]
) -> None:
    history = History(db, query)
    for step in steps:
        history.play(*step)
    history.settle()
    taken = [UUID(identity) for identity in history.publisher.event_ids]
    for key, events in history.committed.items():
        expected = [one.aggregate_version for one in events if one.event_id not in history.refused]
        assert history.publisher.versions(key) == expected
    wanted = {one.event_id for events in history.committed.values() for one in events}
    assert set(taken) == wanted - history.refused
    rows = query("select event_id, published_at is not null as published, parked_at is not null as parked from outbox.events")
    assert {row["event_id"] for row in rows} == wanted
    assert all(row["published"] != row["parked"] for row in rows)
    assert {row["event_id"] for row in rows if row["parked"]} == history.refused
    with db.transaction() as tx:
        effects = [identity for identity in taken if receive(tx, "consumer", identity, NOON)]
    assert sorted(map(str, effects)) == sorted(map(str, wanted - history.refused))
