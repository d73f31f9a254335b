"""Senders, proofs, people and faults in every order: who tells, drains or proves stops at each request and each wait.

The order is drawn from a seed. Whatever it is, every execution stands once on Discord in the end; and where nobody dies, nobody
meddles and nothing fails, it was told once, whoever worked beside whom.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random
from typing import Any

import pytest

from fillbook.ledger import service as ledger
from fillbook.notify import accounts, operator, reconcile, runs
from fillbook.notify.drain import drain
from fillbook.notify.judging import UNDER_WAY
from fillbook.notify.model import Answer, Request
from fillbook.notify.search import footer_key
from fillbook.notify.talk import Desk
from fillbook.notify.telling import tell
from fillbook.runtime.errors import FillbookError
from fillbook.runtime.sql import statement
from tests.support import turns
from tests.support.campaigns import small_or_full
from tests.support.ledger import at, make_book, make_fill
from tests.support.notify_desk import NotifyDesk, Stepping
from tests.support.notify_proof import trades
from tests.support.turns import Turns, Worker

AFTER_IT_IS_TOLD = UNDER_WAY.total_seconds() + 1
"""What was booked in the minute before a proof would be left to the next."""
SEEDS = small_or_full(3, 400)
STEPS = 90
EXECUTIONS = 14
ROUNDS_MAX = 120
"""Of a minute each, until everything is told: a ladder takes nine hours where a day of its own is not left out."""
KNOBS = (
    "rate_limit.normal",
    "rate_limit.shared",
    "server_error.500",
    "server_error.502",
    "network.reset",
    "network.reset_after_accept",
    "body.empty_200",
    "body.wrong_id",
    "state.forbidden",
    "state.message_doubled",
)


@dataclass
class Pausing:
    """The real adapter; whoever asks Discord stops before the request leaves and before he knows the answer."""

    inner: Any

    @property
    def can_read(self) -> bool:
        return bool(self.inner.can_read)

    def send(self, request: Request) -> Answer:
        turns.stop()
        answer: Answer = self.inner.send(request)
        turns.stop()
        return answer


class Waiting(Stepping):
    """Whoever waits lets others go on."""

    def wait(self, until: datetime) -> bool:
        turns.stop()
        return super().wait(until)

    @property
    def of_a_search(self) -> Waiting:
        return self


@dataclass
class Walk:
    """One desk, and who is at work on it. ``untold``: events that were not pushed yet."""

    desk: NotifyDesk
    chance: Random
    is_calm: bool
    turns: Turns = field(init=False)
    untold: list[bytes] = field(default_factory=list)
    told: list[bytes] = field(default_factory=list)
    _dead: set[str] = field(default_factory=set)
    _holders: dict[str, Worker] = field(default_factory=dict)
    _booked: int = 0

    def __post_init__(self) -> None:
        self.turns = Turns(self.chance)
        with self.desk.admin.transaction() as tx:
            ledger.open_book(tx, make_book("live"), self.desk.clock.now())

    @property
    def paused(self) -> Desk:
        return replace(self.desk.desk, speaker=Pausing(self.desk.speaker))

    def patience(self) -> Waiting:
        return Waiting(self.desk.clock, self.chance.choice((0, 20, 120)))

    # --- what may happen ---

    def book(self) -> None:
        """The next execution, or another word on one that is booked."""
        if self._booked < EXECUTIONS:
            given = trades(EXECUTIONS)[self._booked]
            self._booked += 1
        else:
            corrected = f"{99 + self.chance.random():.4f}"
            given = make_fill("AMD1", "BUY", "5", corrected, minute=1, fees="0.5", source_revision=self._booked, cause="revision")
            self._booked += 1
        with self.desk.admin.transaction() as tx:
            ledger.book_fills(tx, "live", [given], self.desk.clock.now())
        known = {*self.told, *self.untold}
        events = self.desk.rows("select payload from outbox.events where event_type like 'execution%' order by id")
        self.untold += [body for row in events if (body := row["payload"].encode()) not in known]

    def push(self) -> None:
        """An event of any place in the queue, or one that came before."""
        if self.untold:
            body = self.untold.pop(self.chance.randrange(min(len(self.untold), 3)))
            self.told.append(body)
        elif self.told:
            body = self.chance.choice(self.told)
        else:
            return
        self.turns.begin("tell", lambda: tell(self.paused, body, self.patience()))

    def drain(self) -> None:
        self.turns.begin("drain", lambda: drain(self.paused, "executions", self.patience()))

    def prove(self) -> None:
        if not self.turns.has("prove"):
            self.desk.clock.step(AFTER_IT_IS_TOLD)
            self.turns.begin("prove", self._prove)

    def _prove(self) -> None:
        runs.ask(self.desk.db, since=at(-60), until=at(6000), repair=True, requested_by="walk", now=self.desk.clock.now())
        reconcile.work(self.paused, self.patience())

    def turn(self) -> None:
        worker = self.turns.turn()
        if worker is not None:
            self._holders |= {token: worker for token in self._tokens() if token not in self._holders}

    def pass_time(self) -> None:
        self.desk.clock.step(self.chance.choice((1, 5, 30, 90)))

    def kill(self) -> None:
        worker = self.turns.kill()
        self._dead |= {token for token in self._tokens() if self._holders.get(token) is worker}

    def bury(self) -> None:
        """What the dead held is over."""
        with self.desk.admin.transaction() as tx:
            for table in ("channels", "reconcile_runs"):
                tx.execute(
                    statement(
                        f"""update notify.{table} set lease_until = clock_timestamp() - interval '1 s'
                             where lease_token::text = any (:dead::text[])"""
                    ),
                    dead=sorted(self._dead),
                )

    def fail(self) -> None:
        knob = self.chance.choice(KNOBS)
        self.desk.discord.fault(knob, route="create" if knob.startswith(("body", "state")) else "any", count=1)

    def meddle(self) -> None:
        known = self.desk.rows(
            "select distinct message_id from notify.messages where state = 'posted' and message_id is not null"
        )
        if known:
            chosen = self.chance.choice(sorted(row["message_id"] for row in known))
            self.desk.discord.meddle(self.chance.choice(("deleted", "edited", "doubled")), chosen)

    def _tokens(self) -> list[str]:
        text = """select lease_token::text as token from notify.channels where lease_token is not null
                  union all select lease_token::text from notify.reconcile_runs where lease_token is not null"""
        return [row["token"] for row in self.desk.rows(text)]

    # --- the walk and its end ---

    def walk(self) -> None:
        calm = [self.turn] * 12 + [self.push] * 4 + [self.book] * 3 + [self.drain, self.prove, self.pass_time]
        rough = [*calm, self.kill, self.bury, self.fail, self.fail, self.meddle]
        for _ in range(STEPS):
            self.chance.choice(calm if self.is_calm else rough)()

    def come_to_rest(self) -> None:
        """Whoever is at it ends, what was booked is told, what failed is tried again, as schedules and an operator do."""
        self.desk.discord.clear_faults()
        self.bury()
        while self._booked < EXECUTIONS:
            self.book()
        while self.turns.workers:
            self.turn()
        while self.untold:
            self.push()
            while self.turns.workers:
                self.turn()
        for _ in range(ROUNDS_MAX):
            self._enable()
            operator.replay(self.desk.db, now=self.desk.clock.now(), dry_run=False)
            self.desk.drain(allowance=60)
            if not {"pending", "sending", "ambiguous", "dead"} & self._states():
                return
            self.desk.clock.step(60)
        raise AssertionError(f"not told: {self._states()}")

    def _states(self) -> set[str]:
        return {row["state"] for row in self.desk.rows("select state from notify.messages where channel_id = 'executions'")}

    def _enable(self) -> None:
        if self.desk.rows(
            "select 1 from notify.channels where channel_id = 'executions' and status = :off", off=accounts.DISABLED
        ):
            try:
                operator.enable(self.desk.desk, "executions")
            except FillbookError:
                return

    def prove_all(self) -> dict[str, Any]:
        """One pass of the proof to its end; what it came to."""
        self.desk.clock.step(AFTER_IT_IS_TOLD)
        now = self.desk.clock.now()
        run_id, _ = runs.ask(self.desk.db, since=at(-60), until=at(6000), repair=True, requested_by="end", now=now)
        while True:
            status = reconcile.work(self.desk.desk, Stepping(self.desk.clock, 50_000))
            found = reconcile.run_of(self.desk.desk, run_id)
            assert found is not None
            if found["status"] not in (runs.QUEUED, "running"):
                return found
            assert status is not None
            self.desk.clock.step(60)

    def standing(self) -> Counter[str]:
        """How often each execution stands on Discord."""
        return Counter(str(footer_key(embed["footer"]["text"])) for embed in self.desk.embeds())

    def executions(self) -> Counter[str]:
        rows = self.desk.rows("select book_id || '/' || action_id as key from ledger.v_actions where book_id = 'live'")
        return Counter(row["key"] for row in rows)


def walked(desk: NotifyDesk, seed: int, *, is_calm: bool) -> Walk:
    """A walk of a seed, come to rest."""
    walk = Walk(desk, Random(seed), is_calm=is_calm)
    walk.walk()
    walk.come_to_rest()
    return walk


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_whoever_dies_meddles_or_fails_every_execution_stands_once_in_the_end(desk: NotifyDesk, seed: int) -> None:
    walk = walked(desk, seed, is_calm=False)
    walk.prove_all()
    assert walk.prove_all()["status"] == "proven"
    assert walk.standing() == walk.executions()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_where_nothing_fails_every_execution_was_told_once_whoever_worked_beside_whom(desk: NotifyDesk, seed: int) -> None:
    walk = walked(desk, seed, is_calm=True)
    assert walk.standing() == walk.executions()
    assert {one["status"] for one in desk.requests("create", webhook="executions")} == {200}
    assert not desk.requests("delete", webhook="executions")
    assert walk.prove_all()["status"] == "proven"
