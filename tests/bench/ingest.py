"""Taking a broker's executions in: first, unchanged, with a thousandth corrected; beside a loop over rows and a bare COPY.

Ours is a statement of 100,000 executions, not booked, from the first row encoded to the last commit, on a durable server. The
loop is what a program on an object mapper does: for each row a look for it and for its trade, an insert, an insert or update of
the trade, a commit, parametrised, into tables with the same columns and indexes; its rows lie ready as values. COPY fills such a
table from text that lies ready. Neither baseline decodes, compares or corrects anything, which is in its favour.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fillbook.ibkr.model import Row, Sighting
from fillbook.ibkr.runs import import_statement_once
from fillbook.runtime.db import Database, Settings, driver_connection
from fillbook.runtime.sql import statement
from infra.local.postgres import PostgresServer
from tests.bench import ibkr
from tests.bench.report import RESULTS, Stage, publish
from tests.support.ibkr import outcome
from tests.support.ibkr_statement import long_statement
from tests.support.ibkr_world import Statement
from tests.support.servers import database_config

FILLS, ROUNDS, LOOPED = 100_000, 3, 2_000
CHANGED_OF = 1_000
LOOP_RATIO, COPY_RATIO, UNCHANGED_RATIO, WAL_BYTES = 40.0, 0.25, 80.0, 1_000_000
SETUP = (
    "create schema bench",
    "create table bench.executions (like ibkr.trade_executions including all)",
    "create table bench.trades (like ibkr.trades including all)",
)
COLUMNS = """
select attname as name from pg_catalog.pg_attribute
 where attrelid = 'ibkr.{table}'::regclass and attnum > 0 and not attisdropped and attgenerated = '' order by attnum
"""
TWICE = """
select count(*)::integer as n from (
    select from ibkr.trade_executions where is_canonical group by account_id, exec_id_base having count(*) > 1) as x
"""
WAL = "select pg_current_wal_insert_lsn()::text as at"
BYTES = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), :at::text::pg_lsn)::bigint as bytes"


@dataclass(slots=True, kw_only=True)
class Found:
    """Samples of all rounds: seconds, but for ``wal`` (bytes) and ``rewritten`` (rows)."""

    first: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    changed: list[float] = field(default_factory=list)
    loop: list[float] = field(default_factory=list)
    copied: list[float] = field(default_factory=list)
    wal: list[float] = field(default_factory=list)
    rewritten: list[float] = field(default_factory=list)


def run(argv: Sequence[str]) -> int:
    """``bench ingest [--fills N] [--runs N]``."""
    given = dict(zip(argv[::2], argv[1::2], strict=False))
    size, rounds = int(given.get("--fills", FILLS)), int(given.get("--runs", ROUNDS))
    stage, found = Stage(name="ingest"), Found()
    with ibkr.server() as server:
        for number in range(rounds):
            one_round(server, f"ingest_{number}", size, found)
    tell(stage, found, size)
    publish(stage)
    return 0


def one_round(server: PostgresServer, name: str, size: int, found: Found) -> None:
    """The same statement three times, the third with corrections; then the baselines over what it left."""
    looped = min(LOOPED, size)
    with ibkr.opened(ibkr.new_database(server, name), is_booked=False) as db:
        found.first.append(ibkr.imported(db, ibkr.Told(size)))
        before, (wal,) = ibkr.row_versions(db), _asked(db, WAL)
        found.again.append(ibkr.imported(db, ibkr.Told(size)))
        (written,) = _asked(db, BYTES, at=wal["at"])
        found.wal.append(float(written["bytes"]))
        found.rewritten.append(float(len(set(ibkr.row_versions(db)) ^ set(before))))
        found.loop.append(_looped(db, server.url(database=name), looped) / looped)
        found.copied.append(_copied(server, name))
        found.changed.append(_corrected(db, size))
        (twice,) = _asked(db, TWICE)
        if twice["n"]:
            raise RuntimeError(f"{twice['n']} bases have more than one canonical row")


def _asked(db: Database, text: str, **given: Any) -> list[dict[str, Any]]:
    with db.transaction(read_only=True) as tx:
        return tx.query(statement(text), **given)


def _corrected(db: Database, size: int) -> float:
    """The statement again, in which each thousandth execution has a second revision at another price."""
    rows = [_revised(row, number) for part in long_statement(size, ibkr.CHUNK) for number, row in enumerate(part)]
    began = time.perf_counter()
    metrics = import_statement_once(db, Statement(rows, size=ibkr.CHUNK), request_id=None, now=ibkr.NOW)
    took = time.perf_counter() - began
    if metrics.canonical_changes_count != len(rows) // CHANGED_OF or not metrics.adds_up:
        raise RuntimeError(metrics)
    return took


def _revised(row: Row, number: int) -> Row:
    if number % CHANGED_OF or not isinstance(row, Sighting):
        return row
    base, _, _ = row.ib_exec_id.rpartition(".")
    raw = dict(row.raw) | {"ibExecID": f"{base}.02", "tradePrice": "12.3456", "transactionID": f"9{row.raw['transactionID']}"}
    made = outcome(raw, row.source)
    if not isinstance(made, Sighting):
        raise TypeError(made)
    return made


def _looped(db: Database, url: str, count: int) -> float:
    """The loop over ``count`` rows; seconds."""
    with db.transaction() as tx:
        for text in SETUP:
            tx.execute(statement(text))
    names = {table: [row["name"] for row in _asked(db, COLUMNS.format(table=table))] for table in ("trade_executions", "trades")}
    with contextlib.closing(driver_connection(database_config(url), Settings(application_name="loop"))) as connection:
        cursor = connection.cursor()
        columns = ", ".join(names["trade_executions"])
        cursor.execute(f"select {columns} from ibkr.trade_executions order by executed_at, id limit {count}")
        rows = [dict(zip(names["trade_executions"], row, strict=True)) for row in cursor.fetchall()]
        cursor.execute(f"select {', '.join(names['trades'])} from ibkr.trades")
        trades = {row[0]: dict(zip(names["trades"], row, strict=True)) for row in cursor.fetchall()}
        connection.commit()
        began = time.perf_counter()
        for row in rows:
            _one_by_one(cursor, row, trades[row["trade_id"]])
            connection.commit()
        return time.perf_counter() - began


def _one_by_one(cursor: Any, row: dict[str, Any], trade: dict[str, Any]) -> None:
    cursor.execute(
        "select id from bench.executions where account_id = %s and exec_id_base = %s", (row["account_id"], row["exec_id_base"])
    )
    cursor.fetchall()
    cursor.execute("select * from bench.trades where id = %s for update", (trade["id"],))
    if cursor.fetchall():
        cursor.execute("update bench.trades set last_executed_at = %s where id = %s", (row["executed_at"], trade["id"]))
    else:
        _insert(cursor, "bench.trades", trade)
    _insert(cursor, "bench.executions", row)


def _insert(cursor: Any, table: str, row: dict[str, Any]) -> None:
    values = [json.dumps(value) if isinstance(value, dict) else value for value in row.values()]
    cursor.execute(f"insert into {table} ({', '.join(row)}) values ({', '.join(['%s'] * len(row))})", values)


def _copied(server: PostgresServer, name: str) -> float:
    """The executions, as text, into an empty table with the same indexes, committed; seconds a row."""
    path = RESULTS / "ingest.copy"
    columns = "string_agg(attname, ', ' order by attnum)"
    listed = f"select {columns} from ({COLUMNS.format(table='trade_executions').replace('attname as name', 'attname, attnum')}) x"
    names = server.run("psql", "-qAt", "-d", name, "-c", listed).strip()
    server.run("psql", "-q", "-d", name, "-c", "truncate bench.executions")
    server.run("psql", "-q", "-d", name, "-c", f"\\copy (select {names} from ibkr.trade_executions) to '{path}'")
    with _removed(path):
        began = time.perf_counter()
        told = server.run("psql", "-d", name, "-c", f"\\copy bench.executions ({names}) from '{path}'")
        return (time.perf_counter() - began) / int(told.split()[-1])


@contextlib.contextmanager
def _removed(path: Any) -> Iterator[None]:
    try:
        yield
    finally:
        path.unlink()


def tell(stage: Stage, found: Found, size: int) -> None:
    """Rates, ratios and what the unchanged statement wrote."""
    stage.add(f"{size:,} executions taken in", [size / one for one in found.first], "/s")
    stage.add("the same again, unchanged", [size / one for one in found.again], "/s")
    stage.add(f"the same with each {CHANGED_OF:,}th corrected", found.changed, "s")
    stage.add("loop over rows", [1 / one for one in found.loop], "/s")
    stage.add("COPY into a table with the same indexes", [1 / one for one in found.copied], "/s")
    rates = [loop * size / first for loop, first in zip(found.loop, found.first, strict=True)]
    stage.at_least("taken in / loop over rows", rates, LOOP_RATIO)
    copies = [copied * size / first for copied, first in zip(found.copied, found.first, strict=True)]
    stage.at_least("taken in / COPY", copies, COPY_RATIO)
    unchanged = [loop * size / again for loop, again in zip(found.loop, found.again, strict=True)]
    stage.at_least("unchanged / loop over rows", unchanged, UNCHANGED_RATIO)
    stage.at_most("rows written by the unchanged statement outside run tables", found.rewritten, 0, "rows")
    stage.at_most("log written by the unchanged statement", found.wal, WAL_BYTES, "bytes")
    stage.note("one canonical row for each base afterwards; rows made beforehand are not counted")
    stage.note(
        "an equal document told by its hash: not measured, because there is none; a statement names the second in which it was"
        " made, so that two are never the same bytes, and a job that comes again is known by its request"
    )
