"""Is the chain of a book what it was? Names the first rows that are not, and how they were changed.

``altered``: a row's own hash no longer fits its columns · ``missing``: a seq is not there · ``relinked``: the hashes fit but a
link, the book's head or an anchor that was posted does not · ``content``: a fill's economic columns do not give its
content hash. A chain can be recomputed to the end by who may write; the anchors cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from fillbook.ledger import bookstore, reading, rebuild, stored
from fillbook.ledger.chain import content_hash, genesis, row_hash
from fillbook.ledger.columns import ACTIONS, ADJUSTMENTS, ECONOMIC, FILLS, Values
from fillbook.ledger.reading import Row
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import FillbookError
from fillbook.values import frozen

FINDINGS_MAX = 100
_SEQ = {table.name: table.names.index("seq") for table in (FILLS, ADJUSTMENTS, ACTIONS)}
_CONTENT_HASH = FILLS.names.index("content_hash")
_ECONOMIC = [FILLS.names.index(name) for name in ECONOMIC.names[1:]]


@frozen
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


@frozen
class Chain:
    """What a chain has to come to: its length and head, the anchors as seq -> (day, head), and ``following``, which says
    when the version after ``<action_id> v<version>`` was recorded.
    """

    book_id: str
    seq: int
    head: bytes
    anchors: Mapping[int, tuple[str, bytes]]
    following: Mapping[str, str]


@frozen
class ChainRow:
    """A row of journal or history: its canonical values (an action's closings too), and the hashes it carries."""

    table: str
    values: Values
    closings: list[Values] | None
    prev_hash: bytes
    row_hash: bytes
    superseded_at: str | None = None

    @property
    def seq(self) -> int:
        """Its place in the chain."""
        found: int = self.values[_SEQ[self.table]]
        return found

    @property
    def name(self) -> str:
        """``<id> v<version>``."""
        return f"{self.values[1]} v{self.values[2]}"

    @property
    def hashed(self) -> Values:
        """What its hash covers besides the hash before it."""
        return self.values if self.closings is None else [*self.values, self.closings]

    def finding(self, kind: str, *columns: str) -> ChainFinding:
        """This row, found wanting."""
        return ChainFinding(kind=kind, table=self.table, row=self.name, seq=self.seq, columns=columns)


def verify(db: Database, book_id: str) -> list[ChainFinding]:
    """The findings of a book's chain in seq order, at most 100, read in one snapshot; empty when it is whole."""
    with db.transaction(read_only=True, isolation="repeatable read") as tx:
        return verify_in(tx, book_id)


def verify_in(tx: Tx, book_id: str, each: Callable[[ChainRow, Row], object] = lambda *_: None) -> list[ChainFinding]:
    """As ``verify``, inside the caller's snapshot; ``each`` is shown every row of the chain, in canonical form and as stored."""

    def rows() -> Iterator[ChainRow]:
        for table, row, closings in bookstore.raw_rows(tx, book_id):
            chained = chain_row(table, row, closings)
            each(chained, row)
            yield chained

    read = rows()
    findings = list(islice(walk_chain(_chain(tx, book_id), read), FINDINGS_MAX))
    for _ in read:  # what breaks the chain no longer counts, but the rows are shown to their end
        pass
    return _with_columns(tx, book_id, findings)


def _chain(tx: Tx, book_id: str) -> Chain:
    head = bookstore.book_head(tx, book_id)
    return Chain(
        book_id=book_id,
        seq=head.seq,
        head=head.chain_head,
        anchors={seq: (str(day), chain_head) for day, seq, chain_head in bookstore.anchors(tx, book_id)},
        following={row["name"]: stored.instant_of(row["recorded_at"]) for row in bookstore.next_versions(tx, book_id)},
    )


def walk_chain(chain: Chain, rows: Iterable[ChainRow]) -> Iterator[ChainFinding]:
    """Follow the rows, which come in seq order, from the genesis to the head; yield what breaks the chain."""
    previous, expected, good_anchor = genesis(chain.book_id), 1, 0
    for row in rows:
        if row.seq != expected:
            kind, last = ("missing", row.seq - 1) if row.seq > expected else ("doubled", row.seq)
            yield ChainFinding(kind=kind, table="journal or history", row=_span(expected, last), seq=expected)
        if row_hash(row.prev_hash, row.hashed) != row.row_hash:
            yield row.finding("altered")
        elif row.prev_hash != previous and row.seq == expected:
            yield row.finding("relinked")
        if row.table == FILLS.name and content_hash(_economic(row.values)) != bytes.fromhex(row.values[_CONTENT_HASH]):
            yield row.finding("content", "content_hash")
        if row.table == ACTIONS.name and row.superseded_at != chain.following.get(row.name):
            yield row.finding("altered", "superseded_at")
        if row.seq in chain.anchors:
            day, anchored = chain.anchors[row.seq]
            if anchored == row.row_hash:
                good_anchor = row.seq
            else:
                span = f"{_span(good_anchor + 1, row.seq)}, anchor of {day}"
                yield ChainFinding(kind="relinked", table="chain_anchors", row=span, seq=row.seq)
        previous, expected = row.row_hash, max(row.seq, expected - 1) + 1
    if (chain.seq, chain.head) != (expected - 1, previous):
        kind = "missing" if chain.seq >= expected else "relinked"
        yield ChainFinding(kind=kind, table="books", row=_span(expected, chain.seq), seq=expected)


def chain_row(table: str, row: Mapping[str, Any], closings: Sequence[Mapping[str, Any]]) -> ChainRow:
    """A stored row of journal or history, with its canonical values."""
    superseded = row.get("superseded_at")
    return ChainRow(
        table=table,
        values=stored.CHAINED[table](row),
        closings=stored.read_closings(closings) if table == ACTIONS.name else None,
        prev_hash=reading.raw(row["prev_hash"]),
        row_hash=reading.raw(row["row_hash"]),
        superseded_at=None if superseded is None else stored.instant_of(superseded),
    )


def _economic(values: Values) -> Values:
    return [values[index] for index in _ECONOMIC]


def _span(first: int, last: int) -> str:
    return f"seq {first}" if first >= last else f"seq {first} to {last}"


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
