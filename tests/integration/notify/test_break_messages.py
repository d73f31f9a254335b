"""Breaks as the desk reads them: the ledger's own events become one message a break, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fillbook.ledger import reconcile, service
from fillbook.runtime.db import Database
from tests.support.ledger import at
from tests.support.ledger_statements import BOOK, BrokerDesk, cash, fact, line, new_york
from tests.support.notify_desk import NotifyDesk

Query = Callable[..., list[dict[str, Any]]]


def fields(embed: dict[str, Any]) -> dict[str, str]:
    return {item["name"].replace("\\", ""): item["value"].replace("\\", "") for item in embed["fields"]}


def payloads(query: Query) -> list[bytes]:
    """The envelopes the ledger wrote about breaks, in order."""
    rows = query("select payload from outbox.events where event_type like 'break_%' order by id")
    return [row["payload"].encode() for row in rows]


def test_a_break_is_one_message_from_its_finding_to_its_resolution(desk: NotifyDesk, db: Database, query: Query) -> None:
    broker = BrokerDesk(db)
    broker.book(fact("a", "BUY", 10, 100, instrument="ibkr:4391", ticker="AMD"))
    broker.hears(line("ibkr:4391", 40, 25), as_of=new_york(3, 11))
    for day in range(3, 11):
        service.run(db, lambda tx, day=day: reconcile.age_breaks(tx, BOOK, new_york(day, 17, 45)))
    told = payloads(query)
    assert len(told) == 3
    desk.push(told[0])
    desk.drain("ops")
    (embed,) = desk.embeds("ops")
    assert embed["title"] == "Break found: AMD in ibkr\\:U1"
    assert fields(embed) | {"break_id": "", "since": "", "last": ""} == {
        "book_id": "ibkr:U1",
        "break_id": "",
        "kind": "position_quantity",
        "instrument_id": "ibkr:4391",
        "ticker": "AMD",
        "currency": "USD",
        "expected": "10",
        "actual": "40",
        "difference": "30",
        "cause": "split_unentered",
        "meaning": "the quantities differ by the ratio of a split that nobody has entered",
        "sessions": "0",
        "episode": "1",
        "first_seen_at": "2026-02-03T16:00:00.000000Z",
        "last_seen_at": "2026-02-03T16:00:00.000000Z",
        "source": "flex",
        "since": "",
        "last": "",
    }
    for payload in (told[2], told[1], told[1]):
        desk.push(payload)
        desk.drain("ops")
    (embed,) = desk.embeds("ops")
    assert (fields(embed)["sessions"], fields(embed)["count"]) == ("5", "3")
    assert embed["description"].startswith("warning")
    broker.hears(line("ibkr:4391", 10, 100), as_of=new_york(11, 11))
    desk.push(payloads(query)[-1])
    desk.drain("ops")
    (embed,) = desk.embeds("ops")
    assert (embed["title"], embed["color"]) == ("Break resolved: AMD in ibkr\\:U1", 0x3B82F6)
    assert fields(embed)["resolved_at"] == "2026-02-11T16:00:00.000000Z"


def test_a_break_that_comes_back_reopens_its_message_whatever_the_order_of_delivery(
    desk: NotifyDesk, db: Database, query: Query
) -> None:
    broker = BrokerDesk(db)
    broker.book(fact("a", "BUY", 10, 100))
    flows = {"found": (cash(0, 5),), "agreed": (cash(1000, 0),)}
    for minute, flow in ((60, "found"), (61, "agreed"), (62, "found")):
        # the desk clock stands still: the ledger's recorded times still grow
        broker.hears(line("AMD", 10), as_of=at(minute), now=at(63), cash=flows[flow])
    first, resolved, again = payloads(query)
    for payload in (again, resolved, first):
        desk.push(payload)
    desk.drain("ops")
    (embed,) = desk.embeds("ops")
    assert embed["title"] == "Break found: USD in ibkr\\:U1"
    assert fields(embed)["episode"] == "2"
    assert "still open" in embed["description"]
