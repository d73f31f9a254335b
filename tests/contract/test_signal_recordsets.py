"""The rows the code writes have exactly the columns the database functions read.

``jsonb_to_recordset`` drops a misspelt key and turns a missing one into NULL; only this comparison notices.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from fillbook.outbox.service import event_rows
from fillbook.runtime.sql import encode
from fillbook.signal import intents, quarantine, store
from fillbook.signal.model import EMPTY_STATE, StopMove
from fillbook.signal.receipt import from_canonical, parse
from tests.support.receipts import R_TS, text_of
from tests.support.signal_desk import Desk

MIGRATIONS = Path(__file__).resolve().parents[2] / "infra" / "database" / "migrations"
SQL = (MIGRATIONS / "0004_signal.sql").read_text(encoding="utf-8")
REPLAY_SQL = (MIGRATIONS / "0022_replay.sql").read_text(encoding="utf-8")
APPLY = REPLAY_SQL[REPLAY_SQL.index("create or replace function signal.apply") :].split("\n$$;")[0]
NOW = datetime(2026, 2, 3, 15, 16, tzinfo=UTC)


def record_sets() -> dict[str, list[str]]:
    """Columns by document key of every record set in ``signal.apply``."""
    found = re.findall(r"jsonb_to_recordset\(document->'(\w+)'\) as r\(\s*([^()]*(?:\([^()]*\)[^()]*)*)\)", APPLY)
    return {key: [column.split()[0] for column in columns.split(",")] for key, columns in found}


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    parsed = parse(text_of("R").encode(), now=NOW)
    desk = Desk()
    final = desk.post()
    position = final.state.position
    assert position is not None
    assert position.plan is not None
    move = StopMove(
        position_id=position.position_id, ts=R_TS, old_stop=Decimal(1), new_stop=Decimal(2), stored_stop=Decimal(2), rule="S1"
    )
    return {
        "receipts": store.receipt_row(parsed, received_at=NOW, now=NOW, result="decided"),
        "seen": store.seen_row("live", parsed.receipt),
        "snapshots": store.snapshot_row("live", "ZZTA", date(2026, 2, 3), EMPTY_STATE, None),
        "states": store.state_row("live", final, loaded_version=0, day_change=None, now=NOW),
        "decisions": json.loads(store.decision_row("live", final, "[]", [], NOW)),
        "moves": store.move_row("live", final, Decimal(1)),
        "plans_closed": store.closed_plan_row("live", position.position_id, R_TS, "flip"),
        "plans_changed": store.changed_plan_row("live", position),
        "plans_opened": store.opened_plan_row("live", "ZZTA", position, position.plan, R_TS),
        "stops": store.stop_row("live", move, final.receipt_id),
    }


def test_every_row_has_exactly_the_columns_of_its_record_set(rows: dict[str, dict[str, Any]]) -> None:
    assert {key: sorted(row) for key, row in rows.items()} == {key: sorted(columns) for key, columns in record_sets().items()}


def test_inserts_without_a_column_list_name_their_columns_in_the_record_sets_order() -> None:
    pattern = r"insert into signal\.\w+ \(([^)]*)\)\s+select \* from jsonb_to_recordset\(document->'(\w+)'\)"
    found = re.findall(pattern, APPLY)
    assert len(found) == 5
    for columns, key in found:
        assert [column.strip() for column in columns.split(",")] == record_sets()[key]


def test_every_row_can_be_sent(rows: dict[str, dict[str, Any]]) -> None:
    text = encode({key: [row] for key, row in rows.items()})
    assert not re.search(r":-?\d+\.\d", re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)), "a number with a fraction travels as text"


def keys_read(function: str) -> set[str]:
    """Keys that a database function takes out of its document."""
    body = re.search(rf"create function signal\.{function}\(.*?\$\$(.*?)\$\$", SQL, re.DOTALL)
    assert body is not None
    return set(re.findall(r"document->>?'(\w+)'", body[1]))


def test_the_documents_of_the_reading_functions_have_exactly_the_keys_they_read() -> None:
    receipt = from_canonical(parse(text_of("R").encode(), now=NOW).canonical)
    facts = store.facts_document("live", "a", None)
    assert set(store.load_call("live", receipt, facts=facts).document) == keys_read("load")
    assert set(facts) == keys_read("facts")


def test_the_document_of_the_quarantine_has_exactly_the_keys_it_reads() -> None:
    db = Mock()
    db.call.return_value = ({"count": 1},)
    quarantine.put_aside(db, quarantine.RefusedBody(source="ingest", reason="type", body=b"x"), NOW)
    [call] = db.call.call_args.args
    # Which of the two ids is used is chosen by an expression.
    assert set(call.document) == keys_read("put_aside") | {"quarantine_id", "overflow_id"}


def test_a_lane_event_is_one_the_outbox_takes() -> None:
    [row] = event_rows([intents.lane_event("live", Desk().post(), NOW)])
    assert (row["event_type"], row["topic"], row["aggregate_key"]) == ("lane_changed", "events", "lane/live/ZZTA")
