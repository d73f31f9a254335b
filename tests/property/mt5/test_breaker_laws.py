"""Laws of a breaker, walked by a machine that lets several processes share one row in any interleaving."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fillbook.mt5.breaker import Leave, Row, Rules, claimed, learned, leave
from fillbook.mt5.breakers import Breakers
from fillbook.mt5.crew import Answer
from fillbook.mt5.words import BreakerState
from tests.support.mt5_crew import BEGIN, BROKER_DOWN, REFUSED_LOGIN, Member

KEY = "broker:Alpha-Live"
RULES = Rules()
PROCESSES = 3


class SharedBreaker(RuleBasedStateMachine):
    """A broker as three processes see it; ``flush`` is one process's visit to the store."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self.number = 0
        self.row = Row(key=KEY)
        self.processes = [Breakers((), rules=RULES, servers={"default": 2}, claim=self._claim) for _ in range(PROCESSES)]
        self.in_flight: list[tuple[int, Member, datetime]] = []
        self.is_down = False
        self.pauses: list[int] = []

    def _claim(self, key: str, now: datetime) -> Row | None:
        row = self.row if key == KEY else Row(key=key)
        if leave(row, now, RULES) is Leave.PROBE:
            row = claimed(row, now)
            self.row = row
            return row
        return row if row.state is BreakerState.CLOSED else None

    @rule(process=st.integers(0, PROCESSES - 1), is_last=st.booleans())
    def begin(self, process: int, is_last: bool) -> None:
        self.number += 1
        account = Member(account_id=str(self.number), sync_failure_count=self.number % 3)
        self.now += timedelta(milliseconds=1)
        before = self.processes[process].row(KEY)
        answer = self.processes[process].ask(account, self.now, is_last=is_last)
        assert answer is not Answer.WAIT or not is_last
        if answer is Answer.GO:
            if before.state is not BreakerState.CLOSED:
                assert before.probe_at is not None
                assert before.probe_at <= self.now
            self.in_flight.append((process, account, self.now))

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), ending=st.sampled_from(["as it is", "login refused", "cut"]))
    def end(self, data: st.DataObject, ending: str) -> None:
        process, account, _ = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        if ending == "cut":
            self.processes[process].left(account, self.now)
        elif ending == "login refused":
            self.processes[process].ended(account, [REFUSED_LOGIN], has_answered=False, now=self.now)
        else:
            failures = [BROKER_DOWN] if self.is_down else []
            self.processes[process].ended(account, failures, has_answered=not failures, now=self.now)
        self.flush(process)

    @rule(process=st.integers(0, PROCESSES - 1))
    def flush(self, process: int) -> None:
        breakers = self.processes[process]
        news = breakers.take()
        before = self.row
        self.row = learned(self.row, news.evidence.get(KEY, ()), self.now, RULES, has_one_server=True)
        rows: list[Any] = [self.row] if KEY in news.evidence else []
        breakers.stored(rows, self.now)
        for other in self.processes:  # what is stored is read by all before their next account
            other.stored([self.row], self.now) if not other.take().evidence else None
        if self.row.cooldown_seconds != before.cooldown_seconds:
            self.pauses.append(self.row.cooldown_seconds)

    @rule(seconds=st.sampled_from([1, 30, 61, 151, 901]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: not self.is_down and not self.in_flight)
    @rule()
    def goes_down(self) -> None:
        self.is_down = True
        self.row = learned(Row(key=KEY), (), self.now, RULES)
        for process in self.processes:
            process.take()
            process.stored([self.row], self.now)

    @precondition(lambda self: self.is_down)
    @rule()
    def comes_up(self) -> None:
        self.is_down = False

    @invariant()
    def a_row_is_whole(self) -> None:
        row = self.row
        assert (row.state is BreakerState.CLOSED) == (row.opened_at is None) == (row.probe_at is None)
        assert RULES.cooldown_seconds <= row.cooldown_seconds <= RULES.cooldown_seconds_max
        assert len(row.recent.split()) <= RULES.window
        assert row.consecutive <= row.recent.count("!") or len(row.recent.split()) == RULES.window

    @invariant()
    def an_open_breaker_had_enough_errors(self) -> None:
        if self.row.state is not BreakerState.CLOSED:
            assert self.row.recent.count("!") >= 5

    @invariant()
    def pauses_double(self) -> None:
        allowed = {60, 120, 240, 480, 900}
        assert set(self.pauses) <= allowed


SharedBreaker.TestCase.settings = settings(stateful_step_count=40)


class TestSharedBreaker(SharedBreaker.TestCase):  # type: ignore[misc, name-defined]
    """Run by pytest."""


class DownForGood(RuleBasedStateMachine):
    """A broker that answers nobody: how many accounts are tried in one pause, in any order of beginnings and ends."""

    @initialize(window=st.integers(1, 30))
    def start(self, window: int) -> None:
        self.window = window
        self.now = BEGIN
        self.breakers = Breakers((), rules=RULES, servers={"default": 1}, claim=lambda key, now: None)
        self.in_flight: list[Member] = []
        self.tried = self.counted = 0

    @rule(count=st.integers(1, 10))
    def begin(self, count: int) -> None:
        for _ in range(min(count, self.window - len(self.in_flight))):
            account = Member(account_id=str(self.tried))
            if self.breakers.ask(account, self.now, is_last=False) is Answer.GO:
                self.tried += 1
                self.in_flight.append(account)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        account = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        self.breakers.ended(account, [BROKER_DOWN], has_answered=False, now=self.now)
        self.counted += 1

    @invariant()
    def at_most_five_and_those_in_flight_are_tried(self) -> None:
        if hasattr(self, "window"):
            assert self.tried <= 5 + self.window - 1
            state = self.breakers.row(KEY).state
            assert (state is BreakerState.OPEN) == (self.counted >= 5)


DownForGood.TestCase.settings = settings(stateful_step_count=40)


class TestDownForGood(DownForGood.TestCase):  # type: ignore[misc, name-defined]
    """Run by pytest."""
