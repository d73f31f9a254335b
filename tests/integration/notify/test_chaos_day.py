"""The acceptance of the notifier: a seeded day of faults, kills and deletions ends proven, with nothing dead.

Books, outbox, relay, database and the fake's rules are the real ones; the clock only moves when it is waited for. Nothing a
person would have to mend happens on this day, so nothing may be left to a person.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from fillbook.ledger import audit
from fillbook.ledger.model import Fill
from fillbook.notify import operator, reconcile, runs, service
from fillbook.notify.drain import drain
from fillbook.notify.envelope import parse_envelope
from fillbook.notify.model import Operation
from fillbook.notify.routing import Settings
from fillbook.notify.talk import Desk
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.sql import statement
from infra.local.discord import DiscordFake
from tests.conftest import OpenDatabase
from tests.property.notify.test_telling_laws import FAULTS, Killed, Mortal
from tests.support.campaigns import small_or_full
from tests.support.discord_speaker import DirectSpeaker
from tests.support.ledger import DAY, make_fill
from tests.support.notify_desk import Stepping
from tests.support.notify_wire import Wire

BOOKS = ("ibkr:U1", "live")
MINUTES = small_or_full(120, 390)
DEADLY = small_or_full(0.15, 0.06)
"""How often whoever works is killed: a short day has its kills too."""
KILLS_MIN, MEDDLED_MIN, TOLD_MIN = small_or_full((2, 4, 60), (3, 10, 100))
FAULTY = 0.10
PROOF = timedelta(hours=2)
NOTIFY = Path(service.__file__).parent


class Day:
    """One seeded day of a desk: what is booked, what goes wrong, and the notifier's minute, hour and evening."""

    def __init__(self, db: Database, admin: Database, seed: int) -> None:
        self.db, self.admin = db, admin
        self.chance = random.Random(seed)
        self.clock = FixedClock(DAY)
        self.fake = DiscordFake(clock=self.clock)
        self.speaker = Mortal(DirectSpeaker(self.fake))
        self.settings = Settings()
        self.desk = Desk(
            db=db, speaker=self.speaker, clock=self.clock, settings=self.settings, dice=lambda: self.chance.randint(0, 1000)
        )
        service.configure(db, self.speaker.inner.channels(), self.clock.now())
        self.wire = Wire(admin, self.clock, lambda body: service.take(db, parse_envelope(body), self.settings, self.clock.now()))
        for book_id in BOOKS:
            self.wire.open(book_id)
        self.facts: dict[str, tuple[str, Fill]] = {}
        self.kills = {"before": 0, "after": 0}
        self.meddled = 0

    def rows(self, text: str, **params: object) -> list[dict[str, Any]]:
        with self.admin.transaction() as tx:
            return tx.query(statement(text), **params)

    def close(self) -> None:
        self.fake.store.close()
        self.fake._loop.close()

    # --- what is booked -----------------------------------------------------------------------------------------------

    def trade(self, minute: int) -> None:
        """A few facts of a minute: new ones, corrected ones, busted ones, late fees."""
        for number in range(self.chance.choice((0, 0, 1, 1, 2))):
            name = f"f{minute}-{number}"
            book_id = self.chance.choice(BOOKS)
            side, price = self.chance.choice(("BUY", "SELL")), self.chance.randint(9_000, 11_000) / Decimal(100)
            ticker, fees = self.chance.choice(("AMD", "NVDA", "TSLA")), self.chance.choice((Decimal("0.35"), None))
            fact = {"source": "operator", "account_key": "ann", "instrument": ticker, "fees": fees}
            fill = make_fill(name, side, self.chance.randint(1, 9), price, minute, **fact)
            self.wire.book(book_id, fill)
            self.facts[name] = (book_id, fill)
        if self.facts and self.chance.random() < 0.08:
            self.change(self.chance.choice(list(self.facts)))

    def change(self, name: str) -> None:
        book_id, fill = self.facts[name]
        if fill.is_bust:
            return
        how = self.chance.choice(("revision", "bust", "commission"))
        if how == "bust":
            fill = replace(fill, is_bust=True, cause="bust")
        elif how == "revision":
            fill = replace(fill, source_revision=fill.source_revision + 1, price=fill.price + 1, cause="revision")
        else:
            fill = replace(fill, source_revision=fill.source_revision + 1, fees=Decimal("0.70"), cause="commission")
        self.wire.book(book_id, fill)
        self.facts[name] = (book_id, fill)

    # --- what goes wrong ----------------------------------------------------------------------------------------------

    def disturb(self) -> None:
        """From now on one request in ten is struck by a fault of the list, each from its own seed."""
        for knob in FAULTS:
            options = {"bytes": 1000} if knob == "network.huge" else {}
            route = "create" if knob.startswith("body.") else "any"
            share = FAULTY / len(FAULTS)
            self.fake.fault(knob, route=route, count=None, probability=share, seed=self.chance.randint(0, 10**6), **options)

    def meddle(self) -> None:
        """A person deletes, edits or doubles a message."""
        posts = self.fake.messages("executions")
        if posts:
            self.meddled += 1
            self.fake.meddle(self.chance.choice(("deleted", "edited", "doubled")), self.chance.choice(posts)["id"])

    @contextmanager
    def mortal(self) -> Iterator[None]:
        """The process that works in this block may be killed; then its leases run out, as real time would have it."""
        if self.chance.random() < DEADLY:
            self.speaker.dies = self.chance.choice(("before", "after"))
        how = self.speaker.dies
        try:
            yield
        except Killed:
            self.kills[str(how)] += 1
            with self.admin.transaction() as tx:
                tx.execute(statement("update notify.channels set lease_until = clock_timestamp() - interval '1 s' "
                                     "where lease_token is not null"))  # fmt: skip
                tx.execute(statement("update notify.reconcile_runs set lease_until = clock_timestamp() - interval '1 s' "
                                     "where lease_token is not null"))  # fmt: skip
        except Unavailable:
            pass  # the next tick goes on
        finally:
            self.speaker.dies = None

    # --- the notifier's day -------------------------------------------------------------------------------------------

    def minute(self, seconds: float) -> None:
        for channel in ("executions", "ops"):
            with self.mortal():
                drain(self.desk, channel, Stepping(self.clock, seconds))

    def ask(self, since: timedelta) -> UUID:
        now = self.clock.now()
        run_id, _ = runs.ask(self.db, since=now - since, until=now, repair=True, requested_by="schedule", now=now)
        return run_id

    def prove(self, run_id: UUID, *, ticks: int = 200) -> str:
        """Work on a run with as many ticks as it wants; its status."""
        for _ in range(ticks):
            with self.mortal():
                reconcile.work(self.desk, Stepping(self.clock, 50), run_id)
            run = reconcile.run_of(self.desk, run_id)
            assert run is not None
            if run["status"] not in ("queued", "running"):
                return str(run["status"])
            self.minute(10)
            self.wire.carry()
        raise AssertionError("the proof did not end")

    def live(self) -> None:
        """Open to close: book, relay, tell; every hour a proof of the last two; now and then somebody meddles."""
        self.disturb()
        for minute in range(MINUTES):
            at = DAY + timedelta(minutes=minute)
            self.clock.step(max((at - self.clock.now()).total_seconds(), 0))
            self.trade(minute)
            self.wire.carry()
            self.minute(30)
            if self.chance.random() < 0.06:
                self.meddle()
            if minute % 60 == 59:
                self.prove(self.ask(PROOF))
            if minute == MINUTES // 2:
                self.fake.fault("rate_limit.ban", route="any", count=1)

    def evening(self) -> list[str]:
        """The storm is over: what waits is told, the day is proven until a proof finds nothing."""
        self.fake.clear_faults()
        statuses: list[str] = []
        for _ in range(4):
            self.clock.step(7 * 3600)
            self.wire.carry()
            self.minute(7 * 3600)
            statuses.append(self.prove(self.ask(timedelta(days=3))))
            if statuses[-1] == runs.PROVEN:
                break
        return statuses


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2026])
def test_a_chaos_day_ends_proven_with_nothing_dead(open_database: OpenDatabase, seed: int) -> None:
    day = Day(open_database("discord_notifier"), open_database(), seed)
    try:
        day.live()
        requests, struck = _struck(day)
        assert 0.05 < struck / requests < 0.15, "one request in ten"
        assert min(day.kills.values()) >= KILLS_MIN
        assert day.meddled >= MEDDLED_MIN
        statuses = day.evening()
        assert statuses[-1] == "proven", statuses
        assert operator.dead_letters(day.db) == []
        assert day.fake.violations == 0
        _assert_told_once(day)
        _assert_every_request_has_its_row(day)
        for book_id in BOOKS:
            assert audit.audit(day.admin, book_id, day.clock.now()).exit == 0
    finally:
        day.close()


def _struck(day: Day) -> tuple[int, int]:
    requests = day.fake.requests()
    return len(requests), sum(one["fault"] is not None for one in requests)


def _assert_told_once(day: Day) -> None:
    """The messages that stand are the current actions, and the void ones that were told, once each."""
    standing = [
        embed["footer"]["text"].split(" · ")[0].removeprefix("action_id ")
        for message in day.fake.messages("executions")
        for embed in message["embeds"]
    ]
    assert len(standing) == len(set(standing))
    current = {str(row["action_id"]) for row in day.rows("select action_id from ledger.v_actions")}
    void = {str(row["action_id"]) for row in day.rows("select action_id from ledger.execution_actions where state = 'VOID'")}
    assert current <= set(standing)
    assert set(standing) - current <= void
    assert len(current) > TOLD_MIN


def _assert_every_request_has_its_row(day: Day) -> None:
    """No path sends without a row: the fake has seen exactly what the log holds, but for processes killed before sending."""
    logged = day.rows("select operation, count(*)::int as n from notify.attempts group by 1 order by 1")
    seen: dict[str, int] = {}
    for one in day.fake.requests():
        name = one["operation"] if one["operation"] in ("create", "edit", "delete") else "get"
        seen[name] = seen.get(name, 0) + 1
    assert sum(row["n"] for row in logged) == sum(seen.values()) + day.kills["before"]
    assert all(row["n"] >= seen.get(row["operation"], 0) for row in logged)


def test_nothing_of_the_room_speaks_to_discord_but_the_one_place_that_logs_first() -> None:
    """By syntax: ``speaker.send`` stands in ``talk.speak`` alone, and that is called only after a claim was committed."""
    senders: dict[str, list[str]] = {}
    for path in sorted(NOTIFY.glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                if (
                    isinstance(call.func, ast.Attribute)
                    and call.func.attr == "send"
                    and "speaker" in ast.unparse(call.func.value)
                ):
                    senders.setdefault(path.stem, []).append(function.name)
    assert senders == {"talk": ["speak"]}
    assert {one.value for one in Operation} == {"create", "edit", "delete", "get", "hook", "list"}


def test_on_an_idle_desk_an_execution_stands_on_discord_within_two_seconds_of_its_commit(open_database: OpenDatabase) -> None:
    """p95 of desk time from the ledger's commit to Discord's answer; real time is measured by the bench."""
    day = Day(open_database("discord_notifier"), open_database(), 3)
    try:
        for minute in range(120):
            day.clock.step((DAY + timedelta(minutes=minute) - day.clock.now()).total_seconds())
            day.trade(minute)
            day.wire.carry()
            drain(day.desk, "executions", Stepping(day.clock, 20))
        waits = day.rows(
            "select percentile_disc(0.95) within group (order by a.finished_at - v.recorded_at) as p95, count(*)::int as n "
            "from notify.v_delivery_log a join ledger.v_actions v on v.action_id = a.action_id and v.book_id = a.book_id "
            "where a.operation = 'create' and v.version = 1"
        )
        assert waits[0]["n"] >= 60
        assert waits[0]["p95"] < timedelta(seconds=2)
    finally:
        day.close()
