"""Booking: executions per second, one by one and in batches, on loopback and behind 2 ms.

One booking is call → answer of the committing message: lots, closings, chain and outbox row included. Beside it, in turn on
the same durable server: a bare one-row insert through the same client, the same booking statement by statement, and
pgbench's TPC-B. Afterwards the ledger's own audit must be clean, or the figures mean nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from urllib.parse import urlsplit

from fillbook.ledger import service
from fillbook.ledger.model import Book, Fill, Side
from fillbook.runtime.db import Call, Database, Tx
from fillbook.runtime.sql import encode, statement
from infra.database.migrate import migrate
from infra.local.postgres import PostgresServer, binaries
from tests.bench import limits
from tests.bench.classic import BOOK, Classic, Step, life
from tests.bench.report import RESULTS, Stage, alternate, publish
from tests.support.proxy import Proxy
from tests.support.servers import database_config

SECONDS = 1.0
ROUNDS = 5
COUNTED = 200
DELAY_SECONDS = 0.002
BATCHES = (100, 1000)
THREADS = (1, 4, 8)
STARTED_AT = datetime(2026, 2, 3, 14, 30, tzinfo=UTC)
# one position's life: opened, added to, trimmed within a lot and over two, closed
LIFE = ((Side.BUY, "100"), (Side.BUY, "50"), (Side.SELL, "30"), (Side.SELL, "90"), (Side.SELL, "30"))
NUMBERS = itertools.count(1)


def fill(instrument: str, number: int) -> Fill:
    """The ``number``-th fill of an instrument's endless life."""
    side, quantity = LIFE[number % len(LIFE)]
    return Fill(
        source="signal",
        source_id=f"{instrument}#{number}",
        instrument=instrument,
        ticker=instrument,
        contract_name=instrument,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(100) + Decimal(number % 17) / 4,
        fx_rate=Decimal(1),
        fees=Decimal(0),
        fees_currency="USD",
        fees_rate=Decimal(1),
        position_effect="open" if side is Side.BUY else "close",
        executed_at=STARTED_AT + timedelta(seconds=number),
        session_date=date(2026, 2, 3),
        received_at=STARTED_AT,
        reason="tp_hit",
        venue_order="01",
    )


def book(db: Database, fills: Sequence[Fill]) -> None:
    """Book fills as a signal does: one read under the locks, one write with the commit."""

    def work(tx: Tx) -> None:
        instruments = sorted({one.instrument for one in fills})
        state = service.lock(tx, "live", instruments, book_row=True, fill_keys=[one.fill_id for one in fills])
        service.book_fills(tx, "live", fills, STARTED_AT, state=state)

    service.run(db, work)


def per_second(work: Callable[[int], None], threads: int = 1, seconds: float = SECONDS, size: int = 1) -> float:
    """Run ``work(thread)`` in a loop on each thread for a while; return executions per second over all of them."""
    counts = [0] * threads
    until = time.perf_counter() + seconds

    def loop(thread: int) -> None:
        while time.perf_counter() < until:
            work(thread)
            counts[thread] += size

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(loop, range(threads)))
    return sum(counts) / (time.perf_counter() - started)


def lives(db: Database) -> Callable[[int], None]:
    """Work that books the next fill of its thread's own instrument."""
    made: dict[int, tuple[str, Iterator[int]]] = {}

    def work(thread: int) -> None:
        instrument, numbers = made.setdefault(thread, (f"B{next(NUMBERS)}", itertools.count()))
        book(db, [fill(instrument, next(numbers))])

    return work


def batches(db: Database, size: int) -> Callable[[int], None]:
    """Work that books one transaction of ``size`` executions over ``size / 5`` positions."""

    def work(_thread: int) -> None:
        names = [f"B{next(NUMBERS)}" for _ in range(size // len(LIFE))]
        book(db, [fill(name, number) for number in range(len(LIFE)) for name in names])

    return work


def inserts(db: Database) -> Callable[[int], None]:
    """Work that commits one row of one small table."""

    def work(_thread: int) -> None:
        db.call(Call("bench.insert", {"n": next(NUMBERS), "note": "x" * 100}))

    return work


def pgbench(url: str, clients: int) -> float:
    """Transactions per second of TPC-B on the same server."""
    parts = urlsplit(url)
    command = ("-h", "127.0.0.1", "-p", str(parts.port), "-U", "postgres", "-n", "-c", str(clients), "-T", "1", "bench")
    return float(re.findall(r"tps = ([\d.]+)", server_program("pgbench", *command))[-1])


def server_program(name: str, *arguments: str) -> str:
    """Run one of the server's own programs and return what it says."""
    return subprocess.run([str(binaries() / name), *arguments], capture_output=True, text=True, check=True).stdout


@contextmanager
def durable_server() -> Iterator[PostgresServer]:
    """A server of its own with durable settings, migrated, with the live book and the baseline's table."""
    folder = RESULTS / "postgres"
    with PostgresServer(folder) as server:
        server.run("psql", "-q", "-c", "drop database if exists bench with (force)", "-c", "create database bench")
        url = server.url(database="bench")
        migrate(url)
        server.run("pgbench", "-i", "-q", "-s", "10", "bench")
        with open_database(url, 1) as db, db.transaction() as tx:
            for text in (
                "create schema bench",
                "create table bench.rows (n bigint primary key, note text)",
                (
                    "create function bench.insert(d jsonb) returns jsonb language sql volatile as"
                    " $$ insert into bench.rows values ((d->>'n')::bigint, d->>'note') returning '1'::jsonb $$"
                ),
            ):
                tx.execute(statement(text))
            durable = {row["name"]: row["setting"] for row in tx.query(statement(DURABLE))}
            if set(durable.values()) != {"on"}:
                raise RuntimeError(f"the server is not durable: {durable}")
            for name in ("live", BOOK):
                service.open_book(tx, Book(book_id=name, start_cash=Decimal(100000)), STARTED_AT)
        yield server


DURABLE = "select name, setting from pg_settings where name in ('fsync', 'synchronous_commit', 'full_page_writes')"


@contextmanager
def open_database(url: str, size: int) -> Iterator[Database]:
    """A pool that is closed afterwards."""
    db = Database.open(database_config(url), application_name="bench", pool_size=size)
    try:
        yield db
    finally:
        db.close()


def run(argv: list[str]) -> int:
    """``bench booking``."""
    rounds = int(argv[argv.index("--runs") + 1]) if "--runs" in argv else ROUNDS
    stage = Stage(name="booking")
    with durable_server() as server:
        url = server.url(database="bench")
        one_by_one(stage, url, rounds)
        with open_database(url, 1) as db:
            steps = life(db, lambda number: book(db, [fill("TEMPLATE", number)]), "TEMPLATE", len(LIFE))
        layer_by_layer(stage, url, rounds)
        beside_classic(stage, url, steps, rounds, "loopback", 3)
        in_batches(stage, url, rounds)
        with Proxy("127.0.0.1", urlsplit(url).port or 0) as proxy:
            count_round_trips(stage, proxy, proxy.url(url))
            proxy.delay_seconds = DELAY_SECONDS
            beside_classic(stage, proxy.url(url), steps, rounds, "behind 2 ms", 8)
        check(url)
    stage.note("one execution: position, lot or closings, action, chain hashes and outbox row, committed durably")
    stage.note(
        "all clients book into one book: its hash chain takes one booking after the other, so more clients wait for each other"
    )
    stage.note("afterwards quantities, lots, P&L, chain and outbox of the book agreed (audit exit 0)")
    publish(stage)
    return 0


def one_by_one(stage: Stage, url: str, rounds: int) -> None:
    """Single executions with 1, 4 and 8 clients, each beside the bare insert and TPC-B."""
    for threads in THREADS:
        with open_database(url, threads) as db:
            ours, bare, tpcb = alternate(
                rounds,
                lambda n=threads, d=db: per_second(lives(d), n),
                lambda n=threads, d=db: per_second(inserts(d), n),
                lambda n=threads: pgbench(url, n),
            )
        who = "1 client" if threads == 1 else f"{threads} clients"
        stage.add(f"{who}: executions", ours, "/s")
        stage.add(f"{who}: bare inserts", bare, "/s")
        stage.add(f"{who}: TPC-B", tpcb, "/s")
        ratios = [a / b for a, b in zip(ours, bare, strict=True)], [a / b for a, b in zip(ours, tpcb, strict=True)]
        if threads == 1:
            stage.at_least(f"{who}: executions / bare inserts", ratios[0], 0.35)
            stage.at_least(f"{who}: executions / TPC-B", ratios[1], 0.8)
        else:
            stage.add(f"{who}: executions / bare inserts", ratios[0], "×")
            stage.add(f"{who}: executions / TPC-B", ratios[1], "×")


def layer_by_layer(stage: Stage, url: str, rounds: int) -> None:
    """What each layer of a booking adds to a bare insert: the gap to the goal, line by line."""
    with open_database(url, 1) as db:
        limits.prepare(db, lambda number: book(db, [fill(limits.INSTRUMENT, number)]), len(LIFE), STARTED_AT)
        insert, execution = inserts(db), lives(db)
        layers: dict[str, limits.Work] = {
            "a bare insert": lambda: insert(0),
            "two messages, one row": limits.two_messages(db),
            "the rows alone": limits.rows_alone(db, len(LIFE)),
            "documents ready": limits.documents_ready(db, fill, STARTED_AT, COUNTED * (rounds + 1)),
            "an execution": lambda: execution(0),
        }
        costs: dict[str, list[limits.Cost]] = {name: [] for name in layers}
        for turn in range(rounds + 1):
            for name, work in layers.items():
                cost = limits.measure(db, work, COUNTED)
                if turn:  # the first is the warm-up
                    costs[name].append(cost)
    for name, found in costs.items():
        stage.add(f"limit: {name}", [cost.clock for cost in found], "ms")
        stage.add(f"limit: {name}, processor time, client's side", [cost.client for cost in found], "ms")
        stage.add(f"limit: {name}, processor time, server's side", [cost.server for cost in found], "ms")
    stage.note(
        "limit: two messages is the second round trip; the rows alone are the same rows with their indexes, checks and foreign"
        " keys, written one by one from typed values that lie ready in the server; documents ready is locks, reading, parsing and"
        " writing of what was computed beforehand; an execution adds the rules in Python"
    )


def beside_classic(stage: Stage, url: str, steps: list[Step], rounds: int, where: str, goal: float) -> None:
    """Single executions beside the same booking statement by statement, both at ``url``."""
    with open_database(url, 1) as db, contextlib.closing(Classic(url, steps)) as classic:
        ours, slow = alternate(rounds, lambda: per_second(lives(db)), lambda: per_second(classic.book))
    stage.add(f"{where}: executions", ours, "/s")
    stage.add(f"{where}: statement by statement", slow, "/s")
    stage.at_least(f"{where}: executions / statement by statement", [a / b for a, b in zip(ours, slow, strict=True)], goal)
    if not any("driver statements" in note for note in stage.notes):
        count = classic.statements / classic.bookings
        stage.note(f"statement by statement: {count:.1f} driver statements an execution, parametrised, BEGIN and COMMIT included")


def in_batches(stage: Stage, url: str, rounds: int) -> None:
    """One transaction of many executions, against TPC-B run as often."""
    for size, goal in zip(BATCHES, (1.5, 2.5), strict=True):
        with open_database(url, 1) as db:
            ours, tpcb = alternate(rounds, lambda n=size, d=db: per_second(batches(d, n), size=n), lambda: pgbench(url, 1))
        stage.add(f"batch of {size}: executions", ours, "/s")
        stage.at_least(f"batch of {size} / TPC-B × {size}", [a / b for a, b in zip(ours, tpcb, strict=True)], goal)


def count_round_trips(stage: Stage, proxy: Proxy, url: str) -> None:
    """Round trips of a booking, counted on the way."""
    with open_database(url, 1) as db:
        work = lives(db)
        for _ in range(10):
            work(0)
        proxy.reset()
        for _ in range(20):
            work(0)
        stage.at_most("round trips per booking", [proxy.trips / 20], 2, "trips")
        begun = time.process_time()
        for _ in range(COUNTED):
            work(0)
        stage.add("processor time of one execution, client's side", [(time.process_time() - begun) / COUNTED * 1000], "ms")


def check(url: str) -> None:
    """The book that was booked into must pass the ledger's own audit."""
    environment = dict(os.environ) | {"FILLBOOK_ENV": "local", "FILLBOOK_DATABASE_URL": url}
    command = [sys.executable, "-m", "fillbook.ledger", "audit", "--book", "live", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the audit after the run failed with {done.returncode}: {encode(done.stdout[:500])}")
