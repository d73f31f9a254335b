"""Messages through the read API: what the notifier did is what is told, to whoever may see the book that is spoken of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from fillbook.ledger import service as ledger
from fillbook.runtime.db import Database
from tests.support.ledger import at, make_book, make_fill
from tests.support.notify_desk import START, NotifyDesk, action_id, executed, open_desk
from tests.support.notify_proof import prove
from tests.support.tracker_desk import entry
from tests.support.tracker_words import ADMIN_KEY, KEYS, READ_KEY, THEIR_KEY, ask, tracker

BASE = "/api/v1/notifications"
ROUTES = ("messages", "deliveries", "channels", "dead-letters", "reconciliation")
BROKER_KEY = "one-broker-account"
BROKER = "ibkr:U1"
Query = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def desk(open_database: Any, db: Database) -> Iterator[NotifyDesk]:
    """The live book and one of a broker, a notifier, and a Discord that takes everything."""
    with db.transaction() as tx:
        ledger.open_book(tx, make_book("live"), START)
        ledger.open_book(tx, make_book(BROKER), START)
    with open_desk(open_database("discord_notifier"), db) as made:
        yield made


@pytest.fixture
def client(database_url: str, function_app: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    """The function on the notifier's day."""
    keys = json.dumps([*KEYS, entry("broker", BROKER_KEY, books=[BROKER])])
    return tracker(function_app, database_url, tmp_path, START + timedelta(hours=3), DESK_KEYS=keys)


def told(client: FlaskClient, name: str, key: str = READ_KEY, **asked: str) -> Any:
    status, answer = ask(client, f"{BASE}/{name}", key, **asked)
    assert status == 200, answer
    return answer


def done(name: str, minutes: int = 0, book: str = "live", **more: Any) -> bytes:
    """An execution of some minutes after the start."""
    return executed(name, executed_at=(START + timedelta(minutes=minutes)).isoformat(), book=book, **more)


def test_a_message_is_told_by_version_and_state(desk: NotifyDesk, client: FlaskClient) -> None:
    desk.tell(done("a"), done("b", 1, BROKER))
    desk.push(done("c", 2, event="execution_corrected", version=2))
    answer = told(client, "messages")
    assert [one["subject_key"].partition("/")[2] for one in answer["messages"]] == [str(action_id(name)) for name in "cba"]
    waiting, broker, posted = answer["messages"]
    assert (posted["state"], posted["wanted_version"], posted["posted_version"], posted["title"]) == (
        "posted",
        1,
        1,
        "Entered AMD LONG",
    )
    (stands,) = [one for one in desk.posts() if str(action_id("a")) in json.dumps(one)]
    assert (posted["message_id"], posted["url"].rpartition("/")[2]) == (stands["id"], stands["id"])
    assert (waiting["state"], waiting["wanted_version"], waiting["posted_version"], waiting["message_id"]) == (
        "pending",
        2,
        None,
        None,
    )
    assert (broker["book_id"], posted["book_id"], posted["action_id"]) == (BROKER, "live", str(action_id("a")))
    keys = [one["subject_key"] for one in answer["messages"]]

    def chosen(**asked: str) -> list[str]:
        return [one["subject_key"] for one in told(client, "messages", **asked)["messages"]]

    assert chosen(state="pending") == keys[:1]
    assert chosen(action_id=str(action_id("a"))) == keys[2:]
    assert chosen(books="live") == [keys[0], keys[2]]
    assert chosen(channel="ops") == chosen(kind="lane") == []
    assert chosen(since=broker["occurred_at"]) == keys[:2]
    assert chosen(until=broker["occurred_at"]) == keys[2:]
    first = told(client, "messages", limit="2")
    assert chosen(limit="2", cursor=first["next_cursor"]) == keys[2:]


def test_every_request_to_discord_is_in_the_log_once_for_each_subject(desk: NotifyDesk, client: FlaskClient) -> None:
    desk.discord.fault("server_error.503", count=1)
    desk.tell(executed("a"), allowance=60)
    desk.tell(executed("b", book=BROKER))
    told_rows = (
        "select * from notify.v_delivery_log where attempt_id is not null order by started_at desc, attempt_id, subject_key"
    )
    rows = desk.rows(told_rows)
    answer = told(client, "deliveries", ADMIN_KEY)
    assert len(rows) == answer["count"] >= 2
    for one, row in zip(answer["deliveries"], rows, strict=True):
        assert (one["attempt_id"], one["subject_key"], one["operation"], one["http_status"], one["error"]) == (
            str(row["attempt_id"]), row["subject_key"], row["operation"], row["http_status"], row["error"],
        )  # fmt: skip
        assert one["response_excerpt"] == row["response_excerpt"]
    hidden = told(client, "deliveries")["deliveries"]
    assert [one | {"response_excerpt": None} for one in answer["deliveries"]] == hidden, "what Discord wrote is for admins"
    seen, more = [], {}
    while more is not None:
        page = told(client, "deliveries", limit="1", **more)
        seen += page["deliveries"]
        more = {"cursor": page["next_cursor"]} if page["has_more"] else None
    assert seen == hidden
    assert {one["book_id"] for one in told(client, "deliveries", action_id=str(action_id("b")))["deliveries"]} == {BROKER}
    assert told(client, "deliveries", operation="delete")["deliveries"] == []
    for subject in {one["subject_key"] for one in hidden}:
        mine = [one for one in hidden if one["subject_key"] == subject]
        assert told(client, "deliveries", subject=subject)["deliveries"] == mine
        assert told(client, "deliveries", subject=subject, operation="delete")["deliveries"] == []
        assert told(client, "deliveries", subject=subject, limit="1")["has_more"] is (len(mine) > 1)
    assert told(client, "deliveries", subject="live/nothing")["deliveries"] == []


def test_channels_say_what_waits_and_why_they_stand_still(desk: NotifyDesk, client: FlaskClient, query: Query) -> None:
    desk.push(executed("a"))
    query("update notify.channels set status = 'disabled', status_reason = 'webhook_gone' where channel_id = 'ops' returning 1")
    found = {one["channel_id"]: one for one in told(client, "channels")["channels"]}
    assert set(found) == {"executions", "lanes", "ops"}
    assert (found["executions"]["pending"], found["executions"]["status"], found["executions"]["dead"]) == (1, "active", 0)
    assert found["executions"]["oldest_pending_at"] is not None
    assert (found["ops"]["status"], found["ops"]["status_reason"]) == ("disabled", "webhook_gone")
    assert not any("webhook" in name for name in found["ops"])
    assert told(client, "channels", BROKER_KEY)["channels"] == []


def test_dead_letters_are_grouped_by_reason_with_their_remedy(desk: NotifyDesk, client: FlaskClient, query: Query) -> None:
    desk.push(*[done(f"d{number}", number, (BROKER, "live")[number % 2]) for number in range(5)])
    query(
        "update notify.messages set state = 'dead', dead_reason = case when order_at > :at then 'exhausted' "
        "else 'rejected_50035' end returning 1",
        at=START + timedelta(minutes=2),
    )
    answer = told(client, "dead-letters")
    assert [(one["reason"], one["count"], one["channel_id"]) for one in answer["groups"]] == [
        ("rejected_50035", 3, "executions"), ("exhausted", 2, "executions"),
    ]  # fmt: skip
    assert [one["oldest_ts"] for one in answer["groups"]] == sorted(one["oldest_ts"] for one in answer["groups"])
    for group in answer["groups"]:
        assert f"--reason {group['reason']}" in group["remedy"]["command"]
        assert "--dry-run" in group["remedy"]["command"]
        assert len(group["remedy"]["text"]) > 20
    assert [one["state"] for one in answer["messages"]] == ["dead"] * 5
    assert [(one["reason"], one["count"]) for one in told(client, "dead-letters", BROKER_KEY)["groups"]] == [
        ("rejected_50035", 2), ("exhausted", 1),
    ]  # fmt: skip
    page = told(client, "dead-letters", limit="3")
    assert told(client, "dead-letters", limit="3", cursor=page["next_cursor"])["count"] == 2


def test_a_proof_is_told_field_by_field(desk: NotifyDesk, client: FlaskClient, query: Query) -> None:
    steps = (("BUY", "10", "100"), ("SELL", "5", "101"))
    fills = [make_fill(f"AMD{number}", *step, minute=number, instrument="AMD") for number, step in enumerate(steps)]
    with desk.admin.transaction() as tx:
        ledger.book_fills(tx, "live", fills, desk.clock.now())
    desk.relay()
    desk.drain(allowance=600)
    query("update ledger.execution_actions set price = 99, value = 99 * quantity where action_type = 'ENTRY' returning 1")
    run_id = str(prove(desk, repair=False, until=at(600))["run_id"])
    answer = told(client, "reconciliation", run_id=run_id)
    (run,) = answer["runs"]
    assert (run["run_id"], run["status"], run["is_repairing"], run["requested_by"]) == (run_id, "open", False, "test")
    (row,) = query("select * from notify.v_reconcile_runs")
    assert {name: count for name, count in run["counts"].items() if count} == {k: v for k, v in row["counts"].items() if v}
    assert run["counts"]["wrong"] == 1
    (finding,) = answer["findings"]
    price = {one["field"]: one for one in finding["differences"]}["price"]
    assert (finding["kind"], price["expected"], price["found"], finding["repaired_at"]) == ("wrong", "99.00", "100.00", None)
    messages = {one["action_id"]: one for one in told(client, "messages")["messages"]}
    assert messages[finding["action_id"]]["state"] == "wrong"
    assert "proven" in {one["state"] for one in messages.values()}
    desk.clock.step(60)
    repaired = str(prove(desk, until=at(600))["run_id"])
    listed = told(client, "reconciliation")
    assert [one["run_id"] for one in listed["runs"]] == [repaired, run_id]
    assert told(client, "reconciliation", limit="1", cursor=told(client, "reconciliation", limit="1")["next_cursor"])["runs"] == [
        run
    ]
    assert [one["repaired_at"] is not None for one in listed["findings"]] == [True, False]
    assert told(client, "reconciliation", until=run["queued_at"])["runs"] == []
    assert told(client, "reconciliation", BROKER_KEY)["runs"] == []


@pytest.mark.usefixtures("desk")
def test_messages_are_told_to_whoever_may_see_their_book(desk: NotifyDesk, client: FlaskClient) -> None:
    desk.push(executed("a"), executed("b", book=BROKER))
    for name in ROUTES:
        assert (ask(client, f"{BASE}/{name}", None)[0], ask(client, f"{BASE}/{name}", "wrong")[0]) == (401, 401)
    assert [one["book_id"] for one in told(client, "messages", BROKER_KEY)["messages"]] == [BROKER]
    for name in ROUTES:
        assert told(client, name, THEIR_KEY)["count"] == 0, name
    assert ask(client, f"{BASE}/messages", BROKER_KEY, books="live")[0] == 404
    assert ask(client, f"{BASE}/messages", books="replay:none")[0] == 404
    assert ask(client, f"{BASE}/reconciliation", run_id=str(UUID(int=1)))[1]["error"]["code"] == "run_unknown"


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("messages", {"state": "proven"}),
        ("messages", {"kind": "x"}),
        ("messages", {"action_id": "x"}),
        ("messages", {"position_id": "z" * 36}),
        ("messages", {"since": "2026-02-04", "until": "2026-02-03"}),
        ("messages", {"limit": "501"}),
        ("deliveries", {"operation": "post"}),
        ("deliveries", {"subject": "x" * 201}),
        ("deliveries", {"cursor": "x" * 2000}),
        ("channels", {"limit": "1"}),
        ("dead-letters", {"channel": "x"}),
        ("dead-letters", {"since": "2026-02-04"}),
        ("reconciliation", {"run_id": "x"}),
        ("reconciliation", {"books": "live"}),
    ],
)
def test_a_wrong_question_is_refused_by_name(client: FlaskClient, name: str, asked: dict[str, str]) -> None:
    status, answer = ask(client, f"{BASE}/{name}", **asked)
    assert (status, answer["error"]["code"]) == (400, "parameter_invalid")
