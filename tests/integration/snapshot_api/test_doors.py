"""Scenarios 29, 37 and 41: who is let in, what is read of a body, and what a page of another origin is told."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.integration.snapshot_api.conftest import NewApi
from tests.support.snapshot_api import DAY, KEY, ORIGIN, PATH, PREVIOUS, SECRET, TOKEN, WEAK_KEY, Api, day_document, signature

BODY = json.dumps(day_document()).encode()


def code(answer: Any) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, answer.get_json()["error"]["code"]


def test_scenario_29_a_publisher_shows_the_internal_token(new_api: NewApi) -> None:
    api = new_api(INTERNAL_TOKEN_PREVIOUS=PREVIOUS)
    assert code(api.post(BODY, headers={})) == (401, "token_missing")
    assert code(api.post(BODY, headers={"Authorization": f"Bearer {TOKEN}"})) == (401, "token_missing")
    assert code(api.post(BODY, headers={"X-Internal-Token": f"{TOKEN}x"})) == (403, "token_wrong")
    assert api.post(BODY, headers={"X-Internal-Token": f"  {TOKEN} "}).status_code == 200
    assert api.post(BODY, headers={"X-Internal-Token": PREVIOUS}).status_code == 200


def test_scenario_29_a_signature_is_over_the_bytes_and_in_one_form(new_api: NewApi) -> None:
    api = new_api(SIGNING_SECRET=SECRET)
    right = signature(BODY)
    for wrong in (None, right.upper(), f"sha256={right}", signature(BODY + b" ")):
        shown = {"X-Internal-Token": TOKEN} | ({} if wrong is None else {"X-Signature": wrong})
        assert code(api.post(BODY, headers=shown)) == (403, "bad_signature")
    assert api.post(BODY, headers={"X-Internal-Token": TOKEN, "X-Signature": right}).status_code == 200


def test_nobody_is_let_in_while_no_secret_is_configured(new_api: NewApi) -> None:
    api = new_api(INTERNAL_TOKEN="", METRICS_KEYS="[]")
    assert code(api.post(BODY)) == (503, "token_not_configured")
    assert code(api.client.get(PATH, headers={"X-Internal-Token": TOKEN})) == (503, "token_not_configured")
    assert code(api.get("/v1/metrics/daily")) == (503, "keys_not_configured")


def test_a_reader_shows_a_key_of_its_scope_and_a_publisher_is_no_reader(api: Api) -> None:
    assert code(api.get("/v1/metrics/daily", key="nobody's")) == (401, "unauthorized")
    assert code(api.get("/v1/metrics/daily", key=TOKEN)) == (401, "unauthorized")
    assert code(api.get("/v1/metrics/daily", key=WEAK_KEY)) == (403, "forbidden")
    assert code(api.client.get(PATH, headers={"X-Internal-Token": KEY})) == (403, "token_wrong")


def test_scenario_37_a_body_is_eight_million_bytes_of_plain_json(api: Api) -> None:
    start = b'{"date":"2026-02-11","pad":"'
    exact = start + b"x" * (8_000_000 - len(start) - 2) + b'"}'
    assert code(api.post(exact)) == (422, "empty_snapshot")
    assert code(api.post(exact + b" ")) == (413, "body_too_large")
    lying = {"CONTENT_LENGTH": str(len(exact) + 1)}
    assert code(api.post(b"{}", environ_overrides=lying)) == (413, "body_too_large")
    zipped = {"X-Internal-Token": TOKEN, "Content-Encoding": "gzip"}
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
def test_scenario_37_what_is_no_json_is_refused_before_it_is_looked_at(api: Api, raw: bytes) -> None:
    assert code(api.post(raw)) == (400, "not_json")


def test_the_path_is_exact_and_other_methods_are_told_which_there_are(api: Api) -> None:
    assert code(api.client.post(f"{PATH}/", headers={"X-Internal-Token": TOKEN})) == (404, "not_found")
    for method in ("PUT", "DELETE", "OPTIONS"):
        answer = api.client.open(PATH, method=method, headers={"X-Internal-Token": TOKEN, "Origin": ORIGIN})
        assert code(answer) == (405, "method_not_allowed")
        assert answer.headers["Allow"] == "GET, POST"
    assert code(api.post(BODY, query="?force=newer")) == (400, "bad_parameter")
    assert code(api.post(BODY, query="?forced=older")) == (400, "bad_parameter")


def test_a_request_id_comes_back_and_a_wrong_one_is_replaced(api: Api) -> None:
    shown = {"X-Internal-Token": TOKEN, "X-Request-Id": "run-2026-02-11"}
    answer = api.post(BODY, headers=shown)
    assert answer.headers["X-Request-Id"] == answer.get_json()["request_id"] == "run-2026-02-11"
    refused = api.post(b"[]", headers={**shown, "X-Request-Id": "no id;"})
    assert refused.headers["X-Request-Id"] == refused.get_json()["error"]["request_id"] != "no id;"


def test_scenario_41_only_pages_of_a_configured_origin_may_read(new_api: NewApi) -> None:
    api = new_api(CORS_ORIGINS=ORIGIN)
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


def test_no_origin_is_allowed_until_one_is_configured(api: Api) -> None:
    assert "Access-Control-Allow-Origin" not in api.get("/v1/metrics/daily", Origin=ORIGIN).headers


def test_scenario_41_a_reader_who_asks_too_often_and_a_stranger_are_told_when_to_come_back(api: Api) -> None:
    answers = [api.get("/v1/metrics/daily?date=nonsense") for _ in range(121)]
    assert {answer.status_code for answer in answers} == {400, 429}
    assert [answer.status_code for answer in answers[:60]] == [400] * 60
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert code(refused) == (429, "too_many_requests")
    assert refused.headers["Retry-After"].isdigit()
    strangers = [api.get("/v1/metrics/daily", key="nobody's") for _ in range(13)]
    assert [answer.status_code for answer in strangers] == [401] * 12 + [429]
    assert int(strangers[-1].headers["Retry-After"]) in range(1, 6)


def test_a_backfill_passes_the_rate_of_publishers_and_a_flood_does_not(api: Api) -> None:
    statuses = [api.post(b"x").status_code for _ in range(110)]
    assert statuses[:100] == [400] * 100
    assert 429 in statuses[100:]


def test_while_the_database_is_away_everybody_is_told_to_come_back(new_api: NewApi) -> None:
    api = new_api(FILLBOOK_DATABASE_URL="postgresql://snapshot_api@127.0.0.1:1/desk")
    for answer in (api.post(BODY), api.get("/v1/trades/latest"), api.get("/v1/metrics/freshness")):
        assert code(answer) == (503, "database_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
