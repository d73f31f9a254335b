"""The desk's nightly run: after a session, once per slot, one chore after the other.

Which chores there are is handed in (audits and anchors first, then what may be deleted), because they belong to several
rooms. A chore that fails ends the run and gives the slot back: the Scheduler asks again, and chores are repeatable.
Outside a session nothing happens; rows that came meanwhile wait for the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from fillbook.calendar import NEW_YORK, TradingCalendar
from fillbook.ledger.store import QUERIES
from fillbook.runtime.db import Call, Database
from fillbook.runtime.slots import once

JOB = "desk-keeper"
RUN_SECONDS_MAX = 1_800
MARKS_KEPT = timedelta(days=731)
PURGE_ROWS_MAX = 5_000

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
    """Take the sums of days anew that later rows touched, book by book; return how many days those were.

    Nothing depends on it but the time that figures of long ranges take. A book that has not grown costs one look.
    """
    with db.transaction(read_only=True) as tx:
        books = [row["book_id"] for row in tx.query(QUERIES["books_to_carry"])]
    total = 0
    for book_id in books:
        (carried,) = db.call(Call("ledger.carry_results", {"book_id": book_id, "now": now}))
        total += int(carried)
    return total


def expire_marks(db: Database, now: datetime) -> int:
    """Delete marks older than two years, 5,000 a statement; return how many went."""
    before = now - MARKS_KEPT
    total = 0
    while True:
        (deleted,) = db.call(Call("ledger.purge_marks", {"before": before, "rows_max": PURGE_ROWS_MAX}))
        total += int(deleted)
        if deleted < PURGE_ROWS_MAX:
            return total
