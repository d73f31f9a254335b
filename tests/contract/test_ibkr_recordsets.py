"""The room's documents against its database functions: a misspelt key would silently become NULL."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fillbook.ibkr import alerts, columns, jobs, positions, store, words
from fillbook.ibkr.corrections import settle
from fillbook.ibkr.fills import Booked
from fillbook.ibkr.intake import refusal
from fillbook.ibkr.model import PositionRow
from fillbook.ibkr.parents import resolve
from fillbook.ibkr.payloads import Requested
from fillbook.ibkr.store import News
from fillbook.runtime.db import Call
from tests.support.ibkr import FIRST, cancel, exec_id, flex

ROOM = Path(words.__file__).parent
MIGRATIONS = sorted((ROOM.parents[2] / "infra/database/migrations").glob("*.sql"))
SQL = "\n".join(path.read_text("utf-8") for path in MIGRATIONS)
NOW = datetime(2026, 1, 6, tzinfo=UTC)
NOBODY = "00000000-0000-0000-0000-000000000000"
ROW = flex(exec_id(1), transactionID="5")
CANCEL = cancel("-1", transactionID="6", origTransactionID="5")
NEWS = News(payloads=(ROW,), returned=(ROW,), cancels=(CANCEL,), unpaid=frozenset(), is_opened=True)


def function(name: str) -> str:
    """The body of a function as the last migration that made it wrote it."""
    bodies = re.findall(rf"create (?:or replace )?function ibkr\.{name}\(.*?\$\$(.*?)\$\$", SQL, re.DOTALL)
    assert bodies, name
    return str(bodies[-1])


def keys_read(name: str) -> set[str]:
    """The keys of its document that a function reads."""
    return set(re.findall(r"document->>?'(\w+)'", function(name)))


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
    assert set(store.apply_document(FIRST, "run", NOW, NEWS)) == keys_read("apply")


def test_what_is_asked_of_the_surroundings_has_exactly_the_keys_it_reads() -> None:
    assert set(store._keys(FIRST, NEWS)) == keys_read("load")


def test_a_refused_row_has_exactly_the_columns_it_is_kept_with() -> None:
    call = store.put_aside([refusal("tws", "U1", words.Reason.BAD_FRAME, "x", ["a"])], None, NOW)
    assert set(call.document["rows"][0]) == record_set("put_aside", "rows")  # type: ignore[call-overload]


class Spy:
    """A database and its transaction in one: keeps the calls, answers what the room needs to go on."""

    ANSWERS: Mapping[str, Any] = {
        "ibkr.enqueue_job": {"id": NOBODY, "is_new": True, "state": "queued", "not_before": NOW.isoformat()},
        "ibkr.leave_job": {"held": True, "merged_into": None},
        "ibkr.known": {"payloads": [], "returned": [], "events": [], "unpaid": [], "is_opened": True, "begins_at": None}
        | {"has_quarantine": False},
    }

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}

    def call(self, call: Call) -> list[Any]:
        self.documents[call.function] = call.document
        return [self.ANSWERS.get(call.function)]

    def send(self, call: Call) -> None:
        self.call(call)

    def query(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return []

    def execute(self, *_: Any, **__: Any) -> int:
        return 1

    def run(self, work: Callable[[Any], Any], **_: Any) -> Any:
        return work(self)


def spied() -> dict[str, Any]:
    """The documents of the room's calls, by function."""
    spy: Any = Spy()
    job = jobs.Job(
        job_id=NOBODY,
        job_type="trades.sync",
        payload={},
        attempts=1,
        deferrals=0,
        requested_by="x",
        lease_token=NOBODY,
        created_at=NOW,
    )
    requested = Requested(job_type="trades.sync", payload={})
    jobs.finish(spy, job, NOW, [(requested, NOW)])
    jobs.claim(spy, NOW)
    alerts.announce(spy, [FIRST], "tws", {"error_class": "x"}, cause="x", run_id=None, now=NOW)
    begun = positions.begin_statement_positions(spy, NOW, None)
    held = PositionRow(account_id=1, conid=1, symbol="A", sec_type="STK", currency="USD", quantity=Decimal(1))
    row = positions._Answer(account=FIRST, rows=(held,), as_of=NOW, source=words.RunSource.TWS, name="tws", run_id=begun)
    spy.send(Call("ibkr.store_positions", row._document()))
    positions._end(spy, words.RunSource.TWS, words.RunState.COMPLETE, begun, [(FIRST, NOW, True)], {}, NOW)
    store.news(spy, FIRST, [ROW], [CANCEL])
    return dict(spy.documents)


LISTS = {
    "ibkr.store_positions": "rows",
    "ibkr.open_anomalies": "rows",
    "ibkr.end_run": "coverage",
    "ibkr.known": "payloads",
}


@pytest.mark.parametrize(
    "name",
    ["enqueue_job", "claim_job", "leave_job", "store_positions", "open_anomalies", "begin_run", "end_run", "known"],
)
def test_a_call_says_exactly_what_its_function_reads(name: str) -> None:
    document = spied()[f"ibkr.{name}"]
    assert set(document) == keys_read(name)
    of_rows = LISTS.get(f"ibkr.{name}")
    if of_rows is not None:
        assert set(document[of_rows][0]) == record_set(name, of_rows)


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
