"""Replays a book's journal call by call: what should be stored, compared with what is stored, or written instead of it.

The journal says everything: which facts, in which calls, recorded when. Replaying it through the same pure core gives the
same versions, numbers and hashes, so history and projections may be lost and a difference means tampering or a bug.
``check`` folds beside the stored rows and writes nothing. ``write`` needs the maintenance role; it refuses to commit a
different book unless told to accept it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import chain, groupby
from typing import Any

from fillbook.ledger import bookstore as store
from fillbook.ledger import reading, rebooking, stored
from fillbook.ledger.chain import genesis
from fillbook.ledger.columns import ACTIONS, FILLS, LOTS, POSITIONS, Values
from fillbook.ledger.ids import instant_text
from fillbook.ledger.journal import changes_of
from fillbook.ledger.memory import MemoryBook
from fillbook.ledger.model import AdjustmentVersion, BookHead, FillVersion, PositionStatus, RowState
from fillbook.ledger.sealing import Sealed, lot_document, parked_document, position_document, seal
from fillbook.ledger.statehash import action_line, hash_of, lot_line, position_line
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

JournalRow = FillVersion | AdjustmentVersion
_HISTORY = (*ACTIONS.names, "closings")
_LOT_STATUS, _POSITION_STATUS = LOTS.names.index("status"), POSITIONS.names.index("status")


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
    comparison = Comparison(store.book_head(tx, book_id))
    with uncollected():
        for table, row, closings in store.raw_rows(tx, book_id):
            if table == ACTIONS.name:
                comparison.history(stored.read_action(row), stored.read_closings(closings), superseded_text(row))
            else:
                comparison.journal(journal_row(table, row))
        return comparison.result(tx)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the cycle collector: a replay makes millions of values and no cycle, and would be walked again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def superseded_text(row: Mapping[str, Any]) -> str | None:
    """When the next version of a stored action was recorded, in canonical form."""
    return None if row["superseded_at"] is None else stored.instant_of(row["superseded_at"])


def journal_row(table: str, row: Mapping[str, Any]) -> JournalRow:
    """A stored row of the journal, numbers as texts, as a value."""
    return reading.fill_version(stored.exact_fill(row)) if table == FILLS.name else reading.adjustment_version(row)


def differing_columns(tx: Tx, book_id: str, rows: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Of the action versions named ("<action_id> v<version>"), the columns that are not what the journal says."""
    expected: dict[str, Values] = {}

    def keep(sealed: Sealed) -> None:
        for version, (values, closings) in zip(sealed.actions, sealed.values, strict=True):
            name = f"{version.action.action_id} v{version.version}"
            if name in rows:
                expected[name] = [*values, closings]

    memory = replay(store.book_head(tx, book_id), store.journal(tx, book_id), keep)
    following = _following(memory)
    differing: dict[str, tuple[str, ...]] = {}
    for _, row, closings in store.raw_actions(tx, book_id):
        name = f"{row['action_id']} v{row['version']}"
        if name in expected:
            wrong = _differing(_HISTORY, expected[name], [*stored.read_action(row), stored.read_closings(closings)])
            differing[name] = wrong if following.get(name) == superseded_text(row) else (*wrong, "superseded_at")
    return differing


def write(db: Database, book_id: str, *, accept: bool = False) -> Rebuilt:
    """Delete history and projections of a book and write what the journal says, in one transaction under the book's lock.

    Raises ``Rejected('rebuild_differs')``, having changed nothing, when a hash is not the stored one and ``accept`` is not
    given; accepting also numbers the journal anew where the numbers moved.
    """
    with db.transaction() as tx, uncollected():
        head = store.lock_book(tx, book_id)
        rows = _Rows()
        memory = replay(head, store.journal(tx, book_id), rows.add)
        tables = rows.tables(memory)
        before, after = store.book_state_hash(tx, book_id), rows.state_hash(tables)
        is_equal = before == after and head.chain_head == memory.head.chain_head
        if not is_equal and not accept:
            raise Rejected("rebuild_differs", f"state {before} became {after}")
        if not is_equal:
            rows = _Rows(with_journal=True)
            memory = replay(head, store.journal(tx, book_id), rows.add)
            tables = rows.tables(memory)
        store.replace_book(tx, memory.head, tables, with_journal=not is_equal)
        return replace(_rebuilt(memory, after, ()), is_equal=is_equal)


def replay(head: BookHead, journal: Iterable[JournalRow], each: Callable[[Sealed], object] = lambda _: None) -> MemoryBook:
    """Replay journal rows, which come in seq order, on an empty book with the head's terms; ``each`` sees every call."""
    memory = empty(head)
    for _, rows in groupby(journal, key=lambda row: row.booking_seq):
        each(booked(memory, list(rows)))
    return memory


def empty(head: BookHead) -> MemoryBook:
    """The book before its first row."""
    return MemoryBook(replace(head, seq=0, chain_head=genesis(head.book.book_id)))


def booked(memory: MemoryBook, call: Sequence[JournalRow]) -> Sealed:
    """The journal rows of one call, booked."""
    fills = [row for row in call if isinstance(row, FillVersion)]
    return step(memory, fills, [row for row in call if isinstance(row, AdjustmentVersion)], call[0].recorded_at)


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
    plan, histories = rebooking.plan(state, changes, splits, memory.histories)
    sealed = seal(memory.head, recorded_at, rows, changes, plan, histories, adjustments, announce=announce)
    memory.apply(changes, plan, sealed)
    return sealed


class _Lines:
    """What the state hash says of the current actions, made when their values are at hand."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}

    def add(self, sealed: Sealed) -> None:
        """Take over what a call made of its actions."""
        for version, (values, closings) in zip(sealed.actions, sealed.values, strict=True):
            if version.state is RowState.BOOKED:
                self._lines[version.action.action_id] = action_line(values, closings)
            else:
                self._lines.pop(version.action.action_id, None)

    def in_order(self) -> Iterator[str]:
        """By action id."""
        return (self._lines[action_id] for action_id in sorted(self._lines))


class _Rows:
    """The rows of a replay as documents, kept call by call; the journal's own only where they have to be written again."""

    def __init__(self, *, with_journal: bool = False) -> None:
        names = ("fills", "adjustments") if with_journal else ()
        self._tables: dict[str, list[dict[str, Any]]] = {name: [] for name in (*names, "actions", "closings")}
        self._parked_at: dict[str, str] = {}
        self._lines = _Lines()

    def add(self, sealed: Sealed) -> None:
        """Keep what a call wrote, and nothing of how it came to it."""
        for name, rows in self._tables.items():
            rows += sealed.rows[name]
        self._lines.add(sealed)
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

    def state_hash(self, tables: Mapping[str, list[dict[str, Any]]]) -> str:
        """Of the rows that ``tables`` gave."""
        lots = sorted((list(row.values()) for row in tables["lots"]), key=_id)
        positions = sorted((list(row.values())[:-1] for row in tables["positions"]), key=_id)
        return _state_hash(self._lines, lots, positions)


class Comparison:
    """A replay beside the stored history: rows come in seq order, each call of the journal before the actions it made.

    What a call made is compared as it is read and forgotten, so nothing of the history is held but what is current.
    """

    def __init__(self, head: BookHead) -> None:
        """Begin before the first row; ``head`` is where the stored chain ends."""
        self._head = head
        self._call: list[JournalRow] = []
        self._memory = empty(head)
        self._lines = _Lines()
        self._expected: dict[str, Values] = {}
        self._unexpected: dict[str, Values] = {}
        self._superseded: dict[str, str] = {}
        self._wrong: Difference | None = None

    def journal(self, row: JournalRow) -> None:
        """The next row of the journal; raises what folding it raises."""
        if self._call and self._call[0].booking_seq != row.booking_seq:
            self._book()
        self._call.append(row)

    def history(self, values: Values, closings: list[Values], superseded_at: str | None) -> None:
        """The next row of history, as it is stored."""
        self._book()
        name = f"{values[1]} v{values[2]}"
        if superseded_at is not None:
            self._superseded[name] = superseded_at
        found = [*values, closings]
        expected = self._expected.pop(name, None)
        if expected is None:
            self._unexpected[name] = found
        elif expected != found:
            self._differs(name, _differing(_HISTORY, expected, found))

    def result(self, tx: Tx) -> Rebuilt:
        """Compare what is left: rows without a counterpart, projections and the end of the chain."""
        self._book()
        self._settle()
        memory, book_id = self._memory, self._memory.head.book.book_id
        of_positions, of_lots, of_parked = (_Beside(table) for table in ("positions", "lots", "parked_fills"))
        lots = of_lots.rows(
            LOTS.names,
            ((one, LOTS.values(book_id, memory.lots[one])) for one in sorted(memory.lots)),
            ((row["lot_id"], stored.read_lot(row)) for row in store.raw_lots(tx, book_id)),
        )
        positions = of_positions.rows(
            (*POSITIONS.names, "updated_seq"),
            ((one, _position_values(memory, one)) for one in sorted(memory.positions)),
            ((row["position_id"], [*stored.read_position(row), row["updated_seq"]]) for row in store.raw_positions(tx, book_id)),
        )
        state = _state_hash(self._lines, lots, (values[:-1] for values in positions))
        parked = memory.parked
        told = ((fill_id, [instrument, reason]) for fill_id, instrument, reason in store.parked(tx, book_id))
        list(of_parked.rows(("instrument", "reason"), ((one, [*parked[one]]) for one in sorted(parked)), told))
        found = [self._wrong, of_positions.wrong, of_lots.wrong, of_parked.wrong]
        if (memory.head.seq, memory.head.chain_head) != (self._head.seq, self._head.chain_head):
            found.append(Difference(table="books", row=book_id, columns=("seq", "chain_head")))
        return _rebuilt(memory, state, tuple(filter(None, found)))

    def _book(self) -> None:
        if self._call:
            sealed = booked(self._memory, self._call)
            self._call = []
            self._lines.add(sealed)
            for version, (values, closings) in zip(sealed.actions, sealed.values, strict=True):
                self._expected[f"{version.action.action_id} v{version.version}"] = [*values, closings]

    def _settle(self) -> None:
        """Rows whose call came after them, rows that no call made, rows that are not there, and when versions ended."""
        following = _following(self._memory)
        for name, found in self._unexpected.items():
            expected = self._expected.pop(name, None)
            self._differs(name, ("not in the journal",) if expected is None else _differing(_HISTORY, expected, found))
        for name in self._expected:
            self._differs(name, ("missing",))
        for name in following.keys() | self._superseded.keys() if following != self._superseded else ():
            if following.get(name) != self._superseded.get(name):
                self._differs(name, ("superseded_at",))

    def _differs(self, name: str, columns: tuple[str, ...]) -> None:
        if self._wrong is None:
            self._wrong = Difference(table=ACTIONS.name, row=name, columns=columns)
        elif self._wrong.row == name:
            self._wrong = replace(self._wrong, columns=(*self._wrong.columns, *columns))


class _Beside:
    """A projection as it should be beside what is stored, both by id; ``wrong`` is the first row that differs."""

    def __init__(self, table: str) -> None:
        self._table = table
        self.wrong: Difference | None = None

    def rows(
        self, names: tuple[str, ...], expected: Iterable[tuple[str, Values]], found: Iterator[tuple[str, Values]]
    ) -> Iterator[Values]:
        """Yield the values of every expected row."""
        beside = next(found, None)
        for name, values in expected:
            if self.wrong is None:
                if beside is None or beside[0] > name:
                    self._differs(name, ("missing",))
                elif beside[0] < name:
                    self._differs(beside[0], ("not in the journal",))
                elif beside[1] != values:
                    self._differs(name, _differing(names, values, beside[1]))
                else:
                    beside = next(found, None)
            yield values
        if self.wrong is None and beside is not None:
            self._differs(beside[0], ("not in the journal",))

    def _differs(self, name: str, columns: tuple[str, ...]) -> None:
        self.wrong = Difference(table=self._table, row=name, columns=columns)


def _differing(names: Sequence[str], expected: Values, found: Values) -> tuple[str, ...]:
    return tuple(name for name, one, other in zip(names, expected, found, strict=True) if one != other)


def _following(memory: MemoryBook) -> dict[str, str]:
    """``<action_id> v<version>`` of every version that has a next one -> when that was recorded."""
    return {f"{one} v{number}": instant_text(row.recorded_at) for (one, number), row in memory.superseded.items()}


def _position_values(memory: MemoryBook, position_id: str) -> Values:
    book_id = memory.head.book.book_id
    return [*POSITIONS.values(book_id, memory.positions[position_id]), memory.updated_seq[position_id]]


def _id(values: Values) -> str:
    found: str = values[1]
    return found


def _state_hash(lines: _Lines, lots: Iterable[Values], positions: Iterable[Values]) -> str:
    """Of lots and positions by id; those that are VOID do not count."""
    of_lots = (lot_line(values) for values in lots if values[_LOT_STATUS] != PositionStatus.VOID)
    of_positions = (position_line(values) for values in positions if values[_POSITION_STATUS] != PositionStatus.VOID)
    return hash_of(chain(lines.in_order(), of_lots, of_positions))


def _rebuilt(memory: MemoryBook, state: str, differences: tuple[Difference, ...]) -> Rebuilt:
    return Rebuilt(
        book_id=memory.head.book.book_id,
        rows=memory.head.seq,
        differences=differences,
        state_hash=state,
        chain_head=memory.head.chain_head.hex(),
        is_equal=not differences,
    )
