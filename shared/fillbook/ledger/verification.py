"""Is the chain of a book what it was? Names the first rows that are not, and how they were changed.

``altered``: a row's own hash no longer fits its columns · ``missing``: a seq is not there · ``relinked``: the hashes fit but a
link, the book's head or an anchor that was posted does not · ``content``: a fill's economic columns do not give its
content hash. A chain can be recomputed to the end by who may write; the anchors cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fillbook.ledger import bookstore, reading, rebuild
from fillbook.ledger.chain import content_hash, genesis, row_hash
from fillbook.ledger.columns import (
    ACTIONS,
    ADJUSTMENTS,
    FILLS,
    Values,
    closing_rows,
    economic_values,
)
from fillbook.ledger.model import ActionVersion
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import FillbookError

FINDINGS_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainFinding:
    """One row that breaks the chain; ``columns`` are those that disagree with the rebuild, as far as it can tell."""

    kind: str
    table: str
    row: str
    seq: int
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line for people."""
        columns = f" ({', '.join(self.columns)})" if self.columns else ""
        return f"{self.kind} seq {self.seq}: {self.table} {self.row}{columns}".rstrip()


def verify(db: Database, book_id: str) -> list[ChainFinding]:
    """The findings of a book's chain in seq order, at most 100, read in one snapshot; empty when it is whole."""
    with db.transaction(read_only=True, isolation="repeatable read") as tx:
        return verify_in(tx, book_id)


def verify_in(tx: Tx, book_id: str) -> list[ChainFinding]:
    """As ``verify``, inside the caller's snapshot."""
    findings: list[ChainFinding] = []
    for finding in _walk(tx, book_id):
        findings.append(finding)
        if len(findings) >= FINDINGS_MAX:
            break
    return _with_columns(tx, book_id, findings)


def _walk(tx: Tx, book_id: str) -> Iterator[ChainFinding]:
    head = bookstore.book_head(tx, book_id)
    anchors = {seq: (day, chain_head) for day, seq, chain_head in bookstore.anchors(tx, book_id)}
    following: dict[str, str] = _next_recorded(tx, book_id)
    previous, expected, good_anchor = genesis(book_id), 1, 0
    for table, row, closings in bookstore.raw_rows(tx, book_id):
        seq, name = row["seq"], _name(table, row)
        if seq != expected:
            kind, last = ("missing", seq - 1) if seq > expected else ("doubled", seq)
            yield ChainFinding(kind=kind, table="journal or history", row=_span(expected, last), seq=expected)
        values, extra = _values(book_id, table, row, closings)
        stored_previous, stored = reading.raw(row["prev_hash"]), reading.raw(row["row_hash"])
        if row_hash(stored_previous, values if extra is None else [*values, extra]) != stored:
            yield ChainFinding(kind="altered", table=table, row=name, seq=seq)
        elif stored_previous != previous and seq == expected:
            yield ChainFinding(kind="relinked", table=table, row=name, seq=seq)
        if table == "fills" and content_hash(economic_values(reading.fill_version(row).fill)) != reading.raw(row["content_hash"]):
            yield ChainFinding(kind="content", table=table, row=name, seq=seq, columns=("content_hash",))
        if table == "execution_actions" and row["superseded_at"] != following.get(f"{row['action_id']} v{row['version']}"):
            yield ChainFinding(kind="altered", table=table, row=name, seq=seq, columns=("superseded_at",))
        if seq in anchors:
            day, anchored = anchors[seq]
            if anchored == stored:
                good_anchor = seq
            else:
                span = f"{_span(good_anchor + 1, seq)}, anchor of {day}"
                yield ChainFinding(kind="relinked", table="chain_anchors", row=span, seq=seq)
        previous, expected = stored, max(seq, expected - 1) + 1
    if (head.seq, head.chain_head) != (expected - 1, previous):
        kind = "missing" if head.seq >= expected else "relinked"
        yield ChainFinding(kind=kind, table="books", row=_span(expected, head.seq), seq=expected)


def _next_recorded(tx: Tx, book_id: str) -> dict[str, str]:
    """When the version after ``<action_id> v<version>`` was recorded: what superseded_at has to say."""
    return {row["name"]: row["recorded_at"] for row in bookstore.next_versions(tx, book_id)}


def _span(first: int, last: int) -> str:
    return f"seq {first}" if first >= last else f"seq {first} to {last}"


def _name(table: str, row: Mapping[str, Any]) -> str:
    key = {"fills": "fill_id", "adjustments": "adjustment_id"}.get(table, "action_id")
    return f"{row[key]} v{row['version']}"


def _values(
    book_id: str, table: str, row: Mapping[str, Any], closings: Sequence[Mapping[str, Any]]
) -> tuple[Values, list[Values] | None]:
    if table == "fills":
        return FILLS.values(book_id, reading.fill_version(row)), None
    if table == "adjustments":
        return ADJUSTMENTS.values(book_id, reading.adjustment_version(row)), None
    version = reading.action_version(row, closings)
    return ACTIONS.values(book_id, version), _stored_closings(book_id, version, closings)


def _stored_closings(book_id: str, version: ActionVersion, closings: Sequence[Mapping[str, Any]]) -> list[Values]:
    """The closings as stored: their own times, not the action's."""
    rows = closing_rows(book_id, version)
    for values, closing in zip(rows, closings, strict=True):
        values[-2:] = [reading.stamp(closing["executed_at"]), reading.stamp(closing["recorded_at"])]
    return rows


def _with_columns(tx: Tx, book_id: str, findings: list[ChainFinding]) -> list[ChainFinding]:
    """Name the columns of altered actions that disagree with a rebuild; a journal row is its own witness."""
    wanted = {finding.row: finding for finding in findings if finding.kind == "altered" and not finding.columns}
    if not wanted:
        return findings
    try:
        differing = rebuild.differing_columns(tx, book_id, set(wanted))
    except (FillbookError, LookupError, ArithmeticError):
        return findings  # the journal itself was altered beyond folding: the rows are named, their columns cannot be
    return [
        finding
        if finding.columns or finding.row not in differing
        else ChainFinding(
            kind=finding.kind, table=finding.table, row=finding.row, seq=finding.seq, columns=differing[finding.row]
        )
        for finding in findings
    ]
