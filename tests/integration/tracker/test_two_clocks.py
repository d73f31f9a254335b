"""The read API as of T, known as of K: both clocks echoed, past answers given again, wrong instants refused by name."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.ledger import asof, service
from fillbook.ledger.model import Adjustment, Mark, Side
from fillbook.runtime.db import Database
from fillbook.tracker.api import ROUTES
from fillbook.tracker.figures import GROUPS
from fillbook.tracker.parameter import names
from tests.support.tracker_desk import BOOKED_AT, KEY, NOW, fill, get


@pytest.mark.usefixtures("booked")
def test_both_clocks_are_echoed_with_the_books_seq(client: FlaskClient) -> None:
    for path in ("/timed/trades", "/timed/ledger/trades"):
        answer = get(client, f"{path}?as_of=2026-02-03T15:02:00Z&known_as_of=2026-02-03T15:00:00Z")[1]
        assert (answer["as_of_at"], answer["as_of_ts"]) == ("2026-02-03T15:02:00.000Z", 1770130920000)
        assert (answer["known_as_of_at"], answer["data_as_of_at"]) == ("2026-02-03T15:00:00.000Z",) * 2
        assert answer["books"] == {"live": {"seq": 10}}
        now = get(client, path)[1]
        assert (now["as_of_at"], now["known_as_of_at"], now["books"]) == (
            "2026-02-03T15:10:00.000Z", "2026-02-03T15:00:00.000Z", {"live": {"seq": 10}},
        )  # fmt: skip


@pytest.mark.usefixtures("booked")
def test_a_position_is_shown_as_it_stood_at_t(client: FlaskClient) -> None:
    def at(second: str) -> list[tuple[Any, ...]]:
        query = f"?as_of=2026-02-03T15:{second}Z&known_as_of=2026-02-03T15:00:00Z&include=lots,actions"
        return [
            (
                trade["ticker"],
                trade["status"],
                trade["total_qty"],
                trade["entry_price"],
                [lot["remaining_qty"] for lot in trade["lots"]],
                [action["action_type"] for action in trade["execution_actions"]],
            )
            for trade in get(client, f"/timed/trades{query}")[1]["trades"]
        ]

    assert at("00:59") == []
    assert at("01:00") == [("ZZTA", "OPEN", "10", "100", ["10"], ["ENTRY"])]
    assert at("02:00") == [("ZZTA", "OPEN", "20", "105", ["10", "10"], ["ENTRY", "ADD_ENTRY"])]
    assert at("04:30") == [
        ("ZZTB", "OPEN", "1", "50", ["1"], ["ENTRY"]),
        ("ZZTA", "OPEN", "15", "106.6666666667", ["5", "10"], ["ENTRY", "ADD_ENTRY", "TRIM"]),
    ]
    assert [one[1] for one in at("05:00")] == ["CLOSED", "OPEN"]


@pytest.mark.usefixtures("booked")
def test_filters_choose_by_how_a_position_stood(client: FlaskClient) -> None:
    def tickers(query: str) -> list[str]:
        path = f"/timed/trades?as_of=2026-02-03T15:04:30Z&{query}"
        return [trade["ticker"] for trade in get(client, path)[1]["trades"]]

    assert tickers("status=open") == ["ZZTB", "ZZTA"]
    assert tickers("status=closed") == []
    assert tickers("ticker=ZZTA") == ["ZZTA"]
    assert tickers("direction=SHORT") == []
    assert tickers("since=2026-02-03T15:04:00Z") == ["ZZTB"]
    assert tickers("until=2026-02-03T15:02:00Z") == ["ZZTA"]
    assert get(client, "/timed/trades?as_of=2026-02-03T15:04:30Z&limit=1")[1]["has_more"] is True


@pytest.mark.usefixtures("booked")
def test_the_price_of_t_is_the_mark_seen_by_then(client: FlaskClient, db: Database) -> None:
    with db.transaction() as tx:
        seen = BOOKED_AT + timedelta(minutes=4)
        service.mark(tx, "live", [Mark(instrument="ZZTA", price=Decimal(112), marked_at=seen, source="signal")], seen)
    figures = [
        (trade["current_price"], trade["price_state"], trade["unrealized_pnl"], trade["lane"], trade["is_defend"])
        for minute in ("03:00", "04:00", "10:00")
        for trade in get(client, f"/timed/trades?ticker=ZZTA&as_of=2026-02-03T15:{minute}Z")[1]["trades"]
    ]
    assert figures == [
        (None, "missing", None, None, None), ("112", "fresh", "79.25", None, None), ("115", "fresh", "124.25", None, None),
    ]  # fmt: skip


def without_now(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what other rooms say now: lanes and messages."""
    for trade in answer["trades"]:
        for name in ("lane", "is_defend"):
            trade.pop(name, None)
        for action in trade.get("execution_actions", ()):
            action.pop("message", None)
    return answer


@pytest.mark.parametrize("path", ["/timed/trades?include=lots,actions", "/timed/ledger/trades?status=all"])
def test_an_answer_of_now_is_given_again_by_the_clocks_that_it_named(client: FlaskClient, booked: Database, path: str) -> None:
    first = get(client, path)[1]
    clocks = f"&as_of={first['as_of_at']}&known_as_of={first['known_as_of_at']}"
    assert without_now(get(client, path + clocks)[1]) == without_now(first)
    given = client.get(path + clocks, headers={"Authorization": f"Bearer {KEY}"}).data
    correct(booked)
    assert client.get(path + clocks, headers={"Authorization": f"Bearer {KEY}"}).data == given
    assert without_now(get(client, path)[1]) != without_now(first)


def correct(db: Database) -> None:
    """A later correction of the first fill, a bust of another, a late fill before them, and a split."""
    later = NOW - timedelta(seconds=1)
    wrong, gone = fill("ZZTA", 1, Side.BUY, "10", "100"), fill("ZZTB", 5, Side.SELL, "1", "40")
    facts = [
        replace(wrong, source_revision=2, cause="revision", price=Decimal(101)),
        replace(gone, is_bust=True, cause="bust"),
        replace(fill("ZZTA", 0, Side.BUY, "3", "90"), source="operator", account_key="ann"),
    ]
    with db.transaction() as tx:
        service.book_fills(tx, "live", facts, later)
    split = Adjustment(
        book_id="live",
        instrument="ZZTA",
        ratio_num=4,
        ratio_den=1,
        effective_at=BOOKED_AT + timedelta(minutes=2, seconds=30),
        entered_by="ann",
        reason="announced",
    )
    with db.transaction() as tx:
        service.adjust(tx, split, later)


MORE = {
    "/timed/trades": ["include=lots,actions", "status=closed", "reason=tp_hit", "limit=1"],
    "/timed/ledger/trades": ["include=lots,actions", "status=open"],
    "/timed/ledger/trades/{trade_id}": ["include=history,evidence"],
    "/timed/ledger/summary": [f"group_by={by}" for by in GROUPS],
    "/timed/ledger/actions": ["ticker=ZZTA", "limit=2"],
    "/timed/calendar": ["month=2026-02&by=day", "from=2026-02-02&to=2026-02-03&by=week"],
    "/timed/activity": ["kinds=execution,correction", "limit=2"],
}
"""What else may be asked of a route, beside nothing."""


def test_every_route_that_is_told_what_was_known_says_the_same_after_later_corrections(
    client: FlaskClient, booked: Database
) -> None:
    """Acceptance 6, held to by whatever route takes ``known_as_of``: a new one is asked without a word here."""
    own = {"trade_id": get(client, "/timed/trades?ticker=ZZTA")[1]["trades"][0]["position_id"]}
    clocks = {"known_as_of": "2026-02-03T15:05:00Z", "as_of": "2026-02-03T15:05:00Z"}
    asked = []
    for route in ROUTES:
        taken = [name for name in clocks if name in names(route.parameters)]
        if "known_as_of" in taken:
            for more in ["", *MORE.get(route.path, [])]:
                for given in (taken, ["known_as_of"]):
                    query = "&".join([f"{name}={clocks[name]}" for name in given] + [more] * bool(more))
                    asked.append(f"{route.path.format_map(own)}?{query}")
    assert {path.partition("?")[0].format_map(own) for path in MORE} <= {path.partition("?")[0] for path in asked}

    def answers() -> list[tuple[int, bytes]]:
        found = []
        for path in asked:
            with client.get(path, headers={"Authorization": f"Bearer {KEY}"}) as told:  # a file holds its look until it is read
                found.append((told.status_code, told.data))
        return found

    before = answers()
    assert {status for status, _ in before} == {200}, [path for path, one in zip(asked, before, strict=True) if one[0] != 200]
    correct(booked)
    for path, first, again in zip(asked, before, answers(), strict=True):
        assert again == first, path


def test_a_split_known_later_changes_the_answer_of_now_alone_and_both_paths_agree_on_it(
    client: FlaskClient, booked: Database
) -> None:
    correct(booked)
    for path in ("/timed/trades?include=lots,actions", "/timed/ledger/trades?status=all"):
        now = get(client, path)[1]
        clocks = f"&as_of={now['as_of_at']}&known_as_of={now['known_as_of_at']}"
        assert without_now(get(client, path + clocks)[1]) == without_now(now)


@pytest.mark.parametrize("name", ["as_of", "known_as_of"])
@pytest.mark.parametrize("path", ["/timed/trades", "/timed/ledger/trades"])
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("2026-02-03T15:00:00", "parameter_invalid"),
        ("2026-02-03", "parameter_invalid"),
        ("yesterday", "parameter_invalid"),
        ("", "parameter_invalid"),
        ("-1", "parameter_invalid"),
        ("99999999999999999999999", "parameter_invalid"),
        ("2026-02-03T15:10:00.001Z", "instant_in_future"),
        ("1770131400001", "instant_in_future"),
    ],
)
def test_a_clock_without_a_zone_of_nonsense_or_of_the_future_is_refused_by_name(
    client: FlaskClient, path: str, name: str, text: str, code: str
) -> None:
    status, answer = get(client, f"{path}?{name}={text}")
    assert (status, answer["error"]["code"]) == (400, code)
    assert answer["error"]["message"].endswith(f": {name}")


@pytest.mark.usefixtures("booked")
def test_a_clock_may_be_given_in_epoch_milliseconds(client: FlaskClient) -> None:
    (trade,) = get(client, "/timed/trades?as_of=1770130860000")[1]["trades"]
    assert (trade["ticker"], trade["total_qty"]) == ("ZZTA", "10")


@pytest.mark.usefixtures("booked")
def test_an_instant_of_whose_day_no_calendar_knows_is_refused_by_name(client: FlaskClient) -> None:
    for path in ("/timed/trades", "/timed/ledger/trades", "/timed/portfolio"):
        status, answer = get(client, f"{path}?as_of=2014-12-31T00:00:00Z")
        assert (status, answer["error"]) == (
            400,
            {"code": "instant_unknown", "message": "instant unknown: as_of", "request_id": answer["error"]["request_id"]},
        )


def test_a_clock_with_microseconds_is_echoed_with_them(client: FlaskClient, booked: Database) -> None:
    with booked.transaction() as tx:
        service.book_fills(tx, "live", [fill("ZZTC", 6, Side.BUY, "1", "9")], BOOKED_AT + timedelta(microseconds=1234))
    answer = get(client, "/timed/trades")[1]
    assert (answer["known_as_of_at"], answer["data_as_of_at"]) == ("2026-02-03T15:00:00.001234Z", "2026-02-03T15:00:00.001Z")
    again = get(client, f"/timed/trades?as_of={answer['as_of_at']}&known_as_of={answer['known_as_of_at']}")[1]
    assert [trade["ticker"] for trade in again["trades"]] == ["ZZTC", "ZZTB", "ZZTA"]


@pytest.mark.usefixtures("booked")
def test_a_book_that_was_not_known_yet_is_empty(client: FlaskClient) -> None:
    answer = get(client, "/timed/trades?known_as_of=2026-02-03T14:59:59Z")[1]
    assert (answer["trades"], answer["books"], answer["data_as_of_at"]) == ([], {"live": {"seq": 0}}, None)


@pytest.mark.usefixtures("booked")
def test_lots_of_more_actions_than_may_be_unfolded_are_refused_and_the_positions_alone_are_not(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asof, "UNFOLDED_ACTIONS_MAX", 4)
    status, answer = get(client, "/timed/trades?as_of=2026-02-03T15:06:00Z&include=lots")
    assert (status, answer["error"]["code"]) == (400, "too_many_actions")
    status, answer = get(client, "/timed/trades?as_of=2026-02-03T15:06:00Z")
    assert (status, answer["count"]) == (200, 2)
    assert get(client, "/timed/trades?as_of=2026-02-03T15:06:00Z&include=lots&ticker=ZZTA")[0] == 200
