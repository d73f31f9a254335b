"""The room's documents against its database functions: a misspelt key would silently become NULL."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fillbook.ibkr import columns, store, words
from fillbook.ibkr.corrections import settle
from fillbook.ibkr.fills import Booked
from fillbook.ibkr.intake import refusal
from fillbook.ibkr.parents import resolve
from fillbook.ibkr.store import News
from tests.support.ibkr import FIRST, cancel, exec_id, flex

ROOM = Path(words.__file__).parent
SQL = (ROOM.parents[2] / "infra/database/migrations/0012_ibkr.sql").read_text("utf-8")
NOW = datetime(2026, 1, 6, tzinfo=UTC)
ROW = flex(exec_id(1), transactionID="5")
CANCEL = cancel("-1", transactionID="6", origTransactionID="5")
NEWS = News(payloads=(ROW,), returned=(ROW,), cancels=(CANCEL,), unpaid=frozenset(), is_opened=True)


def function(name: str) -> str:
    body = re.search(rf"create function ibkr\.{name}\(.*?\$\$(.*?)\$\$", SQL, re.DOTALL)
    assert body is not None, name
    return body[1]


def record_set(name: str, key: str) -> set[str]:
    """Column names of the fullest record set that a function reads out of one list of its document."""
    found = re.findall(rf"jsonb_to_recordset\(document->'{key}'\) as \w+\(\s*(.*?)\)", function(name), re.DOTALL)
    return max(({part.split()[0] for part in columns_.split(", ") if part.split()} for columns_ in map(_flat, found)), key=len)


def _flat(text: str) -> str:
    return " ".join(text.split())


def documents() -> dict[str, dict[str, Any]]:
    settled = settle([ROW], [], [CANCEL])
    resolved = resolve(FIRST, settled.executions)
    booked = Booked(exec_id_base="a", correction_group=0, ib_exec_id="a", source_revision=1, is_bust=False, booked_hash=b"x")
    applied = store.apply_document(FIRST, "run", NOW, NEWS)
    return {
        "payloads": applied["payloads"][0],
        "returned": applied["returned"][0],
        "events": applied["events"][0],
        "event_states": columns.event_state_row(settled.events[0]),
        "trades": columns.trade_row(resolved.trades[0]),
        "keys": columns.key_rows(resolved.trades[0])[0],
        "executions": columns.execution_row(resolved.executions[0]),
        "anomalies": store.anomaly_rows(FIRST, settle([], [], [CANCEL]).anomalies)[0],
        "examined": store.examined_rows(settled.examined)[0],
        "booked": columns.booked_row(booked),
        "emptied": {"id": None, "merged_into": None},
        "moved": {"id": None, "trade_id": None, "exec_role": None},
    }


@pytest.mark.parametrize("key", sorted(documents()))
def test_a_row_has_exactly_the_columns_its_record_set_reads(key: str) -> None:
    assert set(documents()[key]) == record_set("apply", key)


def test_the_document_of_a_chunk_has_exactly_the_keys_it_reads() -> None:
    read = set(re.findall(r"document->>?'(\w+)'", function("apply")))
    assert set(store.apply_document(FIRST, "run", NOW, NEWS)) == read


def test_what_is_asked_of_the_surroundings_has_exactly_the_keys_it_reads() -> None:
    read = set(re.findall(r"document->>?'(\w+)'", function("load")))
    assert set(store._keys(FIRST, NEWS)) == read


def test_a_refused_row_has_exactly_the_columns_it_is_kept_with() -> None:
    call = store.put_aside([refusal("tws", "U1", words.Reason.BAD_FRAME, "x", ["a"])], None, NOW)
    assert set(call.document["rows"][0]) == record_set("put_aside", "rows")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("constraint", "words_of"),
    [
        ("execution_payloads_source_check", words.Source),
        ("execution_payloads_kind_check", words.PayloadKind),
        ("broker_events_source_check", words.Source),
        ("broker_events_kind_check", words.CancelKind),
        ("broker_events_state_check", words.CancelState),
        ("trades_match_kind_check", words.MatchKind),
        ("trades_confidence_check", words.Confidence),
        ("trades_side_check", words.Side),
        ("trades_status_check", words.TradeStatus),
        ("trade_executions_id_kind_check", words.IdKind),
        ("trade_executions_state_check", words.State),
        ("trade_executions_exec_role_check", words.Role),
        ("trade_executions_side_check", words.Side),
        ("sync_runs_source_check", words.RunSource),
        ("sync_runs_state_check", words.RunState),
    ],
)
def test_a_check_lists_the_words_of_python(constraint: str, words_of: Any) -> None:
    listed = re.search(rf"constraint {constraint} check \(\s*\w+ in \((.*?)\)\)", SQL, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"'(\w+)'", listed[1])) == {member.value for member in words_of}


def test_statements_touch_only_tables_of_the_room_and_one_view() -> None:
    text = (ROOM / "queries.sql").read_text("utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    named = set(re.findall(r"\b(?:from|join|into|update)\s+(\w+)\.(\w+)", code))
    assert {f"{schema}.{table}" for schema, table in named if schema != "ibkr"} == {"ledger.v_positions"}
