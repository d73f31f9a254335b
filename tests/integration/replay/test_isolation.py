"""A replay never touches what is live: by its role, by what it is made of, and in what stands afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from fillbook.replay.asked import asked
from fillbook.replay.calls import Explained
from fillbook.replay.planning import plan
from fillbook.runtime.db import ConstraintViolated, DatabaseFailed
from fillbook.runtime.sql import statement
from fillbook.runtime.tx import Tx
from fillbook.signal.receipt import instant
from tests.support.campaigns import chance, tell
from tests.support.receipts import MINUTE_MS
from tests.support.replay_desk import OPENS, ReplayDesk, book_rows, walk
from tests.support.replay_guard import REFUSED
from tests.support.replay_task import PAGE_ROWS
from tests.support.signal_live import LiveDesk, digest, wipe

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


def beside(query: Any) -> dict[str, Any]:
    """What a replay may not touch: the live book, what is told and waits to be told, and the receipts."""
    rows = digest(query)
    told = {
        table: query(f"select to_jsonb(t)::text as r from {table} t order by 1")
        for table in ("notify.messages", "notify.attempts")
    }
    return {**book_rows(query, "live"), **told, **{table: rows[table] for table in ("signal.receipts", "outbox.events")}}


def test_scenario_16_live_goes_on_beside_a_replay_of_today_and_ends_as_without_one(desk: ReplayDesk, live: LiveDesk) -> None:
    day = walk(11, TICKERS, range(20))
    desk.now = instant(OPENS + 26 * MINUTE_MS)  # today; the last bucket is settled
    for document in day:
        live.take(document)
    alone = beside(desk.query)
    wipe(desk.query)
    with ThreadPoolExecutor(2) as pool:
        taken = pool.submit(lambda: [live.take(document).result for document in day])
        for number in range(4):
            desk.day(run=f"beside-{number}", after="", limit=25)
        assert set(taken.result()) == {"decided"}
    assert beside(desk.query) == alone
    answer = desk.day(run="afterwards", after="", limit=25)[-1]
    assert beside(desk.query) == alone
    assert desk.rows(answer) == book_rows(desk.query, "live"), "the same receipts give the same ids and figures"


def test_a_write_outside_its_own_book_would_fail_every_test_of_this_folder(desk: ReplayDesk, live: LiveDesk) -> None:
    live.send()
    desk.query("grant insert, update, delete on signal.lane_history to replay_worker")
    desk.query("create policy open_to_all on signal.lane_history for all using (true) with check (true)")
    more = "select (jsonb_populate_record(h, '{\"seq\": 1000}')).* from signal.lane_history h"
    for text in (
        "delete from signal.lane_history",
        "update signal.lane_history set price = price + 1",
        f"insert into signal.lane_history {more}",
    ):
        with pytest.raises(DatabaseFailed, match=REFUSED), desk.db.transaction() as tx:
            tx.execute(statement(text))


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
MINUTES = 390 if KILLS > 3 else 30
BEGINNING = 10  # messages of a task before its first page is behind it
FREE = "update replay.run_records set lease_until = clock_timestamp(), attempts = 0 where name = 'killed' returning rows"


def test_scenario_19_killed_at_random_points_and_resumed_a_day_ends_as_undisturbed(
    desk: ReplayDesk, database_url: str, query: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.keep(walk(6, TICKERS, range(MINUTES)))
    desk.start(name="undisturbed", date="2026-02-02")
    messages = sent_by(monkeypatch, lambda: desk.work_off(PAGE_ROWS))
    random = chance(7)
    desk.start(name="killed", date="2026-02-02")
    rows, places = 3 * MINUTES, [0]
    with tasks_that_die(database_url) as die_at:
        for kills_left in range(KILLS, 0, -1):
            left = messages * (rows - places[-1]) // rows  # spread over the day, and the last one dies on its way too
            at = random.randint(1, min(left, 2 * left // kills_left + BEGINNING))
            assert die_at(at, random.choice(("BEFORE", "AFTER"))) == -signal.SIGKILL
            places += [row["rows"] for row in query(FREE)]
    tell(f"{KILLS} kills in a run of {rows} rows, at rows {places[1:]}")
    assert (desk.shown("killed")["status"], places[-1] > 0) == ("running", True), "they died on their way"
    desk.work_off(PAGE_ROWS)
    record, undisturbed = desk.shown("killed"), desk.shown("undisturbed")
    assert (record["status"], record["resultHash"]) == ("done", undisturbed["resultHash"])
    assert desk.rows(record["book"]) == desk.rows(undisturbed["book"])


def sent_by(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> int:
    """How many messages to the database some work takes."""
    sent, exchange = [0], Tx._exchange

    def counted(tx: Tx, *args: Any, **options: Any) -> Any:
        sent[0] += 1
        return exchange(tx, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Tx, "_exchange", counted)
        work()
    return sent[0]


@contextmanager
def tasks_that_die(url: str) -> Iterator[Callable[[int, str], int]]:
    """Start a task that dies at a message; its exit status comes back."""
    command = [sys.executable, "-m", "tests.support.replay_task", f"{url}?role=replay_worker"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'shared'}"}
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None

        def die_at(message: int, place: str) -> int:
            program.stdin.write(f"{message} {place}\n")
            program.stdin.flush()
            return int(program.stdout.readline())

        yield die_at
        program.stdin.close()
        assert program.wait(timeout=60) == 0


def test_scenario_27_a_plan_with_clean_slate_counts_and_writes_nothing(desk: ReplayDesk) -> None:
    desk.keep(walk(5, TICKERS, range(20)))
    done = desk.day(after="", limit=500)[-1]
    schemas = "('signal', 'ledger', 'replay', 'outbox', 'notify', 'ops')"
    tables = f"select schemaname || '.' || tablename as t from pg_catalog.pg_tables where schemaname in {schemas}"
    names = [row["t"] for row in desk.query(tables)]

    def everything() -> dict[str, Any]:
        hashed = "select '{0}' as t, md5(string_agg(t::text, '' order by t::text)) as h from {0} t"
        return {row["t"]: row["h"] for row in desk.query(" union all ".join(map(hashed.format, names)))}

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
