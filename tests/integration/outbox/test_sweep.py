"""The sweeper: publishing, deleting what has expired, telling age and depth; the function around it and the operator's verbs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from fillbook.outbox import __main__ as verbs
from fillbook.outbox import store
from fillbook.outbox.service import quarantine, receive, relay, sweep
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from tests.support.outbox import NOON, commit, event, state
from tests.support.publisher import FakePublisher

Query = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOON)


@pytest.fixture
def relay_db(open_database: Any) -> Database:
    database: Database = open_database("outbox_writer")
    return database


def logged(capsys: pytest.CaptureFixture[str], name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    return [line for line in lines if line["message"] == name]


def test_age_and_depth_are_told_also_when_nothing_waits(
    relay_db: Database, clock: FixedClock, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(relay_db, FakePublisher(), now_from=clock)
    (line,) = logged(capsys, "outbox_swept")
    assert (line["outbox_oldest_unpublished_seconds"], line["depth"]) in [(0, 0), ("0.0", 0)]


def test_age_counts_desk_seconds_of_the_oldest_event_that_waits(
    relay_db: Database, db: Database, clock: FixedClock, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(db, [event("live/AMD", 1), event("live/NVDA", 1, recorded_at=NOON + timedelta(seconds=40))])
    clock.step(100)
    publisher = FakePublisher()
    publisher.fail_next(1, "live/AMD")
    sweep(relay_db, publisher, now_from=clock)
    (line,) = logged(capsys, "outbox_swept")
    assert (float(line["outbox_oldest_unpublished_seconds"]), line["depth"], line["published"], line["failed"]) == (100, 1, 1, 1)


def test_published_events_live_seven_days_and_inbox_rows_forty_five(
    relay_db: Database, db: Database, clock: FixedClock, query: Query
) -> None:
    commit(db, [event("live/AMD", 1)])
    parked = event("live/NVDA", 1)
    commit(db, [parked])
    publisher = FakePublisher()
    publisher.refuse(parked.event_id)
    sweep(relay_db, publisher, now_from=clock)
    with relay_db.transaction() as tx:
        receive(tx, "c", uuid4(), clock.now())
    clock.step(7 * 86_400)
    sweep(relay_db, publisher, now_from=clock)
    assert len(state(db)) == 2, "exactly seven days old is not over seven days old"
    clock.step(1)
    sweep(relay_db, publisher, now_from=clock)
    assert [row["aggregate_key"] for row in state(db)] == ["live/NVDA"], "what was never published is never deleted"
    assert len(query("select 1 from outbox.inbox")) == 1
    clock.step(38 * 86_400)
    sweep(relay_db, publisher, now_from=clock)
    assert query("select 1 from outbox.inbox") == []


def test_expired_rows_go_five_thousand_a_statement_until_none_is_left(
    relay_db: Database, query: Query, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    query(
        "insert into outbox.inbox select 'c', gen_random_uuid(), 'applied', :at::timestamptz - interval '46 days'"
        " from generate_series(1, 12001)",
        at=NOON,
    )
    counts: list[tuple[int, int]] = []
    real = store.purge

    def counted(db: Database, now: datetime) -> tuple[int, int]:
        counts.append(real(db, now))
        return counts[-1]

    monkeypatch.setattr(store, "purge", counted)
    sweep(relay_db, FakePublisher(), now_from=clock)
    assert counts == [(0, 5000), (0, 5000), (0, 2001)]


def test_a_sweep_stays_in_its_budget(relay_db: Database, db: Database, clock: FixedClock) -> None:
    commit(db, [event("live/AMD", version) for version in range(250)])
    publisher = FakePublisher()
    report = relay(relay_db, publisher, now_from=clock, budget_seconds=0)
    assert (report.published, report.is_drained) == (0, False)
    report = sweep(relay_db, publisher, now_from=clock)
    assert (report.published, report.is_drained) == (250, True)
    assert [len(request) for request in publisher.requests] == [100, 100, 50]


def test_the_function_sweeps_for_the_scheduler_and_for_nobody_else(function_app: Any, database_url: str) -> None:
    env = {
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=outbox_writer",
        "FILLBOOK_PROJECT": "fillbook-local",
        "FILLBOOK_LOCAL_URL": "http://127.0.0.1:9",
        "FILLBOOK_OIDC_AUDIENCE": "https://outbox-relay.fillbook-local.invalid",
        "FILLBOOK_OIDC_CALLERS": "cloud-scheduler@fillbook-local.iam.gserviceaccount.com",
    }
    client = function_app("outbox_relay", env)
    assert client.post("/").status_code == 401
    module = function_app.modules["outbox_relay"]
    allowed = type("Allowed", (), {"check": staticmethod(lambda request: "cloud-scheduler")})()
    module.verifier = lambda: allowed
    answer = client.post("/", json={})
    assert (answer.status_code, answer.get_json()["is_drained"]) == (200, True)
    assert client.get("/").status_code == 405
    module.database().close()


@pytest.fixture
def op(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    monkeypatch.setenv("FILLBOOK_ENV", "local")
    monkeypatch.setenv("FILLBOOK_DATABASE_URL", f"{database_url}?role=desk_operator")

    def run(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
        capsys.readouterr()
        code = verbs.main(arguments)
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def test_an_operator_lists_parked_events_and_puts_them_back_in_line(
    op: Callable[..., Any], relay_db: Database, db: Database, clock: FixedClock
) -> None:
    events = [event("live/AMD", 1), event("live/NVDA", 1), event("live/NVDA", 2)]
    commit(db, events)
    publisher = FakePublisher()
    for one in events:
        publisher.refuse(one.event_id)
    relay(relay_db, publisher, now_from=clock, budget_seconds=5)
    code, rows = op("parked")
    assert code == 0
    assert {row["event_id"] for row in rows} == {str(one.event_id) for one in events}
    assert op("parked", "--reason", "another")[1] == []
    assert op("backlog")[1] == [{"depth": 0, "parked": 3, "oldest_unpublished_seconds": 0}]
    assert op("retry", "--event", str(events[0].event_id)) == (0, [{"retried": 1}])
    assert op("retry", "--event", str(events[0].event_id)) == (1, [{"retried": 0}])
    assert op("retry", "--reason", "publish_refused") == (0, [{"retried": 2}])
    mended = FakePublisher()
    relay(relay_db, mended, now_from=clock, budget_seconds=5)
    assert mended.versions("live/NVDA") == [1, 2]
    assert op("parked")[1] == []


def test_an_operator_lists_and_resolves_quarantined_messages(op: Callable[..., Any], db: Database) -> None:
    with db.transaction() as tx:
        quarantine(tx, "discord_notifier", reason="event_type_unknown", body=b"{}", now=NOON)
    code, (row,) = op("quarantine")
    assert (code, row["reason"], row["count"]) == (0, "event_type_unknown", 1)
    assert op("quarantine", "--resolve", row["body_hash"])[0] == 2
    assert op("quarantine", "--consumer", "discord_notifier", "--resolve", row["body_hash"])[0] == 0
    assert op("quarantine", "--consumer", "discord_notifier", "--resolve", row["body_hash"])[0] == 1
    assert op("quarantine")[1] == []
    assert len(op("quarantine", "--resolved")[1]) == 1


def test_an_operator_without_a_database_is_told_so(op: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILLBOOK_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    assert op("backlog") == (3, [])
    monkeypatch.delenv("FILLBOOK_DATABASE_URL")
    assert op("backlog") == (2, [])
