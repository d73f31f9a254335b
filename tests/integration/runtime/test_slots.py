"""A scheduled run happens once, survives its own failure and its process's death, and is forgotten in time."""

from datetime import UTC, datetime, timedelta

import pytest

from fillbook.runtime.db import Call, DatabaseFailed
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.slots import once

SLOT = datetime(2026, 2, 11, 22, 45, tzinfo=UTC)


def failing():
    raise KeyError("audit")


def test_a_slot_runs_once_and_is_a_duplicate_ever_after(open_database):
    worker = open_database("ledger_writer")
    runs = []
    assert once(worker, "desk-keeper", SLOT, lambda: runs.append(1) or "done") == "done"
    assert once(worker, "desk-keeper", SLOT, lambda: runs.append(1) or "again") is None
    assert once(worker, "outbox-relay", SLOT, lambda: "other job") == "other job"
    assert once(worker, "desk-keeper", SLOT + timedelta(days=1), lambda: "next day") == "next day"
    assert len(runs) == 1


def test_a_run_that_failed_may_be_run_again_at_once(db):
    with pytest.raises(KeyError):
        once(db, "keeper", SLOT, failing)
    assert once(db, "keeper", SLOT, lambda: "second try") == "second try"


def test_a_run_under_way_makes_the_scheduler_come_back(db):
    def overlapping():
        with pytest.raises(Unavailable, match="slot_busy"):
            once(db, "keeper", SLOT, lambda: "overlap")
        return "first"

    assert once(db, "keeper", SLOT, overlapping) == "first"


def test_a_run_whose_process_died_may_be_claimed_when_its_lease_is_over(db):
    claim = Call("ops.claim_slot", {"job": "keeper", "slot": SLOT, "lease_seconds": 0})
    assert db.call(claim) == ({"state": "claimed"},)
    assert once(db, "keeper", SLOT, lambda: "after the crash") == "after the crash"


def test_the_same_slot_in_another_zone_is_the_same_slot(db):
    from zoneinfo import ZoneInfo

    assert once(db, "keeper", SLOT.astimezone(ZoneInfo("America/New_York")), lambda: 1) == 1
    assert once(db, "keeper", SLOT, lambda: 2) is None


def test_slots_older_than_forty_days_go_with_the_next_claim(db, query):
    for days in (0, 31, 59):
        once(db, "keeper", SLOT + timedelta(days=days), lambda: 1)
    assert len(query("select slot from ops.slots")) == 2


def test_a_reader_cannot_claim_a_slot(open_database):
    with pytest.raises(DatabaseFailed) as caught:
        once(open_database("ledger_reader"), "keeper", SLOT, lambda: 1)
    assert caught.value.sqlstate == "42501"
