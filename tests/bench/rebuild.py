"""Rebuild: the journal read, booked again, hashed and compared or written, against programs that book the same history.

Ours does more than a peer: every version, number and hash of the chain comes out again, and ``--write`` commits all of it
durably. Before anything is timed, the book is booked incrementally; afterwards both hashes and the totals must be equal.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from fillbook.ledger import service
from fillbook.ledger.model import Book, Fill, Side
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.database.migrate import migrate
from infra.local.postgres import PostgresServer
from tests.bench.peers import PEAK, peers
from tests.bench.report import RESULTS, Stage, publish
from tests.support.servers import database_config

FILLS = 100_000
ROUNDS = 3
BATCH = 1_000
INSTRUMENTS = 100
BOOK = "ibkr:BENCH"
STARTED_AT = datetime(2026, 2, 3, 14, 30, tzinfo=UTC)
GOALS = {"beancount": 0.1, "rp2": 0.125}

OURS = (
    PEAK
    + """
import json, sys, time
from datetime import UTC, datetime
from pydantic import SecretStr
from fillbook.ledger import audit, bookstore, rebuild
from fillbook.ledger.chain import row_hash
from fillbook.runtime.config import DatabaseConfig
from fillbook.runtime.db import Database
what, book, url = sys.argv[1:]
config = DatabaseConfig(fillbook_env="local", fillbook_database_url=SecretStr(url))
db = Database.open(config, application_name="bench", pool_size=1, statement_timeout_seconds=600)
started, spent = time.perf_counter(), time.process_time()
if what == "parts":
    found, clock = {}, time.process_time
    with db.transaction(read_only=True, isolation="repeatable read") as tx, rebuild.uncollected():
        begun, head, kept = clock(), bookstore.book_head(tx, book), []
        journal = list(bookstore.journal(tx, book))
        found["read"], begun = clock() - begun, clock()
        rebuild.replay(head, journal, lambda sealed: kept.extend(sealed.values))
        found["fold"], begun, last = clock() - begun, clock(), b""
        for values, closings in kept:
            last = row_hash(last, [*values, closings])
        found["chain"] = clock() - begun
elif what == "audit":
    result = audit.audit(db, book, datetime(2026, 2, 4, tzinfo=UTC))
    found = {"findings": [str(finding) for finding in result.findings]}
else:
    result = rebuild.check(db, book) if what == "check" else rebuild.write(db, book)
    found = {"equal": result.is_equal, "rows": result.rows, "state": result.state_hash, "chain": result.chain_head}
found |= {"seconds": time.perf_counter() - started, "cpu": time.process_time() - spent}
found["mb"] = peak_mb()
print(json.dumps(found))
"""
)


def history(count: int) -> list[Fill]:
    """Longs of a hundred instruments, opened, added to and trimmed over several lots, with fees; the same for every run."""
    rng = random.Random(1)
    held: dict[str, int] = {}
    found = []
    for number in range(count):
        name = f"T{rng.randrange(INSTRUMENTS):02}X"
        sells = held.get(name, 0) > 0 and rng.random() < 0.5
        size = min(held[name], rng.randint(1, 20)) if sells else rng.randint(1, 20)
        held[name] = held.get(name, 0) + (-size if sells else size)
        found.append(
            Fill(
                source="ibkr",
                account_key="BENCH",
                source_id=f"{number:08}",
                instrument=name,
                ticker=name,
                contract_name=name,
                side=Side.SELL if sells else Side.BUY,
                quantity=Decimal(size),
                price=Decimal(rng.randint(1_000, 30_000)) / 100,
                fees=Decimal("0.35"),
                executed_at=STARTED_AT + timedelta(seconds=number),
                session_date=date(2026, 2, 3),
                received_at=STARTED_AT,
                venue_order=f"{number:08}",
                reason="broker_execution",
            )
        )
    return found


@contextmanager
def booked(fills: Sequence[Fill]) -> Iterator[tuple[str, Database]]:
    """A durable server on which the history was booked incrementally."""
    with PostgresServer(RESULTS / "rebuild-pg") as server:
        server.run("psql", "-q", "-c", "drop database if exists bench with (force)", "-c", "create database bench")
        url = server.url(database="bench")
        migrate(url)
        db = Database.open(database_config(url), application_name="bench", pool_size=1, statement_timeout_seconds=600)
        try:
            service.run(db, lambda tx: service.open_book(tx, Book(book_id=BOOK), STARTED_AT))
            for start in range(0, len(fills), BATCH):
                batch = fills[start : start + BATCH]
                service.run(db, lambda tx, batch=batch: service.book_fills(tx, BOOK, batch, STARTED_AT))
            with db.transaction() as tx:
                for table in ("fills", "execution_actions", "closings", "positions", "lots"):
                    tx.execute(statement(f"analyze ledger.{table}"))
            yield url, db
        finally:
            db.close()


def ours(what: str, url: str) -> dict[str, Any]:
    """One ``write``, ``check``, ``audit`` or ``parts`` in a process of its own: wall and processor seconds, peak MB, result."""
    role = "?role=ledger_maintenance" if what == "write" else ""
    command = [sys.executable, "-c", OURS, what, BOOK, url + role]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    if done.returncode:
        raise RuntimeError(f"{what}: {done.stderr[-800:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(argv: list[str]) -> int:
    """``bench rebuild [--fills N] [--runs N]``."""
    count = int(argv[argv.index("--fills") + 1]) if "--fills" in argv else FILLS
    rounds = int(argv[argv.index("--runs") + 1]) if "--runs" in argv else ROUNDS
    stage, fills = Stage(name="rebuild"), history(count)
    others = peers(fills)
    started = time.perf_counter()
    with booked(fills) as (url, db):
        stage.add(f"booked incrementally in batches of {BATCH}", [count / (time.perf_counter() - started)], "fills/s")
        expected, totals = ours("check", url), realized(db)
        if not expected["equal"]:
            raise RuntimeError("the incremental book is not its own rebuild")
        written: list[dict[str, Any]] = []
        found: dict[str, list[dict[str, Any]]] = {name: [] for name, peer in others.items() if peer is not None}
        for _ in range(rounds):
            written.append(ours("write", url))
            for name in found:
                peer = others[name]
                assert peer is not None
                found[name].append(peer.run())
        must_agree(expected, written, found, totals)
        tell(stage, count, written, found)
        limits(stage, [ours("parts", url) for _ in range(rounds)], found)
        proofs(stage, url, expected)
    for name, peer in others.items():
        if peer is None:
            stage.note(f"{name}: absent")
    stage.note(
        f"{count:,} fills of {INSTRUMENTS} instruments, FIFO, fees; ours from the first read to the durable commit of every row"
    )
    stage.note("peers: beancount loads and books a text, RP2 computes the tax of its transactions; neither stores anything")
    stage.note(f"equal to the last digit: realized {totals}; rebuilt state and chain = incremental")
    publish(stage)
    return 0


def realized(db: Database) -> Decimal:
    """The book's realized P&L."""
    with db.transaction(read_only=True) as tx:
        rows = tx.query(statement("select sum(realized_pnl) as total from ledger.positions where book_id = :book"), book=BOOK)
    total: Decimal = rows[0]["total"]
    return total


def must_agree(
    expected: dict[str, Any], written: Sequence[dict[str, Any]], found: dict[str, list[dict[str, Any]]], totals: Decimal
) -> None:
    """Both hashes are the incremental ones; a peer's total is ours but for the last digit of each instrument's cut lot."""
    for one in written:
        if (one["equal"], one["state"], one["chain"]) != (True, expected["state"], expected["chain"]):
            raise RuntimeError("a rebuild gave another hash")
    for name, results in found.items():
        for one in results:
            if one["errors"] or abs(Decimal(one["realized"]) - totals) > INSTRUMENTS * Decimal("1e-8"):
                raise RuntimeError(f"{name} came to {one['realized']}, we to {totals}")


def tell(stage: Stage, count: int, written: Sequence[dict[str, Any]], found: dict[str, list[dict[str, Any]]]) -> None:
    """Times, ratios and memory of the rounds."""
    seconds = [one["seconds"] for one in written]
    stage.add(f"rebuild --write of {count:,} fills", seconds, "s")
    stage.add("rebuild --write, our process alone", [one["cpu"] for one in written], "s of processor")
    stage.add("rebuild --write, peak memory", [one["mb"] for one in written], "MB")
    for name, results in found.items():
        stage.add(f"{name}, the same history", [one["seconds"] for one in results], "s")
        stage.add(f"{name}, its process alone", [one["cpu"] for one in results], "s of processor")
        stage.add(f"{name}, peak memory", [one["mb"] for one in results], "MB")
        ratios = [mine / other["seconds"] for mine, other in zip(seconds, results, strict=True)]
        stage.at_most(f"rebuild --write / {name}", ratios, GOALS[name])
        shares = [mine["cpu"] / other["cpu"] for mine, other in zip(written, results, strict=True)]
        stage.add(f"rebuild --write / {name}, processor time of the two processes", shares, "×")


def limits(stage: Stage, parts: Sequence[dict[str, Any]], found: dict[str, list[dict[str, Any]]]) -> None:
    """What one process cannot go below: the fold with its chain, were reading, comparing and storing free."""
    stage.add("limit: reading the journal", [one["read"] for one in parts], "s of processor")
    stage.add("limit: folding and sealing it in memory", [one["fold"] for one in parts], "s of processor")
    stage.add("limit: the hash chain over the history's rows", [one["chain"] for one in parts], "s of processor")
    for name, results in found.items():
        shares = [mine["fold"] / other["cpu"] for mine, other in zip(parts, results, strict=True)]
        stage.add(f"limit: folding and sealing / {name}, processor time", shares, "×")
    stage.note(
        "what remains: the pure core that books also folds here, fill by fill, and each row's canonical text is written for the "
        "chain; a hash needs the one before it, so the rows of one book are not sealed side by side. To store a row costs the "
        "server its constraints and indexes, and row security rules out COPY into these tables"
    )


def proofs(stage: Stage, url: str, checked: dict[str, Any]) -> None:
    """What it costs to prove the book without writing."""
    stage.add("rebuild --check", [checked["seconds"]], "s")
    stage.add("rebuild --check, our process alone", [checked["cpu"]], "s of processor")
    stage.add("rebuild --check, peak memory", [checked["mb"]], "MB")
    audited = ours("audit", url)
    if audited["findings"]:
        raise RuntimeError(f"the audit found {audited['findings'][:3]}")
    stage.add("audit of 100,000 actions", [audited["seconds"] * 100_000 / (checked["rows"] / 2)], "s")
    stage.add("audit of 100,000 actions, our process alone", [audited["cpu"] * 100_000 / (checked["rows"] / 2)], "s of processor")
    stage.add("audit, peak memory", [audited["mb"]], "MB")
