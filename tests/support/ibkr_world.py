"""A desk on a real database that is told rows as a run would bring them, and what it then holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from fillbook.ibkr.accounts import configure_accounts
from fillbook.ibkr.allowlist import AllowList
from fillbook.ibkr.model import Refusal, Row, SyncMetrics, Window
from fillbook.ibkr.runs import import_statement_once, sync_trades_once
from fillbook.ibkr.sources import Chunk, Fetched, Span, StatementHead, StatementSpan, Target
from fillbook.ibkr.words import Source
from fillbook.runtime.db import Database
from tests.support.ibkr import CONFIGS, FIRST, SECOND

NOW = datetime(2026, 1, 6, 21, 0, tzinfo=UTC)
WORKER_GROUPS = ("ibkr_writer", "ibkr_reader", "ledger_writer", "ledger_reader", "outbox_writer")
Query = Callable[..., list[dict[str, Any]]]


class Socket:
    """A source that brings what it was given."""

    def __init__(self, rows: Sequence[Row], refusals: Sequence[Refusal] = (), **told: Any) -> None:
        self.rows, self.refusals, self.told = tuple(rows), tuple(refusals), told
        self.windows: list[Window] = []

    def fetch(self, target: Target, window: Window) -> Fetched:
        self.windows.append(window)
        frames = sum(not hasattr(row, "broker_realized_pnl") for row in self.rows)
        covered = tuple(Span(account_id=one.account_id, covered=window) for one in target.allow_list.accounts)
        given: dict[str, Any] = {
            "rows": self.rows,
            "refusals": self.refusals,
            "fetched_count": frames + len(self.refusals),
            "is_end_seen": True,
            "covered": covered,
            "asked_at": window.to_at,
            "client_version": "test",
        }
        return Fetched(**(given | self.told))


class Statement:
    """A document that brings what it was given, in chunks of ``size``."""

    def __init__(
        self,
        rows: Sequence[Row],
        refusals: Sequence[Refusal] = (),
        *,
        size: int = 5000,
        days: tuple[date, date] = (date(2026, 1, 5), date(2026, 1, 5)),
        source: Source = Source.STATEMENT,
        skipped: int = 0,
    ) -> None:
        self.rows, self.refusals, self.size, self.days, self.source, self.skipped = rows, refusals, size, days, source, skipped

    def check(self) -> StatementHead:
        spans = tuple(
            StatementSpan(account_code=one.code, from_date=self.days[0], to_date=self.days[1], generated_at=NOW)
            for one in (FIRST, SECOND)
        )
        return StatementHead(source=self.source, spans=spans, sha256=b"\0" * 32, byte_count=1)

    def chunks(self, allow_list: AllowList) -> Iterator[Chunk]:
        assert allow_list.accounts
        count = len(self.refusals)
        yield Chunk(refusals=tuple(self.refusals), fetched_count=count, skipped_count=self.skipped)
        for begin in range(0, len(self.rows), self.size):
            part = tuple(self.rows[begin : begin + self.size])
            yield Chunk(rows=part, fetched_count=len(part))


class World:
    """Accounts U1234567 (USD, trusts FB-) and U7654321 (EUR); every run is told twice when ``again`` says so."""

    def __init__(self, db: Database, query: Query, *, opened: bool = True) -> None:
        self.db, self.query, self.now = db, query, NOW
        configure_accounts(db, CONFIGS, NOW)
        if opened:
            query("update ibkr.accounts set opened_at = :now", now=NOW)

    def socket(self, *rows: Row, refusals: Sequence[Refusal] = (), **told: Any) -> SyncMetrics:
        """One run of the socket; then the same run again, which must change nothing."""
        return self._twice(lambda: self.sync(Socket(rows, refusals, **told)))

    def statement(self, *rows: Row, refusals: Sequence[Refusal] = (), **options: Any) -> SyncMetrics:
        """One statement; then the same again, which must change nothing."""
        return self._twice(lambda: self.imported(Statement(rows, refusals, **options)))

    def sync(self, source: Socket, lookback_days: int = 2) -> SyncMetrics:
        self.now += timedelta(minutes=1)
        metrics = sync_trades_once(
            self.db,
            source,
            host="127.0.0.1",
            port=4002,
            client_id=11,
            connect_timeout_seconds=10,
            lookback_days=lookback_days,
            now=self.now,
        )
        assert metrics.adds_up, metrics
        return metrics

    def imported(self, document: Statement) -> SyncMetrics:
        self.now += timedelta(minutes=1)
        metrics = import_statement_once(self.db, document, request_id=None, now=self.now)
        assert metrics.adds_up, metrics
        return metrics

    def _twice(self, run: Callable[[], SyncMetrics]) -> SyncMetrics:
        first = run()
        before = self.written()
        second = run()
        assert self.written() == before, "the second run wrote"
        assert (second.inserted_executions_count, second.updated_executions_count) == (0, 0), second
        assert (second.canonical_changes_count, second.touched_trades_count, second.voided_executions_count) == (0, 0, 0)
        return first

    def written(self) -> list[tuple[str, str]]:
        """Which transaction wrote each row, of every table but those of runs and quarantine."""
        tables = ["accounts", "execution_payloads", "broker_events", "trades", "trade_keys", "trade_executions"]
        names = [*(f"ibkr.{name}" for name in [*tables, "booked_fills", "anomalies"]), "ledger.fills", "ledger.execution_actions"]
        parts = [f"select '{name}' as name, t.ctid::text || t.xmin::text as version from {name} t" for name in names]
        return [(row["name"], row["version"]) for row in self.query(" union all ".join(parts) + " order by 1, 2")]

    def executions(self, account: str = "U1234567") -> dict[str, dict[str, Any]]:
        rows = self.query("select * from ibkr.v_trade_executions where account_code = :code order by ib_exec_id", code=account)
        return {row["ib_exec_id"]: row for row in rows}

    def states(self, account: str = "U1234567") -> dict[str, str]:
        return {name: row["state"] for name, row in self.executions(account).items()}

    def trades(self, account: str = "U1234567", *, merged: bool = False) -> list[dict[str, Any]]:
        text = (
            "select * from ibkr.v_trades where account_code = :code and (merged_into is null or :merged) "
            "order by keys::text, trade_id"
        )
        return self.query(text, code=account, merged=merged)

    def anomalies(self) -> list[tuple[str, str]]:
        rows = self.query("select kind, subject from ibkr.v_anomalies where closed_at is null order by kind, subject")
        return [(row["kind"], row["subject"]) for row in rows]

    def fills(self, account: str = "U1234567") -> dict[str, dict[str, Any]]:
        """Current versions of what the ledger's book holds, busted ones too, by source id."""
        rows = self.query(
            "select distinct on (fill_id) * from ledger.fills where book_id = :book "
            "order by fill_id, source_revision desc, is_bust desc, version desc",
            book=f"ibkr:{account}",
        )
        return {row["source_id"]: row for row in rows if row["reason"] != "opening_balance"}

    def events(self) -> list[str]:
        return [row["event_type"] for row in self.query("select event_type from outbox.events order by id")]

    def run_of(self, metrics: SyncMetrics) -> dict[str, Any]:
        (row,) = self.query("select * from ibkr.sync_runs where id = :id", id=metrics.run_id)
        return row

    def export(self) -> str:
        """The canonical export: what may not depend on order, split or repetition of what was told."""
        parts = {
            "trades": "select to_jsonb(t) - '{created_at,updated_at,fetched_at,keys}'::text[] as r from ibkr.v_trades t "
            "where merged_into is null order by trade_id",
            "executions": "select to_jsonb(e) - '{created_at,updated_at,fetched_at}'::text[] as r from ibkr.trade_executions e "
            "order by account_id, ib_exec_id",
            "events": "select to_jsonb(e) - '{created_at,updated_at,run_id}'::text[] as r from ibkr.broker_events e order by id",
            "anomalies": "select to_jsonb(a) - '{opened_at,closed_at,run_id}'::text[] as r from ibkr.anomalies a "
            "where closed_at is null order by id",
        }
        told = {name: [row["r"] for row in self.query(text)] for name, text in parts.items()}
        return json.dumps(told, default=str, sort_keys=True, indent=1)
