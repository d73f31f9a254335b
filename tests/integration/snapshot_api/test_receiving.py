"""Scenarios 30 to 36 and 38 through the function: what takes the place of a day, what does not, and what is told of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from threading import get_ident
from time import sleep
from typing import Any

import pytest

from fillbook.runtime.db import Database
from fillbook.runtime.errors import Unavailable
from fillbook.snapshot import document, normalizer, receive
from tests.support.snapshot_api import DAY, NOW, TOKEN, Api, day_document, put
from tests.support.snapshot_recorded import DATA, body_of, outcomes, recorded

Query = Callable[..., list[dict[str, Any]]]
KNOWN = re.compile("<correct>|our-test-token")  # the recorded receiver's own
TABLES = ("metrics_daily", "metrics_kpi_values", "metrics_series_points", "metrics_extremes_items", "metrics_portfolio_assets")
LATER = {"updated_at": "2026-02-11T21:10:00.000Z"}


def held(query: Query) -> dict[str, list[dict[str, Any]]]:
    """Everything the five tables hold but the keys they make themselves and the time of receipt."""
    return {
        table: query(
            f"select to_jsonb(x) - 'id' - 'received_at' as row from metrics.{table} x order by (to_jsonb(x) - 'id')::text"
        )
        for table in (*TABLES, "snapshot_versions")
    }


def test_a_day_is_stored_as_it_says_and_the_tables_say_what_the_document_says(api: Api, query: Query) -> None:
    answer = api.post(day_document()).get_json()
    assert {name: answer[name] for name in ("ok", "date", "version", "unchanged", "restated", "updated_at")} == {
        "ok": True,
        "date": DAY,
        "version": 1,
        "unchanged": False,
        "restated": 0,
        "updated_at": "2026-02-11T21:00:04.512Z",
    }
    assert answer["counts"]["stored"] == {"kpis": 3, "series": 3, "extremes": 2, "assets": 2}
    taken = normalizer.normalized(normalizer.parsed(json.dumps(day_document()).encode()), now=NOW)
    assert answer["content_sha256"] == document.content_sha256(taken.snapshot)
    (kept,) = query("select document, counts, forced, request_id from metrics.snapshot_versions")
    assert kept["document"] == json.loads(document.encoded(taken.snapshot), parse_float=Decimal)
    assert (kept["counts"], kept["forced"], kept["request_id"]) == (answer["counts"]["stored"], [], answer["request_id"])
    kpis = query(
        "select kpi, value_text, value_num, value_kind, missing_reason from metrics.metrics_kpi_values order by sort_order"
    )
    assert [(row["kpi"], row["value_num"]) for row in kpis] == [
        ("Daily PnL", Decimal(1)),
        ("P&L", Decimal(1)),
        ("Win rate", None),
    ]
    (low,) = query("select trade_id, qty, mid_price, item_json from metrics.metrics_extremes_items where side = 'lo'")
    assert (low["trade_id"], low["qty"], low["mid_price"], low["item_json"]["symbol"]) == (202, Decimal(1), None, "TSLA")


@pytest.mark.parametrize(
    "raw", [b"[]", b"5", b"{}", b'{"date":"2026-02-11"}', b'{"date":"2026-02-30","rows":[]}', b'{"date":"9999-12-31","rows":[]}']
)
def test_scenario_30_a_body_that_is_no_day_leaves_the_day_as_it_was(api: Api, query: Query, raw: bytes) -> None:
    api.post(day_document())
    before = held(query)
    answer = api.post(raw)
    assert answer.status_code == 422
    error = answer.get_json()["error"]
    assert error["problem_count"] == len(error["problems"]) >= 1
    assert all(set(problem) == {"path", "code", "message", "value"} for problem in error["problems"])
    assert held(query) == before


def test_an_empty_day_takes_the_place_of_a_good_one_only_by_name(api: Api, query: Query) -> None:
    api.post(day_document())
    nothing = {"date": DAY, "headline": "nothing", **LATER}
    assert api.post(nothing).get_json()["error"]["code"] == "empty_snapshot"
    forced = api.post(nothing, query="?force=empty").get_json()
    assert (forced["version"], forced["counts"]["stored"]) == (2, {"kpis": 0, "series": 0, "extremes": 0, "assets": 0})
    assert query("select forced from metrics.snapshot_versions where version = 2") == [{"forced": ["empty"]}]
    assert query("select count(*) as n from metrics.metrics_series_points") == [{"n": 0}]


@pytest.mark.skipif(not recorded(), reason="the recorded cases are not there")
def test_every_recorded_request_is_answered_as_is_written_down(api: Api, query: Query) -> None:
    for name, case in recorded().items():
        query("truncate metrics.metrics_daily, metrics.snapshot_versions cascade")
        if case.get("preceded_by"):
            assert api.post(DATA.with_name("previous_day.json").read_bytes()).status_code == 200
        before = held(query)
        request, expected = case["request"], outcomes()[name]
        answer = api.client.open(
            request["path"],
            method=request["method"],
            data=body_of(request),
            headers={} if request["token"] is None else {"X-Internal-Token": KNOWN.sub(TOKEN, request["token"])},
            content_type="text/plain" if name.startswith("content-type") else "application/json",
        )
        told = answer.get_json()
        assert answer.status_code == expected["status"], (name, told)
        if answer.status_code != 200:
            assert told["error"]["code"] == expected.get("code", told["error"]["code"]), name
            assert held(query) == before, name
            continue
        assert [list(told["counts"][kind].values()) for kind in ("stored", "dropped")] == [
            expected["counts"],
            expected["dropped"],
        ], name
        stored = [query(f"select count(*) as n from metrics.{table}")[0]["n"] for table in TABLES[1:]]
        assert stored == expected["counts"], name


def test_scenario_31_and_32_other_spellings_say_the_same(api: Api) -> None:
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


def test_scenario_33_and_34_wrong_points_are_named_and_gaps_are_counted(api: Api, query: Query) -> None:
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
    assert query("select value_text, value_num from metrics.metrics_kpi_values where kpi = 'Gone'") == [
        {"value_text": "—", "value_num": None}
    ]


def test_scenario_35_what_is_older_is_refused_unless_it_is_forced(api: Api, query: Query) -> None:
    api.post(day_document(number=1, **LATER))
    older = api.post(day_document(number=2))
    error = older.get_json()["error"]
    assert (older.status_code, error["code"]) == (409, "older_snapshot")
    assert (error["stored_updated_at"], error["given_updated_at"]) == (LATER["updated_at"], "2026-02-11T21:00:04.512Z")
    forced = api.post(day_document(number=2), query="?force=older").get_json()
    assert forced["version"] == 2
    assert query("select forced from metrics.snapshot_versions where version = 2") == [{"forced": ["older"]}]


def test_scenario_35_a_version_that_was_replaced_does_not_come_back_by_a_late_repeat(api: Api) -> None:
    assert api.post(day_document(number=1)).get_json()["version"] == 1
    assert api.post(day_document(number=2)).get_json()["version"] == 2
    late = api.post(day_document(number=1))
    assert (late.status_code, late.get_json()["error"]["code"]) == (409, "older_snapshot")
    assert api.read("/v1/metrics/kpis", date=DAY)["items"][0]["value_num"] == 2
    assert api.post(day_document(number=1, **LATER)).get_json()["version"] == 3, "with newer facts it is news again"


def test_scenario_36_the_same_body_three_times_at_once_is_one_version(receiver: Database, query: Query) -> None:
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: put(receiver, day_document()), range(3)))
    assert sorted(answer["unchanged"] for answer in answers) == [False, True, True]
    assert {answer["version"] for answer in answers} == {1}
    assert query("select count(*) as n from metrics.snapshot_versions") == [{"n": 1}]


def test_the_same_content_again_moves_nothing_but_the_time_of_receipt(receiver: Database, query: Query) -> None:
    put(receiver, day_document())
    before = held(query)
    answer = put(receiver, day_document(**LATER), now=NOW + timedelta(minutes=5))
    assert (answer["unchanged"], answer["version"], answer["updated_at"]) == (True, 1, "2026-02-11T21:00:04.512Z")
    assert held(query) == before
    assert query("select received_at from metrics.metrics_daily") == [{"received_at": NOW + timedelta(minutes=5)}]


def test_a_replacement_keeps_what_is_equal_moves_what_moved_and_takes_away_what_is_gone(receiver: Database, query: Query) -> None:
    put(receiver, day_document(number=1, points=6))
    before = query("select id, t, v from metrics.metrics_series_points order by t")
    changed = day_document(number=1, points=7, **LATER)
    series = changed["overlay"]["seriesByKpi"]["Daily PnL"]
    del series[1]
    series[0]["v"] = 99
    put(receiver, changed)
    after = query("select id, t, v, xmin::text as written from metrics.metrics_series_points order by t")
    assert [row["v"] for row in after] == [99, 1, 1, 1, 1, 1]
    assert [row["id"] for row in after[:5]] == [row["id"] for row in (before[0], *before[2:])]
    assert len({row["written"] for row in after}) == 2, "what says the same was not written again"


def test_a_final_day_that_changes_is_restated_figure_by_figure_and_told_once(receiver: Database, query: Query) -> None:
    cause = {"action_id": "5f0c6d2e-0000-4000-8000-000000000001", "recorded_at": "2026-02-12T13:00:00.000Z"}
    put(receiver, day_document(number=1))
    answer = put(receiver, day_document(number=3, provenance={"books": ["live"], "late_actions": [cause]}, **LATER))
    assert (answer["version"], answer["restated"]) == (2, 2)
    rows = query("select name, old_num, new_num, difference, late_actions from metrics.v_restatements where subject = 'kpi'")
    assert {row["name"]: (row["old_num"], row["new_num"], row["difference"]) for row in rows} == {
        "Daily PnL": (1, 3, 2),
        "P&L": (1, 3, 2),
    }
    assert all(row["late_actions"] == [cause] for row in rows)
    parts = query("select name, old_num, new_num from metrics.restatements where subject = 'part' order by name")
    assert [(row["name"], row["old_num"], row["new_num"]) for row in parts] == [
        ("assets", 2, 2),
        ("extremes", 2, 2),
        ("kpis", 3, 3),
        ("series", 3, 3),
    ]
    (event,) = query("select event_type, aggregate_key, aggregate_version, payload from outbox.events")
    told = json.loads(event["payload"])["data"]
    assert (event["event_type"], event["aggregate_key"], event["aggregate_version"]) == (
        "snapshot_restated",
        f"snapshot/{DAY}",
        2,
    )
    assert told["kpis"][0] == {"kpi": "Daily PnL", "old": "$1.00", "new": "$3.00", "difference": "2"}
    assert (told["late_actions"], told["late_action_count"]) == ([cause["action_id"]], 1)


def test_a_day_that_was_not_final_is_replaced_without_a_restatement(receiver: Database, query: Query) -> None:
    put(receiver, day_document(number=1, stage="intraday"))
    assert put(receiver, day_document(number=2, **LATER))["restated"] == 0
    assert (
        query("select count(*) as n from metrics.restatements") == query("select count(*) as n from outbox.events") == [{"n": 0}]
    )


def test_the_largest_event_still_fits_its_envelope(receiver: Database, query: Query) -> None:
    def wide(number: int) -> dict[str, Any]:
        rows = [{"kpi": f"{place:03d}" + "\N{HIRAGANA LETTER A}" * 97, "value": f"{number}" + "é" * 199} for place in range(200)]
        late = [{"action_id": "x" * 500, "why": "y" * 2_000}] * 100
        return {
            "date": DAY,
            "updated_at": f"2026-02-11T21:0{number}:00Z",
            "rows": rows,
            "stage": "final",
            "provenance": {"late_actions": late},
        }

    put(receiver, wide(1))
    assert put(receiver, wide(2))["restated"] == 200
    assert query("select count(*) as n from outbox.events") == [{"n": 1}]


def test_scenario_38_ids_are_whole_numbers_however_they_are_written(api: Api, query: Query) -> None:
    def with_id(text: str) -> bytes:
        return json.dumps(day_document()).replace('"trade_id": 300', f'"trade_id": {text}').encode()

    for number, text in enumerate(("12", "12.0", '"12"')):
        assert api.post(with_id(text)).get_json()["unchanged"] is (number > 0)
    assert query("select count(*) as n from metrics.metrics_portfolio_assets where trade_id = 12") == [{"n": 1}]
    for text in ("12.9", "true", "9007199254740993"):
        assert api.post(with_id(text)).status_code == 422, text


def test_nobody_alters_or_takes_away_a_version(receiver: Database, query: Query) -> None:
    granted = query(
        "select grantee, table_name, privilege_type as may from information_schema.table_privileges"
        " where table_schema = 'metrics' and table_name in ('snapshot_versions', 'restatements')"
        " and privilege_type not in ('SELECT', 'INSERT') and grantee <> 'postgres'"
    )
    assert granted == []


def test_one_body_is_read_at_a_time_whoever_else_sends(receiver: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, most, parse = set[int](), [], normalizer.parsed

    def parsed(raw: bytes) -> Any:
        reading.add(get_ident())
        most.append(len(reading))
        sleep(0.02)
        reading.discard(get_ident())
        return parse(raw)

    monkeypatch.setattr(normalizer, "parsed", parsed)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda day: put(receiver, day_document(f"2026-02-0{day}")), range(2, 5)))
    assert most == [1, 1, 1]
    monkeypatch.setattr(receive, "READ_WAIT_SECONDS", 0)
    with receive._reading, pytest.raises(Unavailable, match="busy"):
        put(receiver, day_document())
