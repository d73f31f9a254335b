"""Linked MT5 accounts through the read API: each figure is its row's, each tenant sees its own, each state has one word."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.ibkr.accounts import configure_accounts
from fillbook.runtime.db import Database
from fillbook.tracker import linked
from tests.support.ibkr import CONFIGS
from tests.support.mt5_linked import NOW, LinkedDesk, Query, closed, info, msc, same, trade
from tests.support.tracker_desk import BROKER_KEY, OLD_KEY, entry

KEY, OTHER_KEY, ONE_KEY = "mt5-key", "other-tenant-key", "one-account-key"
NOBODY = "00000000-0000-0000-0000-000000000000"
LOGIN = 50123456
ROUTES = (
    "/api/v1/accounts",
    f"/api/v1/accounts/{NOBODY}",
    f"/api/v1/accounts/{NOBODY}/sync-runs",
    "/api/v1/sync/health",
    "/api/v1/sync/coverage",
    "/api/v1/trades?platform=mt5",
)


@pytest.fixture
def desk(open_database: Any, query: Query) -> LinkedDesk:
    """An empty room of linked accounts."""
    return LinkedDesk(open_database("mt5_writer"), open_database("desk_operator"), query)


@pytest.fixture
def reader(database_url: str, function_app: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    """The function on a paused clock, reading with the tracker's own rights."""
    clock = tmp_path / "clock.json"
    clock.write_text(json.dumps({"desk_at": NOW.isoformat(), "real_at": 0, "speed": 1.0, "paused": True}))
    keys = [
        entry("mt5", KEY, books=["live", "ibkr:*", "mt5:*"]),
        entry("other", OTHER_KEY, tenant_id="other", books=["*"]),
        entry("one", ONE_KEY, books=["mt5:Alpha-Demo:50000001"]),
        entry("broker", BROKER_KEY, books=["ibkr:*"]),
        entry("old", OLD_KEY, books=["*"], expires_at="2026-01-01T00:00:00Z"),
    ]
    settings = {
        "FILLBOOK_ENV": "local",
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=tracker_reader",
        "FILLBOOK_DESK_CLOCK": str(clock),
        "DESK_KEYS": json.dumps(keys),
    }
    return function_app("trade_tracker", settings)


def ask(reader: FlaskClient, path: str, key: str | None = KEY, **asked: str) -> tuple[int, Any]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    answer = reader.get(path, query_string=asked or None, headers=headers)
    return answer.status_code, answer.get_json()


def test_an_account_shows_the_figures_of_its_row(desk: LinkedDesk, reader: FlaskClient) -> None:
    account = desk.link(LOGIN, account_name="Main")
    money = info("10131.60", equity="10127.25", margin="110.5", margin_free="10016.75", margin_level="101398.67590140559")
    trades = [
        trade(account, 1),
        trade(account, 2, status="close_pending"),
        closed(trade(account, 3)),
        closed(trade(account, 4), NOW - timedelta(days=1)),
    ]
    desk.sync(account, money=money | {"profit": "-4.35", "credit": "100"}, trades=trades)
    status, answer = ask(reader, f"/api/v1/accounts/{account}")
    one = answer["account"]
    assert status == 200
    (row,) = desk.query("select * from mt5.trading_accounts where id = :id", id=account)
    for name in ("balance", "equity", "margin", "free_margin", "credit", "floating_profit"):
        assert same(one["balances"][name], row[name]), name
    assert one["balances"]["margin_level_percent"] == "101398.67590140559"
    assert (one["balances"]["currency"], one["balances"]["at"]) == ("USD", "2026-03-04T15:08:00.000Z")
    assert (one["open_positions"], one["close_pending"], one["closed_today"]) == (2, 1, 1)
    assert (one["platform"], one["label"], one["login_masked"]) == ("MT5", "Main •••456", "•••456")
    assert (one["state"], one["is_active"], one["book_id"]) == ("ok", True, f"mt5:Alpha-Demo:{LOGIN}")
    assert (one["last_success_at"], one["lag_seconds"]) == ("2026-03-04T15:08:00.000Z", 120)
    assert (one["next_due_at"], one["failures_in_a_row"], one["last_error"]) == ("2026-03-04T15:13:00.000Z", 0, None)
    (seen,) = desk.query("select backfill_pct, cash_state from mt5.account_sync_health")
    assert same(one["backfill_percent"], seen["backfill_pct"])
    assert 0 < float(one["backfill_percent"]) < 100
    assert one["cash_state"] == seen["cash_state"] == "ok"
    assert ask(reader, "/api/v1/accounts")[1]["items"] == [one]


def test_an_account_that_was_never_read_has_no_figures(desk: LinkedDesk, reader: FlaskClient) -> None:
    account = desk.link(LOGIN)
    one = ask(reader, f"/api/v1/accounts/{account}")[1]["account"]
    assert (one["balances"], one["last_success_ts"], one["lag_seconds"], one["next_due_ts"]) == (None, None, None, None)
    assert (one["state"], one["label"], one["cash_state"]) == ("late", "Alpha Markets •••456", "unknown")
    assert (one["backfill_percent"], one["open_positions"]) == ("0.00", 0)


def test_an_unknown_margin_stays_unknown(desk: LinkedDesk, reader: FlaskClient) -> None:
    account = desk.link(LOGIN)
    desk.sync(account, money=info("0", margin_level=None))
    balances = ask(reader, f"/api/v1/accounts/{account}")[1]["account"]["balances"]
    assert (balances["balance"], balances["margin"], balances["margin_level_percent"]) == ("0", "0", None)


def test_a_login_is_shown_by_its_last_digits_only(desk: LinkedDesk, reader: FlaskClient) -> None:
    account = desk.link(LOGIN, account_name=f"Prop {LOGIN} (main)")
    short = desk.link(123)
    desk.sync(account, trades=[trade(account, 1)])
    for path in ("/api/v1/accounts", "/api/v1/sync/health", f"/api/v1/accounts/{account}", "/api/v1/trades?platform=mt5"):
        text = json.dumps(ask(reader, path)[1]).replace(f"mt5:Alpha-Demo:{LOGIN}", "")
        assert str(LOGIN) not in text, path
        assert "456" in text
    assert ask(reader, f"/api/v1/accounts/{account}")[1]["account"]["label"] == "Prop •••456 (main) •••456"
    assert ask(reader, f"/api/v1/accounts/{short}")[1]["account"]["label"] == "Alpha Markets •••"


def test_two_tenants_with_the_same_login_see_their_own_only(desk: LinkedDesk, reader: FlaskClient) -> None:
    mine, theirs = desk.link(LOGIN), desk.link(LOGIN, "other")
    assert mine != theirs
    desk.sync(mine, money=info("100.00"), trades=[trade(mine, 7001, profit="1.00")])
    desk.sync(theirs, money=info("200.00"), trades=[trade(theirs, 7001, profit="2.00")])
    for key, own, foreign, balance, profit in ((KEY, mine, theirs, "100", "1"), (OTHER_KEY, theirs, mine, "200", "2")):
        (account,) = ask(reader, "/api/v1/accounts", key)[1]["items"]
        assert (account["account_id"], account["balances"]["balance"], account["open_positions"]) == (own, balance, 1)
        (one,) = ask(reader, "/api/v1/trades", key, platform="mt5")[1]["items"]
        assert (one["account_id"], one["profit"], one["position_id"]) == (own, profit, "7001")
        health = ask(reader, "/api/v1/sync/health", key)[1]["mt5"]
        assert [row["account_id"] for row in health["accounts"]] == [own]
        assert health["fleet"]["active_accounts"] == 1
        days = ask(reader, "/api/v1/sync/coverage", key)[1]["days"]
        assert {day["account_id"] for day in days} == {own}
        assert ask(reader, f"/api/v1/accounts/{own}/sync-runs", key)[1]["count"] == 1
        for path, asked in (
            (f"/api/v1/accounts/{foreign}", {}),
            (f"/api/v1/accounts/{foreign}/sync-runs", {}),
            ("/api/v1/sync/coverage", {"account_id": foreign}),
            ("/api/v1/trades", {"platform": "mt5", "account_id": foreign}),
        ):
            status, answer = ask(reader, path, key, **asked)
            assert (status, answer["error"]["code"]) == (404, "account_unknown"), path


def test_an_account_outside_the_books_of_a_key_does_not_exist_for_it(desk: LinkedDesk, reader: FlaskClient) -> None:
    first, second = desk.link(50000001), desk.link(50000002)
    for account in (first, second):
        desk.sync(account, trades=[trade(account, 1)])
    for key, expected in ((BROKER_KEY, []), (ONE_KEY, [first])):
        assert [one["account_id"] for one in ask(reader, "/api/v1/accounts", key)[1]["items"]] == expected
        assert [one["account_id"] for one in ask(reader, "/api/v1/trades", key, platform="mt5")[1]["items"]] == expected
        health = ask(reader, "/api/v1/sync/health", key)[1]["mt5"]
        assert ([one["account_id"] for one in health["accounts"]], health["count"]) == (expected, len(expected))
        assert health["fleet"]["active_accounts"] == len(expected)
        assert {day["account_id"] for day in ask(reader, "/api/v1/sync/coverage", key)[1]["days"]} == set(expected)
        assert ask(reader, f"/api/v1/accounts/{second}", key)[0] == 404


def test_every_state_has_its_word_and_the_worst_stands_first(desk: LinkedDesk, reader: FlaskClient) -> None:
    good, late, seldom, failing, barred, off = (desk.link(60000000 + number) for number in range(6))
    desk.sync(good)
    desk.sync(late, NOW - timedelta(minutes=11))
    desk.sync(seldom, NOW - timedelta(minutes=40), state={"next_due_at": NOW + timedelta(minutes=20)})
    desk.sync(failing, NOW - timedelta(minutes=7))
    desk.fail(failing, NOW - timedelta(minutes=2))
    desk.fail(barred, NOW - timedelta(minutes=2), 3, needs_login=True)
    desk.sync(off)
    desk.deactivate(off)
    expected = {good: "ok", late: "late", seldom: "ok", failing: "failing", barred: "needs_login", off: "paused"}
    health = ask(reader, "/api/v1/sync/health")[1]["mt5"]
    assert {one["account_id"]: one["state"] for one in health["accounts"]} == expected
    assert [one["state"] for one in health["accounts"]] == ["needs_login", "failing", "late", "ok", "ok", "paused"]
    assert health["states"] == {"needs_login": 1, "failing": 1, "late": 1, "ok": 2, "paused": 1}
    assert {one["account_id"]: one["state"] for one in ask(reader, "/api/v1/accounts")[1]["items"]} == expected
    told = next(one for one in health["accounts"] if one["account_id"] == failing)
    assert told["last_error"] == {"class": "timeout", "text": "Failed to fetch account info: no answer in time"}
    assert (told["failures_in_a_row"], told["lag_seconds"]) == (1, 420)
    assert told["runs_24h"] == {"success": 1, "partial": 0, "failed": 1, "skipped": 0}
    assert (health["count"], health["has_more"]) == (6, False)


def test_the_share_of_fresh_accounts_is_that_of_the_rooms_view(desk: LinkedDesk, reader: FlaskClient) -> None:
    for number, minutes in enumerate((1, 9, 11, 30)):
        desk.sync(desk.link(70000000 + number), NOW - timedelta(minutes=minutes))
    fleet = ask(reader, "/api/v1/sync/health")[1]["mt5"]["fleet"]
    (row,) = desk.query(
        "select f.* from (select set_config('fillbook.now', :now, true)) c cross join lateral "
        "(select * from mt5.fleet_freshness where c.set_config is not null) f",
        now=NOW.isoformat(),
    )
    assert (fleet["active_accounts"], fleet["fresh_accounts"]) == (row["active_accounts"], row["fresh_accounts"]) == (4, 2)
    assert same(fleet["fresh_percent"], row["fresh_pct"])
    assert fleet["oldest_success_at"] == "2026-03-04T14:40:00.000Z"


def test_without_accounts_the_fleet_has_no_share(reader: FlaskClient) -> None:
    health = ask(reader, "/api/v1/sync/health")[1]["mt5"]
    assert (health["count"], health["accounts"], health["fleet"]["fresh_percent"]) == (0, [], None)


def test_the_list_has_every_broker_and_pages_show_each_account_once(
    desk: LinkedDesk, reader: FlaskClient, db: Database, query: Query
) -> None:
    configure_accounts(db, CONFIGS, NOW)
    by_id = sorted(desk.link(80000000 + number) for number in range(5))
    numbers = [str(row["account_id"]) for row in query("select account_id from ibkr.v_accounts order by 1")]
    everything = ask(reader, "/api/v1/accounts")[1]["items"]
    assert [one["account_id"] for one in everything] == [*numbers, *by_id]
    assert [one["platform"] for one in everything] == ["IBKR"] * len(numbers) + ["MT5"] * 5
    assert {tuple(one) for one in everything} == {tuple(everything[0])}
    seen, after = [], {}
    while after is not None:
        page = ask(reader, "/api/v1/accounts", limit="2", **after)[1]
        seen += page["items"]
        after = None if page["next_cursor"] is None else {"cursor": page["next_cursor"]}
    assert seen == everything
    assert [one["account_id"] for one in ask(reader, "/api/v1/accounts", platform="mt5")[1]["items"]] == by_id
    assert [one["account_id"] for one in ask(reader, "/api/v1/accounts", platform="ibkr")[1]["items"]] == numbers
    cursor = ask(reader, "/api/v1/accounts", limit="1")[1]["next_cursor"]
    status, answer = ask(reader, "/api/v1/accounts", platform="mt5", cursor=cursor)
    assert (status, answer["error"]["code"]) == (400, "cursor_mismatch")
    for number, row in zip(numbers, everything, strict=False):
        assert ask(reader, f"/api/v1/accounts/{number}")[1]["account"] == row


def test_runs_of_a_linked_account_are_paged_newest_first(desk: LinkedDesk, reader: FlaskClient) -> None:
    account, other = desk.link(LOGIN), desk.link(LOGIN + 1)
    made = [desk.sync(account, NOW - timedelta(minutes=60 - 5 * number), trades=[trade(account, number)]) for number in (1, 2, 3)]
    made.append(desk.fail(account, NOW - timedelta(minutes=10)))
    desk.sync(other)
    path = f"/api/v1/accounts/{account}/sync-runs"
    everything = ask(reader, path)[1]
    assert [one["run_id"] for one in everything["items"]] == made[::-1]
    newest = everything["items"][0]
    assert (newest["state"], newest["error_class"], newest["is_complete"]) == ("failed", "timeout", False)
    assert newest["error_text"] == "Failed to fetch account info: no answer in time"
    assert (newest["counts"], newest["duration_ms"], newest["duration_seconds"]) == ({"trades_synced": 0, "attempts": 2}, 2150, 2)
    rows = desk.query("select * from mt5.sync_logs where account_id = :id order by started_at desc", id=account)
    for one, row in zip(everything["items"], rows, strict=True):
        assert (one["started_ts"], one["finished_ts"]) == (int(row["started_at"].timestamp() * 1000), msc(row["completed_at"]))
        assert (one["counts"]["trades_synced"], one["kind"]) == (row["trades_synced"], row["sync_type"])
    assert {one["window"] for one in everything["items"]} == {None}, "nothing is known of what they read"
    first = ask(reader, path, limit="3")[1]
    rest = ask(reader, path, limit="3", cursor=first["next_cursor"])[1]
    assert (first["has_more"], rest["next_cursor"]) == (True, None)
    assert first["items"] + rest["items"] == everything["items"]


def test_coverage_says_of_every_server_day_what_the_rooms_view_says(desk: LinkedDesk, reader: FlaskClient) -> None:
    account = desk.link(LOGIN)
    gap = {
        "from_msc": msc(NOW - timedelta(days=5)),
        "to_msc": msc(NOW - timedelta(days=5)) + 1,
        "opened_at": NOW,
        "cause": "cash",
    }
    check = {"checked_at": NOW, "balance": "100", "expected": "100", "gap": "0", "result": "ok"}
    run_id = desk.sync(account, gaps_opened=[gap], cash_check=check)
    asked = {"account_id": account, "from": "2026-02-18", "to": "2026-03-05"}
    days = {one["day"]: one for one in ask(reader, "/api/v1/sync/coverage", **asked)[1]["days"]}
    assert list(days) == sorted(days)
    assert len(days) == 16
    rows = desk.query(
        "select c.* from (select set_config('fillbook.now', :now, true)) s cross join lateral "
        "(select * from mt5.coverage_days where s.set_config is not null) c",
        now=NOW.isoformat(),
    )
    assert rows
    for row in rows:
        if date(2026, 2, 18) <= row["day"] <= date(2026, 3, 5):
            one = days[row["day"].isoformat()]
            assert (one["state"], one["run_id"]) == (row["state"], None if row["run_id"] is None else str(row["run_id"]))
    assert {name: days[name]["state"] for name in ("2026-02-18", "2026-02-26", "2026-02-27", "2026-02-28", "2026-03-04")} == {
        "2026-02-18": "unknown",
        "2026-02-26": "proven",
        "2026-02-27": "gap",
        "2026-02-28": "closed",
        "2026-03-04": "provisional",
    }
    assert (days["2026-02-26"]["run_id"], days["2026-03-05"]["state"]) == (run_id, "unknown")


def test_a_run_tells_what_it_asked_of_history_and_what_it_covered(desk: LinkedDesk, reader: FlaskClient) -> None:
    account = desk.link(LOGIN)
    noon, before = msc(NOW), msc(NOW - timedelta(minutes=5))
    read = {"from_msc": before - 48 * 3_600_000, "to_msc": noon + 24 * 3_600_000, "covered_to_msc": noon, "past_from_msc": None,
            "until_before_msc": before, "until_msc": noon}  # fmt: skip
    desk.sync(account, outcome={"steps": {"info": {"outcome": "ok"}, "history": {"outcome": "ok", **read}}})
    (run,) = ask(reader, f"/api/v1/accounts/{account}/sync-runs")[1]["items"]
    assert run["window"] == {
        "clock": "server",
        "requested_from": "2026-03-02T15:05:00.000",
        "requested_to": "2026-03-05T15:10:00.000",
        "covered_to": "2026-03-04T15:10:00.000",
        "past_from": None,
        "until_before": "2026-03-04T15:05:00.000",
        "until": "2026-03-04T15:10:00.000",
    }


def test_of_a_large_fleet_the_worst_accounts_and_days_of_the_first_are_told(
    desk: LinkedDesk, reader: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [desk.link(90000000 + number) for number in range(3)]
    for account in good:
        desk.sync(account)
    bad = desk.link(90000009)
    desk.fail(bad, NOW)
    monkeypatch.setattr(linked, "HEALTH_ACCOUNTS_MAX", 2)
    monkeypatch.setattr(linked, "COVERAGE_ROWS_MAX", 25)
    health = ask(reader, "/api/v1/sync/health")[1]["mt5"]
    assert [one["account_id"] for one in health["accounts"]] == [bad, min(good)]
    assert (health["has_more"], health["count"], health["states"]["ok"]) == (True, 4, 3)
    span = {"from": "2026-03-01", "to": "2026-03-10"}
    coverage = ask(reader, "/api/v1/sync/coverage", **span)[1]
    assert {one["account_id"] for one in coverage["days"]} == set(sorted([*good, bad])[:2])
    assert (coverage["has_more"], coverage["count"]) == (True, 20)
    assert ask(reader, "/api/v1/sync/coverage", account_id=bad, **span)[1]["has_more"] is False


@pytest.mark.parametrize("path", ROUTES)
def test_no_key_an_unknown_one_and_an_expired_one_are_refused(reader: FlaskClient, path: str) -> None:
    for key in (None, "wrong", OLD_KEY):
        status, answer = ask(reader, path, key)
        assert (status, answer["error"]["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("name", ["x", "0", NOBODY, "%00", "..%2f..", "a" * 36, "{" + "0" * 34 + "}", "1" * 36, "9" * 400])
def test_an_unknown_account_is_not_found(reader: FlaskClient, name: str) -> None:
    for path in (f"/api/v1/accounts/{name}", f"/api/v1/accounts/{name}/sync-runs"):
        assert ask(reader, path)[0] == 404


@pytest.mark.parametrize(
    ("path", "asked", "name"),
    [
        ("/api/v1/accounts", {"platform": "mt4"}, "platform"),
        ("/api/v1/accounts", {"limit": "501"}, "limit"),
        ("/api/v1/accounts", {"cursor": "nothing"}, "cursor"),
        ("/api/v1/accounts", {"status": "ok"}, "unknown"),
        (f"/api/v1/accounts/{NOBODY}", {"limit": "1"}, "unknown"),
        ("/api/v1/sync/coverage", {"account_id": "z" * 36}, "account_id"),
    ],
)
def test_a_wrong_parameter_is_named(reader: FlaskClient, path: str, asked: dict[str, str], name: str) -> None:
    status, answer = ask(reader, path, **asked)
    assert (status, answer["error"]["code"]) == (400, "parameter_invalid")
    assert answer["error"]["message"].endswith(f": {name}")


def test_asking_changes_nothing_and_nothing_else_is_offered(desk: LinkedDesk, reader: FlaskClient) -> None:
    account = desk.link(LOGIN)
    desk.sync(account, trades=[trade(account, 1)])
    before = desk.written()
    for path in (*ROUTES, f"/api/v1/accounts/{account}", f"/api/v1/accounts/{account}/sync-runs"):
        ask(reader, path)
    assert desk.written() == before
    for method in ("post", "put", "patch", "delete"):
        answer = getattr(reader, method)(f"/api/v1/accounts/{account}", headers={"Authorization": f"Bearer {KEY}"})
        assert answer.status_code == 405
