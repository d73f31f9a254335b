"""Trades of linked MT5 accounts through the read API: figures are their rows', pages stay whole while others are opened."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.mt5.columns import deal_row
from fillbook.tracker.linked import QUERIES
from tests.support.mt5_linked import NOW, LinkedDesk, Query, closed, msc, same, trade
from tests.support.mt5_world import deal, version
from tests.support.plans import rows_read
from tests.support.tracker_desk import KEY, entry

HUGE = 2**63 - 1
LIVE_KEY = "a key of the live book alone, long enough"


@pytest.fixture
def desk(open_database: Any, query: Query) -> LinkedDesk:
    """An empty room of linked accounts."""
    return LinkedDesk(open_database("mt5_writer"), open_database("desk_operator"), query)


@pytest.fixture
def reader(database_url: str, function_app: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    """The function on a paused clock, reading with the tracker's own rights."""
    clock = tmp_path / "clock.json"
    clock.write_text(json.dumps({"desk_at": NOW.isoformat(), "real_at": 0, "speed": 1.0, "paused": True}))
    settings = {
        "FILLBOOK_ENV": "local",
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=tracker_reader",
        "FILLBOOK_DESK_CLOCK": str(clock),
        "DESK_KEYS": json.dumps([entry("desk", KEY, books=["live", "mt5:*", "ibkr:*"]), entry("live", LIVE_KEY, books=["live"])]),
    }
    return function_app("trade_tracker", settings)


def ask(reader: FlaskClient, **asked: str) -> tuple[int, Any]:
    query = {"platform": "mt5"} | asked
    answer = reader.get("/api/v1/trades", query_string=query, headers={"Authorization": f"Bearer {KEY}"})
    return answer.status_code, answer.get_json()


def positions(reader: FlaskClient, **asked: str) -> list[str]:
    return [one["position_id"] for one in ask(reader, **asked)[1]["items"]]


def test_a_trade_shows_the_figures_of_its_row(desk: LinkedDesk, reader: FlaskClient) -> None:
    account = desk.link(50123456, account_name="Main")
    amounts = {
        "open_price": "0.00001234",
        "close_price": "1.10140",
        "stop_loss": "1.05",
        "take_profit": None,
        "current_price": "1.10000",
        "profit": "131.600",
        "swap": "-0.5",
        "commission": "-4.00",
        "fee": "0",
        "realized_profit": "80.00",
        "realized_swap": "-0.25",
        "net_pnl": "127.10",
        "volume": "1.00",
        "open_volume": "0",
    }
    more = {"ticket": HUGE, "magic": -HUGE, "comment": "<b>it's</b>", "close_reason": 4, "symbol": "EURUSD.m"}
    desk.sync(account, trades=[closed(trade(account, HUGE)) | amounts | more])
    status, answer = ask(reader)
    (one,) = answer["items"]
    (row,) = desk.query("select * from mt5.account_trades")
    assert (status, answer["count"], answer["has_more"], answer["next_cursor"]) == (200, 1, False, None)
    for name in amounts:
        assert same(one[name], row[name]), name
    assert (one["trade_id"], one["account_id"]) == (str(row["id"]), str(row["account_id"]))
    assert (one["position_id"], one["ticket"], one["magic"], one["episode"]) == (str(HUGE), str(HUGE), str(-HUGE), 1)
    assert (one["type"], one["status"], one["symbol"], one["symbol_norm"]) == ("buy", "closed", "EURUSD.m", "EURUSD")
    assert (one["comment"], one["close_reason"], one["label"], one["currency"]) == ("<b>it's</b>", 4, "Main •••456", "USD")
    assert (one["close_at"], one["updated_at"]) == ("2026-03-04T14:40:00.000Z", "2026-03-04T15:08:00.000Z")
    assert one["open_ts"] == int(row["open_time"].timestamp() * 1000)
    assert answer["data_as_of_at"] == one["updated_at"]
    assert not {"login_number", "account_name", "tenant_id", "sorted_at"} & set(one)


def test_pages_show_every_trade_once_newest_first_while_others_are_opened(desk: LinkedDesk, reader: FlaskClient) -> None:
    first, second = desk.link(50000001), desk.link(50000002)
    for account in (first, second):
        # the same seconds on both accounts, and two trades in each: the id decides
        desk.sync(
            account, trades=[trade(account, number, open_time=NOW - timedelta(minutes=number // 2)) for number in range(4, 18)]
        )
    everything = ask(reader)[1]["items"]
    assert len(everything) == 28
    order = [(one["open_ts"], one["trade_id"]) for one in everything]
    assert order == sorted(order, reverse=True)
    seen, after, number = [], {}, 100
    while after is not None:
        page = ask(reader, limit="5", **after)[1]
        seen += page["items"]
        after = None if page["next_cursor"] is None else {"cursor": page["next_cursor"]}
        number += 1
        desk.sync(first, NOW, trades=[trade(first, number, open_time=NOW)])
    assert seen == everything
    assert len(ask(reader)[1]["items"]) > 28


def test_filters_choose_and_a_cursor_belongs_to_its_filters(desk: LinkedDesk, reader: FlaskClient) -> None:
    first, second = desk.link(50000001), desk.link(50000002)
    rows = [
        trade(first, 1),
        closed(trade(first, 2)),
        trade(first, 3, status="close_pending"),
        trade(first, 4, symbol="XAUUSD.m", symbol_norm="XAUUSD"),
    ]
    desk.sync(first, trades=rows)
    desk.sync(second, trades=[trade(second, 5)])
    assert positions(reader) == ["5", "4", "3", "2", "1"]
    assert positions(reader, account_id=first) == ["4", "3", "2", "1"]
    assert positions(reader, account_id=second) == ["5"]
    assert positions(reader, status="open") == ["5", "4", "1"]
    assert positions(reader, status="closed") == ["2"]
    assert positions(reader, status="close_pending") == ["3"]
    assert positions(reader, symbol="XAUUSD.m") == positions(reader, symbol="XAUUSD") == ["4"]
    assert positions(reader, symbol="EURUSD", account_id=first, status="open") == ["1"]
    assert positions(reader, symbol="' or 1=1 --") == []
    after = ask(reader, status="open", limit="1")[1]["next_cursor"]
    assert positions(reader, status="open", limit="1", cursor=after) == ["4"]
    for other in ({"status": "closed"}, {"status": "open", "account_id": first}, {"platform": "ibkr"}, {}):
        status, answer = ask(reader, cursor=after, **other)
        assert (status, answer["error"]["code"]) == (400, "cursor_mismatch"), other


def test_a_trade_whose_opening_is_unknown_stands_last(desk: LinkedDesk, reader: FlaskClient) -> None:
    account = desk.link(50000001)
    unknown = {"open_time": None, "open_price": None, "entry_complete": False}
    desk.sync(account, trades=[closed(trade(account, 1)) | unknown, trade(account, 2), closed(trade(account, 3)) | unknown])
    page = ask(reader, limit="2")[1]
    rest = ask(reader, limit="2", cursor=page["next_cursor"])[1]
    found = page["items"] + rest["items"]
    assert found[0]["position_id"] == "2"
    assert {one["position_id"] for one in found[1:]} == {"1", "3"}
    assert [(one["open_ts"], one["open_at"], one["open_price"]) for one in found[1:]] == [(None, None, None)] * 2


def test_lists_of_the_two_brokers_stay_apart(desk: LinkedDesk, reader: FlaskClient) -> None:
    account = desk.link(50000001)
    desk.sync(account, trades=[trade(account, 1)])
    assert positions(reader) == ["1"]
    for platform in ({}, {"platform": "ibkr"}):
        headers = {"Authorization": f"Bearer {KEY}"}
        assert reader.get("/api/v1/trades", query_string=platform, headers=headers).get_json()["items"] == []


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"platform": "mt4"}, "platform"),
        ({"platform": ""}, "platform"),
        ({"account_id": "1"}, "account_id"),
        ({"account_id": "x"}, "account_id"),
        ({"account_id": "z" * 36}, "account_id"),
        ({"status": "filled"}, "status"),
        ({"symbol": ""}, "symbol"),
        ({"symbol": "A" * 65}, "symbol"),
        ({"limit": "501"}, "limit"),
        ({"limit": "0"}, "limit"),
        ({"cursor": "x" * 1100}, "cursor"),
        ({"include_merged": "true"}, "unknown"),
        ({"executed_from": "2026-01-01"}, "unknown"),
    ],
)
def test_a_wrong_filter_is_named(reader: FlaskClient, asked: dict[str, str], name: str) -> None:
    status, answer = ask(reader, **asked)
    assert (status, answer["error"]["code"]) == (400, "parameter_invalid")
    assert answer["error"]["message"].endswith(f": {name}")


def test_figures_of_all_trades_add_up_to_those_of_their_rows(desk: LinkedDesk, reader: FlaskClient) -> None:
    account = desk.link(50000001)
    desk.sync(account, trades=[closed(trade(account, number), net=f"{number}.{number:02}") for number in range(1, 32)])
    shown = sum(Decimal(one["net_pnl"]) for one in ask(reader)[1]["items"])
    (row,) = desk.query("select sum(net_pnl) as net from mt5.trades")
    assert shown == row["net"] != 0


def netting_deals() -> list[dict[str, Any]]:
    """Bought 1.00, sold 2.50 in one deal (a reversal that cost 5.00), bought the rest back; then another position."""
    begin = msc(NOW) - 3_600_000
    rows = [
        deal(11, 700, time_msc=begin, deal_type=0, entry=0, volume=Decimal("1.00")),
        deal(12, 700, time_msc=begin + 1000, deal_type=1, entry=2, volume=Decimal("2.50"), profit=Decimal("10.00"),
             commission=Decimal("-5.00")),
        deal(13, 700, time_msc=begin + 2000, deal_type=0, entry=1, volume=Decimal("1.50"), profit=Decimal("-3.00"),
             comment="<i>"),
        deal(14, 701, time_msc=begin + 3000),
    ]  # fmt: skip
    late = deal_row(version(rows[2]))
    return [deal_row(version(row)) for row in rows] + [late | {"revision": 2, "profit": "-3.50"}]


def one(reader: FlaskClient, trade_id: object, key: str = KEY) -> tuple[int, Any]:
    answer = reader.get(f"/api/v1/trades/{trade_id}", headers={"Authorization": f"Bearer {key}"})
    return answer.status_code, answer.get_json()


def test_a_trade_tells_the_deals_behind_it_each_with_its_part(desk: LinkedDesk, reader: FlaskClient) -> None:
    account = desk.link(50123456)
    rows = [trade(account, 700), trade(account, 700, episode=2), trade(account, 701), trade(account, 702)]
    desk.sync(account, trades=rows, deals=netting_deals())
    status, answer = one(reader, rows[0]["id"])
    assert (status, answer["trade"]["position_id"], answer["trade"]["episode"], answer["trade"]["has_more_deals"]) == (
        200, "700", 1, False,
    )  # fmt: skip
    parts = [
        (deal["deal_ticket"], deal["part"], deal["effect"], deal["volume"], deal["net"]) for deal in answer["trade"]["deals"]
    ]
    assert parts == [("11", 1, "opens", "1", "0"), ("12", 1, "closes", "1", "8")]
    second = one(reader, rows[1]["id"])[1]["trade"]["deals"]
    assert [(deal["deal_ticket"], deal["part"], deal["effect"], deal["volume"], deal["net"]) for deal in second] == [
        ("12", 2, "opens", "1.5", "-3"),
        ("13", 1, "closes", "1.5", "-3.5"),
    ]
    assert (second[1]["revision"], second[1]["comment"], second[1]["server_time"]) == (2, "<i>", "2026-03-04T14:10:02.000")
    assert [deal["deal_ticket"] for deal in one(reader, rows[2]["id"])[1]["trade"]["deals"]] == ["14"]
    assert one(reader, rows[3]["id"])[1]["trade"]["deals"] == [], "shown by a snapshot alone"
    listed = {item["trade_id"]: item for item in ask(reader)[1]["items"]}
    assert answer["trade"].items() >= listed[rows[0]["id"]].items()


def test_a_trade_of_another_tenant_or_book_does_not_exist(desk: LinkedDesk, reader: FlaskClient) -> None:
    mine, theirs = desk.link(50123456), desk.link(50123456, "other")
    for account in (mine, theirs):
        desk.sync(account, trades=[trade(account, 701)], deals=netting_deals())
    own, foreign = trade(mine, 701)["id"], trade(theirs, 701)["id"]
    assert one(reader, own)[0] == 200
    assert (one(reader, foreign)[0], one(reader, foreign)[1]["error"]["code"]) == (404, "trade_unknown")
    assert one(reader, own, LIVE_KEY)[0] == 404
    assert (one(reader, own, "wrong")[0], one(reader, "no-id")[0]) == (401, 404)


def test_deals_of_a_position_are_read_by_its_index(desk: LinkedDesk, open_database: Any, query: Query) -> None:
    account = desk.link(50123456)
    query(
        "insert into mt5.deals (account_id, deal_ticket, position_id, order_id, time_server_msc, deal_type, entry, symbol,"
        " volume, price, profit, commission, swap, fee, content_hash, first_seen_run) select :account, n, 1 + n / 10, n, n, 0, 0,"
        " 'S', 1, 1, 0, 0, 0, 0, '', gen_random_uuid() from generate_series(1, 5000) n returning 1",
        account=account,
    )
    query("analyze mt5.deals")
    with open_database("tracker_reader").transaction(read_only=True, tenant_id="desk") as tx:
        asked = {"tenant_id": "desk", "account_id": account, "position_id": 77, "limit": 5001}
        assert rows_read(tx, QUERIES["linked_deals"], **asked) <= 60


def test_a_reader_that_holds_an_answer_is_sent_it_again_only_when_something_changed(
    desk: LinkedDesk, reader: FlaskClient
) -> None:
    account, other = desk.link(50123456), desk.link(50123457)
    first = trade(account, 701)
    desk.sync(account, trades=[first])
    paths = (
        "/api/v1/trades?platform=mt5",
        f"/api/v1/trades/{first['id']}",
        "/api/v1/accounts?platform=mt5",
        f"/api/v1/accounts/{account}",
        f"/api/v1/accounts/{account}/sync-runs",
    )

    def get(path: str, known: str | None = None, key: str = KEY) -> Any:
        return reader.get(path, headers={"Authorization": f"Bearer {key}"} | ({} if known is None else {"If-None-Match": known}))

    tags = {path: get(path).headers["ETag"] for path in paths}
    assert len(set(tags.values())) == len(paths)
    assert all(tag.startswith('W/"') for tag in tags.values())
    for path, tag in tags.items():
        again = get(path, tag)
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
        assert again.headers["Cache-Control"] == "private, no-cache"
        assert get(path, 'W/"other"').status_code == 200
        assert get(path, tag, "wrong").status_code == 401
    assert get(paths[0], tags[paths[0]], LIVE_KEY).status_code == 200, "another key sees another answer"
    desk.sync(other, NOW - timedelta(minutes=1))
    changed = {path: get(path, tag).status_code for path, tag in tags.items()}
    assert changed == dict(zip(paths, (200, 304, 200, 304, 304), strict=True))
    desk.sync(account, NOW, trades=[first | {"current_price": "1.2"}])
    assert {get(path, tag).status_code for path, tag in tags.items()} == {200}
    tags = {path: get(path).headers["ETag"] for path in paths}
    desk.sync(account, NOW, trades=[first | {"current_price": "1.3"}])  # within the same instant of a desk that stands still
    assert {get(path, tag).status_code for path, tag in tags.items()} == {200}
