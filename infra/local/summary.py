"""The figures of a played day, read back from the desk's own views: what was sent, decided, booked, told, and whether it holds.

Everything here is read after the fact from the database and the message log, never counted along while sending, so the
summary can disagree with the sender – that is its point.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from fillbook.runtime.config import DatabaseConfig
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.sql import Statement
from fillbook.tracker.portfolio import portfolio

AUDIT_SECONDS = 120
READER = DeskKey(id="summary", sha256="", scopes=frozenset({"read"}), tenant_id="desk", books=("live",))
"""Whoever reads the summary sees the live book, as on the page."""


def statement(name: str, purpose: str, text: str) -> Statement:
    """A read-only statement of the summary."""
    return Statement(name=name, purpose=purpose, text=text)


RECEIPTS = statement(
    "receipts",
    "receipts stored in a span, by result",
    "select result, count(*) as count from signal.v_receipts where ts >= :since and ts < :until group by result",
)
STORED = statement(
    "stored",
    "receipts of some tickers stored in a span",
    "select count(*) as count from signal.v_receipts where ts >= :since and ts < :until and ticker = any(:tickers::text[])",
)
AUDITED = statement(
    "audited",
    "audits of the live book stored since an instant",
    "select count(*) as count from ledger.v_audits where book_id = 'live' and ran_at >= :since",
)
EXECUTIONS = statement(
    "executions",
    "executions of the live book in a span, by type",
    "select action_type::text as action_type, count(*) as count from ledger.v_actions"
    " where book_id = 'live' and executed_at >= :since and executed_at <= :until group by action_type",
)
MESSAGES = statement(
    "messages",
    "messages that stand in the executions channel for executions of a span, by state",
    "select m.state, count(*) as count from notify.v_messages m"
    " join ledger.v_actions a on a.book_id = m.book_id and a.action_id = m.action_id"
    " where a.book_id = 'live' and a.executed_at >= :since and a.executed_at <= :until group by m.state",
)
UNTOLD = statement(
    "untold",
    "executions of the live book, of the broker's and of MT5 accounts that have no posted message yet",
    "select count(*) as count from ledger.v_actions a where (a.book_id = 'live' or a.book_id like 'ibkr:%'"
    " or a.book_id like 'mt5:%') and a.origin = 'live' and not exists ("
    " select from notify.v_messages m where m.book_id = a.book_id and m.action_id = a.action_id and m.state = 'posted')",
)
BROKER = statement(
    "broker",
    "executions of the broker's books that are no history, and how many of them have a posted message, by book",
    "select a.book_id, count(*) as executions, count(*) filter (where exists ("
    " select from notify.v_messages m where m.book_id = a.book_id and m.action_id = a.action_id and m.state = 'posted')) as told"
    " from ledger.v_actions a where a.book_id like 'ibkr:%' and a.origin = 'live' group by a.book_id order by a.book_id",
)
BROKER_QUEUE = statement(
    "broker_queue",
    "jobs of the broker that wait or run",
    "select count(*) as count from ibkr.v_jobs where state in ('queued', 'running')",
)
FLEET = statement(
    "fleet",
    "MT5 accounts, those that are synced, and what is stored of them",
    "select (select count(*) from mt5.trading_accounts where is_active) as accounts,"
    " (select count(*) from mt5.trading_accounts where is_active and sync_failure_count = 0"
    " and last_successful_sync_at is not null) as synced, (select count(*) from mt5.deals) as deals,"
    " (select count(*) from mt5.trades) as trades,"
    " count(*) as executions, count(*) filter (where exists ("
    " select from notify.v_messages m where m.book_id = a.book_id and m.action_id = a.action_id and m.state = 'posted')) as told"
    " from ledger.v_actions a where a.book_id like 'mt5:%' and a.origin = 'live'",
)
SNAPSHOT = statement(
    "snapshot",
    "the published day as readers see it, and how its newest publication ended",
    "select d.stage, d.version, d.content_sha256, d.counts, p.status from metrics.v_daily d left join lateral ("
    " select status from metrics.v_publications where report_date = d.date and target <> 'none' order by seq desc limit 1) p"
    " on true where d.date = :day",
)
PUBLISHED = statement(
    "published",
    "publications of a day that were due after its close and came to an end",
    "select count(*) as count from metrics.v_publications where report_date = :day and slot = 'postmarket'"
    " and finished_at is not null",
)
LANES = statement(
    "lanes",
    "tickers by lane",
    "select lane, count(*) as count from signal.v_board where book_id = 'live' group by lane",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One played span; counts by name, money as decimal text by currency. ``audit_exit`` 0 means clean.

    ``broker``: for each book of the broker, its executions that are no history, and how many of them are told.
    ``mt5``: linked accounts, how many of them are synced, their deals and trades, executions that are no history, told ones.
    ``syncs_mt5``: whether a sync of them was part of the span; where the clock went back behind their own, none can succeed.
    ``snapshot``: the published day, its status, stage, version, rows and hash; empty where the desk publishes none.
    """

    since: str
    until: str
    clock: str
    sent: int
    accepted: int
    refused: Mapping[str, int]
    repeats: int
    receipts: Mapping[str, int]
    lanes: Mapping[str, int]
    executions: int
    executions_by_type: Mapping[str, int]
    messages: int
    messages_by_state: Mapping[str, int]
    realized_pnl: Mapping[str, str | None]
    unrealized_pnl: Mapping[str, str | None]
    broker: Mapping[str, Mapping[str, int]]
    mt5: Mapping[str, int]
    syncs_mt5: bool
    snapshot: Mapping[str, Any]
    audit_exit: int
    audit_findings: int
    seconds: float

    @property
    def is_proven(self) -> bool:
        """The audit is clean, all that was accepted is stored and decided, each execution has exactly one posted message, and the
        day is published as final where the desk publishes.
        """
        stored = sum(self.receipts.values()) if set(self.receipts) <= {"decided"} else 0
        told = self.messages == self.executions and set(self.messages_by_state) <= {"posted"}
        told = told and all(one["executions"] == one["told"] for one in (*self.broker.values(), self.mt5))
        synced = not self.syncs_mt5 or self.mt5["synced"] == self.mt5["accounts"]
        is_published = not self.snapshot or self.snapshot["stage"] == "final"
        return self.audit_exit == 0 and told and synced and is_published and stored >= self.accepted > 0

    def document(self) -> dict[str, Any]:
        """The summary as JSON, verdict included."""
        return asdict(self) | {"is_proven": self.is_proven}


class Operator:
    """The operator's view of the desk: reads figures, runs the audit."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        config = DatabaseConfig.from_environment({"FILLBOOK_ENV": "local", **self._environment})
        self._database = Database.open(config, application_name="demo", pool_size=1)

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings of an operator's command on this desk."""
        return self._environment

    @property
    def has_broker(self) -> bool:
        """Whether the desk runs the function that speaks with the broker."""
        return "EXECUTION_SYNC_URL" in self._environment

    @property
    def has_publisher(self) -> bool:
        """Whether the desk runs the function that publishes days, and the one that takes them."""
        return "SNAPSHOT_PUBLISHER_URL" in self._environment

    def is_published(self, day: date) -> bool:
        """Whether the publication that is due after the close has come to an end."""
        with self._database.transaction(read_only=True) as tx:
            return bool(tx.query(PUBLISHED, day=day)[0]["count"])

    def snapshot(self, day: date) -> dict[str, Any]:
        """The published day; empty where the desk publishes none, ``stage`` None where this day is not published."""
        if not self.has_publisher:
            return {}
        with self._database.transaction(read_only=True) as tx:
            found = tx.query(SNAPSHOT, day=day)
        if not found:
            return {"date": day.isoformat(), "status": None, "stage": None, "version": None, "rows": 0, "content_sha256": None}
        row = found[0]
        return {
            "date": day.isoformat(),
            "status": row["status"],
            "stage": row["stage"],
            "version": row["version"],
            "rows": sum(row["counts"].values()),
            "content_sha256": row["content_sha256"],
        }

    def untold(self) -> int:
        """Executions of the live book, of the broker's and of MT5 accounts that have no posted message yet."""
        with self._database.transaction(read_only=True) as tx:
            return int(tx.query(UNTOLD)[0]["count"])

    def broker_jobs(self) -> int:
        """Jobs of the broker that wait or run."""
        with self._database.transaction(read_only=True) as tx:
            return int(tx.query(BROKER_QUEUE)[0]["count"])

    def stored(self, since: datetime, until: datetime, tickers: Sequence[str]) -> int:
        """Receipts of these tickers that the desk holds for bars opened in [since, until)."""
        with self._database.transaction(read_only=True) as tx:
            return int(tx.query(STORED, since=since, until=until, tickers=list(tickers))[0]["count"])

    def is_audited(self, since: datetime) -> bool:
        """Whether the desk's own audit of the live book has run since an instant."""
        with self._database.transaction(read_only=True) as tx:
            return bool(tx.query(AUDITED, since=since)[0]["count"])

    def account(self, at: datetime) -> dict[str, Any]:
        """What the live book is worth at an instant of the desk's clock: the very figures that the page shows then."""
        totals = portfolio(self._database, READER, {"books": ["live"], "points": ["1"]}, at)["totals"]
        return {
            "realized_pnl": {one["currency"]: one["realized_pnl"] for one in totals},
            "unrealized_pnl": {one["currency"]: one["unrealized_pnl"] for one in totals},
        }

    def figures(self, since: datetime, until: datetime) -> dict[str, Any]:
        """Counts of the span, as the fields of ``Summary`` call them."""
        with self._database.transaction(read_only=True, isolation="repeatable read") as tx:
            executions = _counts(tx, EXECUTIONS, since=since, until=until)
            messages = _counts(tx, MESSAGES, since=since, until=until)
            return {
                "receipts": _counts(tx, RECEIPTS, since=since, until=until),
                "lanes": _counts(tx, LANES),
                "executions": sum(executions.values()),
                "executions_by_type": executions,
                "messages": sum(messages.values()),
                "messages_by_state": messages,
                "broker": {
                    row["book_id"]: {"executions": int(row["executions"]), "told": int(row["told"])} for row in tx.query(BROKER)
                },
                "mt5": {name: int(count) for name, count in tx.query(FLEET)[0].items()},
            }

    def audit(self) -> dict[str, Any]:
        """Run the ledger's own audit over every book; its exit status and how many findings it printed."""
        command = [sys.executable, "-m", "fillbook.ledger", "audit", "--json"]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=AUDIT_SECONDS, check=False)
        findings = 0
        if done.returncode >= 20:
            findings = sum(len(json.loads(line)["findings"]) for line in done.stdout.splitlines() if line.startswith("{"))
        return {"audit_exit": done.returncode, "audit_findings": findings}

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()


def _counts(tx: Tx, statement: Statement, **span: datetime) -> dict[str, int]:
    return {next(iter(row.values())): int(row["count"]) for row in tx.query(statement, **span)}
