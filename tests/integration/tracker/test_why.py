"""Why an execution was booked, over the real signal path: every link is there, and one that is missing says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from fillbook.ledger import service
from fillbook.ledger.model import Side
from fillbook.runtime.db import Database
from tests.support.signal_live import LiveDesk
from tests.support.tracker_desk import BOOKED_AT, BROKER_KEY, fill, get, published

Query = Callable[..., list[dict[str, Any]]]
NAMES = ["receipt", "signal", "lane", "intent", "fill", "action", "closing", "event", "message", "kpi"]


@pytest.fixture
def live(open_database: Any, query: Query) -> LiveDesk:
    """R enters; twenty minutes later the price falls through the stop."""
    desk = LiveDesk(open_database("signal_worker"), query)
    desk.send("R")
    assert desk.send(minutes=20, price=Decimal("97.00")).lane == "exit"
    return desk


def chain(client: FlaskClient, action_id: object, more: str = "") -> dict[str, Any]:
    status, answer = get(client, f"/timed/why/{action_id}{more}")
    assert status == 200, answer
    assert [link["link"] for link in answer["chain"] if link["link"] != "kpi"] == NAMES[:-1]
    found: dict[str, Any] = answer
    return found


def by_name(answer: dict[str, Any]) -> dict[str, Any]:
    return {link["link"]: link for link in answer["chain"]}


def tell(query: Query, action_id: object, state: str = "posted", finding: str | None = None) -> None:
    """A message of an execution, as it stands with notify."""
    query(
        "insert into notify.channels (channel_id, kind, secret_name, status_at)"
        " values ('executions', 'executions', 'HOOK', now()) on conflict do nothing returning channel_id"
    )
    query(
        "insert into notify.messages (channel_id, subject_key, subject_kind, book_id, action_id, group_key, priority, order_at,"
        " order_seq, wanted_version, wanted_seq, wanted, wanted_hash, state, message_id, posted_version, posted_at, attempts,"
        " maybe_created, is_created_unknown, suspects, blind_resends, is_solo, notes, deaths, created_at, last_finding) values"
        " ('executions', :key, 'execution', 'live', :action_id, 'g', 0, :at, 1, 1, 1, '{\"title\": \"told\"}', 'h', :state, '77',"
        " 1, :at, 1, false, false, '[]', 0, false, '[]', 0, :at, :finding) returning subject_key",
        key=str(action_id),
        action_id=UUID(str(action_id)),
        at=BOOKED_AT + timedelta(minutes=30),
        state=state,
        finding=finding,
    )


def test_an_exit_is_followed_from_its_receipt_to_its_figures(client: FlaskClient, live: LiveDesk, query: Query) -> None:
    entry, leaving = live.actions()
    tell(query, leaving["action_id"])
    published(query, "2026-02-03")
    query("update metrics.metrics_kpi_values set kpi = 'Realized PnL' where kpi = 'Equity' returning kpi")
    answer = chain(client, leaving["action_id"])
    links = by_name(answer)
    assert (answer["is_whole"], answer["missing"], answer["version"], answer["versions"]) == (True, [], 1, 1)
    assert {name: link["state"] for name, link in links.items()} == dict.fromkeys(NAMES, "found")
    receipt_id = str(live.decision()["receipt_id"])
    assert links["receipt"]["id"] == links["signal"]["id"] == links["lane"]["id"] == receipt_id
    assert (links["lane"]["facts"]["lane"], links["lane"]["facts"]["rule"]) == ("exit", live.decision()["rule"])
    assert links["lane"]["facts"]["compared"]
    assert links["lane"]["facts"]["inputs"]["price"] == "97"
    assert (links["intent"]["id"], links["intent"]["facts"]["kind"]) == (f"{receipt_id}#1", "exit")
    assert links["fill"]["facts"]["source_id"] == f"{receipt_id}#1"
    assert (links["action"]["facts"]["action_type"], links["action"]["facts"]["pnl_realized"]) == (
        "EXIT", links["closing"]["facts"]["pnl_realized"],
    )  # fmt: skip
    assert links["event"]["facts"]["event_type"] == "execution_booked"
    assert (links["message"]["id"], links["message"]["facts"]["state"]) == ("77", "posted")
    assert [(link["facts"]["kind"], link["facts"]["date"]) for link in answer["chain"] if link["link"] == "kpi"] == [
        ("Realized PnL", "2026-02-03"), ("Win rate", "2026-02-03"),
    ]  # fmt: skip
    times = [link["ts"] for link in answer["chain"]]
    assert [link["gap_ms"] for link in answer["chain"]][1:] == [later - earlier for earlier, later in pairwise(times)]
    opening = by_name(chain(client, entry["action_id"]))
    assert (opening["closing"]["state"], opening["closing"]["note"]) == ("not_applicable", "an opening closes nothing")


@pytest.mark.parametrize(("state", "finding"), [("removed", None), ("posted", "missing: not there")])
def test_a_message_that_is_gone_shows_as_missing(
    client: FlaskClient, live: LiveDesk, query: Query, state: str, finding: str | None
) -> None:
    leaving = live.actions()[-1]
    tell(query, leaving["action_id"], state, finding)
    answer = chain(client, leaving["action_id"])
    link = by_name(answer)["message"]
    assert (link["state"], link["facts"]["state"]) == ("missing", "removed" if state == "removed" else "missing")
    assert link["note"].startswith("the message")
    assert (answer["is_whole"], answer["missing"]) == (False, ["message"])


def test_what_retention_took_is_named(client: FlaskClient, live: LiveDesk, query: Query) -> None:
    leaving = live.actions()[-1]
    query("delete from signal.receipts returning receipt_id")
    links = by_name(chain(client, leaving["action_id"]))
    assert [(links[name]["state"], links[name]["id"] is not None) for name in ("receipt", "signal", "lane")] == [
        ("missing", True), ("missing", True), ("found", True),
    ]  # fmt: skip
    query("delete from signal.decisions returning receipt_id")
    links = by_name(
        chain(client, leaving["action_id"], "?version=1")
    )  # asked otherwise: what retention takes is seen with the minute
    assert [links[name]["note"] for name in ("lane", "intent")] == [
        "the decision is not kept any more", "nothing is left of the decision",
    ]  # fmt: skip


@pytest.mark.usefixtures("booked")
def test_an_execution_that_was_taken_back_keeps_its_versions(client: FlaskClient, db: Database, query: Query) -> None:
    with db.transaction() as tx:
        later = BOOKED_AT + timedelta(minutes=9)
        busted = replace(fill("ZZTB", 5, Side.SELL, "1", "40"), is_bust=True, cause="bust")
        service.book_fills(tx, "live", [busted], later)
    action_id = query("select action_id from ledger.v_action_history where ticker = 'ZZTB' and action_type = 'EXIT' limit 1")[0][
        "action_id"
    ]
    answer = chain(client, action_id)
    links = by_name(answer)
    assert (answer["version"], answer["versions"]) == (2, 2)
    assert links["action"]["note"] == "the execution was taken back"
    assert links["event"]["facts"]["event_type"] == "execution_busted"
    first = chain(client, action_id, "?version=1")
    assert (first["version"], by_name(first)["event"]["facts"]["event_type"]) == (1, "execution_booked")
    assert get(client, f"/timed/why/{action_id}?version=3")[0] == 404


@pytest.mark.usefixtures("booked")
def test_an_execution_of_a_book_outside_the_key_does_not_exist(client: FlaskClient, query: Query) -> None:
    (row,) = query("select action_id from ledger.v_actions where ticker = 'ZZTB' and action_type = 'EXIT'")
    assert get(client, f"/timed/why/{row['action_id']}", BROKER_KEY)[0] == 404
    assert get(client, f"/timed/why/{row['action_id']}", None)[0] == 401
    assert get(client, "/timed/why/nothing")[0] == 404
    assert get(client, f"/timed/why/{row['action_id']}?version=0")[0] == 400
