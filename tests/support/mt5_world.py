"""Linked accounts on a real database, and what a worker writes of them, acting with the grants of its login role only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from fillbook.mt5 import deskstore, ids, runstore, store
from fillbook.mt5.deskstore import Link, Linked
from fillbook.mt5.model import CashOperation, Deal, DealVersion, Info, Trade
from fillbook.mt5.records import (
    AccountUpdate,
    AccountWork,
    Applied,
    CashCheckRow,
    Claimed,
    Gap,
    Loaded,
    Outcome,
    Wanted,
)
from fillbook.mt5.revisions import Missed
from fillbook.mt5.runrecords import Opened
from fillbook.mt5.words import (
    CashKind,
    CashResult,
    Code,
    ConnectionStatus,
    GapCause,
    SyncStatus,
    SyncType,
    TradeSide,
    TradeStatus,
)
from fillbook.runtime.db import Database

Query = Callable[..., list[dict[str, Any]]]

NOW = datetime(2026, 3, 4, 12, 10, tzinfo=UTC)
SERVER = "Alpha-Demo"
LEASE_SECONDS = 240
WORKER_GROUPS = ("mt5_writer", "mt5_reader", "ledger_writer", "ledger_reader", "outbox_writer")


def msc(at: datetime) -> int:
    """An instant as milliseconds of a server clock that is UTC."""
    return int(at.timestamp()) * 1000


def run_id(number: int) -> str:
    """The id of a run."""
    return f"00000000-0000-4000-8000-{number:012}"


def link(login: int = 1001, tenant_id: str = "desk", server: str = SERVER, **more: Any) -> Link:
    """An account to be linked."""
    given = {"broker_name": "Alpha Markets", "base_url": "http://127.0.0.1:8000"} | more
    return Link(tenant_id=tenant_id, server=server, login=login, **given)


def deal(ticket: int, position_id: int = 0, **more: Any) -> Deal:
    """A deal; a deposit of 100 when it has no position."""
    given: dict[str, Any] = {
        "order_id": ticket,
        "time_msc": msc(NOW) - 60_000,
        "deal_type": 0 if position_id else 2,
        "entry": 0,
        "reason": None,
        "symbol": "EURUSD" if position_id else "",
        "volume": Decimal("1.00") if position_id else Decimal(0),
        "price": Decimal("1.10000") if position_id else Decimal(0),
        "profit": Decimal(0) if position_id else Decimal("100.00"),
        "commission": Decimal(0),
        "swap": Decimal(0),
        "fee": Decimal(0),
    }
    return Deal(deal_ticket=ticket, position_id=position_id, **(given | more))


def version(one: Deal, revision: int = 1, **more: Any) -> DealVersion:
    """A revision of a deal, read at NOW."""
    return DealVersion(deal=one, revision=revision, **({"recorded_at": NOW} | more))


def trade(account_id: str, position_id: int, episode: int = 1, **more: Any) -> Trade:
    """An open episode of one lot."""
    given: dict[str, Any] = {
        "ticket": position_id,
        "symbol": "EURUSD",
        "symbol_norm": "EURUSD",
        "side": TradeSide.BUY,
        "volume": Decimal("1.00"),
        "open_volume": Decimal("1.00"),
        "open_price": Decimal("1.10000"),
        "close_price": None,
        "open_time": NOW - timedelta(minutes=1),
        "close_time": None,
        "status": TradeStatus.OPEN,
    }
    key = {"account_id": account_id, "position_id": position_id, "episode": episode}
    return Trade(**key, id=ids.trade_id(account_id, position_id, episode), **(given | more))


def closed(one: Trade, net: str = "10.00") -> Trade:
    """The same episode, closed."""
    amounts = {"close_price": Decimal("1.10010"), "net_pnl": Decimal(net), "profit": Decimal(net)}
    return replace(one, open_volume=Decimal(0), close_time=NOW, status=TradeStatus.CLOSED, **amounts)


def info(balance: str = "100.00", **more: Any) -> Info:
    """An account's money without a margin."""
    amount = Decimal(balance)
    given: dict[str, Any] = {
        "balance": amount,
        "equity": amount,
        "margin": Decimal(0),
        "margin_free": amount,
        "margin_level": None,
        "credit": Decimal(0),
        "profit": Decimal(0),
        "leverage": 100,
        "currency": "USD",
        "currency_digits": 2,
        "margin_mode": 2,
    }
    return Info(**(given | more))


class World:
    """A worker's database (``db``), an operator's (``desk``), and everybody's eyes (``query``). The server's clock is UTC."""

    def __init__(self, db: Database, desk: Database, query: Query) -> None:
        self.db, self.desk, self.query = db, desk, query
        self.runs = 0

    def link(self, login: int = 1001, tenant_id: str = "desk", now: datetime = NOW, **more: Any) -> Linked:
        """Link an account as an operator does."""
        with self.desk.transaction() as tx:
            return deskstore.link_account(tx, link(login, tenant_id, **more), now)

    def open(self, now: datetime = NOW, sync_type: SyncType = SyncType.MANUAL, **more: Any) -> Opened:
        """Open the next run."""
        self.runs += 1
        with self.db.transaction() as tx:
            given = {"requested_by": "tests"} | more
            return runstore.open_run(tx, run_id(self.runs), sync_type=sync_type, now=now, **given)

    def claim(self, *account_ids: str, run: int = 1) -> tuple[Claimed, ...]:
        """Claim accounts; all of them must be free."""
        found = store.claim(self.db, run_id(run), account_ids, lease_seconds=LEASE_SECONDS)
        assert [one.account_id for one in found.claimed] == list(account_ids), found.unclaimed
        return found.claimed

    def load(self, held: Claimed, **wanted: Any) -> Loaded:
        """Read what stands around an answer, in a transaction of its own."""
        with self.db.transaction() as tx:
            return store.load_account(tx, held.account_id, held.lease_token, Wanted(**wanted))

    def outcome(self, account_id: str, run: int = 1, at: datetime = NOW, **more: Any) -> Outcome:
        """A success of two seconds that ended at ``at``."""
        given: dict[str, Any] = {
            "sync_type": SyncType.SCHEDULED,
            "started_at": at - timedelta(seconds=2),
            "completed_at": at,
            "status": SyncStatus.SUCCESS,
            "duration_ms": 2000,
        }
        return Outcome(log_id=ids.log_id(run_id(run), account_id), **(given | more))

    def update(self, **more: Any) -> AccountUpdate:
        """A success."""
        given: dict[str, Any] = {
            "info": info(),
            "info_at": NOW,
            "positions_at": NOW,
            "last_sync_at": NOW,
            "last_successful_sync_at": NOW,
            "sync_failure_count": 0,
            "last_error_code": None,
            "last_connection_error": None,
            "connection_status": ConnectionStatus.CONNECTED,
        }
        return AccountUpdate(**(given | more))

    def failure(self, count: int = 1) -> AccountUpdate:
        """A run in which nothing came."""
        return self.update(
            info=None,
            info_at=None,
            positions_at=None,
            last_successful_sync_at=None,
            sync_failure_count=count,
            last_error_code=Code.TIMEOUT,
            last_connection_error="Failed to fetch account info: no answer in time",
            connection_status=ConnectionStatus.ERROR,
        )

    def work(self, held: Claimed, run: int = 1, **more: Any) -> AccountWork:
        """What a success writes, due again in five minutes."""
        state = more.pop("state", replace(held.state, next_due_at=NOW + timedelta(minutes=5), state_digest=digest("a")))
        given: dict[str, Any] = {"account": self.update(), "outcome": self.outcome(held.account_id, run)}
        key = {"account_id": held.account_id, "lease_token": held.lease_token, "run_id": run_id(run)}
        return AccountWork(**key, state=state, **(given | more))

    def apply(self, work: AccountWork, now: datetime = NOW) -> Applied:
        """Write it, the fence taken first."""
        with self.db.transaction() as tx:
            return store.apply_account(tx, work, now)

    def sync(self, account_id: str, run: int = 1, **more: Any) -> Applied:
        """Claim and write in one go."""
        (held,) = self.claim(account_id, run=run)
        return self.apply(self.work(held, run, **more))

    def fill(self, account_id: str) -> None:
        """Put a row of the account into every table and every view."""
        one = CashOperation(
            account_id=account_id, deal_ticket=1, kind=CashKind.DEPOSIT, amount=Decimal(1), occurred_at=NOW, comment=None
        )
        self.sync(
            account_id,
            account=self.failure(),
            deals=[version(deal(1)), version(deal(2, 77))],
            trades=[trade(account_id, 77), closed(trade(account_id, 88))],
            cash_operations=[one],
            cash_check=CashCheckRow(checked_at=NOW, balance=Decimal(1), expected=None, gap=None, result=CashResult.OK),
            gaps_opened=[Gap(from_msc=msc(NOW), to_msc=msc(NOW), opened_at=NOW, cause=GapCause.CASH)],
            missed=[Missed(deal_ticket=2, first_missed_at=NOW, reads=1)],
            outcome=self.outcome(account_id, status=SyncStatus.FAILED, error_code=Code.TIMEOUT),
        )
        self.query(
            "insert into mt5.sync_failures_archive select * from mt5.sync_logs where account_id = :id returning 1", id=account_id
        )
        # booked, while the ledger holds nothing of it: a difference
        self.query(
            "update mt5.trades set ledger_state = 'booked' where account_id = :id and status = 'closed' returning 1",
            id=account_id,
        )

    def written(self) -> list[tuple[str, str]]:
        """Which transaction wrote each row of what is derived from answers."""
        names = ("deals", "trades", "cash_operations", "cash_checks", "history_gaps", "missed_deals", "symbols")
        parts = [f"select '{name}' as name, t.ctid::text || t.xmin::text as version from mt5.{name} t" for name in names]
        return [(row["name"], row["version"]) for row in self.query(" union all ".join(parts) + " order by 1, 2")]


def digest(text: str) -> bytes:
    """The digest of an answer."""
    return hashlib.sha256(text.encode()).digest()
