"""Where the bench of the read API happens: a book of 100,000 positions, the function as a process before it, many keys.

Positions, fills and actions are ``ledger_crowd``'s; here come their lots, closings and marks, so that a page has all its parts.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Final

import requests

from fillbook.calendar import NEW_YORK, calendar
from fillbook.ledger import keeping, service
from fillbook.ledger.model import Book
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.database.migrate import migrate
from infra.local.ports import free_port
from infra.local.postgres import PostgresServer
from tests.bench.processor import whole_seconds
from tests.bench.report import RESULTS
from tests.bench.snapshot_place import ROOT, framework, opened, settings, wait_for
from tests.support.ledger_crowd import crowd

KEYS: Final = tuple(f"reader-{number}" for number in range(400))
"""A reader may ask 300 times a minute and export 6 times: measured ones take turns. All of them see the same."""
OWN: Final = tuple(f"own-{number}" for number in range(20))
"""Keys of which each may see a book more that nobody else may: no answer of theirs is anybody else's."""
OPENED_AT: Final = datetime(2026, 1, 2, 15, tzinfo=UTC)
APART: Final = timedelta(seconds=134)
"""117,000 positions in six months."""
LEFT_OPEN: Final = 1_000
BULK: Final = ("fills", "positions", "execution_actions", "lots", "closings")
_NOT_READY: Final = """
update pg_index i set indisready = false, indisvalid = false
 where i.indrelid in (select ('ledger.' || t)::regclass from unnest(:tables::text[]) as t)
"""
_FURTHER: Final = statement("update ledger.books set seq = seq + 1 where book_id = 'live'")
_LAST_NIGHT: Final = """
update ledger.result_books k set seq = s.seq, row_hash = s.row_hash
  from (select seq, row_hash from ledger.execution_actions where executed_at < :midnight::timestamptz order by seq desc limit 1) s
"""
_ROWS: Final = (
    """
insert into ledger.lots (book_id, lot_id, position_id, fill_id, action_id, opened_at, venue_order, status, quantity, price,
    multiplier, value, fees, fees_base, basis, fx_rate, split_factor, price_adjusted, quantity_adjusted, quantity_open,
    value_open, basis_open, fees_base_open)
select book_id, position_id, position_id, first_action_id, first_action_id, opened_at, '', status, 10, 100, 1, 1000, 0, 0, 1000,
       1, 1, 100, 10, quantity_open, quantity_open * 100, quantity_open * 100, 0
  from ledger.positions
""",
    """
insert into ledger.closings (book_id, action_id, version, lot_id, ordinal, quantity, lot_price, split_factor, close_value,
    lot_value, proceeds, lot_basis, realized_pnl_gross, realized_pnl, realized_pnl_base, executed_at, recorded_at)
select book_id, action_id, version, position_id, 1, quantity, 100, 1, value, quantity * 100, value, quantity * 100,
       realized_pnl, realized_pnl, realized_pnl, executed_at, recorded_at
  from ledger.execution_actions where action_type in ('TRIM', 'EXIT')
""",
)
_MARKS: Final = """
-- what was traded was seen before; what is held is seen at the end of each day, and much of it every five minutes today
insert into ledger.marks (book_id, instrument, bucket_at, marked_at, recorded_at, price, source)
select book_id, instrument, date_bin('5 minutes', at, 'epoch'), at, at, 101 + abs(hashtext(instrument || at)) % 100 / 100.0,
       'signal'
  from (select p.book_id, p.instrument, p.opened_at - d.age as at
          from ledger.positions p cross join (values (interval '1 minute'), (interval '5 days')) as d(age)
        union all
        select p.book_id, p.instrument, (s.day + time '15:52') at time zone 'America/New_York'
          from ledger.positions p
         cross join lateral generate_series(p.opened_at::date + 1, :now::timestamptz::date - 1, interval '1 day') as s(day)
         where p.status = 'OPEN'
        union all
        select p.book_id, p.instrument, at
          from (select * from ledger.positions where status = 'OPEN' order by opened_at limit 158) p
         cross join lateral generate_series(:open_at::timestamptz, :now::timestamptz, interval '5 minutes') as t(at)) as seen
    on conflict do nothing
"""


@dataclass(kw_only=True)
class Place:
    """The function's address and process, the database behind it as a reader and as its owner, and keys that take turns."""

    url: str
    db: Database
    owner: Database
    pid: int
    server_pid: int
    now: datetime
    made_seconds: float = 0.0
    keys: Iterator[str] = field(default_factory=lambda: itertools.cycle(KEYS))

    def change(self) -> None:
        """Let the book stand one further, so that an answer has to be made anew."""
        with self.owner.transaction() as tx:
            tx.execute(_FURTHER)

    def get(self, session: requests.Session, path: str, key: str | None = None, **headers: str) -> requests.Response:
        """An answer, which must be one; by the next key, or by this one."""
        asking = {"Authorization": f"Bearer {key or next(self.keys)}", **headers}
        answer = session.get(self.url + path, headers=asking, timeout=60)
        if answer.status_code not in (200, 304):
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:300]}")
        return answer

    @property
    def busy_ms(self) -> tuple[float, float]:
        """Processor time so far of the function and of the database, in ms."""
        return whole_seconds(self.pid) * 1000, whole_seconds(self.server_pid) * 1000

    @property
    def memory_mb(self) -> float:
        """The most memory that the process ever held."""
        found = (Path(f"/proc/{pid}/status").read_text() for pid in (self.pid, *children(self.pid)))
        return max(int(status.split("VmHWM:")[1].split()[0]) for status in found) / 1024


def children(pid: int) -> list[int]:
    """The processes that a process has begun: the one that answers is one of them."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def moment(positions: int) -> datetime:
    """When a book of so many positions is looked at: well into the session in which the last one is opened."""
    exchange = calendar()
    day = (OPENED_AT + positions * APART).astimezone(NEW_YORK).date()
    session = exchange.session(day) or exchange.next_session(day)
    return session.open_at + timedelta(hours=5, minutes=30)


@contextmanager
def indexed_at_once(db: Database, tables: Sequence[str]) -> Iterator[None]:
    """Rows that come meanwhile enter no index; afterwards all of them do, which takes a tenth of the time.

    The indexes stay the same ones: which of two is the newer decides plans (decision 0012).
    """
    with db.transaction() as tx:
        tx.execute(statement(_NOT_READY), tables=list(tables))
    yield
    with db.transaction() as tx:
        tx.execute(statement("set local maintenance_work_mem = '256MB'"))
        for table in tables:
            tx.execute(statement(f"reindex table ledger.{table}"))
            tx.execute(statement(f"analyze ledger.{table}"))


def rows(db: Database, texts: Sequence[str], given: Mapping[str, object]) -> None:
    """Rows made of those that are there, past all triggers."""
    with db.transaction() as tx:
        tx.execute(statement("set local session_replication_role = replica"))
        for text in texts:
            asked = statement(text)
            tx.execute(asked, **{name: given[name] for name in asked.parameters})


def fill(db: Database, positions: int) -> None:
    """The book with everything that a page shows."""
    now = moment(positions)
    session = calendar().session(now.astimezone(NEW_YORK).date())
    with db.transaction() as tx:
        service.open_book(tx, Book(book_id="live", start_cash=Decimal(100_000)), OPENED_AT)
    apart = (now - timedelta(minutes=1) - OPENED_AT) / positions
    given = {"now": now, "open_at": session.open_at if session else now}
    with indexed_at_once(db, BULK):
        crowd(db, "live", positions, left_open=min(LEFT_OPEN, positions // 2), spread=True, apart=apart, swing=3)
        rows(db, _ROWS, given)
    rows(db, (_MARKS,), given)
    with db.transaction() as tx:
        tx.execute(
            statement(
                "update ledger.books set seq = 10000000,"
                " last_recorded_at = (select max(recorded_at) from ledger.execution_actions)"
            )
        )
        for table in ("marks", "books"):
            tx.execute(statement(f"analyze ledger.{table}"))
    midnight = datetime.combine(now.astimezone(NEW_YORK).date(), time_of_day.min, NEW_YORK)
    keeping.carry_results(db, midnight)
    with db.transaction() as tx:  # sums of days were taken last night
        tx.execute(statement(_LAST_NIGHT), midnight=midnight)


@contextmanager
def place(positions: int) -> Iterator[Place]:
    """A server with the book and the function before it."""
    start = time.perf_counter()
    data, folder = RESULTS / "api-pg", RESULTS / "api-place"
    for path in (data, folder):
        shutil.rmtree(path, ignore_errors=True)
    folder.mkdir(parents=True)
    with PostgresServer(data, fsync=False, settings={"max_wal_size": "4GB", "shared_buffers": "512MB"}) as postgres:
        postgres.run("psql", "-qc", "create database api")
        url = postgres.url(database="api")
        migrate(url)
        with opened(url) as owner:
            fill(owner, positions)
        postgres.run("psql", "-qc", "vacuum analyze", "api")
        with (
            opened(url) as owner,
            opened(f"{url}?role=tracker_reader") as db,
            _function(url, folder, positions) as (address, pid),
        ):
            took = time.perf_counter() - start
            yield Place(
                url=address, db=db, owner=owner, pid=pid, server_pid=postgres.pid or 0, now=moment(positions), made_seconds=took
            )
    for path in (data, folder):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _function(url: str, folder: Path, positions: int) -> Iterator[tuple[str, int]]:
    clock = {"desk_at": moment(positions).isoformat(), "real_at": time.time(), "speed": 1.0, "paused": True}
    (folder / "clock.json").write_text(json.dumps(clock))
    keys = [_entry(key, "live") for key in KEYS] + [_entry(key, "live", f"of-{key}") for key in OWN]
    port = free_port()
    environment = {
        **settings(f"{url}?role=tracker_reader"),
        "DESK_KEYS": json.dumps(keys),
        "FILLBOOK_DESK_CLOCK": str(folder / "clock.json"),
        "THREADS": "8",
        "DESK_RATE_FACTOR": "1000",
    }
    command = framework("trade_tracker", ROOT / "functions" / "trade_tracker" / "main.py", port)
    log = (folder / "process.log").open("wb")
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(port, process, folder / "process.log")
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def _entry(key: str, *books: str) -> dict[str, object]:
    return {
        "id": key,
        "sha256": hashlib.sha256(key.encode()).hexdigest(),
        "scopes": ["read"],
        "tenant_id": "desk",
        "books": books,
    }
