"""A book booked again from its journal, fill by fill, as of an instant and as known at another; nothing is stored.

Instruments come one after the other, each in booking order, through the very core that books. Only the open lots of one
instrument are held, so a book of any length can be read. What comes out is what ``fold`` of those journal rows gives (law
P12): facts that do not fit, or came after the book was closed, are parked and have no step.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from fillbook.ledger import bookstore, reading
from fillbook.ledger.ids import instant_text
from fillbook.ledger.model import Adjustment, AdjustmentVersion, BookHead, Fill
from fillbook.ledger.steps import Step, instrument_steps
from fillbook.ledger.store import QUERIES
from fillbook.runtime.db import Tx
from fillbook.values import frozen

PAGE_ROWS = 2_000
_ALWAYS, _NEVER = "infinity", "-infinity"
_FIRST_ID = "00000000-0000-0000-0000-000000000000"


@frozen
class Horizon:
    """``as_of`` ends what happened (executed_at), ``known_as_of`` what had been recorded; None = all there is."""

    as_of: datetime | None = None
    known_as_of: datetime | None = None

    @property
    def bounds(self) -> dict[str, str]:
        """Both ends as parameters of a statement."""
        return {"as_of": _end(self.as_of), "known_as_of": _end(self.known_as_of)}

    def holds(self, executed_at: datetime, recorded_at: datetime) -> bool:
        """Whether something executed and recorded then lies inside."""
        return (self.as_of is None or executed_at <= self.as_of) and self.knows(recorded_at)

    def knows(self, recorded_at: datetime) -> bool:
        """Whether something recorded then was known."""
        return self.known_as_of is None or recorded_at <= self.known_as_of


def instruments(tx: Tx, book_id: str) -> list[str]:
    """Every instrument the book has fills of, ordered by code point."""
    return [row["instrument"] for row in tx.query(QUERIES["walk_instruments"], book_id=book_id)]


def walk(tx: Tx, head: BookHead, horizon: Horizon) -> Iterator[Step]:
    """The steps of a book: instrument by instrument, each in booking order; run it inside one snapshot."""
    splits = _splits(bookstore.adjustment_rows(tx, head.book.book_id), horizon)
    for instrument in instruments(tx, head.book.book_id):
        yield from instrument_steps(head.book, _fills(tx, head, horizon, instrument), splits.get(instrument, []))


def _splits(rows: list[AdjustmentVersion], horizon: Horizon) -> dict[str, list[Adjustment]]:
    """Per instrument the splits that stood, in booking order."""
    current = {row.adjustment.adjustment_id: row.adjustment for row in rows if horizon.knows(row.recorded_at)}
    found: dict[str, list[Adjustment]] = {}
    for split in sorted(current.values(), key=lambda split: (split.effective_at, split.adjustment_id)):
        if not split.is_void and (horizon.as_of is None or split.effective_at <= horizon.as_of):
            found.setdefault(split.instrument, []).append(split)
    return found


def _fills(tx: Tx, head: BookHead, horizon: Horizon, instrument: str) -> Iterator[Fill]:
    """Current facts in booking order; those first told after the book was closed fit nothing."""
    key = {"after_at": _NEVER, "after_order": "", "after_id": _FIRST_ID}
    asked = {"book_id": head.book.book_id, "instrument": instrument, "rows_max": PAGE_ROWS, **horizon.bounds}
    while rows := tx.query(QUERIES["walk_fills_page"], **asked, **key):
        for row in rows:
            fill = reading.fill_version(row["row"]).fill
            if head.closed_seq is None or row["first_seq"] <= head.closed_seq:
                yield fill
            key = {"after_at": instant_text(fill.executed_at), "after_order": fill.venue_order, "after_id": fill.fill_id}


def _end(instant: datetime | None) -> str:
    return _ALWAYS if instant is None else instant_text(instant)
