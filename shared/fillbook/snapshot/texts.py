"""Texts and instants of the room: composed, trimmed, storable; UTC milliseconds, written in one form and read from three.

Source: snapshot specification, 3 (names, times) and 5.2 (what is accepted).
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

WHITE: Final = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""Unicode's white space. ``str.strip()`` would also take the control characters U+001C to U+001F, which are refused."""
EPOCH_LEAST: Final = 946_684_800
EPOCH_MOST: Final = 4_102_444_800
"""Seconds of the years 2000 and 2100: what lies between them, or between them times a thousand, is a time."""
FIRST_INSTANT: Final = datetime(2000, 1, 1, tzinfo=UTC)
TIME_TEXT_MAX: Final = 40
TIMES_KEPT: Final = 4_096
"""Minutes of a day come back in each of its series."""

_UNSTORABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(Z|z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Wrong(ValueError):
    """A value that is not taken: ``code`` as the sender is told, and why in a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def clean(text: str) -> str:
    """The text composed (NFC) and without white space around it."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip(WHITE)


def is_storable(text: str) -> bool:
    """Whether a text is free of NUL, control characters and lone surrogates."""
    return _UNSTORABLE.search(text) is None


def is_clean(text: str) -> bool:
    """Whether a text is composed, trimmed and storable."""
    return clean(text) == text and is_storable(text)


def written(at: datetime) -> str:
    """The instant as ``2026-02-11T21:00:04.512Z``; microseconds are cut."""
    return (at if at.tzinfo is UTC else at.astimezone(UTC)).isoformat(timespec="milliseconds")[:23] + "Z"


def cut(at: datetime) -> datetime:
    """The instant in UTC with its microseconds cut to milliseconds."""
    beyond = at.microsecond % 1000
    at = at if at.tzinfo is UTC else at.astimezone(UTC)
    return at - timedelta(microseconds=beyond) if beyond else at


def instant(value: Any) -> datetime:
    """An ISO 8601 text with its zone, or whole seconds or milliseconds of the epoch, as UTC milliseconds.

    Raises ``Wrong``: ``no_zone``, ``bad_time``.
    """
    if type(value) is str and len(value) <= TIME_TEXT_MAX:
        return _read(value)
    if type(value) is int:
        if EPOCH_LEAST <= value <= EPOCH_MOST:
            return _EPOCH + timedelta(seconds=value)
        if EPOCH_LEAST * 1000 <= value <= EPOCH_MOST * 1000:
            return _EPOCH + timedelta(milliseconds=value)
    raise Wrong("bad_time", "neither a time with its zone nor seconds or milliseconds of the epoch")


@lru_cache(TIMES_KEPT)
def _read(text: str) -> datetime:
    text = clean(text)
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise Wrong("bad_time", "not YYYY-MM-DDTHH:MM:SS.mmm with a zone")
    if found[1] is None:
        raise Wrong("no_zone", "a time without a zone names no instant")
    try:
        at = cut(datetime.fromisoformat(text.upper()))
    except (ValueError, OverflowError):
        raise Wrong("bad_time", "no such time") from None
    if at < FIRST_INSTANT:
        raise Wrong("bad_time", "before the year 2000")
    return at
