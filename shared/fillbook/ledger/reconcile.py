"""Use cases: compare a broker's statement with its book, keep the breaks, age and announce them. A reconciler never books.

``reconcile`` joins the transaction of the room that fetched the statement and comes **last** in it: it takes the book's
row, after which no instrument may be locked. Exactly once under duplicate, concurrent and reordered statements: the row
serializes reconcilers, a statement seen before on an unmoved book changes nothing, and a newer one has the last word on
what it spoke of. The same statement on a book that moved since is compared again, so a repair resolves its break at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from fillbook.ledger import bookstore, breaks, breakstore, matching, service
from fillbook.ledger.breaks import Step
from fillbook.ledger.causes import cause_of
from fillbook.ledger.matching import Comparison
from fillbook.ledger.model import BookHead
from fillbook.ledger.statement import NOTE_CHARACTERS_MAX, Break, Statement, check_statement
from fillbook.ledger.statement_json import read_statement
from fillbook.ledger.store import QUERIES
from fillbook.outbox.service import partitions_of
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import Conflict, Rejected
from fillbook.values import frozen

MATCHED, BREAKS, INCONCLUSIVE = "matched", "breaks", "inconclusive"
LISTED_MAX = 1_000


@frozen
class Reconciled:
    """What came of a statement. ``breaks`` are the open ones of its book afterwards, ``partitions`` the outbox's to relay.

    ``result`` is ``matched``, ``breaks`` (this statement disagrees) or ``inconclusive`` (with ``reason``); not ``is_new``:
    the same statement on the same book, nothing was written.
    """

    book_id: str
    source: str
    as_of: datetime
    result: str
    reason: str | None
    is_new: bool
    breaks: tuple[Break, ...] = ()
    found: int = 0
    resolved: int = 0
    partitions: tuple[int, ...] = ()


def reconcile(tx: Tx, statement: Statement, now: datetime) -> Reconciled:
    """Compare a statement with its book at ``statement.as_of`` and follow what that means for its breaks.

    Raises ``Rejected`` (``book_unknown``, ``book_not_reconciled``, a malformed line), ``Conflict('statement_differs')`` when
    the same source said something else of the same instant, ``Unavailable``. Writes ride with the commit.
    """
    head = bookstore.lock_book(tx, statement.book_id)
    checked = check_statement(statement, head.book)
    stored = breakstore.last_comparison(tx, checked)
    is_same = stored is not None and stored.facts_hash == breakstore.facts_hash(checked)
    if stored is not None and not is_same and stored.result != INCONCLUSIVE:
        raise Conflict("statement_differs", f"{checked.source} said something else of {checked.as_of.isoformat()}")
    reason = matching.inconclusive(checked, now)
    if stored is not None and is_same:
        knows_more = dict(checked.known_causes) != dict(stored.known_causes)
        moved = stored.result == INCONCLUSIVE or stored.book_seq != head.seq or knows_more
        if reason is not None or not moved:
            return _as_it_stands(tx, checked, stored)
    version = 1 if stored is None else stored.version + 1
    if reason is not None:
        document = breakstore.reconciliation_document(checked, head, now, version=version, result=INCONCLUSIVE, reason=reason)
        breakstore.write(tx, (), (), document)
        return _reconciled(checked, INCONCLUSIVE, reason=reason, rows=breakstore.breaks_of(tx, checked.book_id))
    return _compare(tx, head, checked, now, version)


def _compare(tx: Tx, head: BookHead, statement: Statement, now: datetime, version: int) -> Reconciled:
    book = breakstore.book_at(tx, head.book, statement)
    comparison = matching.compare(statement, book)
    found = comparison.findings
    seen = breakstore.evidence(tx, statement, found.values(), book)
    causes = {key: cause_of(finding, seen, statement.known_causes) for key, finding in found.items()}
    standing = breakstore.breaks_of(tx, statement.book_id, found)
    steps = breaks.follow(statement, comparison, causes, standing, book.overtaken, now, head.book.calendar)
    rows = _open_after(standing, steps)
    result = BREAKS if found else MATCHED
    resolved = sum(step.event == breaks.RESOLVED for step in steps)
    document = breakstore.reconciliation_document(
        statement,
        head,
        now,
        version=version,
        result=result,
        subjects=comparison.subjects,
        found=len(found),
        still_open=len(rows),
        resolved=resolved,
    )
    partitions = _write(tx, head, steps, document)
    return _reconciled(statement, result, is_new=True, rows=rows, comparison=comparison, resolved=resolved, partitions=partitions)


def reconcile_due(db: Database, now: datetime) -> dict[str, int]:
    """The daily run: compare the last day's statements with books that moved since, then age and announce every open break.

    One transaction a book, repeatable at any moment: a second run of the day finds nothing to do. Returns counts.
    """
    since = now - matching.STATEMENT_AGE_MAX
    with db.transaction(read_only=True) as tx:
        due = [row["book_id"] for row in tx.query(QUERIES["books_with_breaks"], since=since)]
    counts = {"books": len(due), "compared": 0, "found": 0, "resolved": 0, "told_again": 0}
    for book_id in due:
        for statement in _moved_statements(db, book_id, since):
            outcome = service.run(db, partial(reconcile, statement=statement, now=now))
            counts["compared"] += outcome.is_new
            counts["found"] += outcome.found if outcome.is_new else 0
            counts["resolved"] += outcome.resolved
        counts["told_again"] += service.run(db, partial(age_breaks, book_id=book_id, now=now))
    return counts


def _moved_statements(db: Database, book_id: str, since: datetime) -> list[Statement]:
    with db.transaction(read_only=True) as tx:
        head = bookstore.book_head(tx, book_id)
        rows = tx.query(QUERIES["statements_since"], book_id=book_id, since=since)
    moved = [read_statement(row["statement"]) for row in rows if row["book_seq"] != head.seq]
    return sorted(moved, key=lambda statement: (statement.as_of, statement.source))


def age_breaks(tx: Tx, book_id: str, now: datetime) -> int:
    """Give the open breaks of a book their age of today and announce those that became 2 or 5 sessions old; return how many."""
    head = bookstore.lock_book(tx, book_id)
    steps = breaks.age(breakstore.breaks_of(tx, book_id), now, head.book.calendar)
    _write(tx, head, steps, None)
    return sum(step.event is not None for step in steps)


def note(tx: Tx, book_id: str, break_id: str, text: str, now: datetime) -> Break:
    """Put an operator's note on a break, open or resolved. Raises ``Rejected`` (``break_unknown``, ``note_invalid``)."""
    if not text.strip() or len(text) > NOTE_CHARACTERS_MAX:
        raise Rejected("note_invalid", f"1 to {NOTE_CHARACTERS_MAX} characters", field="note")
    head = bookstore.lock_book(tx, book_id)
    row = breakstore.one_break(tx, book_id, break_id)
    if row is None:
        raise Rejected("break_unknown", field="break")
    step = breaks.noted(row, text.strip(), now)
    _write(tx, head, [step], None)
    return step.row


def list_breaks(tx: Tx, book_id: str | None, now: datetime, *, with_resolved: bool = False) -> list[Break]:
    """At most 1,000 breaks with their age of now: the open ones oldest first, then (``with_resolved``) the last resolved.

    Raises ``Rejected('book_unknown')``.
    """
    if book_id is not None:
        bookstore.book_head(tx, book_id)
    rows = tx.query(QUERIES["breaks"], book_id=book_id, with_resolved=with_resolved, rows_max=LISTED_MAX)
    return [breaks.of_today(breakstore.break_row(row["row"]), now, row["calendar"]) for row in rows]


def _write(tx: Tx, head: BookHead, steps: Sequence[Step], document: dict[str, object] | None) -> tuple[int, ...]:
    events = [event for step in steps if (event := breakstore.event_of(step, head)) is not None]
    breakstore.write(tx, steps, events, document)
    return partitions_of(events)


def _open_after(standing: Sequence[Break], steps: Sequence[Step]) -> list[Break]:
    rows = {row.key: row for row in standing} | {step.row.key: step.row for step in steps}
    return [row for row in rows.values() if row.resolved_at is None]


def _as_it_stands(tx: Tx, statement: Statement, stored: breakstore.Compared) -> Reconciled:
    rows = breakstore.breaks_of(tx, statement.book_id)
    return _reconciled(statement, stored.result, reason=stored.reason, is_new=False, rows=rows)


def _reconciled(
    statement: Statement,
    result: str,
    *,
    rows: Sequence[Break],
    reason: str | None = None,
    is_new: bool = True,
    comparison: Comparison | None = None,
    resolved: int = 0,
    partitions: tuple[int, ...] = (),
) -> Reconciled:
    return Reconciled(
        book_id=statement.book_id,
        source=statement.source,
        as_of=statement.as_of,
        result=result,
        reason=reason,
        is_new=is_new,
        breaks=tuple(sorted(rows, key=lambda row: (row.first_seen_at, row.break_id))),
        found=0 if comparison is None else len(comparison.findings),
        resolved=resolved,
        partitions=partitions,
    )
