"""The proof of a book: sixteen invariants, each able to fail on its own, and the daily anchor of its chain.

Invariants 1-12 and 15 are statements that return violations (``queries.sql``); 13 and 14 walk the chain, and 16 folds the
journal again, in one pass over its rows. All of them read one snapshot, so an audit beside a working desk neither blocks
nor misjudges it. Exit codes: 0 clean, else 20 + the lowest number that failed. Source: ledger specification, 10.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any
from uuid import UUID

from fillbook.calendar import NEW_YORK, CalendarError, calendar
from fillbook.ledger import bookstore, rebuild
from fillbook.ledger.ids import event_id, instant_text
from fillbook.ledger.model import BookHead
from fillbook.ledger.reading import Row
from fillbook.ledger.rebuild import Comparison
from fillbook.ledger.store import QUERIES
from fillbook.ledger.verification import ChainRow, verify_in
from fillbook.ledger.words import INVARIANTS
from fillbook.outbox.model import Event
from fillbook.outbox.service import enqueue
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import FillbookError, Unavailable
from fillbook.runtime.sql import encode
from fillbook.values import frozen

STATEMENTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15)
CHAIN, CONTENT, ANNOUNCED, REBUILD = 13, 14, 15, 16
EXIT_BASE = 20
ANNOUNCED_DAYS = 6
FINDINGS_MAX = 100
FINDINGS_TOLD = 10
_CANNOT_FOLD = (FillbookError, LookupError, ArithmeticError)


@frozen
class Finding:
    """One violation: the invariant's number, the ids it names, and what is wrong."""

    invariant: int
    ids: str
    detail: str


@frozen
class Audit:
    """What an audit of one book found. ``warnings`` (kind, ids, detail) change no exit code."""

    book_id: str
    ran_at: datetime
    seq: int
    findings: tuple[Finding, ...]
    warnings: tuple[tuple[str, str, str], ...]

    @property
    def exit(self) -> int:
        """0 when clean, else 20 + the lowest failing invariant."""
        return EXIT_BASE + min(finding.invariant for finding in self.findings) if self.findings else 0

    def document(self) -> dict[str, Any]:
        """The audit as JSON-able values, as it is stored and printed."""
        return {
            "book_id": self.book_id,
            "ran_at": instant_text(self.ran_at),
            "seq": self.seq,
            "exit": self.exit,
            "findings": [
                {
                    "invariant": finding.invariant,
                    "name": INVARIANTS[finding.invariant],
                    "ids": finding.ids,
                    "detail": finding.detail,
                }
                for finding in self.findings
            ],
            "warnings": [{"kind": kind, "ids": ids, "detail": detail} for kind, ids, detail in self.warnings],
        }


@cache
def code_version() -> str:
    """Digest of this room's code: what folded the book that was audited."""
    digest = hashlib.sha256()
    for entry in sorted(files("fillbook.ledger").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith((".py", ".sql")):
            digest.update(entry.name.encode() + b"\0" + entry.read_bytes())
    return digest.hexdigest()[:16]


def audit(db: Database, book_id: str, now: datetime) -> Audit:
    """Audit one book in one snapshot; nothing is stored. Raises ``Rejected('book_unknown')``, ``Unavailable``."""
    with db.transaction(read_only=True, isolation="repeatable read") as tx:
        head = bookstore.book_head(tx, book_id)
        findings: list[Finding] = []
        for number in STATEMENTS:
            params = {"since": now - timedelta(days=ANNOUNCED_DAYS)} if number == ANNOUNCED else {}
            rows = tx.query(QUERIES[f"audit_{number:02}"], book_id=book_id, **params)
            findings += [Finding(invariant=number, ids=row["ids"], detail=row["detail"]) for row in rows]
        findings += _walked(tx, head)
        return Audit(
            book_id=book_id,
            ran_at=now,
            seq=head.seq,
            findings=tuple(sorted(findings, key=lambda finding: finding.invariant)[:FINDINGS_MAX]),
            warnings=tuple(_warnings(tx, book_id, head.book.calendar, now)),
        )


def audit_due(db: Database, now: datetime) -> list[dict[str, Any]]:
    """Audit every book with rows that no audit has seen; store, announce and anchor. Returns the audits as documents."""
    with db.transaction(read_only=True) as tx:
        due = [row["book_id"] for row in tx.query(QUERIES["audits_due"])]
    return [keep(db, audit(db, book_id, now)) for book_id in due]


def keep(db: Database, result: Audit) -> dict[str, Any]:
    """Store an audit; announce a failure; anchor the chain unless it is the chain that failed. Returns the document."""

    def store(tx: Tx) -> None:
        bookstore.lock_book(tx, result.book_id)
        document = result.document()
        found = {"findings": document["findings"], "warnings": document["warnings"]}
        tx.execute(
            QUERIES["store_audit"],
            book_id=result.book_id,
            ran_at=result.ran_at,
            exit=result.exit,
            findings=encode(found),
            seq=result.seq,
            code_version=code_version(),
        )
        if result.exit and not result.book_id.startswith("replay:"):
            enqueue(tx, [_failed(result)])

    db.run(store)
    if not any(finding.invariant == CHAIN for finding in result.findings):
        anchor(db, result.book_id, result.ran_at)
    return result.document()


def anchor(db: Database, book_id: str, now: datetime) -> bool:
    """Store and announce the chain's end, once a New York day; False when the day has its anchor already."""

    def store(tx: Tx) -> bool:
        head = bookstore.lock_book(tx, book_id)
        day = now.astimezone(NEW_YORK).date()
        is_new = tx.execute(
            QUERIES["store_anchor"],
            book_id=book_id,
            anchored_on=day,
            seq=head.seq,
            chain_head=head.chain_head,
            recorded_at=now,
        )
        if is_new and head.book.kind != "replay":
            enqueue(tx, [_anchored(book_id, day, head.seq, head.chain_head, now)])
        return bool(is_new)

    return db.run(store)


class _Folding:
    """The journal folded beside the walk of the chain, until it cannot be."""

    def __init__(self, head: BookHead) -> None:
        self._book_id = head.book.book_id
        self._comparison = Comparison(head)
        self._failure: str | None = None

    def row(self, chained: ChainRow, row: Row) -> None:
        """The next row of the chain."""
        if self._failure is None:
            try:
                if chained.closings is None:
                    self._comparison.journal(rebuild.journal_row(chained.table, row))
                else:
                    self._comparison.history(chained.values, chained.closings, chained.superseded_at)
            except _CANNOT_FOLD as error:
                self._failure = type(error).__name__

    def findings(self, tx: Tx) -> list[Finding]:
        """What differs, once every row was seen."""
        differences: tuple[rebuild.Difference, ...] = ()
        try:
            if self._failure is None:
                differences = self._comparison.result(tx).differences
        except Unavailable:
            raise
        except _CANNOT_FOLD as error:
            self._failure = type(error).__name__
        if self._failure is not None:
            return [Finding(invariant=REBUILD, ids=self._book_id, detail=f"the journal cannot be folded: {self._failure}")]
        return [
            Finding(invariant=REBUILD, ids=difference.row, detail=f"{difference.table}: {', '.join(difference.columns)}")
            for difference in differences
        ]


def _walked(tx: Tx, head: BookHead) -> Iterator[Finding]:
    """Invariants 13, 14 and 16: every row of journal and history is read once, hashed, and folded or compared."""
    folding = _Folding(head)
    with rebuild.uncollected():
        for broken in verify_in(tx, head.book.book_id, folding.row):
            number = CONTENT if broken.kind == "content" else CHAIN
            yield Finding(invariant=number, ids=broken.row, detail=str(broken))
        yield from folding.findings(tx)


def _warnings(tx: Tx, book_id: str, market: str, now: datetime) -> Sequence[tuple[str, str, str]]:
    """Sessions are counted by the book's calendar; outside its table nothing is warned of."""
    try:
        last = calendar(market).last_finished(now)
        before = calendar(market).previous_session(last.date)
    except CalendarError:
        return ()
    rows = tx.query(
        QUERIES["audit_warnings"],
        book_id=book_id,
        marks_since=before.open_at,
        parked_since=last.open_at,
        fees_since=before.open_at,
    )
    return [(row["kind"], row["ids"], row["detail"]) for row in rows]


def _failed(result: Audit) -> Event:
    failed = sorted({finding.invariant for finding in result.findings})
    document = result.document()
    data = {
        "exit": result.exit,
        "ran_at": document["ran_at"],
        "seq": result.seq,
        "invariants": [f"{number} {INVARIANTS[number]}" for number in failed],
        "findings_count": len(result.findings),
        "findings": document["findings"][:FINDINGS_TOLD],
    }
    return _event(result.book_id, "audit_failed", document["ran_at"], result.seq, result.ran_at, data)


def _anchored(book_id: str, day: date, seq: int, chain_head: bytes, now: datetime) -> Event:
    data = {"anchored_on": day.isoformat(), "seq": seq, "chain_head": chain_head.hex()}
    return _event(book_id, "ledger_anchored", day.isoformat(), seq, now, data)


def _event(book_id: str, event_type: str, subject: str, seq: int, now: datetime, data: Mapping[str, Any]) -> Event:
    return Event(
        event_id=UUID(event_id(book_id, event_type, subject, 1)),
        event_type=event_type,
        book_id=book_id,
        aggregate_key=f"{book_id}/audit",
        aggregate_version=seq,
        occurred_at=now,
        recorded_at=now,
        data=data,
    )
