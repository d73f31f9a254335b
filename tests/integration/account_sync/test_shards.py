"""Large runs: cut into shards, worked by messages that come twice, late or at once, and by tasks of a job."""

from __future__ import annotations

import json
from threading import Barrier, Event, Thread
from typing import Any

import pytest

from fillbook.mt5 import pacing_store, shards, store
from fillbook.runtime import clock
from fillbook.runtime.db import Call
from fillbook.runtime.errors import Rejected, Unavailable
from tests.support.mt5_runs import OTHER_SERVER, Fleet

NOBODYS = b"00000000-0000-4000-8000-000000000000"
SMALL: dict[str, Any] = {"mt5_inline_accounts_max": 5, "mt5_shard_accounts_max": 4}
ALONE: dict[str, Any] = {"mt5_pacing_shard": "batch"}
"""A worker in groups keeps to the shard of its message."""


def test_more_accounts_than_fit_a_call_are_cut_by_server_and_handed_to_messages(fleet: Fleet) -> None:
    fleet.fake.add_server(OTHER_SERVER)
    here = fleet.fleet(9)
    there = [fleet.link(f"b{number}", server=OTHER_SERVER, login=50 + number) for number in range(3)]
    answer = fleet.tick(**SMALL)
    assert (answer["status_code"], answer["mode"], answer["shards"]) == (202, "fanned_out", 4)
    assert answer["statusUrl"] == f"/mt5/sync/status?run_id={answer['executionId']}"
    assert (answer["totalAccounts"], answer["syncResults"], answer["notDueCount"]) == (0, [], 0)
    told = [json.loads(message)["data"] for message in fleet.shards]
    assert sorted(len(one["account_ids"]) for one in told) == [1, 3, 4, 4]
    assert sorted(account for one in told for account in one["account_ids"]) == sorted([*here, *there])
    assert {one["sync_type"] for one in told} == {"scheduled"}
    assert not any({*one["account_ids"]} & {*here} and {*one["account_ids"]} & {*there} for one in told)
    assert fleet.tick(**SMALL)["duplicate"] is True
    assert len(fleet.shards) == 4


def test_shards_that_are_worked_end_the_run_with_its_totals(fleet: Fleet) -> None:
    fleet.fleet(9)
    run_id = fleet.tick(**SMALL)["executionId"]
    first, *rest = fleet.take_shards()
    fleet.deliver(first, **ALONE)
    row = fleet.run(run_id)
    assert (row["status"], row["shards_done"], row["shards_total"], row["success_count"]) == ("running", 1, 3, 4)
    for message in rest:
        fleet.deliver(message, **ALONE)
    row = fleet.run(run_id)
    assert (row["status"], row["shards_done"], row["success_count"], row["total_accounts"]) == ("finished", 3, 9, 9)
    assert row["finished_at"] is not None
    assert len(fleet.logs("success")) == 9


def test_a_shard_of_an_unhealthy_service_is_over_at_once_and_holds_up_no_other(fleet: Fleet) -> None:
    """A service that is not tried lends no sessions: whoever waits for one would wait until the run's budget is spent."""
    fleet.fleet(6)
    fleet.fake.fault("health", status="unhealthy")
    run_id = fleet.tick(**SMALL)["executionId"]
    begun, budget = clock.monotonic(), 60
    for message in fleet.take_shards():
        fleet.deliver(message, mt5_run_budget_seconds=budget)
    assert clock.monotonic() - begun < budget
    row = fleet.run(run_id)
    assert (row["shards_done"], row["shards_total"], row["success_count"]) == (2, 2, 0)
    assert fleet.fake.world.calls.total == 2, "each shard asks once how the service is"


def test_a_shard_of_a_large_fleet_logs_no_unchanged_account(fleet: Fleet) -> None:
    fleet.fleet(6)
    for most, logged in ((6, 6), (6, 6), (6, 6), (5, 0)):
        fleet.clock.step(300)
        run_id = fleet.tick(**SMALL)["executionId"]
        for message in fleet.take_shards():
            fleet.deliver(message, mt5_log_unchanged_max_accounts=most, mt5_adaptive_above_accounts=5)
        assert fleet.run(run_id)["success_count"] == 6
        assert sum(str(one["run_id"]) == run_id for one in fleet.logs()) == logged


def test_scenario_30_a_message_delivered_twice_finds_nothing_to_do(fleet: Fleet) -> None:
    fleet.fleet(6)
    run_id = fleet.tick(**SMALL)["executionId"]
    message = fleet.take_shards()[0]
    assert fleet.deliver(message, **ALONE) is not None
    calls, tokens = fleet.fake.world.calls.total, fleet.query("select sum(lease_token) as sum from mt5.account_sync_state")
    assert fleet.deliver(message) is None
    assert fleet.fake.world.calls.total == calls
    assert fleet.query("select sum(lease_token) as sum from mt5.account_sync_state") == tokens
    assert fleet.run(run_id)["success_count"] == 4


def test_scenario_30_a_message_delivered_at_once_twice_commits_each_account_once(fleet: Fleet) -> None:
    fleet.fleet(24)
    fleet.fake.fault("latency", ms=50, endpoint="snapshot")
    run_id = fleet.tick(mt5_inline_accounts_max=1)["executionId"]
    (message,) = fleet.take_shards()
    barrier, refused = Barrier(2), list[str]()

    def deliver() -> None:
        barrier.wait()
        try:
            fleet.deliver(message)
        except Unavailable as error:
            refused.append(error.reason)

    threads = [Thread(target=deliver) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(refused) <= {"accounts_held"}
    if refused:  # what the platform does with it: it comes again
        fleet.deliver(message)
    assert len(fleet.logs()) == 24
    assert {row["lease_token"] for row in fleet.query("select lease_token from mt5.account_sync_state")} == {1}
    row = fleet.run(run_id)
    assert (row["status"], row["success_count"], row["shards_done"]) == ("finished", 24, 1)


def test_a_shard_whose_accounts_another_worker_of_the_run_holds_comes_again(fleet: Fleet) -> None:
    ids = fleet.fleet(6)
    run_id = fleet.tick(mt5_inline_accounts_max=1)["executionId"]
    (message,) = fleet.take_shards()
    held = store.claim(fleet.db, run_id, ids[:2], lease_seconds=240).claimed
    with pytest.raises(Unavailable, match="accounts_held"):
        fleet.deliver(message)
    assert len(fleet.logs()) == 4
    store.hand_back(fleet.db, held)  # as if its lease had ended: the worker was killed
    fleet.deliver(message)
    assert len(fleet.logs()) == 6
    row = fleet.run(run_id)
    assert (row["status"], row["success_count"]) == ("finished", 6)


def test_an_account_whose_claim_is_being_made_is_not_taken_for_another_runs(fleet: Fleet) -> None:
    """Two deliveries at once: what one has locked and not yet committed shows the other no lease, and so no run."""
    ids = fleet.fleet(3)
    run_id = fleet.tick(mt5_inline_accounts_max=1)["executionId"]
    (message,) = fleet.take_shards()
    is_locked = Event()

    def claim_slowly() -> None:
        with fleet.db.transaction() as tx:
            tx.call(Call("mt5.claim", {"run_id": run_id, "account_ids": ids[:1], "lease_seconds": 240}))
            is_locked.set()
            clock.sleep(0.5)

    other = Thread(target=claim_slowly)
    other.start()
    assert is_locked.wait(60)
    with pytest.raises(Unavailable, match="accounts_held"):
        fleet.deliver(message)
    other.join()
    assert fleet.logs("skipped") == []
    assert sorted(str(row["account_id"]) for row in fleet.logs()) == sorted(ids[1:])


def test_an_account_that_another_run_holds_is_skipped_and_noted(fleet: Fleet) -> None:
    ids = fleet.fleet(6)
    fleet.tick(mt5_inline_accounts_max=1)
    (message,) = fleet.take_shards()
    store.claim(fleet.db, "00000000-0000-4000-8000-000000000001", ids[:1], lease_seconds=240)
    fleet.deliver(message)
    (row,) = fleet.logs("skipped")
    assert (str(row["account_id"]), row["error_code"]) == (ids[0], "leased")
    assert fleet.row(ids[0])["sync_failure_count"] == 0


def test_a_shard_without_a_session_hands_itself_on_instead_of_being_refused(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fleet.fleet(6)
    monkeypatch.setattr("fillbook.mt5.part.WAIT_SECONDS", 0)
    fleet.tick(mt5_inline_accounts_max=1)
    fleet.query(
        "insert into mt5.session_slots (instance_key, slot_no, holder, lease_until) select 'default', n, gen_random_uuid(),"
        " clock_timestamp() + interval '60 s' from generate_series(1, 10) n returning 1"
    )
    (message,) = fleet.take_shards()
    worked = fleet.deliver(message)
    assert worked.has_no_session
    assert fleet.logs() == []
    (again,) = fleet.take_shards()
    told = json.loads(again)["data"]
    assert (told["continuation"], sorted(told["account_ids"])) == (1, sorted(ids))
    fleet.query("update mt5.session_slots set holder = null, lease_until = null returning 1")
    assert fleet.deliver(message) is None, "the first continuation is over"
    fleet.deliver(again)
    assert len(fleet.logs("success")) == 6


def test_few_accounts_leave_the_other_sessions_to_others(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.fleet(3)
    claim, wanted = pacing_store.claim_slots, list[int]()

    def claimed(*args: Any, **given: Any) -> Any:
        wanted.append(given["wanted"])
        return claim(*args, **given)

    monkeypatch.setattr("fillbook.mt5.sessions.pacing_store.claim_slots", claimed)
    fleet.tick(mt5_inline_accounts_max=1)
    (message,) = fleet.take_shards()
    fleet.deliver(message)
    fleet.clock.step(300)
    assert fleet.tick()["successCount"] == 3
    assert wanted == [3, 3]


def test_a_shard_is_not_handed_on_for_ever(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.fleet(6)
    monkeypatch.setattr("fillbook.mt5.part.WAIT_SECONDS", 0)
    run_id = fleet.tick(mt5_inline_accounts_max=1)["executionId"]
    fleet.query(
        "insert into mt5.session_slots (instance_key, slot_no, holder, lease_until) select 'default', n, gen_random_uuid(),"
        " clock_timestamp() + interval '60 s' from generate_series(1, 10) n returning 1"
    )
    for _ in range(3):
        (message,) = fleet.take_shards()
        fleet.deliver(message, mt5_continuations_max=2)
    assert fleet.take_shards() == []
    row = fleet.run(run_id)
    assert (row["status"], row["deferred_count"] > 0) == ("finished", True)


def test_a_dead_shard_ends_its_run_as_failed_and_leaves_its_accounts_due(fleet: Fleet) -> None:
    fleet.fleet(9)
    run_id = fleet.tick(**SMALL)["executionId"]
    first, *rest = fleet.take_shards()
    for message in rest:
        fleet.deliver(message, **ALONE)
    shards.bury(fleet.grounds(), shards.read(first))
    shards.bury(fleet.grounds(), shards.read(first))
    row = fleet.run(run_id)
    assert (row["status"], row["error_code"], row["shards_done"]) == ("failed", "shard_dead", 3)
    assert fleet.deliver(first) is None
    due = fleet.query("select 1 from mt5.account_sync_state where next_due_at = '-infinity'")
    assert len(due) == 4


def test_wait_false_answers_at_once_and_leaves_the_work_to_a_message(fleet: Fleet) -> None:
    ids = fleet.fleet(3)
    answer = fleet.call({"wait": False})
    assert (answer["status_code"], answer["mode"], answer["shards"], answer["success"]) == (202, "fanned_out", 1, True)
    assert fleet.logs() == []
    (message,) = fleet.take_shards()
    fleet.deliver(message)
    assert len(fleet.logs()) == 3
    one = fleet.call({"account_id": ids[0], "wait": False})
    assert (one["status_code"], one["shards"]) == (202, 1)
    assert fleet.call({"account_id": ids[0], "wait": False})["status_code"] == 429
    (message,) = fleet.take_shards()
    fleet.deliver(message)
    assert len(fleet.logs()) == 4


def test_scenario_35_a_fleet_of_twelve_hundred_is_scheduled_whole(fleet: Fleet) -> None:
    fleet.query(
        "insert into mt5.service_instances (instance_key, base_url) values ('default', :url) on conflict do nothing returning 1",
        url=fleet.fake.base_url,
    )
    fleet.query(
        "insert into mt5.servers (server, zone_name, shift_minutes) select 'S' || n, 'UTC', 0 from generate_series(1, 3) n"
        " returning 1"
    )
    fleet.query(
        "insert into mt5.trading_accounts (id, tenant_id, broker_name, server, login_number, book_id)"
        " select gen_random_uuid(), 'desk', 'B', 'S' || (n % 3 + 1), n, 'mt5:S:' || n from generate_series(1, 1200) n returning 1"
    )
    fleet.query(
        "insert into mt5.account_sync_state (account_id, tenant_id) select id, tenant_id from mt5.trading_accounts returning 1"
    )
    answer = fleet.tick()
    assert (answer["status_code"], answer["shards"]) == (202, 30)
    told = [account for message in fleet.shards for account in json.loads(message)["data"]["account_ids"]]
    assert len(told) == len(set(told)) == 1200
    assert fleet.run(answer["executionId"])["total_accounts"] == 1200


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"event_type": "sync_requested", "data": {}}',
        b'{"event_type": "mt5_sync_requested", "event_id": "1", "data": {"run_id": "x", "shard_no": 0, "continuation": 0}}',
        b'{"event_type": "mt5_sync_requested", "data": {"run_id": "%b", "shard_no": true, "continuation": 0}}' % NOBODYS,
    ],
)
def test_a_message_that_is_none_of_ours_is_refused(body: bytes) -> None:
    with pytest.raises(Rejected):
        shards.read(body)


def test_a_late_message_of_a_run_that_is_forgotten_does_nothing(fleet: Fleet) -> None:
    fleet.fleet(6)
    fleet.tick(mt5_inline_accounts_max=1)
    (message,) = fleet.take_shards()
    fleet.query("delete from mt5.sync_shards returning 1")
    fleet.query("delete from mt5.sync_runs returning 1")
    started = clock.monotonic()
    assert fleet.deliver(message) is None
    assert clock.monotonic() - started < 30  # bounded, not measured
    assert fleet.logs() == []
