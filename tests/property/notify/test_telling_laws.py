"""The law of the room: what stands on Discord is the current actions, once each, whatever happens on the way.

Any order, batching and duplication of events, any schedule of faults, kills before and after Discord accepts. The fake's
rules are called directly; the database is real; the clock only moves when it is waited for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fillbook.notify import operator, service
from fillbook.notify.drain import drain
from fillbook.notify.envelope import parse_envelope
from fillbook.notify.execution import Telling, from_event
from fillbook.notify.model import Answer, Embed, Operation, Request
from fillbook.notify.proof import compare
from fillbook.notify.render import Style, render_execution
from fillbook.notify.routing import Settings
from fillbook.notify.talk import Desk
from fillbook.notify.telling import tell
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.local.discord import DiscordFake
from tests.conftest import OpenDatabase
from tests.support.discord_speaker import DirectSpeaker
from tests.support.notify_desk import START, Stepping, action, envelope

FAULTS = (
    "rate_limit.normal", "rate_limit.ms_header", "rate_limit.global", "rate_limit.remaining_2", "server_error.500",
    "server_error.502", "network.hang", "network.reset", "network.reset_after_accept", "network.hang_after_accept",
    "network.drip", "network.huge", "body.invalid_json", "body.empty_200", "body.no_content", "body.wrong_id",
    "body.other_embed", "state.message_deleted", "state.message_edited",
)  # fmt: skip
MENDED_BY_PROOF = frozenset({"state.message_deleted", "state.message_edited"})
EMPTY = statement(
    "truncate notify.channels, notify.limits, notify.messages, notify.deliveries, notify.attempts, notify.attempt_subjects, "
    "notify.reconcile_runs, notify.findings, outbox.inbox, outbox.events cascade"
)


class Killed(BaseException):
    """kill -9 of the drainer."""


class Mortal:
    """A speaker whose process may die before or after Discord has the request."""

    def __init__(self, inner: DirectSpeaker) -> None:
        self.inner = inner
        self.dies: str | None = None

    @property
    def can_read(self) -> bool:
        return self.inner.can_read

    def send(self, request: Request) -> Answer:
        how, self.dies = (self.dies, None) if request.operation is not Operation.HOOK else (None, self.dies)
        if how == "before":
            raise Killed
        answer = self.inner.send(request)
        if how == "after" and answer.status != 429:  # a wait that nobody has read cannot be kept
            raise Killed
        return answer


class World:
    """One example: a fresh desk on an emptied database."""

    def __init__(self, db: Database, admin: Database, *, token: bool = True) -> None:
        with admin.transaction() as tx:
            tx.execute(EMPTY)
        self.db, self.admin = db, admin
        self.clock = FixedClock(START)
        self.fake = DiscordFake(clock=self.clock)
        self.speaker = Mortal(DirectSpeaker(self.fake, token=token))
        self.settings = Settings(books=("live", "!ibkr:U9", "ibkr:*"), digest_threshold=4)
        self.desk = Desk(db=db, speaker=self.speaker, clock=self.clock, settings=self.settings, dice=lambda: 500)
        self.latest: dict[tuple[str, str], tuple[int, bytes]] = {}
        service.configure(db, self.speaker.inner.channels(), self.clock.now())

    def push(self, body: bytes) -> None:
        service.take(self.db, parse_envelope(body), self.settings, self.clock.now())
        self.remember(body)

    def tell(self, body: bytes, allowance: float = 0) -> None:
        """As the function does: store, and send at once what may go."""
        self.remember(body)
        try:
            tell(self.desk, body, Stepping(self.clock, allowance))
        except Killed:
            self.lose_leases()

    def remember(self, body: bytes) -> None:
        event = json.loads(body)
        key = (event["book_id"], event["data"]["action_id"])
        if key not in self.latest or self.latest[key][0] < event["data"]["version"]:
            self.latest[key] = (event["data"]["version"], body)

    def drain(self, allowance: float = 0) -> str:
        try:
            return drain(self.desk, "executions", Stepping(self.clock, allowance)).reason
        except Killed:
            self.lose_leases()
            return "killed"

    def lose_leases(self) -> None:
        with self.admin.transaction() as tx:
            tx.execute(statement("update notify.channels set lease_until = clock_timestamp() - interval '1 s' "
                                 "where lease_token is not null"))  # fmt: skip

    def settle(self) -> None:
        """No more faults: everything that can be told is told."""
        self.fake.clear_faults()
        self.speaker.dies = None
        for _ in range(20):
            if self.drain(allowance=100_000) == "idle":
                return

    def expected(self) -> dict[str, Embed]:
        found = {}
        for (book, action_id), (_, body) in self.latest.items():
            event = json.loads(body)
            if book != "ibkr:U9" and event["data"]["origin"] != "history":
                execution = from_event(Telling(event["event_type"]), book, event["data"])
                found[f"{book}/{action_id}"] = render_execution(execution, Style(zone=self.settings.zone))
        return found

    def standing(self) -> list[tuple[str, Embed]]:
        messages = self.fake.messages("executions")
        embeds = [Embed.from_json(embed) for message in messages for embed in message["embeds"]]
        return [(_subject(embed.footer), embed) for embed in embeds]

    def close(self) -> None:
        self.fake.store.close()
        self.fake._loop.close()


def _subject(footer: str) -> str:
    parts = dict(part.split(" ", 1) for part in footer.split(" · ") if " " in part)
    return f"{parts['book']}/{parts['action_id']}"


EVENTS = st.tuples(
    st.sampled_from("abcdef"),
    st.sampled_from(["execution_booked", "execution_corrected", "execution_busted"]),
    st.integers(1, 4),
    st.sampled_from(["live", "live", "ibkr:U1", "ibkr:U9"]),
    st.sampled_from(["ENTRY", "TRIM", "EXIT"]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), EVENTS),
        st.tuples(st.just("tell"), EVENTS),
        st.tuples(st.just("drain"), st.integers(0, 90)),
        st.tuples(
            st.just("fault"), st.tuples(st.sampled_from(FAULTS), st.sampled_from(["create", "edit", "get", "list", "any"]))
        ),
        st.tuples(st.just("kill"), st.sampled_from(["before", "after"])),
        st.tuples(st.just("pass"), st.integers(1, 900)),
    ),
    min_size=3,
    max_size=30,
)


def body_of(name: str, event_type: str, version: int, book: str, kind: str, number: int) -> bytes:
    version = 1 if event_type == "execution_booked" else max(version, 2)
    changes: dict[str, Any] = {"version": version, "kind": kind, "position": name if kind == "ENTRY" else "shared"}
    changes["price"] = f"{100 + version}.{number}"
    changes["cause"] = {"execution_booked": "first", "execution_corrected": "revision", "execution_busted": "bust"}[event_type]
    data = action(f"{book} {name}", **changes)
    if event_type == "execution_busted":
        data["before"] = dict(data)
    return envelope(event_type, data, book=book)


def play(world: World, steps: list[tuple[str, Any]]) -> set[str]:
    pushed: list[bytes] = []
    faults: set[str] = set()
    for number, (step, given_) in enumerate(steps):
        if step in ("push", "tell"):
            name, event_type, version, book, kind = given_
            body = body_of(name, event_type, version, book, kind, number)
            known = next((one for one in pushed if _same(one, body)), None)
            pushed.append(known or body)
            world.push(pushed[-1]) if step == "push" else world.tell(pushed[-1])
            world.push(pushed[0])
        elif step == "drain":
            world.drain(allowance=given_)
        elif step == "fault":
            knob, route = given_
            route = "create" if knob.startswith("body.") else route
            faults.add(knob)
            world.fake.fault(knob, route=route, bytes=1000) if knob == "network.huge" else world.fake.fault(knob, route=route)
        elif step == "kill":
            world.speaker.dies = given_
            world.drain()
        else:
            world.clock.step(given_)
    return faults


def _same(one: bytes, other: bytes) -> bool:
    """Two events about one version of one action are one event: the ledger writes each once."""
    left, right = json.loads(one), json.loads(other)
    names = ("action_id", "version")
    return left["book_id"] == right["book_id"] and all(left["data"][name] == right["data"][name] for name in names)


def check(world: World, faults: set[str]) -> None:
    expected = world.expected()
    standing = world.standing()
    if faults & MENDED_BY_PROOF:
        assert {key for key, _ in standing} <= set(expected)
    else:
        assert sorted(key for key, _ in standing) == sorted(expected)
        for key, embed in standing:
            assert compare(expected[key], embed) == []
    assert world.fake.violations == 0
    assert operator.dead_letters(world.db) == []


EXAMPLES = max(settings.default.max_examples // 5, 1)


@settings(max_examples=EXAMPLES)
@given(steps=STEPS)
def test_what_stands_on_discord_is_the_current_actions_once_each(
    open_database: OpenDatabase, steps: list[tuple[str, Any]]
) -> None:
    world = World(*_databases(open_database))
    try:
        faults = play(world, steps)
        world.settle()
        check(world, faults)
    finally:
        world.close()


@settings(max_examples=EXAMPLES)
@given(steps=STEPS)
def test_without_a_read_token_nothing_is_missing_and_at_most_one_copy_is_extra(
    open_database: OpenDatabase, steps: list[tuple[str, Any]]
) -> None:
    world = World(*_databases(open_database), token=False)
    try:
        faults = play(world, steps)
        world.settle()
        copies = Counter(key for key, _ in world.standing())
        with world.admin.transaction() as tx:
            dead = tx.query(statement("select subject_key from notify.messages where state = 'dead'"))
        for_a_person = {row["subject_key"] for row in dead}
        missing = set(world.expected()) - set(copies)
        assert missing <= for_a_person or faults & MENDED_BY_PROOF
        assert all(count <= 2 for count in copies.values())
        assert world.fake.violations == 0
    finally:
        world.close()


_OPENED: dict[int, tuple[Database, Database]] = {}


def _databases(open_database: Callable[..., Database]) -> tuple[Database, Database]:
    """One pair for all examples of a test."""
    if id(open_database) not in _OPENED:
        _OPENED[id(open_database)] = (open_database("discord_notifier"), open_database())
    return _OPENED[id(open_database)]
