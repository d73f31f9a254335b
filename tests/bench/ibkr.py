"""Broker executions: first import, with and without booking, the same again, and one correction of a long order.

Rows are parsed before the clock runs; chunks of 5,000 go the way a statement's do, one transaction each, on a durable server.
Beside the import stands the same code fed one row at a time, for a sample, in the same run. Peak memory is of a process that
does nothing else; the generator of rows runs in it too, a chunk at a time.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from fillbook.ibkr.accounts import configure_accounts
from fillbook.ibkr.allowlist import AllowList
from fillbook.ibkr.model import Row, Sighting
from fillbook.ibkr.runs import import_statement_once
from fillbook.ibkr.sources import Chunk
from fillbook.ledger import audit
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.database.migrate import migrate
from infra.local.postgres import PostgresServer
from tests.bench.peers import PEAK
from tests.bench.report import RESULTS, Stage, publish
from tests.support.ibkr import CONFIGS, FIRST, exec_id, flex
from tests.support.ibkr_statement import long_statement
from tests.support.ibkr_world import Statement
from tests.support.servers import database_config

SIZES = (10_000, 100_000)
FIRST_SECONDS = {10_000: 6.0, 100_000: 60.0}
AGAIN_SECONDS = {10_000: 1.5, 100_000: 12.0}
BOOKED_RATE, MEMORY_MIB, ROW_BY_ROW, CORRECTION_MS = 1_000.0, 512.0, 10.0, 30.0
CHUNK = 5_000
SAMPLE = 300
CORRECTIONS = 20
LONG_ORDER = 59
NOW = datetime(2026, 1, 6, 21, 0, tzinfo=UTC)
TABLES = (
    "execution_payloads",
    "broker_events",
    "trades",
    "trade_keys",
    "trade_executions",
    "booked_fills",
    "anomalies",
)

CHILD = (
    PEAK
    + """
import json, sys
from tests.bench import ibkr
url, size, what = sys.argv[1:]
print(json.dumps(ibkr.measured(url, int(size), what, peak_mb)))
"""
)


class Told(Statement):
    """A generated statement; what making its rows took is not the import's."""

    def __init__(self, executions: int, size: int = CHUNK) -> None:
        super().__init__([])
        self.executions, self.size = executions, size
        self.made_seconds = 0.0

    def chunks(self, allow_list: AllowList) -> Iterator[Chunk]:
        parts = long_statement(self.executions, self.size)
        while True:
            began = time.perf_counter()
            rows = next(parts, None)
            self.made_seconds += time.perf_counter() - began
            if rows is None:
                return
            yield Chunk(rows=tuple(rows), fetched_count=len(rows))


def run(argv: list[str]) -> int:
    """``bench ibkr [--executions N,N]``."""
    given = argv[argv.index("--executions") + 1] if "--executions" in argv else ""
    sizes = tuple(int(one) for one in given.split(",")) if given else SIZES
    stage = Stage(name="ibkr")
    with server() as here:
        first, booked, again = {}, {}, {}
        for size in sizes:
            bare, told = _process(here, f"bare_{size}", size, "bare"), _process(here, f"booked_{size}", size, "booked")
            first[size], booked[size], again[size] = bare["seconds"], told["seconds"], bare["again_seconds"]
            _report(stage, size, bare, told)
        _row_by_row(stage, here, first[min(sizes)] / min(sizes))
        _corrections(stage, here)
        if len(sizes) > 1:
            low, high = min(sizes), max(sizes)
            for name, times in (("first import", first), ("with booking", booked), ("the same again", again)):
                exponent = math.log(times[high] / times[low]) / math.log(high / low)
                stage.add(f"growth of {name}, {low:,} to {high:,} (1 is linear)", [exponent], "exponent")
    stage.note(f"chunks of {CHUNK:,} rows, orders of 1 to {LONG_ORDER} fills; a durable server; making the rows is not counted")
    publish(stage)
    return 0


def _report(stage: Stage, size: int, bare: dict[str, float], told: dict[str, float]) -> None:
    goal, again = FIRST_SECONDS.get(size), AGAIN_SECONDS.get(size)
    if goal is None or again is None:
        stage.add(f"{size:,}: first import, not booked", [bare["seconds"]], "s")
        stage.add(f"{size:,}: the same again", [bare["again_seconds"]], "s")
    else:
        stage.at_most(f"{size:,}: first import, not booked", [bare["seconds"]], goal, "s")
        stage.at_most(f"{size:,}: the same again", [bare["again_seconds"]], again, "s")
    stage.at_most(f"{size:,}: rows written by the second run outside run tables", [bare["rewritten"]], 0, "rows")
    stage.at_least(f"{size:,}: imported and booked a second", [size / told["seconds"]], BOOKED_RATE)
    stage.at_most(f"{size:,}: rows written by the second run, booked", [told["rewritten"]], 0, "rows")
    stage.at_most(f"{size:,}: peak memory, not booked", [bare["mb"]], MEMORY_MIB, "MiB")
    stage.at_most(f"{size:,}: peak memory, booked", [told["mb"]], MEMORY_MIB, "MiB")
    if told["findings"]:
        stage.note(f"{size:,}: the ledger's audit found {told['findings']:g} things")


@contextmanager
def server() -> Iterator[PostgresServer]:
    data = RESULTS / "ibkr-pg"
    shutil.rmtree(data, ignore_errors=True)
    with PostgresServer(data, fsync=True) as server:
        yield server
    shutil.rmtree(data, ignore_errors=True)


def new_database(server: PostgresServer, name: str) -> str:
    server.run("psql", "-qc", f"create database {name}")
    url = server.url(database=name)
    migrate(url)
    return url


@contextmanager
def opened(url: str, *, is_booked: bool) -> Iterator[Database]:
    db = Database.open(database_config(url), application_name="bench", pool_size=2, statement_timeout_seconds=600)
    configure_accounts(db, CONFIGS, NOW)
    if is_booked:
        with db.transaction() as tx:
            tx.execute(statement("update ibkr.accounts set opened_at = :now"), now=NOW)
    yield db
    db.close()


def _process(server: PostgresServer, name: str, size: int, what: str) -> dict[str, float]:
    command = [sys.executable, "-c", CHILD, new_database(server, name), str(size), what]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measured(url: str, size: int, what: str, peak_mb: Callable[[], float]) -> dict[str, float]:
    """Import ``size`` executions and then the same again, in this process: seconds of both, their peak memory, rows rewritten;
    then the audit's findings.
    """
    with opened(url, is_booked=what == "booked") as db:
        first = imported(db, Told(size))
        before = row_versions(db)
        again = imported(db, Told(size))
        rewritten, peak = len(set(row_versions(db)) ^ set(before)), peak_mb()
        findings = audit.audit(db, FIRST.book_id, NOW).findings if what == "booked" else ()
    return {"seconds": first, "again_seconds": again, "rewritten": float(rewritten), "mb": peak, "findings": float(len(findings))}


def imported(db: Database, document: Told) -> float:
    began = time.perf_counter()
    metrics = import_statement_once(db, document, request_id=None, now=NOW)
    took = time.perf_counter() - began - document.made_seconds
    if metrics.fetched_executions_count != document.executions or not metrics.adds_up:
        raise AssertionError(metrics)
    return took


def row_versions(db: Database) -> list[str]:
    """Each table with the transactions that wrote it and how many rows each wrote."""
    parts = [f"select '{name} ' || xmin::text || ' ' || count(*) as v from ibkr.{name} group by xmin" for name in TABLES]
    with db.transaction(read_only=True) as tx:
        return [row["v"] for row in tx.query(statement(" union all ".join(parts)))]


def _row_by_row(stage: Stage, server: PostgresServer, set_based: float) -> None:
    with opened(new_database(server, "single"), is_booked=False) as db:
        single = imported(db, Told(SAMPLE, size=1)) / SAMPLE
    stage.add(f"a row at a time, {SAMPLE} rows", [single * 1e6], "µs a row")
    stage.add("set-based", [set_based * 1e6], "µs a row")
    stage.at_least("set-based / a row at a time", [single / set_based], ROW_BY_ROW)


def _corrections(stage: Stage, server: PostgresServer) -> None:
    """Revision after revision of one fill in an order of 59, among ten thousand other executions."""
    texts = {"ibOrderID": "77", "conid": "5"}
    order: list[Row] = [flex(exec_id(f"c{number:02}"), transactionID=str(number + 1), **texts) for number in range(LONG_ORDER)]
    for is_booked in (False, True):
        with opened(new_database(server, f"corrected_{int(is_booked)}"), is_booked=is_booked) as db:
            imported(db, Told(10_000))
            import_statement_once(db, Statement(order), request_id=None, now=NOW)
            took = [_corrected(db, texts, revision) for revision in range(2, CORRECTIONS + 2)]
        words = "booked" if is_booked else "not booked"
        stage.at_most(f"one correction in a trade of {LONG_ORDER} fills, {words}", took, CORRECTION_MS, "ms")


def _corrected(db: Database, texts: dict[str, str], revision: int) -> float:
    row: Sighting = flex(exec_id("c30", revision), "60", transactionID=str(1000 + revision), **texts)
    document = Statement([row])
    began = time.perf_counter()
    metrics = import_statement_once(db, document, request_id=None, now=NOW)
    took = (time.perf_counter() - began) * 1000
    if metrics.canonical_changes_count != 1:
        raise AssertionError(metrics)
    return took
