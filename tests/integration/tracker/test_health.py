"""Is the desk well, and what proves its books: ages with their limits, what waits and failed, audits, breaks and anchors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.ledger import audit
from fillbook.ledger.words import INVARIANTS
from fillbook.runtime.db import Database
from fillbook.tracker import built
from infra.database import migrate
from tests.support.tracker_desk import BOOKED_AT, BROKER_KEY, NOW, get, published

Query = Callable[..., list[dict[str, Any]]]


@pytest.mark.usefixtures("booked")
def test_health_names_ages_queues_and_that_the_clock_is_simulated(client: FlaskClient, query: Query) -> None:
    status, answer = get(client, "/timed/health")
    assert (status, answer["status"], answer["reasons"]) == (200, "degraded", ["outbox_oldest_late"])
    assert answer["ages"]["last_execution"]["at"] == "2026-02-03T15:05:00.000Z"
    assert {name: age["state"] for name, age in answer["ages"].items()} == {
        "last_receipt": "none",
        "last_execution": "ok",
        "newest_mark": "ok",
        "outbox_oldest": "late",
        "last_delivery": "none",
        "last_audit": "none",
        "last_chain_anchor": "none",
    }
    assert (answer["ages"]["outbox_oldest"]["late_after_seconds"], answer["ages"]["outbox_oldest"]["stale_after_seconds"]) == (
        120, 600,
    )  # fmt: skip
    assert answer["outbox"] == {"depth": 5, "parked": 0}
    assert answer["clock"] == {"is_simulated": True}
    assert answer["session"]["date"] == answer["activity"]["date"] == "2026-02-03"
    assert answer["migrations"] == {"expected": built.MIGRATION, "applied": built.MIGRATION, "ok": True}
    assert (answer["build"], answer["sources"], answer["snapshot"]["due_stage"]) == (built.build(), [], "premarket")
    query("update outbox.events set published_at = recorded_at returning id")
    assert get(client, "/timed/health")[1]["status"] == "ok"


@pytest.mark.usefixtures("booked")
def test_whatever_is_not_well_is_named_and_the_answer_stays_200(client: FlaskClient, query: Query) -> None:
    query("update outbox.events set parked_at = recorded_at returning id")
    query(
        "insert into notify.channels (channel_id, kind, secret_name, status, status_reason, status_at)"
        " values ('ops', 'ops', 'HOOK', 'disabled', 'gone', :at) returning channel_id",
        at=NOW,
    )
    query(
        'insert into ledger.audits values (\'live\', :at, 25, \'{"findings": [{"invariant": 5, "name": "realized = Σ closings",'
        ' "ids": "x", "detail": "y"}], "warnings": []}\', 10, \'c\') returning exit',
        at=NOW - timedelta(minutes=1),
    )
    published(query, "2026-02-02")
    query("update ops.migration_version set version_num = '0001' returning version_num")
    status, answer = get(client, "/timed/health")
    assert (status, answer["status"]) == (200, "down")
    assert answer["reasons"] == [
        "migrations_behind", "dead_letters_events", "channels_standing_still", "snapshot_stale", "audit_findings",
    ]  # fmt: skip
    assert [(one["channel_id"], one["status"], one["status_reason"]) for one in answer["channels"]] == [
        ("ops", "disabled", "gone")
    ]
    (book,) = get(client, "/timed/audit")[1]["audits"]
    assert [one["number"] for one in book["invariants"] if one["state"] == "violated"] == [5]
    assert book["findings"] == [{"invariant": 5, "name": "realized = Σ closings", "ids": "x", "detail": "y"}]


@pytest.mark.usefixtures("booked")
def test_an_audit_shows_every_invariant_the_anchor_and_open_breaks_by_age(
    client: FlaskClient, db: Database, query: Query
) -> None:
    before = get(client, "/timed/audit")[1]["audits"][0]
    assert (before["exit"], {one["state"] for one in before["invariants"]}) == (None, {"unknown"})
    audit.audit_due(db, BOOKED_AT + timedelta(minutes=9))
    for number, sessions in enumerate((0, 0, 3, 9)):
        query(
            "insert into ledger.breaks (book_id, break_id, version, episode, source, kind, first_seen_at, last_seen_at, cause,"
            " sessions, announced, updated_at, instrument, ticker, currency, direction) values ('live', gen_random_uuid(), 1, 1,"
            " 'flex', 'position_quantity', :at, :at, 'timing', :sessions, 0, :at, 'ZZTA', 'ZZTA', 'USD', 'LONG')"
            " returning break_id",
            at=BOOKED_AT - timedelta(days=number),
            sessions=sessions,
        )
    answer = get(client, "/timed/audit?book_id=live")[1]
    (book,) = answer["audits"]
    assert (book["exit"], len(book["invariants"]), {one["state"] for one in book["invariants"]}) == (0, len(INVARIANTS), {"held"})
    assert [one["seq"] for one in book["chain_anchors"]] == [10]
    assert [(one["cause"], one["age"], one["count"]) for one in answer["break_groups"]] == [
        ("timing", "6+", 1), ("timing", "2-5", 1), ("timing", "0", 2),
    ]  # fmt: skip
    assert [one["sessions"] for one in answer["breaks"]] == [9, 3, 0, 0]
    assert get(client, "/timed/audit", BROKER_KEY)[1]["audits"] == []
    assert get(client, "/timed/audit?book_id=live", BROKER_KEY)[0] == 404


def test_the_code_says_which_migration_it_needs() -> None:
    assert max(path.name for path in migrate.MIGRATIONS.glob("*.sql"))[:4] == built.MIGRATION
