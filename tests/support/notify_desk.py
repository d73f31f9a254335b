"""A desk for tests of the notifier: a fixed clock, the fake Discord on the same clock, the real adapter, a real database.

Nothing sleeps: waiting steps the clock, at most by the allowance that a test gives.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from pydantic import SecretStr

from fillbook.notify import service
from fillbook.notify.discord import Discord
from fillbook.notify.drain import Report, drain
from fillbook.notify.envelope import parse_envelope
from fillbook.notify.routing import Settings
from fillbook.notify.talk import Desk
from fillbook.notify.webhook import Webhook, parse_webhook
from fillbook.outbox.model import NAMESPACE, derived_id
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.local.discord import DiscordFake

START = datetime(2026, 2, 3, 15, 15, 4, tzinfo=UTC)
CHANNELS = ("executions", "ops", "lanes")


class Stepping:
    """Patience that steps the fixed clock instead of sleeping; gives up beyond ``allowance`` from its start."""

    def __init__(self, clock: FixedClock, allowance: float) -> None:
        self._clock = clock
        self._end = clock.now() + timedelta(seconds=allowance)

    @property
    def of_a_search(self) -> Stepping:
        return self

    def is_over(self) -> bool:
        return self._clock.now() > self._end

    def wait(self, until: datetime) -> bool:
        if until > self._end:
            return False
        self._clock.step(max((until - self._clock.now()).total_seconds(), 0))
        return True


def action_id(name: str) -> UUID:
    return uuid5(NAMESPACE, f"test action {name}")


_NUMBERS = itertools.count(1)

TRIM_LOTS = (
    {"lot_id": str(action_id("lot1")), "quantity": "10", "price": "100", "realized_pnl": "298"},
    {"lot_id": str(action_id("lot2")), "quantity": "10", "price": "110", "realized_pnl": "198"},
    {"lot_id": str(action_id("lot3")), "quantity": "4", "price": "120", "realized_pnl": "39.2"},
)


def action(name: str = "a", *, kind: str = "ENTRY", position: str = "p", **changes: Any) -> dict[str, Any]:
    """The columns of one action as an event carries them; numbers are text."""
    closing = kind in ("TRIM", "EXIT")
    row: dict[str, Any] = {
        "action_id": str(action_id(name)), "version": 1, "position_id": str(action_id(f"position {position}")),
        "action_type": kind, "ticker": "AMD", "direction": "LONG", "executed_at": START.isoformat(), "quantity": "24",
        "price": "130", "value": "3120.00000000", "fees": "2.40000000", "currency": "USD",
        "realized_pnl": "535.20000000" if closing else None, "position_quantity_after": "0" if kind == "EXIT" else "6",
        "position_vwap_after": None if kind == "EXIT" else "120.0000000000",
        "unrealized_pnl_after": None if kind == "EXIT" else "59.40000000",
        "position_realized_pnl_after": "535.20000000" if closing else "0", "origin": "live", "cause": "first",
        "replaces_action_id": None, "lots": [dict(lot) for lot in TRIM_LOTS] if closing else [], "reason": "tp_hit",
    }  # fmt: skip
    return {**row, **changes}


def envelope(
    event_type: str, data: Mapping[str, Any], *, book: str | None = "live", at: datetime = START, **changes: Any
) -> bytes:
    """An event as the relay publishes it; every call is a new event unless ``event_id`` says otherwise."""
    number = next(_NUMBERS)
    document = {
        "event_id": str(derived_id("event", "test", number)), "event_type": event_type, "schema_version": 1, "book_id": book,
        "aggregate_key": f"{book or 'desk'}/{data.get('ticker', 'X')}", "aggregate_version": number,
        "occurred_at": at.isoformat(), "recorded_at": at.isoformat(), "traceparent": None, "data": dict(data),
    }  # fmt: skip
    return json.dumps({**document, **changes}).encode()


def executed(name: str = "a", *, event: str = "execution_booked", book: str = "live", **changes: Any) -> bytes:
    """The event of one execution."""
    wire = {key: changes.pop(key) for key in ("aggregate_version", "event_id", "at") if key in changes}
    return envelope(event, action(name, **changes), book=book, **wire)


@dataclass
class NotifyDesk:
    """Everything a test needs; ``db`` has the function's own grants."""

    db: Database
    admin: Database
    clock: FixedClock
    discord: DiscordFake
    settings: Settings
    speaker: Discord
    has_token: bool = True
    luck: int = 500
    reports: list[Report] = field(default_factory=list)

    @property
    def desk(self) -> Desk:
        return Desk(db=self.db, speaker=self.speaker, clock=self.clock, settings=self.settings, dice=lambda: self.luck)

    def push(self, *bodies: bytes) -> list[service.Stored]:
        """Store events as the push handler does, without draining."""
        return [service.take(self.db, parse_envelope(body), self.settings, self.clock.now()) for body in bodies]

    def drain(self, channel: str = "executions", *, allowance: float = 0) -> Report:
        """Drain a channel; ``allowance`` desk seconds may pass by waiting."""
        report = drain(self.desk, channel, Stepping(self.clock, allowance))
        self.reports.append(report)
        return report

    def tell(self, *bodies: bytes, channel: str = "executions", allowance: float = 0) -> Report:
        """Push and drain."""
        self.push(*bodies)
        return self.drain(channel, allowance=allowance)

    def posts(self, webhook: str = "executions") -> list[dict[str, Any]]:
        """The messages that stand in a channel, oldest first."""
        return self.discord.messages(webhook)

    def embeds(self, webhook: str = "executions") -> list[dict[str, Any]]:
        """All embeds that stand in a channel, oldest first."""
        return [embed for message in self.posts(webhook) for embed in message["embeds"]]

    def requests(self, *operations: str, webhook: str | None = None) -> list[dict[str, Any]]:
        """What the fake was asked, filtered; without operations everything but the webhook's introduction."""
        return [
            one
            for one in self.discord.requests()
            if (one["operation"] in operations if operations else one["operation"] != "get_webhook")
            and (webhook is None or one["webhook"] == webhook)
        ]

    def rows(self, text: str, **params: object) -> list[dict[str, Any]]:
        """Look into the database as superuser."""
        with self.admin.transaction() as tx:
            return tx.query(statement(text), **params)

    def message(self, name: str = "a", book: str = "live") -> dict[str, Any]:
        """The stored row of an execution."""
        (row,) = self.rows("select * from notify.messages where subject_key = :key", key=f"{book}/{action_id(name)}")
        return row

    def states(self) -> dict[str, int]:
        """How many messages are in which state."""
        found = self.rows("select state, count(*)::int as n from notify.messages group by state")
        return {row["state"]: row["n"] for row in found}

    def events(self, event_type: str) -> list[dict[str, Any]]:
        """Payloads of events this room wrote."""
        found = self.rows("select payload from outbox.events where event_type = :kind order by id", kind=event_type)
        return [json.loads(row["payload"]) for row in found]

    def relay(self) -> None:
        """Hand the room's own events back to it, as outbox and Pub/Sub would."""
        for row in self.rows("select payload from outbox.events order by id"):
            self.push(row["payload"].encode())

    def lose_lease(self) -> None:
        """Let every lease run out, as 30 real seconds would."""
        gone = "update notify.channels set lease_until = clock_timestamp() - interval '1 s' where lease_token is not null"
        with self.admin.transaction() as tx:
            tx.execute(statement(gone))


def speaker_for(
    discord: DiscordFake, *, token: bool = True, total_seconds: float = 20.0, threads: Mapping[str, str] | None = None
) -> Discord:
    """The real adapter, speaking to the fake."""
    webhooks = {}
    for name in CHANNELS:
        webhook_id, secret = parse_webhook(discord.webhook(name).url)
        webhooks[name] = Webhook(
            webhook_id=webhook_id, token=SecretStr(secret), secret_name=f"DISCORD_{name.upper()}_WEBHOOK",
            thread_id=(threads or {}).get(name),
        )  # fmt: skip
    read_token = SecretStr(discord.read_token) if token else None
    return Discord(webhooks, api_base=discord.api_base, read_token=read_token, total_seconds=total_seconds)


@contextmanager
def open_desk(
    db: Database, admin: Database, *, token: bool = True, settings: Settings | None = None, total_seconds: float = 20.0,
    webhooks: Sequence[str] = CHANNELS,
) -> Iterator[NotifyDesk]:  # fmt: skip
    """Start the fake, configure the channels and hand out the desk."""
    clock = FixedClock(START)
    with DiscordFake(clock=clock, webhooks=webhooks) as discord:
        desk = NotifyDesk(
            db=db, admin=admin, clock=clock, discord=discord, settings=settings or Settings(has_lanes=True),
            speaker=speaker_for(discord, token=token, total_seconds=total_seconds), has_token=token,
        )  # fmt: skip
        service.configure(db, desk.speaker.channels(), clock.now())
        yield desk
