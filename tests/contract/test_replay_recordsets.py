"""The documents this room sends have exactly the keys that the database reads: a misspelt one would silently become NULL."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from fillbook.replay import opening, store
from fillbook.replay.hashing import Remembered
from fillbook.replay.model import Cause, Checkpoint, Run, RunKind, RunStatus
from fillbook.signal import store as signal_store

SQL = (Path(__file__).resolve().parents[2] / "infra/database/migrations/0022_replay.sql").read_text("utf-8")
PLAN = {"position_id": "p", "stop": "1", "tiers_taken": 0, "adds": 0, "cycles_used": [], "plan": {"side": "LONG"}, "sector": None}


def body_of(function: str) -> str:
    found = re.search(rf"create function {function}\(.*?\$\$(.*?)\$\$", SQL, re.DOTALL)
    assert found is not None
    return found[1]


def keys_read(function: str) -> set[str]:
    return set(re.findall(r"document->>?'(\w+)'", body_of(function)))


def columns(function: str, key: str) -> set[str]:
    found = re.search(rf"jsonb_to_recordset\(document->'{key}'\) as r\(\s*([^()]*)\)", body_of(function))
    assert found is not None
    return {column.split()[0] for column in found[1].split(",")}


class Sent:
    """A transaction that keeps what it is told."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}

    def send(self, *calls: Any) -> None:
        self.documents |= {call.function: call.document for call in calls}


def test_a_rewind_says_what_is_read() -> None:
    sent, run = Sent(), Run(run_id="r", kind=RunKind.DAY, book_id="replay:r", scope=None, pins=None, status=RunStatus.PAUSED)  # type: ignore[arg-type]
    memories = {"ZZTA": Remembered(version=1, state={"version": 1}, plan=PLAN)}
    opening.restore(sent, run, memories, from_ts=0, snapshots_from=date(2026, 2, 2))  # type: ignore[arg-type]
    document = sent.documents["signal.rewind"]
    assert set(document) == keys_read("signal.rewind")
    assert set(document["states"][0]) == columns("signal.rewind", "states")
    assert set(document["plans"][0]) == columns("signal.rewind", "plans")


def test_a_page_is_asked_for_with_what_is_read() -> None:
    assert set(signal_store.page_call("replay:r", ["ZZTA"]).document) == keys_read("signal.load_page")


def test_what_is_counted_on_is_what_is_read() -> None:
    text = (Path(store.__file__).with_name("incremental.py")).read_text("utf-8")
    [document] = re.findall(r"document = \{(.*?)\n        \}", text, re.DOTALL)
    assert set(re.findall(r'^ +"(\w+)":', document, re.MULTILINE)) == keys_read("signal.renumber")
    named = re.search(r"select (.*?)\n +from", store.QUERIES["plans_now"].text, re.DOTALL)
    assert named is not None
    assert {column.split()[-1].split(".")[-1] for column in named[1].split(",")} == columns("signal.renumber", "plans")


def test_a_checkpoints_row_has_the_columns_of_its_record_set_and_table() -> None:
    found = re.search(r"jsonb_to_recordset\(:rows::jsonb\) as r\(([^()]*)\)", store.QUERIES["checkpoints_put"].text)
    assert found is not None
    names = [column.split()[0] for column in found[1].split(",")]
    assert names == [each.name for each in fields(Checkpoint)]
    table = re.search(r"create table replay.checkpoints \((.*?)\n    constraint", SQL, re.DOTALL)
    assert table is not None
    assert names == [line.split()[0] for line in table[1].strip().splitlines()]


@pytest.mark.parametrize(("kind", "name"), [(RunKind, "run_kind"), (RunStatus, "run_status")])
def test_words_are_those_of_the_database(kind: Any, name: str) -> None:
    found = re.search(rf"create type replay.{name} as enum \((.*?)\)", SQL, re.DOTALL)
    assert found is not None
    assert [word.value for word in kind] == re.findall(r"'(\w+)'", found[1])


def test_causes_are_those_of_the_database() -> None:
    found = re.search(r"check \(cause in \((.*?)\)\)", SQL)
    assert found is not None
    assert [cause.value for cause in Cause] == re.findall(r"'(\w+)'", found[1])
