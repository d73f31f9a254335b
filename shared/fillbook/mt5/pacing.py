"""How fast a run goes: groups or a sliding window, what still fits before the deadline, what a fleet asks of a service. Pure.

Instants are real seconds of one monotonic clock, handed in. Nothing here waits, starts or calls: a pace says how many accounts
may begin now and when to ask again. Sources: sections 2, 4 and 11 of the specification.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from typing import Final, Protocol

from fillbook.mt5.words import Code
from fillbook.values import frozen

ACCOUNT_SECONDS: Final = 90.0
ACCOUNT_SECONDS_AFTER_TIMEOUT: Final = 30.0
MARGIN_SECONDS: Final = 5.0
FIRST_GUESS_SECONDS: Final = 10.0
KNOWN_MIN: Final = 10
PERCENTILE: Final = 95
BATCH_SIZE: Final = 10
BATCH_PAUSE_SECONDS: Final = 0.1
WINDOW_SIZE: Final = 20
TICK_SECONDS: Final = 300


# --- what still fits --------------------------------------------------------------------------------------------------


class Fits:
    """Which account may still begin before a run's deadline, by how long the run's successful accounts took.

    Holds one number per successful account of a run.
    """

    def __init__(self, deadline: float, *, margin_seconds: float = MARGIN_SECONDS) -> None:
        self.deadline = deadline
        self._margin = margin_seconds
        self._known: list[float] = []

    def learn(self, seconds: float) -> None:
        """Remember how long a successful account took."""
        insort(self._known, seconds)

    @property
    def expected_seconds(self) -> float:
        """95th percentile (nearest rank) of what is known; 10 s until 10 accounts are."""
        count = len(self._known)
        if count < KNOWN_MIN:
            return FIRST_GUESS_SECONDS
        return self._known[-(-count * PERCENTILE // 100) - 1]

    def admits(self, now: float) -> bool:
        """Whether an account (or group) that begins now can be expected to end in time."""
        return self.deadline - now > self.expected_seconds + self._margin

    def account_deadline(self, now: float, budget_seconds: float) -> float:
        """Until when an account that begins now may take: its budget, cut to leave the margin for its last transaction."""
        return min(now + budget_seconds, self.deadline - self._margin)


def account_budget(last_code: Code | None, seconds: float = ACCOUNT_SECONDS) -> float:
    """Seconds an account gets in all: fewer while its last run ended in a timeout, until it answers again."""
    return min(seconds, ACCOUNT_SECONDS_AFTER_TIMEOUT) if last_code is Code.TIMEOUT else seconds


# --- paces ------------------------------------------------------------------------------------------------------------


class Pace(Protocol):
    """Says how many accounts a run may take up. Told of every one that was taken up and of every one that ended."""

    def room(self, now: float) -> int:
        """How many more accounts may be taken up now."""
        ...

    def wake_at(self) -> float | None:
        """When to ask again although nothing ended; None: only then."""
        ...

    def took(self, count: int) -> None:
        """So many accounts were taken up."""
        ...

    def ended(self, now: float) -> None:
        """One account that was taken up has ended, in whatever way."""
        ...


class Batches:
    """Groups of ``size`` begin together, all settle whatever happens, a pause between groups; for inline runs."""

    def __init__(
        self,
        size: int = BATCH_SIZE,
        pause_seconds: float = BATCH_PAUSE_SECONDS,
        *,
        total: int | None = None,
        tell: Callable[[int, int | None], None] | None = None,
    ) -> None:
        """``tell(number, of)`` is called as each group begins; ``total`` accounts make ``of`` groups, None: not known."""
        self._size, self._pause, self._tell = size, pause_seconds, tell
        self._groups = None if total is None else -(-total // size)
        self._number = self._unsettled = 0
        self._rests_until: float | None = None

    def room(self, now: float) -> int:
        """A whole group once the last one has settled and the pause is over, else nothing."""
        is_resting = self._rests_until is not None and now < self._rests_until
        return 0 if self._unsettled or is_resting else self._size

    def wake_at(self) -> float | None:
        """The end of the pause."""
        return None if self._unsettled else self._rests_until

    def took(self, count: int) -> None:
        """A group was taken up; accounts that were not really tried do not belong to one."""
        if not count:
            return
        if not self._unsettled:
            self._number += 1
            if self._tell is not None:
                self._tell(self._number, self._groups)
        self._unsettled += count
        self._rests_until = None

    def ended(self, now: float) -> None:
        """With its last account the group has settled and the pause begins."""
        self._unsettled -= 1
        if not self._unsettled:
            self._rests_until = now + self._pause


class Window:
    """At most ``size`` accounts at once, the next begins when one ends; for shards."""

    def __init__(self, size: int = WINDOW_SIZE, *, sessions: Callable[[], int] | None = None) -> None:
        """``sessions``: how many there are for all of its accounts; places beyond them are not free."""
        self._free = self._size = size
        self._sessions = sessions

    def room(self, now: float) -> int:  # noqa: ARG002 - a window knows no time
        """What is free of the window."""
        missing = 0 if self._sessions is None else max(self._size - self._sessions(), 0)
        return max(self._free - missing, 0)

    def wake_at(self) -> float | None:
        """Never: something must end first."""
        return None

    def took(self, count: int) -> None:
        """So much of the window is taken."""
        self._free -= count

    def ended(self, now: float) -> None:  # noqa: ARG002
        """One place is free again."""
        self._free += 1


# --- what a fleet asks of a service -----------------------------------------------------------------------------------


@frozen
class Throughput:
    """What an instance can give. ``seconds_per_account``: of one account from login to last answer; ``calls_per_account``:
    requests an account needs in a run; ``rate_per_minute`` None: no limit is published.
    """

    sessions: int
    seconds_per_account: float
    calls_per_account: int
    rate_per_minute: int | None


def capacity(given: Throughput) -> int:
    """Accounts per five minutes, rounded down. Raises ``ValueError`` unless every figure is positive."""
    if min(given.sessions, given.seconds_per_account, given.calls_per_account) <= 0:
        raise ValueError("sessions, seconds and calls are positive")
    by_sessions = int(given.sessions * TICK_SECONDS / given.seconds_per_account)
    if given.rate_per_minute is None:
        return by_sessions
    by_rate = given.rate_per_minute * 4 * TICK_SECONDS // (5 * 60 * given.calls_per_account)
    return min(by_sessions, by_rate)
