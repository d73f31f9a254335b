"""The function over HTTP: who may call, what an answer holds, what a refusal tells; and the job it starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.replay import api
from tests.support.functions import FunctionApps
from tests.support.kept_jobs import KeptJobs
from tests.support.replay_desk import LATER, OPENS, ReplayDesk, walk

INGEST = "/timed/admin/replay-ingest"
RUNS = "/timed/admin/replay-runs"
ADMIN, READER = "key-of-an-administrator", "key-of-a-reader"
CANARY = "canary-3f1d"
FIXED = {
    "ok", "date", "ticker", "bucketProcessed", "rowsProcessed", "tradesCreated", "tradesPurged", "nextBucket", "hasMore",
}  # fmt: skip
ADDED = {
    "hasMoreInBucket", "after", "runId", "book", "rowsSkipped", "rowsConflict", "bucketsDone", "bucketsTotal", "changed",
    "elapsedMs", "resultHash",
}  # fmt: skip


def key(text: str, scope: str) -> dict[str, Any]:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"id": scope, "sha256": digest, "scopes": [scope], "tenant_id": "desk", "books": ["*"]}


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> KeptJobs:
    made = KeptJobs()
    monkeypatch.setattr(api, "cloud_run_for", lambda *_, **__: made)
    return made


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Mapping[str, str]:
    clock = tmp_path / "clock.json"
    clock.write_text(json.dumps({"desk_at": LATER.isoformat(), "real_at": 0, "speed": 1.0, "paused": True}))
    return {
        "FILLBOOK_ENV": "local",
        "FILLBOOK_PROJECT": "fillbook-local",
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=replay_worker",
        "FILLBOOK_DESK_CLOCK": str(clock),
        "DESK_KEYS": json.dumps([key(ADMIN, "admin"), key(READER, "read")]),
    }


@pytest.fixture
def app(function_app: FunctionApps, settings: Mapping[str, str], platform: KeptJobs) -> FlaskClient:
    return function_app("replay_worker", settings)


@pytest.fixture
def task(
    app: FlaskClient, function_app: FunctionApps, settings: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """The entry point of the job, in the surroundings of the function."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    work_off: Callable[[], None] = function_app.modules["replay_worker"].work_off
    return work_off


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def post(app: FlaskClient, path: str = INGEST, *, query: str = "", **body: Any) -> tuple[int, Any, Any]:
    answer = app.post(path + query, json=body, headers=bearer(ADMIN))
    return answer.status_code, answer.get_json(), answer.headers


def test_scenario_30_only_an_administrators_key_opens_and_no_key_stands_in_a_url(
    app: FlaskClient, capfd: pytest.CaptureFixture[str]
) -> None:
    outcomes = {}
    for name, headers in {"none": {}, "wrong": bearer(CANARY), "ingest": bearer("ingest-token"), "read": bearer(READER)}.items():
        answer = app.post(INGEST, json={}, headers=headers)
        outcomes[name] = (answer.status_code, answer.get_json()["reason"])
    assert set(outcomes.values()) == {(401, "unauthorized")}
    for name in ("key", "token", "Key"):
        answer = app.post(f"{INGEST}?{name}={CANARY}", json={}, headers=bearer(ADMIN))
        assert (answer.status_code, answer.get_json()["reason"]) == (400, "key_in_url")
        assert CANARY not in answer.get_data(as_text=True)
    told = capfd.readouterr()
    assert CANARY not in told.out + told.err


def test_scenario_1_an_answer_holds_the_nine_fixed_keys_and_the_added_ones(app: FlaskClient, desk: ReplayDesk) -> None:
    desk.keep(walk(3, ["ZZTA"], range(10)))
    status, told, _ = post(app, query="?date=2026-02-02", ticker="NYSE:zzta", limit=5)
    assert (status, set(told)) == (200, FIXED | ADDED)
    assert set(list(told)[:9]) == FIXED, "the fixed contract comes first"
    assert (told["ticker"], told["rowsProcessed"], told["bucketProcessed"], told["nextBucket"]) == (
        "ZZTA",
        5,
        OPENS,
        OPENS + 300_000,
    )
    assert (told["hasMore"], told["hasMoreInBucket"], told["bucketsDone"], told["bucketsTotal"]) == (True, False, 1, 78)
    assert told["book"] == f"replay:{told['runId']}"
    status, whole, _ = post(app, date="2026-02-02")
    assert (status, whole["ticker"]) == (200, None)


@pytest.mark.parametrize(
    ("query", "body", "status", "told"),
    [
        ("?date=2026-02-02", {"date": "2026-02-02"}, 400, {"reason": "param_twice", "field": "date"}),
        ("", {"colour": 1}, 400, {"reason": "param", "field": "colour"}),
        ("", {"date": "2026-2-2"}, 400, {"reason": "param", "field": "date"}),
        ("", {"date": "2026-02-07"}, 400, {"reason": "no_session", "field": "date"}),
        ("", {"date": "2026-07-02"}, 400, {"reason": "date_in_future", "field": "date"}),
        ("", {"date": "2026-02-02", "bucket": 1_770_066_000_000}, 400,
         {"reason": "bucket_not_in_day", "field": "bucket", "firstBucket": OPENS, "lastBucket": OPENS + 77 * 300_000}),
        ("", {"date": "2026-02-02", "offset": 25}, 409, {"reason": "offset_mismatch", "expected": 0}),
        ("", {"target": "live", "cleanSlate": 1}, 400, {"reason": "live_never_purged", "field": "cleanSlate"}),
        ("", {"date": "2026-02-02", "target": "live"}, 403, {"reason": "live_target_disabled"}),
        ("", {"date": "2026-02-02", "profile": "nobodys"}, 400, {"reason": "param", "field": "profile"}),
    ],
)  # fmt: skip
def test_a_refusal_names_its_reason_and_what_helps(
    app: FlaskClient, query: str, body: dict[str, Any], status: int, told: dict[str, Any]
) -> None:
    assert post(app, query=query, **body)[:2] == (status, {"ok": False, **told})


def test_a_run_that_is_worked_on_is_busy_and_says_when_to_come_back(app: FlaskClient, desk: ReplayDesk) -> None:
    run_id = post(app, date="2026-02-02")[1]["runId"]
    desk.query(
        "update replay.run_records set lease_token = gen_random_uuid(), lease_until = clock_timestamp() + interval '1 min'"
    )
    status, told, headers = post(app, date="2026-02-02")
    assert (status, told) == (409, {"ok": False, "reason": "run_busy"})
    assert int(headers["Retry-After"]) > 0
    answer = app.delete(f"{RUNS}/{run_id}", headers=bearer(ADMIN))
    assert (answer.status_code, answer.get_json()["reason"]) == (409, "run_busy")


def test_a_day_as_a_job_is_accepted_walked_shown_listed_and_removed(
    app: FlaskClient, desk: ReplayDesk, platform: KeptJobs, task: Callable[[], None]
) -> None:
    desk.keep(walk(3, ["ZZTA", "ZZTB"], range(10)))
    by_calls = desk.day(run="calls")[-1]
    status, told, _ = post(app, RUNS, date="2026-02-02", name="job")
    assert status == 202
    [run_id] = told["runs"]

    assert platform.started == [("replay-worker-job", 1, {})]
    task()
    record = app.get(f"{RUNS}/job", headers=bearer(ADMIN)).get_json()
    assert (record["runId"], record["resultHash"], record["rows"]) == (run_id, by_calls.result_hash, 20)
    assert record["status"] == "done"
    assert record["gaps"]["grade"] == "gap"
    first = app.get(f"{RUNS}?limit=1", headers=bearer(ADMIN)).get_json()
    second = app.get(f"{RUNS}?limit=1&after={first['after']}", headers=bearer(ADMIN)).get_json()
    assert {first["runs"][0]["name"], second["runs"][0]["name"]} == {"job", "calls"}
    assert app.delete(f"{RUNS}/job", headers=bearer(ADMIN)).get_json() == {"ok": True}
    assert app.get(f"{RUNS}/job", headers=bearer(ADMIN)).status_code == 404


def test_a_pinned_run_is_no_ones_to_delete_until_it_is_unpinned(app: FlaskClient) -> None:
    run_id = post(app, date="2026-02-02", run="mine")[1]["runId"]
    assert post(app, f"{RUNS}/mine/pin")[:2] == (200, {"ok": True, "runId": run_id, "pinned": True})
    assert app.get(f"{RUNS}/mine", headers=bearer(ADMIN)).get_json()["pinned"] is True
    held = app.delete(f"{RUNS}/mine", headers=bearer(ADMIN))
    assert (held.status_code, held.get_json()["reason"]) == (409, "run_pinned")
    assert post(app, f"{RUNS}/{run_id}/unpin")[:2] == (200, {"ok": True, "runId": run_id, "pinned": False})
    assert app.delete(f"{RUNS}/mine", headers=bearer(ADMIN)).status_code == 200
    for word in ("pin", "unpin"):
        status, told, _ = post(app, f"{RUNS}/mine/{word}")
        assert (status, told["reason"]) == (404, "run_unknown")


def test_a_job_that_cannot_be_started_fails_nothing_and_the_next_start_takes_its_runs_along(
    app: FlaskClient, desk: ReplayDesk, platform: KeptJobs, task: Callable[[], None], capfd: pytest.CaptureFixture[str]
) -> None:
    platform.is_away = True
    assert post(app, RUNS, date="2026-02-02", name="waits")[0] == 202
    [told] = [json.loads(line) for line in capfd.readouterr().out.splitlines() if "replay_job_not_started" in line]
    assert (told["severity"], told["reason"]) == ("WARNING", "job_not_started")
    assert desk.shown("waits")["status"] == "planned"
    platform.is_away = False
    assert post(app, RUNS, dates=["2026-02-02"], tickers=["ZZTA", "ZZTB"])[0] == 202
    assert platform.started == [("replay-worker-job", 2, {})]
    task()
    assert {row["status"] for row in desk.query("select status from replay.run_records")} == {"done"}
