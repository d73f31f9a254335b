"""The pages of one window as they come: what was read, what was handed over to be written, and what comes next.

Pure. Source: mt5 specification, 5.
"""

from __future__ import annotations

from fillbook.mt5.heard import Read
from fillbook.mt5.history import Next, Reading, taken
from fillbook.mt5.model import Deal, DealPage, PairedTrade


class Pages:
    """The pages of a window as they come."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self._deals: list[Deal] = []
        self._paired: list[PairedTrade] = []
        self._tickets: set[int] = set()
        self._is_paired = self._was_kept = False
        self._only: DealPage | None = None
        self._kept_rows = 0

    def take(self, page: DealPage, pages_max: int, rows_max: int | None) -> Next:
        """One more page; whether another is to be read: ``pages_max`` at most, and by the total told ``rows_max`` rows."""
        self._deals += page.deals
        self._paired += page.paired
        self._is_paired = self._is_paired or page.is_paired
        self._tickets.update(deal.deal_ticket for deal in page.deals)
        self._tickets.update(pair.ticket for pair in page.paired)
        self._only = page if self.reading.count == 0 and page.next_cursor is None else None
        self.reading, following = taken(self.reading, page, pages_max, rows_max)
        return following

    def forget(self) -> None:
        """Its rows are written."""
        self._kept_rows += len(self._tickets)
        self._deals, self._paired, self._tickets, self._was_kept = [], [], set(), True

    def read(self) -> Read:
        """The window as far as it came, rows that are written apart."""
        told, later = (None, None) if self._only is None else (self._only.told, self._only.later)
        return Read(
            reading=self.reading,
            deals=tuple(self._deals),
            paired=tuple(self._paired),
            tickets=frozenset(self._tickets),
            is_paired=self._is_paired,
            was_kept=self._was_kept,
            rows=told.count if told is not None and later is not None else self._kept_rows + len(self._tickets),
            told=told,
            later=later,
        )
