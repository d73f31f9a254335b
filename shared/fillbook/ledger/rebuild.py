"""Replays a book's journal call by call: what should be stored, compared with what is stored, or written instead of it.

The journal says everything: which facts, in which calls, recorded when. Replaying it through the same pure core gives the
same versions, numbers and hashes, so history and projections may be lost and a difference means tampering or a bug.
``check`` folds in memory and writes nothing. ``write`` needs the maintenance role; it refuses to commit a different book
unless told to accept it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Any

from fillbook.ledger import bookstore as store
from fillbook.ledger import rebooking, stored
from fillbook.ledger.chain import genesis
from fillbook.ledger.columns import ACTIONS, LOTS, POSITIONS, Values, closing_rows
from fillbook.ledger.ids import instant_text
from fillbook.ledger.journal import changes_of
from fillbook.ledger.memory import MemoryBook
from fillbook.ledger.model import ActionVersion, AdjustmentVersion, BookHead, FillVersion, Position
from fillbook.ledger.sealing import Sealed, lot_document, parked_document, position_document, seal
from fillbook.ledger.statehash import state_hash
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

JournalRow = FillVersion | AdjustmentVersion


@frozen
class Difference:
    """The first row of a table that is not what the journal says: its ids, and the columns that disagree."""

    table: str
    row: str
    columns: tuple[str, ...]


@frozen
class Rebuilt:
    """What a rebuild found; ``is_equal`` when nothing differs and both hashes are the stored ones."""

    book_id: str
    rows: int
    differences: tuple[Difference, ...]
    state_hash: str
    chain_head: str
    is_equal: bool


def check(db: Database, book_id: str) -> Rebuilt:
    """Replay in memory and compare, in one snapshot; nothing is written."""
    with db.transaction(read_only=True, isolation="repeatable read") as tx:
        return check_in(tx, book_id)


def check_in(tx: Tx, book_id: str) -> Rebuilt:
    """As ``check``, inside the caller's snapshot."""
    head = store.book_head(tx, book_id)
    memory = replay(head, store.journal(tx, book_id))
    differences = tuple(_differences(tx, memory))
    if (memory.head.seq, memory.head.chain_head) != (head.seq, head.chain_head):
        differences += (Difference(table="books", row=book_id, columns=("seq", "chain_head")),)
    return _result(memory, differences)


def differing_columns(tx: Tx, book_id: str, rows: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Of the action versions named ("<action_id> v<version>"), the columns that are not what the journal says."""
    memory = replay(store.book_head(tx, book_id), store.journal(tx, book_id))
    expected = _expected(memory)["execution_actions"]
    differing: dict[str, tuple[str, ...]] = {}
    for _, stored_row, closings in store.raw_actions(tx, book_id):
        row, values = _stored_action(stored_row, closings)
        if row in rows and row in expected.rows:
            right = expected.values(expected.rows[row])
            differing[row] = tuple(name for name, one, other in zip(expected.names, right, values, strict=True) if one != other)
    return differing


def write(db: Database, book_id: str, *, accept: bool = False) -> Rebuilt:
    """Delete history and projections of a book and write what the journal says, in one transaction under the book's lock.

    Raises ``Rejected('rebuild_differs')``, having changed nothing, when a hash is not the stored one and ``accept`` is not
    given; accepting also numbers the journal anew where the numbers moved.
    """
    with db.transaction() as tx:
        head = store.lock_book(tx, book_id)
        rows = _Rows()
        memory = replay(head, store.journal(tx, book_id), rows.add)
        before = store.book_state_hash(tx, book_id)
        result = _result(memory, ())
        is_equal = before == result.state_hash and head.chain_head == memory.head.chain_head
        if not is_equal and not accept:
            raise Rejected("rebuild_differs", f"state {before} became {result.state_hash}")
        if not is_equal:
            rows = _Rows(with_journal=True)
            memory = replay(head, store.journal(tx, book_id), rows.add)
        store.replace_book(tx, memory.head, rows.tables(memory), with_journal=not is_equal)
        return replace(result, is_equal=is_equal)


def replay(head: BookHead, journal: Iterable[JournalRow], each: Callable[[Sealed], object] = lambda _: None) -> MemoryBook:
    """Replay journal rows, which come in seq order, on an empty book with the head's terms; ``each`` sees every call."""
    start = replace(head, seq=0, chain_head=genesis(head.book.book_id))
    memory = MemoryBook(start)
    for _, rows in groupby(journal, key=lambda row: row.booking_seq):
        call = list(rows)
        sealed = step(
            memory,
            [row for row in call if isinstance(row, FillVersion)],
            [row for row in call if isinstance(row, AdjustmentVersion)],
            call[0].recorded_at,
        )
        each(sealed)
    return memory


def step(
    memory: MemoryBook,
    rows: Sequence[FillVersion],
    adjustments: Sequence[AdjustmentVersion],
    recorded_at: datetime,
    *,
    announce: bool = False,
) -> Sealed:
    """One call, as ``service`` makes it, on a book in memory."""
    changes = changes_of(memory.journal, rows)
    splits = {version.adjustment.adjustment_id: version.adjustment for version in adjustments}
    instruments = {row.fill.instrument for row in rows} | {split.instrument for split in splits.values()}
    state = memory.state(instruments, {row.fill.fill_id for row in rows})
    continued, rebooked = rebooking.affected(state, changes, splits.values())
    histories = memory.histories(rebooked, rebooking.fills_by_instrument(changes)) if rebooked else {}
    plan = rebooking.plan(state, changes, continued, histories, splits)
    sealed = seal(memory.head, recorded_at, rows, changes, plan, histories, adjustments, announce=announce)
    memory.apply(changes, plan, sealed)
    return sealed


def _result(memory: MemoryBook, differences: tuple[Difference, ...]) -> Rebuilt:
    return Rebuilt(
        book_id=memory.head.book.book_id,
        rows=memory.head.seq,
        differences=differences,
        state_hash=state_hash(memory.current.values(), memory.lots.values(), memory.positions.values()),
        chain_head=memory.head.chain_head.hex(),
        is_equal=not differences,
    )


class _Rows:
    """The rows of a replay as documents, kept call by call; the journal's own only where they have to be written again."""

    def __init__(self, *, with_journal: bool = False) -> None:
        names = ("fills", "adjustments") if with_journal else ()
        self._tables: dict[str, list[dict[str, Any]]] = {name: [] for name in (*names, "actions", "closings")}
        self._parked_at: dict[str, str] = {}

    def add(self, sealed: Sealed) -> None:
        """Keep what a call wrote, and nothing of how it came to it."""
        for name, rows in self._tables.items():
            rows += sealed.rows[name]
        self._parked_at |= dict.fromkeys(sealed.plan.parked, instant_text(sealed.head.last_recorded_at))

    def tables(self, memory: MemoryBook) -> dict[str, list[dict[str, Any]]]:
        """Every row of the book, by the names that ``ledger.restore`` takes; ``memory`` is where the replay ended."""
        book_id = memory.head.book.book_id
        for row in self._tables["actions"]:
            following = memory.superseded.get((row["action_id"], row["version"]))
            if following is not None:
                row["superseded_at"] = instant_text(following.recorded_at)
        return self._tables | {
            "positions": [
                position_document(book_id, position, memory.updated_seq[position.position_id])
                for position in memory.positions.values()
            ],
            "lots": [lot_document(book_id, lot) for lot in memory.lots.values()],
            "parked": [
                parked_document(book_id, fill_id, instrument, reason, self._parked_at[fill_id])
                for fill_id, (instrument, reason) in memory.parked.items()
            ],
        }


@frozen(kw_only=False)
class _Expected:
    """A derived table as it should be stored: its rows by name, and what a row's values are, made when they are asked for."""

    names: tuple[str, ...]
    rows: dict[str, Any]
    values: Callable[[Any], Values]


def _expected(memory: MemoryBook) -> dict[str, _Expected]:
    book_id = memory.head.book.book_id

    def action(version: ActionVersion) -> Values:
        following = memory.superseded.get((version.action.action_id, version.version))
        superseded = None if following is None else instant_text(following.recorded_at)
        return [*ACTIONS.values(book_id, version), superseded, closing_rows(book_id, version)]

    def position(one: Position) -> Values:
        return [*POSITIONS.values(book_id, one), memory.updated_seq[one.position_id]]

    versions = {f"{version.action.action_id} v{version.version}": version for version in memory.versions}
    return {
        "execution_actions": _Expected((*ACTIONS.names, "superseded_at", "closings"), versions, action),
        "positions": _Expected((*POSITIONS.names, "updated_seq"), dict(memory.positions), position),
        "lots": _Expected(LOTS.names, dict(memory.lots), lambda lot: LOTS.values(book_id, lot)),
        "parked_fills": _Expected(("instrument", "reason"), memory.parked, list),
    }


def _differences(tx: Tx, memory: MemoryBook) -> Iterator[Difference]:
    expected = _expected(memory)
    for table, found in _stored(tx, memory.head.book.book_id):
        wanted = expected[table]
        for row, values in found:
            if row not in wanted.rows:
                yield Difference(table=table, row=row, columns=("not in the journal",))
                break
            right = wanted.values(wanted.rows.pop(row))
            if right != values:
                wrong = tuple(name for name, one, other in zip(wanted.names, right, values, strict=True) if one != other)
                yield Difference(table=table, row=row, columns=wrong)
                break
        else:
            for row in wanted.rows:
                yield Difference(table=table, row=row, columns=("missing",))
                break


def _stored(tx: Tx, book_id: str) -> Iterator[tuple[str, Iterator[tuple[str, Values]]]]:
    yield "execution_actions", (_stored_action(row, closings) for _, row, closings in store.raw_actions(tx, book_id))
    yield (
        "positions",
        ((row["position_id"], [*stored.read_position(row), row["updated_seq"]]) for row in store.raw_positions(tx, book_id)),
    )
    yield "lots", ((row["lot_id"], stored.read_lot(row)) for row in store.raw_lots(tx, book_id))
    yield "parked_fills", ((fill_id, [instrument, reason]) for fill_id, instrument, reason in store.parked(tx, book_id))


def _stored_action(row: Mapping[str, Any], closings: Sequence[Mapping[str, Any]]) -> tuple[str, Values]:
    superseded = None if row["superseded_at"] is None else stored.instant_of(row["superseded_at"])
    values = [*stored.read_action(row), superseded, stored.read_closings(closings)]
    return f"{row['action_id']} v{row['version']}", values
