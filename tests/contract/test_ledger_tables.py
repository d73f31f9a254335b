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


AFTER = (
    "position_quantity_after position_quantity_opened_after position_vwap_after position_cost_basis_after "
    "position_realized_pnl_after unrealized_pnl_after"
)
PUBLIC = {
    "v_books": "kind base_currency start_cash lot_method netting seq last_recorded_at",
    "v_positions": "position_id first_action_id instrument_id symbol contract_name direction status multiplier currency "
    "quantity_open quantity_opened quantity_closed vwap entry_vwap exit_vwap cost_basis fees_total realized_pnl "
    "realized_pnl_gross realized_pnl_base opened_at last_action_at closed_at",
    "v_lots": "lot_id position_id opened_at quantity quantity_open price cost_basis split_factor status",
    "v_actions": "action_id version position_id lot_id instrument_id ticker direction action_type executed_at session_date "
    "recorded_at quantity price value fees currency realized_pnl realized_pnl_gross realized_pnl_base "
    f"{AFTER} reason origin cause meta",
    "v_closings": "action_id position_id lot_id quantity price lot_price realized_pnl realized_pnl_gross executed_at",
    "v_marks": "instrument_id as_of recorded_at price bid ask source",
    "v_book_totals": "currency cash realized_pnl fees market_value unrealized_pnl equity",
    "v_action_history": f"action_id version known_from known_to cause action_type quantity price realized_pnl {AFTER} state",
    "v_trades": "trade_id ticker direction entry_ts exit_ts trim_ts created_at updated_at entry_price total_qty cost_basis "
    "status exit_price exit_reason trim_price trimmed_pct pnl pnl_pct rank rr script_version",
    "v_trade_events": "event_id trade_id ts type price qty value pnl_realized reason meta_json lot_id lots "
    "qty_pct_delta qty_pct_total",
}
"""The columns that the ledger specification, 12, names; a view may have more."""
AS_THEIR_TABLES = ("parked_fills", "breaks", "reconciliations", "audits", "chain_anchors")


@pytest.mark.parametrize("view", PUBLIC)
def test_a_public_view_has_every_column_that_readers_were_told_of(query: Query, view: str) -> None:
    missing = {"book_id", "tenant_id", *PUBLIC[view].split()} - set(table_columns(query, view))
    assert missing == set()


@pytest.mark.parametrize("table", AS_THEIR_TABLES)
def test_a_public_view_of_a_table_has_its_columns(query: Query, table: str) -> None:
    assert {"tenant_id", *table_columns(query, table)} - set(table_columns(query, f"v_{table}")) == set()


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
    pure += ["state", "rebooking", "sealing", "statehash", "events", "intake", "memory", "valuation", "moment", "unfolding"]
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
