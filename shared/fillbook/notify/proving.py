"""Reading for the proof: the next subjects with everything known of them, one message, and the copies nobody knows of.

Only reads and the deletion of copies happen here, each through ``talk`` and so paced, leased and logged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fillbook.notify.answers import Verdict
from fillbook.notify.execution import Execution, Telling, from_row
from fillbook.notify.judging import Subject
from fillbook.notify.model import Operation, Request, Row
from fillbook.notify.routing import is_told
from fillbook.notify.rows import rows_of
from fillbook.notify.runs import Run
from fillbook.notify.talk import Talk
from fillbook.runtime.db import Call, Database, Tx
from fillbook.runtime.sql import load_queries
from fillbook.values import frozen

PAGE_ROWS = 40
READ_WAITS = (timedelta(0), timedelta(seconds=5), timedelta(seconds=30))
"""Waits before the tries of one read; then the message is unverifiable in this run."""

QUERIES = load_queries("fillbook.notify")


class Postponed(Exception):
    """Patience or the reads of a tick are used up; the run continues at its cursor."""


@frozen
class Fetched:
    """What reading a message gave: the document, or that it is gone, or why it could not be read."""

    document: Mapping[str, Any] | None = None
    is_gone: bool = False
    problem: str | None = None


def books_of(tx: Tx, patterns: Sequence[str]) -> list[dict[str, Any]]:
    """Return the books that are told, with the number of their last row."""
    return [row for row in tx.query(QUERIES["books"]) if is_told(row["book_id"], patterns)]


def next_subjects(db: Database, run: Run, patterns: Sequence[str]) -> list[Subject]:
    """Return the next page of a run after its cursor, in the order of (executed_at, subject)."""
    with db.transaction(isolation="repeatable read", read_only=True) as tx:
        books = [row["book_id"] for row in books_of(tx, patterns)]
        page = tx.query(
            QUERIES["page"],
            books=books,
            since=run.since,
            until=run.until,
            cursor_at=run.cursor_at,
            cursor_key=run.cursor_key,
            channel_id=run.channel_id,
            rows_max=PAGE_ROWS,
        )
        return _subjects(tx, run.channel_id, page)


def subjects_again(db: Database, channel_id: str, subjects: Sequence[Subject]) -> list[Subject]:
    """Return subjects as they are now, in the same order."""
    page = [{"book_id": one.book_id, "action_id": one.action_id, "at": one.at, "subject_key": one.key} for one in subjects]
    with db.transaction(isolation="repeatable read", read_only=True) as tx:
        return _subjects(tx, channel_id, page)


def subject_again(db: Database, channel_id: str, book_id: str, action_id: UUID, at: datetime) -> Subject:
    """Return one subject as it is now."""
    return subjects_again(db, channel_id, [Subject(book_id=book_id, action_id=action_id, at=at)])[0]


def _subjects(tx: Tx, channel_id: str, page: Sequence[Mapping[str, Any]]) -> list[Subject]:
    if not page:
        return []
    named = {"books": [row["book_id"] for row in page], "actions": [row["action_id"] for row in page]}
    (documents,) = tx.call(Call("notify.peek", {"channel_id": channel_id, "keys": [row["subject_key"] for row in page]}))
    rows = {row.subject_key: row for row in rows_of(documents)}
    standing = _in_messages(tx, channel_id, [row.message_id for row in rows.values() if row.message_id is not None])
    current = {(row["book_id"], row["action_id"]): row for row in tx.query(QUERIES["actions"], **named)}
    voids = {(row["book_id"], row["action_id"]): row for row in tx.query(QUERIES["voids"], **named) if row["state"] == "VOID"}
    subjects = []
    for one in page:
        key = (one["book_id"], one["action_id"])
        stored, void, row = current.get(key), voids.get(key), rows.get(one["subject_key"])
        subjects.append(
            Subject(
                book_id=one["book_id"],
                action_id=one["action_id"],
                at=one["at"],
                current=None if stored is None else _execution(stored),
                void=None if void is None else from_row(void["book_id"], void, telling=Telling.BUSTED),
                row=row,
                sequence=int((stored or void or {"seq": 0})["seq"]),
                booked_at=(stored or void or {"recorded_at": None})["recorded_at"],
                companions=() if row is None or row.message_id is None else standing[row.message_id],
            )
        )
    return subjects


def _execution(row: Mapping[str, Any]) -> Execution:
    closing = row["action_type"] in ("TRIM", "EXIT")
    lots = [
        {"quantity": lot["qty"], "price": lot["price"], "realized_pnl": lot["pnl_realized"]}
        for lot in (row["lots"] or ())
        if closing
    ]
    telling = Telling.CORRECTED if row["version"] > 1 else Telling.BOOKED
    return from_row(row["book_id"], {**row, "lots": lots}, telling=telling)


# --- messages ---------------------------------------------------------------------------------------------------------


def fetch(talk: Talk, message_id: str, about: str) -> Fetched:
    """Read one message by its id, a few times if Discord fails; raises ``Postponed`` when patience ends."""
    problem = "not read"
    for wait in READ_WAITS:
        if wait and not _wait(talk, wait):
            break
        request = Request(operation=Operation.GET, channel_id=talk.channel.channel_id, message_id=message_id)
        said = talk.say(request, about=(about,))
        if said is None:
            raise Postponed
        verdict = said.judgement.verdict
        if verdict is Verdict.DONE:
            return Fetched(document=said.judgement.document)
        if verdict is Verdict.MESSAGE_GONE:
            return Fetched(is_gone=True)
        problem = said.judgement.reason or verdict.value
        if verdict in (Verdict.RATE_LIMITED, Verdict.BANNED):
            raise Postponed
        if verdict in (Verdict.CHANNEL_GONE, Verdict.REJECTED):
            break
    return Fetched(problem=problem)


def _wait(talk: Talk, wait: timedelta) -> bool:
    until = talk.desk.clock.now() + wait
    while talk.desk.clock.now() < until:
        if talk.patience.is_over():
            raise Postponed
        if not talk.patience.wait(until):
            return False
    return True


def delete(talk: Talk, message_id: str, about: str) -> bool:
    """Delete a message and see that it is gone; raises ``Postponed`` when patience ends."""
    request = Request(operation=Operation.DELETE, channel_id=talk.channel.channel_id, message_id=message_id)
    said = talk.say(request, about=(about,))
    if said is None or said.judgement.verdict in (Verdict.RATE_LIMITED, Verdict.BANNED):
        raise Postponed
    if said.judgement.verdict not in (Verdict.DONE, Verdict.MESSAGE_GONE):
        return False
    return fetch(talk, message_id, about).is_gone


def companions(tx: Tx, channel_id: str, message_id: str) -> tuple[Row, ...]:
    """Return the rows that stand in one message, in order."""
    keys = _in_messages(tx, channel_id, [message_id]).get(message_id, ())
    (documents,) = tx.call(Call("notify.peek", {"channel_id": channel_id, "keys": keys}))
    return tuple(sorted(rows_of(documents), key=lambda row: row.embed_index or 0))


def _in_messages(tx: Tx, channel_id: str, message_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found = tx.query(QUERIES["in_messages"], channel_id=channel_id, message_ids=sorted(set(message_ids))) if message_ids else []
    return {row["message_id"]: tuple(row["subject_keys"]) for row in found}


def newest_first(ids: Sequence[str]) -> list[str]:
    """Return message ids from the newest to the oldest."""
    return sorted(ids, key=int, reverse=True)


def cleared(row: Row) -> Row:
    """Return a row that stands in no message any more and says nothing until a newer version does."""
    return replace(row, message_id=None, embed_index=None, posted_version=None, posted_hash=None, next_attempt_at=None)
