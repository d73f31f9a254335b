"""The operator's verbs about breaks: compare a statement from a file, list breaks with cause and age, note one.

Each verb returns its exit code and the lines it says; ``__main__`` prints them. Exit of ``reconcile``: 0 the statement
agrees, 3 it proves nothing (incomplete, too old, another account), 4 it disagrees; the same numbers as every other verb.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from fillbook.ledger import reconcile, service
from fillbook.ledger.causes import CAUSES
from fillbook.ledger.ids import instant_text
from fillbook.ledger.statement import Break
from fillbook.ledger.statement_json import STATEMENT_BYTES_MAX, read_statement
from fillbook.money import plain
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import encode

AGREES, PROVES_NOTHING, DISAGREES = 0, 3, 4
_EXITS: Mapping[str, int] = {
    reconcile.MATCHED: AGREES,
    reconcile.INCONCLUSIVE: PROVES_NOTHING,
    reconcile.BREAKS: DISAGREES,
}

Said = tuple[int, list[str]]
Verb = Callable[[Database, argparse.Namespace, datetime], Said]


class _Verbs(Protocol):
    """What ``add_subparsers`` returns, as far as it is needed."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser:  # noqa: A002 -- argparse's own word
        """Add one verb."""
        ...


def add_verbs(verbs: _Verbs) -> None:
    """Declare ``reconcile``, ``breaks`` and ``note``."""
    compared = verbs.add_parser("reconcile", help="a broker's statement against its book")
    compared.add_argument("--book", required=True)
    compared.add_argument("--statement", required=True, metavar="FILE.json", help="- reads standard input")
    compared.add_argument("--json", action="store_true", help="one JSON document")
    listed = verbs.add_parser("breaks", help="differences to the brokers, with cause and age")
    listed.add_argument("--book", help="one book; all when left out")
    listed.add_argument("--all", action="store_true", help="resolved ones too")
    listed.add_argument("--json", action="store_true", help="one JSON document a break")
    noted = verbs.add_parser("note", help="a note on a break")
    noted.add_argument("--book", required=True)
    noted.add_argument("--break", required=True, dest="break_id", metavar="BREAK_ID")
    noted.add_argument("--note", required=True, metavar="TEXT")


def _reconcile(db: Database, options: argparse.Namespace, now: datetime) -> Said:
    statement = read_statement(_text(options.statement))
    if statement.book_id != options.book:
        raise Rejected("book_differs", f"the statement is of {statement.book_id}", field="book")
    outcome = service.run(db, partial(reconcile.reconcile, statement=statement, now=now))
    code = _EXITS[outcome.result]
    if options.json:
        return code, [encode(_outcome(outcome))]
    told = outcome.result if outcome.reason is None else f"{outcome.result} ({outcome.reason})"
    again = "" if outcome.is_new else "; compared before, nothing changed"
    head = f"{outcome.book_id}: {told} at {instant_text(outcome.as_of)}; open {len(outcome.breaks)}, "
    return code, [f"{head}resolved {outcome.resolved}{again}", *(f"  {_line(row)}" for row in outcome.breaks)]


def _breaks(db: Database, options: argparse.Namespace, now: datetime) -> Said:
    with db.transaction(read_only=True) as tx:
        rows = reconcile.list_breaks(tx, options.book, now, with_resolved=options.all)
    if options.json:
        return AGREES, [encode(document(row)) for row in rows]
    return AGREES, [f"{row.book_id}: {_line(row)}" for row in rows] or ["no break"]


def _note(db: Database, options: argparse.Namespace, now: datetime) -> Said:
    row = service.run(db, partial(reconcile.note, book_id=options.book, break_id=options.break_id, text=options.note, now=now))
    return AGREES, [f"{row.book_id}: {_line(row)}"]


VERBS: Mapping[str, Verb] = {"reconcile": _reconcile, "breaks": _breaks, "note": _note}


def _text(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read(STATEMENT_BYTES_MAX + 1)
    try:
        with Path(name).open("rb") as file:
            return file.read(STATEMENT_BYTES_MAX + 1)
    except OSError as error:
        raise Rejected("file_unreadable", type(error).__name__, field="statement") from error


def _outcome(outcome: reconcile.Reconciled) -> dict[str, Any]:
    return {
        "book_id": outcome.book_id,
        "source": outcome.source,
        "as_of": instant_text(outcome.as_of),
        "result": outcome.result,
        "reason": outcome.reason,
        "is_new": outcome.is_new,
        "found": outcome.found,
        "resolved": outcome.resolved,
        "breaks": [document(row) for row in outcome.breaks],
    }


def document(row: Break) -> dict[str, Any]:
    """A break as JSON-able values."""
    return {
        "book_id": row.book_id,
        "break_id": row.break_id,
        "kind": row.key.kind,
        "instrument": row.key.instrument,
        "ticker": row.ticker,
        "direction": row.key.direction,
        "currency": row.key.currency,
        "expected": row.expected,
        "actual": row.actual,
        "difference": row.difference,
        "cause": row.cause,
        "sessions": row.sessions,
        "episode": row.episode,
        "first_seen_at": instant_text(row.first_seen_at),
        "last_seen_at": instant_text(row.last_seen_at),
        "resolved_at": row.resolved_at and instant_text(row.resolved_at),
        "source": row.source,
        "note": row.note,
    }


def _line(row: Break) -> str:
    """One break in a line: age, kind, subject, figures, cause in plain words, note, id."""
    age = "resolved" if row.resolved_at is not None else f"{row.sessions} session{'' if row.sessions == 1 else 's'} old"
    what = " ".join(part for part in (row.ticker, row.key.direction, row.key.currency) if part and part != row.key.currency)
    subject = f"{what} {row.key.currency}".strip()
    figures = f"book {_number(row.expected)}, broker {_number(row.actual)}, difference {_number(row.difference)}"
    meaning = f" ({CAUSES[row.cause]})" if row.cause in CAUSES else ""
    note = f"; note: {row.note}" if row.note else ""
    return f"{age}, {row.key.kind.value} {subject}: {figures}; {row.cause}{meaning}{note} [{row.break_id}]"


def _number(value: Any) -> str:
    return "unknown" if value is None else plain(value)
