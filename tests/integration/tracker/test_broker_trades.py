"""Broker trades, their executions and their runs over a real database: what was taken in is what is read, page by page."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.ibkr.model import Refusal
from fillbook.ibkr.words import Reason, Source
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.database.roles import login_role_statement
from tests.support.ibkr import cancel, exec_id, flex, tws, tws_raw
from tests.support.ibkr import outcome as read_row
from tests.support.ibkr_world import NOW, WORKER_GROUPS, Socket, World
from tests.support.tracker_desk import BROKER_KEY, KEY, OLD_KEY, entry, get

ADMIN_KEY, OTHER_KEY = "admin-key", "other-account-key"
NOBODY = "00000000-0000-0000-0000-000000000000"
ROUTES = (
    "/api/v1/trades",
    f"/api/v1/trades/{NOBODY}",
    f"/api/v1/trades/{NOBODY}/executions",
    "/api/v1/accounts/1/sync-runs",
    "/api/v1/sync/health",
    "/api/v1/sync/coverage",
)


@pytest.fixture
def world(db: Database, open_database: Any, query: Any) -> World:
    """A desk that takes in broker rows with the worker's grants."""
    with db.transaction() as tx:
        tx.execute(statement(login_role_statement("ibkr_test_worker", WORKER_GROUPS)))
    return World(open_database("ibkr_test_worker", pool_size=4), query)


@pytest.fixture
def reader(database_url: str, function_app: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    """The function on a paused clock an hour after the desk's day, reading with the tracker's own rights."""
    clock = tmp_path / "clock.json"
    now = (NOW + timedelta(hours=1)).isoformat()
    clock.write_text(json.dumps({"desk_at": now, "real_at": 0, "speed": 1.0, "paused": True}))
    keys = [
        entry("desk", KEY),
        entry("broker", BROKER_KEY, books=["ibkr:*"]),
        entry("admin", ADMIN_KEY, books=["ibkr:*"], scopes=["admin"]),
        entry("other", OTHER_KEY, books=["ibkr:U7654321"]),
        entry("old", OLD_KEY, expires_at="2026-01-01T00:00:00Z"),
    ]
    settings = {
        "FILLBOOK_ENV": "local",
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=tracker_reader",
        "FILLBOOK_DESK_CLOCK": str(clock),
        "DESK_KEYS": json.dumps(keys),
    }
    return function_app("trade_tracker", settings)


def ask(reader: FlaskClient, path: str, key: str | None = BROKER_KEY, **query: str) -> tuple[int, Any]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    answer = reader.get(path, query_string=query, headers=headers)
    return answer.status_code, answer.get_json()


def at(minute: int) -> str:
    return f"20260105-15:{minute:02}:00"


def test_a_trade_is_told_in_texts_pairs_and_nulls(world: World, reader: FlaskClient) -> None:
    world.socket(
        tws(exec_id(1), "BOT", "60", "10.5", permId="9876543210123", clientId="3"),
        tws(exec_id(2), "BOT", "40", "10.6", permId="9876543210123", clientId="3"),
    )
    status, answer = ask(reader, "/api/v1/trades")
    assert (status, answer["count"], answer["has_more"], answer["next_cursor"]) == (200, 1, False, None)
    (trade,) = answer["items"]
    told = {name: trade[name] for name in ("ib_perm_id", "account_id", "total_quantity", "total_value", "avg_price", "trade_day")}
    assert told == {
        "ib_perm_id": "9876543210123",
        "account_id": "1",
        "total_quantity": "100",
        "total_value": "1054",
        "avg_price": "10.54",
        "trade_day": "2026-01-05",
    }
    assert (trade["last_executed_at"], trade["last_executed_ts"]) == ("2026-01-05T15:30:00.000Z", 1767627000000)
    assert (trade["commission"], trade["missing_commission_count"], trade["merged_into"]) == (None, 2, None)
    one = ask(reader, f"/api/v1/trades/{trade['trade_id']}")[1]["trade"]
    assert {name: one[name] for name in trade} == trade
    assert (one["keys"], one["match_kind"], one["confidence"], one["anomalies"]) == (
        ["perm:9876543210123"],
        "perm_id",
        "high",
        [],
    )


def test_pages_show_every_trade_once_newest_first(world: World, reader: FlaskClient) -> None:
    world.socket(*[tws(exec_id(n), permId=str(100 + n), time=at(n % 7)) for n in range(1, 24)])
    world.statement(flex(exec_id(99), transactionID="5"), cancel("-100", transactionID="6", origTransactionID="5"))
    everything = ask(reader, "/api/v1/trades")[1]["items"]
    assert len(everything) == 24
    order = [(item["last_executed_ts"] or item["fetched_ts"], item["trade_id"]) for item in everything]
    assert order == sorted(order, reverse=True)
    (busted,) = [item for item in everything if item["status"] == "cancelled"]
    assert (busted["last_executed_at"], busted["total_quantity"]) == (None, "0")
    seen, after = [], {}
    while after is not None:
        page = ask(reader, "/api/v1/trades", limit="5", **after)[1]
        seen += page["items"]
        after = None if page["next_cursor"] is None else {"cursor": page["next_cursor"]}
    assert seen == everything


def test_filters_choose_and_a_cursor_belongs_to_its_filters(world: World, reader: FlaskClient) -> None:
    option = {"secType": "OPT", "localSymbol": "AAPL 260116C00200000", "conId": "7", "multiplier": "100"}
    world.socket(
        tws(exec_id(1), permId="1", time=at(1)),
        tws(exec_id(2), permId="2", time=at(2), symbol="MSFT", localSymbol="MSFT", conId="9"),
        tws(exec_id(3), permId="3", time=at(3), acctNumber="U7654321"),
        tws(exec_id(4), permId="4", time=at(4), **option),
    )

    def perms(**query: str) -> list[str]:
        return [item["ib_perm_id"] for item in ask(reader, "/api/v1/trades", **query)[1]["items"]]

    assert perms() == ["4", "3", "2", "1"]
    assert perms(account_id="2") == ["3"]
    assert perms(symbol="AAPL") == ["4", "3", "1"]
    assert perms(symbol="AAPL 260116C00200000") == ["4"]
    assert perms(status="filled") == []
    assert perms(executed_from="2026-01-05T15:02:00Z", executed_to="2026-01-05T15:04:00Z") == ["3", "2"]
    after = ask(reader, "/api/v1/trades", symbol="AAPL", limit="1")[1]["next_cursor"]
    assert perms(symbol="AAPL", limit="1", cursor=after) == ["3"]
    status, answer = ask(reader, "/api/v1/trades", symbol="MSFT", cursor=after)
    assert (status, answer["error"]["code"]) == (400, "cursor_mismatch")


def test_a_merged_trade_names_its_heir_and_is_left_out_of_the_list(world: World, reader: FlaskClient) -> None:
    world.statement(flex(exec_id(1), transactionID="5"))
    (alone,) = ask(reader, "/api/v1/trades")[1]["items"]
    assert (alone["match_kind"], alone["confidence"]) == ("single", "low")
    world.socket(tws(exec_id(1), permId="77"))
    (heir,) = ask(reader, "/api/v1/trades")[1]["items"]
    assert heir["ib_perm_id"] == "77"
    status, answer = ask(reader, f"/api/v1/trades/{alone['trade_id']}")
    assert (status, answer["trade"]["merged_into"], answer["trade"]["total_quantity"]) == (200, heir["trade_id"], "0")
    assert len(ask(reader, "/api/v1/trades", include_merged="true")[1]["items"]) == 2
    executions = ask(reader, f"/api/v1/trades/{alone['trade_id']}/executions")[1]
    assert (executions["merged_into"], executions["items"]) == (heir["trade_id"], [])


def test_executions_show_what_was_superseded_and_link_to_it(world: World, reader: FlaskClient) -> None:
    world.socket(tws(exec_id(1, 1), "BOT", "100"), tws(exec_id(1, 2), "BOT", "60"), tws(exec_id(2), "BOT", "5", conId="12"))
    (trade,) = list(ask(reader, "/api/v1/trades")[1]["items"])
    path = f"/api/v1/trades/{trade['trade_id']}/executions"
    rows = {row["ib_exec_id"]: row for row in ask(reader, path)[1]["items"]}
    assert {name: (row["state"], row["is_canonical"]) for name, row in rows.items()} == {
        exec_id(1, 1): ("superseded", False),
        exec_id(1, 2): ("live", True),
        exec_id(2): ("live", True),
    }
    assert rows[exec_id(1, 2)]["supersedes_execution_id"] == rows[exec_id(1, 1)]["execution_id"]
    assert "raw" not in rows[exec_id(2)]
    assert [row["ib_exec_id"] for row in ask(reader, path, is_canonical="false")[1]["items"]] == [exec_id(1, 1)]


def test_the_brokers_own_text_needs_an_admin_and_its_history_is_kept(world: World, reader: FlaskClient) -> None:
    world.socket(tws(exec_id(1), "BOT", "100", "10.5"))
    world.socket(tws(exec_id(1), "BOT", "100", "10.7", seen=9))
    (trade,) = ask(reader, "/api/v1/trades")[1]["items"]
    path = f"/api/v1/trades/{trade['trade_id']}/executions"
    assert ask(reader, path, include="raw")[0] == 403
    (row,) = ask(reader, path, ADMIN_KEY, include="raw,history")[1]["items"]
    assert row["raw"]["price"] == "10.7"
    assert [one["raw"]["price"] for one in row["history"]] == ["10.5", "10.7"]
    (plain,) = ask(reader, path, include="history")[1]["items"]
    assert [sorted(one) for one in plain["history"]] == [sorted(set(one) - {"raw"}) for one in row["history"]]


def test_an_anomaly_stands_at_its_trade(world: World, reader: FlaskClient) -> None:
    world.socket(tws(exec_id(1, 1), "BOT", conId="11"), tws(exec_id(1, 2), "SLD", conId="12"))
    items = ask(reader, "/api/v1/trades")[1]["items"]
    found = [ask(reader, f"/api/v1/trades/{item['trade_id']}")[1]["trade"]["anomalies"] for item in items]
    assert [(one["kind"], one["subject"]) for part in found for one in part] == [("revision_mismatch", exec_id(1, 2))]


@pytest.mark.parametrize("path", ROUTES)
def test_no_key_an_unknown_one_and_an_expired_one_are_refused(reader: FlaskClient, path: str) -> None:
    for key in (None, "wrong", OLD_KEY):
        status, answer = get(reader, path, key)
        assert (status, answer["error"]["code"]) == (401, "unauthorized")


def test_an_account_outside_the_key_does_not_exist_for_it(world: World, reader: FlaskClient) -> None:
    world.socket(tws(exec_id(1)))
    (trade,) = ask(reader, "/api/v1/trades")[1]["items"]
    for key in (KEY, OTHER_KEY):
        assert ask(reader, "/api/v1/trades", key)[1]["items"] == []
        assert ask(reader, "/api/v1/trades", key, account_id="1")[0] == 404
        assert ask(reader, f"/api/v1/trades/{trade['trade_id']}", key)[0] == 404
        assert ask(reader, f"/api/v1/trades/{trade['trade_id']}/executions", key)[0] == 404
        assert ask(reader, "/api/v1/accounts/1/sync-runs", key)[0] == 404
        assert ask(reader, "/api/v1/sync/coverage", key, account_id="1")[0] == 404
        health = ask(reader, "/api/v1/sync/health", key)[1]
        assert [one["code"] for one in health["accounts"]] == ([] if key == KEY else ["U7654321"])


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "1e2"}, "limit"),
        ({"account_id": "U1234567"}, "account_id"),
        ({"account_id": "9223372036854775808"}, "account_id"),
        ({"account_id": "-1"}, "account_id"),
        ({"status": "open"}, "status"),
        ({"symbol": ""}, "symbol"),
        ({"symbol": "A" * 65}, "symbol"),
        ({"symbol": "A\x00"}, "symbol"),
        ({"executed_from": "yesterday"}, "executed_from"),
        ({"executed_to": "2026-01-05T10:00:00"}, "executed_to"),
        ({"executed_from": "2026-01-06", "executed_to": "2026-01-05"}, "executed_to"),
        ({"include_merged": "yes"}, "include_merged"),
        ({"cursor": "nothing"}, "cursor"),
        ({"cursor": "!" * 20}, "cursor"),
        ({"cursor": "WzIsIngiXQ"}, "cursor"),
        ({"cursor": "x" * 1100}, "cursor"),
        ({"after": "x"}, "unknown"),
    ],
)
def test_a_wrong_filter_is_named(reader: FlaskClient, query: dict[str, str], name: str) -> None:
    status, answer = ask(reader, "/api/v1/trades", **query)
    assert (status, answer["error"]["code"]) == (400, "parameter_invalid")
    assert answer["error"]["message"].endswith(f": {name}")


@pytest.mark.parametrize("text", ["' or 1=1 --", "AAPL'; drop table ibkr.trades", "%", "\\", "﷽", "{}"])
def test_sql_in_a_filter_is_only_text(world: World, reader: FlaskClient, text: str) -> None:
    world.socket(tws(exec_id(1)))
    status, answer = ask(reader, "/api/v1/trades", symbol=text)
    assert (status, answer["items"]) == (200, [])


@pytest.mark.parametrize("name", ["x", "1", NOBODY, "%00", "..%2f..", "a" * 2000, "{00000000-0000-0000-0000-00000000000}"])
def test_an_unknown_id_is_not_found(reader: FlaskClient, name: str) -> None:
    for path in (f"/api/v1/trades/{name}", f"/api/v1/trades/{name}/executions"):
        assert ask(reader, path)[0] == 404
    assert ask(reader, f"/api/v1/accounts/{name}7/sync-runs")[0] == 404


def test_runs_of_an_account_say_what_they_asked_and_covered(world: World, reader: FlaskClient) -> None:
    for number in range(3):
        world.sync(Socket([tws(exec_id(number))]))
    world.sync(Socket([], error_class="end_missing", is_end_seen=False))
    status, answer = ask(reader, "/api/v1/accounts/1/sync-runs", limit="3")
    assert (status, answer["count"], answer["has_more"]) == (200, 3, True)
    newest = answer["items"][0]
    assert (newest["state"], newest["error_class"], newest["is_complete"]) == ("partial", "end_missing", False)
    assert newest["counts"]["fetched_executions_count"] == 0
    assert answer["items"][1]["covered_to_at"] is not None
    rest = ask(reader, "/api/v1/accounts/1/sync-runs", limit="3", cursor=answer["next_cursor"])[1]
    assert (rest["count"], rest["next_cursor"]) == (1, None)


def test_health_names_what_fails_and_what_waits(world: World, reader: FlaskClient) -> None:
    world.query("update ibkr.accounts set opened_at = null where id = 2")
    refused = read_row(tws_raw(exec_id(8), shares="-5"), Source.TWS)
    stray = read_row(tws_raw(exec_id(9), acctNumber="U999"), Source.TWS)
    assert isinstance(refused, Refusal)
    assert isinstance(stray, Refusal)
    world.sync(Socket([tws(exec_id(1, 1), conId="11"), tws(exec_id(1, 2), conId="12")], [refused, stray]))
    first, second = ask(reader, "/api/v1/sync/health")[1]["accounts"]
    (source,) = first["sources"]
    assert (source["source"], source["state"], source["run_state"]) == ("tws", "failing", "partial")
    assert (first["is_opening_missing"], second["is_opening_missing"]) == (False, True)
    assert (first["anomalies"], first["quarantine"]) == ({"revision_mismatch": 1}, {refused.reason.value: 1})
    assert ask(reader, "/api/v1/sync/health")[1]["quarantine_unassigned"] == {Reason.ACCOUNT_NOT_ALLOWED.value: 1}
    assert ask(reader, "/api/v1/sync/health", OTHER_KEY)[1]["quarantine_unassigned"] == {}
    world.statement(flex(exec_id(5)))
    sources = {one["source"]: one for one in ask(reader, "/api/v1/sync/health")[1]["accounts"][0]["sources"]}
    assert (sources["flex"]["state"], sources["flex"]["has_found_nothing"]) == ("ok", False)
    assert sources["flex"]["high_water_at"] == "2026-01-06T05:00:00.000Z"


def test_an_account_of_the_list_counts_its_failures_since_the_last_complete_run(world: World, reader: FlaskClient) -> None:
    def account() -> dict[str, Any]:
        return {one["account_id"]: one for one in ask(reader, "/api/v1/accounts")[1]["items"]}["1"]

    untouched = account()
    assert (untouched["state"], untouched["last_success_at"], untouched["failures_in_a_row"]) == ("late", None, 0)
    assert (untouched["label"], untouched["platform"], untouched["book_id"]) == ("IBKR •••567", "IBKR", "ibkr:U1234567")
    world.sync(Socket([tws(exec_id(1))]))
    success = account()
    assert (success["state"], success["failures_in_a_row"], success["last_error"]) == ("ok", 0, None)
    assert success["last_success_at"] == success["last_sync_at"] == "2026-01-06T21:01:00.000Z"
    assert (success["lag_seconds"], success["balances"]) == (3540, None)
    for number in (1, 2):
        world.sync(Socket([], error_class="end_missing", is_end_seen=False))
        failing = account()
        assert (failing["state"], failing["failures_in_a_row"]) == ("failing", number)
        assert failing["last_error"] == {"class": "end_missing", "text": None}
        assert failing["last_success_at"] == success["last_success_at"]
    world.query("update ibkr.accounts set is_enabled = false where id = 1")
    assert account()["state"] == "paused"
    assert ask(reader, "/api/v1/accounts/1")[1]["account"] == account()


def test_coverage_says_for_every_day_whether_it_is_proven(world: World, reader: FlaskClient) -> None:
    world.statement(flex(exec_id(1)), days=(date(2026, 1, 5), date(2026, 1, 5)))
    settled = ask(reader, "/api/v1/accounts/1/sync-runs", limit="1")[1]["items"][0]["run_id"]
    world.socket(tws(exec_id(2)))
    reached = ask(reader, "/api/v1/accounts/1/sync-runs", limit="1")[1]["items"][0]["run_id"]
    assert settled != reached
    answer = ask(reader, "/api/v1/sync/coverage", account_id="1", **{"from": "2026-01-02", "to": "2026-01-07"})[1]
    assert [(one["day"], one["state"]) for one in answer["days"]] == [
        ("2026-01-02", "unknown"),
        ("2026-01-03", "closed"),
        ("2026-01-04", "provisional"),
        ("2026-01-05", "proven"),
        ("2026-01-06", "provisional"),
        ("2026-01-07", "unknown"),
    ]
    assert [one["run_id"] for one in answer["days"]] == [None, None, reached, settled, reached, None]


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-01-05", "to": "2026-01-04"},
        {"from": "2024-01-01", "to": "2026-01-04"},
        {"from": "2026-13-01"},
        {"to": "0001-01-01"},
        {"to": "tomorrow"},
        {"day": "2026-01-01"},
    ],
)
def test_a_wrong_span_is_refused(reader: FlaskClient, query: dict[str, str]) -> None:
    assert ask(reader, "/api/v1/sync/coverage", **query)[0] == 400


def test_asking_changes_nothing(world: World, reader: FlaskClient) -> None:
    world.socket(tws(exec_id(1)))
    before = world.written()
    for path in ROUTES:
        ask(reader, path)
    assert world.written() == before
    for method in ("post", "put", "patch", "delete"):
        assert getattr(reader, method)("/api/v1/trades", headers={"Authorization": f"Bearer {ADMIN_KEY}"}).status_code == 405
