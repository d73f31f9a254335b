"""The database of the fake D1: a real SQLite file with the limits that D1 sets, a batch of statements as one transaction.

The lenient receiver stores through it as well, so that both may stand before one file, as an API and its database do. The
tables are those of the snapshot specification, 6; ``natural_keys``: a target whose last three tables have no ``id``.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PARAMETERS_MAX: Final = 100
STATEMENT_BYTES_MAX: Final = 100_000
VALUE_BYTES_MAX: Final = 2_000_000
SECONDS_MAX: Final = 30.0
BUSY_SECONDS: Final = 10.0
_STEPS: Final = 10_000
"""Of SQLite's machine, between two looks at the clock."""
_NOT_THEIRS: Final = frozenset(
    {sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT, sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA}
)
NO_TRANSACTIONS: Final = "transactions are the batch's own: BEGIN and SAVEPOINT are not allowed"

TABLES: Final = (
    "metrics_daily",
    "metrics_kpi_values",
    "metrics_series_points",
    "metrics_extremes_items",
    "metrics_portfolio_assets",
)
_DAY: Final = "date TEXT NOT NULL REFERENCES metrics_daily(date) ON DELETE CASCADE"
SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS metrics_daily(date TEXT PRIMARY KEY, updated_at TEXT NOT NULL, headline TEXT NOT NULL,
  summary TEXT NOT NULL, rows_json TEXT NOT NULL, overlay_json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS metrics_kpi_values({_DAY}, kpi TEXT NOT NULL, value_text TEXT NOT NULL, value_num REAL,
  value_kind TEXT NOT NULL DEFAULT 'text' CHECK (value_kind IN ('number','percent','text')), PRIMARY KEY (date, kpi));
CREATE TABLE IF NOT EXISTS metrics_series_points(id INTEGER PRIMARY KEY, {_DAY}, kpi TEXT NOT NULL, t TEXT NOT NULL,
  v REAL NOT NULL, src TEXT, UNIQUE (date, kpi, t));
CREATE TABLE IF NOT EXISTS metrics_extremes_items(id INTEGER PRIMARY KEY, {_DAY}, kpi TEXT NOT NULL,
  side TEXT NOT NULL CHECK (side IN ('hi','lo')), rank INTEGER NOT NULL, trade_id INTEGER, symbol TEXT, contract_name TEXT,
  metric_raw REAL, metric_abs REAL, individual_pnl REAL, abs_individual_pnl REAL, percent_change REAL, cost_basis REAL,
  qty REAL, bid_price REAL, ask_price REAL, mid_price REAL, mid_ts TEXT, mid_mark_pnl REAL, liquidity_drag REAL,
  item_json TEXT NOT NULL, UNIQUE (date, kpi, side, rank));
CREATE TABLE IF NOT EXISTS metrics_portfolio_assets(id INTEGER PRIMARY KEY, {_DAY}, trade_id INTEGER NOT NULL, symbol TEXT,
  contract_name TEXT NOT NULL, UNIQUE (date, trade_id, contract_name));
"""
NATURAL: Final = re.sub(r"UNIQUE (?=\(date)", "PRIMARY KEY ", SCHEMA.replace("id INTEGER PRIMARY KEY, date", "date"))

ALTERED: Final = {
    "metrics_daily": ("overlay_json", "overlay_json || ' '"),
    "metrics_kpi_values": ("value_num", "coalesce(value_num, 0) + 1"),
    "metrics_series_points": ("v", "v + 0.01"),
    "metrics_extremes_items": ("metric_raw", "coalesce(metric_raw, 0) + 0.01"),
    "metrics_portfolio_assets": ("trade_id", "trade_id + 1"),
}
"""What a row of a table becomes where the fault names no column; a named one becomes a text of its length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The batch ends before its statement ``n``, from 1; ``rollback``: what it wrote before is undone."""

    n: int
    rollback: bool = True


class Refused(Exception):
    """A statement that D1 does not carry out; nothing of its batch stands."""


class Stopped(Exception):
    """The batch was stopped on purpose."""


class TooSlow(Exception):
    """The batch took longer than it may; nothing of it stands."""


class D1Store:
    """One connection to one file, used by one call at a time, as D1 works. ``seconds_max``: of a batch."""

    def __init__(self, path: Path, *, natural_keys: bool = False, seconds_max: float = SECONDS_MAX) -> None:
        self.path = path
        self.seconds_max = seconds_max
        self._lock = threading.Lock()
        self._are_theirs = False
        self._ends_at = 0.0
        self._db = db = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=0, timeout=BUSY_SECONDS
        )
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        db.executescript(NATURAL if natural_keys else SCHEMA)
        db.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, PARAMETERS_MAX)
        db.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, STATEMENT_BYTES_MAX)
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
        db.set_authorizer(self._authorize)
        db.set_progress_handler(lambda: int(self._are_theirs and time.monotonic() > self._ends_at), _STEPS)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def batch(self, statements: Sequence[tuple[str, Sequence[Any]]], stop: Stop | None = None) -> list[dict[str, Any]]:
        """Carry out all statements in one transaction; what each answered, in D1's shape. Raises Refused, Stopped, TooSlow."""
        with self._lock:
            self._ends_at = time.monotonic() + self.seconds_max
            self._db.execute("BEGIN IMMEDIATE")
            try:
                results = []
                for number, (sql, parameters) in enumerate(statements, 1):
                    if stop is not None and number >= stop.n:
                        raise Stopped
                    results.append(self._one(sql, parameters))
            except BaseException as error:
                is_kept = isinstance(error, Stopped) and stop is not None and not stop.rollback
                self._db.execute("COMMIT" if is_kept else "ROLLBACK")
                raise
            self._db.execute("COMMIT")
            size = self._size()
            for result in results:
                result["meta"]["size_after"] = size
            return results

    def _one(self, sql: str, parameters: Sequence[Any]) -> dict[str, Any]:
        began = time.perf_counter()
        before = self._db.total_changes
        self._are_theirs = True
        try:
            rows = [dict(row) for row in self._db.execute(sql, parameters).fetchall()]
        except sqlite3.OperationalError as error:
            if str(error) == "interrupted":
                raise TooSlow from error
            raise Refused(str(error)) from error
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            raise Refused(NO_TRANSACTIONS if str(error) == "not authorized" else str(error)) from error
        finally:
            self._are_theirs = False
        changes = self._db.total_changes - before
        return {
            "results": rows,
            "success": True,
            "meta": {
                "changes": changes,
                "changed_db": changes > 0,
                "rows_read": len(rows),
                "rows_written": changes,
                "duration": round((time.perf_counter() - began) * 1000, 3),
            },
        }

    def _size(self) -> int:
        pages, size = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return int(pages * size)

    def _authorize(self, action: int, *_: object) -> int:
        return sqlite3.SQLITE_DENY if self._are_theirs and action in _NOT_THEIRS else sqlite3.SQLITE_OK

    # -- for those who look and meddle ----------------------------------------------------------------------------------------

    def rows(self, table: str, date: str | None = None) -> list[dict[str, Any]]:
        """Every row of a table (of a date), in the order it was written."""
        if table not in TABLES:
            raise ValueError(f"unknown table {table!r}")
        where, values = ("", ()) if date is None else (" WHERE date = ?1", (date,))
        with self._lock:
            return [dict(row) for row in self._db.execute(f"SELECT * FROM {table}{where} ORDER BY rowid", values).fetchall()]

    def counts(self, date: str | None = None) -> dict[str, int]:
        """Rows by table."""
        where, values = ("", ()) if date is None else (" WHERE date = ?1", (date,))
        with self._lock:
            return {name: self._db.execute(f"SELECT count(*) FROM {name}{where}", values).fetchone()[0] for name in TABLES}

    def clear(self) -> None:
        """Forget every day."""
        with self._lock:
            self._db.execute("DELETE FROM metrics_daily")

    def alter(self, date: str, table: str, column: str | None = None) -> None:
        """Change one row of a date: a number by a little, a text into another of its length. Raises ValueError."""
        if table not in TABLES or not (column is None or re.fullmatch(r"[a-z_]+", column)):
            raise ValueError(f"unknown table {table!r} or column {column!r}")
        usual, changed = ALTERED[table]
        if column is not None:
            usual, changed = column, f"substr('ALTERED' || {column}, 1, max(1, length({column})))"
        first = f"SELECT rowid FROM {table} WHERE date = ?1 ORDER BY rowid LIMIT 1"
        with self._lock:
            self._db.execute(f"UPDATE {table} SET {usual} = {changed} WHERE rowid = ({first})", (date,))
