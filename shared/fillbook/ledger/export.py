"""A book written out of the house: as CSV, as beancount text, as an evidence pack; the same bytes for the same book.

One REPEATABLE READ READ ONLY transaction, streamed page by page. ``as_of`` leaves out what was executed later,
``known_as_of`` what was recorded later; neither reads a clock. A file appears under its name only when it is whole. It
refuses ``as_of`` for a pack: a pack proves a chain, and a chain has no gaps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO

from fillbook.ledger import beancount, bookstore, pack, reading, rebuild, stored
from fillbook.ledger.audit import code_version
from fillbook.ledger.bookstore import RawRow
from fillbook.ledger.chain import encode, genesis
from fillbook.ledger.columns import LOTS, POSITIONS
from fillbook.ledger.csvtext import SHEETS
from fillbook.ledger.ids import instant_text
from fillbook.ledger.model import AdjustmentVersion, BookHead, FillVersion, Lot
from fillbook.ledger.statehash import state_hash
from fillbook.ledger.steps import last_forms
from fillbook.ledger.store import QUERIES
from fillbook.ledger.verification import ChainRow, chain_row
from fillbook.ledger.walk import Horizon, walk
from fillbook.money import plain
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

PAGE_ROWS = 2_000
ALL = Horizon()


@frozen
class Written:
    """A file that was written: its path, its length, the SHA-256 of its bytes."""

    path: Path
    size: int
    sha256: str


@frozen
class Export:
    """The files of one export, and what was left out: (position_id, instrument, reason)."""

    files: tuple[Written, ...]
    left_out: tuple[tuple[str, str, str], ...] = ()


class _File:
    """A file in the making: hashed as it is written."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.path = path
        self._stream = stream
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, text: str) -> None:
        data = text.encode()
        self._digest.update(data)
        self._size += self._stream.write(data)

    def written(self) -> Written:
        return Written(path=self.path, size=self._size, sha256=self._digest.hexdigest())


class _Folder:
    """The files of an export; they get their names together, at the end, and leave nothing behind when it fails."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._stack = ExitStack()
        self._files: list[_File] = []

    def __enter__(self) -> _Folder:
        self._out.mkdir(parents=True, exist_ok=True)
        return self

    def open(self, name: str) -> _File:
        path = self._out / name
        partial = _partial(path)
        self._stack.callback(partial.unlink, missing_ok=True)
        self._files.append(_File(path, self._stack.enter_context(partial.open("wb"))))
        return self._files[-1]

    def finish(self) -> tuple[Written, ...]:
        for file in self._files:
            file._stream.close()
        for file in self._files:
            _partial(file.path).replace(file.path)
        return tuple(file.written() for file in self._files)

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def export(db: Database, book_id: str, form: str, out: Path, horizon: Horizon = ALL) -> Export:
    """Write a book into ``out`` as ``csv``, ``beancount`` or ``pack``.

    Raises ``Rejected('book_unknown')``, ``Rejected('as_of_unsupported')`` for a pack as of an instant, ``Unavailable``,
    ``OSError`` when the folder cannot be written.
    """
    if form == "pack" and horizon.as_of is not None:
        raise Rejected("as_of_unsupported", "a pack has no gaps: give known_as_of alone", field="as_of")
    with db.transaction(read_only=True, isolation="repeatable read") as tx, _Folder(out) as folder:
        return FORMS[form](tx, bookstore.book_head(tx, book_id), horizon, folder)


def _csv(tx: Tx, head: BookHead, horizon: Horizon, folder: _Folder) -> Export:
    book_id = head.book.book_id
    files = {name: folder.open(f"{name}.csv") for name in SHEETS}
    for name, file in files.items():
        file.write(SHEETS[name].header)
    for row in _pages(tx, "export_fills_page", book_id, horizon):
        files["fills"].write(SHEETS["fills"].line(stored.read_fill(row["row"])))
    for row in _pages(tx, "export_actions_page", book_id, horizon):
        files["actions"].write(SHEETS["actions"].line(stored.read_action(row["row"])))
        for values in stored.read_closings(row["closings"]):
            files["closings"].write(SHEETS["closings"].line(values))
    for item in last_forms(walk(tx, head, horizon)):
        if isinstance(item, Lot):
            files["lots"].write(SHEETS["lots"].line(LOTS.values(book_id, item)))
        else:
            files["positions"].write(SHEETS["positions"].line(POSITIONS.values(book_id, item)))
    return Export(files=folder.finish())


def _beancount(tx: Tx, head: BookHead, horizon: Horizon, folder: _Folder) -> Export:
    """Two walks: the first line needs to know what the last one leaves out."""
    seen = beancount.survey(walk(tx, head, horizon))
    file = folder.open("book.beancount")
    for text in beancount.Journal(head.book, seen).text(walk(tx, head, horizon)):
        file.write(text)
    left_out = tuple((position_id, *found) for position_id, found in sorted(seen.left_out.items()))
    return Export(files=folder.finish(), left_out=left_out)


def _pack(tx: Tx, head: BookHead, horizon: Horizon, folder: _Folder) -> Export:
    known = head if horizon.known_as_of is None else _head_as_known(tx, head, horizon)
    state = bookstore.book_state_hash(tx, known.book.book_id) if known is head else _state_as_known(tx, known)
    file = folder.open("pack.json")
    terms = {
        "format": pack.FORMAT,
        "code_version": code_version(),
        "book": pack.book_document(known),
        "known_as_of": None if horizon.known_as_of is None else instant_text(horizon.known_as_of),
        "seq": known.seq,
        "chain_head": known.chain_head.hex(),
        "state_hash": state,
        "columns": {name: list(columns) for name, columns in pack.COLUMNS.items()},
    }
    file.write(encode(terms)[:-1])
    for name, documents in _lists(tx, known, horizon):
        _write_list(file, name, documents)
    file.write("\n}\n")
    return Export(files=folder.finish())


def _lists(tx: Tx, head: BookHead, horizon: Horizon) -> Iterator[tuple[str, Iterable[Mapping[str, Any]]]]:
    book_id, known = head.book.book_id, {"known_as_of": horizon.bounds["known_as_of"]}
    yield "journal", map(pack.row_document, _chain_rows(bookstore.raw_journal(tx, book_id), head))
    yield (
        "actions",
        map(pack.row_document, (_as_known(row, horizon) for row in _chain_rows(bookstore.raw_actions(tx, book_id), head))),
    )
    kept = {
        name: tx.query(QUERIES[f"export_{name}"], book_id=book_id, **known) for name in ("anchors", "reconciliations", "breaks")
    }
    yield "anchors", [pack.anchor_document(row["row"]) for row in kept["anchors"]]
    for name in ("reconciliations", "breaks"):
        yield name, [_plain_row(row["row"]) for row in kept[name]]


def _write_list(file: _File, name: str, documents: Iterable[Mapping[str, Any]]) -> None:
    """A list with one row a line, so that it can be written, compared and read in pieces."""
    file.write(f",\n{encode(name)}:[")
    for number, document in enumerate(documents):
        file.write(f"{',' if number else ''}\n{encode(document)}")
    file.write("]")


def _chain_rows(rows: Iterable[RawRow], head: BookHead) -> Iterator[ChainRow]:
    """The rows up to the head, which come in seq order."""
    for item in takewhile(lambda item: item[1]["seq"] <= head.seq, rows):
        yield chain_row(*item)


def _as_known(row: ChainRow, horizon: Horizon) -> ChainRow:
    """An action's version before it was superseded, when that was not known yet."""
    if row.superseded_at is None or horizon.knows(reading.instant(row.superseded_at)):
        return row
    return replace(row, superseded_at=None)


def _head_as_known(tx: Tx, head: BookHead, horizon: Horizon) -> BookHead:
    """The end of the chain as it was: recorded times never go back, so what was known is its beginning."""
    seq, chain_head = 0, genesis(head.book.book_id)
    for _, row, _ in bookstore.raw_rows(tx, head.book.book_id):
        if not horizon.knows(reading.instant(row["recorded_at"])):
            break
        seq, chain_head = row["seq"], reading.raw(row["row_hash"])
    closed_seq = head.closed_seq if head.closed_seq is not None and head.closed_seq <= seq else None
    return replace(head, seq=seq, chain_head=chain_head, closed_seq=closed_seq)


def _state_as_known(tx: Tx, head: BookHead) -> str:
    """The state of that beginning, folded in memory."""

    def is_known(row: FillVersion | AdjustmentVersion) -> bool:
        return row.seq <= head.seq

    memory = rebuild.replay(head, takewhile(is_known, bookstore.journal(tx, head.book.book_id)))
    return state_hash(memory.current.values(), memory.lots.values(), memory.positions.values())


def _plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A stored row with its numbers as plain texts."""
    return {name: _plain_value(value) for name, value in row.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, dict):
        return _plain_row(value)
    if isinstance(value, list):
        return [_plain_value(part) for part in value]
    return value if isinstance(value, str | int | None) else plain(value)


def _pages(tx: Tx, statement: str, book_id: str, horizon: Horizon) -> Iterator[Mapping[str, Any]]:
    after = 0
    while rows := tx.query(QUERIES[statement], book_id=book_id, after=after, rows_max=PAGE_ROWS, **horizon.bounds):
        yield from rows
        after = rows[-1]["row"]["seq"]


FORMS: Mapping[str, Callable[[Tx, BookHead, Horizon, _Folder], Export]] = {
    "csv": _csv,
    "beancount": _beancount,
    "pack": _pack,
}
