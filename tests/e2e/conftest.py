"""Whole desks for end-to-end tests: real processes from bundles, a real database that survives kill -9, a day cut short."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import shutil
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from fillbook.calendar import calendar
from fillbook.notify.judging import UNDER_WAY
from fillbook.runtime.db import Database
from fillbook.runtime.sql import encode, statement
from infra.local import demo
from infra.local.database import make_desk_cluster
from infra.local.demo_day import invented_day
from infra.local.desk import LocalCloud
from infra.local.home import ROOT
from infra.local.prepared import prepare, sources_digest
from infra.local.receipts import Document
from infra.local.summary import Summary
from infra.manifest import load
from tests.support.servers import made_once

pytest.register_assert_rewrite("tests.e2e.snapshot_sources")

DAY = date(2026, 2, 3)
WAIT_SECONDS = 60.0
FOOTER = re.compile(r"action_id ([0-9a-f-]{36})")
PROOF_TICKS_MAX = 30
PROOFS_UNDER_WAY = "select count(*) from notify.v_reconcile_runs where status in ('queued', 'running')"
NewDesk = Callable[..., LocalCloud]

# what a book holds, without what depends on when and in which process it was written
BOOK = {
    "actions": """select action_id, version, position_id, action_type::text, ticker, direction::text, executed_at, quantity,
                         price, value, fees, realized_pnl, position_quantity_after, position_vwap_after, reason, origin
                    from ledger.v_actions order by action_id""",
    "closings": "select action_id, lot_id, quantity, lot_price, realized_pnl from ledger.v_closings order by action_id, lot_id",
    "lots": """select lot_id, position_id, quantity, quantity_open, price, cost_basis, status::text
                 from ledger.v_lots order by lot_id""",
    "positions": """select position_id, symbol, direction::text, status::text, quantity_open, quantity_opened, cost_basis,
                           realized_pnl
                      from ledger.v_positions order by position_id""",
    "lanes": "select ticker, lane, reason, score, last_price, last_ts from signal.v_board order by ticker",
    "decisions": """select ticker, ts, receipt_id, lane, computed_lane, rule, action_ids
                      from signal.v_decisions order by ticker, ts""",
    "messages": """select subject_key, state, posted_version
                     from notify.v_messages where subject_kind = 'execution' order by subject_key""",
}


def minutes_of_the_day(minutes: int, *, tickers: int = 30, seed: str = "fillbook") -> list[list[Document]]:
    """The first minutes of an invented day."""
    session = calendar().session(DAY)
    assert session is not None
    return list(itertools.islice(invented_day(session.open_at, minutes, tickers=tickers, seed=seed), minutes))


def play(
    cloud: LocalCloud, minutes: Sequence[Sequence[Document]], disturb: Callable[[int], None] = lambda _minute: None
) -> Summary:
    """Send the minutes through the webhook and let the desk settle; ``disturb(number)`` is called before each minute."""

    def disturbed() -> Iterator[Sequence[Document]]:
        for number, minute in enumerate(minutes):
            disturb(number)
            yield minute

    desk, environment = demo.desk_of(cloud)
    return demo.play(desk, environment, disturbed(), sum(map(len, minutes)), io.StringIO())


def exported(db: Database, parts: Mapping[str, str] = BOOK) -> dict[str, str]:
    """A digest per part of the book: equal digests, equal books."""
    with db.transaction(read_only=True, isolation="repeatable read") as tx:
        rows = {name: tx.query(statement(text)) for name, text in parts.items()}
    return {name: f"{len(found)} {hashlib.sha256(encode(found).encode()).hexdigest()[:16]}" for name, found in rows.items()}


def counted(db: Database, text: str) -> int:
    """The one number a statement returns."""
    with db.transaction(read_only=True) as tx:
        (row,) = tx.query(statement(text))
    return int(next(iter(row.values())))


def inbox(cloud: LocalCloud) -> list[dict[str, Any]]:
    """Every message that stands on the fake Discord."""
    with urllib.request.urlopen(f"{cloud.place.discord_url}/_control/messages", timeout=WAIT_SECONDS) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found


def told_on_discord(cloud: LocalCloud) -> Counter[str]:
    """How often each execution stands on Discord, by the footers of the embeds: what a person would see."""
    footers = (embed.get("footer", {}).get("text", "") for message in inbox(cloud) for embed in message["embeds"])
    return Counter(found[1] for footer in footers if (found := FOOTER.match(footer)))


def booked(cloud: LocalCloud) -> list[str]:
    """The ids of all executions."""
    with cloud.database.transaction(read_only=True) as tx:
        return [str(row["action_id"]) for row in tx.query(statement("select action_id from ledger.v_actions"))]


def prove(cloud: LocalCloud) -> None:
    """One pass of the proof over the day, worked on by as many ticks as it wants; what was booked so far is looked for."""
    cloud.clock.step(UNDER_WAY.total_seconds() + 1)
    assert cloud.control.run_job("discord-reconcile-daily") == 200
    for _ in range(PROOF_TICKS_MAX):
        if counted(cloud.database, PROOFS_UNDER_WAY) == 0:
            return
        cloud.clock.step(60)
        cloud.control.run_job("discord-drain")
    raise AssertionError("the proof did not end")


# these days are of signals: the brokers' own clockwork would only add its executions to what is compared
BROKERS = ("execution_sync", "account_sync", "account_sync_shard")
SIGNAL_DESK = [name for name in load().functions if name not in BROKERS]


@pytest.fixture(scope="session")
def bundles(common_folder: Path) -> Path:
    """Bundles are written once for all desks of the session."""

    def write(folder: Path) -> None:
        sources = sources_digest(ROOT)
        for name in load().functions:
            prepare(name, ROOT, folder / name, sources)

    return made_once(common_folder, "bundles", write)


@pytest.fixture(scope="session")
def cluster(common_folder: Path) -> Path:
    """A desk's database is made and migrated once; each desk begins with a copy."""
    return made_once(common_folder, "desk", make_desk_cluster)


@contextmanager
def desks(folder: Path, bundles: Path, cluster: Path) -> Iterator[NewDesk]:
    """A factory of desks that all stop with the block."""
    running: list[LocalCloud] = []

    def start(name: str = "desk", **options: Any) -> LocalCloud:
        chosen = {"functions": SIGNAL_DESK, "desk_start": datetime(2026, 2, 3, 14, 0, tzinfo=UTC)} | options
        data = folder / name / "pgdata"
        if not data.exists():
            data.parent.mkdir(exist_ok=True)
            subprocess.run(["cp", "-a", cluster, data], check=True)
        cloud = LocalCloud(folder / name, bundles=bundles, **chosen)
        cloud.start()
        running.append(cloud)
        return cloud

    try:
        yield start
    finally:
        for cloud in running:
            cloud.stop(grace_seconds=0)  # nobody looks any more; that a desk ends in order is tested in integration/local
            shutil.rmtree(cloud.home.path / "pgdata", ignore_errors=True)  # the largest part; its log stays for who looks


@pytest.fixture
def new_desk(tmp_path: Path, bundles: Path, cluster: Path) -> Iterator[NewDesk]:
    """Factory of desks that stop with the test; each has a home of its own unless one is named."""
    with desks(tmp_path, bundles, cluster) as start:
        yield start
