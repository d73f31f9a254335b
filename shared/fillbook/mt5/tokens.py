"""How many requests an instance may still get: at most 80 % of its published limit in any 60 seconds, over all processes. Pure.

A process reserves tokens in blocks of ten. A block must be used within ``BLOCK_SECONDS``, and until it is accounted for all of
it stands in the second in which it could be used last: a process that dies with a block in its hands has cost time, never a
breach. On its next visit a process moves each token it used to the second of its use and takes back the rest. A token counts
in the second of its use and for 60 more; whole seconds are what is stored, so it may return up to one second late.

Instants are real seconds since 1970, since the limit is the service's. Source: section 4 of the specification.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import ceil, floor
from typing import Final

from fillbook.mt5.words import ContractKind
from fillbook.values import frozen

SPAN_SECONDS: Final = 60
BLOCK: Final = 10
BLOCK_SECONDS: Final = 5
V0_PER_MINUTE: Final = 100
EMPTIED: Final = 1_000_000
"""Spent by nobody: stands in the table while a service that said 429 is left alone; above any limit."""
PAUSE_SECONDS: Final = 60
"""How long a service that said 429 is left alone if it did not say."""
PAUSE_SECONDS_MAX: Final = 900


def published_limit(set_here: int | None, told: int | None, contract: ContractKind) -> int | None:
    """Requests per minute of an instance: what is set for it, else what its health says, else 100 for v0 and None for v1."""
    if set_here is not None:
        return set_here
    if told is not None:
        return told
    return None if contract is ContractKind.V1 else V0_PER_MINUTE


def bucket(limit: int) -> int:
    """Tokens of a limit: 80 %, rounded down; at least one, else the service could never be asked."""
    return max(limit * 4 // 5, 1)


def block(size: int) -> int:
    """How many tokens a process reserves at once: ten, fewer of a small bucket, so that one process does not empty it."""
    return min(BLOCK, max(size // 8, 1))


def oldest_counted(now: float) -> int:
    """The first second whose tokens have not come back at ``now``."""
    return floor(now) - SPAN_SECONDS


def comes_back_at(second: int) -> int:
    """From when on a token spent in ``second`` is there again."""
    return second + SPAN_SECONDS + 1


def pause_second(until: float) -> int:
    """The second in which ``EMPTIED`` must stand so that nothing is given out before ``until``."""
    return ceil(until) - SPAN_SECONDS - 1


def pause_until(now: float, retry_after_seconds: int | None) -> float:
    """Until when a service that said 429 is left alone; at most a quarter of an hour, then it is asked again."""
    asked = PAUSE_SECONDS if retry_after_seconds is None else retry_after_seconds
    return now + min(max(asked, 1), PAUSE_SECONDS_MAX)


@frozen
class Reserved:
    """What the table gave: so many tokens, or none and when to come again. ``held_second``: where they stand until used."""

    tokens: int
    held_second: int
    next_at: float


def given(taken: Mapping[int, int], size: int, wanted: int, now: float) -> Reserved:
    """Give out of a bucket of ``size`` tokens at most ``wanted``; ``taken``: tokens by second, of all processes.

    Law: tokens whose seconds lie within 60 s of each other never exceed ``size``.
    """
    counted = {second: count for second, count in taken.items() if second >= oldest_counted(now) and count > 0}
    free = max(size - sum(counted.values()), 0)
    held = floor(now) + BLOCK_SECONDS
    tokens = min(free, wanted)
    return Reserved(tokens=tokens, held_second=held, next_at=now if tokens else _next_at(counted, size, now))


def _next_at(counted: Mapping[int, int], size: int, now: float) -> float:
    """When the first token comes back: the oldest seconds have to go until the rest leaves one free."""
    left = sum(counted.values())
    for second in sorted(counted):
        left -= counted[second]
        if left < size:
            return max(float(comes_back_at(second)), now)
    return now + SPAN_SECONDS


class Block:
    """Tokens in the hands of one process. Not safe between threads: its holder locks."""

    def __init__(self, reserved: Reserved) -> None:
        self._left = reserved.tokens
        self._size = reserved.tokens
        self._second = reserved.held_second
        self._used: Counter[int] = Counter()

    def take(self, now: float) -> bool:
        """Use one token, if one is left and may still be used: its second is stored, so it ends with ``held_second``."""
        if not self._left or now >= self._second + 1:
            return False
        self._left -= 1
        self._used[floor(now)] += 1
        return True

    def drop(self) -> None:
        """Use none of the rest: the service wants to be left alone."""
        self._left = 0

    def moves(self) -> dict[int, int]:
        """How the table changes now that the block is over: tokens by second, negative where they stood until now."""
        changes = Counter(self._used)
        changes[self._second] -= self._size
        return {second: count for second, count in sorted(changes.items()) if count}
