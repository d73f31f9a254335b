"""What a reconciliation reads and writes: the book at an instant, evidence for causes, breaks with their history.

Callers hold the book's row lock, so that following statements see one state of the book and versions cannot race.
Nothing here judges: rows become values, steps become one document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID

from fillbook.ledger import reading
from fillbook.ledger.booking import InstrumentState, fold
from fillbook.ledger.breaks import Step
from fillbook.ledger.causes import CAUSES, Candidate, Candidates, Evidence
from fillbook.ledger.ids import event_id, instant_text
from fillbook.ledger.matching import MONEY_TOLERANCE, NOTHING, BookAt, Finding, Held, Moved
from fillbook.ledger.model import Adjustment, Book, BookHead, Direction, Fill, Key, Netting
from fillbook.ledger.statement import (
    POSITION_KINDS,
    Break,
    BreakKey,
    BreakKind,
    Statement,
    facts_document,
    statement_document,
)
from fillbook.ledger.store import QUERIES
from fillbook.ledger.words import REFOLD_FILLS_MAX
from fillbook.money import CONTEXT, ZERO, plain
from fillbook.outbox.model import Event
from fillbook.outbox.service import event_rows
from fillbook.runtime.db import Call, Tx
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.sql import encode
from fillbook.values import frozen

NEAR = timedelta(minutes=10)
CANDIDATES_MAX = 5_000
_SIGNS = {"BUY": 1, "SELL": -1}
_FIGURES = ("expected", "actual", "difference")
_SAME = ("ticker", "cause", "note", "source", "version", "episode", "sessions", "announced")


@frozen
class Compared:
    """The last comparison of a statement as it is stored."""

    version: int
    facts_hash: str
    known_causes: Mapping[str, str]
    result: str
    reason: str | None
    book_seq: int


def facts_hash(statement: Statement) -> str:
    """SHA-256 (hex) of what the broker said."""
    return hashlib.sha256(encode(facts_document(statement)).encode()).hexdigest()


# --- the book at an instant -------------------------------------------------------------------------------------------


def book_at(tx: Tx, book: Book, statement: Statement) -> BookAt:
    """The book as the statement meets it. Raises ``Unavailable('rebook_too_large')`` where splits need too long a fold."""
    period = {"book_id": book.book_id, "as_of": statement.as_of, "since": statement.since}
    first = tx.query(QUERIES["first_booked_at"], book_id=book.book_id)
    newer = tx.query(QUERIES["overtaken_subjects"], book_id=book.book_id, as_of=statement.as_of, source=statement.source)
    return BookAt(
        held=tuple(_held(tx, book, statement.as_of)),
        cash={row["currency"]: _moved(row) for row in tx.query(QUERIES["cash_moved"], **period)} if statement.cash else {},
        realized=_realized(tx.query(QUERIES["realized_in"], **period), book) if statement.realized else {},
        first_fill_at=first[0]["executed_at"] if first else None,
        overtaken=frozenset(row["subject"] for row in newer),
    )


def _held(tx: Tx, book: Book, as_of: datetime) -> list[Held]:
    rows = tx.query(QUERIES["positions_at"], book_id=book.book_id, as_of=as_of)
    folded = sorted({row["instrument"] for row in rows if row["must_fold"]})
    held = [_position(book, row) for row in rows if row["instrument"] not in folded]
    for instrument in folded:
        held += _folded(tx, book, instrument, as_of)
    return held


def _position(book: Book, row: Mapping[str, Any]) -> Held:
    direction = Direction(row["direction"])
    return Held(
        instrument=row["instrument"],
        ticker=row["ticker"],
        direction=direction if book.netting is Netting.HEDGE else None,
        currency=row["currency"],
        multiplier=row["multiplier"],
        quantity=row["quantity"] if direction is Direction.LONG else -row["quantity"],
        vwap=row["vwap"],
        cost_basis=row["cost_basis"],
    )


def _folded(tx: Tx, book: Book, instrument: str, as_of: datetime) -> list[Held]:
    """A split rounds each lot by itself, so where one lies behind and more came after, the lots are folded again."""
    asked = {"book_id": book.book_id, "instrument": instrument, "as_of": as_of}
    rows = tx.query(QUERIES["fills_until"], **asked, rows_max=REFOLD_FILLS_MAX + 1)
    if len(rows) > REFOLD_FILLS_MAX:
        raise Unavailable("rebook_too_large", f"more than {REFOLD_FILLS_MAX} fills of {instrument} to fold again")
    journal: list[Fill | Adjustment] = [reading.fill_version(row["row"]).fill for row in rows]
    journal += [reading.adjustment_version(row["row"]).adjustment for row in tx.query(QUERIES["splits_until"], **asked)]
    folded = fold(InstrumentState(book.netting, book.base_currency), sorted(journal, key=_key), book.lot_method)
    return [
        _position(
            book,
            {
                "instrument": instrument,
                "ticker": position.ticker,
                "direction": position.direction,
                "currency": position.currency,
                "multiplier": position.multiplier,
                "quantity": position.quantity_open,
                "vwap": position.vwap,
                "cost_basis": position.cost_basis,
            },
        )
        for position in folded.state.positions
    ]


def _key(entry: Fill | Adjustment) -> Key:
    """Booking order; a split at the same instant comes first."""
    return entry.key if isinstance(entry, Fill) else (entry.effective_at, "", "")


def _moved(row: Mapping[str, Any]) -> Moved:
    return Moved(gross=row["gross"], fees=row["fees"], unknown=int(row["unknown"]), executions=int(row["executions"]))


def _realized(rows: Sequence[Mapping[str, Any]], book: Book) -> dict[tuple[str, Direction | None, str], Moved]:
    """Per instrument (hedging: and direction), and of each currency as a whole under the empty instrument."""
    found: dict[tuple[str, Direction | None, str], Moved] = {}
    with localcontext(CONTEXT):
        for row in rows:
            direction = Direction(row["direction"]) if book.netting is Netting.HEDGE else None
            for key in ((row["instrument"], direction, row["currency"]), ("", None, row["currency"])):
                found[key] = _plus(found.get(key, NOTHING), _moved(row))
    return found


def _plus(left: Moved, right: Moved) -> Moved:
    return Moved(
        gross=None if left.gross is None or right.gross is None else left.gross + right.gross,
        fees=left.fees + right.fees,
        unknown=left.unknown + right.unknown,
        executions=left.executions + right.executions,
    )


# --- evidence ---------------------------------------------------------------------------------------------------------


def evidence(tx: Tx, statement: Statement, findings: Iterable[Finding], book: BookAt) -> Evidence:
    """What may explain the findings; nothing is read where nothing was found."""
    found = list(findings)
    if not found:
        return Evidence(as_of=statement.as_of)
    name = statement.book_id
    near = {"first_at": statement.as_of - NEAR, "last_at": statement.as_of + NEAR}
    parked = tx.query(QUERIES["parked_candidates"], book_id=name, rows_max=CANDIDATES_MAX)
    beside = tx.query(QUERIES["near_candidates"], book_id=name, rows_max=CANDIDATES_MAX, **near)
    return Evidence(
        as_of=statement.as_of,
        parked=Candidates(_parked(row) for row in parked),
        near=Candidates(_booked(row) for row in beside),
        twins=Candidates(_booked(row) for row in _twins(tx, statement, found)),
        first_fill_at=book.first_fill_at,
    )


def _twins(tx: Tx, statement: Statement, findings: Sequence[Finding]) -> list[Mapping[str, Any]]:
    fills, amounts = [], []
    for finding in findings:
        key = finding.key
        wanted = {"instrument": key.instrument, "direction": key.direction}
        if key.kind in POSITION_KINDS:
            fills.append({**wanted, "side": "SELL" if finding.gap > 0 else "BUY", "quantity": abs(finding.gap)})
        elif key.kind is not BreakKind.AVERAGE_PRICE:
            amounts.append({**wanted, "kind": key.kind, "currency": key.currency, "amount": -finding.gap})
    asked: dict[str, Any] = {"book_id": statement.book_id, "as_of": statement.as_of}
    rows: list[Mapping[str, Any]] = []
    if fills:
        rows += tx.query(QUERIES["twin_fills"], **asked, wanted=encode(fills))
    if amounts:
        rows += tx.query(
            QUERIES["twin_amounts"],
            **asked,
            since=statement.since,
            wanted=encode(amounts),
            tolerance=MONEY_TOLERANCE,
        )
    return rows


def _booked(row: Mapping[str, Any]) -> Candidate:
    return Candidate(
        instruments=frozenset({row["instrument"]}),
        direction=None if row["direction"] is None else Direction(row["direction"]),
        currency=row["currency"],
        quantity=_SIGNS[row["side"]] * row["quantity"],
        cash=row.get("cash_effect"),
        realized=row.get("realized_pnl"),
        executed_at=row["executed_at"],
    )


def _parked(row: Mapping[str, Any]) -> Candidate:
    """A parked fact moved cash at the broker all the same; what it realized there only its booking will tell."""
    sign, cash = _SIGNS[row["side"]], None
    has_fees = row["fees"] is not None and row["fees_currency"] in (None, row["currency"])
    if row["cash_style"] == "full" and row["multiplier"] is not None and (has_fees or not row["fees"]):
        with localcontext(CONTEXT):
            cash = -sign * row["quantity"] * row["price"] * row["multiplier"] - (row["fees"] or ZERO)
    return Candidate(
        instruments=frozenset(row["instruments"]),
        direction=None if row["direction"] is None else Direction(row["direction"]),
        currency=row["currency"],
        quantity=sign * row["quantity"],
        cash=cash,
        executed_at=row["executed_at"],
        is_revision=row["source_revision"] > 1,
    )


# --- breaks and reconciliations ---------------------------------------------------------------------------------------


def breaks_of(tx: Tx, book_id: str, keys: Iterable[BreakKey] = ()) -> list[Break]:
    """The open breaks of a book, and those of ``keys`` that were resolved."""
    ids = [key.break_id(book_id) for key in keys]
    rows = tx.query(QUERIES["breaks_of_book"], book_id=book_id, break_ids=ids)
    return [break_row(row["row"]) for row in rows]


def one_break(tx: Tx, book_id: str, break_id: str) -> Break | None:
    """One break by its id, or None."""
    rows = tx.query(QUERIES["one_break"], book_id=book_id, break_id=break_id)
    return break_row(rows[0]["row"]) if rows else None


def break_row(row: Mapping[str, Any]) -> Break:
    """A row of ``breaks``."""
    return Break(
        book_id=row["book_id"],
        key=BreakKey(
            kind=BreakKind(row["kind"]),
            instrument=row["instrument"],
            direction=None if row["direction"] is None else Direction(row["direction"]),
            currency=row["currency"],
        ),
        first_seen_at=reading.instant(row["first_seen_at"]),
        last_seen_at=reading.instant(row["last_seen_at"]),
        resolved_at=reading.optional_instant(row["resolved_at"]),
        updated_at=reading.instant(row["updated_at"]),
        **{name: row[name] for name in (*_FIGURES, *_SAME)},
    )


def last_comparison(tx: Tx, statement: Statement) -> Compared | None:
    """The last comparison of this statement (book, source, instant), or None."""
    asked = {"book_id": statement.book_id, "source": statement.source, "as_of": statement.as_of}
    rows = tx.query(QUERIES["reconciliation"], **asked)
    if not rows:
        return None
    row = rows[0]["row"]
    return Compared(
        version=row["version"],
        facts_hash=reading.raw(row["facts_hash"]).hex(),
        known_causes=row["statement"]["known_causes"],
        result=row["result"],
        reason=row["reason"],
        book_seq=row["book_seq"],
    )


def reconciliation_document(
    statement: Statement,
    head: BookHead,
    now: datetime,
    *,
    version: int,
    result: str,
    reason: str | None = None,
    subjects: Sequence[str] = (),
    found: int = 0,
    still_open: int = 0,
    resolved: int = 0,
) -> dict[str, Any]:
    """A row of ``reconciliations``."""
    return {
        "book_id": statement.book_id,
        "as_of": statement.as_of,
        "source": statement.source,
        "version": version,
        "recorded_at": now,
        "result": result,
        "reason": reason,
        "statement": statement_document(statement),
        "subjects": list(subjects),
        "facts_hash": facts_hash(statement),
        "breaks_found": found,
        "breaks_open": still_open,
        "breaks_resolved": resolved,
        "book_seq": head.seq,
    }


def write(tx: Tx, steps: Sequence[Step], events: Sequence[Event], reconciliation: Mapping[str, Any] | None = None) -> None:
    """Write steps, their history and events as one document; it rides with the next message or the commit."""
    if not steps and reconciliation is None:
        return
    document: dict[str, Any] = {
        "breaks": [_document(step.row, "updated_at") for step in steps],
        "history": [_document(step.row, "recorded_at") for step in steps if step.is_news],
    }
    if reconciliation is not None:
        document["reconciliation"] = reconciliation
    if events:
        document["events"] = event_rows(events)
    tx.send(Call("ledger.follow_breaks", document))


def _document(row: Break, recorded: str) -> dict[str, Any]:
    return {
        "book_id": row.book_id,
        "break_id": row.break_id,
        "kind": row.key.kind,
        "instrument": row.key.instrument,
        "direction": row.key.direction,
        "currency": row.key.currency,
        "first_seen_at": row.first_seen_at,
        "last_seen_at": row.last_seen_at,
        "resolved_at": row.resolved_at,
        recorded: row.updated_at,
        **{name: getattr(row, name) for name in (*_FIGURES, *_SAME)},
    }


def event_of(step: Step, head: BookHead) -> Event | None:
    """What a step announces, ordered with the executions of its instrument; None when nothing."""
    if step.event is None:
        return None
    row = step.row
    subject = row.key.instrument or f"cash/{row.key.currency}"
    data: dict[str, Any] = {
        "break_id": row.break_id,
        "kind": row.key.kind,
        "instrument_id": row.key.instrument or None,
        "ticker": row.ticker,
        "direction": row.key.direction,
        "currency": row.key.currency,
        **{name: _plain(getattr(row, name)) for name in _FIGURES},
        "cause": row.cause,
        "meaning": CAUSES.get(row.cause),
        "sessions": row.sessions,
        "episode": row.episode,
        "first_seen_at": instant_text(row.first_seen_at),
        "last_seen_at": instant_text(row.last_seen_at),
        "resolved_at": row.resolved_at and instant_text(row.resolved_at),
        "note": row.note,
        "source": row.source,
    }
    return Event(
        event_id=UUID(event_id(row.book_id, step.event, row.break_id, row.version)),
        event_type=step.event,
        book_id=row.book_id,
        aggregate_key=f"{row.book_id}/{subject}",
        aggregate_version=head.seq,
        occurred_at=row.updated_at,
        recorded_at=row.updated_at,
        data=data,
    )


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)
