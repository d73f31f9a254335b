"""A replay never touches what is live: by its role, by what it is made of, and in what stands afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fillbook.replay.asked import asked
from fillbook.replay.calls import Explained
from fillbook.replay.planning import plan
from fillbook.runtime.db import ConstraintViolated, DatabaseFailed
from fillbook.runtime.sql import statement
from tests.support.replay_desk import OPENS, ReplayDesk, book_rows, walk
from tests.support.signal_live import LiveDesk, digest

ROOT = Path(__file__).resolve().parents[3]
TICKERS = ["ZZTA", "ZZTB", "ZZTC"]

LIVE_WRITES = {
    "a live state": "insert into signal.ticker_states (book_id, ticker) values ('live', 'ZZTA')",
    "a live decision": "delete from signal.decisions where book_id = 'live'",
    "a live book": "insert into ledger.books select * from ledger.books",
    "an outbox row": "insert into outbox.events (event_id) values (gen_random_uuid())",
    "a message": "delete from notify.messages",
    "a receipt": "update signal.receipts set result = 'late'",
    "a receipt more": "insert into signal.receipts select * from signal.receipts",
    "the clearing of live": "select ledger.clear_replay_book('live')",
    "the dropping of live": "select ledger.drop_replay_book('live')",
    "a run of the live book": "update replay.run_records set book_id = 'live'",
}


@pytest.fixture
def live(open_database: Any, query: Any) -> LiveDesk:
    return LiveDesk(open_database("signal_worker", pool_size=4), query)


def touched(desk: ReplayDesk, text: str) -> int:
    """How many rows the role changed with a statement: none where the database refuses it."""
    try:
        with desk.db.transaction() as tx:
            return tx.execute(statement(text))
    except (DatabaseFailed, ConstraintViolated):
        return 0


def test_scenario_17_the_role_may_write_nothing_that_is_not_its_own(desk: ReplayDesk, live: LiveDesk) -> None:
    live.send()
    desk.call()
    before = digest(desk.query)
    for name, text in LIVE_WRITES.items():
        assert touched(desk, text) == 0, name
    assert digest(desk.query) == before


def test_scenario_16_live_goes_on_beside_a_replay_and_ends_as_without_one(desk: ReplayDesk, live: LiveDesk) -> None:
    day = walk(11, TICKERS, range(20))
    with ThreadPoolExecutor(2) as pool:
        taken = pool.submit(lambda: [live.take(document).result for document in day])
        for number in range(4):
            desk.day(run=f"beside-{number}", after="", limit=25)
        assert set(taken.result()) == {"decided"}
    beside = digest(desk.query)
    live_book = book_rows(desk.query, "live")
    answer = desk.day(run="afterwards", after="", limit=25)[-1]
    assert digest(desk.query)["outbox.events"] == beside["outbox.events"]
    assert book_rows(desk.query, "live") == live_book
    assert desk.rows(answer) == live_book, "the same receipts give the same ids and figures"


def test_scenario_12_of_eight_calls_at_once_one_writes(desk: ReplayDesk) -> None:
    desk.keep(walk(2, TICKERS, range(20)))
    desk.call(limit=1)

    def call(_: int) -> tuple[str, int]:
        try:
            answer = desk.call(offset=1, limit=24)
        except Explained as refusal:
            return refusal.reason, 0
        return "ok", answer.rows

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(call, range(8)))
    assert sum(rows for _, rows in outcomes) == 24
    assert {reason for reason, _ in outcomes} <= {"ok", "run_busy"}
    disturbed = desk.day()[-1]
    assert disturbed.result_hash == desk.day(run="other")[-1].result_hash


KILLS = int(os.environ.get("FILLBOOK_REPLAY_KILLS", "3"))  # scenario 19 asks for 50


def test_scenario_19_killed_at_random_points_and_resumed_a_day_ends_as_undisturbed(
    desk: ReplayDesk, database_url: str, query: Any
) -> None:
    desk.keep(walk(6, TICKERS, range(15 + 5 * KILLS)))  # two pages at most for each
    undisturbed = desk.day(run="undisturbed", after="", limit=500)[-1]
    seed = int(os.environ.get("FILLBOOK_REPLAY_SEED", "7"))
    random = Random(seed)
    program = ROOT / "tests" / "support" / "replay_task.py"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'shared'}"}
    desk.start(name="killed", date="2026-02-02")
    for number in range(KILLS):
        pages = random.randrange(2)
        command = [sys.executable, str(program), f"{database_url}?role=replay_worker", str(pages), str(number % 3)]
        ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, timeout=60, check=False)
        assert ended.returncode == -signal.SIGKILL, (seed, ended.stderr.decode())
        query("update replay.run_records set lease_until = clock_timestamp(), attempts = 0 where name = 'killed'")
    desk.work_off(page_rows=7)
    record = desk.shown("killed")
    assert (record["status"], record["resultHash"]) == ("done", undisturbed.result_hash), f"seed {seed}"
    assert desk.rows(record["book"]) == desk.rows(undisturbed)


def test_scenario_27_a_plan_with_clean_slate_counts_and_writes_nothing(desk: ReplayDesk) -> None:
    desk.keep(walk(5, TICKERS, range(20)))
    done = desk.day(after="", limit=500)[-1]
    tables = (
        "select schemaname || '.' || tablename as t from pg_catalog.pg_tables where schemaname in ('signal', 'ledger', 'replay')"
    )
    names = [row["t"] for row in desk.query(tables)]

    def everything() -> dict[str, Any]:
        return {name: desk.query(f"select md5(string_agg(t::text, '' order by t::text)) as h from {name} t") for name in names}

    before = everything()
    planned = plan(desk.desk, asked({}, {"date": "2026-02-02", "dryRun": "1", "cleanSlate": "1"}, desk.now), desk.now)
    assert everything() == before
    assert planned["purge"] == {
        "decisions": 60,
        "fills": len(desk.rows(done)["ledger.v_actions"]),
        "positions": done.run.trades_created,
    }
    assert (planned["rows"], len(planned["buckets"]), planned["buckets"][0]) == (60, 78, {"bucket": OPENS, "rows": 15})
    assert planned["gaps"]["grade"] == "gap"
    fresh = plan(desk.desk, asked({}, {"date": "2026-02-02", "run": "none-yet"}, desk.now), desk.now)
    assert (fresh["rows"], fresh["purge"]) == (60, None)
    assert everything() == before


def test_a_decision_input_of_another_schema_version_is_decoded_from_the_body(desk: ReplayDesk, query: Any) -> None:
    desk.keep(walk(3, ["ZZTA"], range(20)))
    first = desk.day(run="rows")[-1]
    query("update signal.receipts set decision_input = '[99]'")
    assert desk.day(run="bodies")[-1].result_hash == first.result_hash
