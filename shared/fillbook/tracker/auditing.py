"""What proves a book: its last audit, the differences to its broker that are open, and the last comparison with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.tracker import store
from fillbook.tracker.model import refused, single
from fillbook.tracker.wire import answer, instants, text

PARAMETERS = frozenset({"book_id"})
BREAKS_MAX = 1_000
BOOK_LENGTH_MAX = 128


def audit(db: Database, key: DeskKey, given: Mapping[str, list[str]], now: datetime) -> dict[str, Any]:
    """Per book the last audit with its findings and the last reconciliation; open breaks, oldest first."""
    one = single(given, PARAMETERS)
    book_id = one.get("book_id")
    if book_id is not None and not (0 < len(book_id) <= BOOK_LENGTH_MAX and book_id.isprintable()):
        raise refused("book_id")
    with store.look(db, key, None if book_id is None else [book_id]) as seen:
        audits = {row["book_id"]: row for row in seen.rows("audit_findings")}
        matched = {row["book_id"]: row for row in seen.rows("last_reconciliations")}
        breaks = seen.rows("breaks", limit=BREAKS_MAX + 1)
    books = [_book(name, audits.get(name), matched.get(name)) for name in sorted(seen.books)]
    return answer(
        now,
        max((row["ran_at"] for row in audits.values()), default=None),
        seen.books,
        count=len(books),
        has_more=len(breaks) > BREAKS_MAX,
        audits=books,
        breaks=[_break(row) for row in breaks[:BREAKS_MAX]],
    )


def _book(book_id: str, last: Mapping[str, Any] | None, matched: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "book_id": book_id,
        "exit": None if last is None else last["exit"],
        "findings": [] if last is None else last["findings"],
        **instants("ran", None if last is None else last["ran_at"]),
        "reconciliation": None
        if matched is None
        else {
            "result": matched["result"],
            "source": matched["source"],
            "breaks_open": matched["breaks_open"],
            **instants("as_of", matched["as_of"]),
        },
    }


def _break(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "break_id": row["break_id"],
        "book_id": row["book_id"],
        "kind": row["kind"],
        "instrument": row["instrument"],
        "ticker": row["ticker"],
        "direction": row["direction"],
        "currency": row["currency"],
        "expected": text(row["expected"]),
        "actual": text(row["actual"]),
        "difference": text(row["difference"]),
        "cause": row["cause"],
        "note": row["note"],
        "sessions": row["sessions"],
        **instants("first_seen", row["first_seen_at"]),
        **instants("last_seen", row["last_seen_at"]),
    }
