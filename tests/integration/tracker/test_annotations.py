"""A user's words over a real database: said, changed over the version that was seen, shown where their trade is, never lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.ledger import rebuild, service
from fillbook.ledger.model import Book, Side
from fillbook.runtime.db import Database, DatabaseFailed
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import statement
from fillbook.tracker import annotations
from fillbook.tracker.route import Sent
from infra.database.roles import login_role_statement
from tests.support.ibkr import exec_id, tws
from tests.support.ibkr_world import WORKER_GROUPS, World
from tests.support.tracker_desk import BOOKED_AT, NOW, fill
from tests.support.tracker_words import (
    ACCOUNT_KEY,
    OLD_KEY,
    READ_KEY,
    ROLE,
    THEIR_KEY,
    Words,
    ask,
    change,
    send,
    tracker,
)

NOBODY = "00000000-0000-0000-0000-000000000000"
Query = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def client(database_url: str, function_app: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    """The function ten minutes after the desk's start, with its own rights."""
    return tracker(function_app, database_url, tmp_path, NOW)


@pytest.fixture
def world(db: Database, open_database: Any, query: Query) -> World:
    """A desk that takes in broker rows with the worker's grants."""
    with db.transaction() as tx:
        tx.execute(statement(login_role_statement("ibkr_test_worker", WORKER_GROUPS)))
    return World(open_database("ibkr_test_worker", pool_size=4), query)


def positions(client: FlaskClient, **query: str) -> dict[str, dict[str, Any]]:
    """Positions by their ticker."""
    status, answer = ask(client, "/timed/trades", **query)
    assert status == 200
    return {one["ticker"]: one for one in answer["trades"]}


def notes_of(position: dict[str, Any]) -> str:
    return f"/timed/ledger/trades/{position['position_id']}/notes"


def words_of(one: dict[str, Any]) -> tuple[Any, ...]:
    return one["notes"], one["tags"], one["notes_version"]


def trade_path(trade_id: object) -> str:
    return f"/api/v1/trades/{trade_id}/notes"


@pytest.mark.usefixtures("booked")
def test_words_about_a_position_are_said_changed_and_cleared(client: FlaskClient) -> None:
    one = positions(client)["ZZTA"]
    assert words_of(one) == (None, [], None)
    path = notes_of(one)
    status, answer = send(client, "POST", path, {"notes": "Sold too early.\n<b>", "tags": [" early ", "AMD", "early"]})
    stored = answer["annotation"]
    assert (status, stored["version"], stored["tags"], stored["notes"]) == (201, 1, ["early", "AMD"], "Sold too early.\n<b>")
    about = {"kind": "position", "book_id": "live", "trade_id": one["position_id"], "ticker": "ZZTA"}
    assert about | {"updated_by": "admin", "updated_at": "2026-02-03T15:10:00.000Z"} == {
        name: stored[name] for name in (*about, "updated_by", "updated_at")
    }
    status, answer = send(client, "POST", path, {"notes": "again"})
    assert (status, answer["error"]["code"]) == (409, "notes_exist")
    assert words_of(positions(client)["ZZTA"]) == ("Sold too early.\n<b>", ["early", "AMD"], 1)
    status, answer = change(client, path, {"tags": ["late"]}, 1)
    assert (status, answer["annotation"]["notes"], answer["annotation"]["tags"], answer["annotation"]["version"]) == (
        200, "Sold too early.\n<b>", ["late"], 2,
    )  # fmt: skip
    status, answer = change(client, path, {"notes": "mine"}, 1)
    assert (status, answer["error"]["code"]) == (412, "version_differs")
    status, answer = send(client, "PATCH", path, {"notes": "mine"})
    assert (status, answer["error"]["code"]) == (428, "if_match_required")
    assert change(client, path, {"notes": None, "tags": None}, 'W/"2"')[0] == 200
    assert words_of(positions(client)["ZZTA"]) == (None, [], 3)
    assert words_of(positions(client)["ZZTB"]) == (None, [], None)


@pytest.mark.usefixtures("booked")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"text": "x"}, "unknown"),
        ({"notes": 1}, "notes"),
        ({"notes": "x" * 10_001}, "notes"),
        ({"tags": "x"}, "tags"),
        ({"tags": [f"t{n}" for n in range(21)]}, "tags"),
        ({"tags": ["x" * 41]}, "tags"),
        ({"tags": [" "]}, "tags"),
        ({"tags": ["a\nb"]}, "tags"),
        ({"tags": [None]}, "tags"),
        ({"strategy": "swing"}, "unknown"),
        ({"is_hidden": True}, "unknown"),
    ],
)
def test_words_out_of_bounds_are_refused_by_name(client: FlaskClient, query: Query, body: dict[str, Any], field: str) -> None:
    path = notes_of(positions(client)["ZZTA"])
    for status, answer in (send(client, "POST", path, body), change(client, path, body, 1)):
        assert (status, answer["error"]["code"], answer["error"]["message"]) == (400, "body_invalid", f"body invalid: {field}")
    assert query("select 1 from tracker.annotations") == []


@pytest.mark.usefixtures("booked")
def test_the_longest_words_fit_and_what_nobody_can_store_is_refused(client: FlaskClient) -> None:
    one = positions(client)["ZZTA"]
    longest = {"notes": "\U0001f4c8" * 10_000, "tags": [f"{n:02}" + "ä" * 38 for n in range(20)]}
    assert send(client, "POST", notes_of(one), longest)[0] == 201
    assert words_of(positions(client)["ZZTA"]) == (longest["notes"], longest["tags"], 1)
    assert change(client, notes_of(one), {"notes": "a\0b"}, 1)[0] == 400
    for version in ("0", "x", "", "1,2", "*", "99999999999"):
        assert change(client, notes_of(one), {"notes": "x"}, version)[0] in (400, 428)


@pytest.mark.usefixtures("booked")
def test_only_an_admin_of_the_book_and_tenant_says_anything(client: FlaskClient, query: Query) -> None:
    path = notes_of(positions(client)["ZZTA"])
    for key, status in ((None, 401), ("wrong", 401), (OLD_KEY, 401), (READ_KEY, 403), (THEIR_KEY, 404), (ACCOUNT_KEY, 404)):
        assert send(client, "POST", path, {"notes": "x"}, key)[0] == status, key
        assert change(client, path, {"notes": "x"}, 1, key or "none")[0] == status, key
    assert query("select 1 from tracker.annotations") == []
    assert send(client, "POST", path, {"notes": "x"}, books="replay:none")[0] == 404
    assert send(client, "POST", f"/timed/ledger/trades/{NOBODY}/notes", {"notes": "x"})[0] == 404
    assert send(client, "POST", "/timed/ledger/trades/x/notes", {"notes": "x"})[0] == 404
    for books in ("all", "live,ibkr:U1234567"):
        assert send(client, "POST", path, {"notes": "x"}, books=books)[0] == 400
    assert change(client, path, {"notes": "x"}, 1)[1]["error"]["code"] == "notes_unknown"
    assert send(client, "POST", path, {"notes": "x"})[0] == 201
    assert [ask(client, "/timed/notes", key)[1]["count"] for key in (READ_KEY, THEIR_KEY, ACCOUNT_KEY)] == [1, 0, 0]


def test_words_stay_with_their_action_when_a_late_fill_renames_the_position(
    booked: Database, client: FlaskClient, query: Query
) -> None:
    first = positions(client)["ZZTA"]
    send(client, "POST", notes_of(first), {"notes": "kept", "tags": ["a"]})
    late = replace(fill("ZZTA", 1, Side.BUY, "1", "99"), source_id="ZZTA#late", executed_at=BOOKED_AT + timedelta(seconds=1))
    with booked.transaction() as tx:
        service.book_fills(tx, "live", [late], NOW)
    renamed = positions(client)["ZZTA"]
    assert renamed["position_id"] != first["position_id"]
    assert words_of(renamed) == ("kept", ["a"], 1)
    assert send(client, "POST", notes_of(renamed), {"notes": "second"})[0] == 409
    assert change(client, notes_of(renamed), {"notes": "changed"}, 1)[0] == 200
    assert words_of(positions(client)["ZZTA"]) == ("changed", ["a"], 2)
    with booked.transaction() as tx:
        service.book_fills(tx, "live", [replace(late, source_revision=2, is_bust=True, cause="bust")], NOW)
    again = positions(client)["ZZTA"]
    assert (again["position_id"], *words_of(again)) == (first["position_id"], "changed", ["a"], 2)
    assert len(query("select 1 from tracker.annotations")) == 1


def test_words_whose_action_is_void_are_detached_and_come_back_with_it(booked: Database, client: FlaskClient) -> None:
    one = positions(client)["ZZTB"]
    stored = send(client, "POST", notes_of(one), {"notes": "of a bust"})[1]["annotation"]
    opening = fill("ZZTB", 4, Side.BUY, "1", "50")
    with booked.transaction() as tx:
        service.book_fills(tx, "live", [replace(opening, source_revision=2, is_bust=True, cause="bust")], NOW)
    assert all(one["notes"] is None for one in positions(client).values())
    status, answer = ask(client, "/timed/notes", is_detached="true")
    (note,) = answer["notes"]
    assert (status, note["is_detached"], note["trade_id"], note["notes"], note["book_id"]) == (
        200,
        True,
        None,
        "of a bust",
        "live",
    )
    assert ask(client, "/timed/notes", is_detached="false")[1]["notes"] == []
    path = f"/timed/ledger/trades/{stored['subject_id']}/notes"
    assert change(client, path, {"notes": "of a bust, still"}, 1)[0] == 200, "by the id they hang on"
    with booked.transaction() as tx:
        service.book_fills(tx, "live", [replace(opening, source_revision=3, cause="rebook")], NOW)
    assert words_of(positions(client)["ZZTB"]) == ("of a bust, still", [], 2)


def test_two_annotated_positions_that_become_one_show_both(booked: Database, client: FlaskClient) -> None:
    with booked.transaction() as tx:
        service.book_fills(tx, "live", [fill("ZZTB", 6, Side.BUY, "2", "41")], NOW)
    both = [one for one in ask(client, "/timed/trades")[1]["trades"] if one["ticker"] == "ZZTB"]
    for one in both:
        assert send(client, "POST", notes_of(one), {"notes": one["status"]})[0] == 201
    with booked.transaction() as tx:
        bust = replace(fill("ZZTB", 5, Side.SELL, "1", "40"), source_revision=2, is_bust=True, cause="bust")
        service.book_fills(tx, "live", [bust], NOW)
    merged = positions(client)["ZZTB"]
    assert merged["notes"] == "CLOSED", "what hangs on the older action stands for it"
    (other,) = merged["other_words"]
    assert (other["notes"], other["version"]) == ("OPEN", 1)
    assert change(client, f"/timed/ledger/trades/{other['subject_id']}/notes", {"notes": "mended"}, 1)[0] == 200
    assert positions(client)["ZZTB"]["other_words"][0]["notes"] == "mended"


def test_a_rebuild_of_the_book_touches_no_words(booked: Database, client: FlaskClient, open_database: Any, query: Query) -> None:
    for one in positions(client).values():
        send(client, "POST", notes_of(one), {"notes": one["ticker"]})
    before = Words(open_database(ROLE), query).kept()
    assert rebuild.check(open_database("ledger_maintenance"), "live").is_equal
    rebuild.write(open_database("ledger_maintenance"), "live")
    assert Words(open_database(ROLE), query).kept() == before
    assert {ticker: one["notes"] for ticker, one in positions(client).items()} == {"ZZTA": "ZZTA", "ZZTB": "ZZTB"}


def test_a_replay_of_the_same_fills_has_words_of_its_own(booked: Database, client: FlaskClient, open_database: Any) -> None:
    live = positions(client)["ZZTA"]
    send(client, "POST", notes_of(live), {"notes": "live"})
    book_id = f"replay:{NOBODY}"
    with open_database("replay_writer").transaction() as tx:
        service.open_book(tx, Book(book_id=book_id), BOOKED_AT)
        service.book_fills(tx, book_id, [fill("ZZTA", 1, Side.BUY, "10", "100")], NOW)
    mirrored = positions(client, books=book_id)["ZZTA"]
    assert (mirrored["position_id"], mirrored["notes"]) == (live["position_id"], None)
    assert send(client, "POST", notes_of(mirrored), {"notes": "replayed"}, books=book_id)[0] == 201
    with open_database("replay_writer").transaction() as tx:
        tx.query(statement("select ledger.clear_replay_book(:book_id)"), book_id=book_id)
    assert positions(client)["ZZTA"]["notes"] == "live"
    assert [one["notes"] for one in ask(client, "/timed/notes")[1]["notes"]] == ["live"], "replays only where they are named"
    (kept,) = ask(client, "/timed/notes", books=book_id)[1]["notes"]
    assert (kept["notes"], kept["is_detached"]) == ("replayed", True)


def loose(number: int, **more: str) -> Any:
    return tws(exec_id(number), permId="0", **more)


def test_words_about_a_merged_trade_are_shown_on_its_heir(world: World, client: FlaskClient, query: Query) -> None:
    world.socket(loose(1, orderId="94"), loose(2, orderId="95"))
    world.socket(tws(exec_id(9), permId="1400000001", orderId="93"))
    shown = {one["ib_order_id"]: one for one in ask(client, "/api/v1/trades")[1]["items"]}
    old = shown["94"]
    assert (*words_of(old), old["strategy"], old["is_hidden"]) == (None, [], None, None, False)
    said = {"notes": "mine", "tags": ["x"], "strategy": "swing"}
    status, answer = send(client, "POST", trade_path(old["trade_id"]), said)
    assert (status, answer["annotation"]["kind"], answer["annotation"]["strategy"]) == (201, "ibkr_trade", "swing")
    before = Words(world.db, query).kept()
    world.socket(tws(exec_id(1), orderId="94"))
    assert Words(world.db, query).kept() == before, "no sync touches them"
    heir = ask(client, f"/api/v1/trades/{old['trade_id']}")[1]["trade"]["merged_into"]
    listed = {one["trade_id"]: one for one in ask(client, "/api/v1/trades")[1]["items"]}
    assert (*words_of(listed[heir]), listed[heir]["strategy"]) == ("mine", ["x"], 1, "swing")
    assert words_of(ask(client, f"/api/v1/trades/{heir}")[1]["trade"]) == ("mine", ["x"], 1)
    (note,) = ask(client, "/timed/notes", tag="x")[1]["notes"]
    assert (note["trade_id"], note["subject_id"], note["is_detached"]) == (heir, old["trade_id"], False)
    assert send(client, "POST", trade_path(heir), {"notes": "no"})[0] == 409
    assert change(client, trade_path(heir), {"is_hidden": True}, 1)[0] == 200, "what is shown on it is what is changed"
    assert heir not in {one["trade_id"] for one in ask(client, "/api/v1/trades")[1]["items"]}
    assert heir in {one["trade_id"] for one in ask(client, "/api/v1/trades", include_hidden="true")[1]["items"]}
    assert ask(client, f"/api/v1/trades/{heir}")[1]["trade"]["is_hidden"] is True


def test_an_heir_with_words_of_its_own_keeps_them_and_shows_the_others_beside(world: World, client: FlaskClient) -> None:
    world.socket(loose(1, orderId="94"), tws(exec_id(9), permId="1400000001", orderId="93"))
    shown = {one["ib_order_id"]: one["trade_id"] for one in ask(client, "/api/v1/trades")[1]["items"]}
    assert send(client, "POST", trade_path(shown["94"]), {"notes": "old", "is_hidden": True})[0] == 201
    world.socket(tws(exec_id(1), orderId="94"))
    heir = ask(client, f"/api/v1/trades/{shown['94']}")[1]["trade"]["merged_into"]
    assert ask(client, "/api/v1/trades", include_hidden="true")[1]["items"][0]["is_hidden"] is True
    assert ask(client, "/api/v1/trades")[1]["items"] == []
    assert change(client, trade_path(heir), {"is_hidden": None}, 1)[0] == 200
    (one,) = ask(client, "/api/v1/trades")[1]["items"]
    assert (one["trade_id"], one["notes"], "other_words" in one) == (heir, "old", False)


@pytest.mark.parametrize(
    ("body", "field"), [({"strategy": "x" * 101}, "strategy"), ({"is_hidden": "yes"}, "is_hidden"), ({"strategy": 1}, "strategy")]
)
def test_words_about_a_brokers_trade_have_bounds(world: World, client: FlaskClient, body: dict[str, Any], field: str) -> None:
    world.socket(tws(exec_id(1)))
    (one,) = ask(client, "/api/v1/trades")[1]["items"]
    status, answer = send(client, "POST", trade_path(one["trade_id"]), body)
    assert (status, answer["error"]["message"]) == (400, f"body invalid: {field}")
    for key in (THEIR_KEY, ACCOUNT_KEY):
        assert send(client, "POST", trade_path(one["trade_id"]), {"notes": "x"}, key)[0] == 404
    assert send(client, "POST", trade_path(one["trade_id"]), {"notes": "x"}, READ_KEY)[0] == 403
    assert send(client, "POST", trade_path(NOBODY), {"notes": "x"})[1]["error"]["code"] == "trade_unknown"


@pytest.mark.usefixtures("booked")
def test_notes_are_listed_in_pages_by_tag_and_kind(client: FlaskClient, query: Query) -> None:
    send(client, "POST", notes_of(positions(client)["ZZTA"]), {"tags": ["one", "both"]})
    send(client, "POST", notes_of(positions(client)["ZZTB"]), {"tags": ["two", "both"]})
    query("update tracker.annotations set updated_at = updated_at - interval '1 hour' where 'one' = any(tags) returning 1")

    def tickers(**asked: str) -> list[str]:
        return [one["ticker"] for one in ask(client, "/timed/notes", **asked)[1]["notes"]]

    assert tickers() == tickers(tag="both") == tickers(kind="position") == tickers(books="live") == ["ZZTB", "ZZTA"]
    assert (tickers(tag="one"), tickers(tag="' or 1=1"), tickers(kind="mt5_trade")) == (["ZZTA"], [], [])
    page = ask(client, "/timed/notes", limit="1")[1]
    assert (page["count"], page["has_more"], page["notes"][0]["ticker"]) == (1, True, "ZZTB")
    rest = ask(client, "/timed/notes", limit="1", cursor=page["next_cursor"])[1]
    assert (rest["has_more"], rest["next_cursor"], rest["notes"][0]["ticker"]) == (False, None, "ZZTA")
    assert ask(client, "/timed/notes", tag="both", cursor=page["next_cursor"])[1]["error"]["code"] == "cursor_mismatch"
    for asked in ({"tag": ""}, {"tag": "x" * 41}, {"is_detached": "yes"}, {"kind": "x"}, {"limit": "0"}, {"since": "2026-01-01"}):
        assert ask(client, "/timed/notes", **asked)[0] == 400, asked
    assert ask(client, "/timed/notes", None)[0] == 401


def test_of_many_who_saw_a_version_one_writes(booked: Database, open_database: Any, client: FlaskClient, query: Query) -> None:
    one = positions(client)["ZZTA"]
    send(client, "POST", notes_of(one), {"notes": "first"})
    words = Words(open_database(ROLE, pool_size=8), query)

    def write(number: int) -> str:
        sent = Sent(body={"notes": f"of {number}"}, headers={"If-Match": "1"}, request_id="0" * 32)
        try:
            annotations.change_position_notes(words.db, words.key, {}, NOW, sent=sent, trade_id=one["position_id"])
        except Rejected as refusal:
            return refusal.reason
        return "written"

    with ThreadPoolExecutor(8) as pool:
        ends = sorted(pool.map(write, range(8)))
    assert ends == ["version_differs"] * 7 + ["written"]
    assert query("select version from tracker.annotations") == [{"version": 2}]


def test_nobody_but_the_tracker_may_write_a_word_and_nobody_may_delete_one(open_database: Any, query: Query) -> None:
    rows = query(
        "select r.rolname as role, p.privilege from pg_roles r "
        "cross join unnest(array['insert', 'update', 'delete', 'truncate']) as p(privilege) "
        "where not pg_has_role(r.oid, 'fillbook_owner', 'usage') and r.rolname !~ '^pg_' "
        "  and (has_table_privilege(r.rolname, 'tracker.annotations', p.privilege) or "
        "  (p.privilege in ('insert', 'update') and has_any_column_privilege(r.rolname, 'tracker.annotations', p.privilege)))"
    )
    assert {(row["role"], row["privilege"]) for row in rows} == {
        (role, privilege) for role in ("tracker_writer", "trade_tracker") for privilege in ("insert", "update")
    }
    row = "insert into tracker.annotations (tenant_id, kind, subject_id, updated_at, updated_by) values ('other', 'mt5_trade', "
    with (
        pytest.raises(DatabaseFailed, match="42501"),
        open_database(ROLE).transaction(tenant_id="desk") as tx,
    ):
        tx.execute(statement(f"{row}gen_random_uuid(), now(), 'x')"))
    query(f"{row}gen_random_uuid(), now(), 'x') returning 1")
    for tenant, count in (("desk", 0), ("other", 1), (None, 0)):
        with open_database("tracker_reader").transaction(read_only=True, tenant_id=tenant) as tx:
            assert len(tx.query(statement("select 1 as one from tracker.v_annotations"))) == count
