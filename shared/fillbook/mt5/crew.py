"""A crew works accounts side by side: their network calls in a pool of threads, everything else in the thread that runs it.

The thread that iterates ``Crew.run`` owns the database connection. It draws accounts, asks their breakers, starts them, and runs
what they hand over: each account's closing piece (pure work and its transaction), and whatever a pool thread asks to have done
through ``Desk.write`` meanwhile. So no two pieces of database work ever meet, and no lock is held over any of it.

    drawn -> waits for a session of its instance -> in flight (fetch, in the pool) -> closes (here) -> ended

Held for any faults of the accounts: in flight per instance never above its limit; each account at most once; a crash is an
outcome of that account alone; nothing begins that is not expected to end before the deadline, and at the deadline the crew
leaves whatever still hangs: it is deferred, and what it may still hand over is refused.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Final, Generic, Protocol, TypeVar, cast

from fillbook.mt5.desk import Asked, Desk, Time
from fillbook.mt5.pacing import Fits, Pace
from fillbook.values import frozen

TICK_SECONDS: Final = 0.5
"""The longest the crew listens before it looks at clock and chores again."""


class Workable(Protocol):
    """What a crew needs to know of an account."""

    @property
    def account_id(self) -> str:
        """The account."""
        ...

    @property
    def instance_key(self) -> str:
        """The service instance it is asked of."""
        ...


T = TypeVar("T", bound=Workable)
R = TypeVar("R")
G_contra = TypeVar("G_contra", contravariant=True)

Fetch = Callable[[T, float], Callable[[], R]]
"""Does an account's network calls in a pool thread, until the deadline given; returns the piece that closes it."""


class Outcome(StrEnum):
    """How an account left the crew. ``deferred``: not begun, or cut by the run's end."""

    WORKED = "worked"
    CRASHED = "crashed"
    SKIPPED = "skipped"
    DEFERRED = "deferred"


@frozen
class Ended(Generic[T, R]):
    """An account that left. ``result`` of a worked one; ``crash`` of a crashed one; ``started_at`` None: it never began."""

    account: T
    outcome: Outcome
    started_at: datetime | None = None
    seconds: float = 0.0
    result: R | None = None
    crash: BaseException | None = None


class Answer(StrEnum):
    """What a gate says to an account that could begin."""

    GO = "go"
    WAIT = "wait"
    SKIP = "skip"


class Gate(Protocol[G_contra]):
    """Whether an account may begin; both are called by the crew's own thread."""

    def ask(self, account: G_contra, now: datetime, *, is_last: bool) -> Answer:
        """GO takes the account up. WAIT: ask again when something ended; never the answer when ``is_last``."""
        ...

    def left(self, account: G_contra, now: datetime) -> None:
        """An account that was let go has ended; what it proved was told before, or it proved nothing."""
        ...


class OpenGate:
    """Lets everybody go."""

    def ask(self, account: object, now: datetime, *, is_last: bool) -> Answer:  # noqa: ARG002
        """Always GO."""
        return Answer.GO

    def left(self, account: object, now: datetime) -> None:
        """Nothing to note."""


class Pool(Protocol):
    """Runs things in threads of its own (``concurrent.futures.ThreadPoolExecutor`` is one)."""

    def submit(self, fn: Callable[[], None], /) -> object:
        """Start ``fn`` as soon as a thread is free."""
        ...


@frozen
class Chore:
    """Something the crew's thread does beside the accounts, again and again (heartbeat, flush, leases)."""

    every_seconds: float
    do: Callable[[], None]


@frozen
class Rules(Generic[T, R]):
    """What a crew goes by. ``limit``: sessions of an instance, asked each time; ``budget``: seconds an account gets in all;
    ``is_success``: whether a result's time tells how long accounts take.
    """

    pace: Pace
    fits: Fits
    limit: Callable[[str], int]
    budget: Callable[[T], float]
    is_success: Callable[[R], bool]


class _Flight(Generic[T, R]):
    """An account in flight; its thread puts the flight into the inbox when its calls are done."""

    __slots__ = ("account", "close", "crash", "started", "started_at")

    def __init__(self, account: T, started: float, started_at: datetime) -> None:
        self.account, self.started, self.started_at = account, started, started_at
        self.close: Callable[[], R] | None = None
        self.crash: BaseException | None = None


class Crew(Generic[T, R]):
    """Works the accounts of one run, shard or job task; used once, by the thread that made its ``desk``."""

    def __init__(
        self,
        fetch: Fetch[T, R],
        *,
        rules: Rules[T, R],
        pool: Pool,
        desk: Desk,
        time: Time,
        gate: Gate[T] | None = None,
        chores: Iterable[Chore] = (),
    ) -> None:
        self._fetch, self._rules, self._pool, self._desk, self._time = fetch, rules, pool, desk, time
        self._gate: Gate[T] = OpenGate() if gate is None else gate
        self._chores = {chore: self._time.monotonic() + chore.every_seconds for chore in chores}
        self._waiting: deque[T] = deque()
        self._flights: dict[str, _Flight[T, R]] = {}
        self._in_flight: Counter[str] = Counter()
        self._seen: set[str] = set()
        self._is_drained = False
        self.is_stopped = False
        """Whether the deadline stopped the drawing: the rest of the accounts given was not looked at."""

    def run(self, accounts: Iterable[T]) -> Iterator[Ended[T, R]]:
        """Yield every account that was drawn, as it ends. What was not drawn stays in ``accounts``, an iterator of the caller.

        Raises what ``accounts`` or a chore raises; then, and when the caller stops early, nothing more is written.
        """
        source = iter(accounts)
        try:
            while True:
                yield from self._take_up(source)
                if not self._flights and not self._waiting and (self._is_drained or self.is_stopped):
                    return
                message = self._time.receive(self._desk.inbox, self._patience())
                if isinstance(message, Asked):
                    self._desk.do(message)
                elif message is not None:
                    yield from self._close(message)
                self._do_chores()
                if self._time.monotonic() >= self._rules.fits.deadline:
                    yield from self._leave_all()
                    return
        finally:
            self._desk.close()

    # --- beginning ---

    def _take_up(self, source: Iterator[T]) -> Iterator[Ended[T, R]]:
        """Draw and start as many as pace, sessions, gate and deadline let begin; skipped ones make room for others."""
        while True:
            drawn = self._draw(source)
            ended = [*self._start(is_last=False)]
            if not self._flights and self._waiting and not ended:
                ended = [*self._start(is_last=True)]
            yield from ended
            if not drawn and not ended:
                return
            self._do_chores()

    def _draw(self, source: Iterator[T]) -> int:
        """Draw what the pace has room for; returns how many were taken up."""
        room = 0 if self._is_drained or self.is_stopped else self._rules.pace.room(self._time.monotonic())
        drawn: list[T] = []
        while len(drawn) < room:
            if not self._rules.fits.admits(self._time.monotonic()):
                self.is_stopped = not self._flights  # those in flight may yet show that accounts are quicker than expected
                break
            account = next(source, None)
            if account is None:
                self._is_drained = True
                break
            if account.account_id not in self._seen:
                self._seen.add(account.account_id)
                drawn.append(account)
        self._waiting.extend(drawn)
        self._rules.pace.took(len(drawn))
        return len(drawn)

    def _start(self, *, is_last: bool) -> Iterator[Ended[T, R]]:
        """Start those who may begin, in the order in which they were drawn; yields those who never will.

        All that begin here begin at one instant: an error of one says nothing about a key if another of them succeeded.
        """
        now = self._time.now()
        for account in [self._waiting.popleft() for _ in range(len(self._waiting))]:
            if self._in_flight[account.instance_key] >= self._rules.limit(account.instance_key):
                self._waiting.append(account)
                continue
            if not self._rules.fits.admits(self._time.monotonic()):
                if self._flights:
                    self._waiting.append(account)
                    continue
                self.is_stopped = True
                yield self._ended(Ended(account=account, outcome=Outcome.DEFERRED))
                continue
            answer = self._gate.ask(account, now, is_last=is_last)
            if answer is Answer.GO:
                self._begin(account, now)
                is_last = False
            elif answer is Answer.WAIT:
                self._waiting.append(account)
            else:
                yield self._ended(Ended(account=account, outcome=Outcome.SKIPPED))

    def _begin(self, account: T, now: datetime) -> None:
        flight: _Flight[T, R] = _Flight(account, self._time.monotonic(), now)
        deadline = self._rules.fits.account_deadline(flight.started, self._rules.budget(account))
        self._flights[account.account_id] = flight
        self._in_flight[account.instance_key] += 1
        self._pool.submit(lambda: self._call(flight, deadline))

    def _call(self, flight: _Flight[T, R], deadline: float) -> None:
        """In the pool: the account's network calls, to the end or to their crash."""
        try:
            flight.close = self._fetch(flight.account, deadline)
        except BaseException as error:  # noqa: BLE001 - the edge of an account: its crash is its own
            flight.crash = error
        self._desk.inbox.put(flight)

    # --- ending ---

    def _close(self, flight: _Flight[T, R]) -> Iterator[Ended[T, R]]:
        """Run an account's closing piece; the sessions of its instance are one more from here on."""
        if self._flights.get(flight.account.account_id) is not flight:
            return
        self._landed(flight)
        result, crash = self._closed(flight)
        seconds = self._time.monotonic() - flight.started
        if crash is None and self._rules.is_success(cast("R", result)):
            self._rules.fits.learn(seconds)
        yield self._ended(
            Ended(
                account=flight.account,
                outcome=Outcome.WORKED if crash is None else Outcome.CRASHED,
                started_at=flight.started_at,
                seconds=seconds,
                result=result,
                crash=crash,
            )
        )

    def _closed(self, flight: _Flight[T, R]) -> tuple[R | None, BaseException | None]:
        if flight.close is None:
            return None, flight.crash
        try:
            return flight.close(), None
        except Exception as error:  # noqa: BLE001 - the edge of an account
            return None, error

    def _landed(self, flight: _Flight[T, R]) -> None:
        del self._flights[flight.account.account_id]
        self._in_flight[flight.account.instance_key] -= 1
        self._gate.left(flight.account, self._time.now())

    def _leave_all(self) -> Iterator[Ended[T, R]]:
        """The run is over: what is in flight is not waited for, what waits is not begun."""
        self.is_stopped = True
        for flight in list(self._flights.values()):
            self._landed(flight)
            seconds = self._time.monotonic() - flight.started
            yield self._ended(
                Ended(account=flight.account, outcome=Outcome.DEFERRED, started_at=flight.started_at, seconds=seconds)
            )
        while self._waiting:
            yield self._ended(Ended(account=self._waiting.popleft(), outcome=Outcome.DEFERRED))

    def _ended(self, ended: Ended[T, R]) -> Ended[T, R]:
        self._rules.pace.ended(self._time.monotonic())
        return ended

    # --- beside ---

    def _patience(self) -> float:
        """How long to listen: until the pace, a chore or the deadline wants something, at most half a second."""
        now = self._time.monotonic()
        wake_at = None if self._is_drained or self.is_stopped else self._rules.pace.wake_at()
        instants = [now + TICK_SECONDS, self._rules.fits.deadline, *self._chores.values()]
        return max(min([*instants, *([] if wake_at is None else [wake_at])]) - now, 0)

    def _do_chores(self) -> None:
        now = self._time.monotonic()
        for chore, due_at in self._chores.items():
            if due_at <= now:
                chore.do()
                self._chores[chore] = now + chore.every_seconds
