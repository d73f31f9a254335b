"""Runs and shards: one run per slot, taken over when it is silent, ended once, with the sum of its parts."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

from fillbook.mt5 import runstore
from fillbook.mt5.runrecords import Shard, Totals
from fillbook.mt5.words import RunMode, RunStatus, ShardState, SyncStatus, SyncType
from tests.support.mt5_world import NOW, World, run_id

SLOT = NOW.replace(minute=10)


def scheduled(world: World) -> tuple[str, str]:
    """Open a run of the slot; the outcome and the run's id."""
    opened = world.open(sync_type=SyncType.SCHEDULED, scheduled_for=SLOT)
    return opened.outcome, opened.run.run_id


def silence(world: World, seconds: int) -> None:
    """Let the heartbeat lie back."""
    world.query(f"update mt5.sync_runs set heartbeat_at = clock_timestamp() - interval '{seconds} seconds' returning 1")


def test_a_slot_has_one_run_and_a_repetition_learns_of_it(world: World) -> None:
    assert scheduled(world) == ("opened", run_id(1))
    silence(world, 50)
    assert scheduled(world) == ("duplicate", run_id(1))
    with world.db.transaction() as tx:
        totals = Totals(total_accounts=3, success_count=2, failure_count=1, trades_synced=4)
        run = runstore.close_run(tx, run_id(1), RunStatus.FINISHED, totals, NOW + timedelta(seconds=12))
    assert run is not None
    assert (run.status, run.duration_ms, run.totals) == (RunStatus.FINISHED, 12_000, totals)
    silence(world, 500)
    repeated = world.open(sync_type=SyncType.SCHEDULED, scheduled_for=SLOT)
    assert (repeated.outcome, repeated.run) == ("duplicate", run)
    assert world.open(sync_type=SyncType.SCHEDULED, scheduled_for=SLOT + timedelta(minutes=5)).outcome == "opened"
    assert world.open().outcome == "opened"
    assert world.open().outcome == "opened"


def test_a_run_that_is_silent_for_a_minute_is_taken_over_under_its_own_id_by_one(world: World) -> None:
    scheduled(world)
    silence(world, 61)
    start = threading.Barrier(3)
    outcomes: list[tuple[str, str]] = []

    def work() -> None:
        start.wait()
        outcomes.append(scheduled(world))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == [("duplicate", run_id(1)), ("duplicate", run_id(1)), ("taken_over", run_id(1))]


def test_a_run_that_failed_is_taken_over_at_once(world: World) -> None:
    scheduled(world)
    with world.db.transaction() as tx:
        runstore.close_run(tx, run_id(1), RunStatus.FAILED, Totals(), NOW, error_code="database_unavailable")
    again = world.open(sync_type=SyncType.SCHEDULED, scheduled_for=SLOT)
    assert (again.outcome, again.run.status, again.run.error_code) == ("taken_over", RunStatus.RUNNING, None)


def test_a_heartbeat_is_of_a_run_that_is_not_over_and_a_run_ends_once(world: World) -> None:
    scheduled(world)
    silence(world, 61)
    assert runstore.heartbeat(world.db, run_id(1))
    assert scheduled(world)[0] == "duplicate"
    with world.db.transaction() as tx:
        assert runstore.close_run(tx, run_id(1), RunStatus.DEADLINE, Totals(deferred_count=2), NOW) is not None
        assert runstore.close_run(tx, run_id(1), RunStatus.FINISHED, Totals(deferred_count=2), NOW) is None
        found = runstore.run(tx, run_id(1))
        assert found is not None
        assert (found.status, found.totals.deferred_count) == (RunStatus.DEADLINE, 2)
        assert runstore.run(tx, run_id(77)) is None
    assert not runstore.heartbeat(world.db, run_id(1))


def shards(world: World) -> list[Shard]:
    accounts = [world.link(login).account_id for login in range(1, 7)]
    return [
        Shard(run_id=run_id(1), shard_no=number, instance_key="default", account_ids=tuple(accounts[number * 2 : number * 2 + 2]))
        for number in range(3)
    ]


def test_cutting_a_run_again_changes_nothing(world: World) -> None:
    scheduled(world)
    parts = shards(world)
    with world.db.transaction() as tx:
        assert runstore.add_shards(tx, run_id(1), parts[:2], mode=RunMode.FANNED_OUT, total_accounts=4) == (0, 1)
        assert runstore.add_shards(tx, run_id(1), parts[:2], mode=RunMode.FANNED_OUT, total_accounts=4) == ()
        assert runstore.add_shards(tx, run_id(1), parts, mode=RunMode.FANNED_OUT, total_accounts=2) == (2,)
        run = runstore.run(tx, run_id(1))
    assert run is not None
    assert (run.mode, run.shards_total, run.totals.total_accounts) == (RunMode.FANNED_OUT, 3, 6)


def test_a_run_ends_with_its_last_shard_and_has_the_sum_of_them(world: World) -> None:
    scheduled(world)
    parts = shards(world)
    with world.db.transaction() as tx:
        runstore.add_shards(tx, run_id(1), parts, mode=RunMode.FANNED_OUT, total_accounts=6)
        begun = [runstore.begin_shard(tx, run_id(1), part.shard_no, 0, NOW) for part in parts]
        assert [one is not None and one[0].account_ids == part.account_ids for one, part in zip(begun, parts, strict=True)] == [
            True
        ] * 3
        assert runstore.begin_shard(tx, run_id(1), 0, 0, NOW) is not None, "a crash: the message comes again"
        ended = [
            runstore.close_shard(tx, part, Totals(success_count=2, trades_synced=1), NOW + timedelta(seconds=part.shard_no))
            for part in parts
        ]
        assert [run is not None and run.status for run in ended] == [RunStatus.RUNNING, RunStatus.RUNNING, RunStatus.FINISHED]
        assert runstore.close_shard(tx, parts[0], Totals(success_count=2), NOW) is None
        assert runstore.begin_shard(tx, run_id(1), 0, 0, NOW) is None
        run = runstore.run(tx, run_id(1))
    assert run is not None
    assert (run.totals, run.shards_done, run.duration_ms) == (Totals(total_accounts=6, success_count=6, trades_synced=3), 3, 2000)


def test_what_is_left_of_a_shard_belongs_to_its_next_continuation_alone(world: World) -> None:
    scheduled(world)
    part = shards(world)[0]
    with world.db.transaction() as tx:
        runstore.add_shards(tx, run_id(1), [part], mode=RunMode.FANNED_OUT, total_accounts=2)
        runstore.begin_shard(tx, run_id(1), 0, 0, NOW)
        run = runstore.continue_shard(tx, part, part.account_ids[1:], Totals(success_count=1), NOW)
        assert run is not None
        assert (run.status, run.shards_done, run.totals.success_count) == (RunStatus.RUNNING, 0, 1)
        assert runstore.continue_shard(tx, part, part.account_ids[1:], Totals(success_count=1), NOW) is None
        assert runstore.begin_shard(tx, run_id(1), 0, 0, NOW) is None
        begun = runstore.begin_shard(tx, run_id(1), 0, 1, NOW)
        assert begun is not None
        assert (begun[0].account_ids, begun[0].continuation) == (part.account_ids[1:], 1)
        run = runstore.close_shard(tx, begun[0], Totals(failure_count=1), NOW)
    assert run is not None
    assert (run.status, run.totals.success_count, run.totals.failure_count) == (RunStatus.FINISHED, 1, 1)


def test_two_workers_take_different_shards_in_their_order_and_none_that_is_begun_or_of_another_instance(world: World) -> None:
    scheduled(world)
    parts = shards(world)
    elsewhere = replace(parts[2], shard_no=3, instance_key="other")
    with world.db.transaction() as tx:
        runstore.add_shards(tx, run_id(1), [*parts, elsewhere], mode=RunMode.FANNED_OUT, total_accounts=6)
        runstore.begin_shard(tx, run_id(1), 0, 0, NOW)
        runstore.continue_shard(tx, parts[0], parts[0].account_ids[1:], Totals(success_count=1), NOW)
        runstore.begin_shard(tx, run_id(1), 1, 0, NOW)
        assert runstore.accounts_queued(tx, run_id(1), "default") == 3
    with world.db.transaction() as one, world.db.transaction() as other:
        first = runstore.take_shard(one, run_id(1), "default", NOW)
        second = runstore.take_shard(other, run_id(1), "default", NOW)
        assert runstore.take_shard(other, run_id(1), "default", NOW) is None
    assert first is not None
    assert second is not None
    assert (first.shard_no, first.continuation, first.account_ids) == (0, 1, parts[0].account_ids[1:])
    assert (second.shard_no, second.state, second.account_ids) == (2, ShardState.RUNNING, parts[2].account_ids)
    with world.db.transaction() as tx:
        assert runstore.begin_shard(tx, run_id(1), 2, 0, NOW) is not None, "its message begins it again"
        assert runstore.accounts_queued(tx, run_id(1), "default") == 0


def test_a_shard_with_an_account_that_moved_to_another_instance_is_left_to_its_message(world: World) -> None:
    scheduled(world)
    parts = shards(world)[:2]
    with world.db.transaction() as tx:
        runstore.add_shards(tx, run_id(1), parts, mode=RunMode.FANNED_OUT, total_accounts=4)
    world.query("insert into mt5.service_instances (instance_key, base_url) values ('other', 'http://127.0.0.1:9') returning 1")
    moved = "update mt5.trading_accounts set instance_key = 'other' where id = :id::uuid returning 1"
    assert len(world.query(moved, id=parts[0].account_ids[1])) == 1
    with world.db.transaction() as tx:
        taken = runstore.take_shard(tx, run_id(1), "default", NOW)
        assert taken is not None
        assert taken.shard_no == 1
        assert runstore.take_shard(tx, run_id(1), "default", NOW) is None


def test_no_shard_is_taken_while_somebody_waits_for_a_run_by_hand(world: World) -> None:
    scheduled(world)
    by_hand = world.open().run
    with world.db.transaction() as tx:
        for run in (run_id(1), by_hand.run_id):
            parts = [replace(part, run_id=run) for part in shards(world)[:1]]
            runstore.add_shards(tx, run, parts, mode=RunMode.FANNED_OUT, total_accounts=2)
        assert runstore.take_shard(tx, run_id(1), "default", NOW) is None
        assert runstore.take_shard(tx, by_hand.run_id, "default", NOW) is not None
    silence(world, 61)
    with world.db.transaction() as tx:
        assert runstore.take_shard(tx, run_id(1), "default", NOW) is not None, "a run that is silent is nobody's"


def test_a_run_with_a_dead_shard_ends_as_failed(world: World) -> None:
    scheduled(world)
    dead, alive = shards(world)[:2]
    with world.db.transaction() as tx:
        runstore.add_shards(tx, run_id(1), [dead, alive], mode=RunMode.FANNED_OUT, total_accounts=4)
        runstore.close_shard(tx, dead, Totals(), NOW, state=ShardState.DEAD)
        run = runstore.close_shard(tx, alive, Totals(success_count=2), NOW)
    assert run is not None
    assert (run.status, run.error_code) == (RunStatus.FAILED, "shard_dead")


def test_an_inline_run_that_met_its_deadline_ends_with_its_continuation(world: World) -> None:
    scheduled(world)
    rest = shards(world)[0]
    with world.db.transaction() as tx:
        runstore.add_shards(tx, run_id(1), [rest], mode=RunMode.INLINE, total_accounts=0)
        run = runstore.close_run(
            tx, run_id(1), RunStatus.DEADLINE, Totals(total_accounts=6, success_count=4, deferred_count=2), NOW
        )
        assert run is not None
        assert run.status is RunStatus.DEADLINE
        run = runstore.close_shard(tx, rest, Totals(success_count=2, deferred_count=-2), NOW)
    assert run is not None
    assert (run.status, run.totals) == (RunStatus.FINISHED, Totals(total_accounts=6, success_count=6))


def test_the_logged_outcomes_of_a_run_can_be_told_again(world: World) -> None:
    opened = world.open(NOW - timedelta(minutes=1))
    first, second = (world.link(login).account_id for login in (1, 2))
    world.sync(first)
    world.sync(second, outcome=world.outcome(second, status=SyncStatus.PARTIAL, is_logged=False))
    with world.db.transaction(read_only=True) as tx:
        (told,) = runstore.results(tx, opened.run, [first, second])
    assert (told.account_id, told.status, told.duration_ms, told.completed_at) == (first, SyncStatus.SUCCESS, 2000, NOW)
