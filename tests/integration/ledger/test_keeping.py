"""The nightly run happens once per session, in order, and again when a chore failed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fillbook.calendar import calendar
from fillbook.ledger.keeping import expire_marks, keep_desk
from fillbook.ledger.model import Book
from fillbook.ledger.service import open_book
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Unavailable
from fillbook.signal.retention import expire
from tests.support.ledger import StoredWorld, make_book, make_fill

SLOT = datetime(2026, 2, 3, 22, 45, tzinfo=UTC)
HOLIDAY = datetime(2026, 2, 16, 22, 45, tzinfo=UTC)


@pytest.fixture
def keeper(open_database: Any) -> Database:
    database: Database = open_database("ledger_writer")
    return database


def keep(db: Database, slot: datetime | None, **chores: Any) -> dict[str, object]:
    return keep_desk(db, slot=slot, now=slot or HOLIDAY, sessions=calendar(), chores=chores)


def test_chores_run_in_order_and_their_results_are_told(keeper: Database) -> None:
    ran: list[str] = []
    chores = {name: (lambda db, now, name=name: ran.append(name) or len(ran)) for name in ("audits", "marks", "signal")}
    assert keep(keeper, SLOT, **chores) == {"status": "kept", "audits": 1, "marks": 2, "signal": 3}
    assert ran == ["audits", "marks", "signal"]


def test_a_slot_runs_once_and_the_next_day_is_another(keeper: Database) -> None:
    assert keep(keeper, SLOT)["status"] == "kept"
    assert keep(keeper, SLOT) == {"status": "duplicate"}
    assert keep(keeper, SLOT.replace(day=4))["status"] == "kept"


def test_nothing_runs_on_a_holiday_unless_a_person_asks(keeper: Database) -> None:
    assert keep(keeper, HOLIDAY, audits=lambda db, now: 1) == {"status": "closed"}
    assert keep(keeper, None, audits=lambda db, now: 1) == {"status": "kept", "audits": 1}


def test_a_failed_run_gives_its_slot_back(keeper: Database) -> None:
    def fail(db: Database, now: datetime) -> object:
        raise Unavailable("database_unavailable")

    with pytest.raises(Unavailable):
        keep(keeper, SLOT, audits=fail)
    assert keep(keeper, SLOT, audits=lambda db, now: "done") == {"status": "kept", "audits": "done"}


def test_marks_older_than_two_years_go_and_younger_ones_stay(keeper: Database, db: Database, query: Any) -> None:
    with db.transaction() as tx:
        open_book(tx, Book(book_id="live", base_currency="USD"), SLOT)
    for days in (800, 732, 731, 1):
        query(
            "insert into ledger.marks (book_id, instrument, bucket_at, price, marked_at, recorded_at, source)"
            " values ('live', 'AMD', :at, 100, :at, :at, 'test')",
            at=SLOT - timedelta(days=days),
        )
    assert expire_marks(keeper, SLOT) == 2
    assert [row["bucket_at"] for row in query("select bucket_at from ledger.marks order by 1")] == [
        SLOT - timedelta(days=731),
        SLOT - timedelta(days=1),
    ]


def test_a_mark_that_goes_takes_the_kept_days_with_it_that_it_was_a_part_of(keeper: Database, db: Database, query: Any) -> None:
    bought = SLOT - timedelta(days=801)
    world = StoredWorld(db, make_book("live"))
    one = make_fill("x1", "BUY", 2, 10, instrument="AMD", executed_at=bought, received_at=bought, session_date=bought.date())
    world.deliver([one], SLOT)
    for instrument, days in (("AMD", 800), ("AMD", 740), ("AMD", 600), ("NVDA", 900)):
        query(
            "insert into ledger.marks (book_id, instrument, bucket_at, price, marked_at, recorded_at, source)"
            " values ('live', :instrument, :at, 100, :at, :at, 'test')",
            instrument=instrument,
            at=SLOT - timedelta(days=days),
        )
    for days in (850, 799, 741, 700, 599):
        query(
            "insert into ledger.worth_days (book_id, day, currency, held_at, valued_at, open_positions, unrealized,"
            " lacks_unrealized, stale)"
            " values ('live', (:at::timestamptz)::date, 'USD', :at, :at, 1, 0, 0, 0)",
            at=SLOT - timedelta(days=days),
        )
    assert expire_marks(keeper, SLOT) == 3
    left = [row["valued_at"] for row in query("select valued_at from ledger.worth_days order by 1")]
    assert left == [SLOT - timedelta(days=days) for days in (850, 599)]


def test_the_signal_room_expires_what_it_may(open_database: Any) -> None:
    assert expire(open_database("signal_writer"), SLOT) == {"partitions": [], "quarantine": 0}
