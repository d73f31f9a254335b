"""What proves a book: its last audit with every invariant, the differences to its broker that are open, the last comparisons with
it, and the anchors of its chain. Source: tracker.md 3; ledger specification, 10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from fillbook.ledger.words import INVARIANTS
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.sql import load_queries
from fillbook.tracker import store
from fillbook.tracker.auditing_model import Audits, BookAudit, Invariant
from fillbook.tracker.model import refused, single
from fillbook.tracker.route import Given, Parameter, Route, Source, names
from fillbook.tracker.store import Row
from fillbook.tracker.wire import answer, instants, text

QUERIES: Final = load_queries("fillbook.tracker", "auditing.sql")
BREAKS_MAX: Final = 1_000
COMPARISONS_MAX: Final = 20
ANCHORS_MAX: Final = 10
BOOK_LENGTH_MAX: Final = 128
BOOK: Final = Parameter(
    name="book_id",
    schema={"type": "string", "minLength": 1, "maxLength": BOOK_LENGTH_MAX, "examples": ["live", "ibkr:U1"]},
    purpose="One book alone; every book of the key except replays when left out.",
)
PARAMETERS: Final = names((BOOK,))


def audit(db: Database, key: DeskKey, given: Given, now: datetime) -> Audits:
    """Per book the last audit, comparisons and anchors; open differences by kind, cause and age, and one by one."""
    book_id = single(given, PARAMETERS).get("book_id")
    if book_id is not None and not (0 < len(book_id) <= BOOK_LENGTH_MAX and book_id.isprintable()):
        raise refused("book_id")
    with store.look(db, key, None if book_id is None else [book_id]) as seen:
        audits = {row["book_id"]: row for row in seen.tx.query(QUERIES["audits"], books=seen.book_ids)}
        compared = seen.tx.query(QUERIES["reconciliations"], books=seen.book_ids, limit=COMPARISONS_MAX)
        anchors = seen.tx.query(QUERIES["anchors"], books=seen.book_ids, limit=ANCHORS_MAX)
        groups = seen.tx.query(QUERIES["break_groups"], books=seen.book_ids)
        breaks = seen.tx.query(QUERIES["breaks"], books=seen.book_ids, limit=BREAKS_MAX + 1)
    books = [_book(name, audits.get(name), compared, anchors) for name in sorted(seen.books)]
    found = answer(
        now,
        max((row["ran_at"] for row in audits.values()), default=None),
        seen.books,
        count=len(books),
        has_more=len(breaks) > BREAKS_MAX,
        audits=books,
        break_groups=[_group(row) for row in groups],
        breaks=[_break(row) for row in breaks[:BREAKS_MAX]],
    )
    return cast("Audits", found)


def _book(book_id: str, last: Row | None, compared: Sequence[Row], anchors: Sequence[Row]) -> BookAudit:
    found = {} if last is None else last["findings"]
    comparisons = [_compared(row) for row in compared if row["book_id"] == book_id]
    told = {
        "book_id": book_id,
        "exit": None if last is None else last["exit"],
        **instants("ran", None if last is None else last["ran_at"]),
        "seq": None if last is None else last["seq"],
        "code_version": None if last is None else last["code_version"],
        "invariants": _invariants(None if last is None else found),
        "findings": list(found.get("findings", ())),
        "warnings": list(found.get("warnings", ())),
        "reconciliation": comparisons[0] if comparisons else None,
        "reconciliations": comparisons,
        "chain_anchors": [_anchor(row) for row in anchors if row["book_id"] == book_id],
    }
    return cast("BookAudit", told)


def _invariants(found: Mapping[str, Any] | None) -> list[Invariant]:
    """Every invariant with whether the last audit found it held; None: there was none yet."""
    counts: dict[int, int] = {}
    for finding in () if found is None else found.get("findings", ()):
        counts[finding["invariant"]] = counts.get(finding["invariant"], 0) + 1
    return [
        {
            "number": number,
            "name": name,
            "state": "unknown" if found is None else "violated" if number in counts else "held",
            "findings": counts.get(number, 0),
        }
        for number, name in INVARIANTS.items()
    ]


def _compared(row: Row) -> dict[str, Any]:
    plain = ("source", "version", "result", "reason", "breaks_found", "breaks_open", "breaks_resolved")
    return {
        **instants("as_of", row["as_of"]),
        **instants("recorded", row["recorded_at"]),
        **{name: row[name] for name in plain},
    }


def _anchor(row: Row) -> dict[str, Any]:
    return {
        "anchored_on": row["anchored_on"].isoformat(),
        "seq": row["seq"],
        "chain_head": row["chain_head"],
        **instants("recorded", row["recorded_at"]),
    }


def _group(row: Row) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("book_id", "kind", "cause", "age", "count")},
        **instants("oldest", row["oldest_at"]),
    }


def _break(row: Row) -> dict[str, Any]:
    plain = "book_id kind instrument ticker direction currency cause note sessions".split()
    return {
        "break_id": str(row["break_id"]),
        **{name: row[name] for name in plain},
        **{name: text(row[name]) for name in ("expected", "actual", "difference")},
        **instants("first_seen", row["first_seen_at"]),
        **instants("last_seen", row["last_seen_at"]),
    }


ROUTES: Final = (
    Route(
        path="/timed/audit",
        purpose="What proves each book: audit, open differences, comparisons with the broker, anchors of the chain.",
        use_case=audit,
        answer=Audits,
        parameters=(BOOK,),
        sources=frozenset({Source.LEDGER, Source.MINUTE}),
    ),
)
