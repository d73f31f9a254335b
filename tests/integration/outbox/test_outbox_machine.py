"""An event's whole way on Postgres: enqueued, relayed, pushed, applied – with deaths before and after each acknowledgement.

After each step what waits, what is parked, what a consumer has applied and what it has put aside are the model's: nothing is
lost, nothing applied twice, nothing of one aggregate overtakes, a poisoned message is kept once and the others flow.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fillbook.outbox import store
from fillbook.outbox.model import Event
from fillbook.outbox.service import quarantine, receive, relay, sweep
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from fillbook.runtime.pubsub import OutMessage
from fillbook.runtime.sql import statement
from tests.support.machines import walk
from tests.support.outbox import NOON, commit, event, expire_leases
from tests.support.publisher import FakePublisher, Killed

KEYS = ("live/AMD", "live/NVDA", "ibkr:U1/AMD")
CONSUMER, ATTEMPTS_MAX = "a_consumer", 3
WEEK_SECONDS = 8 * 86_400
BACKOFF_SECONDS = 301
EFFECTS = "create table if not exists public.effects (event_id uuid, place bigint generated always as identity)"
EMPTY = """do $$ begin
    truncate outbox.events, outbox.inbox, outbox.quarantine, public.effects;
    update outbox.partitions set lease_token = null, lease_until = '1970-01-01 00:00:00+00';
end $$"""
ENDS = st.sampled_from(["acknowledged", "acknowledged", "killed before its commit", "killed after its commit", "failed"])


class OutboxMachine(RuleBasedStateMachine):
    """One outbox, one relay at a time, one subscription that is ordered by key, one consumer."""

    def __init__(self, db: Database, query: Any) -> None:
        super().__init__()
        self.db, self.query = db, query

    @initialize()
    def begins(self) -> None:
        self.query(EMPTY)
        self.clock, self.publisher, self.versions = FixedClock(NOON), FakePublisher(), {key: count(1) for key in KEYS}
        self.committed: dict[UUID, Event] = {}
        self.poisoned: set[UUID] = set()
        self.refused: set[UUID] = set()
        self.retried: set[UUID] = set()
        self.gone: set[UUID] = set()
        self.pushed = 0
        self.queues: dict[str, list[tuple[OutMessage, int]]] = {key: [] for key in KEYS}
        self.applied: list[UUID] = []
        self.aside: Counter[bytes] = Counter()

    # --- the writer and the relay -------------------------------------------------------------------------------------

    @rule(key=st.sampled_from(KEYS), number=st.integers(1, 3), is_poisoned=st.booleans())
    def commits(self, key: str, number: int, is_poisoned: bool) -> None:
        made = [event(key, next(self.versions[key]), recorded_at=self.clock.now()) for _ in range(number)]
        commit(self.db, made)
        self.committed |= {one.event_id: one for one in made}
        self.poisoned |= {made[0].event_id} if is_poisoned else set()

    @rule()
    def relays(self) -> None:
        relay(self.db, self.publisher, now_from=self.clock, budget_seconds=5)
        self._take()

    @rule(key=st.sampled_from((*KEYS, "*")))
    def relays_to_a_topic_that_is_away(self, key: str) -> None:
        self.publisher.fail_next(1, key)
        self.relays()
        self.publisher._failures.clear()

    @precondition(lambda self: self.waiting)
    @rule()
    def dies_after_publishing(self) -> None:
        """Before what it published is recorded: it goes out again once its lease is over."""
        self.publisher.die_after(1)
        try:
            relay(self.db, self.publisher, now_from=self.clock, budget_seconds=5)
        except Killed:
            expire_leases(self.query)
        self.publisher._die_at = None
        self._take()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def is_refused_for_good(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(sorted(self.waiting)))
        self.publisher.refuse(one)
        self.clock.step(BACKOFF_SECONDS)
        self.relays()
        self.publisher._refused.clear()
        self.refused |= {one}

    @precondition(lambda self: self.refused)
    @rule()
    def is_put_back_by_an_operator(self) -> None:
        with self.db.transaction() as tx:
            assert store.retry(tx, self.clock.now()) == len(self.refused)
        self.retried |= self.refused
        self.refused = set()

    @rule(seconds=st.sampled_from([3, BACKOFF_SECONDS, -600, WEEK_SECONDS]))
    def time_passes(self, seconds: int) -> None:
        self.clock.step(seconds)
        if seconds == WEEK_SECONDS:
            sweep(self.db, self.publisher, now_from=self.clock, budget_seconds=5)
            self._take()

    def _take(self) -> None:
        """What was published is pushed: to the end of its key's queue."""
        for _, message in self.publisher.taken[self.pushed :]:
            self.queues[message.ordering_key].append((message, 0))
        self.pushed = len(self.publisher.taken)

    # --- the consumer -------------------------------------------------------------------------------------------------

    @precondition(lambda self: any(self.queues.values()))
    @rule(data=st.data(), ends=ENDS)
    def a_message_is_pushed(self, data: st.DataObject, ends: str) -> None:
        key = data.draw(st.sampled_from(sorted(key for key, queue in self.queues.items() if queue)))
        message, attempts = self.queues[key][0]
        self.queues[key][0] = (message, attempts + 1)
        if self._is_acknowledged(message, ends):
            self.queues[key].pop(0)
        elif attempts + 1 == ATTEMPTS_MAX:  # the end of the line: kept, and the others flow
            self._put_aside(message, "dead_letter")
            self.queues[key].pop(0)

    def _is_acknowledged(self, message: OutMessage, ends: str) -> bool:
        identity = UUID(message.attributes["event_id"])
        if ends == "failed":
            return False
        if identity in self.poisoned:
            self._put_aside(message, "event_invalid")
            return ends == "acknowledged"
        try:
            with self.db.transaction() as tx:
                is_new = receive(tx, CONSUMER, identity, self.clock.now())
                if is_new:
                    tx.execute(statement("insert into public.effects (event_id) values (:id)"), id=identity)
                if ends == "killed before its commit":
                    raise Killed
        except Killed:
            return False
        assert is_new == (identity not in self.applied)
        self.applied += [identity] if is_new else []
        return ends == "acknowledged"

    def _put_aside(self, message: OutMessage, reason: str) -> None:
        with self.db.transaction() as tx:
            quarantine(tx, CONSUMER, reason=reason, body=message.data, now=self.clock.now())
        self.aside[message.data] += 1

    # --- what holds after each step -----------------------------------------------------------------------------------

    @property
    def waiting(self) -> set[UUID]:
        """Committed, and not known to be published."""
        rows = self.query("select event_id from outbox.events where published_at is null and parked_at is null")
        return {row["event_id"] for row in rows}

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "queues"):
            return
        published = {UUID(identity) for identity in self.publisher.event_ids}
        waiting = self.waiting
        assert waiting | published | self.refused == self.committed.keys()
        parked = {row["event_id"] for row in self.query("select event_id from outbox.events where parked_at is not null")}
        assert parked == self.refused
        with self.db.transaction(read_only=True) as tx:
            left = store.backlog(tx, self.clock.now())
        assert (left.depth, left.parked) == (len(waiting), len(parked))

    @invariant()
    def nothing_overtakes(self) -> None:
        if not hasattr(self, "queues"):
            return
        skipped = {self.committed[one].aggregate_version for one in self.refused | self.retried}
        for key in KEYS:
            first = [version for version in self.publisher.versions(key) if version not in skipped]
            assert first == sorted(first)

    @invariant()
    def every_effect_happens_once(self) -> None:
        if not hasattr(self, "queues"):
            return
        rows = self.query("select event_id from public.effects order by place")
        assert [row["event_id"] for row in rows] == self.applied
        assert len(set(self.applied)) == len(self.applied)
        kept = {bytes(row["body"]): row["count"] for row in self.query("select body, count from outbox.quarantine")}
        assert kept == self.aside

    def teardown(self) -> None:
        """All faults are over: whatever was not put aside has had its effect."""
        if not hasattr(self, "queues"):
            return
        expire_leases(self.query)
        for _ in range(2):
            self.clock.step(BACKOFF_SECONDS + 900)
            self.relays()
        assert self.waiting == set()
        for key, queue in self.queues.items():
            for message, _ in queue:
                self._is_acknowledged(message, "acknowledged")
            self.queues[key] = []
        self.every_effect_happens_once()
        aside = {identity for identity, one in self.committed.items() for body in self.aside if str(identity).encode() in body}
        assert {*self.applied} | aside | self.refused == self.committed.keys()
        assert not {*self.applied} & self.poisoned


def test_an_event_has_its_effect_once_whatever_dies_on_its_way(db: Database, query: Any) -> None:
    query(EFFECTS)
    walk(lambda: OutboxMachine(db, query), walks=(5, 200), steps=(24, 80))
