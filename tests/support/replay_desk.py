"""Days to run again: invented receipts stored in bulk, a desk that calls the room's use cases, and what stands afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from fillbook.replay import jobs
from fillbook.replay.asked import asked
from fillbook.replay.calls import process
from fillbook.replay.jobs import Task
from fillbook.replay.model import BucketAnswer
from fillbook.replay.runs import Desk
from fillbook.replay.service import Limits
from fillbook.replay.settings import ReplayWorkerConfig
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Call, Database
from fillbook.signal import store
from fillbook.signal.profile import load
from fillbook.signal.receipt import ParsedReceipt, instant
from tests.support.receipts import MINUTE_MS, body
from tests.support.signal_desk import mirrored
from tests.support.signal_live import arrived

Query = Callable[..., list[dict[str, Any]]]
DAY = date(2026, 2, 2)
OPENS = 1_770_042_600_000  # 09:30 New York of DAY
LATER = datetime(2026, 2, 20, 12, 0, tzinfo=UTC)
ROWS_A_CALL = 500
CENT = Decimal("0.01")


def minute(ticker: str, ts: int, price: Decimal | str, *, long: bool = True, **changes: Any) -> dict[str, Any]:
    """A receipt of one minute that would enter: R (or R turned over) with its levels around ``price`` and a fresh trigger."""
    document = body() if long else mirrored()
    shift = Decimal(price) - document["price"]
    document["tp_levels"] = [{**level, "price": level["price"] + shift} for level in document["tp_levels"]]
    document |= {name: document[name] + shift for name in ("tp", "sl", "trigger_price")}
    document |= {
        "ticker": ticker,
        "ts": ts,
        "time_close": ts + MINUTE_MS,
        "price": Decimal(price),
        "trigger_ts": ts - 15 * MINUTE_MS,
    }
    return document | changes


def walk(seed: int, tickers: Sequence[str], minutes: Iterable[int], *, start: int = OPENS) -> list[dict[str, Any]]:
    """Receipts of every ticker at these minutes after ``start``: they enter, trim, move stops and leave; same seed, same day."""
    random = Random(seed)
    prices = {ticker: Decimal("100.40") for ticker in tickers}
    sides = {ticker: random.random() < 0.8 for ticker in tickers}
    triggers = dict.fromkeys(tickers, start - 15 * MINUTE_MS)
    frames = {ticker: Decimal("100.40") for ticker in tickers}
    found = []
    for number in minutes:
        ts = start + number * MINUTE_MS
        for ticker in tickers:
            if random.random() < 0.04:
                sides[ticker] = not sides[ticker]
            if random.random() < 0.15:
                triggers[ticker], frames[ticker] = ts - random.randrange(0, 30) * MINUTE_MS, prices[ticker]
            step = Decimal(random.randrange(-90, 100)) / 10_000
            prices[ticker] = max(Decimal(20), (prices[ticker] * (1 + step)).quantize(CENT))
            document = minute(ticker, ts, frames[ticker], long=sides[ticker], trigger_ts=triggers[ticker])
            document["price"] = prices[ticker]
            document["sector"] = f"Sector {sum(map(ord, ticker)) % 3}"
            _disturb(random, document)
            found.append(document)
    return found


def _disturb(random: Random, document: dict[str, Any]) -> None:
    if random.random() < 0.3:
        document["phase_pct"] = Decimal(random.randrange(0, 85)) / 100
    if random.random() < 0.2:
        document["ltf_score"] = Decimal(random.randrange(-200, 300)) / 10
    for name in ("sl", "tp_levels", "trigger_reason", "state", "sector"):
        if random.random() < 0.02:
            document[name] = None


class ReplayDesk:
    """The room's use cases on a test database; ``keep`` stores receipts as if live had met them."""

    def __init__(self, db: Database, query: Query, owner: Database, **options: Any) -> None:
        self.db = db
        self.owner = owner
        self.query = query
        self.desk = Desk(db=db, code_version="code 1", **options)
        self.now = LATER

    def keep(self, documents: Iterable[dict[str, Any]], *, result: str = "decided", received: int = 1) -> list[ParsedReceipt]:
        """Store receipts; ``received`` seconds after their close."""
        receipts = [arrived(document) for document in documents]
        rows = [self._row(one, result, received) for one in receipts]
        for start in range(0, len(rows), ROWS_A_CALL):
            self.owner.call(Call("signal.apply", {"receipts": rows[start : start + ROWS_A_CALL]}))
        return receipts

    def _row(self, one: ParsedReceipt, result: str, received: int) -> dict[str, Any]:
        at = instant(one.receipt.time_close or one.receipt.ts) + timedelta(seconds=received)
        return store.receipt_row(one, received_at=at, now=at, result=result)

    def call(self, **params: Any) -> BucketAnswer:
        """One call of the bucket route, parameters by their wire names."""
        given = {"date": DAY.isoformat()} | params
        return process(self.desk, asked({}, given, self.now), created_by="tests", now=self.now, limits=Limits(), deadline=None)

    def day(self, **params: Any) -> list[BucketAnswer]:
        """Calls until nothing is left."""
        answers = [self.call(**params)]
        for name in ("cleanSlate",):
            params.pop(name, None)
        while answers[-1].has_more:
            if "after" in params:
                params["after"] = answers[-1].after or ""
            answers.append(self.call(**params))
            assert len(answers) < 2_000
        return answers

    def start(self, **body: Any) -> list[str]:
        """Runs that wait for a task, by the document of the route."""
        config = ReplayWorkerConfig(fillbook_env="local", fillbook_database_url="postgresql://nowhere", fillbook_project="p")
        found: list[str] = jobs.start(self.desk, body, config, created_by="tests", now=self.now)["runs"]
        return found

    def task(self, page_rows: int = 2_000) -> Task:
        """One task of the job."""
        return Task(desk=self.desk, clock=FixedClock(self.now), limits=Limits(), page_rows=page_rows)

    def work_off(self, page_rows: int = 2_000) -> int:
        """Walk everything that waits."""
        return jobs.work_off(self.task(page_rows))

    def shown(self, run: str) -> dict[str, Any]:
        """One run as the route shows it."""
        return jobs.shown(self.desk, run)

    def with_code(self, version: str) -> ReplayDesk:
        """The same desk with other code."""
        other = ReplayDesk(self.db, self.query, self.owner)
        other.desk = replace(self.desk, code_version=version)
        return other

    def with_profiles(self, name: str) -> ReplayDesk:
        """The same desk, where every name of a profile means this one."""
        other = ReplayDesk(self.db, self.query, self.owner)
        other.desk = replace(self.desk, profiles=lambda _: load(name))
        return other

    def rows(self, run: str | BucketAnswer) -> dict[str, list[str]]:
        """Everything a run wrote, as text in order, without its book and times of recording."""
        book = run if isinstance(run, str) else run.run.book_id
        return book_rows(self.query, book)


BOOK_TABLES = {
    "signal.decisions": ("recorded_at",),
    "signal.ticker_states": ("updated_at", "day_change_percent", "newest_ts"),
    "signal.state_snapshots": (),
    "signal.lane_history": (),
    "signal.plans": (),
    "signal.stop_history": (),
    "ledger.v_actions": ("recorded_at", "seq", "version", "origin"),
    "ledger.v_lots": (),
    "ledger.v_positions": (),
    "ledger.v_marks": ("recorded_at",),
}


def book_rows(query: Query, book_id: str) -> dict[str, list[str]]:
    """Every row of one book in the rooms that hold books, as text in order; book and times of recording left out."""
    found = {}
    for table, left_out in BOOK_TABLES.items():
        names = ",".join(repr(name) for name in ("book_id", "tenant_id", *left_out))
        text = f"select (to_jsonb(t) - array[{names}]::text[])::text as r from {table} t where book_id = :book order by 1"
        found[table] = [row["r"] for row in query(text, book=book_id)]
    return found
