"""What the Flex web service's codes mean, and how often a token may be used: tables and pure functions. Source: ibkr.md 8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from fillbook.values import frozen

DAYS_MAX: Final = 365
FETCH_AFTER: Final = timedelta(seconds=20)
DEFERRALS_MAX: Final = 40
DEFER_FIRST_SECONDS: Final = 20
DEFER_SECONDS_MAX: Final = 300
PAUSE_TOO_MANY: Final = timedelta(seconds=90)
PAUSE_LOCKED_OUT: Final = timedelta(minutes=45)
CALL_GAP: Final = timedelta(seconds=1)
CALLS_MAX: Final = 10
CALLS_WITHIN: Final = timedelta(seconds=60)
TOO_LARGE: Final = 1001
"""The statement could not be generated; asked three times in a row, the window is likely too large."""
TOO_LARGE_STREAK: Final = 3
REFERENCE_INVALID: Final = 1017
BODY_KEPT_BYTES: Final = 4096


class Class(StrEnum):
    """What a code asks of us."""

    NOT_READY = "not_ready"
    TOO_MANY = "too_many"
    LOCKED_OUT = "locked_out"
    TOKEN_UNUSABLE = "token_unusable"  # noqa: S105 - a word, no token
    REQUEST_WRONG = "request_wrong"
    UNKNOWN = "unknown"


CODES: Final[Mapping[int, Class]] = {
    **dict.fromkeys((1001, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1019, 1021), Class.NOT_READY),
    1018: Class.TOO_MANY,
    1025: Class.LOCKED_OUT,
    **dict.fromkeys((1012, 1013, 1015), Class.TOKEN_UNUSABLE),
    **dict.fromkeys((1010, 1011, 1014, 1016, 1017, 1020), Class.REQUEST_WRONG),
}


def class_of(code: int | None) -> Class:
    """The class of a code; one that the broker does not document, or none, is unknown."""
    return Class.UNKNOWN if code is None else CODES.get(code, Class.UNKNOWN)


def defer_seconds(deferrals: int) -> int:
    """How long to wait after the ``deferrals``-th answer that it is not ready: 20, 40, 80, 160, then 300 s."""
    return min(DEFER_FIRST_SECONDS << min(deferrals - 1, 10), DEFER_SECONDS_MAX)


def free_at(recent_calls: Sequence[datetime], now: datetime) -> datetime:
    """When the next call may be made: ``now`` or later, one a second and ten a minute."""
    recent = sorted(recent_calls)
    moments = [now]
    if recent:
        moments.append(recent[-1] + CALL_GAP)
    if len(recent) >= CALLS_MAX:
        moments.append(recent[-CALLS_MAX] + CALLS_WITHIN)
    return max(moments)


def recent(calls: Sequence[datetime], now: datetime) -> list[datetime]:
    """The calls that still count. One far ahead of ``now`` was noted before the desk clock was set back: it counts no more."""
    return sorted(at for at in calls if now - CALLS_WITHIN < at < now + CALLS_WITHIN)


@frozen
class Halves:
    """A window in two: ``to_date`` ends the first, ``rest`` is the second."""

    to_date: date
    rest: tuple[date, date]


def halves(from_date: date, to_date: date) -> Halves | None:
    """Halve a window of days, both inclusive; None when it is one day."""
    days = (to_date - from_date).days + 1
    if days < 2:
        return None
    middle = from_date + timedelta(days=(days + 1) // 2 - 1)
    return Halves(to_date=middle, rest=(middle + timedelta(days=1), to_date))


def noted(text: str | None, code: int, sentence: str) -> str:
    """What is kept of answers: one line each while the same code comes again, at most 4 KiB."""
    line = f"{code} {' '.join(sentence.split())[:200]}".rstrip()
    before = [one for one in (text or "").split("\n") if one.startswith(f"{code} ") or one == str(code)]
    return clipped("\n".join([*before[-8:], line]))


def streak(text: str | None, code: int) -> int:
    """How often in a row the code came, of what ``noted`` kept."""
    return sum(1 for one in (text or "").split("\n") if one.split(" ")[0] == str(code))


def clipped(text: str) -> str:
    """At most 4 KiB of text that Postgres can hold."""
    clean = "".join(character if character >= " " or character == "\n" else " " for character in text)
    return clean.encode("utf-8", "replace")[:BODY_KEPT_BYTES].decode("utf-8", "ignore")
