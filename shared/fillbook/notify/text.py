"""Text that is safe in Discord and numbers that stay the stored numbers: escaping, cutting, plain decimals.

Lengths are UTF-16 units, which is never less than Discord counts. Numbers are written from Decimals without rounding
and without thousands separators, and can be read back to the equal Decimal. Nothing here knows what a field means.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from fillbook.money import plain
from fillbook.runtime.errors import Rejected

UNKNOWN = "unknown"
"""How NULL is told: unknown is never zero."""

_SPECIAL = re.compile(r"([\\*_~`|>#\[\]()<@:\-])")
_ESCAPED = re.compile(r"\\([\\*_~`|>#\[\]()<@:\-])")
_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MARKER_UNITS = 24
"""Room for the longest cut marker, ``…[+n]`` with n up to twenty digits."""


def require_storable(value: object) -> None:
    """Raise ``Rejected('text_invalid')`` when any text inside ``value`` holds U+0000 or a lone surrogate."""
    if isinstance(value, str):
        if "\x00" in value or _SURROGATE.search(value):
            raise Rejected("text_invalid", "U+0000 or a lone surrogate")
    elif isinstance(value, dict):
        for key, item in value.items():
            require_storable(key)
            require_storable(item)
    elif isinstance(value, list | tuple):
        for item in value:
            require_storable(item)


def clean(text: str) -> str:
    """Remove control characters and direction overrides, and the blanks at both ends that Discord would trim."""
    kept = "".join(character for character in text if unicodedata.category(character) != "Cc")
    return _HIDDEN.sub("", kept).strip()


def escape(text: str) -> str:
    """Make foreign text inert: no link, no mention, no Markdown, no hidden direction change."""
    return _SPECIAL.sub(r"\\\1", clean(text).replace("://", "[:]//"))


def unescape(text: str) -> str:
    """Read escaped text back (what ``clean`` removed stays away)."""
    return _ESCAPED.sub(r"\1", text).replace("[:]//", "://")


def units(text: str) -> int:
    """Return the length in UTF-16 units."""
    return len(text) + sum(1 for character in text if ord(character) > 0xFFFF)


def cut(text: str, units_max: int) -> str:
    """Return ``text`` in at most ``units_max`` units, ending in ``…[+n]`` (n = units cut) when something is missing.

    An escape and its character, a strike-through and a surrogate pair are never torn apart.
    """
    total = units(text)
    if total <= units_max:
        return text
    room = max(units_max - _MARKER_UNITS, 0)
    kept, used = [], 0
    for token in _tokens(text):
        size = units(token)
        if used + size > room:
            break
        kept.append(token)
        used += size
    marker = f"…[+{total - used}]"
    return ("".join(kept) + marker) if used + units(marker) <= units_max else marker[:units_max]


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while position < len(text):
        width = 2 if text[position] == "\\" and position + 1 < len(text) else 1
        yield text[position : position + width]
        position += width


# --- numbers and times ------------------------------------------------------------------------------------------------


def number(value: Decimal | None) -> str:
    """Write a quantity: plain, trailing zeros cut; ``None`` is ``unknown``."""
    return UNKNOWN if value is None else plain(value)


def amount(value: Decimal | None) -> str:
    """Write money or a price: plain, at least two decimals; ``None`` is ``unknown``."""
    if value is None:
        return UNKNOWN
    text = plain(value)
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(2, '0')}"


def signed(value: Decimal | None) -> str:
    """Write a profit or loss: like ``amount`` and always with its sign (zero is ``+0.00``)."""
    if value is None:
        return UNKNOWN
    text = amount(value)
    return text if text.startswith("-") else f"+{text}"


def with_currency(text: str, currency: str) -> str:
    """Name the currency behind a known amount."""
    return text if text == UNKNOWN else f"{text} {currency}"


def instant(value: datetime) -> str:
    """Write an instant for a field: UTC with six decimals and ``Z``."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def wall_time(value: datetime, zone: ZoneInfo) -> str:
    """Write an instant for people: the wall clock of ``zone`` with the name of its offset."""
    return value.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")
