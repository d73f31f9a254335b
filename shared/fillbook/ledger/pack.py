"""The evidence pack of a book: one JSON document from which everybody can prove it again without a database.

It holds the journal with all versions, every action with its closings, their hashes, what was posted and reconciled, and
what all of it must come to. ``prove`` hashes and folds it again and names what does not hold. The form is documented in
``infra/docs/evidence.md``, well enough to check a pack without this code; a change of it is a new ``FORMAT``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from heapq import merge
from pathlib import Path
from typing import Any

from fillbook.ledger import reading, rebuild
from fillbook.ledger.columns import ACTIONS, ADJUSTMENTS, CLOSING_NAMES, FILLS, Values, closing_rows
from fillbook.ledger.ids import instant_text
from fillbook.ledger.memory import MemoryBook
from fillbook.ledger.model import AdjustmentVersion, Book, BookHead, FillVersion, LotMethod, Netting
from fillbook.ledger.statehash import state_hash
from fillbook.ledger.verification import FINDINGS_MAX, Chain, ChainFinding, ChainRow, walk_chain
from fillbook.money import plain
from fillbook.runtime.errors import FillbookError, Rejected
from fillbook.values import frozen

FORMAT = "fillbook-evidence/1"
BYTES_MAX = 4 * 1024**3
COLUMNS: Mapping[str, Sequence[str]] = {
    FILLS.name: FILLS.names,
    ADJUSTMENTS.name: ADJUSTMENTS.names,
    ACTIONS.name: ACTIONS.names,
    "closings": CLOSING_NAMES,
}
_FILL_NUMBERS = ("quantity", "price", "multiplier", "fx_rate", "fees", "fees_rate")
# a replay takes its times from the journal, not from the head
_NEVER = datetime.min.replace(tzinfo=UTC)
JournalRow = FillVersion | AdjustmentVersion


@frozen
class Proof:
    """What a pack came to; it holds when there are no findings. ``anchors`` counts those it was checked against."""

    book_id: str
    seq: int
    chain_head: str
    state_hash: str
    anchors: int
    findings: tuple[ChainFinding, ...]


def book_document(head: BookHead) -> dict[str, Any]:
    """The terms of the book, as a pack carries them."""
    book = head.book
    return {
        "book_id": book.book_id,
        "kind": book.kind,
        "tenant_id": book.tenant_id,
        "lot_method": book.lot_method,
        "netting": book.netting,
        "base_currency": book.base_currency,
        "start_cash": plain(book.start_cash),
        "calendar": book.calendar,
        "closed_seq": head.closed_seq,
    }


def row_document(row: ChainRow) -> dict[str, Any]:
    """A row of the chain, as a pack carries it: ``values`` are its canonical form."""
    document: dict[str, Any] = {"table": row.table, "values": row.values}
    if row.closings is not None:
        document |= {"closings": row.closings, "superseded_at": row.superseded_at}
    return document | {"prev_hash": row.prev_hash.hex(), "row_hash": row.row_hash.hex()}


def prove(path: Path) -> Proof:
    """Read, hash and fold a pack again. ``Rejected('pack_invalid')`` when the file is none, ``pack_too_large`` from 4 GiB."""
    document = _load(path)
    try:
        head = _head(document)
        journal, actions = [_row(row) for row in document["journal"]], [_row(row) for row in document["actions"]]
        anchors = {anchor["seq"]: (anchor["anchored_on"], bytes.fromhex(anchor["chain_head"])) for anchor in document["anchors"]}
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise Rejected("pack_invalid", type(error).__name__, field="pack") from error
    chain = Chain(book_id=head.book.book_id, seq=head.seq, head=head.chain_head, anchors=anchors, following=_following(actions))
    try:
        findings = list(walk_chain(chain, merge(journal, actions, key=lambda row: row.seq)))
    except (LookupError, TypeError, ValueError) as error:
        raise Rejected("pack_invalid", type(error).__name__, field="pack") from error
    return Proof(
        book_id=head.book.book_id,
        seq=head.seq,
        chain_head=head.chain_head.hex(),
        state_hash=document["state_hash"],
        anchors=len(anchors),
        findings=tuple(_refolded(head, journal, actions, document["state_hash"], findings)[:FINDINGS_MAX]),
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > BYTES_MAX:
            raise Rejected("pack_too_large", "more than 4 GiB", field="pack")
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise Rejected("pack_invalid", type(error).__name__, field="pack") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise Rejected("pack_invalid", f"not a document of {FORMAT}", field="pack")
    if document.get("columns") != {name: list(columns) for name, columns in COLUMNS.items()}:
        raise Rejected("pack_invalid", "other columns than this code knows", field="pack")
    return document


def _head(document: Mapping[str, Any]) -> BookHead:
    given = document["book"]
    book = Book(
        book_id=given["book_id"],
        tenant_id=given["tenant_id"],
        lot_method=LotMethod(given["lot_method"]),
        netting=Netting(given["netting"]),
        base_currency=given["base_currency"],
        start_cash=Decimal(given["start_cash"]),
        calendar=given["calendar"],
    )
    return BookHead(
        book=book,
        seq=document["seq"],
        chain_head=bytes.fromhex(document["chain_head"]),
        last_recorded_at=_NEVER,
        closed_seq=given["closed_seq"],
    )


def _row(document: Mapping[str, Any]) -> ChainRow:
    table, values = document["table"], document["values"]
    if len(values) != len(COLUMNS[table]):
        raise ValueError("a row of another width")
    return ChainRow(
        table=table,
        values=values,
        closings=document["closings"] if table == ACTIONS.name else None,
        prev_hash=bytes.fromhex(document["prev_hash"]),
        row_hash=bytes.fromhex(document["row_hash"]),
        superseded_at=document.get("superseded_at"),
    )


def _following(actions: Sequence[ChainRow]) -> dict[str, str]:
    """When the version after an action's was recorded: what its superseded_at has to say."""
    recorded_at = ACTIONS.names.index("recorded_at")
    return {f"{row.values[1]} v{row.values[2] - 1}": row.values[recorded_at] for row in actions if row.values[2] > 1}


def _refolded(
    head: BookHead,
    journal: Sequence[ChainRow],
    actions: Sequence[ChainRow],
    expected_state: str,
    findings: list[ChainFinding],
) -> list[ChainFinding]:
    """The findings with the columns that disagree with a new fold, and what only the fold can find."""
    try:
        memory = rebuild.replay(head, (_journal_row(row) for row in journal))
    except (FillbookError, LookupError, ArithmeticError, ValueError, TypeError):
        return [*findings, _whole("altered", head, "the journal cannot be folded")]
    differing = dict(_differing(head, memory, actions))
    known = {finding.row for finding in findings if finding.table == ACTIONS.name}
    result = [
        finding
        if finding.columns or finding.table != ACTIONS.name or finding.row not in differing
        else ChainFinding(
            kind=finding.kind, table=finding.table, row=finding.row, seq=finding.seq, columns=differing[finding.row][1]
        )
        for finding in findings
    ]
    result += [
        ChainFinding(kind="altered", table=ACTIONS.name, row=name, seq=seq, columns=columns)
        for name, (seq, columns) in differing.items()
        if name not in known
    ]
    if not result:
        folded = state_hash(memory.current.values(), memory.lots.values(), memory.positions.values())
        if folded != expected_state:
            result.append(_whole("altered", head, "state_hash"))
        if memory.head.chain_head != head.chain_head:
            result.append(_whole("relinked", head, "chain_head"))
    return result


def _whole(kind: str, head: BookHead, what: str) -> ChainFinding:
    return ChainFinding(kind=kind, table="books", row=head.book.book_id, seq=head.seq, columns=(what,))


def _differing(
    head: BookHead, memory: MemoryBook, actions: Sequence[ChainRow]
) -> Iterator[tuple[str, tuple[int, tuple[str, ...]]]]:
    """(``<action_id> v<version>``, (seq, columns)) of every action that is not what the journal says."""
    book_id = head.book.book_id
    folded = {f"{version.action.action_id} v{version.version}": version for version in memory.versions}
    for row in actions:
        version = folded.pop(row.name, None)
        if version is None:
            yield row.name, (row.seq, ("not in the journal",))
            continue
        wanted: Values = [*ACTIONS.values(book_id, version), closing_rows(book_id, version)]
        columns = (*ACTIONS.names, "closings")
        wrong = tuple(name for name, left, right in zip(columns, wanted, row.hashed, strict=True) if left != right)
        if wrong:
            yield row.name, (row.seq, wrong)
    for name, version in folded.items():
        yield name, (version.seq, ("missing",))


def _journal_row(row: ChainRow) -> JournalRow:
    """A journal row as a value: what its canonical form says."""
    if row.table == ADJUSTMENTS.name:
        return reading.adjustment_version(dict(zip(ADJUSTMENTS.names, row.values, strict=True)))
    given = dict(zip(FILLS.names, row.values, strict=True))
    for name in _FILL_NUMBERS:
        given[name] = None if given[name] is None else Decimal(given[name])
    given["content_hash"] = f"\\x{given['content_hash']}"
    return reading.fill_version(given)


def anchor_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of ``chain_anchors``, as a pack carries it."""
    return {
        "anchored_on": row["anchored_on"],
        "seq": row["seq"],
        "chain_head": reading.raw(row["chain_head"]).hex(),
        "recorded_at": instant_text(reading.instant(row["recorded_at"])),
    }
