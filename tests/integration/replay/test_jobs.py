"""Whole days, ranges and sweeps by tasks that claim runs: the rows and hashes of bucket by bucket, whoever dies on the way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fillbook.replay import jobs, runs, store
from fillbook.runtime.errors import Conflict, Rejected
from tests.support.kept_jobs import KeptJobs
from tests.support.receipts import MINUTE_MS
from tests.support.replay_desk import OPENS, ReplayDesk, minute, walk

TICKERS = ["ZZTA", "ZZTB", "ZZTC"]
DAY_MS = 86_400_000


@pytest.mark.parametrize("page_rows", [2_000, 17])
def test_scenario_2_a_day_as_a_job_is_row_for_row_the_day_bucket_by_bucket(desk: ReplayDesk, page_rows: int) -> None:
    desk.keep(walk(5, TICKERS, range(40)))
    by_calls = desk.day(run="calls")[-1]
    [run_id] = desk.start(name="job", date="2026-02-02")
    assert desk.work_off(page_rows) == 1
    record = desk.shown(run_id)
    assert (record["status"], record["resultHash"]) == ("done", by_calls.result_hash)
    assert desk.rows(record["book"]) == desk.rows(by_calls)


@pytest.mark.parametrize("tasks", [1, 2, 4])
def test_scenario_2_a_sweep_gives_the_same_whatever_the_number_of_tasks(desk: ReplayDesk, tasks: int) -> None:
    desk.keep(walk(5, TICKERS, range(12)))
    alone = {ticker: desk.day(run=f"alone-{ticker.lower()}", ticker=ticker)[-1] for ticker in TICKERS}
    found = desk.start(tickers=TICKERS, dates=["2026-02-02"])
    with ThreadPoolExecutor(tasks) as pool:
        walked = list(pool.map(lambda _: desk.work_off(), range(tasks)))
    assert sum(walked) == 3
    for record in map(desk.shown, found):
        by_calls = alone[record["ticker"]]
        assert record["resultHash"] == by_calls.result_hash
        assert desk.rows(record["book"]) == desk.rows(by_calls)


def test_scenario_20_a_run_whose_task_died_is_walked_on_from_where_it_stood_and_done_once(desk: ReplayDesk, query: Any) -> None:
    desk.keep(walk(5, TICKERS, range(20)))
    undisturbed = desk.day(run="undisturbed", after="", limit=500)[-1]
    [run_id] = desk.start(name="job", date="2026-02-02")
    dead = desk.task(page_rows=9)
    with desk.db.transaction() as tx:
        assert store.claim(tx, "00000000-0000-4000-8000-000000000001", desk.now, lease_seconds=90, attempts_max=3) == run_id
    walker = jobs._Walker(dead, run_id, "00000000-0000-4000-8000-000000000001")
    assert [walker._step() for _ in range(3)] == [True] * 3
    assert desk.work_off() == 0, "the lease is not over"
    query("update replay.run_records set lease_until = clock_timestamp() where run_id = :run", run=run_id)
    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(lambda _: desk.work_off(), range(2))) == 1
    assert walker._step() is False, "whoever lost the lease writes nothing more"
    assert desk.shown(run_id)["resultHash"] == undisturbed.result_hash
    assert desk.rows(desk.shown(run_id)["book"]) == desk.rows(undisturbed)


def test_a_run_that_died_three_times_is_given_up(desk: ReplayDesk, query: Any) -> None:
    desk.keep(walk(5, ["ZZTA"], range(5)))
    [run_id] = desk.start(name="job", date="2026-02-02")
    query("update replay.run_records set status = 'running', attempts = 3, lease_until = clock_timestamp() - interval '1 s'")
    assert desk.work_off() == 0
    assert (desk.shown(run_id)["status"], desk.shown(run_id)["error"]) == ("failed", "attempts_used")


def test_scenario_21_the_last_of_eleven_wishes_is_refused_by_job_and_by_bucket_alike(desk: ReplayDesk) -> None:
    tickers = [f"ZZ{letter}" for letter in "ABCDEFGHIJK"]
    desk.keep(minute(ticker, OPENS, "100.40", sector=None) for ticker in reversed(tickers))
    by_calls = desk.day(run="calls", limit=3)[-1]
    desk.start(name="job", date="2026-02-02")
    desk.work_off()
    for book in (by_calls.run.book_id, desk.shown("job")["book"]):
        rows = desk.query("select ticker, blocks from signal.decisions where book_id = :book and action_ids = '{}'", book=book)
        assert [(row["ticker"], row["blocks"][0]["rule"]) for row in rows] == [("ZZK", "L3")]
    assert desk.shown("job")["resultHash"] == by_calls.result_hash


def test_scenario_33_a_position_open_at_the_close_is_carried_into_the_next_day_of_a_range(desk: ReplayDesk) -> None:
    desk.keep([minute("ZZTA", OPENS + 380 * MINUTE_MS, "100.40"), minute("ZZTA", OPENS + DAY_MS, "96.00")])
    [run_id] = desk.start(**{"from": "2026-02-02", "to": "2026-02-03", "name": "range"})
    desk.work_off()
    record = desk.shown(run_id)
    assert (record["kind"], record["rows"], record["tradesCreated"]) == ("range", 2, 1)
    actions = desk.query(
        "select action_type, session_date from ledger.v_actions where book_id = :book order by seq", book=record["book"]
    )
    assert [(row["action_type"], row["session_date"].day) for row in actions] == [("ENTRY", 2), ("EXIT", 3)]


def test_a_cancelled_run_stops_and_a_deleted_one_leaves_nothing(desk: ReplayDesk) -> None:
    desk.keep(walk(5, ["ZZTA"], range(20)))
    [run_id] = desk.start(name="job", date="2026-02-02")
    runs.cancel(desk.desk, run_id, desk.now)
    assert desk.work_off() == 0
    assert desk.shown("job")["status"] == "cancelled"
    with pytest.raises(Conflict, match="run_ended"):
        runs.cancel(desk.desk, run_id, desk.now)
    desk.day(run="job")
    book = desk.shown("job")["book"]
    assert desk.rows(book)["signal.decisions"]
    runs.delete(desk.desk, run_id)
    assert not any(desk.rows(book).values())
    assert desk.query("select * from ledger.books where book_id like 'replay:%'") == []
    with pytest.raises(Rejected, match="run_unknown"):
        desk.shown("job")


def test_runs_beyond_the_kept_ones_and_too_old_ones_make_room(desk: ReplayDesk, query: Any) -> None:
    desk.desk = replace(desk.desk, runs_kept=2)
    for name in ("one", "two", "three"):
        desk.call(run=name)
        desk.now += timedelta(minutes=1)
    assert [row["name"] for row in query("select name from replay.run_records order by created_at")] == ["two", "three"]
    query("update replay.run_records set pinned = true where name = 'two'")
    desk.now += timedelta(days=31)
    desk.call(run="four", date="2026-02-02")
    assert [row["name"] for row in query("select name from replay.run_records order by created_at")] == ["two", "four"]


def test_a_pinned_run_is_kept_until_it_is_unpinned(desk: ReplayDesk, query: Any) -> None:
    desk.desk = replace(desk.desk, runs_kept=1)
    run_id = desk.call(run="mine").run.run_id
    for _ in range(2):
        runs.pin(desk.desk, run_id, pinned=True)  # pinned already: the same
    with pytest.raises(Conflict, match="run_pinned"):
        runs.delete(desk.desk, run_id)
    desk.now += timedelta(days=31)
    desk.call(run="other")
    assert {row["name"] for row in query("select name from replay.run_records")} == {"mine", "other"}
    runs.pin(desk.desk, run_id, pinned=False)
    desk.call(run="third")
    assert "mine" not in {row["name"] for row in query("select name from replay.run_records")}
    with pytest.raises(Rejected, match="run_unknown"):
        runs.pin(desk.desk, run_id, pinned=True)


def test_no_more_tasks_are_started_than_may_be_at_work(desk: ReplayDesk) -> None:
    platform, token = KeptJobs(), "00000000-0000-4000-8000-00000000000{}"
    desk.start(dates=["2026-02-02"], tickers=TICKERS)
    for number in range(3):
        jobs.start_tasks(desk.desk, platform, 5, tasks_max=2)
        with desk.db.transaction() as tx:
            store.claim(tx, token.format(number), desk.now, lease_seconds=90, attempts_max=3)
    assert [tasks for _, tasks, _ in platform.started] == [2, 1]


def test_more_than_four_runs_do_not_wait_at_once(desk: ReplayDesk) -> None:
    for number in range(4):
        desk.start(name=f"n{number}", date="2026-02-02")
    with pytest.raises(Conflict, match="too_many_runs"):
        desk.start(name="n5", date="2026-02-02")
