"""The lenient receiver answers and stores as its recorded peer did, shows what it stored, and fails when it is told to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.local.d1_store import TABLES
from infra.local.lenient import LATEST, POST_PATH, LenientReceiver
from infra.local.ports import free_port
from infra.local.snapshot_faults import KNOBS

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "snapshot"
CASES: list[dict[str, Any]] = (
    [json.loads(line) for line in (DATA / "real_receiver_cases.jsonl").read_text("utf-8").splitlines()] if DATA.exists() else []
)
here = pytest.mark.skipif(not CASES, reason="the recorded cases of a receiver are not here")
NOW = "2026-02-11T22:00:00.123Z"
MINUTE = timedelta(minutes=1)
OPEN = datetime(2026, 2, 11, 14, 30, tzinfo=UTC)
DAY = {"date": "2026-02-11", "updated_at": "2026-02-11T21:00:00.000Z", "rows": [{"kpi": "K", "value": "1"}]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LenientReceiver]:
    with LenientReceiver(tmp_path_factory.mktemp("lenient") / "days.sqlite", now=lambda: NOW) as receiver:
        yield receiver


@pytest.fixture
def receiver(served: LenientReceiver) -> LenientReceiver:
    served.store.clear()
    served.faults.rules.clear()
    served.forget_calls()
    return served


def post(receiver: LenientReceiver, body: object, **headers: str) -> requests.Response:
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    given = {"X-Internal-Token": receiver.token, "Content-Type": "application/json", **headers}
    return requests.post(receiver.base_url + POST_PATH, data=data, headers=given, timeout=20)


def read(receiver: LenientReceiver, path: str, **headers: str) -> requests.Response:
    given = {"Authorization": f"Bearer {receiver.read_key}", **headers}
    return requests.get(receiver.base_url + path, headers=given, timeout=20)


# --- the recorded cases -------------------------------------------------------------------------------------------------


def minutes(count: int) -> list[str]:
    return [f"{OPEN + number * MINUTE:%Y-%m-%dT%H:%M:%S}.000Z" for number in range(count)]


def torn() -> dict[str, Any]:
    asset = {"trade_id": 1, "contract_name": "C"}
    return {
        **DAY,
        "updated_at": "2026-02-11T17:30:00.000Z",
        "headline": "new",
        "summary": "s",
        "rows": [{"kpi": f"K{number}", "value": str(number)} for number in range(10)],
        "overlay": {
            "seriesByKpi": {"a": [{"t": at, "v": number} for number, at in enumerate(minutes(450))]},
            "portfolioAssets": [asset, asset],
        },
    }


def large(count: int = 400) -> dict[str, Any]:
    item = {"symbol": "A", "contract_name": "A1", "metric_raw": 1.5, "mid_ts": "2026-02-11T20:59:00.000Z"}
    sides = {side: [{"trade_id": rank, **item} for rank in range(10)] for side in ("hi", "lo")}
    return {
        "date": "2026-02-11",
        "updated_at": "2026-02-11T21:30:00.000Z",
        "rows": [{"kpi": f"KPI {number:02}", "value": "1"} for number in range(25)],
        "overlay": {
            "seriesByKpi": {f"KPI {one:02}": [{"t": at, "v": 1.25, "src": "live"} for at in minutes(count)] for one in range(15)},
            "extremes": {"byKpi": {f"KPI {number:02}": sides for number in range(20)}},
            "portfolioAssets": [{"trade_id": number, "symbol": "A", "contract_name": "A1"} for number in range(200)],
        },
    }


def long_series() -> dict[str, Any]:
    points = [{"t": at, "v": 1} for at in minutes(2500)]
    return {
        "date": "2026-02-11",
        "updated_at": "2026-02-11T21:30:00.000Z",
        "rows": [{"kpi": "KPI 00", "value": "1"}],
        "overlay": {"seriesByKpi": {"KPI 00": points}},
    }


GENERATED = {
    "partial-failure-late-chunk": torn,
    "size-6625-rows": large,
    "size-series-2500-one-kpi-read-cap": long_series,
}


def body_of(case: dict[str, Any]) -> bytes:
    request = case["request"]
    if "body_raw" in request:
        return str(request["body_raw"]).encode()
    given = GENERATED[case["case"]]() if "body_generated" in request else request["body"]
    return json.dumps(given, ensure_ascii=False, separators=(",", ":")).encode()


def known(value: Any) -> Any:
    """A recorded value with what depended on the peer's clock and taste as it is here."""
    text = json.dumps(value).replace("<server time>", NOW).replace("<peer default headline>", "Metrics for 2026-02-11")
    return json.loads(text)


def row_of(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """A stored row as the file shows it."""
    shown = {name: value for name, value in row.items() if name != "id" and value is not None}
    for name in ("rows_json", "overlay_json", "item_json"):
        if name in shown:
            shown[name.removesuffix("_json")] = json.loads(shown.pop(name))
    return shown


@here
def test_all_recorded_cases_are_replayed_here() -> None:
    assert len({case["case"] for case in CASES}) == 45
    assert {case["case"] for case in CASES if "body_generated" in case["request"]} == set(GENERATED)


@here
@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_it_does_what_was_recorded(receiver: LenientReceiver, case: dict[str, Any]) -> None:
    request, observed = case["request"], case["observed"]
    if "preceded_by" in case:
        assert post(receiver, (DATA / f"{case['preceded_by']}.json").read_bytes()).status_code == 200
    headers = {"Content-Type": "application/json", **request.get("headers", {})}
    if request["token"] is not None:
        headers["X-Internal-Token"] = request["token"].replace("<correct>", receiver.token).strip()
    answer = requests.request(
        request["method"], receiver.base_url + request["path"], data=body_of(case), headers=headers, timeout=20
    )
    assert (answer.status_code, answer.json()) == (observed["status"], known(observed["body"]))
    assert receiver.store.counts() == observed["counts"]
    for table, rows in observed.get("rows", {}).items():
        stored = receiver.store.rows(table)
        wanted = known(rows)
        for row in wanted:
            if isinstance(row.get("overlay"), str):  # a document of which only the size was kept
                assert row.pop("overlay") == f"<{len(stored[0].pop('overlay_json'))} chars>"
        assert [row_of(table, row) for row in stored] == wanted
    for asked in observed.get("reads", []):
        shown = read(receiver, asked["path"])
        body = shown.json()
        if "points_returned" in asked["body"]:
            body["points_returned"] = len(body.pop("points"))
        assert (shown.status_code, body) == (asked["status"], asked["body"])


@here
def test_the_torn_case_has_the_size_of_the_recorded_body() -> None:
    [case] = [one for one in CASES if one["case"] == "partial-failure-late-chunk"]
    assert len(body_of(case)) == case["request"]["body_bytes"]


# --- readers --------------------------------------------------------------------------------------------------------------


def test_the_public_reader_shows_the_archive_and_tells_the_same_for_a_while_unless_asked_not_to(
    receiver: LenientReceiver,
) -> None:
    post(receiver, {**DAY, "headline": "first"})
    url = f"{receiver.base_url}{LATEST}?date=2026-02-11"
    fresh = {"Cache-Control": "no-cache"}
    first = requests.get(url, headers=fresh, timeout=20).json()
    assert (first["headline"], first["rows"]) == ("first", DAY["rows"])
    assert first["overlay"] == {"seriesByKpi": {}, "extremes": {}, "portfolioAssets": []}
    post(receiver, {**DAY, "headline": "second"})
    assert requests.get(url, timeout=20).json()["headline"] == "first"
    assert requests.get(url, headers=fresh, timeout=20).json()["headline"] == "second"
    assert requests.get(url, timeout=20).json()["headline"] == "second"
    assert requests.get(f"{receiver.base_url}{LATEST}?date=2026-02-10", timeout=20).status_code == 404


def test_the_keyed_readers_give_the_rows_of_each_table(receiver: LenientReceiver) -> None:
    post(receiver, large(30))
    paths = {
        "/v1/metrics/kpis?date=2026-02-11": ("items", 25),
        "/v1/metrics/series?kpi=KPI%2003&date=2026-02-11&limit=2000": ("points", 30),
        "/v1/metrics/extremes?kpi=KPI%2003&side=lo&date=2026-02-11&limit=50": ("items", 10),
        "/v1/metrics/portfolio-assets?date=2026-02-11&limit=2000": ("items", 200),
    }
    for path, (name, count) in paths.items():
        assert requests.get(receiver.base_url + path, timeout=20).status_code == 401
        assert len(read(receiver, path).json()[name]) == count, path
    item = read(receiver, "/v1/metrics/extremes?kpi=KPI%2003&side=hi").json()["items"][0]
    assert (item["rank"], item["metric_raw"], item["item"]["symbol"]) == (1, 1.5, "A")
    assert read(receiver, "/v1/metrics/daily").json()["updated_at"] == "2026-02-11T21:30:00.000Z"
    assert read(receiver, "/v1/metrics/kpis?date=2026-02-10").status_code == 404
    assert read(receiver, "/v1/metrics/versions").status_code == 404


# --- faults ---------------------------------------------------------------------------------------------------------------


def test_a_stop_leaves_the_transactions_before_it_and_without_rollback_its_own_too(receiver: LenientReceiver) -> None:
    document = torn()
    document["overlay"]["portfolioAssets"].pop()
    for rollback, points in ((True, 190), (False, 194)):
        receiver.fault("stop", n=210, rollback=rollback)  # five statements, two hundred rows, then four
        assert post(receiver, document).status_code == 500
        counts = receiver.store.counts()
        assert (counts["metrics_kpi_values"], counts["metrics_series_points"]) == (10, points)
    assert post(receiver, document).json()["ok"] is True
    assert receiver.store.counts()["metrics_series_points"] == 450


def test_what_it_forgets_it_acknowledges_and_what_it_alters_it_alters_once(receiver: LenientReceiver) -> None:
    receiver.fault("forget")
    receiver.fault("alter", table="metrics_kpi_values")
    assert post(receiver, DAY).json()["ok"] is True
    assert receiver.store.counts()["metrics_daily"] == 0
    for value in (2, 1):
        assert post(receiver, DAY).json()["ok"] is True
        assert receiver.store.rows("metrics_kpi_values")[0]["value_num"] == value


@pytest.mark.parametrize(
    ("kind", "rule", "status", "stored"),
    [
        ("status", {"status": 429, "retry_after": 3}, 429, 0),
        ("status", {"status": 502}, 502, 0),
        ("failure", {}, 200, 0),
        ("not_json", {}, 200, 0),
        ("slow", {"seconds": 0.01}, 200, 1),
        ("reset_before", {}, None, 0),
        ("reset_after", {}, None, 1),
        ("hang", {"seconds": 0.05}, None, 0),
    ],
)
def test_a_fault_befalls_the_call_it_is_meant_for(
    receiver: LenientReceiver, kind: str, rule: dict[str, Any], status: int | None, stored: int
) -> None:
    receiver.fault(kind, on="write", **rule)
    assert read(receiver, f"{LATEST}?date=2026-01-01").status_code == 404, "a read is no write"
    try:
        answer: requests.Response | None = post(receiver, DAY)
    except requests.ConnectionError:
        answer = None
    assert (None if answer is None else answer.status_code) == status
    if answer is not None and kind == "status":
        assert answer.headers.get("Retry-After") == ("3" if status == 429 else None)
    if kind == "failure":
        assert answer is not None
        assert answer.json() == {"ok": False}
    assert receiver.store.counts()["metrics_daily"] == stored
    assert post(receiver, DAY).status_code == 200, "one call only"


def test_the_control_routes_turn_every_knob_and_tell_what_came_without_a_credential(receiver: LenientReceiver) -> None:
    url = receiver.base_url
    listed = requests.post(f"{url}/_fault", json={"kind": "status", "count": 2, "status": 503}, timeout=20).json()
    assert (listed["kind"], listed["count"], listed["options"]["status"]) == ("status", 2, 503)
    for wrong in ({"kind": "unheard"}, {"kind": "hang", "minutes": 1}, {"kind": "slow", "on": "tuesday"}, {}, []):
        assert requests.post(f"{url}/_fault", json=wrong, timeout=20).status_code == 400
    assert set(requests.get(f"{url}/_fault", timeout=20).json()["knobs"]) == set(KNOBS)
    assert [post(receiver, DAY, **{"X-Request-Id": "run-0001"}).status_code for _ in range(3)] == [503, 503, 200]
    told = requests.get(f"{url}/_calls", timeout=20).json()
    assert [(one["method"], one["status"], one["fault"]) for one in told] == [
        ("POST", 503, "status"),
        ("POST", 503, "status"),
        ("POST", 200, None),
    ]
    assert told[0]["x-request-id"] == "run-0001"
    assert receiver.token not in json.dumps(told)
    requests.post(f"{url}/_fault", json={"kind": "hang"}, timeout=20)
    assert requests.delete(f"{url}/_fault", timeout=20).json() == {"ok": True}
    assert requests.get(f"{url}/_fault", timeout=20).json()["queued"] == []
    assert requests.delete(f"{url}/_calls", timeout=20).json() == {"ok": True}
    assert requests.get(f"{url}/_calls", timeout=20).json() == []
    assert requests.get(f"{url}/_calls", headers={"Host": "evil.example"}, timeout=20).status_code == 403


def test_it_runs_as_a_process_with_the_credentials_of_its_environment_and_keeps_its_days(tmp_path: Path) -> None:
    port = str(free_port())
    command = [sys.executable, "-m", "infra.local.lenient", "--state", str(tmp_path / "days.sqlite"), "--port", port]
    root = Path(__file__).parents[2]
    environment = {"PYTHONPATH": f"{root}:{root / 'shared'}", "INTERNAL_TOKEN": "t" * 24, "SNAPSHOT_READ_KEY": "k" * 24}
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split("receiver: ")[1].strip()
        assert url.endswith(port)
        answer = requests.post(url + POST_PATH, json=DAY, headers={"X-Internal-Token": "t" * 24}, timeout=20)
        assert answer.json()["ok"] is True
        shown = requests.get(f"{url}/v1/metrics/kpis", headers={"Authorization": f"Bearer {'k' * 24}"}, timeout=20)
        assert shown.json()["items"][0]["kpi"] == "K"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0
    with LenientReceiver(tmp_path / "days.sqlite") as again:
        assert again.store.counts() == {name: int(name in ("metrics_daily", "metrics_kpi_values")) for name in TABLES}
