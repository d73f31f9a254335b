"""A published day: read, sent, stored, verified, against a job of the classic kind and the bare minimum of storing it.

Both sides read the same tables on one durable server and post to a process of the same framework; they take turns, and every
replacement changes every point of the day. Ours validates, guards, hashes, records the publication before and after, stores in
one transaction and proves what it stored; the classic job does none of that. Shapes are KPIs/points/extremes/assets.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import requests

from fillbook.runtime.sql import statement
from fillbook.snapshot import document
from fillbook.snapshot.model import Status
from fillbook.snapshot.sources import FallbackKind
from infra.database.migrate import migrate
from infra.local.postgres import PostgresServer
from tests.bench.booking import DURABLE
from tests.bench.processor import spent_seconds
from tests.bench.report import RESULTS, Stage, percentile, publish
from tests.bench.snapshot_classic import Copies, Job, Store, daily_of
from tests.bench.snapshot_gates import check_equal, check_whole, versions
from tests.bench.snapshot_growth import exponent
from tests.bench.snapshot_history import backfill, readers
from tests.bench.snapshot_ledger import refresh
from tests.bench.snapshot_place import (
    ROOT,
    Place,
    opened,
    place,
    posted,
    published,
    publisher,
    put,
    settings,
    stored,
    touch,
)
from tests.support.proxy import Proxy
from tests.support.snapshot_shapes import DAY, Shape

SHAPES = {"6,625": Shape(), "8,000": Shape(series=25, minutes=295)}
DAYS = {"8,000": date(2026, 2, 10)}
"""Shapes that are published under another day than the last one."""
GROWN_DAY = date(2025, 2, 5)
RUNS, WARM_UPS, COLD_RUNS = 12, 3, 5
TRADES, SESSIONS = 100_000, 250
DELAY_SECONDS = 0.002
STORE_MS = {"6,625": 200.0, "8,000": 230.0}
PUBLISH_MS = {"6,625": 450.0, "8,000": 600.0}
FALLBACK_MS = {"6,625": 100.0, "8,000": 130.0}
UNCHANGED_MS = 150.0
WARM, UNCHANGED, COPIES, BATCHED = 0.2, 0.5, 1.5, 0.25
EXPONENT = 1.05
GROWTH, GROWTH_MINUTES = (8, 15, 30, 60), 400
"""KPIs with a series, and its points: about half, one, two and four times 6,625 rows."""
STORED_SERIES = (25, 50, 100, 200)
"""10,000 to 80,000 points: more than a day may have, so only the database's part of storing it can grow so far."""
PARTS = ("store", "warm", "cold", "fallback", "growth", "refresh", "backfill")
JOB = "import sys; sys.argv[0] = 'job'; import main; main.work_off()"
Work = Callable[[], float]


def run(argv: list[str]) -> int:
    """``bench snapshot [--runs N] [--rows 6625[,8000]] [--sessions N] [--trades N] [--only PART[,PART]]``."""
    given = dict(zip(argv[::2], argv[1::2], strict=False))
    runs = int(given.get("--runs", RUNS))
    rows = {f"{int(one):,}" for one in given["--rows"].split(",")} if "--rows" in given else set(SHAPES)
    shapes = {name: shape for name, shape in SHAPES.items() if name in rows}
    parts = given["--only"].split(",") if "--only" in given else PARTS
    stage = Stage(name="snapshot")
    with server() as (postgres, where):
        measure(stage, where, shapes, runs=runs, parts=parts)
        if "refresh" in parts:
            url, trades = new_database(postgres, "snapshot_ledger"), int(given.get("--trades", TRADES))
            refresh(stage, url, trades=trades, runs=min(runs, 5), server=postgres.pid)
        if "backfill" in parts:
            with publisher(where) as ground:
                put(ground.db, SHAPES["6,625"])
            backfill(stage, where, sessions=int(given.get("--sessions", SESSIONS)))
            readers(stage, where, runs=20 * runs)
    notes(stage)
    publish(stage)
    return 0


def notes(stage: Stage) -> None:
    """What a reader of the figures must know."""
    stage.note("days are read from tables of the views' columns, so that they have exactly so many rows; a refresh stands alone")
    stage.note("the classic job reads, maps and posts; its receiver stores by prepared statements, 200 rows to a commit")
    stage.note("a day may have 50,000 points and 1.9 MB: beyond that only the database's part of storing it is measured")


@contextmanager
def server() -> Iterator[tuple[PostgresServer, Place]]:
    """A durable server with the processes before it."""
    data, folder = RESULTS / "snapshot-pg", RESULTS / "snapshot-place"
    for path in (data, folder):
        shutil.rmtree(path, ignore_errors=True)
    folder.mkdir(parents=True)
    with PostgresServer(data, fsync=True, settings={"max_wal_size": "4GB"}) as postgres:
        url = new_database(postgres, "snapshot")
        with opened(url) as db, db.transaction(read_only=True) as tx:
            durable = {row["name"]: row["setting"] for row in tx.query(statement(DURABLE))}
            if set(durable.values()) != {"on"}:
                raise RuntimeError(f"the server is not durable: {durable}")
        with place(url, folder) as where:
            yield postgres, where
    for path in (data, folder):
        shutil.rmtree(path, ignore_errors=True)


def new_database(postgres: PostgresServer, name: str) -> str:
    """The URL of a migrated database."""
    postgres.run("psql", "-qc", f"create database {name}")
    url = postgres.url(database=name)
    migrate(url)
    return url


def measure(stage: Stage, where: Place, shapes: dict[str, Shape], *, runs: int, parts: Sequence[str] = PARTS) -> None:
    """Everything that needs no ledger and no history."""
    for name, shape in shapes.items():
        day = DAYS.get(name, DAY)
        with publisher(where) as ground:
            put(ground.db, shape, day)
        check_equal(where, day)
        check_whole(where, shape)
        if "store" in parts:
            store_through_api(stage, where, name, shape, runs)
            store_alone(stage, where.url, f"{name}: ", shape, runs)
        if "warm" in parts:
            warm(stage, where, where.url, f"{name}: ", day, runs, name=name)
        if "fallback" in parts:
            fallback(stage, where, name, shape, runs)
    if "cold" in parts:
        cold(stage, where, min(runs, COLD_RUNS))
    if "warm" in parts:
        with Proxy("127.0.0.1", urlsplit(where.url).port or 0, delay_seconds=DELAY_SECONDS) as proxy:
            warm(stage, where, proxy.url(where.url), "publisher behind 2 ms: ", DAY, runs)
    if "growth" in parts:
        growth(stage, where, runs=min(runs, 5))


def turns(runs: int, *works: Work) -> list[list[float]]:
    """Every work in turn, ``runs`` times after warm-ups; what each returned."""
    found: list[list[float]] = [[] for _ in works]
    for number in range(-min(WARM_UPS, runs), runs):
        for result, work in zip(found, works, strict=True):
            taken = work()
            if number >= 0:
                result.append(taken)
    return found


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Of each round."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def timed(work: Callable[[], object]) -> float:
    """Milliseconds of a call."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


# --- store ----------------------------------------------------------------------------------------------------------------


def store_through_api(stage: Stage, where: Place, name: str, shape: Shape, runs: int) -> None:
    """A day in the place of another by POST, until the answer; the API's processor time too."""
    made = versions(shape)
    spent: list[float] = []
    with requests.Session() as session:

        def once() -> float:
            _, body = next(made)
            before = spent_seconds(where.pids)["api"]
            taken = timed(lambda: posted(where, body, session))
            spent.append((spent_seconds(where.pids)["api"] - before) * 1000)
            return taken

        [taken] = turns(runs, once)
    stage.at_most(f"{name}: stored through the API", taken, STORE_MS.get(name, 1e9), "ms")
    stage.add(f"{name}: stored through the API, p95", [percentile(taken, 0.95)], "ms")
    stage.add(f"{name}: processor time of the API", [sum(spent[-runs:]) / runs], "ms")


def store_alone(stage: Stage, url: str, head: str, shape: Shape, runs: int) -> None:
    """The transaction of a store, against four COPYs and against batches of 200."""
    made = versions(shape)
    classic, copies = Store(url), Copies(url)
    with opened(url) as db:

        def ours() -> float:
            one, body = next(made)
            text, digest, counts = body.decode(), document.content_sha256(one), document.counts(one)
            return timed(lambda: stored(db, one.date, text, digest, counts))

        def copied() -> float:
            found = json.loads(next(made)[1])
            daily, lines = daily_of(found), Copies.lines(found)
            return timed(lambda: copies.replace(daily, lines))

        def batched() -> float:
            found = json.loads(next(made)[1])
            return timed(lambda: classic.replace(found))

        mine, least, theirs = turns(runs, ours, copied, batched)
    for one in (classic, copies):
        one.close()
    stage.add(f"{head}one transaction of ours", mine, "ms")
    stage.add(f"{head}four COPYs in one transaction", least, "ms")
    stage.add(f"{head}batches of 200", theirs, "ms")
    stage.at_most(f"{head}store / four COPYs", ratios(mine, least), COPIES)
    stage.at_most(f"{head}store / batches of 200", ratios(mine, theirs), BATCHED)


# --- publish --------------------------------------------------------------------------------------------------------------


def warm(stage: Stage, where: Place, url: str, head: str, day: date, runs: int, *, name: str | None = None) -> None:
    """A publisher that is awake: BEGIN to the proven end, and the same content again; against the classic job."""
    spent: list[float] = []
    job = Job(url, where.classic_url)
    with publisher(where, url=url) as ground, opened(where.url) as db:

        def ours() -> float:
            touch(db, day)
            before = time.process_time()
            taken = timed(lambda: published(ground, Status.PUBLISHED, day))
            spent.append((time.process_time() - before) * 1000)
            return taken

        def again() -> float:
            return timed(lambda: published(ground, Status.UNCHANGED, day))

        def theirs() -> float:
            return timed(lambda: job.run(day.isoformat()))

        mine, same, classic = turns(runs, ours, again, theirs)
    job.close()
    if name is None:
        stage.add(f"{head}published and verified", mine, "ms")
        stage.add(f"{head}unchanged", same, "ms")
    else:
        stage.at_most(f"{head}published and verified, warm", mine, PUBLISH_MS.get(name, 1e9), "ms")
        stage.add(f"{head}published and verified, p95", [percentile(mine, 0.95)], "ms")
        stage.add(f"{head}processor time of the publisher", spent[-runs:], "ms")
        stage.at_most(f"{head}unchanged day", same, UNCHANGED_MS, "ms")
    stage.add(f"{head}classic job", classic, "ms")
    stage.at_most(f"{head}publish / classic job", ratios(mine, classic), WARM)
    stage.at_most(f"{head}unchanged / publish", ratios(same, mine), UNCHANGED)


def cold(stage: Stage, where: Place, runs: int) -> None:
    """From the start of a job's process to its end."""
    ours = [sys.executable, "-c", JOB, "--date", DAY.isoformat(), "--no-refresh"]
    theirs = [sys.executable, "-m", "tests.bench.snapshot_classic", where.url, where.classic_url, DAY.isoformat()]

    def once(command: list[str], folder: Path, environment: dict[str, str]) -> float:
        with opened(where.url, 1) as db:
            touch(db)
        return timed(lambda: subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True))

    mine, classic = turns(
        runs,
        lambda: once(ours, ROOT / "functions" / "snapshot_publisher", where.job_settings),
        lambda: once(theirs, ROOT, settings(where.url)),
    )
    stage.add("cold: the job of a day, process start to exit", mine, "ms")
    stage.add("cold: the classic job", classic, "ms")
    stage.add("cold: ours / classic", ratios(mine, classic), "×")


def fallback(stage: Stage, where: Place, name: str, shape: Shape, runs: int) -> None:
    """The batch past the API and the look that proves it."""
    made = versions(shape)

    def once() -> float:
        one, body = next(made)
        began = time.perf_counter()
        end = where.d1.write(body, one, deadline=time.monotonic() + 120)
        taken = (time.perf_counter() - began) * 1000
        if end.kind is not FallbackKind.STORED or not end.verified:
            raise AssertionError(end)
        return taken

    [taken] = turns(runs, once)
    stage.at_most(f"{name}: past the API into D1, read back", taken, FALLBACK_MS.get(name, 1e9), "ms")
    stage.add(f"{name}: past the API, p95", [percentile(taken, 0.95)], "ms")


# --- growth ---------------------------------------------------------------------------------------------------------------


def growth(
    stage: Stage,
    where: Place,
    *,
    runs: int,
    published_series: Sequence[int] = GROWTH,
    stored_series: Sequence[int] = STORED_SERIES,
) -> None:
    """A day published at half to four times the size, and stored alone up to 80,000 points."""

    times: dict[int, list[float]] = {}
    with publisher(where) as ground:
        for count in published_series:
            shape = Shape(kpis=max(25, count), series=count, minutes=GROWTH_MINUTES)
            put(ground.db, shape, GROWN_DAY)

            def once() -> float:
                touch(ground.db, GROWN_DAY)
                return timed(lambda: published(ground, Status.PUBLISHED, GROWN_DAY))

            [times[shape.rows]] = turns(runs, once)
    exponent(stage, "publishing a day", times, EXPONENT)
    times = {}
    with opened(where.url) as db:
        for count in STORED_SERIES:
            shape = Shape(kpis=200, series=count, minutes=GROWTH_MINUTES)
            made = versions(shape)

            def one_store() -> float:
                one, body = next(made)  # noqa: B023 - used within this turn of the loop
                text, digest, counts = body.decode(), document.content_sha256(one), document.counts(one)
                return timed(lambda: stored(db, one.date, text, digest, counts))

            [times[shape.rows]] = turns(runs, one_store)
    exponent(stage, "storing a day, the database's part", times, EXPONENT)
