"""Reliability 31: alter any column of a past ledger row by SQL, and the verifier names the row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fillbook.ledger.columns import ACTIONS, ADJUSTMENTS, CLOSING_NAMES, FILLS
from fillbook.ledger.verification import ChainFinding, verify, verify_in
from fillbook.runtime.db import ConstraintViolated, Database, DatabaseFailed
from fillbook.runtime.sql import statement
from tests.support.ledger import StoredWorld, at, make_book, make_fill

Query = Callable[..., list[dict[str, Any]]]
BOOK = "ibkr:U1"
COLUMNS = {
    "fills": (*FILLS.names, "prev_hash", "row_hash"),
    "adjustments": (*ADJUSTMENTS.names, "prev_hash", "row_hash"),
    "execution_actions": (*ACTIONS.names, "superseded_at", "prev_hash", "row_hash"),
    "closings": CLOSING_NAMES,
}
# what each type is changed to; an enum and a unit of time are looked up below
CHANGES = {
    "text": "coalesce({0}, '') || 'x'",
    "numeric": "coalesce({0}, 0) + 0.01",
    "integer": "{0} + 1000",
    "bigint": "{0} + 1000",
    "smallint": "3 - {0}",
    "boolean": "not {0}",
    "uuid": "md5(coalesce({0}::text, ''))::uuid",
    "bytea": "sha256({0})",
    "date": "{0} + 1",
    "timestamp with time zone": "coalesce({0}, '2026-02-03T15:00Z') + interval '1 second'",
    "jsonb": """'[{{"lot": "x", "quantity": "1"}}]'::jsonb""",
}


@pytest.fixture
def world(db: Database) -> StoredWorld:
    """A book with a correction, a split, closings of two lots."""
    world = StoredWorld(db, make_book(BOOK))
    told = [
        make_fill("a", "BUY", 10, 100, 0, fees="1", source="ibkr"),
        make_fill("b", "BUY", 10, 110, 1, fees="1", source="ibkr"),
        make_fill("c", "SELL", 15, 120, 2, fees="0.5", source="ibkr"),
        make_fill("b", "BUY", 10, 112, 1, fees="1", source="ibkr", source_revision=2, cause="revision"),
    ]
    for minute, fill in enumerate(told):
        world.deliver([fill], at(minute))
    world.split((4, 1), 5)
    world.deliver([make_fill("d", "SELL", 20, 30, 6, source="ibkr")], at(6))
    return world


def changed(query: Query, table: str, column: str) -> str:
    """An expression that is another value than the column holds."""
    (row,) = query(
        "select t.typname::text as name, t.typtype::text as kind, format_type(a.atttypid, null) as type from pg_attribute a "
        "join pg_type t on t.oid = a.atttypid where a.attrelid = ('ledger.' || :name)::regclass and a.attname = :column",
        name=table,
        column=column,
    )
    if row["kind"] == "e":
        kind = f"ledger.{row['name']}"
        values = f"enum_range(null::{kind})"
        return f"(select v from unnest({values}) v where v is distinct from {column} limit 1)"
    return CHANGES[row["type"]].format(column)


def findings_after(db: Database, text: str, **params: object) -> list[ChainFinding] | None:
    """What the verifier says after a statement that is undone again; None when the database itself refuses it."""
    found: list[ChainFinding] = []
    try:
        with db.transaction() as tx:
            tx.execute(statement("set local session_replication_role = replica"))
            assert tx.execute(statement(text), **params) == 1
            found = verify_in(tx, BOOK)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return found
    except (ConstraintViolated, DatabaseFailed):
        return None


@pytest.mark.parametrize("table", COLUMNS)
def test_check_31_whatever_column_of_a_past_row_is_altered_the_verifier_names_the_row(
    world: StoredWorld, db: Database, query: Query, table: str
) -> None:
    if table == "closings":
        rows = query(
            "select a.seq, c.ctid::text as place from ledger.closings c join ledger.execution_actions a "
            "using (book_id, action_id, version) order by a.seq, c.ordinal"
        )
    else:
        rows = query(f"select seq, ctid::text as place from ledger.{table} order by seq")
    assert rows
    refused: set[str] = set()
    for column in COLUMNS[table]:
        expression = """'{"order": "x"}'::jsonb""" if column == "meta" else changed(query, table, column)
        for row in rows:
            text = f"update ledger.{table} set {column} = {expression} where ctid = :place::tid"
            found = findings_after(db, text, place=row["place"])
            if found is None:
                refused.add(column)
            else:
                assert row["seq"] in {finding.seq for finding in found}, (column, row["seq"], found)
    # what a check of the table forbids cannot be altered by a plain statement at all
    assert len(refused) <= len(COLUMNS[table]) / 3, refused
    assert verify(db, BOOK) == []


@pytest.mark.parametrize("table", ["fills", "adjustments", "execution_actions", "closings"])
def test_check_31_whatever_past_row_is_deleted_the_verifier_names_its_place(
    world: StoredWorld, db: Database, query: Query, table: str
) -> None:
    joined = "join ledger.execution_actions a using (book_id, action_id, version)" if table == "closings" else ""
    rows = query(f"select {'a' if joined else 't'}.seq, t.ctid::text as place from ledger.{table} t {joined} order by 1")
    for row in rows:
        found = findings_after(db, f"delete from ledger.{table} where ctid = :place::tid", place=row["place"])
        assert found is not None
        kinds = {finding.kind for finding in found if finding.seq == row["seq"]}
        assert ("altered" if table == "closings" else "missing") in kinds, (row, found)
