"""The read API over a real database: what was booked is what is shown, to whom it may be shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.runtime.db import Database
from tests.support.tracker_desk import BROKER_KEY, KEY, OLD_KEY, get


@pytest.mark.usefixtures("booked")
def test_an_open_position_shows_the_ledgers_own_figures(client: FlaskClient) -> None:
    status, answer = get(client, "/timed/trades?status=open&include=lots,actions")
    (trade,) = answer["trades"]
    assert status == 200
    assert answer["books"]["live"]["seq"] > 0
    assert {name: trade[name] for name in ("ticker", "direction", "status", "total_qty", "opened_qty", "entry_price")} == {
        "ticker": "ZZTA",
        "direction": "LONG",
        "status": "OPEN",
        "total_qty": "15",
        "opened_qty": "20",
        "entry_price": "106.6666666667",
    }
    # basis 500.25 + 1100.50; 15 × 115 = 1725; trim 600 - 0.50 against 5 × 100 + 0.25
    assert (trade["cost_basis"], trade["unrealized_pnl"], trade["realized_pnl"]) == ("1600.75", "124.25", "99.25")
    assert (trade["return_percent"], trade["trimmed_percent"]) == ("10.64", "25.00")
    assert (trade["price_state"], trade["day_direction"]) == ("fresh", "unknown")
    assert [lot["remaining_qty"] for lot in trade["lots"]] == ["5", "10"]
    assert sum(Decimal(lot["unrealized_pnl"]) for lot in trade["lots"]) == Decimal("124.25")
    assert [action["action_type"] for action in trade["execution_actions"]] == ["ENTRY", "ADD_ENTRY", "TRIM"]
    trim = trade["execution_actions"][-1]
    assert (trim["qty"], trim["pnl_realized"], trim["qty_after"], trim["message"]["state"]) == ("5", "99.25", "15", "none")
    assert trim["lots"][0]["lot_price"] == "100"


@pytest.mark.usefixtures("booked")
def test_filters_choose_by_status_ticker_and_activity(client: FlaskClient) -> None:
    def tickers(query: str) -> list[str]:
        return [trade["ticker"] for trade in get(client, f"/timed/trades{query}")[1]["trades"]]

    assert tickers("") == ["ZZTB", "ZZTA"]
    assert tickers("?status=closed") == ["ZZTB"]
    assert tickers("?ticker=ZZTA") == ["ZZTA"]
    assert tickers("?direction=SHORT") == []
    assert tickers("?since=2026-02-03T15:04:00Z") == ["ZZTB"]
    assert tickers("?until=2026-02-03T15:02:00Z") == ["ZZTA"]
    assert tickers("?since=2026-02-03") == ["ZZTB", "ZZTA"]


@pytest.mark.usefixtures("booked")
def test_a_page_that_is_full_says_that_there_is_more(client: FlaskClient) -> None:
    answer = get(client, "/timed/trades?limit=1")[1]
    assert (answer["count"], answer["has_more"]) == (1, True)


@pytest.mark.usefixtures("booked")
def test_a_closed_position_has_an_outcome_and_no_unrealized_figure(client: FlaskClient) -> None:
    (trade,) = get(client, "/timed/trades?status=closed")[1]["trades"]
    assert (trade["outcome"], trade["realized_pnl"], trade["unrealized_pnl"]) == ("LOSS", "-11", None)
    assert trade["price_state"] == "missing"


@pytest.mark.usefixtures("booked")
def test_the_flat_shape_has_the_columns_of_the_view(client: FlaskClient, query: Callable[..., list[dict[str, Any]]]) -> None:
    answer = get(client, "/timed/ledger/trades")[1]
    columns = {
        row["name"]
        for row in query("select attname as name from pg_attribute where attrelid = :v::regclass", v="ledger.v_trades")
    }
    assert all(set(trade) == columns | {"lots", "execution_actions"} for trade in answer["trades"])
    assert {trade["status"] for trade in answer["trades"]} == {"TP_HIT_TRIM", "LOSS"}
    assert [len(trade["execution_actions"]) for trade in answer["trades"]] == [2, 3]


def test_the_board_always_has_all_eight_lanes(client: FlaskClient) -> None:
    status, answer = get(client, "/timed/lanes")
    assert (status, len(answer["lanes"]), answer["count"]) == (200, 8, 0)


@pytest.mark.parametrize("path", ["/timed/trades", "/timed/ledger/trades", "/timed/lanes", "/timed/health"])
def test_no_key_an_unknown_one_and_an_expired_one_are_refused(client: FlaskClient, path: str) -> None:
    for key in (None, "wrong", OLD_KEY):
        status, answer = get(client, path, key)
        assert (status, answer["error"]["code"]) == (401, "unauthorized")


def test_a_key_in_the_url_opens_nothing(client: FlaskClient) -> None:
    assert get(client, f"/timed/trades?key={KEY}", None)[0] == 401
    assert get(client, f"/timed/trades?key={KEY}")[0] == 400


def test_without_configured_keys_the_desk_is_closed(function_app: Callable[..., FlaskClient], database_url: str) -> None:
    client = function_app("trade_tracker", {"FILLBOOK_ENV": "local", "FILLBOOK_DATABASE_URL": database_url, "DESK_KEYS": ""})
    assert get(client, "/timed/trades")[0] == 503


@pytest.mark.usefixtures("booked")
def test_a_book_outside_the_key_does_not_exist_for_it(client: FlaskClient) -> None:
    assert get(client, "/timed/trades?books=live", BROKER_KEY)[0] == 404
    everything = get(client, "/timed/trades?books=all", BROKER_KEY)[1]
    assert (everything["books"], everything["trades"]) == ({}, [])


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=abc", "limit"),
        ("?status=odd", "status"),
        ("?direction=UP", "direction"),
        ("?since=yesterday", "since"),
        ("?until=2026-02-03T10:00:00", "until"),
        ("?include=all", "include"),
        ("?what=1", "unknown"),
        ("?limit=1&limit=2", "limit"),
        ("?books=" + ",".join("abcdefghijk"), "books"),
    ],
)
def test_a_wrong_parameter_is_named(client: FlaskClient, query: str, name: str) -> None:
    status, answer = get(client, f"/timed/trades{query}")
    assert status == 400
    assert answer["error"]["message"].endswith(f": {name}")


@pytest.mark.usefixtures("booked")
@pytest.mark.parametrize("text", ["' or 1=1 --", "ZZTA'; drop table ledger.books", "%", "\\"])
def test_sql_in_a_filter_is_only_text(client: FlaskClient, text: str) -> None:
    answer = client.get("/timed/trades", query_string={"ticker": text}, headers={"Authorization": f"Bearer {KEY}"})
    assert answer.status_code == 200
    assert answer.get_json()["trades"] == []


def test_the_page_needs_no_key_and_may_do_nothing_but_ask_its_own_server(client: FlaskClient) -> None:
    for path in ("/", "/app/today"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert b"Trade Tracker" in answer.data
        assert answer.headers["Cache-Control"] == "no-cache"
    names = re.findall(r'(?:src|href)="(/assets/[^"]+)"', client.get("/app/positions/one").get_data(as_text=True))
    assert {name.rpartition(".")[2] for name in names} == {"js", "css", "svg"}
    for name in names:
        answer = client.get(name)
        assert (answer.status_code, "immutable" in answer.headers["Cache-Control"]) == (200, True), name
    assert client.get("/favicon.ico").data[:4] == b"\0\0\1\0"


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fmain.py", "main.py", "%00"])
def test_an_unknown_asset_is_not_found_and_never_the_index(client: FlaskClient, name: str) -> None:
    assert client.get(f"/assets/{name}").status_code == 404


def test_the_tracker_can_only_read(open_database: Callable[..., Database]) -> None:
    from fillbook.runtime.db import DatabaseFailed
    from fillbook.runtime.sql import statement

    reader = open_database("tracker_reader")
    for text in (
        "select * from ledger.positions",
        "delete from ledger.books",
        "insert into ledger.v_books (book_id) values ('x')",
    ):
        with pytest.raises(DatabaseFailed, match="42501"), reader.transaction() as tx:
            tx.query(statement(text))
