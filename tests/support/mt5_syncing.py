"""Linked accounts beside a fake MT5 service: one run after another through the real adapter, and what the room then holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import SecretStr

from fillbook.mt5 import deskstore, ids, store
from fillbook.mt5.accounts import AccountSync, Limits, Terms
from fillbook.mt5.desk import Desk, RealTime
from fillbook.mt5.duetimes import slot_of
from fillbook.mt5.model import Instance
from fillbook.mt5.mt5_calls import Hooks
from fillbook.mt5.mt5_service import Keys, Mt5Service
from fillbook.mt5.records import Claimed
from fillbook.mt5.words import ContractKind, SyncStatus, SyncType
from fillbook.mt5.worked import Worked
from fillbook.runtime import clock
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from infra.local.mt5 import Mt5Fake
from infra.local.mt5_model import Done
from infra.local.mt5_truth import same_trade
from tests.support.mt5_world import LEASE_SECONDS, Query, World, run_id

BEGIN = datetime(2026, 1, 14, 9, 0, tzinfo=UTC)
SERVER = "Alpha-Demo"
TABLES = (
    "mt5.deals",
    "mt5.trades",
    "mt5.cash_operations",
    "mt5.cash_checks",
    "mt5.history_gaps",
    "mt5.missed_deals",
    "mt5.symbols",
)
BOOKED = ("ledger.fills", "ledger.execution_actions", "ledger.positions", "ledger.lots")


class Syncing(World):
    """A room with accounts of a fake broker. Time is the fake's clock; each run is a slot of its own, five minutes later."""

    def __init__(self, db: Database, desk: Database, query: Query) -> None:
        super().__init__(db, desk, query)
        self.fake = Mt5Fake(clock=FixedClock(BEGIN))
        self.fake.add_server(SERVER)
        self.waits: list[float] = []
        self.service = self.service_of()
        self.time = RealTime(self.fake.clock)
        self.limits = Limits()
        self.kind = ContractKind.V1
        self.active_accounts = 3
        self.degraded: frozenset[str] = frozenset()
        self.crashes: list[BaseException] = []
        self.sync_run = ""

    def service_of(self, request_seconds: float = 10.0) -> Mt5Service:
        """The adapter, with a patience of its own; its pauses are noted, not kept."""
        hooks = Hooks(jitter=lambda: 0.0, sleep=self._wait)
        keys = Keys(api_key=SecretStr(self.fake.api_key))
        return Mt5Service(keys, now=self.fake.clock, hooks=hooks, request_seconds=request_seconds)

    def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        clock.sleep(min(seconds, 0.01))

    @property
    def now(self) -> datetime:
        """Desk time."""
        return self.fake.clock.now()

    def account(
        self, name: str = "a", *, server: str = SERVER, tenant_id: str = "desk", backfill_target: Any = None, **given: Any
    ) -> str:
        """Add an account at the broker and link it; returns its id."""
        made = self.fake.add_account(id=name, server=server, **given)
        return self.linked(made.login, name, server=server, tenant_id=tenant_id, backfill_target=backfill_target)

    def linked(self, login: int, name: str, *, server: str = SERVER, tenant_id: str = "desk", backfill_target: Any = None) -> str:
        """Link an account that the broker has."""
        return self.link(
            login,
            tenant_id,
            now=self.now,
            server=server,
            base_url=self.fake.base_url,
            service_account_id=name,
            backfill_target=backfill_target,
        ).account_id

    def does(self, name: str, kind: str, at: datetime | None = None, **given: Any) -> Done:
        """An operation of the broker, now or at an instant."""
        return self.fake.operate(name, kind, at, **given)

    def later(self, **span: float) -> None:
        """Let time go by."""
        self.fake.clock.step(timedelta(**span).total_seconds())

    def speak(self, kind: ContractKind) -> None:
        """Which language the service is asked in; the three-endpoint service needs a confirmed clock rule."""
        self.kind = kind
        if kind is ContractKind.V0:
            with self.desk.transaction() as tx:
                deskstore.confirm_clock(tx, SERVER, zone_name="America/New_York", shift_minutes=420)

    # --- runs ---

    def run(self, *account_ids: str, minutes: float = 5, seconds: float = 60.0) -> tuple[Worked, ...]:
        """One run of accounts, ``minutes`` after the last one; what waits is flushed at its end."""
        self.later(minutes=minutes)
        sync = self.sync_of()
        worked = tuple(self.one(sync, claimed, seconds) for claimed in self.claimed(account_ids))
        assert sync.flush() == ()
        return worked

    def claimed(self, account_ids: Iterable[str]) -> tuple[Claimed, ...]:
        """Claim accounts for the run that was opened last."""
        ids_wanted = list(account_ids)
        found = store.claim(self.db, self.sync_run, ids_wanted, lease_seconds=LEASE_SECONDS)
        assert len(found.claimed) == len(ids_wanted), found.unclaimed
        return found.claimed

    def sync_of(self, db: Database | None = None, service: Any = None) -> AccountSync:
        """Open a run and return what works its accounts."""
        self.open(self.now, SyncType.MANUAL)
        self.sync_run = run_id(self.runs)
        return self.work_of(db, service)

    def work_of(self, db: Database | None = None, service: Any = None, desk: Desk | None = None) -> AccountSync:
        """What works accounts of the run that was opened last."""
        instance = Instance(instance_key="default", base_url=self.fake.base_url, contract=self.kind)
        terms = Terms(
            run_id=self.sync_run,
            sync_type=SyncType.MANUAL,
            slot=slot_of(self.now),
            active_accounts=self.active_accounts,
            instances={"default": instance},
            degraded=self.degraded,
            limits=self.limits,
        )
        return AccountSync(
            db or self.db,
            service or self.service,
            terms=terms,
            desk=desk or Desk(),
            time=self.time,
            on_crash=lambda _, error: self.crashes.append(error),
        )

    def one(self, sync: AccountSync, claimed: Claimed, seconds: float = 60.0) -> Worked:
        """One account from its claim to its end, in this thread."""
        return sync.fetch(claimed, clock.monotonic() + seconds)()

    def good(self, account_id: str, times: int = 1, minutes: float = 5) -> Worked:
        """Runs that must be successes; returns the last."""
        for _ in range(times):
            (worked,) = self.run(account_id, minutes=minutes)
            assert worked.status is SyncStatus.SUCCESS, (worked.error_message, self.crashes)
        return worked

    # --- what is stored ---

    def row(self, account_id: str) -> dict[str, Any]:
        """The account and its state."""
        (found,) = self.query(
            "select to_jsonb(s) || to_jsonb(a) as row from mt5.trading_accounts a "
            "join mt5.account_sync_state s on s.account_id = a.id where a.id = :id::uuid",
            id=account_id,
        )
        row: dict[str, Any] = found["row"]
        return row | {
            name: datetime.fromisoformat(row[name]) for name in ("last_sync_at", "last_successful_sync_at") if row[name]
        }

    def trades(self, account_id: str) -> list[dict[str, Any]]:
        """Trades by position and episode."""
        return self.query("select * from mt5.trades where account_id = :id::uuid order by position_id, episode", id=account_id)

    def count(self, table: str, account_id: str) -> int:
        """How many rows of an account a table of the room has."""
        (found,) = self.query(f"select count(*) as n from mt5.{table} where account_id = :id::uuid", id=account_id)
        return int(found["n"])

    def logs(self, account_id: str) -> list[dict[str, Any]]:
        """Log rows, oldest first."""
        return self.query("select * from mt5.sync_logs where account_id = :id::uuid order by started_at", id=account_id)

    def gaps(self, account_id: str, *, is_open: bool | None = None) -> list[str]:
        """Causes of gaps."""
        rows = self.query(
            "select cause, closed_at from mt5.history_gaps where account_id = :id::uuid order by opened_at", id=account_id
        )
        return [row["cause"] for row in rows if is_open is None or (row["closed_at"] is None) is is_open]

    def events(self) -> list[str]:
        """Types of the room's own events, oldest first."""
        rows = self.query("select event_type from outbox.events where aggregate_key like 'mt5/%' order by id")
        return [row["event_type"] for row in rows]

    def differences(self, account_id: str | None = None) -> list[dict[str, Any]]:
        """What the ledger says otherwise, of one account or of all; must stay empty."""
        if account_id is None:
            return self.query("select * from mt5.ledger_differences")
        return self.query("select * from mt5.ledger_differences where account_id = :id::uuid", id=account_id)

    def breaks(self) -> list[dict[str, Any]]:
        """Open breaks between books and snapshots."""
        return self.query("select * from ledger.v_breaks where resolved_at is null")

    def versions(self, account_id: str | None = None) -> list[tuple[str, str]]:
        """Which transaction wrote each row of what follows from answers: of everything, or of one account and its book."""
        of_room = "" if account_id is None else "where t.account_id = :id::uuid"
        of_book = (
            "" if account_id is None else "where t.book_id = (select book_id from mt5.trading_accounts where id = :id::uuid)"
        )
        of_server = (
            "" if account_id is None else "where t.server = (select server from mt5.trading_accounts where id = :id::uuid)"
        )
        scopes = {**dict.fromkeys(TABLES, of_room), **dict.fromkeys(BOOKED, of_book), "mt5.symbols": of_server}
        parts = [
            f"select '{name}' as name, t.ctid::text || t.xmin::text as version from {name} t {of}" for name, of in scopes.items()
        ]
        named = {} if account_id is None else {"id": account_id}
        return [(row["name"], row["version"]) for row in self.query(" union all ".join(parts) + " order by 1, 2", **named)]

    # --- against the truth ---

    def check_truth(self, account_id: str, name: str) -> None:
        """Trades, cash, balance, proof and book are the fake broker's truth."""
        truth = self.fake.truth(name)
        told = {(one["position_id"], one["episode"]): one for one in truth["trades"]}
        found = {(one["position_id"], one["episode"]): one for one in self.trades(account_id)}
        assert found.keys() == told.keys(), (found.keys(), told.keys())
        for key, trade in found.items():
            assert same_trade(trade, told[key]), (trade, told[key])
        operations = self.query(
            "select deal_ticket, kind, amount from mt5.cash_operations where account_id = :id::uuid order by 1", id=account_id
        )
        cash = [(one["deal_ticket"], one["kind"], one["amount"]) for one in operations]
        assert cash == sorted((one["ticket"], one["kind"], Decimal(one["amount"])) for one in truth["cash"])
        account = self.row(account_id)
        assert account["balance"] == Decimal(truth["balance"])
        self.check_book(account_id)

    def check_book(self, account_id: str) -> None:
        """A flat episode has the book's result, the two sides of a close-by taken together."""
        found = [one for one in self.differences(account_id) if one["not_comparable"] is None]
        assert found == [], found

    def check_money(self, account_id: str) -> None:
        """Law 4: Σ net + Σ cash operations (credit apart) = balance - opening."""
        (found,) = self.query(
            """
            select a.balance - s.opening_balance as moved,
                   (select coalesce(sum(t.net_pnl), 0) from mt5.trades t where t.account_id = a.id) as net,
                   (select coalesce(sum(o.amount), 0) from mt5.cash_operations o
                     where o.account_id = a.id and o.kind <> 'credit') as cash
              from mt5.trading_accounts a join mt5.account_sync_state s on s.account_id = a.id where a.id = :id::uuid
            """,
            id=account_id,
        )
        assert found["moved"] == found["net"] + found["cash"], found

    def check_lots(self, account_id: str) -> None:
        """Law 15: the book's open lots of a position are its open volume (hedging)."""
        lots = {
            row["ref"]: row["open"]
            for row in self.query(
                """
                select l.lot_ref as ref, sum(l.quantity_open) as open
                  from ledger.lots l join ledger.positions p using (position_id)
                  join mt5.trading_accounts a on a.book_id = p.book_id
                 where a.id = :id::uuid and l.quantity_open > 0 group by 1
                """,
                id=account_id,
            )
        }
        held = {str(one["position_id"]): one["open_volume"] for one in self.trades(account_id) if one["open_volume"]}
        assert lots == held, (lots, held)


def log_of(sync: str, account_id: str) -> str:
    """Id of a log row."""
    return ids.log_id(sync, account_id)


def with_pages(limits: Limits, limit: int, pages_max: int = 20) -> Limits:
    """The limits with small pages."""
    return replace(limits, page_limit=limit, pages_max=pages_max)


def traded(syncing: Syncing, name: str = "a") -> None:
    """A deposit, a closed trade, an open one."""
    syncing.does(name, "deposit", amount="10000.00")
    syncing.later(minutes=1)
    syncing.does(name, "open", symbol="EURUSD", side="buy", volume="1.00", price="1.10000", ref="one")
    syncing.later(minutes=1)
    syncing.does(name, "close", position="one", price="1.10100")
    syncing.later(minutes=1)
    syncing.does(name, "open", symbol="EURUSD", side="sell", volume="0.50", price="1.10200", ref="two")


def history(syncing: Syncing, count: int) -> None:
    """A deposit and ``count`` further deals in pairs."""
    syncing.does("a", "deposit", amount="100000.00")
    for number in range(count // 2):
        syncing.later(seconds=1)
        syncing.does("a", "open", symbol="EURUSD", side="buy", volume="0.01", price="1.10000", ref=f"p{number}")
        syncing.does("a", "close", position=f"p{number}", price="1.10010")
