"""The breakers of one run: what the stored rows say, what this process has seen since, and who may begin.

A failure counts here the moment it is known, before the next account begins; the store learns it with the next flush. A row as
seen here is always the stored one with everything of ours that it does not know yet, so several processes agree as soon as each
has flushed. An account of a key that is open is not skipped while others of that key are still in flight here: one of them may
prove that the key lives.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from fillbook.mt5.breaker import Evidence, Kind, Leave, Row, Rules, broker_key, kinds, learned, leave, service_key
from fillbook.mt5.crew import Answer
from fillbook.mt5.model import StepFailure
from fillbook.mt5.words import BreakerState
from fillbook.values import frozen


class Watched(Protocol):
    """What breakers need to know of an account (``model.Account`` is one)."""

    @property
    def account_id(self) -> str:
        """The account."""
        ...

    @property
    def instance_key(self) -> str:
        """Its service instance."""
        ...

    @property
    def server(self) -> str:
        """Its broker's server."""
        ...

    @property
    def sync_failure_count(self) -> int:
        """Failures in a row before this run."""
        ...


@frozen
class News:
    """What the store does not know yet: evidence by key, in the order in which it came."""

    evidence: Mapping[str, tuple[Evidence, ...]]
    one_server_keys: frozenset[str]


class _Flight:
    __slots__ = ("keys", "server", "started_at", "tokens")

    def __init__(self, keys: tuple[str, str], server: str, started_at: datetime, tokens: Mapping[str, int]) -> None:
        self.keys, self.server, self.started_at, self.tokens = keys, server, started_at, tokens


class Breakers:
    """A gate of a crew (``ask``, ``left``). ``ended`` may be called by any thread, everything else by the crew's own."""

    def __init__(
        self,
        rows: Iterable[Row],
        *,
        rules: Rules,
        servers: Mapping[str, int],
        claim: Callable[[str, datetime], Row | None],
    ) -> None:
        """``servers``: how many servers each instance serves; ``claim(key, now)`` claims a probe in the store and returns
        the key's row there; closed: somebody else's probe came home meanwhile; None: somebody else is probing.
        """
        self._rules, self._claim = rules, claim
        self._single = frozenset(service_key(instance) for instance, count in servers.items() if count <= 1)
        self._rows = {row.key: row for row in rows}
        self._unsent: dict[str, list[Evidence]] = {}
        self._sent: dict[str, tuple[Evidence, ...]] = {}
        self._flights: dict[str, _Flight] = {}
        self._in_flight: Counter[str] = Counter()
        self._lock = threading.Lock()

    def row(self, key: str) -> Row:
        """A key's row as seen here."""
        return self._rows.get(key) or Row(key=key, cooldown_seconds=self._rules.cooldown_seconds)

    # --- the gate ---

    def ask(self, account: Watched, now: datetime, *, is_last: bool) -> Answer:
        """Whether an account may begin. An account that failed of late is no good probe: it waits for one that did not."""
        keys = (service_key(account.instance_key), broker_key(account.server))
        with self._lock:
            leaves = {key: leave(self.row(key), now, self._rules) for key in keys}
            shut = [key for key in keys if leaves[key] is Leave.SKIP]
            if shut:
                return Answer.WAIT if all(self._in_flight[key] for key in shut) and not is_last else Answer.SKIP
            to_probe = [key for key in keys if leaves[key] is Leave.PROBE]
            if to_probe and account.sync_failure_count and not is_last:
                return Answer.WAIT
        tokens = self._claimed(to_probe, now)
        if tokens is None:
            return Answer.SKIP
        with self._lock:
            self._flights[account.account_id] = _Flight(keys, account.server, now, tokens)
            self._in_flight.update(keys)
        return Answer.GO

    def _claimed(self, keys: Sequence[str], now: datetime) -> dict[str, int] | None:
        """Claim the probes of all ``keys``, or none: one that is claimed in vain is given back."""
        tokens: dict[str, int] = {}
        for key in keys:
            row = self._claim(key, now)
            if row is None:
                for other, token in tokens.items():
                    self._learn(other, Evidence(kind=Kind.NOTHING, started_at=now, probe_token=token), now)
                return None
            if row.state is BreakerState.HALF_OPEN:
                tokens[key] = row.probe_token
            with self._lock:
                self._rows[key] = row
        return tokens

    def left(self, account: Watched, now: datetime) -> None:
        """An account has left the crew; a probe whose end nobody told proved nothing, and the next may try."""
        self.ended(account, (), has_answered=False, now=now)

    def ended(self, account: Watched, failures: Sequence[StepFailure], *, has_answered: bool, now: datetime) -> None:
        """An account's calls are over; only the first word about it counts."""
        with self._lock:
            flight = self._flights.pop(account.account_id, None)
            if flight is None:
                return
            self._in_flight.subtract(flight.keys)
        for key, (kind, code) in zip(flight.keys, kinds(failures, has_answered=has_answered), strict=True):
            token = flight.tokens.get(key)
            if kind is not Kind.NOTHING or token is not None:
                told = Evidence(kind=kind, started_at=flight.started_at, server=flight.server, code=code, probe_token=token)
                self._learn(key, told, now)

    def _learn(self, key: str, told: Evidence, now: datetime) -> None:
        with self._lock:
            self._unsent.setdefault(key, []).append(told)
            self._rows[key] = self._with(self.row(key), (told,), now)

    def _with(self, row: Row, evidence: Iterable[Evidence], now: datetime) -> Row:
        return learned(row, evidence, now, self._rules, has_one_server=self.has_one_server(row.key))

    def has_one_server(self, key: str) -> bool:
        """Whether errors without a code are the key's own: a broker's always, a service's if it serves one server."""
        return key in self._single or not key.startswith("service:")

    # --- the store ---

    def met(self, rows: Iterable[Row]) -> None:
        """Stored rows of keys of which nothing is known here yet; what was seen of the others stands."""
        with self._lock:
            self._rows = {row.key: row for row in rows} | self._rows

    @property
    def is_urgent(self) -> bool:
        """Whether the store should learn something now: anything but successes of closed breakers."""
        with self._lock:
            return any(one.kind is not Kind.GOOD or one.probe_token is not None for told in self._unsent.values() for one in told)

    def take(self) -> News:
        """Take what the store is to learn; what was taken before and not acknowledged comes again, first."""
        with self._lock:
            for key, told in self._unsent.items():
                self._sent[key] = (*self._sent.get(key, ()), *told)
            self._unsent.clear()
            return News(evidence=dict(self._sent), one_server_keys=frozenset(filter(self.has_one_server, self._sent)))

    def stored(self, rows: Iterable[Row], now: datetime) -> None:
        """The store has learnt what was taken and answers with its rows; only called when that is committed."""
        with self._lock:
            self._sent.clear()
            for row in rows:
                self._rows[row.key] = self._with(row, self._unsent.get(row.key, ()), now)
