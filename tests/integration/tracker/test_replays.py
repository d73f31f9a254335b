"""Runs, their buckets and comparisons through the read API: figures are those of their rows, a run is where its book is."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.replay.comparing import compare_runs
from fillbook.runtime.db import Database
from tests.support.receipts import R_TS, body
from tests.support.replay_books import NOW, ReplayBooks
from tests.support.signal_keys import FIRST, changed
from tests.support.tracker_desk import entry
from tests.support.tracker_words import ADMIN_KEY, KEYS, READ_KEY, THEIR_KEY, ask, tracker

D = Decimal
LIVE_KEY, ONE_KEY = "live-alone", "one-run"
STORY = [
    body(),
    body(minutes=20, price=D("102.10")),
    body(minutes=40, price=D("104.90")),
    *(body(ticker=f"ZZT{letter}", minutes=minutes, sector=None) for minutes, letter in ((1, "C"), (2, "D"))),
]
GAPS = {
    "grade": "thin",
    "days": [
        {
            "date": "2026-02-03", "grade": "thin", "bucketsExpected": 78, "bucketsPresent": 77, "empty": [[R_TS, R_TS + 300_000]],
            "tickersSeen": 1, "unseen": ["ZZTX"], "minutesExpected": 390, "minutesPresent": 380, "byScript": {"2.5.0": 380},
            "byResult": {"decided": 380}, "quarantined": 0,
            "tickers": [{"ticker": "ZZTA", "minutes": 380, "first": R_TS, "last": None, "missing": []}],
        }
    ],
}  # fmt: skip
Query = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def books(db: Database, query: Query) -> ReplayBooks:
    """Books of runs beside the live one."""
    return ReplayBooks(db, query)


@pytest.fixture
def client(database_url: str, function_app: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    """The function two days after the replayed one."""
    keys = [*KEYS, entry("live", LIVE_KEY), entry("one", ONE_KEY, books=["replay:*1"])]
    return tracker(function_app, database_url, tmp_path, NOW, DESK_KEYS=json.dumps(keys))


def compared(open_database: Any, a: str, b: str, day: date | None = None, minutes: int = 0) -> str:
    return compare_runs(open_database("replay_writer"), a, b, day=day, now=NOW + timedelta(minutes=minutes)).comparison_id


def checkpoints(query: Query, run_id: str, count: int) -> None:
    query(
        "insert into replay.checkpoints (run_id, bucket, rows, conflicts, actions, input_digest, bucket_hash, state_digest, "
        "result_hash, states, recorded_at) "
        "select :run_id, :first::bigint + n * 300000, 7, 0, n, 'i', 'b', 's', 'r' || n, '', :now "
        "from generate_series(0, :count::integer - 1) n returning 1",
        run_id=run_id,
        first=R_TS - R_TS % 300_000,
        count=count,
        now=NOW,
    )


def test_a_run_is_told_with_what_it_pins_and_made(books: ReplayBooks, client: FlaskClient, query: Query) -> None:
    books.live(STORY)
    run_id = books.run(STORY, name="first", status="running")
    query("update replay.run_records set gaps = :gaps::jsonb, rows = 21, wall_seconds = 1.5 returning 1", gaps=json.dumps(GAPS))
    checkpoints(query, run_id, 3)
    status, answer = ask(client, "/timed/replay/runs")
    (run,) = answer["runs"]
    assert (status, answer["count"], answer["has_more"], run["run_id"], run["book_id"]) == (
        200,
        1,
        False,
        run_id,
        f"replay:{run_id}",
    )
    (row,) = query("select * from replay.v_runs")
    for name in (
        "name",
        "profile",
        "config_digest",
        "code_version",
        "trades_created",
        "result_hash",
        "created_by",
        "ticker_pass",
    ):
        assert run[name] == row[name], name
    assert run["progress"] == {
        "buckets_done": 3,
        "buckets_total": 78,
        "bucket_ts": R_TS - R_TS % 300_000 + 600_000,
        "bucket_at": run["progress"]["bucket_at"],
        "rows": 21,
        "rows_per_second": "14",
    }
    (money,) = query("select sum(realized_pnl) as pnl from ledger.v_positions where book_id = :book", book=run["book_id"])
    assert [(one["currency"], D(one["realized_pnl"])) for one in run["realized"]] == [("USD", money["pnl"])]
    for name in (run_id, "first"):
        whole = ask(client, f"/timed/replay/runs/{name}")[1]["run"]
        (day,) = whole.pop("gaps")
        assert whole == run
    assert (day["grade"], day["unseen"], day["empty"][0]["last_ts"], day["tickers"][0]["last_at"]) == (
        "thin", ["ZZTX"], R_TS + 300_000, None,
    )  # fmt: skip


def test_buckets_come_in_pages_the_oldest_first(books: ReplayBooks, client: FlaskClient, query: Query) -> None:
    run_id = books.run([], name="paged")
    checkpoints(query, run_id, 7)
    path = "/timed/replay/runs/paged/buckets"
    everything = ask(client, path)[1]["buckets"]
    assert [one["actions"] for one in everything] == list(range(7))
    seen, more = [], {}
    while more is not None:
        page = ask(client, path, limit="3", **more)[1]
        seen += page["buckets"]
        more = {"cursor": page["next_cursor"]} if page["has_more"] else None
    assert seen == everything
    assert (page["run_id"], page["status"]) == (run_id, "done")
    other = books.run([], name="other")
    cursor = ask(client, path, limit="1")[1]["next_cursor"]
    assert ask(client, f"/timed/replay/runs/{other}/buckets", cursor=cursor)[1]["error"]["code"] == "cursor_mismatch"


def test_runs_come_in_pages_by_status_and_date(books: ReplayBooks, client: FlaskClient, query: Query) -> None:
    ids = [books.run([], name=f"run-{number}", status="done" if number % 2 else "failed") for number in range(5)]
    query("update replay.run_records set created_at = created_at + (right(name, 1) || ' minutes')::interval returning 1")

    def names(**asked: str) -> list[str]:
        return [one["name"] for one in ask(client, "/timed/replay/runs", **asked)[1]["runs"]]

    assert names() == names(date="2026-02-03") == ["run-4", "run-3", "run-2", "run-1", "run-0"]
    assert (names(status="done"), names(date="2026-02-04")) == (["run-3", "run-1"], [])
    first = ask(client, "/timed/replay/runs", limit="2")[1]
    assert names(limit="9", cursor=first["next_cursor"]) == ["run-2", "run-1", "run-0"]
    for asked in ({"status": "x"}, {"date": "x"}, {"limit": "101"}, {"limit": "0"}, {"books": "live"}):
        assert ask(client, "/timed/replay/runs", **asked)[0] == 400, asked
    assert len(set(ids)) == 5


def test_a_run_exists_for_whoever_may_see_its_book(books: ReplayBooks, client: FlaskClient, open_database: Any) -> None:
    books.live(STORY)
    run_id = books.run(STORY)
    compared(open_database, run_id, "live")
    paths = (f"/timed/replay/runs/{run_id}", f"/timed/replay/runs/{run_id}/buckets")
    for key in (LIVE_KEY, THEIR_KEY) + (() if run_id.endswith("1") else (ONE_KEY,)):
        assert ask(client, "/timed/replay/runs", key)[1]["runs"] == []
        for path in paths:
            assert (ask(client, path, key)[0], ask(client, path, key)[1]["error"]["code"]) == (404, "run_unknown")
        assert ask(client, "/timed/replay/compare", key, left="live", right=run_id)[0] == 404
    for path in (*paths, "/timed/replay/runs", "/timed/replay/compare"):
        assert (ask(client, path, None)[0], ask(client, path, "wrong")[0]) == (401, 401)
    for name in ("nobody", "x" * 65, "' or 1=1"):
        assert ask(client, f"/timed/replay/runs/{name}")[0] == 404


def test_a_comparison_is_told_from_either_side(books: ReplayBooks, client: FlaskClient, open_database: Any) -> None:
    books.live(STORY)
    strict = books.run(STORY, changed(FIRST, "entry.rr.base", "1.5"), name="strict")
    compared(open_database, "live", strict)
    status, answer = ask(client, "/timed/replay/compare", left="live", right="strict")
    assert (status, answer["identical"], answer["divergent"], answer["tickers"]) == (200, False, 3, 3)
    assert (answer["left"]["label"], answer["right"]["label"], answer["right"]["name"]) == ("live", strict, "strict")
    assert (answer["left"]["totals"]["entries"], answer["right"]["totals"]["entries"], answer["difference"]["entries"]) == (
        3,
        0,
        -3,
    )
    realized = D(answer["left"]["totals"]["realized_pnl"])
    assert D(answer["difference"]["realized_pnl"]) == -realized != 0
    assert answer["positions"] == {"equal": 0, "left_only": 3, "right_only": 0, "different": 0}
    first = answer["first_divergence"]
    assert (first["ticker"], first["ts"], first["cause"], first["rule"], first["receipt_id"] is None) == (
        "ZZTA", R_TS, "config", "G12", False,
    )  # fmt: skip
    assert (first["bucket_ts"] <= R_TS < first["bucket_ts"] + 300_000, first["is_outcome"]) == (True, True)
    assert "1.2" in first["left"]["rule_text"]
    assert "1.5" in first["right"]["rule_text"]
    assert [one["ticker"] for one in answer["divergences"]] == ["ZZTA", "ZZTC", "ZZTD"]
    assert [(one["ticker"], one["status"], one["right"]) for one in answer["trades"]] == [
        (ticker, "left_only", None) for ticker in ("ZZTA", "ZZTC", "ZZTD")
    ]
    assert sum(D(one["left"]["realized_pnl"]) for one in answer["trades"]) == realized
    turned = ask(client, "/timed/replay/compare", left=strict, right="live")[1]
    assert (turned["left"], turned["right"]) == (answer["right"], answer["left"])
    assert D(turned["difference"]["realized_pnl"]) == realized
    assert turned["positions"] == {"equal": 0, "left_only": 0, "right_only": 3, "different": 0}
    again = turned["first_divergence"]
    assert (again["left"], again["right"], again["detail"]["limits"]) == (first["right"], first["left"], ["1.5", "1.2"])
    assert [(one["status"], one["left"]) for one in turned["trades"]] == [("right_only", None)] * 3


def test_trades_of_both_sides_stand_beside_each_other(
    books: ReplayBooks, client: FlaskClient, open_database: Any, query: Query
) -> None:
    books.live([*STORY, body(ticker="ZZTE", minutes=-60), body(ticker="ZZTF", script_version="2.6.0", sector=None)])
    run_id = books.run(STORY)
    query("update ledger.execution_actions set quantity = 37, value = 37 * price where book_id = 'live' and ticker = 'ZZTC'")
    compared(open_database, run_id, "live")
    answer = ask(client, "/timed/replay/compare", left=run_id, right="live")[1]
    found = {one["ticker"]: one for one in answer["trades"]}
    assert {ticker: one["status"] for ticker, one in found.items()} == {"ZZTC": "different", "ZZTA": "equal", "ZZTD": "equal"}
    counted = [one["status"] for one in answer["trades"]]
    assert {name: counted.count(name) for name in answer["positions"]} == answer["positions"]
    assert answer["trades"][0]["ticker"] == "ZZTC", "those that differ come first"
    difference = found["ZZTC"]["first_difference"]
    assert (difference["field"], difference["left"], difference["right"]) == ("quantity", "37.6374", "37")
    assert found["ZZTA"]["left"] == found["ZZTA"]["right"]
    assert found["ZZTA"]["first_difference"] is None
    page = ask(client, "/timed/replay/compare", left=run_id, right="live", limit="1")[1]
    assert (len(page["trades"]), page["has_more"]) == (1, True)


def test_what_was_not_compared_is_said_to_be_so(books: ReplayBooks, client: FlaskClient, open_database: Any) -> None:
    books.live(STORY)
    one, other = books.run(STORY, name="one"), books.run(STORY, name="two")

    def code(**asked: str) -> tuple[int, str]:
        status, answer = ask(client, "/timed/replay/compare", **asked)
        return status, answer.get("error", {}).get("code", "told")

    assert code(left="one", right="live") == (404, "not_compared")
    compared(open_database, one, other)
    assert code(left="one", right="live") == (404, "not_compared")
    assert code(left="two", right="one") == (200, "told")
    compared(open_database, one, "live", date(2026, 2, 3))
    assert code(left="one", right="live", date="2026-02-03") == (200, "told")
    assert code(left="one", right="live", date="2026-02-02") == (404, "not_compared")
    assert code(left="one", right="nobody") == (404, "run_unknown")
    for asked in (
        {"left": "one"},
        {"right": "one"},
        {"left": "live", "right": "live"},
        {"left": "one", "right": "two", "date": "x"},
    ):
        assert code(**asked) == (400, "parameter_invalid"), asked
    assert ask(client, "/timed/replay/compare", ADMIN_KEY, left="one", right="two")[1]["identical"] is True
    assert ask(client, "/timed/replay/compare", READ_KEY, left="one", right="two")[1]["trades"][0]["status"] == "equal"
