"""The desk's nightly run: after a session, once per slot, one chore after the other.

Which chores there are is handed in (audits and anchors first, then what may be deleted), because they belong to several
rooms. A chore that fails ends the run and gives the slot back: the Scheduler asks again, and chores are repeatable.
Outside a session nothing happens; rows that came meanwhile wait for the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from fillbook.calendar import NEW_YORK, TradingCalendar, calendar, day_end
from fillbook.ledger.store import QUERIES
from fillbook.runtime.db import Call, Database
from fillbook.runtime.slots import once

JOB = "desk-keeper"
RUN_SECONDS_MAX = 1_800
MARKS_KEPT = timedelta(days=731)
PURGE_ROWS_MAX = 5_000
CARRY_ROWS_MAX = 50_000
"""Rows of a book's chain by which its sums are carried on in one transaction."""
WORTH_DAYS_MAX = 20

Chore = Callable[[Database, datetime], object]


def keep_desk(
    db: Database, *, slot: datetime | None, now: datetime, sessions: TradingCalendar, chores: Mapping[str, Chore]
) -> dict[str, object]:
    """Run ``chores`` in order and return ``{"status": "kept", "<chore>": its result, …}``.

    ``slot`` is the instant the schedule was due; None is a person's call, which runs at once and on any day. Otherwise
    ``{"status": "closed"}`` where that New York day is no session, ``{"status": "duplicate"}`` where the slot ran before.
    """

    def run() -> dict[str, object]:
        return {name: chore(db, now) for name, chore in chores.items()}

    if slot is None:
        return {"status": "kept", **run()}
    if sessions.session(slot.astimezone(NEW_YORK).date()) is None:
        return {"status": "closed"}
    done = once(db, JOB, slot, run, lease_seconds=RUN_SECONDS_MAX)
    return {"status": "duplicate"} if done is None else {"status": "kept", **done}


def carry_results(db: Database, now: datetime) -> int:
    """Take the sums of days anew that later rows touched, book by book, and what its finished sessions were worth.

    Returns how many dates were summed up, step by step. Nothing depends on it but the time that figures of long ranges take. A
    book that has not grown costs two looks.
    """
    with db.transaction(read_only=True) as tx:
        books = [row["book_id"] for row in tx.query(QUERIES["books_to_carry"])]
    total = 0
    for book_id in books:
        is_whole = False
        while not is_whole:
            (step,) = db.call(Call("ledger.carry_results", {"book_id": book_id, "now": now, "rows_max": CARRY_ROWS_MAX}))
            total += step["dates"]
            is_whole = step["is_whole"]
        carry_worth(db, book_id, now)
    return total


def carry_worth(db: Database, book_id: str, now: datetime) -> int:
    """Take the worth of a book's finished sessions that is not kept, ``WORTH_DAYS_MAX`` days a transaction; return how many.

    Marks of the book wait while a page is taken.
    """
    with db.transaction(read_only=True) as tx:
        rows = tx.query(QUERIES["worth_kept"], book_id=book_id)
    exchange = calendar()
    kept = {(row["day"], row["held_at"], row["valued_at"]) for row in rows if row["day"] is not None}
    began = min((row["began_at"] for row in rows if row["began_at"] is not None), default=None)
    if began is None:
        return 0
    first = max(began.astimezone(NEW_YORK).date(), exchange.first_day)
    finished = [one for one in exchange.sessions(first, now.astimezone(NEW_YORK).date()) if one.close_at <= now]
    moments = [[(one.date, held_at, one.close_at) for held_at in (one.close_at, day_end(one.date))] for one in finished]
    due = [one for one in moments if not kept.issuperset(one)]
    for page in range(0, len(due), WORTH_DAYS_MAX):
        asked = [
            {"day": day, "held_at": held_at, "valued_at": valued_at}
            for one in due[page : page + WORTH_DAYS_MAX]
            for day, held_at, valued_at in one
        ]
        db.call(Call("ledger.carry_worth", {"book_id": book_id, "moments": asked}))
    return len(due)


def expire_marks(db: Database, now: datetime) -> int:
    """Delete marks older than two years, 5,000 a statement; return how many went."""
    before = now - MARKS_KEPT
    total = 0
    while True:
        (deleted,) = db.call(Call("ledger.purge_marks", {"before": before, "rows_max": PURGE_ROWS_MAX}))
        total += int(deleted)
        if deleted < PURGE_ROWS_MAX:
            return total
