"""How the parameters of a question are read: each once, understood whole or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time

from fillbook.calendar import NEW_YORK
from fillbook.instants import instant_of
from fillbook.runtime.errors import Rejected

BOOKS_MAX = 10


def refused(name: str) -> Rejected:
    """The refusal of a parameter, naming it."""
    return Rejected("parameter_invalid", f"parameter {name}", field=name)


def single(given: Mapping[str, list[str]], known: frozenset[str]) -> dict[str, str]:
    """Each known parameter once; an unknown or repeated one is refused."""
    for name, values in given.items():
        if name not in known or len(values) != 1:
            raise refused(name if name in known else "unknown")
    return {name: values[0] for name, values in given.items()}


def books(one: Mapping[str, str]) -> tuple[str, ...] | None:
    """The books asked for; None is every book of the key except replays."""
    wanted = tuple(one.get("books", "live").split(","))
    if wanted == ("all",):
        return None
    if not 0 < len(wanted) <= BOOKS_MAX or not all(wanted):
        raise refused("books")
    return wanted


def choice(one: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str | None:
    """One of the allowed words, or None when not given."""
    value = one.get(name)
    if value is not None and value not in allowed:
        raise refused(name)
    return value


def whole(text: str, name: str, largest: int) -> int:
    """A whole number within 1..largest."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= largest):
        raise refused(name)
    return int(text)


def clock(one: Mapping[str, str], name: str) -> datetime | None:
    """One of the two clocks: ISO with zone or epoch milliseconds, never a date, which names no instant of its day."""
    text = one.get(name)
    if text is not None and len(text) == 10 and not text.isdigit():
        raise refused(name)
    return None if text is None else instant(text, name)


def instant(text: str, name: str) -> datetime:
    """An instant: ISO with zone, epoch milliseconds, or a New York date (its midnight)."""
    try:
        if text.isascii() and text.isdigit() and len(text) > 8:
            return datetime.fromtimestamp(int(text) // 1000, UTC).replace(microsecond=int(text) % 1000 * 1000)
        if len(text) == 10:
            return datetime.combine(date.fromisoformat(text), time.min, NEW_YORK).astimezone(UTC)
        return instant_of(text)
    except (ValueError, OverflowError, OSError):
        raise refused(name) from None
