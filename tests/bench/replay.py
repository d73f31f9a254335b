"""Replay: a stored day of 158 tickers decided again, bookings, lane history and checkpoints committed, against backtesters.

Ours runs in a process of its own on a durable server and is a task of the job that claims the run and walks it: pages of 2,000
rows, each one transaction. Peers read the same prices and place about as many orders; they keep everything in memory and store
nothing. Ratios are of processor time, because other work on the machine is none of their business; the share of the database
is told beside them. Two runs must have one hash, and so must one that was killed half way and went on.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

from fillbook.replay import calls, jobs
from fillbook.replay import store as store_of_runs
from fillbook.replay.asked import asked
from fillbook.replay.buckets import replay_day
from fillbook.replay.model import SessionKind
from fillbook.replay.runs import Desk
from fillbook.replay.service import Limits
from fillbook.replay.settings import ReplayWorkerConfig
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Call, Database
from fillbook.runtime.sql import statement
from fillbook.signal import store
from fillbook.signal.decision_input import decision_input, receipt_from_decision_input
from fillbook.signal.receipt import instant, published
from infra.database.migrate import migrate
from infra.local.demo_day import invented_day
from infra.local.postgres import PostgresServer
from tests.bench.decide import receipt_of_day, session_rate
from tests.bench.peers import PEAK
from tests.bench.processor import spent_seconds
from tests.bench.replay_peers import replay_peers
from tests.bench.report import RESULTS, Stage, publish
from tests.support.receipts import encoded
from tests.support.servers import database_config

TICKERS, MINUTES, ROUNDS = 158, 390, 3
BATCH = 500
DAYS = {"whole": date(2026, 2, 3), "half": date(2026, 2, 4), "double": date(2026, 2, 5)}
SHARES = {"whole": Decimal(1), "half": Decimal("0.5"), "double": Decimal(2)}
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ROLE = "replay_writer"
MUST_SECONDS = {"bucket": 1.5, "calls": 120.0, "day": 40.0, "ticker": 4.0}
WORKER: dict[str, Any] = {
    "fillbook_env": "local",
    "fillbook_database_url": "postgresql://nowhere/nothing",
    "fillbook_project": "p",
}
RATE, MEMORY_MB = 25_000, 256
GOALS = {"nautilus_trader": 1.0, "backtesting": 1.5}

OURS = (
    PEAK
    + """
import json, sys
from tests.bench import replay
url, what, options = sys.argv[1:]
print(json.dumps({**replay.measured(url, what, **json.loads(options)), "mb": peak_mb()}))
"""
)


def measured(url: str, what: str, **options: Any) -> dict[str, Any]:
    """One piece of work in this process: wall and processor seconds, rows, the run's hash; ``parts`` are seconds a call."""
    db = Database.open(database_config(f"{url}?role={ROLE}"), application_name="bench", pool_size=1, statement_timeout_seconds=60)
    desk = Desk(db=db, code_version="bench")
    works: dict[str, Callable[..., tuple[list[float], int, str]]] = {
        "job": _job,
        "calls": _calls,
        "ticker": _ticker,
        "task": _task,
    }
    work = works[what]
    began, spent = time.perf_counter(), time.process_time()
    parts, rows, found = work(desk, **options)
    result = {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - spent,
        "rows": rows,
        "hash": found,
        "parts": parts,
    }
    db.close()
    return result


class _Mortal(FixedClock):
    """A clock that is asked once for each page; the process does not live to see the answer to one question too many."""

    def __init__(self, now: datetime, questions: int) -> None:
        super().__init__(now)
        self._left = questions

    def now(self) -> datetime:
        self._left -= 1
        if self._left < 0:
            os._exit(9)
        return super().now()


def _job(desk: Desk, *, day: str, run: str, die_after: int | None = None) -> tuple[list[float], int, str]:
    """The day as a job of one task; ``die_after`` pages the process is gone, and its lease is over soon."""
    clock: FixedClock = FixedClock(NOW) if die_after is None else _Mortal(NOW, 1 + die_after)
    if not desk.db.run(lambda tx: store_of_runs.find(tx, None, run), read_only=True):
        jobs.start(desk, {"date": day, "name": run}, ReplayWorkerConfig(**WORKER), created_by="bench", now=NOW)
    began = time.perf_counter()
    jobs.work_off(jobs.Task(desk=desk, clock=clock, limits=Limits(), lease_seconds=90 if die_after is None else 1))
    seconds = time.perf_counter() - began
    shown = jobs.shown(desk, run)
    if shown["status"] != "done":
        raise RuntimeError(f"{run} ended {shown['status']}")
    return [seconds], shown["rows"], shown["resultHash"]


def _calls(desk: Desk, *, day: str, run: str) -> tuple[list[float], int, str]:
    """The day bucket by bucket, as a client asks for it."""

    def following(answer: Any) -> dict[str, Any]:
        return {"bucket": answer.next_bucket, "after": ""}

    first = replay_day(date.fromisoformat(day), SessionKind.REGULAR, NOW).first
    return _until_done(desk, {"date": day, "run": run, "limit": 2_000, "bucket": first}, following)


def _ticker(desk: Desk, *, day: str, run: str, ticker: str) -> tuple[list[float], int, str]:
    """One ticker by offset, 50 rows a call."""
    rows = 0

    def following(answer: Any) -> dict[str, Any]:
        nonlocal rows
        rows += answer.rows
        return {"offset": rows}

    return _until_done(desk, {"date": day, "run": run, "ticker": ticker, "limit": 50}, following)


def _task(desk: Desk) -> tuple[list[float], int, str]:
    """Whatever runs wait, as a task of the job works them off."""
    return [], jobs.work_off(jobs.Task(desk=desk, clock=FixedClock(NOW), limits=Limits())), ""


def _until_done(desk: Desk, given: dict[str, Any], following: Callable[[Any], dict[str, Any]]) -> tuple[list[float], int, str]:
    parts: list[float] = []
    rows, answer = 0, None
    while answer is None or answer.has_more:
        more = {} if answer is None else following(answer)
        paged = {} if "offset" in more or "ticker" in given else {"after": (answer.after or "") if answer else ""}
        began = time.perf_counter()
        answer = calls.process(
            desk, asked({}, {**given, **paged, **more}, NOW), created_by="bench", now=NOW, limits=Limits(), deadline=None
        )
        parts.append(time.perf_counter() - began)
        rows += answer.rows
    return parts, rows, answer.result_hash


def run(argv: list[str]) -> int:
    """``bench replay [--runs N] [--tickers N]``."""
    rounds = _option(argv, "--runs", ROUNDS)
    tickers = _option(argv, "--tickers", TICKERS)
    stage = Stage(name="replay")
    with _server(tickers) as (server, url, bars):
        others = replay_peers(bars)
        ours, found = [], {name: [] for name, peer in others.items() if peer is not None}
        for number in range(rounds):
            ours.append(counted(server, url, "job", day=DAYS["whole"].isoformat(), run=f"whole-{number}"))
            for name in found:
                found[name].append(others[name].run())
        _one_hash(ours)
        _tell(stage, ours, found, tickers)
        _limits(stage, ours[0]["rows"])
        _resumed(stage, url, ours[0])
        _requests(stage, server, url, ours[0]["hash"])
        _sweep(stage, url)
        _incremental(stage, url, ours)
        _growth(stage, server, url, ours)
        _from_bodies(stage, server, url, ours[0]["rows"], found)
    for name, peer in others.items():
        if peer is None:
            stage.note(f"{name}: absent")
    stage.note(f"{tickers} invented tickers × {MINUTES} minutes; a durable server; pages of 2,000 rows, a checkpoint per bucket")
    stage.note("peers: the run alone, bars in memory, nothing stored, no rule but an order each 77 bars of a ticker")
    publish(stage)
    return 0


def _option(argv: Sequence[str], name: str, otherwise: int) -> int:
    return int(argv[argv.index(name) + 1]) if name in argv else otherwise


@contextmanager
def _server(tickers: int) -> Iterator[tuple[PostgresServer, str, list[tuple[str, int, str]]]]:
    """A durable server that holds three days of receipts, and the bars of the whole one."""
    with PostgresServer(RESULTS / "replay-pg") as server:
        server.run("psql", "-q", "-c", "drop database if exists bench with (force)", "-c", "create database bench")
        url = server.url(database="bench")
        migrate(url)
        db = Database.open(database_config(url), application_name="bench", pool_size=1, statement_timeout_seconds=600)
        bars: list[tuple[str, int, str]] = []
        for name, day in DAYS.items():
            kept = keep(db, day, int(tickers * SHARES[name]))
            bars = kept if name == "whole" else bars
        with db.transaction() as tx:
            tx.execute(statement("analyze signal.receipts"))
        db.close()
        yield server, url, sorted(bars)


def keep(db: Database, day: date, tickers: int) -> list[tuple[str, int, str]]:
    """Store a day as if live had met it; its bars."""
    opens = datetime(day.year, day.month, day.day, 14, 30, tzinfo=UTC)
    rows: list[dict[str, Any]] = []
    bars = []
    for minute in invented_day(opens, MINUTES, tickers=tickers):
        for document in minute:
            one = published(encoded(document))
            at = instant(one.receipt.time_close or one.receipt.ts) + timedelta(seconds=1)
            rows.append(store.receipt_row(one, received_at=at, now=at, result="decided"))
            bars.append((one.receipt.ticker, one.receipt.ts, f"{one.receipt.price:.2f}"))
        if len(rows) >= BATCH:
            db.call(Call("signal.apply", {"receipts": rows}))
            rows = []
    if rows:
        db.call(Call("signal.apply", {"receipts": rows}))
    return bars


def _ours(url: str, what: str, **options: Any) -> dict[str, Any]:
    command = [sys.executable, "-c", OURS, url, what, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{what}: {done.stderr[-800:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def counted(server: PostgresServer, url: str, what: str, **options: Any) -> dict[str, Any]:
    """The same with the processor seconds of the server."""
    before = spent_seconds({"server": server.pid})["server"]
    found = _ours(url, what, **options)
    return {**found, "server": spent_seconds({"server": server.pid})["server"] - before}


def _one_hash(ours: Sequence[dict[str, Any]]) -> None:
    if len({one["hash"] for one in ours}) != 1:
        raise RuntimeError("the same day came to two hashes")


def _tell(stage: Stage, ours: Sequence[dict[str, Any]], found: dict[str, list[dict[str, Any]]], tickers: int) -> None:
    rows = ours[0]["rows"]
    if rows != tickers * MINUTES:
        raise RuntimeError(f"{rows} rows were decided")
    must = MUST_SECONDS["day"] * rows / (TICKERS * MINUTES)
    stage.at_most(f"day of {rows:,} receipts as a job of one task", [one["parts"][0] for one in ours], must, "s")
    stage.add("the same, our process alone", [one["cpu"] for one in ours], "s of processor")
    stage.add("the same, the server", [one["server"] for one in ours], "s of processor")
    stage.add("share of the database in both", [one["server"] / (one["server"] + one["cpu"]) for one in ours], "×")
    stage.at_least(f"receipts a second and core / the {RATE:,} to reach", [rows / one["cpu"] / RATE for one in ours], 1.0)
    stage.at_most("peak memory of a task", [one["mb"] for one in ours], MEMORY_MB, "MB")
    for name, results in found.items():
        stage.add(f"{name}, the same bars, {results[0]['orders']} orders", [one["cpu"] for one in results], "s of processor")
        ratios = [other["cpu"] / mine["cpu"] for mine, other in zip(ours, results, strict=True)]
        stage.at_least(f"{name} / from decision rows", ratios, GOALS[name])


def _limits(stage: Stage, rows: int) -> None:
    """What one process cannot go below on as many receipts, were reading, booking and storing free (decision 0029)."""
    day = invented_day(datetime(2026, 2, 3, 14, 30, tzinfo=UTC), 60, tickers=40)
    receipts = [receipt_of_day(document) for minute in day for document in minute]
    kept = [decision_input(one) for one in receipts]
    began = time.process_time()
    for row, one in zip(kept, receipts, strict=True):
        keys = {"receipt_id": one.receipt_id, "payload_hash": one.payload_hash, "ticker": one.ticker, "ts": one.ts}
        receipt_from_decision_input(row, **keys)
    read = (time.process_time() - began) / len(receipts)
    turns = [[1 / session_rate(receipts, is_told=is_told) for is_told in (False, True)] for _ in range(5)]
    decided, told = (min(times) for times in zip(*turns, strict=True))  # in turn, the least disturbed of each
    stage.add("limit: reading decision rows", [read * rows], "s of processor")
    stage.add("limit: deciding them, no book and no database", [decided * rows], "s of processor")
    stage.add("limit: their traces and blocks as JSON text", [(told - decided) * rows], "s of processor")


def _resumed(stage: Stage, url: str, undisturbed: dict[str, Any]) -> None:
    """Killed half way and taken up by another process."""
    options = {"day": DAYS["whole"].isoformat(), "run": "killed"}
    died = subprocess.run(
        [sys.executable, "-c", OURS, url, "job", json.dumps({**options, "die_after": undisturbed["rows"] // 4_000})],
        check=False,
    )
    time.sleep(1)  # the lease of the dead
    went_on = _ours(url, "job", **options)
    if died.returncode != 9 or went_on["hash"] != undisturbed["hash"]:
        raise RuntimeError("a run that was killed and went on came to another hash")
    stage.note("two runs have one hash, and so has a run that was killed half way and taken up by another process")


def _requests(stage: Stage, server: PostgresServer, url: str, undisturbed: str) -> None:
    """What a client's calls cost: the day bucket by bucket, and one ticker by offset."""
    by_bucket = counted(server, url, "calls", day=DAYS["whole"].isoformat(), run="calls")
    if by_bucket["hash"] != undisturbed:
        raise RuntimeError("the bucket path came to another hash than the job")
    stage.at_most("call of one bucket", by_bucket["parts"], MUST_SECONDS["bucket"], "s")
    stage.at_most(f"day by {len(by_bucket['parts'])} calls", [by_bucket["seconds"]], MUST_SECONDS["calls"], "s")
    ticker = next(iter(invented_day(datetime(2026, 2, 3, 14, 30, tzinfo=UTC), 1, tickers=1)))[0]["ticker"]
    one = _ours(url, "ticker", day=DAYS["whole"].isoformat(), run="ticker", ticker=ticker)
    stage.at_most(f"one ticker, {len(one['parts'])} calls by offset", [one["seconds"]], MUST_SECONDS["ticker"], "s")


def _sweep(stage: Stage, url: str) -> None:
    """Eight runs of the half day worked off by one task, and again by two; what starting a process takes is not counted."""
    seconds = []
    for tasks in (1, 2):
        made = 0
        with _desk(url) as desk:
            for session, version in product(("regular", "all"), ("2.5.0", "*")):
                wanted = {"session": session, "scriptVersion": version, "cleanSlate": 1, "dates": [DAYS["half"].isoformat()]}
                wanted["profiles"] = ["tt-2026-02", "tt-2026-02-12"]
                made += len(jobs.start(desk, wanted, ReplayWorkerConfig(**WORKER), created_by="bench", now=NOW)["runs"])
        command = [sys.executable, "-c", OURS, url, "task", "{}"]
        working = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(tasks)]
        found = [json.loads(one.communicate()[0].splitlines()[-1]) for one in working]
        seconds.append(max(one["seconds"] for one in found))
        if sum(one["rows"] for one in found) != made:
            raise RuntimeError(f"{found} of {made} runs were walked")
    stage.at_least(f"sweep of {made} runs, one task / two", [seconds[0] / seconds[1]], 1.6)


def _incremental(stage: Stage, url: str, ours: Sequence[dict[str, Any]]) -> None:
    """One receipt of a ticker's own comes late, at 15:30; only what follows is decided again."""
    db = Database.open(database_config(url), application_name="bench", pool_size=1)
    last = list(invented_day(datetime(2026, 2, 3, 14, 30, tzinfo=UTC), 361, tickers=1))[-1][0]
    one = published(encoded({**last, "ticker": "ZZLATE"}))
    row = store.receipt_row(one, received_at=NOW, now=NOW, result="late")
    db.call(Call("signal.apply", {"receipts": [row]}))
    db.close()
    with _desk(url) as desk:
        given = {"date": DAYS["whole"].isoformat(), "name": "whole-0", "mode": "incremental"}
        jobs.start(desk, given, ReplayWorkerConfig(**WORKER), created_by="bench", now=NOW)
    found = _ours(url, "task")
    stage.at_most("incremental after one late receipt at 15:30 / the whole day", [found["cpu"] / one["cpu"] for one in ours], 0.1)


@contextmanager
def _desk(url: str) -> Iterator[Desk]:
    db = Database.open(database_config(f"{url}?role={ROLE}"), application_name="bench", pool_size=1)
    try:
        yield Desk(db=db, code_version="bench")
    finally:
        db.close()


def _growth(stage: Stage, server: PostgresServer, url: str, ours: Sequence[dict[str, Any]]) -> None:
    small, large = (counted(server, url, "job", day=DAYS[name].isoformat(), run=name) for name in ("half", "double"))
    for name, figure in (("our process", "cpu"), ("the server", "server")):
        exponent = math.log(large[figure] / small[figure]) / math.log(large["rows"] / small["rows"])
        stage.at_most(f"growth of {name}, half to double (1 is linear)", [exponent], 1.05, "exponent")
    stage.add("peak memory at double the tickers", [large["mb"]], "MB")


def _from_bodies(stage: Stage, server: PostgresServer, url: str, whole: int, found: dict[str, list[dict[str, Any]]]) -> None:
    """The half day again with decision rows of another schema version: every body is decoded."""
    rows = counted(server, url, "job", day=DAYS["half"].isoformat(), run="half-rows")
    text = "update signal.receipts set decision_input = '[0]' where ts >= '2026-02-04' and ts < '2026-02-05'"
    server.run("psql", "-q", "-d", "bench", "-c", text)
    bodies = counted(server, url, "job", day=DAYS["half"].isoformat(), run="half-bodies")
    if bodies["hash"] != rows["hash"]:
        raise RuntimeError("bodies and decision rows came to two hashes")
    stage.add("from raw bodies / from decision rows, our process", [bodies["cpu"] / rows["cpu"]], "×")
    for name, results in found.items():
        share = bodies["rows"] / whole
        stage.at_least(f"{name} / from raw bodies", [one["cpu"] * share / bodies["cpu"] for one in results], 0.5)
