"""Breaks as people and other rooms meet them: the operator's verbs, grants, plans, constraints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fillbook.ledger import reconcile, service
from fillbook.ledger.__main__ import main
from fillbook.ledger.statement import statement_document
from fillbook.ledger.store import QUERIES
from fillbook.runtime.db import ConstraintViolated, Database, DatabaseFailed
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import encode, statement
from tests.conftest import OpenDatabase
from tests.support.ledger import StoredWorld, at, make_book
from tests.support.ledger_statements import BOOK, NOON, BrokerDesk, fact, line, new_york, says

Query = Callable[..., list[dict[str, Any]]]
AMD, SHORT_OF_ONE = line("AMD", 10, 100), line("AMD", 9, 100)


@pytest.fixture
def desk(db: Database) -> BrokerDesk:
    """An account that bought 10 AMD at 100."""
    made = BrokerDesk(db)
    made.book(fact("a", "BUY", 10, 100))
    return made


Verb = Callable[..., tuple[int, str]]


@pytest.fixture
def verb(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verb:
    """Run a verb as ``desk_operator``, a minute after noon of the day; return its exit code and what it said."""
    clock = tmp_path / "clock.json"
    clock.write_text(json.dumps({"desk_at": at(61).isoformat(), "real_at": 0, "speed": 1, "paused": True}))
    monkeypatch.setenv("FILLBOOK_ENV", "local")
    monkeypatch.setenv("FILLBOOK_DATABASE_URL", f"{database_url}?role=desk_operator")
    monkeypatch.setenv("FILLBOOK_DESK_CLOCK", str(clock))

    def run(*arguments: str) -> tuple[int, str]:
        code = main(list(arguments))
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    """Write a statement as an operator would have it; returns the file's name."""

    def write(said: Any) -> str:
        path = tmp_path / "statement.json"
        path.write_text(said if isinstance(said, str) else encode(statement_document(said)), encoding="utf-8")
        return str(path)

    return write


def test_an_operator_compares_a_file_and_lists_and_notes_the_break(desk: BrokerDesk, verb: Verb, file: Any) -> None:
    given = ("reconcile", "--book", BOOK, "--statement")
    assert verb(*given, file(says(AMD))) == (0, f"{BOOK}: matched at 2026-02-03T16:00:00.000000Z; open 0, resolved 0\n")
    code, text = verb(*given, file(says(SHORT_OF_ONE, as_of=at(60.5))))
    (row,) = desk.breaks()
    assert code == 4
    assert text.splitlines()[1] == (
        "  0 sessions old, position_quantity AMD USD: book 10, broker 9, difference -1; "
        f"unexplained (nothing we hold explains the difference) [{row.break_id}]"
    )
    code, text = verb("note", "--book", BOOK, "--break", row.break_id, "--note", " asked the broker ")
    assert (code, "note: asked the broker" in text) == (0, True)
    code, text = verb("breaks", "--book", BOOK, "--json")
    assert (code, json.loads(text)["note"], json.loads(text)["cause"]) == (0, "asked the broker", "unexplained")
    code, text = verb(*given, file(says(AMD, as_of=at(60.8))), "--json")
    assert (code, json.loads(text)["resolved"], json.loads(text)["breaks"]) == (0, 1, [])
    assert verb("breaks") == (0, "no break\n")
    assert verb("breaks", "--all")[1].startswith(f"{BOOK}: resolved, position_quantity AMD USD")
    assert verb(*given, file(says(AMD, as_of=at(60.9), complete=False)))[0] == 3


def test_what_an_operator_gets_wrong_is_refused_with_its_reason(desk: BrokerDesk, verb: Verb, file: Any, tmp_path: Path) -> None:
    plain = statement_document(says(AMD))
    lines = plain["positions"]
    for said, reason in (
        ("{", "statement_invalid"),
        ("[]", "statement_invalid"),
        (encode({**plain, "extra": 1}), "extra"),
        (encode({**plain, "complete": "yes"}), "complete"),
        (encode({**plain, "as_of": "2026-02-03T16:00:00"}), "as_of"),
        (json.dumps({**plain, "positions": [{**lines[0], "quantity": 10.1}]}), "positions.0.quantity"),
        (json.dumps({**plain, "positions": [{**lines[0], "quantity": "9" * 65}]}), "positions.0.quantity"),
        (json.dumps({**plain, "positions": [{**lines[0], "direction": "UP"}]}), "positions.0.direction"),
        ("1" * (4 * 1024 * 1024 + 1), "statement_too_large"),
        (encode({**plain, "book_id": "ibkr:U9"}), "book_differs"),
    ):
        code, text = verb("reconcile", "--book", BOOK, "--statement", file(said))
        assert (code, reason in text) == (2, True), text[:200]
    assert verb("reconcile", "--book", BOOK, "--statement", str(tmp_path / "none.json"))[0] == 2
    assert verb("note", "--book", BOOK, "--break", "b1", "--note", "x")[0] == 2
    assert verb("note", "--book", BOOK, "--break", "b1", "--note", " ")[0] == 2
    assert verb("breaks", "--book", "ibkr:none")[0] == 2


def test_an_absent_database_is_exit_3(verb: Verb, file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILLBOOK_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert verb("breaks")[0] == 3
    assert verb("reconcile", "--book", BOOK, "--statement", file(says(AMD)))[0] == 3


def test_a_note_stays_on_a_break_and_every_note_is_history(desk: BrokerDesk, query: Query) -> None:
    (row,) = desk.hears(SHORT_OF_ONE).breaks
    for text in ("first", "second"):
        service.run(desk.db, lambda tx, text=text: reconcile.note(tx, BOOK, row.break_id, text, at(61)))
    desk.hears(AMD, as_of=at(62))
    desk.hears(SHORT_OF_ONE, as_of=at(63))
    assert desk.breaks()[0].note == "second"
    notes = [one["note"] for one in query("select note from ledger.break_history order by version")]
    assert notes == [None, "first", "second", "second", "second"]
    with pytest.raises(Rejected, match="note_invalid"):
        service.run(desk.db, lambda tx: reconcile.note(tx, BOOK, row.break_id, "x" * 1001, at(64)))


# --- who may, and how it is read --------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["ledger_writer", "desk_operator"])
def test_writers_of_the_ledger_reconcile(db: Database, open_database: OpenDatabase, role: str) -> None:
    desk = BrokerDesk(db)
    desk.db = open_database(role)
    assert desk.hears(line("X", 1)).found == 1
    assert desk.hears(as_of=at(61)).resolved == 1


def refused(database: Database, text: str) -> str:
    with pytest.raises((DatabaseFailed, ConstraintViolated)) as caught, database.transaction() as tx:
        tx.execute(statement(text))
    return str(caught.value.sqlstate)


def test_nobody_else_writes_breaks_and_nobody_unwrites_history(desk: BrokerDesk, open_database: OpenDatabase) -> None:
    desk.hears(SHORT_OF_ONE)
    for role in ("ledger_reader", "replay_writer", "notify_writer", "tracker_reader"):
        assert refused(open_database(role), "select ledger.follow_breaks('{}')") == "42501"
    replay = open_database("replay_writer")
    assert refused(replay, "update ledger.breaks set cause = 'x'") == "42501"
    assert refused(replay, "insert into ledger.break_history default values") == "42501"
    writer = open_database("ledger_writer")
    for table in ("breaks", "break_history", "reconciliations"):
        assert refused(writer, f"delete from ledger.{table}") == "42501"
    for text in (
        "update ledger.break_history set cause = 'x'",
        "update ledger.reconciliations set result = 'matched'",
        "update ledger.breaks set kind = 'cash'",
        "update ledger.breaks set instrument = 'x'",
    ):
        assert refused(writer, text) == "42501"
    reader = open_database("ledger_reader")
    with reader.transaction() as tx:
        for view in ("v_breaks", "v_break_history", "v_reconciliations"):
            assert len(tx.query(statement(f"select * from ledger.{view}"))) == 1
    assert refused(reader, "select * from ledger.break_history") == "42501"


def test_every_version_of_a_break_is_what_the_break_was(desk: BrokerDesk, query: Query) -> None:
    desk.hears(SHORT_OF_ONE, as_of=new_york(3, 11))
    desk.hears(line("AMD", 8), as_of=new_york(5, 18))
    desk.hears(AMD, as_of=new_york(6, 18))
    last = query(
        "select b.* from ledger.breaks b join ledger.break_history h using (book_id, break_id, version)"
        " where (b.cause, b.expected, b.actual, b.sessions, b.announced, b.episode, b.resolved_at, b.updated_at, b.ticker)"
        " is not distinct from (h.cause, h.expected, h.actual, h.sessions, h.announced, h.episode, h.resolved_at,"
        " h.recorded_at, h.ticker)"
    )
    assert [row["version"] for row in last] == [3]


PLANS = {
    "positions_at": ("positions_one_open", "execution_actions_by_time", "execution_actions_by_position"),
    "fills_until": ("fills_by_order", "fills_pk"),
    "splits_until": ("adjustments_",),
    "cash_moved": ("execution_actions_by_time",),
    "realized_in": ("execution_actions_by_time",),
    "first_booked_at": ("execution_actions_by_time",),
    "overtaken_subjects": ("reconciliations_by_book",),
    "reconciliation": ("reconciliations_pk",),
    "statements_since": ("reconciliations_by_book", "reconciliations_pk"),
    "near_candidates": ("execution_actions_by_time",),
    "twin_fills": ("execution_actions_by_instrument",),
}
VALUES: dict[str, object] = {
    "book_id": BOOK,
    "as_of": NOON,
    "since": at(59),
    "instrument": "AMD",
    "source": "flex",
    "rows_max": 10,
    "first_at": at(50),
    "last_at": at(70),
    "wanted": '[{"instrument": "AMD", "side": "BUY", "quantity": "10"}]',
}


MANY_STATEMENTS = """
    insert into ledger.reconciliations
        (book_id, as_of, source, version, recorded_at, result, reason, statement, subjects, facts_hash, breaks_found, breaks_open,
         breaks_resolved, book_seq)
    select :book_id, r.as_of + n * interval '1 minute', r.source, 1, r.recorded_at, r.result, r.reason, r.statement, r.subjects,
           r.facts_hash, 0, 0, 0, r.book_seq
      from ledger.reconciliations r cross join generate_series(1, :minutes::integer) as n
     where r.book_id = 'ibkr:U1' and r.as_of = '2026-02-03T16:00Z'"""


@pytest.mark.parametrize("name", PLANS)
def test_a_statement_of_the_reconciler_uses_its_index(desk: BrokerDesk, db: Database, name: str) -> None:
    asked = QUERIES[name]
    names = [f"T{number:02}" for number in range(40)]
    desk.book(*(fact(f"{one}-{turn}", "BUY", 1, 100, turn, instrument=one) for one in names for turn in range(8)))
    desk.hears(AMD)
    BrokerDesk(db, book_id="ibkr:U2")
    with db.transaction() as tx:
        for book_id, minutes in ((BOOK, 40), ("ibkr:U2", 900)):
            tx.execute(statement(MANY_STATEMENTS), book_id=book_id, minutes=minutes)
        for table in ("fills", "execution_actions", "positions", "reconciliations", "breaks"):
            tx.execute(statement(f"analyze ledger.{table}"))
        tx.execute(statement("set local enable_seqscan = off"))
        rows = tx.query(statement("explain (costs off) " + asked.text), **{key: VALUES[key] for key in asked.parameters})
    plan = "\n".join(str(value) for row in rows for value in row.values())
    assert any(index in plan for index in PLANS[name]), plan
    assert "Seq Scan" not in plan, plan


def test_the_constraints_refuse_a_break_that_contradicts_itself(desk: BrokerDesk, query: Query) -> None:
    desk.hears(SHORT_OF_ONE)
    for change, name in (
        ("difference = 5", "breaks_difference"),
        ("expected = null", "breaks_difference"),
        ("announced = 3", "breaks_counts"),
        ("last_seen_at = first_seen_at - interval '1 s'", "breaks_seen_order"),
        ("kind = 'cash'", "breaks_direction_by_kind"),
    ):
        with pytest.raises(ConstraintViolated, match=name):
            query(f"update ledger.breaks set {change}")


def test_a_live_book_may_be_checked_by_hand_but_has_no_account(db: Database) -> None:
    StoredWorld(db, make_book("live"))
    desk = BrokerDesk(db, book_id="ibkr:U5")
    assert desk.compare(says(line("AMD", 1), book_id="live", account=None)).found == 1
    assert desk.compare(says(book_id="live", account="U1", as_of=at(61))).reason == "other_account"
