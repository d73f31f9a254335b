"""What takes the place of a day, what does not, and what is told of it; the recorded requests through the function."""

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
from tests.support.snapshot_api import DAY, LATER, NOW, PARTS, TOKEN, Api, day_document, held, put
from tests.support.snapshot_recorded import DATA, body_of, outcomes, recorded

Query = Callable[..., list[dict[str, Any]]]
KNOWN = re.compile("<correct>|our-test-token")  # the recorded receiver's own


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
        stored = [query(f"select count(*) as n from metrics.{table}")[0]["n"] for table in PARTS]
        assert stored == expected["counts"], name


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


def test_nobody_alters_or_takes_away_a_version(receiver: Database, query: Query) -> None:
    granted = query(
        "select grantee, table_name, privilege_type as may from information_schema.table_privileges"
        " where table_schema = 'metrics' and table_name in ('snapshot_versions', 'restatements')"
        " and privilege_type not in ('SELECT', 'INSERT') and grantee <> 'fillbook_owner'"
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
