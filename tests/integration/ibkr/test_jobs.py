"""Jobs: one that waits and one that runs per key, a lease that ends, back-off, deferral, and what people hear of failures."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from fillbook.ibkr import jobs, payloads
from fillbook.ibkr.payloads import Defaults, Requested
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected
from tests.support.ibkr import exec_id, tws
from tests.support.ibkr_world import NOW, Query, World

DEFAULTS = Defaults(targets=(("127.0.0.1", 4002), ("gateway.internal", 4001)), client_id=11, queries=("statement",))
TRADES = payloads.read("trades.sync", {}, DEFAULTS)
POSITIONS = payloads.read("positions.sync", {}, DEFAULTS)


def put(db: Database, requested: Requested = TRADES, **options: Any) -> jobs.Enqueued:
    return jobs.enqueue_once(db, requested, requested_by="someone@desk.example", **({"now": NOW} | options))


def claimed(db: Database, **options: Any) -> jobs.Job:
    job = jobs.claim(db, **({"now": NOW} | options))
    assert job is not None
    return job


def expire(query: Query) -> None:
    query("update ibkr.jobs set lease_expires_at = clock_timestamp() - interval '1 second' where state = 'running'")


def states(query: Query) -> list[tuple[str, int, int]]:
    rows = query("select state, attempts, deferrals from ibkr.jobs order by created_at, state")
    return [(row["state"], row["attempts"], row["deferrals"]) for row in rows]


def test_the_same_request_from_32_threads_at_once_is_one_job_and_one_event(worker: Database, query: Query) -> None:
    barrier = threading.Barrier(32)

    def ask(_: int) -> jobs.Enqueued:
        barrier.wait(30)
        return put(worker)

    with ThreadPoolExecutor(32) as pool:
        taken = list(pool.map(ask, range(32)))
    assert len({one.job_id for one in taken}) == 1
    assert sum(one.is_new for one in taken) == 1
    assert states(query) == [("queued", 0, 0)]
    assert [row["event_type"] for row in query("select event_type from outbox.events")] == ["sync_requested"]


def test_while_one_runs_another_may_wait_and_is_not_begun_before_the_first_ends(worker: Database, query: Query) -> None:
    first = put(worker)
    running = claimed(worker)
    second = put(worker)
    assert second.is_new
    assert second.job_id != first.job_id
    assert put(worker).job_id == second.job_id
    assert jobs.claim(worker, NOW) is None
    assert jobs.finish(worker, running, NOW).is_held
    assert claimed(worker).job_id == second.job_id
    assert put(worker, POSITIONS).is_new
    assert claimed(worker).job_type == "positions.sync"


def test_jobs_are_claimed_once_by_workers_that_come_together(worker: Database, query: Query) -> None:
    for days in range(1, 9):
        put(worker, payloads.read("trades.sync", {"lookback_days": days}, DEFAULTS))
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: jobs.claim(worker, NOW), range(24)))
    ids = [job.job_id for job in got if job is not None]
    assert len(ids) == len(set(ids))
    while (job := jobs.claim(worker, NOW)) is not None:  # who lost a race asks again, as every tick does
        ids.append(job.job_id)
    assert len(set(ids)) == 8


def test_a_lease_that_ran_out_is_taken_back_and_the_former_holder_changes_nothing(world: World, query: Query) -> None:
    db = world.db
    put(db)
    dead = claimed(db)
    query(
        "insert into ibkr.sync_runs (id, job_id, source, kind, is_backfill, state, requested_from, requested_to, started_at,"
        " parser_version) values (gen_random_uuid(), :job, 'tws', 'executions', false, 'running', :since, :now, :now, 1)",
        job=dead.job_id,
        now=NOW,
        since=NOW - timedelta(days=1),
    )
    assert jobs.reap(db, NOW) == (0, ())
    expire(query)
    assert jobs.reap(db, NOW)[0] == 1
    assert [row["state"] for row in query("select state from ibkr.sync_runs")] == ["abandoned"]
    assert jobs.claim(db, NOW) is None  # its back-off
    heir = claimed(db, now=NOW + timedelta(minutes=1))
    assert (heir.job_id, heir.attempts) == (dead.job_id, 2)
    assert not jobs.finish(db, dead, NOW).is_held
    assert not jobs.fail(db, dead, "late", NOW, is_final=True).is_held
    assert states(query) == [("running", 2, 0)]
    assert jobs.finish(db, heir, NOW).is_held
    assert states(query) == [("succeeded", 2, 0)]


def test_a_job_that_comes_back_gives_way_to_the_one_that_waits_already(worker: Database, query: Query) -> None:
    put(worker)
    running = claimed(worker)
    waiting = put(worker)
    assert jobs.fail(worker, running, "tws_unavailable", NOW, is_final=False).state == "replaced"
    rows = query("select id, state, attempts, last_error from ibkr.jobs order by state")
    assert [(row["state"], row["attempts"], row["last_error"]) for row in rows] == [
        ("failed", 1, "replaced"),
        ("queued", 1, "tws_unavailable"),
    ]
    assert str(rows[1]["id"]) == waiting.job_id


def test_five_attempts_then_it_is_given_up_and_the_first_complete_run_says_that_it_is_over(world: World, query: Query) -> None:
    put(world.db)
    now = NOW
    for attempt in range(1, 6):
        job = claimed(world.db, now=now)
        assert job.attempts == attempt
        left = jobs.fail(world.db, job, "tws_unavailable", now, is_final=False)
        assert left.state == ("failed" if attempt == jobs.ATTEMPTS_MAX else "queued")
        now += jobs.BACK_OFF_MAX
    assert world.events() == ["sync_requested", "sync_failed", "sync_failed"]
    [told, _] = query("select payload::jsonb->'data' as data from outbox.events where event_type = 'sync_failed' order by id")
    assert (told["data"]["error_class"], told["data"]["failures"]) == ("tws_unavailable", 5)
    assert world.anomalies() == [("sync_failed", "tws"), ("sync_failed", "tws")]
    world.now = now
    world.socket(tws(exec_id(1)))
    assert [name for name in world.events() if name.startswith("sync_re")] == ["sync_requested", *["sync_recovered"] * 2]
    assert world.anomalies() == []


def test_a_deferral_uses_no_attempt(worker: Database, query: Query) -> None:
    put(worker)
    for count in range(1, 9):
        job = claimed(worker, now=NOW + timedelta(minutes=count))
        assert (job.attempts, job.deferrals) == (1, count - 1)
        assert jobs.defer(worker, job, NOW + timedelta(minutes=count + 1), "1019", NOW).is_held
    assert states(query) == [("queued", 0, 8)]


def test_the_back_off_doubles_up_to_fifteen_minutes_with_a_fifth_of_chance() -> None:
    dice = random.Random(1)
    spans = [[jobs.back_off(attempts, dice) for _ in range(50)] for attempts in range(1, 9)]
    wholes = [30, 60, 120, 240, 480, 900, 900, 900]
    for whole, span in zip(wholes, spans, strict=True):
        assert timedelta(seconds=whole * 0.8) <= min(span) < max(span) <= timedelta(seconds=whole)


def test_what_follows_a_job_is_enqueued_with_its_end_or_not_at_all(worker: Database, query: Query) -> None:
    put(worker)
    job = claimed(worker)
    expire(query)
    jobs.reap(worker, NOW)
    assert not jobs.finish(worker, job, NOW, [(POSITIONS, NOW)]).is_held
    assert len(states(query)) == 1
    again = claimed(worker, now=NOW + timedelta(minutes=5))
    assert jobs.finish(worker, again, NOW, [(POSITIONS, NOW + timedelta(seconds=20))]).partitions != ()
    assert [state for state, _, _ in states(query)] == ["queued", "succeeded"]


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"host": "evil.example"}, "host"),
        ({"host": "gateway.internal", "port": 4002}, "port"),
        ({"host": "gateway.internal"}, "port"),
        ({"port": "4002"}, "port"),
        ({"port": 4002.0}, "port"),
        ({"client_id": 0}, "client_id"),
        ({"client_id": 2**31}, "client_id"),
        ({"client_id": True}, "client_id"),
        ({"connect_timeout_seconds": 61}, "connect_timeout_seconds"),
        ({"connect_timeout_seconds": 0}, "connect_timeout_seconds"),
        ({"lookback_days": 31}, "lookback_days"),
        ({"lookback_days": "2"}, "lookback_days"),
        ({"symbol": "AAPL"}, "symbol"),
        ([], "payload"),
    ],
)
def test_an_override_out_of_range_or_unknown_is_refused_with_its_field(payload: Any, field: str) -> None:
    with pytest.raises(Rejected) as refused:
        payloads.read("trades.sync", payload, DEFAULTS)
    assert (refused.value.reason, refused.value.field) == ("invalid_payload", field)


def test_the_same_effective_payload_is_the_same_work() -> None:
    whole = {"host": "127.0.0.1", "port": 4002, "client_id": 11, "connect_timeout_seconds": 10, "lookback_days": 2}
    assert payloads.read("trades.sync", whole, DEFAULTS) == TRADES
    assert payloads.read("trades.sync", None, DEFAULTS).dedupe_key == TRADES.dedupe_key
    assert TRADES.dedupe_key != POSITIONS.dedupe_key
    assert payloads.read("trades.sync", {"lookback_days": 3}, DEFAULTS).dedupe_key != TRADES.dedupe_key


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"kind": "confirmation"}, "kind"),
        ({"from_date": "2026-01-01"}, "to_date"),
        ({"from_date": "2026-01-01", "to_date": "2027-01-01"}, "to_date"),
        ({"from_date": "2026-01-02", "to_date": "2026-01-01"}, "to_date"),
        ({"from_date": "soon", "to_date": "2026-01-01"}, "from_date"),
    ],
)
def test_a_statement_is_asked_for_of_a_configured_kind_and_at_most_a_year(payload: Any, field: str) -> None:
    with pytest.raises(Rejected) as refused:
        payloads.read("flex.request", payload, DEFAULTS)
    assert refused.value.field == field


def test_an_unknown_type_and_an_unknown_id_are_refused(worker: Database) -> None:
    with pytest.raises(Rejected, match="job_type_unknown"):
        payloads.read("orders.place", {}, DEFAULTS)
    refused: Callable[[str], Any] = lambda job_id: jobs.find(worker, job_id)  # noqa: E731
    for job_id in ("x", "00000000-0000-4000-8000-000000000000"):
        with pytest.raises(Rejected, match="job_unknown"):
            refused(job_id)
