"""Results, calendar and account on the read API: known figures to the digit, whose they are, and how they may be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.ledger import keeping, service
from fillbook.ledger.model import Mark, Side
from fillbook.runtime.db import Database
from fillbook.tracker.figures import GROUPS
from tests.support.tracker_desk import BOOKED_AT, BROKER_KEY, KEY, NOW, OLD_KEY, fill, get

Query = Callable[..., list[dict[str, Any]]]
COUNTS = ("trades", "open", "closed", "entries", "adds", "trims", "exits", "wins", "losses", "flats", "pending")
SUMS = ("realized_pnl", "fees", "gross_win", "gross_loss")


@pytest.mark.usefixtures("booked")
def test_the_results_of_a_desk_are_known_to_the_digit(client: FlaskClient) -> None:
    # trim 600 - 0.50 against 500.25; exit 40 - 0.50 against 50.50
    status, answer = get(client, "/timed/ledger/summary?group_by=ticker")
    (total,) = answer["totals"]
    assert (status, answer["books"]) == (200, {"live": {"seq": 10}})
    assert [total[name] for name in COUNTS] == [2, 1, 1, 2, 1, 1, 1, 0, 1, 0, 0]
    assert [total[name] for name in SUMS] == ["88.25", "2.5", "99.25", "-11"]
    assert [total[name] for name in ("win_rate_percent", "profit_factor", "avg_win", "avg_loss", "expectancy")] == [
        "0.00", "9.0227", None, "-11", "-11",
    ]  # fmt: skip
    assert [total[name] for name in ("best", "worst", "avg_hold_seconds", "currency")] == ["-11", "-11", 60, "USD"]
    assert [(group["key"], group["realized_pnl"], group["trades"]) for group in answer["groups"]] == [
        ("ZZTA", "99.25", 1), ("ZZTB", "-11", 1),
    ]  # fmt: skip


@pytest.mark.usefixtures("booked")
def test_groups_of_every_kind_add_up_to_the_total(client: FlaskClient) -> None:
    for by in GROUPS:
        answer = get(client, f"/timed/ledger/summary?group_by={by}")[1]
        (total,) = answer["totals"]
        for name in ("closed", "entries", "adds", "trims", "exits", "wins", "losses"):
            assert sum(group[name] for group in answer["groups"]) == total[name], (by, name)
        for name in SUMS:
            assert sum(Decimal(group[name]) for group in answer["groups"]) == Decimal(total[name]), (by, name)
        assert answer["other"] == []


def test_groups_beyond_those_shown_are_added_up(client: FlaskClient, booked: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fillbook.tracker.figures.GROUPS_MAX", 1)
    answer = get(client, "/timed/ledger/summary?group_by=ticker")[1]
    assert ([group["key"] for group in answer["groups"]], answer["count"]) == (["ZZTA"], 2)
    assert [(one["trades"], one["realized_pnl"]) for one in answer["other"]] == [(1, "-11")]


@pytest.mark.usefixtures("booked")
def test_a_position_closed_today_but_entered_last_month_is_in_todays_range(client: FlaskClient, db: Database) -> None:
    """Acceptance 5."""
    old = BOOKED_AT - timedelta(days=32)
    entered = replace(fill("ZZTC", 7, Side.BUY, "2", "10"), executed_at=old, session_date=date(2026, 1, 2))
    with db.transaction() as tx:
        service.book_fills(tx, "live", [entered, fill("ZZTC", 6, Side.SELL, "2", "12")], BOOKED_AT)
    answer = get(client, "/timed/ledger/summary?since=2026-02-03&group_by=ticker")[1]
    (mine,) = [group for group in answer["groups"] if group["key"] == "ZZTC"]
    assert [mine[name] for name in ("trades", "open", "closed", "entries", "exits", "wins", "realized_pnl")] == [
        1, 0, 1, 0, 1, 1, "3",
    ]  # fmt: skip
    assert mine["avg_hold_seconds"] == 32 * 86_400 + 360
    assert answer["totals"][0]["trades"] == 3
    before = get(client, "/timed/ledger/summary?until=2026-02-03")[1]["totals"][0]
    assert [before[name] for name in ("trades", "open", "closed", "realized_pnl", "fees")] == [1, 1, 0, "0", "0.5"]


@pytest.mark.usefixtures("booked")
def test_what_was_known_is_answered_again_after_a_correction(client: FlaskClient, db: Database) -> None:
    """Acceptance 6."""
    paths = ["/timed/ledger/summary?group_by=day", "/timed/calendar?by=day", "/timed/activity?kinds=execution"]
    asked = [f"{path}&known_as_of=2026-02-03T15:05:00Z" for path in paths]
    before = [client.get(path, headers={"Authorization": f"Bearer {KEY}"}).data for path in asked]
    with db.transaction() as tx:
        corrected = replace(fill("ZZTB", 5, Side.SELL, "1", "45"), source_revision=2, cause="revision")
        service.book_fills(tx, "live", [corrected], BOOKED_AT + timedelta(minutes=8))
    assert [client.get(path, headers={"Authorization": f"Bearer {KEY}"}).data for path in asked] == before
    assert get(client, paths[0])[1]["totals"][0]["realized_pnl"] == "93.25"
    (item,) = get(client, "/timed/activity?kinds=correction")[1]["items"]
    assert (item["title"], item["figures"]["pnl_before"], item["figures"]["pnl_realized"]) == (
        "EXIT of ZZTB became version 2", "-11", "-6",
    )  # fmt: skip


@pytest.mark.usefixtures("booked")
def test_the_calendar_shows_every_session_of_a_month_and_its_weeks(client: FlaskClient) -> None:
    answer = get(client, "/timed/calendar?month=2026-02")[1]
    assert [day["date"] for day in answer["days"]] == ["2026-02-02", "2026-02-03"]
    today = answer["days"][-1]
    assert [today[name] for name in ("entries", "adds", "trims", "exits", "losses", "realized_pnl", "fees", "open_at_close")] == [
        2, 1, 1, 1, 1, "88.25", "2.5", 1,
    ]  # fmt: skip
    (week,) = answer["weeks"]
    assert (week["first_date"], week["last_date"], week["realized_pnl"]) == ("2026-02-02", "2026-02-03", "88.25")
    alone = get(client, "/timed/calendar?from=2026-01-26&to=2026-02-03&by=week")[1]
    assert (alone["days"], [one["first_date"] for one in alone["weeks"]]) == ([], ["2026-01-26", "2026-02-02"])


@pytest.mark.usefixtures("booked")
def test_an_account_without_a_mark_names_it_and_says_nothing_it_cannot_know(client: FlaskClient) -> None:
    """A second before the only mark came."""
    answer = get(client, "/timed/portfolio?as_of=2026-02-03T15:09:59Z")[1]
    (total,) = answer["totals"]
    assert (total["missing_marks"], total["open_positions"]) == (["ZZTA"], 1)
    assert [total[name] for name in ("equity", "unrealized_pnl", "day_pnl", "positions_value", "gross_exposure")] == [None] * 5
    assert (total["cash"], total["realized_pnl"]) == ("98487.5", "88.25")
    assert answer["curve"][-1]["at"] == "2026-02-03T15:00:00.000Z"


@pytest.mark.usefixtures("booked")
def test_an_account_is_worth_its_cash_and_what_it_holds(client: FlaskClient, db: Database) -> None:
    seen = NOW - timedelta(minutes=6)
    with db.transaction() as tx:
        service.mark(tx, "live", [Mark(instrument="ZZTA", price=Decimal(115), marked_at=seen, source="signal")], seen)
    answer = get(client, "/timed/portfolio")[1]
    (total,) = answer["totals"]
    assert total == {
        "currency": "USD",
        "start_cash": "100000",
        "cash": "98487.5",
        "positions_value": "1725",
        "equity": "100212.5",
        "realized_pnl": "88.25",
        "unrealized_pnl": "124.25",
        "day_pnl": "212.5",
        "day_realized_pnl": "88.25",
        "day_return_percent": "0.2125",
        "gross_exposure": "1725",
        "net_exposure": "1725",
        "open_positions": 1,
        "missing_marks": [],
    }
    assert [(point["equity"], point["state"]) for point in answer["curve"][-1:]] == [("100212.5", "live")]
    gap = {point["at"][11:16] for point in answer["curve"]} & {f"15:0{minute}" for minute in range(1, 5)}
    assert gap == set(), "no point is invented before the first mark"
    assert len(get(client, "/timed/portfolio?points=3")[1]["curve"]) == 3
    assert answer["executions"]["by_ticker"] == [
        {"ticker": "ZZTA", "currency": "USD", "count": 3, "realized_pnl": "99.25"},
        {"ticker": "ZZTB", "currency": "USD", "count": 2, "realized_pnl": "-11"},
    ]
    earlier = get(client, "/timed/portfolio?as_of=2026-02-03T15:00:30Z&range=5d")[1]
    assert (earlier["totals"][0]["equity"], earlier["totals"][0]["open_positions"]) == ("100000", 0)


@pytest.mark.usefixtures("booked")
def test_a_book_outside_the_key_is_in_no_figure(client: FlaskClient) -> None:
    for path in ("/timed/ledger/summary", "/timed/portfolio", "/timed/calendar", "/timed/activity", "/timed/marks/ZZTA"):
        assert get(client, path, BROKER_KEY)[0] == 404
        assert get(client, f"{path}?books=replay:x")[0] == 404
        status, answer = get(client, f"{path}?books=all", BROKER_KEY)
        assert (status, answer["books"]) == (200, {})
        for name in ("totals", "days", "items", "points", "curve"):
            assert answer.get(name, []) == []
        assert [get(client, path, key)[0] for key in (None, OLD_KEY)] == [401, 401]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/timed/ledger/summary?group_by=colour", "group_by"),
        ("/timed/ledger/summary?since=2026-02-03&until=2026-02-02", "until"),
        ("/timed/calendar?month=2026-13", "month"),
        ("/timed/calendar?month=2026-02&from=2026-02-01", "month"),
        ("/timed/calendar?from=2024-01-01&to=2026-02-01", "to"),
        ("/timed/portfolio?range=2d", "range"),
        ("/timed/portfolio?points=2001", "points"),
        ("/timed/activity?limit=501", "limit"),
        ("/timed/activity?kinds=execution,gossip", "kinds"),
        ("/timed/marks/ZZTA?limit=5001", "limit"),
        ("/timed/snapshot?date=today", "date"),
        ("/timed/snapshot/series", "kpi"),
        ("/timed/snapshot/extremes?side=middle", "side"),
        ("/timed/session?what=1", "unknown"),
    ],
)
@pytest.mark.usefixtures("booked")
def test_a_wrong_parameter_is_named(client: FlaskClient, path: str, name: str) -> None:
    status, answer = get(client, path)
    assert (status, answer["error"]["message"].rpartition(": ")[2]) == (400, name)


@pytest.mark.usefixtures("booked")
def test_marks_are_shown_as_they_were_seen(client: FlaskClient, db: Database) -> None:
    seen = NOW - timedelta(minutes=40)
    with db.transaction() as tx:
        service.mark(tx, "live", [Mark(instrument="ZZTA", price=Decimal(90), marked_at=seen, source="signal")], seen)
    answer = get(client, "/timed/marks/ZZTA")[1]
    assert [(point["price"], point["state"]) for point in answer["points"]] == [("90", "stale"), ("115", "fresh")]
    last = get(client, "/timed/marks/ZZTA?limit=1")[1]
    assert ([point["price"] for point in last["points"]], last["has_more"]) == (["115"], True)
    assert get(client, "/timed/marks/NOTHING")[1]["points"] == []


@pytest.mark.usefixtures("booked")
def test_a_session_says_who_asks_and_what_time_it_is(client: FlaskClient) -> None:
    answer = get(client, "/timed/session")[1]
    assert (answer["key"]["id"], answer["key"]["scopes"], answer["key"]["books"]) == ("desk", ["read"], ["live"])
    assert [book["book_id"] for book in answer["visible"]] == ["live"]
    assert (answer["exchange"]["phase"], answer["exchange"]["today"]["date"], answer["exchange"]["next"]["date"]) == (
        "regular", "2026-02-03", "2026-02-04",
    )  # fmt: skip
    assert answer["server_at"] == "2026-02-03T15:10:00.000Z"
    assert get(client, "/timed/session", BROKER_KEY)[1]["visible"] == []


@pytest.mark.usefixtures("booked")
def test_kept_sums_are_read_until_a_later_row_touches_their_day(client: FlaskClient, db: Database, query: Query) -> None:
    def realized(path: str = "/timed/ledger/summary") -> Any:
        return get(client, path)[1]["totals"][0]["realized_pnl"]

    def mark_what_is_kept() -> None:
        query("update ledger.result_days set realized = 1000 returning book_id")
        query("update ledger.result_months set realized = 2000 returning book_id")

    assert (keeping.carry_results(db, NOW), keeping.carry_results(db, NOW)) == (1, 0)
    days, months = (query(f"select * from ledger.result_{what} where dimension = 'ticker'") for what in ("days", "months"))
    assert sorted(str(row | {"day": None}) for row in days) == sorted(str(row | {"day": None}) for row in months)
    mark_what_is_kept()
    assert realized() == "2000", "a whole month is read from what is kept"
    assert realized("/timed/ledger/summary?group_by=day") == "1000", "and so is a finished day"
    assert realized("/timed/ledger/summary?since=2026-02-02") == "1000"
    assert realized("/timed/ledger/summary?since=2026-02-03T15:01:00Z") == "88.25", "a part of a day never is"
    assert realized("/timed/ledger/summary?known_as_of=2026-02-03T15:10:00Z") == "88.25"
    with db.transaction() as tx:
        service.book_fills(tx, "live", [fill("ZZTC", 6, Side.BUY, "1", "10")], BOOKED_AT)
    assert realized() == "88.25", "a later row of the day puts what is kept aside, and its month"
    assert keeping.carry_results(db, NOW) == 1
    mark_what_is_kept()
    query("update ledger.result_books set row_hash = '' returning book_id")
    assert realized() == "88.25", "another chain, and nothing that is kept counts"
    assert keeping.carry_results(db, NOW) == 1
    assert realized() == "88.25"
