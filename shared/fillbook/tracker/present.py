"""Positions as they are now, with what other rooms say beside them; ``past.Past`` answers the same for another moment.

Rows are texts as they are shown (``Tx.shown``).
"""

from __future__ import annotations

from collections.abc import Sequence

from fillbook.runtime.sql import counted, load_queries
from fillbook.tracker import days, paging
from fillbook.tracker.store import Groups, Row, Seen, by_position
from fillbook.tracker.trade_query import TradeQuery

QUERIES = load_queries("fillbook.tracker", "trades.sql")
COUNTED = counted(QUERIES["positions"], "page")
LOTS_COUNTED = counted(QUERIES["positions"], "lots_of_page")
Places = Sequence[tuple[str, str]]
"""Pairs of book and position."""


def after(place: paging.Place | None) -> dict[str, object]:
    """Where a page begins, as the statements ask."""
    if place is None:
        return {"after_at": None, "after_id": None, "after_book": None}
    return {"after_at": place.at, "after_id": place.id, "after_book": place.book_id}


class Present:
    """What the ledger holds now."""

    def __init__(self, seen: Seen) -> None:
        """Read within one look."""
        self._seen = seen

    def positions(self, query: TradeQuery, day: days.Today, within: Places | None) -> tuple[list[Row], bool]:
        """The positions of a query and whether there are more; ``within``: only these."""
        limit = query.common.limit
        rows = self._seen.tx.shown(QUERIES["positions"], **self._page(query, day, within))
        return rows[:limit], len(rows) > limit

    def ahead(self, query: TradeQuery, day: days.Today) -> None:
        """Let the server begin with the positions of a query that are asked for next."""
        self._seen.tx.ahead(QUERIES["positions"], **self._page(query, day, None))

    def _page(self, query: TradeQuery, day: days.Today, within: Places | None) -> dict[str, object]:
        marked = {"marked_before": day.marked_before, "marked_before_then": day.marked_before_then}
        return {"limit": query.common.limit + 1, **marked, **self._asked(query, within)}

    def count(self, query: TradeQuery, within: Places | None, limit: int, *, lots: bool = False) -> int:
        """How many positions, ``limit`` at most, or how many lots these have."""
        (row,) = self._seen.tx.query(LOTS_COUNTED if lots else COUNTED, limit=limit, **self._asked(query, within))
        return int(row["count"])

    def _asked(self, query: TradeQuery, within: Places | None) -> dict[str, object]:
        return {
            "books": self._seen.book_ids,
            "ticker": query.ticker,
            "direction": query.direction,
            "status": query.status,
            "outcome": query.outcome,
            "reason": query.reason,
            "min_pnl": query.min_pnl,
            "max_pnl": query.max_pnl,
            "lane": query.lane,
            "within_books": None if within is None else [book_id for book_id, _ in within],
            "within_positions": None if within is None else [position_id for _, position_id in within],
            "since": query.common.since,
            "until": query.common.until,
            **after(query.common.place),
        }

    def lots(self, rows: Sequence[Row]) -> Groups:
        """The lots of these positions, oldest first."""
        return self._of("lots", rows)

    def actions(self, rows: Sequence[Row]) -> Groups:
        """The execution actions of these positions in order, with closings."""
        return self._of("actions", rows)

    def flat_trades(self, rows: Sequence[Row]) -> Groups:
        """The flat shape of these positions."""
        return self._of("flat_trades", rows, "trade_id")

    def flat_events(self, rows: Sequence[Row]) -> Groups:
        """The flat shape of their actions."""
        return self._of("flat_events", rows, "trade_id")

    def _of(self, name: str, rows: Sequence[Row], key: str = "position_id") -> Groups:
        ids = [row["position_id"] for row in rows]
        return by_position(self._seen.tx.shown(QUERIES[name], books=self._seen.book_ids, positions=ids), key)
