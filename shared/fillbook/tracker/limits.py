"""How often a key may ask, by how dear the answer is, and how often an address may try keys that open nothing.

Counted per process: the number of instances bounds what all of them together let through. An address that has tried ten wrong
keys within a minute is not listened to for five minutes, whatever it shows then: else a guesser would go on and see which one
opens. Source: tracker.md 2.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, ip_address
from threading import Lock
from typing import TypeVar

from fillbook.runtime.errors import Rejected
from fillbook.runtime.rates import MINUTE_MS, NAMES_MAX, Rate, real_ms
from fillbook.tracker.route import Weight

T = TypeVar("T")
PER_MINUTE: Mapping[Weight, int] = {Weight.LIST: 300, Weight.FIGURES: 120, Weight.EXPORT: 6, Weight.ADMIN: 20}
AT_ONCE: Mapping[Weight, int] = {Weight.LIST: 60, Weight.FIGURES: 60, Weight.EXPORT: 6, Weight.ADMIN: 20}
"""A view asks for a handful at once, and two of them may be open; exports and orders are a minute's worth."""
FAILED_KEYS_MAX = 10
BLOCKED_MS = 5 * MINUTE_MS
NETWORK_BITS = 64
"""Of an IPv6 address: whoever has one has all of its network."""


class FailedKeys:
    """Wrong keys by address; the least recent of 4,096 addresses is forgotten."""

    def __init__(self, most: int = FAILED_KEYS_MAX, *, now_ms: Callable[[], int] = real_ms) -> None:
        self._most = most
        self._now_ms = now_ms
        self._tries: OrderedDict[str, list[int]] = OrderedDict()
        self._blocked_until: OrderedDict[str, int] = OrderedDict()
        self._lock = Lock()

    def check(self, address: str) -> None:
        """Raise ``Rejected('too_many_requests')`` 429 for an address that is not listened to."""
        waits_ms = self._blocked_until.get(address, 0) - self._now_ms()
        if waits_ms > 0:
            raise Rejected("too_many_requests", "wrong keys", status=429, retry_after_seconds=-(-waits_ms // 1000))

    def count(self, address: str) -> None:
        """Count a key that opened nothing."""
        now = self._now_ms()
        with self._lock:
            tries = [one for one in self._tries.pop(address, []) if one > now - MINUTE_MS] + [now]
            if len(tries) >= self._most:
                _put(self._blocked_until, address, now + BLOCKED_MS)
            else:
                _put(self._tries, address, tries)


def _put(table: OrderedDict[str, T], address: str, value: T) -> None:
    table[address] = value
    table.move_to_end(address)
    if len(table) > NAMES_MAX:
        table.popitem(last=False)


class Limits:
    """The buckets of a process. ``factor`` multiplies what keys may; ``failed_keys_max``: wrong keys of an address a minute."""

    def __init__(self, factor: int = 1, failed_keys_max: int = FAILED_KEYS_MAX) -> None:
        self._rates = {weight: Rate(PER_MINUTE[weight] * factor, AT_ONCE[weight] * factor) for weight in Weight}
        self.failed_keys = FailedKeys(failed_keys_max)

    def take(self, key_id: str, weight: Weight) -> None:
        """Count an operation of a key; raises ``Rejected('too_many_requests')`` 429 with the seconds to wait."""
        self._rates[weight].take(key_id)


def network(address: str) -> str:
    """What an address is counted as: itself, or the network of an IPv6 one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        return str(IPv6Address(int(parsed) >> NETWORK_BITS << NETWORK_BITS))
    return str(parsed)
