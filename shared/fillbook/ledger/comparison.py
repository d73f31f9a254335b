"""One journal under all five lot methods, side by side: what would have been realized, what is still open. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from fillbook.ledger import bookstore, rebuild
from fillbook.ledger.model import AdjustmentVersion, Book, FillVersion, LotMethod, Position, PositionStatus
from fillbook.ledger.store import QUERIES
from fillbook.ledger.valuation import unrealized_total
from fillbook.money import ZERO
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

JournalRow = FillVersion | AdjustmentVersion


@frozen
class MethodResult:
    """One method's figures; amounts are per currency, None where a part is unknown. ``None`` as a whole: not applicable."""

    method: LotMethod
    realized: Mapping[str, Decimal | None]
    unrealized: Mapping[str, Decimal | None]
    unmarked: tuple[str, ...]
    open_lots: tuple[tuple[str, Decimal, Decimal], ...]
    parked: int


def compare_methods(db: Database, book_id: str, instrument: str | None = None) -> dict[LotMethod, MethodResult | None]:
    """Fold the book's journal (or one instrument's) under every method; SPECIFIC without picks is None."""
    with db.transaction(read_only=True, isolation="repeatable read") as tx:
        head = bookstore.book_head(tx, book_id)
        journal = [row for row in bookstore.journal(tx, book_id) if instrument in (None, _instrument(row))]
        marks = {row["instrument"]: row["price"] for row in tx.query(QUERIES["last_marks"], book_id=book_id)}
    picked = any(isinstance(row, FillVersion) and row.fill.lot_picks is not None for row in journal)
    results: dict[LotMethod, MethodResult | None] = {}
    for method in LotMethod:
        if method is LotMethod.SPECIFIC and not picked:
            results[method] = None
            continue
        book: Book = replace(head.book, lot_method=method)
        try:
            memory = rebuild.replay(replace(head, book=book), journal)
        except Rejected:
            results[method] = None  # decisions without picks cannot be told apart under SPECIFIC
            continue
        results[method] = _result(method, memory.positions.values(), marks, len(memory.parked))
    return results


def _instrument(row: JournalRow) -> str:
    return row.fill.instrument if isinstance(row, FillVersion) else row.adjustment.instrument


def _result(method: LotMethod, positions: Iterable[Position], marks: Mapping[str, Decimal], parked: int) -> MethodResult:
    realized: dict[str, Decimal | None] = {}
    opened = []
    for position in positions:
        if position.status is PositionStatus.VOID:
            continue
        known = realized.get(position.currency, ZERO)
        unknown = known is None or position.realized_pnl is None
        realized[position.currency] = None if unknown else (known or ZERO) + (position.realized_pnl or ZERO)
        if position.status is PositionStatus.OPEN:
            opened.append(position)
    unrealized, unmarked = unrealized_total((position, marks.get(position.instrument)) for position in opened)
    return MethodResult(
        method=method,
        realized=realized,
        unrealized=unrealized,
        unmarked=unmarked,
        open_lots=tuple(
            (position.instrument, lot.quantity_open, lot.price_adjusted) for position in opened for lot in position.lots
        ),
        parked=parked,
    )
