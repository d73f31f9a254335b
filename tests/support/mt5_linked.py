"""Linked MT5 accounts for the tests of the read API, made as operators and workers make them: by the room's own functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from fillbook.mt5 import ids
from fillbook.runtime.db import Call, Database

Row = dict[str, Any]
Query = Callable[..., list[Row]]

NOW = datetime(2026, 3, 4, 15, 10, tzinfo=UTC)  # a Wednesday
SERVER = "Alpha-Demo"
_NAMES = UUID("6f0c8f5e-36a4-4c55-9d0a-5e0c6e2d7a11")
_LISTS = ("deals", "trades", "trades_removed", "cash_operations", "cash_removed", "gaps_opened", "gaps_closed", "symbols")


def msc(at: datetime) -> int:
    """An instant on a server clock that is UTC."""
    return int(at.timestamp()) * 1000


def named(name: str) -> str:
    """An id of a run or a log row."""
    return str(uuid5(_NAMES, name))


def info(balance: str = "100.00", **more: Any) -> Row:
    """An account's money."""
    given: Row = {
        "balance": balance,
        "equity": balance,
        "margin": "0",
        "margin_free": balance,
        "margin_level": None,
        "credit": "0",
        "profit": "0",
        "leverage": 100,
        "currency": "USD",
        "currency_digits": 2,
        "margin_mode": 2,
    }
    return given | more


def trade(account_id: str, position_id: int, **more: Any) -> Row:
    """An open trade of one lot; its place in time follows its number."""
    given: Row = {
        "position_id": position_id,
        "episode": 1,
        "ticket": position_id,
        "symbol": "EURUSD",
        "symbol_norm": "EURUSD",
        "type": "buy",
        "volume": "1.00",
        "open_volume": "1.00",
        "open_price": "1.10000",
        "close_price": None,
        "open_time": NOW - timedelta(hours=5) + timedelta(seconds=position_id % 1000),
        "close_time": None,
        "realized_profit": "0",
        "realized_swap": "0",
        "status": "open",
        "entry_complete": True,
        "identity_quality": "deals",
        "pending_polls": 0,
        "ledger_state": "none",
    }
    given |= more
    return given | {"id": ids.trade_id(account_id, position_id, given["episode"])}


def closed(one: Row, at: datetime = NOW - timedelta(minutes=30), net: str = "12.30") -> Row:
    """The same trade, closed."""
    return one | {
        "status": "closed",
        "open_volume": "0",
        "close_time": at,
        "close_price": "1.10010",
        "profit": net,
        "net_pnl": net,
    }


class LinkedDesk:
    """Links accounts as ``desk_operator`` and writes what a run brought as ``mt5_writer``; ``query`` sees everything."""

    def __init__(self, worker: Database, operator: Database, query: Query) -> None:
        self.worker, self.operator, self.query = worker, operator, query
        self.runs = 0

    def link(self, login: int, tenant_id: str = "desk", server: str = SERVER, **more: Any) -> str:
        """Link an account; its id."""
        account_id = ids.account_id(tenant_id, server, login)
        document = {
            "account_id": account_id,
            "tenant_id": tenant_id,
            "server": server,
            "login": login,
            "broker_name": "Alpha Markets",
            "account_name": None,
            "instance_key": "default",
            "base_url": "http://127.0.0.1:8000",
            "service_account_id": None,
            "book_id": ids.book_id(server, login),
            "spare_book_id": ids.book_id(server, login, account_id),
            "backfill_target": None,
            "has_new_credentials": False,
            "now": NOW - timedelta(days=1),
        }
        self.operator.call(Call("mt5.link_account", document | more))
        return account_id

    def deactivate(self, account_id: str) -> None:
        """Switch an account off."""
        self.operator.call(Call("mt5.deactivate_account", {"account_id": account_id, "now": NOW}))

    def sync(
        self,
        account_id: str,
        at: datetime = NOW - timedelta(minutes=2),
        *,
        money: Row | None = None,
        trades: Sequence[Row] = (),
        account: Row | None = None,
        state: Row | None = None,
        outcome: Row | None = None,
        **lists: Any,
    ) -> str:
        """One run that brought what is given and ended at ``at``; the run's id. Without more it is a success."""
        self.runs += 1
        run_id = named(f"run {self.runs}")
        (claims,) = self.worker.call(
            Call("mt5.claim", {"run_id": run_id, "account_ids": [account_id], "lease_seconds": 240}),
        )
        ((held),) = claims["claimed"]
        document = {
            "account_id": account_id,
            "lease_token": held["state"]["lease_token"],
            "run_id": run_id,
            "now": at,
            **{name: [] for name in _LISTS},
            "missed": [],
            "cash_check": None,
            "trades": list(trades),
            "account": self._succeeded(money or info(), at) | (account or {}),
            "state": self._due(at) | (state or {}),
            "outcome": self._outcome(account_id, at) | (outcome or {}),
        }
        self.worker.call(Call("mt5.apply_account", document | lists))
        return run_id

    def fail(self, account_id: str, at: datetime, count: int = 1, *, needs_login: bool = False, **lists: Any) -> str:
        """One run in which nothing came; the run's id."""
        words = "Failed to fetch account info: no answer in time"
        return self.sync(
            account_id,
            at,
            account={
                "info": None,
                "info_at": None,
                "positions_at": None,
                "last_successful_sync_at": None,
                "sync_failure_count": count,
                "last_error_code": "timeout",
                "last_connection_error": words,
                "connection_status": "needs_reauth" if needs_login else "error",
            },
            state={"next_due_at": "infinity"} if needs_login else None,
            outcome={"status": "failed", "error_code": "timeout", "error_message": words, "attempts": 2},
            **lists,
        )

    def _succeeded(self, money: Row, at: datetime) -> Row:
        return {
            "info": money,
            "info_at": at,
            "positions_at": at,
            "last_sync_at": at,
            "last_successful_sync_at": at,
            "sync_failure_count": 0,
            "last_error_code": None,
            "last_connection_error": None,
            "connection_status": "connected",
        }

    def _due(self, at: datetime) -> Row:
        return {
            "next_due_at": at + timedelta(minutes=5),
            "last_deal_at": None,
            "history_until_msc": msc(at),
            "history_floor_msc": msc(at - timedelta(days=10)),
            "backfill_state": "running",
            "empty_chunks": 0,
            "cash_gap_runs": 0,
            "auth_failure_count": 0,
            "opening_proven": False,
            "has_open_positions": False,
            "cash_state": "ok",
        }

    def _outcome(self, account_id: str, at: datetime) -> Row:
        return {
            "account_id": account_id,
            "id": named(f"log {self.runs}"),
            "is_logged": True,
            "sync_type": "scheduled",
            "started_at": at - timedelta(milliseconds=2150),
            "completed_at": at,
            "status": "success",
            "error_message": None,
            "error_code": None,
            "duration_ms": 2150,
            "attempts": 1,
            "steps": {},
        }

    def written(self) -> list[tuple[str, str]]:
        """Which transaction wrote each row of the room's tables."""
        names = ("trading_accounts", "account_sync_state", "trades", "sync_logs", "sync_hours", "cash_checks")
        parts = [f"select '{name}' as name, t.ctid::text || t.xmin::text as version from mt5.{name} t" for name in names]
        return [(row["name"], row["version"]) for row in self.query(" union all ".join(parts) + " order by 1, 2")]


def same(text: str | None, value: Decimal | None) -> bool:
    """Whether a figure on the wire is the row's, digit by digit, unknown included."""
    return text is None if value is None else text is not None and "E" not in text and Decimal(text) == value
