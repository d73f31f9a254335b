"""Receipts from the webhook's body to the committed decision: processor time at the door, latency and rate at the worker.

The worker decides an invented session on a durable server, lanes, plans, marks and bookings included; once with one hand,
once with the eight threads of the function, once behind 2 ms per round trip. Round trips are counted, not believed.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from fillbook.runtime.db import Database
from fillbook.signal.decision_input import decision_input, receipt_from_decision_input
from fillbook.signal.profile import load
from fillbook.signal.receipt import ParsedReceipt, from_canonical, instant, parse, published
from fillbook.signal.service import Strategy, process
from infra.database.migrate import migrate
from infra.local.demo_day import invented_day
from infra.local.postgres import PostgresServer
from tests.bench.report import RESULTS, Stage, percentile, publish
from tests.support.proxy import Proxy
from tests.support.receipts import R_TS, body, encoded, text_of
from tests.support.servers import database_config

ROUNDS = 5
REPEATS = 1_000
MINUTES = 80
TICKERS = 30
DELAY_SECONDS = 0.002
OPENS = datetime(2026, 2, 3, 14, 30, tzinfo=UTC)
BURST, BURST_SECONDS = 160, 5.0
LATENCY_MS, RATE = 60.0, 300.0
STRATEGY = Strategy(profile=load("tt-2026-02"))


def run(argv: list[str]) -> int:
    """``bench receipts [--runs N]``."""
    rounds = int(argv[argv.index("--runs") + 1]) if "--runs" in argv else ROUNDS
    stage = Stage(name="receipts")
    _door(stage, rounds)
    session = [[published(encoded(document)) for document in minute] for minute in invented_day(OPENS, MINUTES, tickers=TICKERS)]
    with _server() as (url, port):
        _worker(stage, session, url)
        _burst(stage, url)
        _far(stage, session[0], url, port)
    stage.note(f"worker: {MINUTES} minutes of {TICKERS} invented tickers on a durable server; the clock, not processor time")
    publish(stage)
    return 0


def _door(stage: Stage, rounds: int) -> None:
    sent, now = text_of("R").encode(), instant(R_TS + 60_000)
    canonical = parse(sent, now=now).canonical
    receipt = from_canonical(canonical)
    row = decision_input(receipt)
    keys = {"receipt_id": receipt.receipt_id, "payload_hash": receipt.payload_hash, "ticker": receipt.ticker, "ts": receipt.ts}
    stage.at_most("parse and validate R", [_micro(lambda: parse(sent, now=now)) for _ in range(rounds)], 1_000, "µs a body")
    stage.add("decode a published body", [_micro(lambda: from_canonical(canonical)) for _ in range(rounds)], "µs")
    stage.add("write a decision row", [_micro(lambda: decision_input(receipt)) for _ in range(rounds)], "µs")
    stage.add("read a decision row", [_micro(lambda: receipt_from_decision_input(row, **keys)) for _ in range(rounds)], "µs")
    stage.note(f"R: body {len(sent):,} bytes, canonical {len(canonical):,}, decision row {len(row):,}")


def _micro(work: Callable[[], object]) -> float:
    """Processor microseconds of one call."""
    began = time.process_time()
    for _ in range(REPEATS):
        work()
    return (time.process_time() - began) / REPEATS * 1e6


@contextmanager
def _server() -> Iterator[tuple[str, int]]:
    """A durable server with a migrated database: its URL for the worker's role, and its port."""
    data = RESULTS / "receipts-pg"
    shutil.rmtree(data, ignore_errors=True)
    with PostgresServer(data, fsync=True) as server:
        server.run("psql", "-qc", "create database bench")
        migrate(server.url(database="bench"))
        url = f"{server.url(database='bench')}?role=signal_worker"
        yield url, urlsplit(url).port or 0
    shutil.rmtree(data, ignore_errors=True)


@contextmanager
def _database(url: str) -> Iterator[Database]:
    db = Database.open(database_config(url), application_name="bench", pool_size=8)
    yield db
    db.close()


@dataclass(frozen=True, slots=True)
class Timed:
    """One processed receipt: how long it took and whether it booked."""

    seconds: float
    has_booked: bool


def _take(db: Database, arrived: ParsedReceipt) -> Timed:
    """As the worker does it: read the message, process it."""
    receipt = arrived.receipt
    at = instant(receipt.time_close or receipt.ts) + timedelta(seconds=1)
    began = time.perf_counter()
    again = published(arrived.canonical)
    done = process(db, again, received_at=at, strategy=STRATEGY, now=at)
    return Timed(time.perf_counter() - began, bool(done.action_ids))


def _worker(stage: Stage, session: Sequence[Sequence[ParsedReceipt]], url: str) -> None:
    half = len(session) // 2
    with _database(url) as db:
        began = time.perf_counter()
        alone = [_take(db, arrived) for minute in session[:half] for arrived in minute]
        rate = len(alone) / (time.perf_counter() - began)
        stage.add("worker, one hand", [rate], "receipts/s")
        _latencies(stage, "one hand", alone)
        by_ticker = list(zip(*session[half:], strict=True))
        began = time.perf_counter()
        with ThreadPoolExecutor(8) as hands:
            together = [
                one for chunk in hands.map(lambda line: [_take(db, arrived) for arrived in line], by_ticker) for one in chunk
            ]
        rate = len(together) / (time.perf_counter() - began)
        stage.add("worker, eight threads", [rate], "receipts/s")
        stage.at_least(f"the same / the {RATE:,.0f}/s it should reach", [rate / RATE], 1.0)
        _latencies(stage, "eight threads", together)


def _latencies(stage: Stage, name: str, done: Sequence[Timed]) -> None:
    times = [one.seconds * 1000 for one in done]
    stage.add(f"{name}: p50 of a receipt", [percentile(times, 0.5)], "ms")
    stage.at_most(f"{name}: p95 of a receipt", [percentile(times, 0.95)], LATENCY_MS, "ms")
    booked = [one.seconds * 1000 for one in done if one.has_booked]
    if booked:
        stage.add(f"{name}: receipts that booked ({len(booked)})", booked, "ms")


def _burst(stage: Stage, url: str) -> None:
    """A hundred and sixty tickers within the same minute."""
    day = 24 * 60
    documents = [body(minutes=day, ticker=f"ZB{number}", sector=None) for number in range(BURST)]
    arrived = [published(encoded(document)) for document in documents]
    with _database(url) as db, ThreadPoolExecutor(8) as hands:
        began = time.perf_counter()
        list(hands.map(lambda one: _take(db, one), arrived))
        stage.at_most(f"{BURST} new tickers at once, all decided", [time.perf_counter() - began], BURST_SECONDS, "s")


def _far(stage: Stage, minute: Sequence[ParsedReceipt], url: str, port: int) -> None:
    """Behind 2 ms: round trips of a receipt without and with a booking, and what they cost."""
    with Proxy("127.0.0.1", port, delay_seconds=DELAY_SECONDS) as between, _database(between.url(url)) as db:
        _take(db, published(encoded(body("Q", minutes=2 * 24 * 60 - 1))))
        for name, document, goal in (
            ("without a booking", body("Q", minutes=2 * 24 * 60), 2),
            ("with a booking", body("R", minutes=2 * 24 * 60, trigger_ts=R_TS + 2 * 86_400_000, ticker="ZZTF", sector=None), 3),
        ):
            between.reset()
            done = _take(db, published(encoded(document)))
            stage.at_most(f"round trips {name}", [float(between.trips)], goal, "trips")
            stage.add(f"behind 2 ms {name}", [done.seconds * 1000], "ms")
            if done.has_booked != (goal == 3):
                stage.note(f"{name}: the receipt did not do what its line says")


if __name__ == "__main__":
    run([])
