"""What the demo day's summary says of its published snapshot, read with an operator's rights: it is part of the proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from infra.local.demo import told, told_of_snapshot
from infra.local.summary import Operator, Summary
from tests.support.tracker_desk import published

DAY = date(2026, 2, 3)
PROVEN = Summary(
    since="",
    until="",
    clock="simulated",
    sent=1,
    accepted=1,
    refused={},
    repeats=0,
    receipts={"decided": 1},
    lanes={},
    executions=0,
    executions_by_type={},
    messages=0,
    messages_by_state={},
    realized_pnl={},
    unrealized_pnl={},
    broker={},
    mt5={"accounts": 0, "synced": 0, "deals": 0, "trades": 0, "executions": 0, "told": 0},
    syncs_mt5=True,
    snapshot={},
    audit_exit=0,
    audit_findings=0,
    seconds=1.0,
)


@pytest.fixture
def operator(database_url: str) -> Iterator[Operator]:
    environment = {
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=desk_operator",
        "SNAPSHOT_PUBLISHER_URL": "http://127.0.0.1:1",
    }
    looked = Operator(environment)
    yield looked
    looked.close()


def test_a_published_day_stands_in_the_summary_and_one_that_is_not_is_no_proof(
    operator: Operator, query: Callable[..., list[dict[str, Any]]]
) -> None:
    missing = operator.snapshot(DAY)
    assert told_of_snapshot(missing) == "2026-02-03 is not published"
    published(query, "2026-02-03", version=2)
    found = operator.snapshot(DAY)
    assert found == {
        "date": "2026-02-03",
        "status": "published",
        "stage": "final",
        "version": 2,
        "rows": 392,
        "content_sha256": "ab" * 32,
    }
    assert [replace(PROVEN, snapshot=one).is_proven for one in ({}, found, missing)] == [True, True, False]
    assert "  snapshot    2026-02-03 published: final, version 2, 392 rows, abababababababab\n" in told(
        replace(PROVEN, snapshot=found), {}
    )
    assert replace(PROVEN, snapshot=found).document()["snapshot"] == found


def test_the_day_counts_as_published_when_the_slot_after_the_close_has_ended(
    operator: Operator, query: Callable[..., list[dict[str, Any]]]
) -> None:
    published(query, "2026-02-03")
    assert not operator.is_published(DAY)
    query("update metrics.publications set slot = 'postmarket' returning 1")
    assert operator.is_published(DAY)
