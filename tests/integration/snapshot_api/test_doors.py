"""Who is let in, what is read of a request, and what a page of another origin is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.integration.snapshot_api.conftest import NewApi
from tests.support.snapshot_api import KEY, LATER, ORIGIN, PATH, SECRET, TOKEN, WEAK_KEY, Api, code, day_document, held, signature

Query = Callable[..., list[dict[str, Any]]]
BODY = json.dumps(day_document()).encode()


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


def test_no_origin_is_allowed_until_one_is_configured(api: Api) -> None:
    assert "Access-Control-Allow-Origin" not in api.get("/v1/metrics/daily", Origin=ORIGIN).headers


def test_a_backfill_passes_the_rate_of_publishers_and_a_flood_does_not(api: Api) -> None:
    statuses = [api.post(b"x").status_code for _ in range(110)]
    assert statuses[:100] == [400] * 100
    assert 429 in statuses[100:]


def test_while_the_database_is_away_everybody_is_told_to_come_back(new_api: NewApi) -> None:
    api = new_api(FILLBOOK_DATABASE_URL="postgresql://snapshot_api@127.0.0.1:1/desk")
    for answer in (api.post(BODY), api.get("/v1/trades/latest"), api.get("/v1/metrics/freshness")):
        assert code(answer) == (503, "database_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1


def test_check_29_an_old_signed_day_has_no_second_effect_whatever_time_it_claims(new_api: NewApi, query: Query) -> None:
    api = new_api(SIGNING_SECRET=SECRET)

    def send(raw: bytes, signed: str) -> Any:
        return api.post(raw, headers={"X-Internal-Token": TOKEN, "X-Signature": signed})

    old, new = (json.dumps(day_document(number=number)).encode() for number in (1, 2))
    assert send(old, signature(old)).get_json()["version"] == 1
    again = send(old, signature(old)).get_json()
    assert (again["unchanged"], again["version"]) == (True, 1)
    assert send(new, signature(new)).get_json()["version"] == 2
    before = held(query)
    assert code(send(old, signature(old))) == (409, "older_snapshot")
    changed = json.dumps(day_document(number=1, **LATER)).encode()
    assert code(send(changed, signature(old))) == (403, "bad_signature"), "its time is in what was signed"
    same = json.dumps(day_document(number=2, **LATER)).encode()
    assert code(send(same, signature(new))) == (403, "bad_signature")
    assert held(query) == before
