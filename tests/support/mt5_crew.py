"""A fleet in simulated time: accounts that answer, hang or fail, worked by a real crew with real breakers.

``Simulation`` is the crew's time and its pool: a call ends when its virtual seconds are over, and the crew's waiting moves
the clock. It measures what a service would see: calls in flight per instance, who began when, what ended how.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any

from fillbook.mt5.breaker import Rules as BreakerRules
from fillbook.mt5.breaker import claimed
from fillbook.mt5.breakers import Breakers
from fillbook.mt5.crew import Answer, Chore, Crew, Ended, Outcome, Rules
from fillbook.mt5.desk import Desk
from fillbook.mt5.model import StepFailure
from fillbook.mt5.pacing import Fits, Pace
from fillbook.mt5.words import Code, Step
from fillbook.values import frozen

BEGIN = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
FOREVER = 1e9


@frozen
class Member:
    """One account: how long its calls take, and what goes wrong. ``heeds`` its deadline unless it hangs for good."""

    account_id: str
    instance_key: str = "default"
    server: str = "Alpha-Live"
    seconds: float = 0.2
    failures: tuple[StepFailure, ...] = ()
    raises: bool = False
    heeds: bool = True
    sync_failure_count: int = 0


def failure(code: Code, *, is_broker: bool = False, has_code: bool = False) -> StepFailure:
    """A failed step."""
    return StepFailure(step=Step.INFO, code=code, text=code.value, is_broker=is_broker, has_code=has_code)


TIMEOUT = failure(Code.TIMEOUT)
BROKER_DOWN = failure(Code.BROKER_UNAVAILABLE, is_broker=True, has_code=True)
SERVICE_DOWN = failure(Code.SERVICE_UNAVAILABLE, has_code=True)
REFUSED_LOGIN = failure(Code.AUTH_FAILED, is_broker=True, has_code=True)


def members(count: int, prefix: str = "a", **options: Any) -> list[Member]:
    """So many accounts of one kind."""
    return [Member(account_id=f"{prefix}{number:04}", **options) for number in range(count)]


class Simulation:
    """Virtual time, a virtual pool, and what was seen."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.began: list[tuple[str, float]] = []
        self.in_flight: Counter[str] = Counter()
        self.most_in_flight: Counter[str] = Counter()
        self.gate: Any = None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._next: tuple[Member, float] | None = None

    # --- the crew's time ---

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def receive(self, inbox: SimpleQueue[Any], seconds: float) -> Any | None:
        until = self.seconds + seconds
        while inbox.empty():
            if not self._events or self._events[0][0] > until:
                self.seconds = until
                return None
            self.seconds, _, happen = heapq.heappop(self._events)
            happen()
        return inbox.get()

    # --- the crew's pool ---

    def submit(self, fn: Callable[[], None], /) -> None:
        assert self._next is not None
        member, ends_at = self._next
        self.began.append((member.account_id, self.seconds))
        self.in_flight[member.instance_key] += 1
        self.most_in_flight |= self.in_flight

        def happen() -> None:
            self.in_flight[member.instance_key] -= 1
            fn()

        heapq.heappush(self._events, (ends_at, next(self._numbers), happen))

    # --- the run ---

    def fetch(self, member: Member, deadline: float) -> Callable[[], str]:
        failures = member.failures if member.seconds <= FOREVER / 2 else (TIMEOUT,)
        if isinstance(self.gate, Breakers):
            self.gate.ended(member, failures, has_answered=not failures and not member.raises, now=self.now())
        if member.raises:
            raise RuntimeError(member.account_id)
        return lambda: "failed" if failures else "success"

    def run(
        self,
        accounts: Iterable[Member],
        pace: Pace,
        *,
        budget: float = 270.0,
        limit: Callable[[str], int] = lambda _: 10,
        gate: Any = None,
        chores: Sequence[Chore] = (),
    ) -> tuple[list[Ended[Member, str]], Crew[Member, str]]:
        """Work the accounts to the end; returns what ended, in order."""
        fits = Fits(self.seconds + budget)

        def seconds_of(member: Member) -> float:
            ends_at = self.seconds + member.seconds
            self._next = member, min(ends_at, fits.account_deadline(self.seconds, 90)) if member.heeds else ends_at
            return 90.0

        self.gate = gate
        rules = Rules(pace=pace, fits=fits, limit=limit, budget=seconds_of, is_success=lambda result: result == "success")
        crew: Crew[Member, str] = Crew(self.fetch, rules=rules, pool=self, desk=Desk(), time=self, gate=gate, chores=chores)
        return list(crew.run(accounts)), crew


def breakers(accounts: Sequence[Member], rules: BreakerRules | None = None) -> Breakers:
    """Breakers of accounts, in a store of their own that nobody shares."""
    servers = {
        one.instance_key: len({other.server for other in accounts if other.instance_key == one.instance_key}) for one in accounts
    }
    made: list[Breakers] = []

    def claim(key: str, now: datetime) -> Any:
        return claimed(made[0].row(key), now)

    made.append(Breakers((), rules=rules or BreakerRules(), servers=servers, claim=claim))
    return made[0]


def outcomes(ended: Iterable[Ended[Member, str]]) -> Counter[str]:
    """How many left how; worked ones by their result."""
    return Counter(one.result if one.outcome is Outcome.WORKED and one.result else one.outcome.value for one in ended)


class Deaf:
    """A gate that answers from a list, then GO; notes who left."""

    def __init__(self, answers: Iterator[Answer]) -> None:
        self.answers, self.gone = answers, []  # type: ignore[var-annotated]

    def ask(self, account: Member, now: datetime, *, is_last: bool) -> Answer:
        return next(self.answers, Answer.GO)

    def left(self, account: Member, now: datetime) -> None:
        self.gone.append(account.account_id)
