"""The worker's use case on a real database: receipts in, by document, at the time of their close; the book comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from fillbook.runtime.db import Database
from fillbook.signal.document import read
from fillbook.signal.payload import canonical_bytes
from fillbook.signal.profile import load
from fillbook.signal.receipt import ParsedReceipt, instant, published
from fillbook.signal.service import Processed, Strategy, process
from tests.support.receipts import body, encoded

PROFILE = "tt-2026-02"
Query = Callable[..., list[dict[str, Any]]]


def arrived(document: dict[str, Any]) -> ParsedReceipt:
    """A document as the worker reads it from the topic."""
    return published(canonical_bytes(read(encoded(document).decode(), ()).fields))


class LiveDesk:
    """Processes receipts in one book; ``now`` follows the receipt's close unless it is given."""

    def __init__(self, db: Database, query: Query, **strategy: Any) -> None:
        self.db = db
        self.query = query
        self.strategy = Strategy(profile=load(strategy.pop("profile", PROFILE)), **strategy)

    def with_strategy(self, **changes: Any) -> LiveDesk:
        desk = LiveDesk(self.db, self.query)
        desk.strategy = replace(self.strategy, **changes)
        return desk

    def take(self, document: dict[str, Any], *, now: datetime | None = None, age_seconds: int = 1) -> Processed:
        """Process one receipt ``age_seconds`` after its close (or at ``now``)."""
        receipt = arrived(document)
        close = instant(receipt.receipt.time_close or receipt.receipt.ts)
        at = now or close + timedelta(seconds=age_seconds)
        return process(self.db, receipt, received_at=at, strategy=self.strategy, now=at)

    def send(self, name: str = "R", *, minutes: int = 0, age_seconds: int = 1, **changes: Any) -> Processed:
        """Process R or Q, ``minutes`` later, with fields replaced."""
        return self.take(body(name, minutes=minutes, **changes), age_seconds=age_seconds)

    # --- what stands in the database afterwards ---

    def state(self, ticker: str = "ZZTA") -> dict[str, Any]:
        [row] = self.query("select * from signal.ticker_states where book_id = 'live' and ticker = :ticker", ticker=ticker)
        return row

    def decision(self, receipt_ts: int | None = None, ticker: str = "ZZTA") -> dict[str, Any]:
        """The last decision of a ticker, or the one at ``receipt_ts``."""
        rows = self.query(
            "select * from signal.decisions where book_id = 'live' and ticker = :ticker order by ts desc", ticker=ticker
        )
        return rows[0] if receipt_ts is None else next(row for row in rows if row["ts"] == instant(receipt_ts))

    def actions(self) -> list[dict[str, Any]]:
        return self.query("select * from ledger.v_actions where book_id = 'live' order by seq")

    def types(self) -> list[str]:
        return [row["action_type"] for row in self.actions()]

    def count(self, table: str) -> int:
        return int(self.query(f"select count(*) as n from {table}")[0]["n"])

    def refused_by(self) -> list[str]:
        """Rule ids of the last decision's blocks."""
        return [block["rule"] for block in self.decision()["blocks"]]


def digest(query: Query) -> dict[str, list[str]]:
    """Every row of the rooms a receipt writes, ordered, as text; recording times left out, so that runs can be compared."""
    tables = {
        "signal.receipts": "recorded_at, received_at, processed_at",
        "signal.decisions": "recorded_at",
        "signal.ticker_states": "updated_at",
        "signal.state_snapshots": "",
        "signal.lane_history": "",
        "signal.plans": "",
        "signal.stop_history": "",
        "ledger.v_actions": "recorded_at",
        "ledger.v_lots": "",
        "ledger.v_positions": "",
        "outbox.events": "id, recorded_at, available_at, payload",
    }
    found = {}
    for table, left_out in tables.items():
        names = [name.strip() for name in left_out.split(",") if name.strip()]
        text = f"to_jsonb(t) - array[{','.join(repr(name) for name in names)}]::text[]"
        found[table] = [row["r"] for row in query(f"select ({text})::text as r from {table} t order by 1")]
    return found


def wipe(query: Query) -> None:
    """Empty the rooms, so that a second run can start from nothing in the same database."""
    query(
        "do $$ declare names text; begin "
        "select string_agg(format('%I.%I', schemaname, tablename), ', ') into names from pg_catalog.pg_tables "
        "where schemaname in ('signal', 'ledger') or (schemaname = 'outbox' and tablename in ('events', 'inbox')); "
        "execute 'truncate ' || names || ' cascade'; end $$"
    )
