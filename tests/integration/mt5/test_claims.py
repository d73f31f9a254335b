"""Who works an account: claimed by one at a time, never twice in a run, given back, or noted without being worked."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fillbook.mt5 import ids, runstore, store
from fillbook.mt5.records import NEVER, Skipped, Unchanged, Unclaimed
from fillbook.mt5.words import Code, SyncStatus
from tests.support.mt5_world import LEASE_SECONDS, NOW, World, deal, run_id, version

NOBODY = "00000000-0000-4000-8000-00000000dead"


def expire(world: World) -> None:
    """Let every lease run out."""
    world.query("update mt5.account_sync_state set lease_until = clock_timestamp() where lease_until is not null returning 1")


def test_a_claim_answers_in_the_order_asked_and_says_why_not(world: World) -> None:
    first, second, gone = (world.link(login).account_id for login in (1, 2, 3))
    world.query("update mt5.trading_accounts set is_active = false where id = :id returning 1", id=gone)
    found = store.claim(world.db, run_id(1), [second, gone, first, NOBODY], lease_seconds=LEASE_SECONDS)
    assert [one.account_id for one in found.claimed] == [second, first]
    assert found.unclaimed == (
        Unclaimed(account_id=gone, reason="inactive"),
        Unclaimed(account_id=NOBODY, reason="inactive"),
    )
    other = store.claim(world.db, run_id(2), [first], lease_seconds=LEASE_SECONDS)
    assert other.unclaimed == (Unclaimed(account_id=first, reason="leased", lease_run_id=run_id(1)),)
    with world.db.transaction() as tx:
        assert runstore.lease_holder(tx, first) == run_id(1)
        assert runstore.lease_holder(tx, gone) is None


def test_an_account_is_done_once_per_run_however_often_its_message_comes(world: World) -> None:
    account = world.link().account_id
    world.sync(account)
    again = store.claim(world.db, run_id(1), [account], lease_seconds=LEASE_SECONDS)
    assert again.claimed == ()
    assert again.unclaimed == (Unclaimed(account_id=account, reason="done"),)
    assert len(world.claim(account, run=2)) == 1


def test_a_lease_that_ran_out_is_claimed_by_another_under_a_higher_token(world: World) -> None:
    account = world.link().account_id
    (held,) = world.claim(account)
    expire(world)
    (other,) = world.claim(account)
    assert other.lease_token == held.lease_token + 1


def test_claims_that_were_not_used_are_given_back_as_due_as_they_were(world: World) -> None:
    first, second = (world.link(login).account_id for login in (1, 2))
    held = world.claim(first, second)
    expire(world)
    world.claim(second, run=2)
    assert store.hand_back(world.db, held) == 1
    assert [one.account_id for one in world.claim(first)] == [first]
    assert store.hand_back(world.db, ()) == 0


def test_two_workers_that_claim_at_once_share_the_accounts(world: World) -> None:
    accounts = [world.link(login).account_id for login in range(1, 41)]
    start = threading.Barrier(4)
    won: list[str] = []

    def work(order: list[str]) -> None:
        start.wait()
        for begin in range(0, len(order), 10):
            found = store.claim(world.db, run_id(1), order[begin : begin + 10], lease_seconds=LEASE_SECONDS)
            won.extend(one.account_id for one in found.claimed)

    threads = [threading.Thread(target=work, args=(order,)) for order in (accounts, accounts[::-1], accounts, accounts[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(won) == sorted(accounts)


def test_law_9_one_commit_per_token_however_two_deliveries_interleave(world: World) -> None:
    account = world.link().account_id
    (held,) = world.claim(account)
    start = threading.Barrier(2)
    ended: Counter[str] = Counter()

    def work() -> None:
        start.wait()
        try:
            world.apply(world.work(held, deals=[version(deal(1))]))
            ended["written"] += 1
        except store.StaleLease:
            ended["stale"] += 1

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert ended == {"written": 1, "stale": 1}
    assert len(world.query("select 1 from mt5.deals")) == len(world.query("select 1 from mt5.sync_logs")) == 1
    assert world.query("select runs from mt5.sync_hours") == [{"runs": 1}]
    world.claim(account, run=2)
    with pytest.raises(store.StaleLease):
        world.apply(world.work(held))


def test_a_job_takes_what_is_due_longest_in_its_range_until_nothing_is_left(world: World) -> None:
    accounts = [world.link(login).account_id for login in range(1, 13)]
    for place, account in enumerate(accounts):
        due = NOW - timedelta(minutes=100 - place)
        world.query(
            "update mt5.account_sync_state set next_due_at = :due where account_id = :id returning 1", due=due, id=account
        )
    world.query("update mt5.trading_accounts set connection_status = 'needs_reauth' where id = :id returning 1", id=accounts[0])
    late = world.link(99).account_id
    world.query(
        "update mt5.account_sync_state set next_due_at = :due where account_id = :id returning 1", due=NOW + timedelta(1), id=late
    )
    taken: list[str] = []
    for shards in ((0, 511), (512, 1023)):
        while True:
            found = store.claim_due(
                world.db, run_id(1), due_before=NOW, shards=shards, rows_max=4, lease_seconds=LEASE_SECONDS
            ).claimed
            if not found:
                break
            assert all(shards[0] <= int(one.account_id[:4], 16) % 1024 <= shards[1] for one in found)
            places = [accounts.index(one.account_id) for one in found]
            assert places == sorted(places)
            taken += [one.account_id for one in found]
    assert sorted(taken) == sorted(accounts[1:])
    expire(world)
    assert (
        store.claim_due(
            world.db, run_id(2), due_before=NOW, shards=(0, 1023), rows_max=4, lease_seconds=60, tenant_id="other"
        ).claimed
        == ()
    )


def by_hand(world: World, account: str, run: int = 1, minutes: float = 0, **more: Any) -> Any:
    with world.db.transaction() as tx:
        given: dict[str, Any] = {"tenant_id": None, "now": NOW + timedelta(minutes=minutes)} | more
        return store.claim_by_hand(tx, account, run_id=run_id(run), lease_seconds=LEASE_SECONDS, cooldown_seconds=60, **given)


def test_scenario_29_a_call_by_hand_is_told_who_holds_the_account_and_when_to_come_again(world: World) -> None:
    account = world.link().account_id
    first = by_hand(world, account)
    assert first.outcome == "claimed"
    assert (by_hand(world, account, 2).outcome, by_hand(world, account, 2).lease_run_id) == ("leased", run_id(1))
    world.apply(world.work(first.claimed))
    cooling = by_hand(world, account, 2, 0.5)
    assert (cooling.outcome, cooling.retry_after_seconds, cooling.claimed) == ("cooling", 30, None)
    assert by_hand(world, account, 2, 1).outcome == "claimed"


def test_a_call_by_hand_finds_no_account_that_is_inactive_or_anothers(world: World) -> None:
    account = world.link().account_id
    assert by_hand(world, account, tenant_id="other").outcome == "not_found"
    assert by_hand(world, NOBODY).outcome == "not_found"
    world.query("update mt5.trading_accounts set connection_status = 'needs_reauth' returning 1")
    assert by_hand(world, account).outcome == "needs_reauth"
    assert by_hand(world, account, force=True, tenant_id="desk").outcome == "claimed"
    expire(world)
    world.query("update mt5.trading_accounts set is_active = false returning 1")
    assert by_hand(world, account, 2, 5).outcome == "not_found"


def test_unchanged_accounts_are_noted_together_and_stale_ones_left_alone(world: World) -> None:
    accounts = [world.link(login).account_id for login in (1, 2, 3)]
    world.sync(accounts[0], account=world.failure(2))
    held = world.claim(*accounts, run=2)
    world.query("update mt5.account_sync_state set lease_token = 9 where account_id = :id returning 1", id=accounts[2])
    before = world.written()
    at = NOW + timedelta(minutes=5)
    rows = [
        Unchanged(
            account_id=one.account_id,
            lease_token=one.lease_token,
            next_due_at=at + timedelta(minutes=5),
            history_until_msc=700 if place == 0 else None,
            outcome=world.outcome(one.account_id, 2, at, is_logged=place == 0),
        )
        for place, one in enumerate(held)
    ]
    assert store.flush_unchanged(world.db, run_id(2), rows, at) == set(accounts[:2])
    assert world.written() == before
    shown = world.query(
        "select id::text, last_successful_sync_at as at, sync_failure_count as n, last_error_code from mt5.trading_accounts"
    )
    assert {row["id"]: (row["at"], row["n"], row["last_error_code"]) for row in shown} == {
        accounts[0]: (at, 0, None),
        accounts[1]: (at, 0, None),
        accounts[2]: (None, 0, None),
    }
    assert len(world.query("select 1 from mt5.sync_logs where run_id = :run", run=run_id(2))) == 1
    counted = world.query("select account_id::text as id, successes from mt5.sync_hours where successes > 0")
    assert {row["id"]: row["successes"] for row in counted} == {accounts[0]: 2, accounts[1]: 1}
    assert store.flush_unchanged(world.db, run_id(2), rows, at) == set(), "a commit whose answer was lost is not counted twice"
    assert world.claim(accounts[0], run=3)[0].state.history_until_msc == 700
    assert store.claim(world.db, run_id(2), accounts[1:2], lease_seconds=60).unclaimed[0].reason == "done"


def test_accounts_that_were_not_tried_are_noted_once_and_their_counters_stay(world: World) -> None:
    held_by_other, free, mine = (world.link(login).account_id for login in (1, 2, 3))
    for account in (held_by_other, free, mine):
        world.sync(account, 8, account=world.failure(2))
    opened = world.open()
    assert opened.run.run_id == run_id(1)
    world.claim(held_by_other, run=7)
    (claim,) = world.claim(mine)
    due = NOW + timedelta(minutes=1)

    def skip(account: str, token: int | None = None, minutes: float = 0.1) -> Skipped:
        at = NOW + timedelta(minutes=minutes)
        outcome = world.outcome(account, 1, at, status=SyncStatus.SKIPPED, error_code=Code.BREAKER_OPEN, duration_ms=0)
        return Skipped(account_id=account, outcome=outcome, lease_token=token, next_due_at=due)

    rows = [skip(held_by_other), skip(free), skip(mine, claim.lease_token)]
    assert store.skip_accounts(world.db, run_id(1), rows, NOW) == {held_by_other, free, mine}
    again = [skip(one.account_id, minutes=3) for one in rows]
    assert store.skip_accounts(world.db, run_id(1), again, NOW) == set()
    logs = world.query("select account_id::text as id, status, error_code from mt5.sync_logs where run_id = :run", run=run_id(1))
    assert sorted(row["id"] for row in logs) == sorted([held_by_other, free, mine])
    assert {(row["status"], row["error_code"]) for row in logs} == {("skipped", "breaker_open")}
    assert {row["n"] for row in world.query("select sync_failure_count as n from mt5.trading_accounts")} == {2}
    states = world.query(
        "select account_id::text as id, lease_until is not null as held, last_run_id::text as run, next_due_at = :due as later "
        "from mt5.account_sync_state",
        due=due,
    )
    assert {row["id"]: (row["held"], row["run"], row["later"]) for row in states} == {
        held_by_other: (True, run_id(8), False),
        free: (False, run_id(1), True),
        mine: (False, run_id(1), True),
    }


def test_a_due_page_begins_after_the_last_and_leaves_out_who_is_not_to_be_asked(world: World) -> None:
    accounts = [world.link(login).account_id for login in range(1, 8)]
    world.link(50, "other")
    for place, account in enumerate(accounts[:5]):
        world.query(
            "update mt5.account_sync_state set next_due_at = :due where account_id = :id returning 1",
            due=NOW + timedelta(minutes=place),
            id=account,
        )
    (held,) = world.claim(accounts[6])
    world.apply(world.work(held, state=replace(held.state, next_due_at=NEVER)))
    world.query("update mt5.trading_accounts set connection_status = 'needs_reauth' where id = :id returning 1", id=accounts[6])
    world.query("update mt5.trading_accounts set is_active = false where id = :id returning 1", id=accounts[5])

    def pages(**given: Any) -> list[str]:
        found: list[Any] = []
        with world.db.transaction(read_only=True) as tx:
            while page := runstore.due_page(tx, after=found[-1] if found else None, rows_max=2, tenant_id="desk", **given):
                found += page
        return [one.account_id for one in found]

    assert pages(due_before=NOW + timedelta(minutes=2)) == accounts[:3]
    assert pages(due_before=None) == accounts[:5]
    assert pages(due_before=None, with_reauth=True) == [*accounts[:5], accounts[6]]
    with world.db.transaction(read_only=True) as tx:
        counted = runstore.fleet(tx, fresh_since=NOW - timedelta(minutes=10))
        assert (counted.active, counted.fresh) == (7, 1)
        assert (runstore.active(tx), runstore.active(tx, count_max=3), runstore.active(tx, tenant_id="nobody")) == (7, 3, 0)
        later = NOW + timedelta(minutes=2)
        assert [runstore.due(tx, due_before=at, count_max=9) for at in (NOW, later)] == [2, 4]
        assert runstore.due(tx, due_before=later, count_max=9, tenant_id="desk") == 3
        assert runstore.due(tx, due_before=later, count_max=2) == 2
        assert runstore.due(tx, due_before=later, count_max=9, tenant_id="nobody") == 0


def test_a_block_has_a_limit(world: World) -> None:
    rows = [
        Unchanged(account_id=str(number), lease_token=1, next_due_at=NOW, outcome=world.outcome(str(number)))
        for number in range(store.BLOCK_MAX + 1)
    ]
    with pytest.raises(ValueError, match="at most 500"):
        store.flush_unchanged(world.db, run_id(1), rows, NOW)
    assert store.skip_accounts(world.db, run_id(1), (), NOW) == frozenset()
    assert ids.log_id(run_id(1), "x") != ids.log_id(run_id(2), "x")
