"""Breakers, tokens and sessions, shared by all processes: rows of ``service_breakers``, ``rate_tokens``, ``session_slots``.

What a row means is decided by the pure cores (``breaker``, ``tokens``) while its lock is held; nothing is decided here. Breakers
go by desk time, tokens by real seconds since 1970 of the caller, leases of sessions by the server's real clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from fillbook.mt5 import tokens
from fillbook.mt5.breaker import Evidence, Leave, Row, Rules, claimed, learned, leave
from fillbook.mt5.words import BreakerState
from fillbook.runtime.db import Tx
from fillbook.runtime.sql import encode, load_queries
from fillbook.values import frozen

QUERIES: Final = load_queries("fillbook.mt5", "pacing.sql")


# --- breakers ---------------------------------------------------------------------------------------------------------


@frozen
class Change:
    """A breaker that opened or closed; the caller tells it (``breaker_opened``, ``breaker_closed``) in the same transaction."""

    before: Row
    after: Row

    @property
    def is_opening(self) -> bool:
        """Whether it opened; else it closed."""
        return self.after.state is BreakerState.OPEN


@frozen
class Learned:
    """All rows that evidence was about, and what of it is news. A probe that failed is none: the breaker was open all along."""

    rows: tuple[Row, ...]
    changes: tuple[Change, ...]


def breakers(tx: Tx, keys: Sequence[str]) -> tuple[Row, ...]:
    """Rows of those keys that have one."""
    return tuple(_row(one) for one in tx.query(QUERIES["breakers"], keys=sorted(set(keys))))


def learn(
    tx: Tx,
    evidence: Mapping[str, Sequence[Evidence]],
    *,
    one_server_keys: frozenset[str],
    now: datetime,
    rules: Rules,
) -> Learned:
    """Put evidence of this process on top of what all others brought; safe under any interleaving."""
    before = _locked(tx, sorted(evidence), rules)
    after = [learned(row, evidence[row.key], now, rules, has_one_server=row.key in one_server_keys) for row in before.values()]
    _write(tx, [row for row in after if row != before[row.key]])
    changes = [Change(before=before[row.key], after=row) for row in after]
    closed = BreakerState.CLOSED
    return Learned(
        rows=tuple(after),
        changes=tuple(one for one in changes if (one.before.state is closed) != (one.after.state is closed)),
    )


def claim_probe(tx: Tx, key: str, *, now: datetime, rules: Rules) -> Row | None:
    """Claim the probe of an open key: the row with the claimer's ``probe_token``; None when another process has it.

    A key that is closed meanwhile is returned as it is: nothing is to be claimed.
    """
    row = _locked(tx, [key], rules)[key]
    answer = leave(row, now, rules)
    if answer is Leave.GO:
        return row
    if answer is Leave.SKIP:
        return None
    after = claimed(row, now)
    _write(tx, [after])
    return after


def _locked(tx: Tx, keys: list[str], rules: Rules) -> dict[str, Row]:
    found = tx.query(QUERIES["breakers_locked"], keys=keys) if keys else []
    if len(found) < len(keys):
        tx.execute(QUERIES["breakers_made"], keys=keys, cooldown_seconds=rules.cooldown_seconds)
        found = tx.query(QUERIES["breakers_locked"], keys=keys)
    return {one["key"]: _row(one) for one in found}


def _write(tx: Tx, rows: Sequence[Row]) -> None:
    if rows:
        tx.execute(QUERIES["breakers_written"], rows=encode([_document(row) for row in rows]))


def _row(found: Mapping[str, Any]) -> Row:
    return Row(**{**found, "state": BreakerState(found["state"])})


def _document(row: Row) -> dict[str, Any]:
    return {
        "key": row.key,
        "state": row.state,
        "consecutive": row.consecutive,
        "recent": row.recent,
        "opened_at": row.opened_at,
        "probe_at": row.probe_at,
        "cooldown_seconds": row.cooldown_seconds,
        "probe_token": row.probe_token,
        "success_started_at": row.success_started_at,
        "last_error_code": row.last_error_code,
    }


# --- tokens -----------------------------------------------------------------------------------------------------------


def reserve(tx: Tx, instance_key: str, moves: Mapping[int, int], *, size: int, wanted: int, now: float) -> tokens.Reserved:
    """Account for a process's last block (``Block.moves``) and give it the next; ``size``: ``tokens.bucket`` of the limit,
    ``wanted``: ``tokens.block`` of that, 0 to account only.

    One transaction of an instance at a time, so that no two processes are ever given the same token.
    """
    tx.query(QUERIES["tokens_locked"], instance_key=instance_key)
    if moves:
        _move(tx, instance_key, moves)
    since = tokens.oldest_counted(now)
    taken = {
        row["slot_second"]: row["spent"] for row in tx.query(QUERIES["tokens_taken"], instance_key=instance_key, since=since)
    }
    given = tokens.given(taken, size, wanted, now)
    if given.tokens:
        _move(tx, instance_key, {given.held_second: given.tokens})
    return given


def pause(tx: Tx, instance_key: str, *, until: float) -> None:
    """Empty an instance's bucket until an instant (real seconds since 1970): its service said 429."""
    second = tokens.pause_second(until)
    tx.execute(QUERIES["tokens_emptied"], instance_key=instance_key, slot_second=second, emptied=tokens.EMPTIED)


def _move(tx: Tx, instance_key: str, moves: Mapping[int, int]) -> None:
    tx.execute(QUERIES["tokens_moved"], instance_key=instance_key, seconds=list(moves), changes=list(moves.values()))


# --- sessions ---------------------------------------------------------------------------------------------------------


def claim_slots(tx: Tx, instance_key: str, holder: str, *, sessions_max: int, wanted: int, lease_seconds: int) -> frozenset[int]:
    """Claim up to ``wanted`` more sessions of an instance for ``holder`` (uuid of a process's run); returns those got now."""
    tx.execute(QUERIES["slots_made"], instance_key=instance_key, sessions_max=sessions_max)
    found = tx.query(
        QUERIES["slots_claimed"],
        instance_key=instance_key,
        holder=holder,
        sessions_max=sessions_max,
        wanted=wanted,
        lease_seconds=lease_seconds,
    )
    return frozenset(row["slot_no"] for row in found)


def renew_slots(tx: Tx, instance_key: str, holder: str, *, sessions_max: int, lease_seconds: int) -> frozenset[int]:
    """Prolong the sessions that ``holder`` still has; returns all it has: its new limit in flight."""
    found = tx.query(
        QUERIES["slots_renewed"],
        instance_key=instance_key,
        holder=holder,
        sessions_max=sessions_max,
        lease_seconds=lease_seconds,
    )
    return frozenset(row["slot_no"] for row in found)


def release_slots(tx: Tx, instance_key: str, holder: str, *, count: int) -> int:
    """Give ``count`` sessions back (those of ``holder`` that are still its own); returns how many."""
    return tx.execute(QUERIES["slots_released"], instance_key=instance_key, holder=holder, count=count)
