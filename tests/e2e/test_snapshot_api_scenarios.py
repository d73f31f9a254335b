"""``snapshot_api`` from its bundle, over HTTP: scenarios 29 to 42, and 26 with a real kill.

One desk and one process serve all of them: who is let in, what takes the place of a day and what does not, what readers may ask
and what they are shown or told.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fillbook.runtime.sql import statement
from fillbook.snapshot import filters
from infra.local.desk import LocalCloud
from tests.e2e.conftest import counted, desks
from tests.support.snapshot_api import (
    DAY,
    LATER,
    NOW,
    ORIGIN,
    PATH,
    PREVIOUS,
    SECRET,
    TOKEN,
    code,
    day_document,
    held,
    signature,
)
from tests.support.snapshot_api_served import NAME, ServedApi, served_settings
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.bundles, pytest.mark.slow]

BEFORE = "2026-02-10"
BODY = json.dumps(day_document()).encode()
HALFWAY = f"select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name = '{NAME}'"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, bundles: Path, cluster: Path) -> Iterator[LocalCloud]:
    """One desk for all of them."""
    with desks(tmp_path_factory.mktemp("snapshot-api"), bundles, cluster) as start:
        yield start("desk", functions=[NAME], desk_start=NOW, function_overrides={NAME: served_settings()})


@pytest.fixture
def api(desk: LocalCloud) -> ServedApi:
    """The function, holding nothing."""
    return ServedApi(desk)


def test_scenario_26_a_killed_bundle_leaves_the_old_day_and_the_repeat_is_stored_once(desk: LocalCloud, api: ServedApi) -> None:
    second = day_document(number=2, **LATER)
    assert api.post(day_document(number=1)).get_json()["version"] == 1
    before = api.read("/v1/trades/latest", date=DAY)
    with desk.database.transaction() as tx:
        tx.execute(statement("lock table metrics.metrics_portfolio_assets in access exclusive mode"))

        def send() -> None:
            with suppress(OSError, ValueError):
                api.post(second)

        sender = threading.Thread(target=send)
        sender.start()
        wait_until(lambda: counted(desk.database, HALFWAY) > 0)
        desk.kill(NAME)
        sender.join()
    desk.wait_until_up(NAME)
    assert api.read("/v1/trades/latest", date=DAY) == before
    answer = api.post(second).get_json()
    assert (answer["version"], answer["unchanged"]) == (2, False)
    assert api.post(second).get_json()["unchanged"] is True
    assert api.read("/v1/trades/latest", date=DAY)["rows"][0]["value_num"] == 2
    assert counted(desk.database, "select count(*) from metrics.snapshot_versions") == 2
    assert [secret for secret in (TOKEN, SECRET, api.key) if secret in desk.logs(NAME)] == []


def test_scenario_17_a_name_that_our_publisher_would_not_send_is_stored_and_read_back(api: ServedApi) -> None:
    api.post(day_document(number=5))
    assert [one["kpi"] for one in api.read("/v1/metrics/kpis", date=DAY)["items"]] == ["Daily PnL", "P&L", "Win rate"]
    assert [one["value_num"] for one in api.read("/v1/metrics/kpi-history", kpi="P&L")["items"]] == [5]


def test_scenario_29_a_publisher_shows_the_internal_token(api: ServedApi) -> None:
    assert code(api.post(BODY, headers={})) == (401, "token_missing")
    assert code(api.post(BODY, headers={"Authorization": f"Bearer {TOKEN}"})) == (401, "token_missing")
    assert code(api.post(BODY, headers={"X-Internal-Token": f"{TOKEN}x"})) == (403, "token_wrong")
    assert api.post(BODY, headers={"X-Internal-Token": f"  {TOKEN} "}).status_code == 200
    assert api.post(BODY, headers={"X-Internal-Token": PREVIOUS}).status_code == 200


def test_scenario_29_a_signature_is_over_the_bytes_and_in_one_form(api: ServedApi) -> None:
    right = signature(BODY)
    for wrong in ("", right.upper(), f"sha256={right}", signature(BODY + b" ")):
        assert code(api.post(BODY, headers={"X-Internal-Token": TOKEN, "X-Signature": wrong})) == (403, "bad_signature")
    unsigned = api.client.post(PATH, data=BODY, headers={"X-Internal-Token": TOKEN})
    assert code(unsigned) == (403, "bad_signature")
    assert api.post(BODY, headers={"X-Internal-Token": TOKEN, "X-Signature": right}).status_code == 200


def test_scenario_37_a_body_is_eight_million_bytes_of_plain_json(api: ServedApi) -> None:
    start = b'{"date":"2026-02-11","pad":"'
    exact = start + b"x" * (8_000_000 - len(start) - 2) + b'"}'
    assert code(api.post(exact)) == (422, "empty_snapshot")
    token = {"X-Internal-Token": TOKEN}
    assert code(api.post(b"{}", headers={**token, "Content-Length": str(len(exact) + 1)})) == (413, "body_too_large")
    zipped = {**token, "Content-Encoding": "gzip"}
    assert code(api.post(gzip.compress(BODY), headers=zipped)) == (415, "content_encoding")
    assert code(api.post(BODY, content_type="text/plain")) == (415, "content_type")
    assert code(api.post(BODY, content_type="application/json; charset=latin-1")) == (415, "content_type")
    assert api.post(BODY, content_type="application/json; charset=UTF-8").status_code == 200


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\xef\xbb\xbf" + BODY, id="byte order mark"),
        pytest.param(b'{"date":"2026-02-11","date":"2026-02-12"}', id="duplicate key"),
        pytest.param(b'{"date":"2026-02-11","x":' + b"[" * 13 + b"]" * 13 + b"}", id="too deep"),
        pytest.param(b'{"date":"2026-02-11","rows":[{"kpi":"a","value":NaN}]}', id="NaN"),
        pytest.param(b"\xff\xfe", id="no text"),
    ],
)
def test_scenario_37_what_is_no_json_is_refused_before_it_is_looked_at(api: ServedApi, raw: bytes) -> None:
    assert code(api.post(raw)) == (400, "not_json")


def test_scenario_41_only_pages_of_a_configured_origin_may_read(api: ServedApi) -> None:
    api.post(day_document())
    path = f"/v1/metrics/daily?date={DAY}"
    other = api.get(path, Origin="https://desk.example.evil")
    assert other.status_code == 200
    assert not [name for name, _ in other.headers if name.startswith("Access-Control")]
    ours = api.get(path, Origin=ORIGIN)
    assert ours.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert ours.headers["Access-Control-Expose-Headers"] == "ETag, X-Request-Id"
    assert "Access-Control-Allow-Credentials" not in ours.headers
    assert "Origin" in other.headers["Vary"]
    refused = api.get(path, key="nobody's", Origin=ORIGIN)
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)
    asked = api.client.options(path, headers={"Origin": ORIGIN, "Access-Control-Request-Method": "GET"})
    assert asked.status_code == 204
    assert asked.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    assert asked.headers["Access-Control-Allow-Headers"] == "Authorization, If-None-Match"
    for method in ("OPTIONS", "POST", "GET"):
        answer = api.client.open(PATH, method=method, data=BODY, headers={"Origin": ORIGIN, "X-Internal-Token": TOKEN})
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")], method


def test_scenario_41_a_reader_who_asks_too_often_and_a_stranger_are_told_when_to_come_back(api: ServedApi) -> None:
    answers = [api.get("/v1/metrics/daily?date=nonsense") for _ in range(121)]
    assert {answer.status_code for answer in answers} == {400, 429}
    assert [answer.status_code for answer in answers[:60]] == [400] * 60
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert code(refused) == (429, "too_many_requests")
    assert refused.headers["Retry-After"].isdigit()
    strangers = [api.get("/v1/metrics/daily", key="nobody's") for _ in range(13)]
    assert [answer.status_code for answer in strangers] == [401] * 12 + [429]
    assert int(strangers[-1].headers["Retry-After"]) in range(1, 6)


@pytest.mark.parametrize(
    "raw", [b"[]", b"5", b"{}", b'{"date":"2026-02-11"}', b'{"date":"2026-02-30","rows":[]}', b'{"date":"9999-12-31","rows":[]}']
)
def test_scenario_30_a_body_that_is_no_day_leaves_the_day_as_it_was(api: ServedApi, raw: bytes) -> None:
    api.post(day_document())
    before = held(api.rows)
    answer = api.post(raw)
    assert answer.status_code == 422
    error = answer.get_json()["error"]
    assert error["problem_count"] == len(error["problems"]) >= 1
    assert all(set(problem) == {"path", "code", "message", "value"} for problem in error["problems"])
    assert held(api.rows) == before


def test_scenario_31_and_32_other_spellings_say_the_same(api: ServedApi) -> None:
    plain = api.post(day_document()).get_json()
    spelled = day_document()
    overlay = spelled["overlay"]
    spelled["kpis"] = [{"name": row["kpi"], "val": row["value"], "valueNum": row["value_num"], "value_kind": row["kind"],
                        "sortOrder": row["sort_order"], "unit": row.get("unit"), "missing_reason": row.get("missing_reason")}
                       for row in spelled.pop("rows")]  # fmt: skip
    overlay["series"] = {
        "Daily PnL": [{"time": p["t"], "value": str(p["v"]), "source": "live"} for p in overlay.pop("seriesByKpi")["Daily PnL"]]
    }
    overlay["assets"] = [
        {"tradeId": a["trade_id"], "symbol": a["symbol"], "contractName": a["contract_name"]}
        for a in overlay.pop("portfolioAssets")
    ]
    spelled |= {"rows": [], "updated_at": 1_770_843_604_512}
    overlay["seriesByKpi"] = {}
    again = api.post(spelled).get_json()
    assert (again["unchanged"], again["content_sha256"]) == (True, plain["content_sha256"])
    both = day_document(kpis=[{"kpi": "Other", "value": "1"}])
    answer = api.post(both)
    assert (answer.status_code, {one["code"] for one in answer.get_json()["error"]["problems"]}) == (422, {"ambiguous"})


def test_scenario_33_and_34_wrong_points_are_named_and_gaps_are_counted(api: ServedApi) -> None:
    at = "2026-02-11T14:31:00Z"
    wrong = day_document()
    wrong["overlay"]["seriesByKpi"] = {"Daily PnL": [{"t": at, "v": value} for value in (True, {}, "0x1F", "1,234", "")]}
    error = api.post(wrong).get_json()["error"]
    assert error["problem_count"] == 5
    assert len({problem["path"] for problem in error["problems"]}) == 5
    gaps = day_document()
    gaps["overlay"]["seriesByKpi"] = {
        "Daily PnL": [
            {"t": "2026-02-11T14:30:00Z", "v": None},
            *({"t": at, "v": 5} for at in (at, "2026-02-11T14:31:00.000Z", "2026-02-11T09:31:00-05:00")),
        ]
    }
    gaps["rows"].append({"kpi": "Gone", "value": None})
    counts = api.post(gaps).get_json()["counts"]
    assert counts["dropped"] == {"duplicates": 2, "null_points": 1}
    assert counts["stored"]["series"] == 1
    assert api.rows("select value_text, value_num from metrics.metrics_kpi_values where kpi = 'Gone'") == [
        {"value_text": "—", "value_num": None}
    ]


def test_scenario_35_what_is_older_is_refused_unless_it_is_forced(api: ServedApi) -> None:
    api.post(day_document(number=1, **LATER))
    older = api.post(day_document(number=2))
    error = older.get_json()["error"]
    assert (older.status_code, error["code"]) == (409, "older_snapshot")
    assert (error["stored_updated_at"], error["given_updated_at"]) == (LATER["updated_at"], "2026-02-11T21:00:04.512Z")
    forced = api.post(day_document(number=2), query="?force=older").get_json()
    assert forced["version"] == 2
    assert api.rows("select forced from metrics.snapshot_versions where version = 2") == [{"forced": ["older"]}]


def test_scenario_35_a_version_that_was_replaced_does_not_come_back_by_a_late_repeat(api: ServedApi) -> None:
    assert api.post(day_document(number=1)).get_json()["version"] == 1
    assert api.post(day_document(number=2)).get_json()["version"] == 2
    late = api.post(day_document(number=1))
    assert (late.status_code, late.get_json()["error"]["code"]) == (409, "older_snapshot")
    assert api.read("/v1/metrics/kpis", date=DAY)["items"][0]["value_num"] == 2
    assert api.post(day_document(number=1, **LATER)).get_json()["version"] == 3, "with newer facts it is news again"


def test_scenario_36_the_same_body_three_times_at_once_is_one_version(api: ServedApi) -> None:
    with ThreadPoolExecutor(3) as pool:
        answers = [one.get_json() for one in pool.map(lambda _: api.post(day_document()), range(3))]
    assert sorted(answer["unchanged"] for answer in answers) == [False, True, True]
    assert {answer["version"] for answer in answers} == {1}
    assert api.rows("select count(*) as n from metrics.snapshot_versions") == [{"n": 1}]


def test_scenario_38_ids_are_whole_numbers_however_they_are_written(api: ServedApi) -> None:
    def with_id(text: str) -> bytes:
        return json.dumps(day_document()).replace('"trade_id": 300', f'"trade_id": {text}').encode()

    for number, text in enumerate(("12", "12.0", '"12"')):
        assert api.post(with_id(text)).get_json()["unchanged"] is (number > 0)
    assert api.rows("select count(*) as n from metrics.metrics_portfolio_assets where trade_id = 12") == [{"n": 1}]
    for text in ("12.9", "true", "9007199254740993"):
        assert api.post(with_id(text)).status_code == 422, text


REFUSED = (
    ("/v1/metrics/daily?date=2026-2-1", (400, "bad_parameter")),
    ("/v1/metrics/daily?date=", (400, "bad_parameter")),
    ("/v1/metrics/daily?date=2026-W07-3", (400, "bad_parameter")),
    ("/v1/metrics/daily?date=2026-02-11&date=2026-02-11", (400, "bad_parameter")),
    ("/v1/metrics/daily?day=2026-02-11", (400, "bad_parameter")),
    ("/v1/metrics/series?kpi=P%26L&limit=abc", (400, "bad_parameter")),
    ("/v1/metrics/series?kpi=P%26L&limit=5001", (400, "bad_parameter")),
    ("/v1/metrics/series?kpi=P%26L&from=2026-02-11T10:00:00", (400, "bad_parameter")),
    ("/v1/metrics/series?kpi=P%26L&cursor=AAAA", (400, "bad_parameter")),
    ("/v1/metrics/series", (400, "bad_parameter")),
    ("/v1/metrics/extremes?kpi=P%26L&side=HI", (400, "bad_parameter")),
    ("/v1/metrics/kpi-history?kpi=P%26L&from=2026-02-12&to=2026-02-11", (400, "bad_parameter")),
    ("/v1/trades/latest?version=0", (400, "bad_parameter")),
    ("/v1/metrics/daily?date=2026-02-09", (404, "no_snapshot")),
    ("/v1/metrics/series?kpi=Nothing", (404, "no_kpi")),
    ("/v1/metrics/extremes?kpi=Nothing", (404, "no_kpi")),
    ("/v1/metrics/kpi-history?kpi=Nothing", (404, "no_kpi")),
    ("/v1/metrics/nothing", (404, "not_found")),
)


def test_scenario_39_a_question_that_is_malformed_or_about_nothing_is_answered_so(api: ServedApi) -> None:
    api.post(day_document())
    for question, answer in REFUSED:
        assert code(api.get(question)) == answer, question


def test_scenario_40_whoever_holds_an_answer_is_told_so_until_the_day_is_replaced(api: ServedApi) -> None:
    api.post(day_document(BEFORE, number=7))
    api.post(day_document(number=2))
    for number, path in enumerate(set(filters.ROUTES) - {filters.FRESHNESS}):
        question = f"{path}?kpi=P%26L" if "kpi" in filters.ROUTES[path].needed else path
        first = api.get(question)
        tag = first.headers["ETag"]
        assert first.headers["Cache-Control"] == "private, no-cache"
        assert first.headers["Vary"] == "Authorization, Accept-Encoding, Origin"
        again = api.get(question, If_None_Match=tag)
        assert (again.status_code, again.get_data(), again.headers["ETag"]) == (304, b"", tag), path
        assert api.get(question, If_None_Match=f'"other", W/{tag}').status_code == 304
        api.post(day_document(number=3 + number, updated_at=f"2026-02-11T21:{20 + number}:00.000Z"))
        changed = api.get(question, If_None_Match=tag)
        assert (changed.status_code, changed.headers["ETag"] != tag) == (200, True), path


def test_scenario_40_a_long_series_is_paged_whole_and_not_across_a_replacement(api: ServedApi) -> None:
    long = day_document()
    start = datetime(2026, 2, 11, 12, tzinfo=UTC)
    points = [{"t": (start + timedelta(seconds=12 * at)).isoformat(), "v": at} for at in range(2_500)]
    long["overlay"]["seriesByKpi"] = {"P&L": points}
    api.post(long)
    seen: list[int] = []
    page = api.read("/v1/metrics/series", kpi="P&L")
    while True:
        assert len(page["points"]) == 500
        seen += [point["v"] for point in page["points"]]
        if page["next_cursor"] is None:
            break
        page = api.read("/v1/metrics/series", kpi="P&L", cursor=page["next_cursor"])
    assert seen == list(range(2_500))
    part = api.read("/v1/metrics/series", kpi="P&L", from_="2026-02-11T12:00:12Z", to="2026-02-11T07:00:36-05:00")
    assert [point["t"] for point in part["points"]] == [f"2026-02-11T12:00:{second}.000Z" for second in (12, 24, 36)]
    cursor = api.read("/v1/metrics/series", kpi="P&L")["next_cursor"]
    assert code(api.get(f"/v1/metrics/series?kpi=Daily%20PnL&cursor={cursor}")) == (400, "bad_parameter")
    api.at(NOW + timedelta(days=1))
    api.post(day_document("2026-02-12"))
    assert api.read("/v1/metrics/series", kpi="P&L", cursor=cursor)["date"] == DAY, "pages stay on the day they began with"
    api.post(day_document(number=2, updated_at="2026-02-11T21:10:00.000Z"))
    assert code(api.get(f"/v1/metrics/series?kpi=P%26L&cursor={cursor}")) == (410, "version_changed")


def new_york(text: str) -> datetime:
    """An instant of winter in New York."""
    return datetime.fromisoformat(f"{text}-05:00")


def test_scenario_42_what_is_due_and_not_there_is_late_and_then_stale(api: ServedApi) -> None:
    api.post(day_document(BEFORE))
    told = []
    for at in ("09:14", "09:15", "09:16", "09:46", "12:44"):
        api.at(new_york(f"{DAY}T{at}:00"))
        answer = api.read("/v1/metrics/freshness")
        told.append((at, answer["status"], answer["expected"]["date"], answer["expected"]["stage"]))
    assert told == [
        ("09:14", "fresh", BEFORE, "final"),
        ("09:15", "late", DAY, "premarket"),
        ("09:16", "late", DAY, "premarket"),
        ("09:46", "stale", DAY, "premarket"),
        ("12:44", "stale", DAY, "premarket"),
    ]
    api.post(day_document("2026-01-05"))
    api.post(day_document(BEFORE, number=2, updated_at="2026-02-11T13:00:00.000Z"))
    assert api.read("/v1/metrics/freshness")["status"] == "stale", "neither old days nor yesterday make today fresh"
    api.post(day_document(DAY, stage="premarket", updated_at="2026-02-11T14:00:00.000Z"))
    answer = api.read("/v1/metrics/freshness")
    assert (answer["status"], answer["latest"]["stage"], answer["latest"]["age_seconds"]) == ("fresh", "premarket", 13_440)


def test_scenario_42_a_weekend_is_closed_and_judged_by_its_last_session(api: ServedApi) -> None:
    api.at(new_york("2026-02-15T12:00:00"))
    api.post(day_document("2026-02-12"))
    assert api.read("/v1/metrics/freshness")["status"] == "stale", "Friday is missing"
    api.post(day_document("2026-02-13"))
    answer = api.read("/v1/metrics/freshness")
    assert (answer["status"], answer["session"]["date"], answer["expected"]["stage"]) == ("closed", "2026-02-13", "final")
