"""Marks of an instrument on the wire: the prices that a book was valued at."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from fillbook.tracker.shapes import Amount, Frame, Instant, Milliseconds


class Mark(TypedDict):
    """A price, in today's units of the instrument.

    ``state`` is ``stale`` for one that had become too old before the next one came, the last one: that is too old now.
    """

    ts: Milliseconds
    at: Instant
    book_id: str
    price: Amount
    bid: Amount | None
    ask: Amount | None
    state: Literal["fresh", "stale"]


class Marks(Frame):
    """The marks of an instrument in a range, oldest first. ``has_more``: older ones than fit are left out."""

    instrument: str
    count: int
    has_more: bool
    points: list[Mark]
