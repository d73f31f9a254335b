"""The ledger's documents, enums and statements against its tables: what Python says is what Postgres has."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fillbook.ledger import bookstore, breakstore, columns, reconcile, statement, store, words
from fillbook.ledger.ids import derived, fill_id
from fillbook.outbox.model import derived_id
from tests.support.ledger import StoredWorld, make_fill
from tests.support.ledger_statements import NOON, BrokerDesk, line, says

Query = Callable[..., list[dict[str, Any]]]
ROOM = Path(words.__file__).parent
MIGRATION = ROOM.parents[2] / "infra" / "database" / "migrations" / "0003_ledger.sql"
HASHES = {"prev_hash", "row_hash"}


def table_columns(query: Query, name: str) -> list[str]:
    rows = query(
        "select attname::text as name from pg_attribute "
        "where attrelid = ('ledger.' || :name)::regclass and attnum > 0 and not attisdropped order by attnum",
        name=name,
    )
    return [row["name"] for row in rows]


@pytest.mark.parametrize(
    ("table", "others"),
    [
        (columns.FILLS, HASHES),
        (columns.ADJUSTMENTS, HASHES),
        (columns.ACTIONS, HASHES | {"superseded_at"}),
        (columns.POSITIONS, {"updated_seq"}),
        (columns.LOTS, set()),
    ],
)
def test_a_document_names_every_column_of_its_table_in_schema_order(query: Query, table: columns.Table, others: set[str]) -> None:
    assert [name for name in table_columns(query, table.name) if name not in others] == list(table.names)


def test_a_closing_names_every_column_in_schema_order(query: Query) -> None:
    assert table_columns(query, "closings") == list(columns.CLOSING_NAMES)


def test_the_documents_of_a_reconciliation_name_every_column(db: Any, query: Query) -> None:
    """``jsonb_to_recordset`` drops a misspelt key and makes NULL of a missing one."""
    desk = BrokerDesk(db)
    (row,) = desk.hears(line("AMD", 1)).breaks
    for table, recorded in (("breaks", "updated_at"), ("break_history", "recorded_at")):
        assert set(breakstore._document(row, recorded)) == set(table_columns(query, table)), table
    with desk.db.transaction() as tx:
        head = bookstore.book_head(tx, desk.book_id)
    document = breakstore.reconciliation_document(says(), head, NOON, version=1, result="matched")
    assert set(document) == set(table_columns(query, "reconciliations"))


@pytest.mark.parametrize(
    ("name", "enum"),
    [
        ("direction", words.Direction),
        ("side", words.Side),
        ("action_type", words.ActionType),
        ("row_state", words.RowState),
        ("position_status", words.PositionStatus),
        ("lot_method", words.LotMethod),
    ],
)
def test_an_enum_of_python_is_the_enum_of_postgres(query: Query, name: str, enum: type) -> None:
    rows = query(
        "select enumlabel::text as label from pg_enum where enumtypid = ('ledger.' || :name)::regtype order by enumsortorder",
        name=name,
    )
    assert [row["label"] for row in rows] == [member.value for member in enum]


def test_every_check_of_words_lists_the_words_of_python(query: Query) -> None:
    def listed(constraint: str) -> set[str]:
        (row,) = query("select pg_get_constraintdef(oid) as text from pg_constraint where conname = :name", name=constraint)
        return set(re.findall(r"'([a-z0-9_]+)'", row["text"]))

    assert listed("fills_source") == set(words.SOURCES)
    assert listed("fills_position_effect") == set(words.EFFECTS)
    assert listed("fills_cash_style") == set(words.CASH_STYLES)
    assert listed("fills_origin") == set(words.ORIGINS)
    assert listed("fills_cause") == set(words.FILL_CAUSES)
    assert listed("books_netting") == {member.value for member in words.Netting}
    assert listed("breaks_kind") == {member.value for member in statement.BreakKind}
    assert listed("reconciliations_result") == {reconcile.MATCHED, reconcile.BREAKS, reconcile.INCONCLUSIVE}


def test_every_constraint_that_becomes_a_domain_error_exists(query: Query) -> None:
    known = {row["conname"] for row in query("select conname::text as conname from pg_constraint")}
    known |= {
        row["indexname"] for row in query("select indexname::text as indexname from pg_indexes where schemaname = 'ledger'")
    }
    raised = set(re.findall(r"constraint = '(\w+)'", (ROOM.parents[2] / "infra/database/migrations/0003_ledger.sql").read_text()))
    named = {*store._REJECTED_BY, *store._CONFLICTING, *store.RETRY_CONSTRAINTS}
    assert named - known - raised == set()


def test_statements_touch_only_tables_of_ledger_and_outbox() -> None:
    text = (ROOM / "queries.sql").read_text("utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    schemas = set(re.findall(r"^(?!.*distinct from).*?\b(?:from|join|into|update)\s+(\w+)\.\w+", code, re.MULTILINE))
    assert schemas == {"ledger", "outbox"}
    assert re.findall(r"\boutbox\.(\w+)", code) == ["v_events"] * len(re.findall(r"\boutbox\.", code))


def test_the_pure_core_opens_nothing() -> None:
    pure = [
        "words",
        "model",
        "ids",
        "amounts",
        "methods",
        "legs",
        "positions",
        "splits",
        "booking",
        "chain",
        "columns",
        "journal",
    ]
    pure += ["state", "rebooking", "sealing", "statehash", "events", "intake", "memory", "valuation"]
    pure += ["statement", "matching", "causes", "breaks"]
    for name in pure:
        text = (ROOM / f"{name}.py").read_text("utf-8")
        assert not re.search(r"runtime\.(?!errors)", text), name
        assert not re.search(r"ledger\.(store|bookstore|service|audit|reading)\b", text), name


def test_ids_are_those_of_the_one_namespace() -> None:
    assert fill_id("signal", "", "r#1") == str(derived_id("fill", "signal", "", "r#1"))
    assert derived("event", None, 'é"', 3) == str(derived_id("event", None, 'é"', 3))


def test_a_row_comes_back_as_it_was_written(db: Any, query: Query) -> None:
    world = StoredWorld(db)
    picks, meta = [("x", "1.5")], {"b": 1, "a": ["ö", None, True]}
    options = {"meta": meta, "lot_picks": picks, "fees": "1.5", "lot_ref": "r", "venue_order": "01"}
    fill = make_fill("a", "BUY", "10.1234567891", "100.0000000001", **options)
    world.deliver([fill])
    with db.transaction() as tx:
        stored = bookstore.current_fill(tx, "live", fill.fill_id)
    assert stored is not None
    for name in columns.ECONOMIC.names[1:]:
        if name not in ("fx_rate", "fees_currency", "fees_rate"):
            assert getattr(stored.fill, name) == getattr(fill, name), name
    assert (stored.fill.fx_rate, stored.fill.fees_currency, stored.fill.fees_rate) == (1, "USD", 1)
    assert stored.fill.meta == fill.meta
