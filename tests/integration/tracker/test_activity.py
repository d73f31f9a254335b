"""What happened on the desk in one list: every kind, in pages that neither skip nor repeat while more happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.ledger import service
from fillbook.ledger.model import Side
from fillbook.runtime.db import Database
from fillbook.tracker.activity import KINDS
from tests.support.signal_live import LiveDesk
from tests.support.tracker_desk import BOOKED_AT, BROKER_KEY, fill, get, published

Query = Callable[..., list[dict[str, Any]]]


def test_every_kind_of_thing_is_told(client: FlaskClient, open_database: Any, query: Query) -> None:
    desk = LiveDesk(open_database("signal_worker"), query)
    desk.send("R")
    desk.send(minutes=20, price=Decimal("97.00"))
    published(query, "2026-02-02")
    query(
        "insert into replay.run_records (run_id, kind, book_id, date_from, date_to, script_version, session, inputs, start_from,"
        " facts, profile, config, config_digest, code_version, status, created_by, created_at) select r, 'catch_up', 'live',"
        " '2026-02-02', '2026-02-03', '*', 'regular', 'all', 'live', 'own', 'p', '{}', 'd', 'c', 'done', 'me',"
        " '2026-02-03 14:00Z' from gen_random_uuid() as r returning run_id"
    )
    items = get(client, "/timed/activity")[1]["items"]
    assert {item["kind"] for item in items} == {"execution", "lane_move", "snapshot", "replay"}
    assert [item["ts"] for item in items] == sorted((item["ts"] for item in items), reverse=True)
    titles = {item["kind"]: item["title"] for item in items}
    assert titles["execution"] == "Entered ZZTA long: 37.6374 at 100.4"
    assert titles["lane_move"] == "ZZTA moved to enter now"
    assert titles["snapshot"] == "Day 2026-02-02 published"
    assert titles["replay"] == "Replay of 2026-02-02 to 2026-02-03 done"
    move = next(item for item in items if item["kind"] == "lane_move" and item["figures"]["lane"] == "exit")
    assert move["action_id"] == str(desk.actions()[-1]["action_id"])
    assert [item["kind"] for item in get(client, "/timed/activity?kinds=lane_move&ticker=ZZTA&limit=1")[1]["items"]] == [
        "lane_move"
    ]
    assert get(client, "/timed/activity?ticker=NOTHING")[1]["items"] == []
    assert get(client, "/timed/activity?books=all", BROKER_KEY)[1]["items"] == []


@pytest.mark.usefixtures("booked")
def test_pages_neither_skip_nor_repeat_while_corrections_arrive(client: FlaskClient, db: Database) -> None:
    seen: list[str] = []
    cursor = ""
    for page in range(5):
        answer = get(client, f"/timed/activity?kinds=execution&limit=1{cursor}")[1]
        seen += [item["id"] for item in answer["items"]]
        assert answer["has_more"] is (page < 4)
        cursor = f"&cursor={answer['next_cursor']}"
        with db.transaction() as tx:
            late = fill("ZZTD", page + 1, Side.BUY, "1", "10")
            service.book_fills(tx, "live", [late], BOOKED_AT + timedelta(minutes=11 + page))
    assert len(set(seen)) == 5
    assert get(client, f"/timed/activity?kinds=lane_move&limit=1{cursor}")[0] == 400
    assert len(get(client, "/timed/activity?kinds=execution")[1]["items"]) == 10


def test_kinds_are_those_of_the_document() -> None:
    assert KINDS == ("execution", "correction", "lane_move", "message", "snapshot", "sync", "replay")
