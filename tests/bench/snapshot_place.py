"""Where the bench of snapshots happens: tables that stand for somebody else's views, the API and a D1 as processes, a publisher.

The publisher reads tables of the four views' columns, so that a day has exactly the number of rows that is asked for; the API is
a process of its own before the same server, as a deployed one is. A replacement changes every point of the day.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import requests
from pydantic import SecretStr

from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.sql import encode, statement
from fillbook.snapshot import source, store
from fillbook.snapshot.asked import asked
from fillbook.snapshot.d1 import D1
from fillbook.snapshot.days import plan
from fillbook.snapshot.model import EXTREME_NUMBERS, Counts, Snapshot, Source, Status
from fillbook.snapshot.outcomes import Outcome
from fillbook.snapshot.publish import publish
from fillbook.snapshot.publishing import Ground
from fillbook.snapshot.receiver import Door, HttpReceiver
from fillbook.snapshot.source import ViewNames
from infra.local.d1 import ACCOUNT_ID, BASE, DATABASE_ID
from infra.local.d1 import TOKEN as D1_TOKEN
from infra.local.ports import free_port
from tests.support.servers import database_config
from tests.support.snapshot_shapes import DAY, Shape, snapshot

ROOT: Final = Path(__file__).resolve().parents[2]
NOW: Final = datetime(2026, 2, 12, 12, tzinfo=UTC)
TOKEN: Final = "token-of-the-bench"
KEYS: Final = tuple(f"reader-{number}" for number in range(32))
"""A reader may ask 120 times a minute: measured ones take turns."""
ENDPOINT: Final = "/v1/internal/trades/snapshot"
NAMES: Final = ViewNames(kpi="bench.kpi", series="bench.series", extremes="bench.extremes", portfolio="bench.portfolio")
VIEWS: Final = {f"MV_{what.upper()}_TABLE": getattr(NAMES, what) for what in ("kpi", "series", "extremes", "portfolio")}
READY_SECONDS: Final = 30.0
POOL: Final = 3
NUMBERS: Final = ", ".join(f"{name} numeric" for name in EXTREME_NUMBERS)
COLUMNS: Final = {
    "kpi": "kpi_name text, display_value text, sort_order int, report_date date",
    "series": "kpi_name text, ts timestamptz, value numeric, source text, report_date date",
    "extremes": f"kpi_name text, side text, rank int, trade_id bigint, symbol text, contract_name text, {NUMBERS},"
    " mid_ts timestamptz, report_date date",
    "portfolio": "trade_id bigint, symbol text, contract_name text, report_date date",
}
UNIQUE: Final = {"kpi": "kpi_name", "series": "kpi_name, ts", "extremes": "kpi_name, side, rank", "portfolio": "trade_id"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A migrated database with the tables, and the processes before it: addresses, and process ids by name."""

    url: str
    api_url: str
    classic_url: str
    d1: D1
    pids: Mapping[str, int]
    folder: Path

    @property
    def job_settings(self) -> dict[str, str]:
        """The environment of the publisher's job."""
        return {
            **settings(self.url),
            **VIEWS,
            "SNAPSHOT_REFRESH": "off",
            "SNAPSHOT_API_URL": self.api_url,
            "INTERNAL_TOKEN": TOKEN,
            "FILLBOOK_DESK_CLOCK": str(self.folder / "clock.json"),
        }


def settings(url: str) -> dict[str, str]:
    """What every process of ours is told."""
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "shared"))),
        "FILLBOOK_ENV": "local",
        "FILLBOOK_LOCAL_URL": "http://127.0.0.1:9",
        "FILLBOOK_PROJECT": "bench",
        "FILLBOOK_OIDC_AUDIENCE": "https://bench.invalid",
        "FILLBOOK_DATABASE_URL": url,
    }


@contextmanager
def place(url: str, folder: Path) -> Iterator[Place]:
    """Make the tables in the migrated database at ``url`` and start the processes; state goes into ``folder``."""
    with opened(url) as db, db.transaction() as tx:
        tx.execute(statement("create schema bench"))
        for table, columns in COLUMNS.items():
            tx.execute(statement(f"create table bench.{table} ({columns}, unique (report_date, {UNIQUE[table]}))"))
    ports = {name: free_port() for name in ("api", "classic", "d1")}
    keys = [{"id": key, "sha256": hashlib.sha256(key.encode()).hexdigest(), "scopes": ["metrics:read"]} for key in KEYS]
    ours = {"INTERNAL_TOKEN": TOKEN, "METRICS_KEYS": json.dumps(keys), "FILLBOOK_DESK_CLOCK": str(folder / "clock.json")}
    clock = {"desk_at": NOW.isoformat(), "real_at": time.time(), "speed": 1.0, "paused": True}
    (folder / "clock.json").write_text(json.dumps(clock))
    commands = {
        "api": framework("snapshot_api", ROOT / "functions" / "snapshot_api" / "main.py", ports["api"]),
        "classic": framework("classic", ROOT / "tests" / "bench" / "snapshot_classic_door.py", ports["classic"]),
        "d1": [sys.executable, "-m", "infra.local.d1", "--port", str(ports["d1"]), "--state", str(folder / "d1.sqlite")],
    }
    environment = {**settings(url), **ours, "THREADS": "4", "CLASSIC_URL": url}
    log = (folder / "processes.log").open("wb")
    running = {
        name: subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
        for name, command in commands.items()
    }
    try:
        for name, port in ports.items():
            wait_for(port, running[name], folder / "processes.log")
        yield Place(
            url=url,
            api_url=f"http://127.0.0.1:{ports['api']}",
            classic_url=f"http://127.0.0.1:{ports['classic']}",
            d1=D1(
                SecretStr(D1_TOKEN),
                account_id=ACCOUNT_ID,
                database_id=DATABASE_ID,
                api_base=f"http://127.0.0.1:{ports['d1']}{BASE}",
                is_local=True,
            ),
            pids={name: process.pid for name, process in running.items()},
            folder=folder,
        )
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait(15)
        log.close()


def framework(target: str, path: Path, port: int) -> list[str]:
    """The command of a function's process."""
    options = ["--target", target, "--source", str(path), "--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, "-m", "functions_framework", *options]


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until something listens; raises with the log of a process that ended."""
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"a process did not come up: {log.read_text('utf-8', 'replace')[-2000:]}")


@contextmanager
def opened(url: str, size: int = POOL) -> Iterator[Database]:
    """A pool that is closed afterwards."""
    db = Database.open(database_config(url), application_name="bench", pool_size=size, statement_timeout_seconds=600)
    try:
        yield db
    finally:
        db.close()


# --- days ---------------------------------------------------------------------------------------------------------------


def put(db: Database, shape: Shape, day: date = DAY, seed: int = 0) -> Snapshot:
    """Put a day of this shape into the tables in the place of what stands there."""
    made = snapshot(shape, day=day, seed=seed)
    rows: dict[str, list[dict[str, Any]]] = {
        "kpi": [{"kpi_name": one.kpi, "display_value": one.value, "sort_order": one.sort_order} for one in made.rows],
        "series": [{"kpi_name": one.kpi, "ts": one.t, "value": one.v, "source": one.src} for one in made.points],
        "extremes": [
            {"kpi_name": one.kpi, **{name: getattr(one, name) for name in EXTREMES}, "side": one.side} for one in made.extremes
        ],
        "portfolio": [{name: getattr(one, name) for name in ("trade_id", "symbol", "contract_name")} for one in made.assets],
    }
    with db.transaction() as tx:
        for table, found in rows.items():
            tx.execute(statement(f"delete from bench.{table} where report_date = :day::date"), day=day)
            text = f"insert into bench.{table} select * from jsonb_to_recordset(:rows::jsonb) as r({COLUMNS[table]})"
            tx.execute(statement(text), rows=encode([{**one, "report_date": day} for one in found]))
    return made


EXTREMES: Final = ("rank", "trade_id", "symbol", "contract_name", *EXTREME_NUMBERS, "mid_ts")


def spread(db: Database, days: list[date]) -> None:
    """Put what stands under ``DAY`` under these days as well, in the place of what they had."""
    others = [day for day in days if day != DAY]
    with db.transaction() as tx:
        for table, columns in COLUMNS.items():
            names = [column.split()[0] for column in columns.split(", ")[:-1]]
            moved = ["v.ts + (d - v.report_date) * interval '1 day'" if name == "ts" else f"v.{name}" for name in names]
            tx.execute(statement(f"delete from bench.{table} where report_date = any(:days::date[])"), days=others)
            tx.execute(
                statement(
                    f"insert into bench.{table} ({', '.join(names)}, report_date) select {', '.join(moved)}, d"
                    f" from bench.{table} v, unnest(:days::date[]) as d where v.report_date = '{DAY}'"
                ),
                days=others,
            )
            tx.execute(statement(f"analyze bench.{table}"))


def touch(db: Database, day: date = DAY) -> None:
    """Change every point of a day."""
    with db.transaction() as tx:
        tx.execute(statement("update bench.series set value = value + 0.01 where report_date = :day::date"), day=day)


# --- publishing -----------------------------------------------------------------------------------------------------------


@contextmanager
def publisher(where: Place, *, url: str | None = None) -> Iterator[Ground]:
    """What the function publishes with, in this process; ``url``: another way to the same database."""
    with opened(url or where.url) as db:
        clock = FixedClock(NOW)
        door = Door(url=where.api_url, endpoint=ENDPOINT, token=SecretStr(TOKEN))
        receiver = HttpReceiver(door, now=clock.now)
        yield Ground(
            db=db, refreshing=None, names=NAMES, clock=clock, receiver=receiver, fallback=None, relay=lambda _partitions: None
        )


def published(ground: Ground, status: Status, day: date = DAY) -> Outcome:
    """Publish a day without a refresh; raises when it does not end so, or is not proven."""
    call = asked({"date": day.isoformat(), "refresh": False}, scheduled_at=None, actor="bench", now=NOW)
    outcome = publish(ground, call, run_id=os.urandom(16).hex())
    [result] = outcome.results
    if result.status is not status or (status is Status.PUBLISHED and not result.verified):
        raise AssertionError(result.document())
    return outcome


def as_read(db: Database, day: date = DAY) -> Source:
    """The day as the publisher reads it."""
    return source.read(db, NAMES, plan(day, NOW))


def stored(db: Database, day: date, text: str, content_sha256: str, counts: Counts) -> None:
    """Put a version in the place of a day: the transaction of the API, and nothing before it."""

    def work(tx: Tx) -> None:
        standing = store.open_day(tx, day, content_sha256)
        replacement = store.Replacement(
            version=1 if standing is None else standing.version + 1,
            received_at=NOW,
            request_id="bench",
            counts=counts,
            forced=(),
            changes=(),
            document=text,
        )
        store.replace_day(tx, replacement)

    db.run(work)


def posted(where: Place, body: bytes, session: requests.Session) -> dict[str, Any]:
    """Post a body to our API; raises when it is not stored."""
    headers = {"X-Internal-Token": TOKEN, "Content-Type": "application/json"}
    answer = session.post(where.api_url + ENDPOINT, data=body, headers=headers, timeout=60)
    document: dict[str, Any] = answer.json()
    if answer.status_code != 200 or document["unchanged"]:
        raise AssertionError(document)
    return document
