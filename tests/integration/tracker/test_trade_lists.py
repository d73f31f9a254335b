"""Lists of positions and executions, one position whole, and files: what may be asked, and that it is answered so."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from fillbook.ledger import service
from fillbook.ledger.chain import encode
from fillbook.ledger.model import Side
from fillbook.runtime.db import Database
from fillbook.tracker import exports
from tests.support.tracker_desk import BOOKED_AT, KEY, NOW, fill, get

Query = Callable[..., list[dict[str, Any]]]
FACTS = [
    fill("ZZTC", 6, Side.SELL, "2", "30"),
    fill("ZZTC", 7, Side.BUY, "2", "20"),
    fill("ZZTD", 8, Side.BUY, "1", "10"),
]


@pytest.fixture
def desk(booked: Database) -> Database:
    """ZZTA open and trimmed (+99.25), ZZTB lost 11, ZZTC short won 19, ZZTD open and untouched; ZZTA's first fill was revised."""
    with booked.transaction() as tx:
        service.book_fills(tx, "live", FACTS, BOOKED_AT)
        revised = replace(fill("ZZTA", 1, Side.BUY, "10", "100"), source_revision=2, cause="revision", price=Decimal(99))
        service.book_fills(tx, "live", [revised], BOOKED_AT + timedelta(minutes=9))
    return booked


def tickers(client: FlaskClient, query: str = "", path: str = "/timed/trades") -> list[str]:
    status, answer = get(client, f"{path}{query}")
    assert status == 200, answer
    return [trade["ticker"] for trade in answer["trades"]]


FILTERS = [
    ("?outcome=win", ["ZZTC"]),
    ("?outcome=loss", ["ZZTB"]),
    ("?outcome=flat", []),
    ("?outcome=pending", []),
    ("?reason=tp_hit", ["ZZTC", "ZZTB", "ZZTA"]),
    ("?reason=nothing", []),
    ("?min_pnl=19", ["ZZTC", "ZZTA"]),
    ("?min_pnl=19.00000001", ["ZZTA"]),
    ("?max_pnl=0", ["ZZTD", "ZZTB"]),
    ("?min_pnl=-11&max_pnl=19&status=closed", ["ZZTC", "ZZTB"]),
    ("?direction=SHORT", ["ZZTC"]),
    ("?status=open&ticker=ZZTD", ["ZZTD"]),
    # ZZTA was active before and after these two minutes, not within; ZZTB only within
    ("?since=2026-02-03T15:03:30Z&until=2026-02-03T15:05:30Z", ["ZZTB"]),
    ("?since=2026-02-03T15:01:30Z&until=2026-02-03T15:02:30Z", ["ZZTA"]),
]
REFUSED = [
    ("/timed/trades?outcome=won", "outcome"),
    ("/timed/trades?min_pnl=abc", "min_pnl"),
    ("/timed/trades?min_pnl=NaN", "min_pnl"),
    ("/timed/trades?min_pnl=1e30", "min_pnl"),
    ("/timed/trades?min_pnl=0.000000001", "min_pnl"),
    ("/timed/trades?min_pnl=2&max_pnl=1", "max_pnl"),
    ("/timed/trades?lane=hold&as_of=2026-02-03T15:05:00Z", "lane"),
    ("/timed/ledger/trades?lane=hold", "unknown"),
    ("/timed/trades?reason=%00", "reason"),
    ("/timed/trades?cursor=x", "cursor"),
    ("/timed/ledger/actions?action_type=BUY", "action_type"),
    ("/timed/ledger/actions?position_id=7", "position_id"),
    ("/timed/export/trades.csv?limit=1", "unknown"),
    ("/timed/export/trades.csv?include=lots", "unknown"),
]


@pytest.mark.usefixtures("desk")
def test_filters_choose_positions_now_and_at_another_moment(client: FlaskClient) -> None:
    for path in ("/timed/trades", "/timed/ledger/trades"):
        for then in ("", "&known_as_of=2026-02-03T15:10:00Z"):
            assert [(query, tickers(client, query + then, path)) for query, _ in FILTERS] == FILTERS


@pytest.mark.usefixtures("desk")
def test_a_question_that_is_not_understood_is_refused_by_name(client: FlaskClient) -> None:
    answers = [(path, *get(client, path)) for path, _ in REFUSED]
    assert [(path, answer["error"]["message"].rpartition(": ")[2]) for path, _, answer in answers] == REFUSED
    assert {status for _, status, _ in answers} == {400}


@pytest.mark.usefixtures("desk")
def test_a_lot_has_its_value_and_a_position_says_whether_it_was_corrected(client: FlaskClient) -> None:
    trades = {trade["ticker"]: trade for trade in get(client, "/timed/trades?include=lots,actions")[1]["trades"]}
    assert {name: trade["is_corrected"] for name, trade in trades.items()} == {
        "ZZTA": True, "ZZTB": False, "ZZTC": False, "ZZTD": False,
    }  # fmt: skip
    assert [lot["value"] for lot in trades["ZZTA"]["lots"]] == ["990", "1100"]
    assert [one["version"] for one in trades["ZZTA"]["execution_actions"]] == [2, 2, 2]
    before = get(client, "/timed/trades?ticker=ZZTA&known_as_of=2026-02-03T15:08:00Z&include=lots")[1]["trades"][0]
    assert (before["is_corrected"], before["lots"][0]["value"]) == (False, "1000")


@pytest.mark.usefixtures("desk")
def test_a_message_is_told_in_one_word_with_its_link(client: FlaskClient, query: Query) -> None:
    (row,) = query("select action_id, position_id from ledger.v_actions where ticker = 'ZZTD'")
    query(
        "insert into notify.channels (channel_id, kind, secret_name, status_at, guild_id, discord_channel_id)"
        " values ('executions', 'executions', 'X', now(), '1', '2') on conflict (channel_id) do update set guild_id = '1',"
        " discord_channel_id = '2' returning channel_id"
    )
    query(
        "insert into notify.messages (channel_id, subject_key, subject_kind, book_id, action_id, position_id, group_key,"
        " priority, order_at, order_seq, wanted_version, wanted_seq, wanted, wanted_hash, state, message_id, embed_index,"
        " posted_version, posted_at, attempts, maybe_created, is_created_unknown, suspects, blind_resends, is_solo, notes,"
        " deaths, created_at)"
        " values ('executions', 'x', 'execution', 'live', :action_id, :position_id, 'g', 1, now(), 1, 1, 1, '{}', 'h', 'posted',"
        " '77', 0, 1, '2026-02-03T15:08:01Z', 1, false, false, '[]', 0, false, '[]', 0, now()) returning channel_id",
        **row,
    )
    states = []
    for change in (
        "verify_due = false",
        "proven_at = now()",
        "last_finding = 'double: title'",
        "state = 'dead', dead_reason = 'gone'",
    ):
        query(f"update notify.messages set {change} returning channel_id")
        states.append(get(client, "/timed/trades?ticker=ZZTD&include=actions")[1]["trades"][0]["execution_actions"][0]["message"])
    assert [one["state"] for one in states] == ["posted", "proven", "double", "dead"]
    assert {name: states[0][name] for name in ("message_id", "url", "posted_at")} == {
        "message_id": "77", "url": "https://discord.com/channels/1/2/77", "posted_at": "2026-02-03T15:08:01.000Z",
    }  # fmt: skip


def annotate(query: Query, ticker: str, tags: str, notes: str) -> None:
    query(
        "insert into tracker.annotations (tenant_id, kind, book_id, subject_id, notes, tags, updated_at, updated_by)"
        " select 'desk', 'position', 'live', first_action_id, :notes, cast(:tags as text[]), now(), 'ann'"
        "   from ledger.v_positions where symbol = :ticker returning subject_id",
        ticker=ticker,
        tags=tags,
        notes=notes,
    )


@pytest.mark.usefixtures("desk")
def test_a_users_words_are_beside_a_trade_and_find_it_by_tag(client: FlaskClient, query: Query) -> None:
    annotate(query, "ZZTA", "{plan A,late}", "=1+1")
    annotate(query, "ZZTB", "{late}", "no")
    trades = {trade["ticker"]: trade for trade in get(client, "/timed/trades")[1]["trades"]}
    assert [trades["ZZTA"][name] for name in ("notes", "tags", "notes_version")] == ["=1+1", ["plan A", "late"], 1]
    assert [trades["ZZTD"][name] for name in ("notes", "tags", "notes_version")] == [None, [], None]
    for then in ("", "&known_as_of=2026-02-03T15:08:00Z"):
        assert tickers(client, f"?tag=late{then}") == ["ZZTB", "ZZTA"]
        assert tickers(client, f"?tag=plan%20A{then}") == ["ZZTA"]
        assert tickers(client, f"?tag=none{then}") == []


@pytest.mark.usefixtures("desk")
def test_executions_are_listed_newest_first_in_the_version_that_was_known(client: FlaskClient) -> None:
    def told(query: str) -> list[tuple[Any, ...]]:
        rows = get(client, f"/timed/ledger/actions{query}")[1]["actions"]
        return [(row["ticker"], row["action_type"], row["price"], row["version"]) for row in rows]

    assert told("?ticker=ZZTA") == [("ZZTA", "TRIM", "120", 2), ("ZZTA", "ADD_ENTRY", "110", 2), ("ZZTA", "ENTRY", "99", 2)]
    assert told("?ticker=ZZTA&known_as_of=2026-02-03T15:08:00Z")[-1] == ("ZZTA", "ENTRY", "100", 1)
    assert [row[:2] for row in told("?action_type=EXIT")] == [("ZZTC", "EXIT"), ("ZZTB", "EXIT")]
    assert [row[:2] for row in told("?since=2026-02-03T15:08:00Z")] == [("ZZTD", "ENTRY")]
    assert len(told("?as_of=2026-02-03T15:02:00Z")) == 2
    (whole,) = get(client, "/timed/ledger/actions?ticker=ZZTD")[1]["actions"]
    named = ("qty", "fees", "cash_effect", "currency", "qty_after", "vwap_after", "session_date")
    assert {name: whole[name] for name in named} == {
        "qty": "1", "fees": "0.5", "cash_effect": "-10.5", "currency": "USD", "qty_after": "1", "vwap_after": "10",
        "session_date": "2026-02-03",
    }  # fmt: skip


@pytest.mark.usefixtures("desk")
def test_one_position_tells_everything_that_is_kept_of_it(client: FlaskClient) -> None:
    (listed,) = get(client, "/timed/trades?ticker=ZZTA&include=lots,actions")[1]["trades"]
    path = f"/timed/ledger/trades/{listed['position_id']}"
    status, answer = get(client, f"{path}?include=history,evidence")
    lots, actions = listed.pop("lots"), listed.pop("execution_actions")
    assert status == 200
    assert (answer["trade"], answer["lots"], answer["actions"]) == (listed, lots, actions)
    assert [event["type"] for event in answer["events"]] == ["ENTRY", "ADD_ENTRY", "TRIM"]
    assert [(one["lot_id"], one["qty"], one["pnl_realized"]) for one in answer["closings"]] == [
        (lots[0]["lot_id"], "5", "104.25")
    ]
    assert [(one["action_type"], one["version"], one["price"], one["known_to_at"]) for one in answer["versions"]][:2] == [
        ("ENTRY", 1, "100", "2026-02-03T15:09:00.000Z"),
        ("ENTRY", 2, "99", None),
    ]
    assert [(one["source_id"], one["source_revision"], one["cause"]) for one in answer["evidence"]] == [
        ("ZZTA#1", 2, "revision"), ("ZZTA#2", 1, "first"), ("ZZTA#3", 1, "first"),
    ]  # fmt: skip
    assert {"versions", "evidence"}.isdisjoint(get(client, path)[1])
    before = get(client, f"{path}?known_as_of=2026-02-03T15:08:00Z&include=history")[1]
    assert [one["known_to_at"] for one in before["versions"]] == [None, None, None]


@pytest.mark.usefixtures("desk")
def test_a_position_is_found_by_the_number_that_snapshots_name_it_by(client: FlaskClient, query: Query) -> None:
    for row in query("select position_id, metrics.trade_id(position_id) as number from ledger.v_positions"):
        found = get(client, f"/timed/ledger/trades/{row['number']}")[1]["trade"]
        assert UUID(found["position_id"]) == row["position_id"]


@pytest.mark.usefixtures("desk")
def test_a_trade_that_is_not_there_is_not_found(client: FlaskClient) -> None:
    for name in ("7", "9" * 16, "9" * 40, "no-id", "00000000-0000-0000-0000-000000000000", "-1"):
        status, answer = get(client, f"/timed/ledger/trades/{name}")
        assert (status, answer["error"]["code"]) == (404, "trade_unknown")


def file(client: FlaskClient, path: str) -> tuple[Any, str]:
    """Headers and text of a file."""
    answer = client.get(path, headers={"Authorization": f"Bearer {KEY}"})
    assert answer.status_code == 200, answer.data
    return answer.headers, answer.data.decode()


LISTS = {
    "trades": ("/timed/trades", "trades"),
    "actions": ("/timed/ledger/actions", "actions"),
    "activity": ("/timed/activity", "items"),
}


def cell(value: Any) -> str:
    """A value of the API as a cell of a file has it, but for formulas."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else encode(value) if isinstance(value, list | dict) else str(value)


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("then", ["", "known_as_of=2026-02-03T15:08:00Z&"], ids=["now", "another moment"])
@pytest.mark.parametrize("what", LISTS)
def test_rows_of_a_file_are_those_of_the_list_field_by_field(client: FlaskClient, what: str, then: str) -> None:
    query = f"?{then}since=2026-02-03T15:02:00Z"
    path, name = LISTS[what]
    rows = get(client, path + query)[1][name]
    headers, text = file(client, f"/timed/export/{what}.csv{query}")
    assert headers["Content-Type"] == "text/csv; charset=utf-8"
    assert headers["Content-Disposition"] == f'attachment; filename="fillbook-{what}-live-2026-02-03-2026-02-03.csv"'
    assert text.endswith("\r\n")
    found = list(csv.DictReader(io.StringIO(text)))
    assert [{name: row[name] for name in row if name in rows[0]} for row in found] == [
        {name: cell(value) for name, value in row.items()} for row in rows
    ]
    assert set(found[0]) - set(rows[0]) <= {"other_words"}
    status, document = get(client, f"/timed/export/{what}.json{query}")
    assert (status, document[name], document["count"], document["next_cursor"]) == (200, rows, len(rows), None)


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("then", ["", "?known_as_of=2026-02-03T15:08:00Z"], ids=["now", "another moment"])
def test_lots_as_a_file_are_those_of_the_trades(client: FlaskClient, then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE_POSITIONS", 1)
    listed = get(client, f"/timed/trades{then}{'&' if then else '?'}include=lots")[1]["trades"]
    wanted = [
        lot | {name: trade[name] for name in ("position_id", "book_id", "ticker", "direction", "currency")}
        for trade in listed
        for lot in trade["lots"]
    ]
    assert get(client, f"/timed/export/lots.json{then}")[1]["lots"] == wanted
    found = list(csv.DictReader(io.StringIO(file(client, f"/timed/export/lots.csv{then}")[1])))
    assert found == [{name: cell(value) for name, value in lot.items()} for lot in wanted]


@pytest.mark.usefixtures("desk")
def test_a_cell_that_a_spreadsheet_would_run_is_inert_and_a_negative_number_stays_one(client: FlaskClient, query: Query) -> None:
    annotate(query, "ZZTB", '{"=2+2"}', "=1+1")
    (row,) = csv.DictReader(io.StringIO(file(client, "/timed/export/trades.csv?ticker=ZZTB")[1]))
    assert (row["notes"], row["tags"], row["realized_pnl"]) == ("'=1+1", '["=2+2"]', "-11")


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("then", ["?", "?known_as_of=2026-02-03T15:08:00Z&"], ids=["now", "another moment"])
def test_a_file_of_too_many_rows_is_refused_before_its_first_byte(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    monkeypatch.setattr(exports, "ROWS_MAX", 3)
    for what in ("trades.csv", "lots.json", "actions.csv"):
        status, answer = get(client, f"/timed/export/{what}{then[:-1]}")
        assert (status, answer["error"]["code"]) == (413, "narrow_the_range")
        assert file(client, f"/timed/export/{what}{then}ticker=ZZTD")


@pytest.mark.usefixtures("desk")
def test_a_file_is_written_page_by_page_and_an_empty_one_has_its_header(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = file(client, "/timed/export/trades.csv")[1]
    monkeypatch.setattr(exports, "PAGE_ROWS", 1)
    assert file(client, "/timed/export/trades.csv")[1] == whole
    assert len(get(client, "/timed/export/actions.json")[1]["actions"]) == 8
    assert file(client, "/timed/export/trades.csv?ticker=NONE")[1].count("\r\n") == 1
    assert get(client, "/timed/export/trades.json?ticker=NONE")[1]["trades"] == []


def test_a_position_that_was_closed_today_and_entered_last_month_is_in_todays_range(
    client: FlaskClient, booked: Database
) -> None:
    entered = replace(fill("ZZTE", 1, Side.BUY, "1", "5"), executed_at=NOW - timedelta(days=33))
    with booked.transaction() as tx:
        service.book_fills(tx, "live", [entered, fill("ZZTE", 9, Side.SELL, "1", "6")], BOOKED_AT + timedelta(minutes=1))
    for path in ("/timed/trades", "/timed/ledger/trades"):
        assert "ZZTE" in tickers(client, "?since=2026-02-03", path)
        assert "ZZTE" in tickers(client, "?since=2026-02-03&until=2026-02-04", path)
        assert "ZZTE" in tickers(client, "?since=2026-02-03&until=2026-02-04&as_of=2026-02-03T15:10:00Z", path)
        assert "ZZTE" not in tickers(client, "?since=2026-01-15&until=2026-02-03", path)
        assert tickers(client, "?since=2026-01-01&until=2026-01-15", path) == ["ZZTE"]
