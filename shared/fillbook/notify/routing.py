"""Which channel an event belongs to, and whether its book is told at all.

Replay books are refused here although the ledger never writes an event for them: one leak is a false trade alert, so
there are three walls (the ledger, this router, a check constraint).
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

from fillbook.calendar import NEW_YORK
from fillbook.notify.envelope import Envelope
from fillbook.notify.model import Channel
from fillbook.notify.ops import OPS_RULES
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

EXECUTION_TYPES = frozenset({"execution_booked", "execution_corrected", "execution_busted"})
RESTATED_TYPE = "book_restated"
LANE_TYPE = "lane_changed"
REPLAY_PREFIX = "replay:"


@frozen
class Settings:
    """What the room needs to know of its configuration; ``books`` are patterns, first match wins, ``!`` mutes."""

    books: tuple[str, ...] = ("live", "ibkr:*", "mt5:*")
    has_lanes: bool = False
    digest_threshold: int = 10
    zone: ZoneInfo = NEW_YORK


def is_told(book_id: str, books: Sequence[str]) -> bool:
    """Whether executions of ``book_id`` are told; a book that matches nothing is not."""
    for pattern in books:
        if fnmatchcase(book_id, pattern.removeprefix("!")):
            return not pattern.startswith("!")
    return False


def channel_of(event: Envelope) -> Channel | None:
    """Return the event's channel, ``None`` for a type that posts nothing.

    Raises ``Rejected``: ``replay_book_refused`` for an event of a replay book, ``event_type_unknown`` for a type that
    this room has no rule for.
    """
    if (event.book_id or "").startswith(REPLAY_PREFIX) or event.aggregate_key.startswith(REPLAY_PREFIX):
        raise Rejected("replay_book_refused", event.event_type, field="book_id")
    if event.event_type in EXECUTION_TYPES:
        return Channel.EXECUTIONS
    if event.event_type == LANE_TYPE:
        return Channel.LANES
    if event.event_type == RESTATED_TYPE:
        return None
    if event.event_type in OPS_RULES:
        return Channel.OPS
    raise Rejected("event_type_unknown", event.event_type, field="event_type")
