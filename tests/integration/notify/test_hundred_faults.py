"""Scenario 31: seeded faults of every kind, a hundred in full, are as many findings, each matched, mended, fetched again.

Every position has a ticker of its own, so that a fault touches one message; the faults are what a person, a lost event, a
crash or a tampered row can leave behind. Nothing is inferred from counts alone: each fault names the finding it must give.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings

from fillbook.ledger import service as ledger
from fillbook.notify.execution import Telling, from_row
from fillbook.notify.model import Embed, Operation, Request
from fillbook.notify.proof import PROVEN_NUMBERS, PROVEN_TEXTS, read_embed
from fillbook.notify.render import Style, render_execution
from fillbook.notify.routing import Settings
from fillbook.runtime.sql import statement
from tests.integration.notify.test_failures import MakeDesk
from tests.support.campaigns import small_or_full
from tests.support.ledger import make_fill
from tests.support.notify_desk import NotifyDesk, action, action_id, executed
from tests.support.notify_proof import book, findings, prove

SEEDS = (31, 100) if settings().max_examples >= 1000 else (100,)
TICKERS = small_or_full(14, 30)
STEPS = (("BUY", "10", "100"), ("BUY", "5", "101"), ("SELL", "12", "103"), ("SELL", "3", "102"))
FIELDS = ("action_type", "ticker", "direction", "executed_at", *PROVEN_NUMBERS, "lots", "reason")
FACES = ("title", "description", "color", "timestamp", "version", "identity", "content", "embed", "absent")
VERSIONS, BUSTS, TAMPERED, FOUNDLINGS, STRANGERS = small_or_full((3, 1, 8, 1, 1), (10, 3, 10, 3, 4))
EDITS_OF_EACH, DOUBLED, DELETED = small_or_full((1, 3, 3), (2, 10, 12))
WRONG = VERSIONS + TAMPERED + EDITS_OF_EACH * len((*FIELDS, *FACES))
ORPHANS = BUSTS + FOUNDLINGS + STRANGERS
FAULTS = DELETED + WRONG + DOUBLED + ORPHANS
COLUMNS: Mapping[str, str] = {
    "reason": "'sl_breached'", "fees": "fees + 0.25", "position_vwap_after": "position_vwap_after + 0.01",
    "ticker": "'OTHER'", "executed_at": "executed_at + interval '1 second'",
    "unrealized_pnl_after": "unrealized_pnl_after - 1", "position_quantity_after": "position_quantity_after + 1",
    "direction": "'SHORT'",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One injected fault and the finding it must give; ``field``: a field that must be named (None: not a comparison)."""

    how: str
    key: str
    kind: str
    field: str | None = None
    message_id: str | None = None


def fills() -> list[Any]:
    """Entry, add, trim over two lots and exit of each ticker, a minute apart."""
    return [
        make_fill(f"{ticker}-{step}", *STEPS[step], minute=number * 4 + step, instrument=ticker, fees="0.5")
        for number, ticker in enumerate(f"T{number:02}" for number in range(TICKERS))
        for step in range(4)
    ]


def field_of(embed: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    return (item for item in embed["fields"] if item["name"] == name)


def spoiled(embed: dict[str, Any], what: str) -> tuple[dict[str, Any], str]:
    """The embed with one thing edited by hand, and the field the finding must name."""
    footer = embed["footer"]["text"]
    changed: Mapping[str, Any] = {
        "title": {"title": embed["title"] + "!"},
        "description": {"description": "Sold everything"},
        "color": {"color": embed["color"] ^ 1},
        "timestamp": {"timestamp": "2026-02-03T10:00:00+00:00"},
        "version": {"footer": {"text": footer.replace("· v1", "· v7")}},
        "identity": {"footer": {"text": footer.replace("action_id ", "action_id 00000000")}},
        "absent": {"fields": [item for item in embed["fields"] if item["name"] != "price"]},
    }
    if what in changed:
        return {**embed, **changed[what]}, {"version": "footer", "identity": "footer", "absent": "price"}.get(what, what)
    values = {"action_type": "ENTRY!", "direction": "SIDEWAYS", "executed_at": "2026-02-03T15:00:00.123000Z", "lots": "1 @ 1.00",
              "ticker": "OTHER", "reason": "because"}  # fmt: skip
    fields = [{**item, "value": values.get(what, "1234.56")} if item["name"] == what else item for item in embed["fields"]]
    return {**embed, "fields": fields}, what


class Mischief:
    """Injects faults into a desk on which everything was told, one message each."""

    def __init__(self, desk: NotifyDesk, seed: int) -> None:
        self.desk = desk
        self.chance = random.Random(seed)
        self.faults: list[Fault] = []
        rows = desk.rows("select subject_key, message_id, action_id, wanted->>'title' as title from notify.messages order by 1")
        self.chance.shuffle(rows)
        self.free = {row["subject_key"]: row for row in rows}
        self.embeds = {post["id"]: post["embeds"][0] for post in desk.posts()}

    def take(self, *, with_field: str | None = None, title: str = "") -> dict[str, Any]:
        """A message nobody has touched yet, of a title, with a field."""
        for key, row in self.free.items():
            embed = self.embeds[row["message_id"]]
            if row["title"].startswith(title) and (with_field is None or any(field_of(embed, with_field))):
                return self.free.pop(key)
        raise AssertionError(f"no message left with {with_field}")

    def deleted(self) -> None:
        row = self.take()
        self.desk.discord.meddle("deleted", row["message_id"])
        self.faults.append(Fault(how="deleted", key=row["subject_key"], kind="missing"))

    def edited(self, what: str) -> None:
        row = self.take(with_field=what if what in FIELDS else None)
        embed, field = dict(self.embeds[row["message_id"]]), what
        if what == "content":
            patch: dict[str, Any] = {"content": "buy now"}
        elif what == "embed":
            patch, field = {"embeds": [embed, {"type": "rich", "title": "another", "fields": []}]}, "embeds"
        else:
            embed, field = spoiled(embed, what)
            patch = {"embeds": [embed]}
        self.desk.discord.meddle("edited", row["message_id"], patch)
        self.faults.append(Fault(how=f"edited {what}", key=row["subject_key"], kind="wrong", field=field))

    def doubled(self) -> None:
        row = self.take()
        copy = self.desk.discord.meddle("doubled", row["message_id"])
        self.faults.append(Fault(how="doubled", key=row["subject_key"], kind="double", message_id=copy))

    def stranger(self, number: int) -> None:
        """A message with a row about an action that no book knows."""
        self.desk.push(executed(f"stranger {number}", position=f"stranger {number}"))
        self.desk.drain(allowance=120)
        row = self.desk.message(f"stranger {number}")
        self.faults.append(Fault(how="stranger", key=row["subject_key"], kind="orphan", message_id=row["message_id"]))

    def foundling(self, number: int) -> None:
        """A message of our webhook, with a footer of ours, that no row knows."""
        name = f"foundling {number}"
        execution = from_row("live", action(name, position=name))
        embed = render_execution(execution, Style(zone=self.desk.settings.zone))
        self.desk.clock.step(61)  # the windows know nothing of this post
        answer = self.desk.speaker.send(Request(operation=Operation.CREATE, channel_id="executions", embeds=(embed.to_json(),)))
        self.desk.clock.step(61)
        key, message_id = f"live/{action_id(name)}", str(answer.document["id"])
        self.faults.append(Fault(how="foundling", key=key, kind="orphan", message_id=message_id))

    def booked_silently(self, *, is_bust: bool) -> None:
        """A correction or a bust whose event never arrives: the message tells another version than the ledger has."""
        row = self.take(title="Closed")
        ticker = next(field_of(self.embeds[row["message_id"]], "ticker"))["value"]
        number = int(ticker[1:])
        leave = make_fill(f"{ticker}-3", *STEPS[3], minute=number * 4 + 3, instrument=ticker, fees="0.5")
        changed = {"is_bust": True, "cause": "bust"} if is_bust else {"source_revision": 2, "cause": "revision"}
        fact = replace(leave, **changed, **({} if is_bust else {"price": leave.price + 1}))
        with self.desk.admin.transaction() as tx:
            ledger.book_fills(tx, "live", [fact], self.desk.clock.now())
        kind, field = ("orphan", None) if is_bust else ("wrong", "price")
        self.faults.append(Fault(how="void" if is_bust else "version", key=row["subject_key"], kind=kind, field=field))

    def tampered(self, column: str) -> None:
        """The ledger's row changed behind a message that equals what was meant."""
        row = self.take(title="Trimmed" if column == "ticker" else "Added")
        with self.desk.admin.transaction() as tx:
            tx.execute(
                statement(f"update ledger.execution_actions set {column} = {COLUMNS[column]} where action_id = :id"),
                id=row["action_id"],
            )
        self.faults.append(Fault(how=f"tampered {column}", key=row["subject_key"], kind="wrong", field=column))


def inject(desk: NotifyDesk, seed: int) -> list[Fault]:
    """In full 12 deleted, 48 edited, 10 doubled, 10 orphans, 10 of a wrong version, 10 behind an equal message."""
    mischief = Mischief(desk, seed)
    for _ in range(VERSIONS):
        mischief.booked_silently(is_bust=False)
    for _ in range(BUSTS):
        mischief.booked_silently(is_bust=True)
    for number in range(TAMPERED):  # last of the ledger's faults: a later booking would mend a tampered row
        mischief.tampered(list(COLUMNS)[number % len(COLUMNS)])
    for number in range(FOUNDLINGS):
        mischief.foundling(number)
    for number in range(STRANGERS):
        mischief.stranger(number)
    for what in (*FIELDS, *FACES) * EDITS_OF_EACH:
        mischief.edited(what)
    for _ in range(DOUBLED):
        mischief.doubled()
    for _ in range(DELETED):
        mischief.deleted()
    return mischief.faults


def standing(desk: NotifyDesk) -> dict[str, list[dict[str, Any]]]:
    """What stands in the channel now, by subject of the footer; the whole document of each message."""
    found: dict[str, list[dict[str, Any]]] = {}
    for post in desk.posts():
        for embed in post["embeds"]:
            told = read_embed(Embed.from_json(embed))
            found.setdefault(f"{told.book_id}/{told.action_id}", []).append(post)
    return found


def assert_equal_to_the_ledger(desk: NotifyDesk, key: str, post: Mapping[str, Any]) -> None:
    """The message fetched by the id on record says what the ledger's row says, figure by figure, and nothing beside it."""
    book_id, _, name = key.partition("/")
    history = desk.rows(
        "select h.*, e.lots from ledger.v_action_history h left join ledger.v_trade_events e "
        "on e.book_id = h.book_id and e.event_id = h.action_id where h.book_id = :book and h.action_id = :action "
        "order by h.version desc limit 1", book=book_id, action=UUID(name),
    )  # fmt: skip
    row = dict(history[0])
    is_void = row["state"] == "VOID"
    lots = [] if is_void or row["action_type"] not in ("TRIM", "EXIT") else row["lots"]
    row["lots"] = [{"quantity": lot["qty"], "price": lot["price"], "realized_pnl": lot["pnl_realized"]} for lot in lots]
    telling = Telling.BUSTED if is_void else Telling.CORRECTED if row["version"] > 1 else Telling.BOOKED
    execution = from_row(book_id, row, telling=telling)
    (document,) = post["embeds"]
    embed = Embed.from_json(document)
    told = read_embed(embed)
    assert told.differences(execution) == []
    assert told.is_struck is is_void
    assert set(told.numbers) | set(told.texts) <= {*PROVEN_NUMBERS, *PROVEN_TEXTS}
    wanted = render_execution(execution, Style(zone=desk.settings.zone))
    assert (embed.title, embed.description, embed.color, embed.timestamp) == (
        wanted.title, wanted.description, wanted.color, wanted.timestamp,
    )  # fmt: skip
    assert embed.fields == wanted.fields
    assert post["content"] == ""


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_31_a_hundred_faults_are_found_named_repaired_and_proven(make_desk: MakeDesk, seed: int) -> None:
    desk = make_desk(settings=Settings(digest_threshold=1000))
    book(desk, *fills())
    desk.drain(allowance=600)
    assert desk.states() == {"posted": 4 * TICKERS}
    faults = inject(desk, seed)
    assert len(faults) == FAULTS
    assert len({fault.key for fault in faults}) == FAULTS

    run = prove(desk)
    found = {one["subject_key"]: one for one in findings(desk, run)}
    assert [fault for fault in faults if fault.key not in found] == []
    assert len(findings(desk, run)) == len(found)
    assert len(found) == FAULTS
    for fault in faults:
        one = found[fault.key]
        assert one["kind"] == fault.kind, fault
        assert one["repaired_at"] is not None, fault
        if fault.message_id is not None:
            assert one["message_id"] == fault.message_id, fault
        if fault.field is not None:
            assert fault.field in {item["field"] for item in one["differences"]}, (fault, one["differences"])
    counted = Counter(fault.kind for fault in faults)
    assert {kind: run[kind] for kind in ("missing", "wrong", "double", "orphan", "unverifiable")} == {
        "missing": DELETED, "wrong": WRONG, "double": DOUBLED, "orphan": ORPHANS, "unverifiable": 0,
    }  # fmt: skip
    assert counted == Counter(missing=DELETED, wrong=WRONG, double=DOUBLED, orphan=ORPHANS)
    assert (run["repaired"], run["status"]) == (FAULTS, "repaired")

    known = {row["subject_key"]: row["message_id"] for row in desk.rows("select subject_key, message_id from notify.messages")}
    stands = standing(desk)
    strangers = {fault.key for fault in faults if fault.how in ("stranger", "foundling")}
    assert len(stands) == 4 * TICKERS
    assert not strangers & set(stands)
    for key, posts in stands.items():
        assert [post["id"] for post in posts] == [known[key]]
        assert_equal_to_the_ledger(desk, key, posts[0])

    again = prove(desk)
    assert (again["status"], again["equal"]) == ("proven", 4 * TICKERS)
    assert findings(desk, again) == []
    assert desk.discord.violations == 0
