"""Where the bench of accounts happens: a durable server, databases with linked accounts, and processes that work them.

A *house* is one database whose accounts are linked to the brokers; its workers are processes of ``mt5_worker``. A run begins with
a call of ``account_sync``; what it publishes is handed to the workers of shards, one message at a time each, as pushes would be.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Condition
from typing import Any

from fillbook.mt5 import deskstore
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.database.migrate import migrate
from infra.database.roles import login_role_statement
from infra.local.deskclock import DeskClockFile, Setting
from infra.local.mt5_world import API_KEY
from infra.local.postgres import PostgresServer
from tests.bench.booking import DURABLE
from tests.bench.mt5_broker import SHIFT_MINUTES, ZONE, Account, Brokers
from tests.bench.processor import spent_seconds
from tests.bench.report import RESULTS
from tests.support.mt5_world import WORKER_GROUPS
from tests.support.servers import database_config

TEMPLATE, ROLE = "mt5_template", "mt5_bench"
START = datetime(2026, 1, 15, 10, 1, tzinfo=UTC)
LINKED_AT_ONCE = 500
LOG_PREFIX = "@@"
SESSIONS = 100
RATE_V0 = 1_000_000
SETTINGS = {"max_connections": "90", "max_wal_size": "4GB", "log_line_prefix": LOG_PREFIX}
STOP_SECONDS = 10.0
GATE = statement(
    "select count(*) as accounts, count(*) filter (where s.last_run_id = :run_id::uuid) as worked,"
    " count(*) filter (where s.cash_state = 'ok') as proven,"
    " (select r.success_count from mt5.sync_runs r where r.run_id = :run_id::uuid) as succeeded from mt5.account_sync_state s"
)
ENDS = statement(
    "select status::text, error_message, count(*) as n from mt5.sync_logs where run_id = :run_id::uuid group by 1, 2"
)
HOURS = statement("select account_id::text as id, sum(runs) as runs from mt5.sync_hours group by account_id")
WAL = statement("select pg_current_wal_lsn()::text as at, pg_wal_lsn_diff(pg_current_wal_lsn(), :since::pg_lsn)::bigint as bytes")


class Child:
    """A process of ``mt5_worker`` with its settings."""

    def __init__(self, role: str, settings: Mapping[str, str]) -> None:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **settings}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.mt5_worker", role],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str, **words: Any) -> dict[str, Any]:
        """Have something done; what the process answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **words}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended at {what}")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A run: wall seconds from the call to the last result stored; processor seconds of workers, server and brokers."""

    accounts: int
    seconds: float
    workers: float
    postgres: float
    brokers: float
    mb: float
    run_id: str
    wal_bytes: int
    begun_at: datetime

    @property
    def per_five_minutes(self) -> float:
        """Accounts in five minutes at this pace."""
        return self.accounts / self.seconds * 300

    def each(self, seconds: float) -> float:
        """Milliseconds an account."""
        return seconds / self.accounts * 1000


class Messages:
    """What a run has published and nobody has worked yet; a worker that takes nothing more is done."""

    def __init__(self, messages: Sequence[str]) -> None:
        self._waiting, self._under_way, self._changed = deque(messages), 0, Condition()

    def take(self) -> str | None:
        """The next message; None when there are none and nobody is at one that might publish more."""
        with self._changed:
            while not self._waiting and self._under_way:
                self._changed.wait()
            if not self._waiting:
                return None
            self._under_way += 1
            return self._waiting.popleft()

    def done(self, more: Sequence[str]) -> None:
        """One is worked and brought these."""
        with self._changed:
            self._under_way -= 1
            self._waiting.extend(more)
            self._changed.notify_all()


class House:
    """One database; ``settings`` are those of the functions."""

    def __init__(self, place: Place, name: str, brokers: Brokers, settings: Mapping[str, str]) -> None:
        self.place, self.name, self.brokers, self._settings = place, name, brokers, dict(settings)
        self.url = place.server.url(database=name)
        self.db = Database.open(database_config(self.url), application_name="bench", pool_size=1, statement_timeout_seconds=600)
        self.accounts: dict[str, str] = {}
        self._children: dict[tuple[str, str], Child] = {}
        self._tasks = 0

    # --- setting the scene ---

    def serve(self, *, contract: str = "v1", sessions: int = SESSIONS) -> None:
        """Which language the brokers are asked in, and how many sessions each of them lends."""
        with self.db.transaction() as tx:
            tx.execute(
                statement(
                    "insert into mt5.service_instances (instance_key, base_url)"
                    " select * from unnest(:keys::text[], :urls::text[]) on conflict do nothing"
                ),
                keys=[one.key for one in self.brokers.all],
                urls=[one.url for one in self.brokers.all],
            )
            tx.execute(
                statement(
                    "update mt5.service_instances set contract = :contract::mt5.contract_kind, sessions_max = :sessions,"
                    " rate_per_minute = :rate where instance_key <> 'default'"
                ),
                contract=contract,
                sessions=sessions,
                rate=RATE_V0 if contract == "v0" else None,
            )

    def link(self, accounts: Sequence[Account]) -> None:
        """Link accounts as an operator does, and confirm their servers' clocks."""
        for start in range(0, len(accounts), LINKED_AT_ONCE):
            with self.db.transaction() as tx:
                for one in accounts[start : start + LINKED_AT_ONCE]:
                    link = deskstore.Link(
                        tenant_id="desk",
                        server=one.server,
                        login=one.login,
                        broker_name="Bench",
                        instance_key=one.instance_key,
                        base_url=one.url,
                        service_account_id=one.name,
                    )
                    self.accounts[one.name] = deskstore.link_account(tx, link, self.place.now()).account_id
        with self.db.transaction() as tx:
            for server in {one.server for one in accounts}:
                deskstore.confirm_clock(tx, server, zone_name=ZONE, shift_minutes=SHIFT_MINUTES)

    def child(self, role: str, settings: Mapping[str, str] | None = None, *, number: int = 0, url: str | None = None) -> Child:
        """A process, started when it is first asked for."""
        key = (role, f"{number} {url} {settings or {}}")
        if key not in self._children:
            given = {
                "FILLBOOK_ENV": "local",
                "FILLBOOK_PROJECT": "fillbook-local",
                "FILLBOOK_DESK_CLOCK": str(self.place.clock),
                "FILLBOOK_DATABASE_URL": url or self.place.server.url(ROLE, self.name),
                "MT5_SERVICE_URL": self.brokers.all[0].url,
                "MT5_SERVICE_API_KEY": API_KEY,
            }
            self._children[key] = Child(role, {**given, **self._settings, **(settings or {})})
            self._children[key].ask("look")
        return self._children[key]

    def dismiss(self) -> None:
        """End all processes."""
        for child in self._children.values():
            child.close()
        self._children.clear()

    # --- runs ---

    def inline(self, **settings: str) -> Ran:
        """A run of all accounts in one call."""
        sync = self.child("sync", settings)

        def work() -> tuple[list[dict[str, Any]], str]:
            told = sync.ask("sync", body={})
            if told["status"] != 200:
                raise AssertionError(told)
            return [told], told["document"]["executionId"]

        return self._measured(work)

    def sharded(self, workers: int, *, url: str | None = None, **settings: str) -> Ran:
        """A run of all accounts in shards, worked side by side by so many processes."""
        sync = self.child("sync", settings, url=url)
        hands = [self.child("shard", settings, number=number, url=url) for number in range(workers)]

        def work() -> tuple[list[dict[str, Any]], str]:
            told = sync.ask("sync", body={"wait": False})
            messages, done = Messages(told["messages"]), [told]

            def hand(child: Child) -> None:
                while (data := messages.take()) is not None:
                    answer = child.ask("shard", data=data)
                    messages.done(answer["messages"] + ([data] if "again" in answer else []))
                    done.append(answer)

            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(hand, hands))
            return done, told["document"]["executionId"]

        return self._measured(work)

    def task(self, **settings: str) -> Ran:
        """A run of whatever is due by the only task of a job."""
        child = self.child("job", settings)

        def work() -> tuple[list[dict[str, Any]], str]:
            self._tasks += 1
            told = child.ask("task", index=0, count=1, execution=f"bench-{self._tasks}")
            return [told], told["run_id"]

        return self._measured(work)

    def _measured(self, work: Any) -> Ran:
        before = self.place.spent(), self.brokers.spent(), self.wal()
        begun_at, begun = self.place.now(), time.perf_counter()
        done, run_id = work()
        seconds = time.perf_counter() - begun
        after = self.place.spent(), self.brokers.spent(), self.wal(before[2][0])
        return Ran(
            accounts=len(self.accounts),
            seconds=seconds,
            workers=sum(one["cpu"] for one in done),
            postgres=after[0] - before[0],
            brokers=after[1] - before[1],
            mb=max(one["mb"] for one in done),
            run_id=run_id,
            wal_bytes=after[2][1],
            begun_at=begun_at,
        )

    # --- looking ---

    def wal(self, since: str = "0/0") -> tuple[str, int]:
        """Where the log stands, and how much was written since."""
        (row,) = self.query(WAL, since=since)
        return row["at"], int(row["bytes"])

    def query(self, text: Any, **given: Any) -> list[dict[str, Any]]:
        """Rows, as the superuser."""
        with self.db.transaction(read_only=True) as tx:
            return [dict(row) for row in tx.query(text, **given)]

    def runs_by_account(self) -> dict[str, int]:
        """How often each account was tried and noted so far."""
        return {row["id"]: int(row["runs"]) for row in self.query(HOURS)}

    def check(self, run_id: str, before: Mapping[str, int], *, silent: int | None = None) -> int:
        """Each account was worked by this run, noted exactly once, and its money adds up; or the figures mean nothing.

        Nothing else may have come of it than success; where some are ``silent``, return how many others were not synced either.
        """
        (found,) = self.query(GATE, run_id=run_id)
        more = {one: runs - before.get(one, 0) for one, runs in self.runs_by_account().items()}
        size = len(self.accounts)
        is_once = len(more) == size and set(more.values()) == {1} and found["worked"] == found["accounts"] == size
        others = size - (silent or 0) - found["succeeded"]
        if not is_once or found["proven"] != size or (silent is None and others):
            raise AssertionError(f"{self.name}: {found}, noted {sorted(set(more.values()))}, {self.query(ENDS, run_id=run_id)}")
        return int(others)


class Place:
    """The server, the clock, and houses copied from one migrated template."""

    def __init__(self, server: PostgresServer, clock: Path) -> None:
        self.server, self.clock = server, clock
        self._houses: list[House] = []
        server.run("psql", "-q", "-c", f"create database {TEMPLATE}")
        migrate(server.url(database=TEMPLATE))
        server.run("psql", "-q", "-d", TEMPLATE, "-c", login_role_statement(ROLE, WORKER_GROUPS))
        durable = server.run("psql", "-At", "-c", DURABLE).split()
        if {line.partition("|")[2] for line in durable} != {"on"}:
            raise RuntimeError(f"the server is not durable: {durable}")

    def now(self) -> datetime:
        """Desk time."""
        return DeskClockFile(self.clock).now()

    def house(self, name: str, brokers: Brokers, **settings: str) -> House:
        """A new database without accounts."""
        self.server.run("psql", "-q", "-c", f"create database {name} template {TEMPLATE}")
        made = House(self, name, brokers, settings)
        made.serve()
        self._houses.append(made)
        return made

    def spent(self) -> float:
        """Processor seconds of the server so far."""
        assert self.server.pid is not None
        return spent_seconds({"postgres": self.server.pid})["postgres"]

    def close(self) -> None:
        """End every process that works for a house."""
        for house in self._houses:
            house.dismiss()
            house.db.close()


@contextmanager
def place() -> Iterator[Place]:
    """A durable server on the disk of the results, and a desk clock that runs as fast as real time from a Thursday morning on."""
    data, clock = RESULTS / "mt5-pg", RESULTS / "mt5-clock"
    shutil.rmtree(data, ignore_errors=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    DeskClockFile(clock).write(Setting(desk_at=START, real_at=time.time()))
    with PostgresServer(data, settings=SETTINGS) as server:
        made = Place(server, clock)
        try:
            yield made
        finally:
            made.close()
    shutil.rmtree(data, ignore_errors=True)
