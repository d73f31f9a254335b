"""Check 9: revision, then bust, then the late original – from the ledger over outbox and notifier to the message that stands."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ledger import audit, service
from fillbook.ledger.model import Fill
from fillbook.runtime.sql import statement
from tests.conftest import OpenDatabase
from tests.support.ledger import at, make_fill
from tests.support.notify_desk import NotifyDesk, open_desk
from tests.support.notify_proof import prove
from tests.support.notify_wire import Wire

Query = Callable[..., list[dict[str, Any]]]
BOOK = "ibkr:U1"


@pytest.fixture
def told(open_database: OpenDatabase) -> Iterator[NotifyDesk]:
    with open_desk(open_database("discord_notifier"), open_database()) as desk:
        yield desk


def fact(name: str, side: str, quantity: object, price: object, minute: float = 0, **options: object) -> Fill:
    return make_fill(name, side, quantity, price, minute, source="ibkr", account_key="U1", **options)


ENTRY = fact("entry", "BUY", 10, 100)
LEAVE = fact("leave", "SELL", 10, 110, 1, position_effect="close")
REVISED = replace(LEAVE, source_revision=2, price=Decimal(112), cause="revision")
BUSTED = replace(REVISED, is_bust=True, cause="bust")
FINAL = replace(LEAVE, source_revision=3, price=Decimal(111), cause="revision")


class Story:
    """A book on the desk, told step by step."""

    def __init__(self, desk: NotifyDesk) -> None:
        self.desk = desk
        self.wire = Wire(desk.admin, desk.clock, desk.push)
        self.wire.open(BOOK)

    def tell(self, *fills: Fill) -> None:
        """Book, relay, push and send; a minute passes."""
        self.wire.book(BOOK, *fills)
        self.wire.carry()
        self.desk.drain(allowance=30)
        self.desk.clock.step(60)

    @property
    def exit_message(self) -> dict[str, Any]:
        """The one message about the fill that was corrected."""
        (embed,) = [one for one in self.desk.embeds() if "Closed" in one["title"]]
        return embed


def value(embed: dict[str, Any], name: str) -> str:
    return next(item["value"] for item in embed["fields"] if item["name"] == name)


def test_check_9_the_right_revision_wins_over_a_bust_and_a_late_original(told: NotifyDesk, query: Query) -> None:
    story = Story(told)
    story.tell(ENTRY)
    story.tell(LEAVE)
    assert value(story.exit_message, "realized_pnl") == "+100.00 USD"
    (first,) = [one for one in told.posts() if "Closed" in one["embeds"][0]["title"]]

    story.tell(REVISED)
    assert story.exit_message["title"] == "Closed AMD LONG: WIN (corrected)"
    assert value(story.exit_message, "realized_pnl") == "+120.00 USD"
    assert "price 110.00 → 112.00" in value(story.exit_message, "corrected")

    story.tell(BUSTED)
    assert story.exit_message["title"] == "BUSTED: Closed AMD LONG: WIN"
    assert value(story.exit_message, "price") == "~~112.00~~"
    (position,) = query("select status, quantity_open, realized_pnl from ledger.v_positions")
    assert position == {"status": "OPEN", "quantity_open": 10, "realized_pnl": 0}

    requests = len(told.requests())
    assert [outcome(told, LEAVE), outcome(told, REVISED)] == ["duplicate", "duplicate"]
    story.tell(LEAVE)
    assert len(told.requests()) == requests, "a late original says nothing"
    assert story.exit_message["title"] == "BUSTED: Closed AMD LONG: WIN"

    story.tell(FINAL)
    assert story.exit_message["title"] == "Closed AMD LONG: WIN (corrected)"
    assert value(story.exit_message, "realized_pnl") == "+110.00 USD"
    (position,) = query("select status, quantity_open, realized_pnl from ledger.v_positions")
    assert position == {"status": "CLOSED", "quantity_open": 0, "realized_pnl": 110}
    (last,) = [one for one in told.posts() if "Closed" in one["embeds"][0]["title"]]
    assert last["id"] == first["id"], "one message, edited"
    assert len(told.posts()) == 2

    history = query(
        "select version, state::text, price, realized_pnl, cause, known_from, known_to from ledger.v_action_history "
        "where action_type = 'EXIT' order by version"
    )
    assert [(one["version"], one["state"], one["price"], one["realized_pnl"], one["cause"]) for one in history] == [
        (1, "BOOKED", 110, 100, "first"), (2, "BOOKED", 112, 120, "revision"), (3, "VOID", 112, 120, "bust"),
        (4, "BOOKED", 111, 110, "revision"),
    ]  # fmt: skip
    assert [one["known_to"] for one in history] == [*(one["known_from"] for one in history[1:]), None]
    closings = query("select version, realized_pnl from ledger.closings order by version")
    assert [(one["version"], one["realized_pnl"]) for one in closings] == [(1, 100), (2, 120), (4, 110)]
    assert audit.audit(told.admin, BOOK, told.clock.now()).exit == 0
    assert prove(told)["status"] == "proven"


def outcome(told: NotifyDesk, fill: Fill) -> str:
    return str(service.run(told.admin, lambda tx: service.book_fills(tx, BOOK, [fill], told.clock.now()))[0].status)


@pytest.mark.parametrize("order", [*itertools.permutations((LEAVE, REVISED, BUSTED, FINAL))][::3])
def test_check_9_in_any_order_of_arrival_the_same_figures_and_one_message(
    told: NotifyDesk, query: Query, order: tuple[Fill, ...]
) -> None:
    story = Story(told)
    story.tell(ENTRY)
    for fill in order:
        story.tell(fill)
    (position,) = query("select status, realized_pnl from ledger.v_positions")
    assert position == {"status": "CLOSED", "realized_pnl": 110}
    assert value(story.exit_message, "price") == "111.00"
    assert value(story.exit_message, "realized_pnl") == "+110.00 USD"
    assert len(told.posts()) == 2
    assert audit.audit(told.admin, BOOK, told.clock.now()).exit == 0
    assert prove(told, since=at(-60), until=at(600))["status"] == "proven"


def test_check_9_a_bust_that_arrives_before_what_it_busts_leaves_nothing_to_tell(told: NotifyDesk, query: Query) -> None:
    story = Story(told)
    story.tell(ENTRY)
    story.tell(BUSTED)
    for late in (REVISED, LEAVE):
        story.tell(late)
    assert [one["title"] for one in told.embeds()] == ["Entered AMD LONG"]
    assert query("select status from ledger.v_positions") == [{"status": "OPEN"}]
    assert len(query("select 1 from ledger.fills")) == 4
    assert prove(told)["status"] == "proven"


def test_check_9_a_correction_marks_its_day_for_restatement(told: NotifyDesk, query: Query) -> None:
    """What a snapshot reads to see that a published day has changed, and why: recorded times past its watermark."""
    story = Story(told)
    story.tell(ENTRY, LEAVE)
    (seen,) = query("select seq, last_recorded_at from ledger.v_books where book_id = :book", book=BOOK)
    late = """select action_id, version, state::text, cause, session_date::text as date, known_from
                from ledger.v_action_history where book_id = :book and seq > :seq order by seq"""
    assert query(late, book=BOOK, seq=seen["seq"]) == []
    told.clock.step(20 * 3600)
    story.tell(REVISED)
    story.tell(BUSTED)
    rows = query(late, book=BOOK, seq=seen["seq"])
    assert [(one["version"], one["state"], one["cause"], one["date"]) for one in rows] == [
        (2, "BOOKED", "revision", "2026-02-03"), (3, "VOID", "bust", "2026-02-03"),
    ]  # fmt: skip
    assert all(one["known_from"] > seen["last_recorded_at"] for one in rows)
    (head,) = query("select last_recorded_at, seq from ledger.v_books where book_id = :book", book=BOOK)
    assert (head["last_recorded_at"], head["seq"] > seen["seq"]) == (rows[-1]["known_from"], True)
    current = query("select max(recorded_at) as at from ledger.v_actions where book_id = :book", book=BOOK)
    assert current[0]["at"] <= seen["last_recorded_at"], "a void action is in no current view: the history marks the day"


@pytest.mark.parametrize(
    ("since", "order", "index"),
    [
        ("seq > 1000", "seq", "execution_actions_seq_key"),
        ("known_from > '2026-02-03T16:00Z'", "known_from", "execution_actions_by_recorded"),
    ],
)
def test_what_was_recorded_after_a_watermark_is_found_by_an_index(told: NotifyDesk, since: str, order: str, index: str) -> None:
    Story(told).tell(ENTRY, LEAVE)
    with told.admin.transaction() as tx:
        tx.execute(statement("set local enable_seqscan = off"))
        rows = tx.query(
            statement(
                "explain (costs off) select * from ledger.v_action_history "
                f"where book_id = '{BOOK}' and {since} order by {order} limit 100"
            )
        )
    plan = "\n".join(str(line) for row in rows for line in row.values())
    assert index in plan
