"""Texts become instants: ISO 8601 with a zone, in UTC, or ``ValueError``. No clock, no guess about a zone.

Python reads instants that it cannot write in UTC (``0001-01-01T00:00:00+14:00`` is in year 0) and says so with an error of
another kind, long after the text was taken for good. Whoever reads a foreign text reads it here.
"""

from __future__ import annotations

from datetime import UTC, datetime


def instant_of(text: str) -> datetime:
    """The instant of an ISO text with a zone; ``ValueError`` for anything else, also for one that is beyond UTC's years."""
    return in_utc(datetime.fromisoformat(text))


def in_utc(at: datetime) -> datetime:
    """The same instant in UTC; ``ValueError`` for a time without a zone and for one beyond UTC's years."""
    if at.tzinfo is None:
        raise ValueError("a time without a zone is no instant")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("an instant beyond the years 1 to 9999") from None
