"""Circuit breakers: when a service or a broker is left alone, and what it takes to ask it again. Pure.

One breaker stands per ``service:<instance>`` and one per ``broker:<server>``. Both learn what became of accounts, each once per
run. An account that failed says nothing about a key if another of that key, begun with it or later, has already succeeded: a few
dead accounts among healthy ones never stop a fleet. Errors that name no code count for both keys, but they open the service
only if they came from two servers or more: one broker that is down is no dead service.

    closed     5 counted errors in a row, or 10 of the last 20   -> open (a refused API key: at once)
    open       after its pause one account is claimed as probe   -> half_open
    half_open  the probe succeeds -> closed; it fails -> open, pause doubled up to 15 min; it says nothing -> the next probe
    any        a success that is no probe ends a row of errors, and closes what such a row opened, unless 10 of 20 failed

Instants are desk time, handed in; a row from the future (the desk clock was set back) holds nobody up. Source: section 4 of the
specification.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final

from fillbook.mt5.model import StepFailure
from fillbook.mt5.words import BreakerState, Code
from fillbook.values import frozen

PROBE_LEASE: Final = timedelta(seconds=150)
"""A probe that has not come back by then is given up: longer than any account may take, the wait for its writing included."""
COUNTED: Final = frozenset({Code.TIMEOUT, Code.CONNECTION, Code.SERVICE_UNAVAILABLE, Code.BROKER_UNAVAILABLE, Code.SERVICE_ERROR})
_GOOD: Final = "+"
_OWN: Final = "!"


@frozen
class Rules:
    """When a breaker opens and how long it pauses. ``window``: how many results are remembered; half of them open it."""

    consecutive: int = 5
    window: int = 20
    cooldown_seconds: int = 60
    cooldown_seconds_max: int = 900


@frozen
class Row:
    """A row of ``mt5.service_breakers``.

    ``recent``: the last results, oldest first, in words: ``+`` good, ``!`` an error of the key's own, else the mark of the server
    an error without a code came from. ``probe_at``: when a probe may begin (open), or is given up (half open).
    ``success_started_at``: the latest beginning of an account that succeeded.
    """

    key: str
    state: BreakerState = BreakerState.CLOSED
    consecutive: int = 0
    recent: str = ""
    opened_at: datetime | None = None
    probe_at: datetime | None = None
    cooldown_seconds: int = 60
    probe_token: int = 0
    success_started_at: datetime | None = None
    last_error_code: str | None = None


class Kind(StrEnum):
    """What an account's run says about a key."""

    GOOD = "good"
    OWN_ERROR = "own_error"
    UNNAMED_ERROR = "unnamed_error"
    REFUSED = "refused"
    NOTHING = "nothing"


@frozen
class Evidence:
    """What one account's run says about one key; ``code`` of an error. ``probe_token``: the account was that key's probe."""

    kind: Kind
    started_at: datetime
    server: str = ""
    code: Code | None = None
    probe_token: int | None = None


def service_key(instance_key: str) -> str:
    """The key of a service instance."""
    return f"service:{instance_key}"


def broker_key(server: str) -> str:
    """The key of a broker's server."""
    return f"broker:{server}"


# --- from an account to evidence --------------------------------------------------------------------------------------


def kinds(failures: Sequence[StepFailure], *, has_answered: bool) -> tuple[tuple[Kind, Code | None], tuple[Kind, Code | None]]:
    """What an account's run says about its service and its broker. ``has_answered``: at least one step came whole.

    An answer is proof that both work, whatever else failed. Codes that tell of the account alone (login refused, unknown id,
    contract broken, rate limit) say nothing.
    """
    if has_answered:
        return (Kind.GOOD, None), (Kind.GOOD, None)
    service: tuple[Kind, Code | None] = (Kind.NOTHING, None)
    broker = service
    for failure in failures:
        of_service, of_broker = _kind_of(failure)
        service = _graver(service, (of_service, failure.code))
        broker = _graver(broker, (of_broker, failure.code))
    return service, broker


def _kind_of(failure: StepFailure) -> tuple[Kind, Kind]:
    if failure.code is Code.SERVICE_UNAUTHORIZED and not failure.has_code:
        return Kind.REFUSED, Kind.NOTHING
    if failure.code not in COUNTED:
        return Kind.NOTHING, Kind.NOTHING
    if failure.is_broker:
        return Kind.NOTHING, Kind.OWN_ERROR
    if failure.has_code:
        return Kind.OWN_ERROR, Kind.NOTHING
    return Kind.UNNAMED_ERROR, Kind.OWN_ERROR


_GRAVITY: Final = (Kind.NOTHING, Kind.UNNAMED_ERROR, Kind.OWN_ERROR, Kind.REFUSED)


def _graver(one: tuple[Kind, Code | None], other: tuple[Kind, Code | None]) -> tuple[Kind, Code | None]:
    return other if _GRAVITY.index(other[0]) > _GRAVITY.index(one[0]) else one


# --- asking -----------------------------------------------------------------------------------------------------------


class Leave(StrEnum):
    """Whether an account of a key may begin."""

    GO = "go"
    PROBE = "probe"
    SKIP = "skip"


def leave(row: Row, now: datetime, rules: Rules) -> Leave:
    """What a key says to an account that wants to begin; ``probe``: only the one that claims the probe."""
    if row.state is BreakerState.CLOSED:
        return Leave.GO
    if row.probe_at is None or row.probe_at <= now or row.probe_at > now + timedelta(seconds=rules.cooldown_seconds_max):
        return Leave.PROBE
    return Leave.SKIP


def claimed(row: Row, now: datetime) -> Row:
    """The row after its probe was claimed; the claimer's account carries ``probe_token`` of the result."""
    return replace(row, state=BreakerState.HALF_OPEN, probe_token=row.probe_token + 1, probe_at=now + PROBE_LEASE)


# --- learning ---------------------------------------------------------------------------------------------------------


def learned(row: Row, evidence: Iterable[Evidence], now: datetime, rules: Rules, *, has_one_server: bool = False) -> Row:
    """The row after evidence, in the order in which it came. ``has_one_server``: the key is a broker, or a service of one."""
    for one in evidence:
        row = _after(row, one, now, rules, has_one_server=has_one_server)
    return row


def _after(row: Row, one: Evidence, now: datetime, rules: Rules, *, has_one_server: bool) -> Row:
    is_probe = row.state is BreakerState.HALF_OPEN and one.probe_token == row.probe_token
    if one.kind is Kind.GOOD:
        return _good(row, one, rules, is_probe=is_probe)
    if one.kind is Kind.NOTHING:
        return replace(row, state=BreakerState.OPEN, probe_at=now) if is_probe else row
    if is_probe:
        longer = min(row.cooldown_seconds * 2, rules.cooldown_seconds_max)
        return _opened(replace(_noted(row, one, rules), cooldown_seconds=longer), now)
    if row.success_started_at is not None and one.started_at <= row.success_started_at <= now:
        return row
    noted = _noted(row, one, rules)
    if row.state is BreakerState.CLOSED and (one.kind is Kind.REFUSED or _is_enough(noted, rules, has_one_server)):
        return _opened(replace(noted, cooldown_seconds=rules.cooldown_seconds), now)
    return noted


def _good(row: Row, one: Evidence, rules: Rules, *, is_probe: bool) -> Row:
    latest = one.started_at if row.success_started_at is None else max(row.success_started_at, one.started_at)
    after = replace(row, consecutive=0, recent=_with(row.recent, _GOOD, rules), success_started_at=latest)
    if row.state is BreakerState.CLOSED:
        return after
    if is_probe:
        after = replace(after, recent=_GOOD)
    elif 2 * _errors(after.recent.split()) >= rules.window:
        return after
    return replace(
        after,
        state=BreakerState.CLOSED,
        opened_at=None,
        probe_at=None,
        cooldown_seconds=rules.cooldown_seconds,
        last_error_code=None,
    )


def _noted(row: Row, one: Evidence, rules: Rules) -> Row:
    word = mark(one.server) if one.kind is Kind.UNNAMED_ERROR else _OWN
    code = row.last_error_code if one.code is None else one.code.value
    return replace(row, consecutive=row.consecutive + 1, recent=_with(row.recent, word, rules), last_error_code=code)


def _opened(row: Row, now: datetime) -> Row:
    opened_at = row.opened_at if row.state is not BreakerState.CLOSED and row.opened_at is not None else now
    probe_at = now + timedelta(seconds=row.cooldown_seconds)
    return replace(row, state=BreakerState.OPEN, opened_at=opened_at, probe_at=probe_at)


def _is_enough(row: Row, rules: Rules, has_one_server: bool) -> bool:
    words = row.recent.split()
    streak = words[-row.consecutive :] if row.consecutive else []
    if _weight(streak, has_one_server) >= min(rules.consecutive, rules.window):
        return True
    return 2 * _weight(words, has_one_server) >= rules.window


def _weight(words: Sequence[str], has_one_server: bool) -> int:
    """How many errors count: all of them, or the key's own alone while the others came from one server of several."""
    errors = [word for word in words if word != _GOOD]
    servers = {word for word in errors if word != _OWN}
    return len(errors) if has_one_server or len(servers) > 1 else errors.count(_OWN)


def _errors(words: Sequence[str]) -> int:
    return sum(1 for word in words if word != _GOOD)


def _with(recent: str, word: str, rules: Rules) -> str:
    return " ".join([*recent.split(), word][-rules.window :])


def mark(server: str) -> str:
    """How a server is told from others in ``recent``: eight hex digits."""
    return sha256(server.encode()).hexdigest()[:8]
