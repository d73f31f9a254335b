"""Whole books read and written in pages: for rebuild, verification, audit and state hash, not for bookings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from heapq import merge
from typing import Any

from fillbook.ledger import reading, stored
from fillbook.ledger.ids import instant_text
from fillbook.ledger.model import ActionVersion, AdjustmentVersion, BookHead, FillVersion, Lot, Position, PositionStatus
from fillbook.ledger.statehash import action_line, hash_of, lot_line, position_line
from fillbook.ledger.store import QUERIES
from fillbook.runtime.db import Call, Tx
from fillbook.runtime.errors import Rejected
from fillbook.runtime.rows import document

PAGE_ROWS = 2_000
WRITE_ROWS = 1_000
RawRow = tuple[str, Mapping[str, Any], Sequence[Mapping[str, Any]]]
_FIRST_ID = "00000000-0000-0000-0000-000000000000"
# referenced rows first
_ORDER = ("fills", "adjustments", "positions", "lots", "actions", "closings", "parked")


def book_ids(tx: Tx, since: datetime | None = None) -> list[str]:
    """Every book, or those with rows recorded since an instant."""
    return [row["book_id"] for row in tx.query(QUERIES["book_ids"], since=since)]


def book_head(tx: Tx, book_id: str) -> BookHead:
    """One book; ``Rejected('book_unknown')``."""
    return _head(tx.query(QUERIES["book_head"], book_id=book_id), is_locked=False)


def lock_book(tx: Tx, book_id: str) -> BookHead:
    """One book under its row lock; ``Rejected('book_unknown')``."""
    return _head(tx.query(QUERIES["lock_book"], book_id=book_id), is_locked=True)


def _head(rows: Sequence[Mapping[str, Any]], *, is_locked: bool) -> BookHead:
    if not rows:
        raise Rejected("book_unknown", field="book_id")
    return reading.book_head(rows[0]["row"], is_locked=is_locked)


def journal(tx: Tx, book_id: str) -> Iterator[FillVersion | AdjustmentVersion]:
    """All journal rows in seq order."""
    adjustments = adjustment_rows(tx, book_id)
    fills = (reading.fill_version(row) for row, _ in _by_seq(tx, "fills_page", book_id, document))
    rows: Iterator[FillVersion | AdjustmentVersion] = merge(fills, adjustments, key=lambda row: row.seq)
    return rows


def adjustment_rows(tx: Tx, book_id: str) -> list[AdjustmentVersion]:
    """All versions of all splits in seq order."""
    return [reading.adjustment_version(row["row"]) for row in tx.query(QUERIES["adjustments"], book_id=book_id)]


def action_versions(tx: Tx, book_id: str) -> Iterator[ActionVersion]:
    """All history rows in seq order, with their closings."""
    for row, closings in _by_seq(tx, "actions_page", book_id, document):
        yield reading.action_version(row, closings)


def raw_rows(tx: Tx, book_id: str) -> Iterator[RawRow]:
    """(table, row, closings) of every chained row in seq order, as stored, hashes included."""
    return merge(raw_journal(tx, book_id), raw_actions(tx, book_id), key=_raw_seq)


def raw_journal(tx: Tx, book_id: str) -> Iterator[RawRow]:
    """The journal's part of ``raw_rows``."""
    adjustments: list[RawRow] = [("adjustments", row["row"], ()) for row in tx.query(QUERIES["adjustments"], book_id=book_id)]
    fills: Iterator[RawRow] = (("fills", row, ()) for row, _ in _by_seq(tx, "fills_page", book_id, stored.decode))
    return merge(fills, adjustments, key=_raw_seq)


def raw_actions(tx: Tx, book_id: str) -> Iterator[RawRow]:
    """The history's part of ``raw_rows``."""
    return (("execution_actions", row, closings) for row, closings in _by_seq(tx, "actions_page", book_id, stored.decode))


def _raw_seq(item: RawRow) -> int:
    seq: int = item[1]["seq"]
    return seq


def raw_positions(tx: Tx, book_id: str) -> Iterator[Mapping[str, Any]]:
    """All positions by id, as stored."""
    return _by_id(tx, "positions_page", book_id, "position_id", stored.decode)


def raw_lots(tx: Tx, book_id: str) -> Iterator[Mapping[str, Any]]:
    """All lots by id, as stored."""
    return _by_id(tx, "lots_page", book_id, "lot_id", stored.decode)


def positions(tx: Tx, book_id: str) -> Iterator[tuple[Position, int]]:
    """All positions with their updated_seq."""
    for row in _by_id(tx, "positions_page", book_id, "position_id", document):
        yield reading.position(row), row["updated_seq"]


def lots(tx: Tx, book_id: str) -> Iterator[Lot]:
    """All lots."""
    for row in _by_id(tx, "lots_page", book_id, "lot_id", document):
        yield reading.lot(row)


def parked(tx: Tx, book_id: str) -> list[tuple[str, str, str]]:
    """(fill_id, instrument, reason) of every parked fact."""
    rows = tx.query(QUERIES["parked"], book_id=book_id)
    return [(row["fill_id"], row["instrument"], row["reason"]) for row in rows]


def anchors(tx: Tx, book_id: str) -> list[tuple[date, int, bytes]]:
    """(day, seq, chain head) of every anchor, oldest first."""
    return [(row["anchored_on"], row["seq"], row["chain_head"]) for row in tx.query(QUERIES["anchors"], book_id=book_id)]


def next_versions(tx: Tx, book_id: str) -> Sequence[Mapping[str, Any]]:
    """``name`` ("<action_id> v<version>") of every version that has a next one, and when that was recorded (as JSON text)."""
    return tx.query(QUERIES["next_versions"], book_id=book_id)


def current_fill(tx: Tx, book_id: str, fill_id: str) -> FillVersion | None:
    """The current version of a fill, or None."""
    rows = tx.query(QUERIES["current_fill"], book_id=book_id, fill_id=fill_id)
    return reading.fill_version(rows[0]["row"]) if rows else None


def book_state_hash(tx: Tx, book_id: str) -> str:
    """The state hash of what is stored, a page at a time."""
    return hash_of(_state_lines(tx, book_id))


def _state_lines(tx: Tx, book_id: str) -> Iterator[str]:
    after = _FIRST_ID
    while rows := tx.query(QUERIES["current_actions_page"], book_id=book_id, after=after, rows_max=PAGE_ROWS):
        for row, closings in map(_decoded, rows):
            yield action_line(stored.read_action(row), stored.read_closings(closings))
            after = row["action_id"]
    for lot in raw_lots(tx, book_id):
        if lot["status"] != PositionStatus.VOID:
            yield lot_line(stored.read_lot(lot))
    for position in raw_positions(tx, book_id):
        if position["status"] != PositionStatus.VOID:
            yield position_line(stored.read_position(position))


def replace_book(tx: Tx, head: BookHead, tables: Mapping[str, list[dict[str, Any]]], *, with_journal: bool) -> None:
    """Delete a book's history and projections (and its journal) and write ``tables`` instead; maintenance role."""
    tx.send(
        Call(
            "ledger.empty_book",
            {
                "book_id": head.book.book_id,
                "with_journal": with_journal,
                "seq": head.seq,
                "chain_head": f"\\x{head.chain_head.hex()}",
                "recorded_at": instant_text(head.last_recorded_at),
            },
        )
    )
    for name in _ORDER[0 if with_journal else 2 :]:
        rows = tables.get(name, [])
        for start in range(0, len(rows), WRITE_ROWS):
            tx.call(Call("ledger.restore", {name: rows[start : start + WRITE_ROWS]}))


def _by_seq(
    tx: Tx, statement: str, book_id: str, decode: Callable[[str], Any]
) -> Iterator[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]:
    """(row, closings) in pages."""
    after = 0
    while rows := tx.query(QUERIES[statement], book_id=book_id, after=after, rows_max=PAGE_ROWS):
        for answer in rows:
            row, closings = _decoded(answer, decode)
            yield row, closings
            after = row["seq"]


def _by_id(tx: Tx, statement: str, book_id: str, name: str, decode: Callable[[str], Any]) -> Iterator[Mapping[str, Any]]:
    after = _FIRST_ID
    while rows := tx.query(QUERIES[statement], book_id=book_id, after=after, rows_max=PAGE_ROWS):
        for answer in rows:
            row = decode(answer["row"])
            yield row
            after = row[name]


def _decoded(
    answer: Mapping[str, Any], decode: Callable[[str], Any] = stored.decode
) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
    closings = answer.get("closings")
    return decode(answer["row"]), () if closings is None else decode(closings)
