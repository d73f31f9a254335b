"""The board over a real database: which lanes there are is data, whether a ticker holds a position is the ledger's word."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.runtime.db import Database
from tests.support.receipts import R_TS, body
from tests.support.replay_books import ReplayBooks
from tests.support.signal_live import LiveDesk
from tests.support.tracker_words import ACCOUNT_KEY, THEIR_KEY, ask, tracker

D = Decimal
AT = datetime.fromtimestamp(R_TS / 1000, UTC)
KEYS = ["watching", "almost_ready", "enter_now", "just_entered", "hold", "trim", "exit", "archived"]
Query = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def client(database_url: str, function_app: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    """The function an hour after the first receipt."""
    return tracker(function_app, database_url, tmp_path, AT + timedelta(hours=1))


@pytest.fixture
def desk(db: Database, query: Query) -> LiveDesk:
    """The live book after a story: one ticker entered, trimmed and closed, one entered, one that only waits."""
    story = [
        body(),
        body(minutes=20, price=D("102.10")),
        body(minutes=40, price=D("104.90")),
        body("Q"),
        body(ticker="ZZTC", minutes=50, sector=None),
    ]
    return ReplayBooks(db, query).live(story)


def board(client: FlaskClient, **asked: str) -> dict[str, dict[str, Any]]:
    status, answer = ask(client, "/timed/lanes", **asked)
    assert status == 200
    return {lane["key"]: lane for lane in answer["lanes"]}


def cards(client: FlaskClient, **asked: str) -> dict[str, dict[str, Any]]:
    return {card["ticker"]: card for lane in board(client, **asked).values() for card in lane["cards"]}


@pytest.mark.usefixtures("desk")
def test_every_ticker_stands_in_one_lane_with_its_reasons_and_the_ledgers_position(client: FlaskClient, query: Query) -> None:
    lanes = board(client)
    assert list(lanes) == KEYS
    found = cards(client)
    rows = {row["ticker"]: row for row in query("select * from signal.v_board")}
    assert found.keys() == rows.keys()
    held = {row["ticker"]: row for row in query("select symbol as ticker, position_id, status::text from ledger.v_positions")}
    for ticker, card in found.items():
        row = rows[ticker]
        assert (card["stage"], card["previous_stage"], card["badges"]) == (row["lane"], row["previous_lane"], row["badges"])
        assert (card["reasons"][0]["code"], card["receipt_id"]) == (row["reason"], str(row["last_receipt_id"]))
        assert [one["code"] for one in card["block_reasons"]] == [block["rule"] for block in row["blocks"]]
        assert all(" " in one["text"] for one in card["block_reasons"]), "words, not slugs"
        open_one = held.get(ticker, {}).get("status") == "OPEN"
        assert (card["position_status"] == "OPEN") == open_one
        assert not open_one or card["position_id"] == str(held[ticker]["position_id"])
    assert {key for key, lane in lanes.items() if lane["position"]} == {
        key for key, lane in lanes.items() if any(card["position_status"] == "OPEN" for card in lane["cards"])
    }
    assert sum(lane["count"] for lane in lanes.values()) == len(rows)


@pytest.mark.usefixtures("desk")
def test_the_card_of_an_exit_names_the_position_that_its_receipt_closed(client: FlaskClient, query: Query) -> None:
    exits = board(client)["exit"]
    assert exits["holds"] == "closed"
    closed = {str(row["position_id"]) for row in query("select position_id from ledger.v_positions where status = 'CLOSED'")}
    assert [(card["position_status"], card["position_id"] in closed) for card in exits["cards"]] == [("CLOSED", True)]


@pytest.mark.usefixtures("desk")
def test_a_price_is_the_ledgers_mark_and_says_how_old_it_is(client: FlaskClient, query: Query) -> None:
    query(
        "insert into ledger.marks (book_id, instrument, bucket_at, marked_at, recorded_at, price, source) "
        "select book_id, instrument, bucket_at - interval '1 day', marked_at - interval '1 day', recorded_at, price * 2, source "
        "from ledger.marks where instrument = 'ZZTC' returning 1"
    )
    card = cards(client)["ZZTC"]
    (mark,) = query("select price, as_of from ledger.v_marks where instrument_id = 'ZZTC' order by as_of desc limit 1")
    assert (D(card["price"]), card["price_ts"], card["price_state"]) == (
        mark["price"],
        int(mark["as_of"].timestamp() * 1000),
        "fresh",
    )
    assert (card["day_change_percent"], card["day_direction"]) == ("-50.00", "down")
    assert cards(client)["ZZTA"]["price_state"] == "stale"
    (trade,) = [one for one in ask(client, "/timed/trades", status="open")[1]["trades"] if one["ticker"] == "ZZTC"]
    for name in ("price_ts", "price_at", "price_state", "day_direction", "day_change_percent", "position_id"):
        assert card[name] == trade[name], name
    assert card["price"] == trade["current_price"]


@pytest.mark.usefixtures("desk")
def test_an_exit_that_waits_is_a_badge_of_its_lane(client: FlaskClient, query: Query) -> None:
    query("update signal.ticker_states set lane = 'hold', badges = '{defend,exit_pending}' where ticker = 'ZZTC' returning 1")
    (card,) = [one for one in board(client)["hold"]["cards"] if one["ticker"] == "ZZTC"]
    assert (card["badges"], card["position_status"]) == (["defend", "exit_pending"], "OPEN")


@pytest.mark.usefixtures("desk")
def test_a_ninth_lane_is_a_line_of_data_and_an_unnamed_stage_stands_alone(client: FlaskClient, query: Query) -> None:
    query("alter type signal.lane add value 'parked'")
    query("update signal.ticker_states set lane = 'parked' where ticker = 'ZZTC' returning 1")
    lanes = board(client)
    assert list(lanes) == [*KEYS, "parked"]
    assert [card["ticker"] for card in lanes["parked"]["cards"]] == ["ZZTC"]
    (view,) = query("select pg_get_viewdef('signal.v_lanes'::regclass) as text")
    query(
        f"create or replace view signal.v_lanes as select * from ({view['text'].rstrip(';')}) v "
        "union all select 9, 'parked', 'Parked', array['parked'], 'open'"
    )
    parked = board(client, cards="50")["parked"]  # asked otherwise: a view that is made anew is no change that a tag knows of
    assert (parked["title"], parked["holds"]) == ("Parked", "open")


@pytest.mark.usefixtures("desk")
def test_cards_are_cut_and_counts_are_not(client: FlaskClient, query: Query) -> None:
    query("update signal.ticker_states set lane = 'watch' returning 1")
    lane = board(client, cards="1")["watching"]
    assert (len(lane["cards"]), lane["count"]) == (1, 3)
    assert list(cards(client, ticker="ZZTC")) == ["ZZTC"]
    for asked in ({"cards": "51"}, {"cards": "0"}, {"ticker": ""}, {"ticker": "x" * 33}, {"limit": "1"}, {"books": ""}):
        assert ask(client, "/timed/lanes", **asked)[0] == 400, asked


@pytest.mark.usefixtures("desk")
def test_moves_are_told_newest_first_in_pages_with_their_rule_and_receipt(client: FlaskClient, query: Query) -> None:
    status, answer = ask(client, "/timed/lanes/history")
    rows = query("select * from signal.v_lane_moves order by entered_at desc, receipt_id desc")
    assert (status, answer["count"], len(rows) > 3) == (200, len(rows), True)
    for move, row in zip(answer["moves"], rows, strict=True):
        assert (move["ticker"], move["seq"], move["from_stage"], move["stage"], move["rule"], move["receipt_id"]) == (
            row["ticker"], row["seq"], row["from_lane"], row["lane"], row["rule"], str(row["receipt_id"]),
        )  # fmt: skip
        left = None if row["left_at"] is None else int(row["left_at"].timestamp() * 1000)
        assert (move["ts"], move["left_ts"]) == (int(row["entered_at"].timestamp() * 1000), left)
        assert (move["reason"]["code"], D(move["price"])) == (row["reason"], row["price"])
        assert move["action_ids"] == [str(one) for one in row["action_ids"]]
    story = [move["moved"] for move in reversed(ask(client, "/timed/lanes/history", ticker="ZZTA")[1]["moves"])]
    assert story[0] is None
    assert set(story[1:]) <= {"forward", "backward"}
    seen, more = [], {}
    while more is not None:
        page = ask(client, "/timed/lanes/history", limit="2", **more)[1]
        seen += page["moves"]
        more = {"cursor": page["next_cursor"]} if page["has_more"] else None
    assert seen == answer["moves"]
    middle = answer["moves"][1]["ts"]
    later = ask(client, "/timed/lanes/history", since=str(middle))[1]["moves"]
    earlier = ask(client, "/timed/lanes/history", until=str(middle))[1]["moves"]
    assert later + earlier == answer["moves"]
    assert min(move["ts"] for move in later) == middle > max(move["ts"] for move in earlier)


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("path", ["/timed/lanes", "/timed/lanes/history"])
def test_a_board_is_seen_by_whoever_may_see_its_book(client: FlaskClient, path: str) -> None:
    assert (ask(client, path, None)[0], ask(client, path, "wrong")[0]) == (401, 401)
    assert ask(client, path, ACCOUNT_KEY)[0] == 404
    assert ask(client, path, THEIR_KEY)[1]["count"] == 0
    assert ask(client, path, books="replay:none")[0] == 404
    assert ask(client, path, THEIR_KEY, books="all")[1]["books"] == {}
