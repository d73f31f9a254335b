"""A fleet on a real database and a fake MT5 service, and runs over it as the functions make them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr

from fillbook.mt5 import asked, deskstore, shards
from fillbook.mt5.desk import RealTime
from fillbook.mt5.grounds import Grounds
from fillbook.mt5.runs import Caller, Runs
from fillbook.mt5.settings import AccountSyncConfig
from fillbook.mt5.worker import speaks_for
from fillbook.outbox.model import MT5_SHARDS_TOPIC
from fillbook.runtime import clock as process_clock
from fillbook.runtime import logs
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from fillbook.runtime.sql import encode
from infra.local.mt5 import Mt5Fake
from tests.support.doors import KeptMessages
from tests.support.kept_jobs import KeptJobs

NOW = datetime(2026, 1, 15, 10, 30, 20, tzinfo=UTC)
SLOT = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
SERVER = "Fake-Server"
OTHER_SERVER = "Other-Server"
OPERATOR = Caller(email="fb-operator@desk.example")
SCHEDULER = Caller(email="cloud-scheduler@desk.example")
Query = Callable[..., list[dict[str, Any]]]


class Fleet:
    """Accounts of a fake broker, linked; ``run`` is a call of ``account_sync`` in this process."""

    def __init__(self, db: Database, query: Query, fake: Mt5Fake, clock: FixedClock, *, worker: Database | None = None) -> None:
        self.db, self.query, self.fake, self.clock = db, query, fake, clock
        self.messages, self.jobs = KeptMessages(), KeptJobs()
        self.accounts: dict[str, str] = {}
        self.worker = worker or db
        fake.add_server(SERVER)

    # --- setting the scene ---

    def link(self, name: str, *, server: str = SERVER, tenant_id: str = "desk", login: int | None = None, **given: Any) -> str:
        """An account at the broker, with a deposit and one open position, linked for a tenant; its id."""
        login = login or 1_000 + len(self.accounts)
        if name not in self.fake.world.accounts:
            self.fake.add_account(id=name, login=login, server=server, mode="hedging", **given)
            at = self.clock.now() - timedelta(days=3)
            self.fake.operate(name, "deposit", at, amount="10000")
            self.fake.operate(name, "open", at + timedelta(hours=1), symbol="EURUSD", side="buy", volume="1.00")
        return self.linked(name, server=server, tenant_id=tenant_id, login=login)

    def linked(self, name: str, *, login: int, server: str = SERVER, tenant_id: str = "desk", instance: str = "default") -> str:
        """Link an account that the broker has already."""
        link = deskstore.Link(
            tenant_id=tenant_id,
            server=server,
            login=login,
            broker_name="Fake Broker",
            instance_key=instance,
            base_url=self.fake.url(instance),
            service_account_id=name,
        )
        with self.db.transaction() as tx:
            found = deskstore.link_account(tx, link, self.clock.now())
        self.accounts[name if tenant_id == "desk" else f"{tenant_id}/{name}"] = found.account_id
        return found.account_id

    def fleet(self, count: int, **given: Any) -> list[str]:
        """So many accounts, ``a00``, ``a01`` and so on; their ids."""
        return [self.link(f"a{number:02d}", **given) for number in range(count)]

    def config(self, **settings: Any) -> AccountSyncConfig:
        """Settings with small waits."""
        known: dict[str, Any] = {
            "fillbook_env": "local",
            "fillbook_database_url": SecretStr("postgresql://nobody@localhost/none"),
            "fillbook_project": "fillbook-local",
            "mt5_service_url": self.fake.base_url,
            "mt5_service_api_key": SecretStr("fake-mt5-key"),
            "mt5_batch_delay_ms": 0,
        }
        return AccountSyncConfig(**(known | settings))

    def grounds(self, **settings: Any) -> Grounds:
        """What a process would stand on."""
        config = self.config(**settings)
        return Grounds(
            db=self.worker,
            publisher=self.messages,
            clock=self.clock,
            time=RealTime(self.clock),
            config=config,
            speaks=speaks_for(config, self.clock),
            log=logs.get("account_sync"),
            jobs=self.jobs,
        )

    # --- calls ---

    def call(self, body: Mapping[str, Any] | None = None, *, by: Caller | None = None, **settings: Any) -> dict[str, Any]:
        """A call; its answer with the HTTP status as ``status_code``."""
        wanted = asked.read(json.dumps(body or {}).encode())
        grounds = self.grounds(**settings)
        reply = Runs(grounds, by or OPERATOR, process_clock.monotonic()).sync(wanted)
        more = {} if reply.retry_after_seconds is None else {"retry_after": reply.retry_after_seconds}
        return {**json.loads(encode(dict(reply.document))), "status_code": reply.status, **more}

    def tick(self, at: datetime | None = None, **settings: Any) -> dict[str, Any]:
        """The scheduler's call, at the clock's time or for an earlier slot."""
        by = replace(SCHEDULER, scheduled_at=at or self.clock.now())
        return self.call({"sync_type": "scheduled"}, by=by, **settings)

    @property
    def shards(self) -> list[bytes]:
        """Messages that wait for ``account_sync_shard``, by shard: they are sent in no particular order."""
        waiting = [message.data for message in self.messages.topics.get(MT5_SHARDS_TOPIC, [])]
        return sorted(waiting, key=lambda data: shards.read(data).shard_no)

    def take_shards(self) -> list[bytes]:
        """The messages, taken away."""
        found = self.shards
        self.messages.topics.pop(MT5_SHARDS_TOPIC, None)
        return found

    def deliver(self, data: bytes, *, budget: float = 60, **settings: Any) -> Any:
        """Work a message."""
        return shards.work(self.grounds(**settings), shards.read(data), process_clock.monotonic() + budget)

    # --- looking ---

    def logs(self, status: str | None = None) -> list[dict[str, Any]]:
        """Rows of ``sync_logs``, oldest first."""
        rows = self.query("select * from mt5.sync_logs order by started_at, account_id")
        return [row for row in rows if status in (None, row["status"])]

    def row(self, account_id: str) -> dict[str, Any]:
        """An account with its state."""
        (row,) = self.query(
            "select a.*, s.next_due_at::text as next_due_at, s.lease_token, s.lease_until, s.last_run_id, s.history_until_msc"
            " from mt5.trading_accounts a join mt5.account_sync_state s on s.account_id = a.id where a.id = :id::uuid",
            id=account_id,
        )
        return row

    def run(self, run_id: str) -> dict[str, Any]:
        """A row of ``sync_runs``."""
        (row,) = self.query("select * from mt5.sync_runs where run_id = :id::uuid", id=run_id)
        return row

    def events(self, event_type: str) -> list[dict[str, Any]]:
        """Events of a type in the outbox, as their envelopes tell them."""
        rows = self.query("select payload from outbox.events where event_type = :kind order by id", kind=event_type)
        return [json.loads(row["payload"]) if isinstance(row["payload"], str) else row["payload"] for row in rows]
