"""Shards and partition keys, shown: two and four processes of everything that scales leave the same books.

One local cloud, two databases one after the other, both new: receipts go by ticker to so many instances of signal_worker, a
fleet in shards to so many of account_sync_shard, a sweep of replays to so many tasks of the job. Then what stands in every book
is compared, and what was counted on the way with what came (infra/docs/scale.md).
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from fillbook.ledger import bookstore
from fillbook.replay.jobs import JOB
from fillbook.runtime.sql import statement
from fillbook.signal.ingest import receipt_message
from infra.local import plan
from infra.local.desk import LocalCloud
from infra.local.home import ROOT
from infra.local.meter import Meter
from tests.e2e.conftest import BOOK, desks, exported
from tests.support.campaigns import IS_FULL, small_or_full, tell
from tests.support.mt5_fleet import SHARD, SYNC, FleetDesk
from tests.support.replay_desk import OPENS, ReplayDesk, walk
from tests.support.signal_live import arrived

pytestmark = [pytest.mark.bundles, pytest.mark.slow]

WORKER, REPLAY = "signal_worker", "replay_worker"
SEED = 20260202
TICKERS = [f"ZZ{letter}" for letter in "ABCDEFGHIJKLMNOPQRST"[: small_or_full(5, 9)]]
MINUTES = 14  # one more and the first were too old for live
ACCOUNTS = small_or_full(12, 200)
SETTINGS = {"MT5_INLINE_ACCOUNTS_MAX": "2", "MT5_SHARD_ACCOUNTS_MAX": "3", "MT5_SESSIONS_MAX": "100"}
START = datetime.fromtimestamp(OPENS / 1000, UTC) + timedelta(minutes=MINUTES)
WAIT_SECONDS = 90.0
PRISTINE = "pristine"
BOOKS = "select book_id from ledger.books where book_id not like 'replay:%' order by book_id"
ROWS = {name: text for name, text in BOOK.items() if name != "messages"}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, bundles: Path, cluster: Path) -> Iterator[LocalCloud]:
    """A desk with two of everything."""
    with desks(tmp_path_factory.mktemp("scale"), bundles, cluster) as start:
        yield start(
            functions=[WORKER, SYNC, SHARD, REPLAY], instances={WORKER: 2, SHARD: 2}, desk_start=START, overrides=SETTINGS
        )


def renew(desk: LocalCloud, source: str, name: str) -> None:
    """Make a database as another one is, in place of what is there; whoever was connected connects again."""
    desk.database.close()
    desk._database = None
    server = desk._postgres._server
    assert server is not None
    server.run("psql", "-qc", f"drop database if exists {name} with (force)")
    server.run("psql", "-qc", f"create database {name} template {source}")


def day_of_signals(desk: LocalCloud) -> int:
    """Every receipt through the topic, in order by ticker alone."""
    now, receipts = desk.clock.now(), [arrived(document) for document in walk(SEED, TICKERS, range(MINUTES))]
    for ticker in TICKERS:
        messages = [receipt_message(one, now) for one in receipts if one.receipt.ticker == ticker]
        sent = [
            {"data": base64.b64encode(one.data).decode(), "attributes": dict(one.attributes), "orderingKey": one.ordering_key}
            for one in messages
        ]
        desk.control.publish("signals", sent)
    assert desk.control.wait_idle(WAIT_SECONDS)
    return len(receipts)


def read_the_fleet(desk: LocalCloud) -> int:
    """One slot of a fleet in shards; how many there were."""
    fleet = FleetDesk(desk)
    fleet.begin(ACCOUNTS, seed=SEED, servers=2)
    answer = fleet.tick()
    assert answer.status == 202, answer
    run = fleet.wait_for_run(answer.document["executionId"], WAIT_SECONDS)
    assert (run["state"], run["success_count"]) == ("finished", ACCOUNTS)
    assert desk.control.wait_idle(WAIT_SECONDS)
    assert fleet.untrue() == []
    return int(run["shards_total"])


def sweep(desk: LocalCloud, tasks: int) -> dict[str, str]:
    """A replay of the day for each of four tickers, by so many tasks that claim them; ticker -> hash."""
    replays = ReplayDesk(desk.database, lambda *_, **__: [], desk.database)
    found = replays.start(dates=["2026-02-02"], tickers=TICKERS[:4])
    if IS_FULL:
        by_the_job(desk, tasks)
    else:  # the same work without what a start costs
        command = [sys.executable, "-m", "tests.support.replay_crowd", desk.place.database_url, str(tasks)]
        paths = f"{ROOT}{os.pathsep}{ROOT / 'shared'}"
        subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, timeout=WAIT_SECONDS)
    shown = [replays.shown(run_id) for run_id in found]
    assert {one["status"] for one in shown} == {"done"}
    return {one["ticker"]: one["resultHash"] for one in shown}


def by_the_job(desk: LocalCloud, tasks: int) -> None:
    """As the platform runs it."""
    desk.clock.set(START + timedelta(days=1))  # a day that is not over is not run to its end
    token = desk.control.token(plan.email(desk.manifest, desk.manifest.operator_identity), "https://run.googleapis.com")
    place = f"/v2/projects/{desk.manifest.project_local}/locations/{desk.manifest.region}/jobs/{JOB}:run"
    headers = {"Authorization": f"Bearer {token}"}
    answer = requests.post(desk.control.url + place, json={"overrides": {"taskCount": tasks}}, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    end = time.monotonic() + WAIT_SECONDS
    while any(task["status"] != "succeeded" for task in desk.control.jobs()[-1]["tasks"]):
        assert time.monotonic() < end, desk.logs(JOB)[-3000:]
        time.sleep(0.05)


def states(desk: LocalCloud) -> dict[str, str]:
    """The ledger's own hash of what each book holds."""
    with desk.database.transaction(read_only=True, isolation="repeatable read") as tx:
        return {row["book_id"]: bookstore.book_state_hash(tx, row["book_id"]) for row in tx.query(statement(BOOKS))}


def worked(desk: LocalCloud, function: str) -> list[float]:
    """How many pushes each instance of a function has had."""
    paths = sorted(desk.home.requests.glob(f"{function}*.log"))
    return [
        float(sum(" push " in line for line in path.read_text().splitlines()))
        for path in paths
        if desk.function_of(path.stem) == function
    ]


def test_two_and_four_of_everything_leave_the_same_books(desk: LocalCloud) -> None:
    desk.control.pause_jobs()
    renew(desk, "fillbook", PRISTINE)
    meter, seen = Meter(desk), {}
    for count in (2, 4):
        if count == 4:
            renew(desk, PRISTINE, "fillbook")
            desk.scale({WORKER: 4, SHARD: 4})
            desk.control.pause_jobs()
            desk.clock.set(START)
        begun = time.monotonic()
        receipts, shards = day_of_signals(desk), read_the_fleet(desk)
        seen[count] = (states(desk), exported(desk.database, ROWS), sweep(desk, count))
        tell(f"{count}: {receipts} receipts, {ACCOUNTS} accounts in {shards} shards, 4 replays: {time.monotonic() - begun:.1f} s")
        assert len(worked(desk, WORKER)) == len(worked(desk, SHARD)) == count
        assert min(worked(desk, WORKER)) > 0 < min(worked(desk, SHARD))
    assert seen[2] == seen[4]
    books, rows, hashes = seen[2]
    assert len(books) == 1 + ACCOUNTS
    assert len(set(hashes.values())) == 4
    assert int(rows["actions"].split()[0]) > len(books) > int(rows["lanes"].split()[0]) == len(TICKERS)
    counts = meter.counts()
    tell(f"{sum(one.processor_seconds for one in desk.keeper.all()):.1f} s of processor, without the database's")
    pushes = counts["subscription signals-signal_worker"]["pushes"]
    assert counts["calls signal_worker push"]["requests"] == sum(worked(desk, WORKER)) >= 2 * receipts
    assert pushes >= receipts
    assert ("job replay-worker-job" in counts) == IS_FULL
