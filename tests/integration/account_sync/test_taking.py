"""Idle places take the next shard: an account that never answers keeps nothing but its own place."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from threading import Event, Thread
from typing import Any
from uuid import UUID

import pytest

from fillbook.mt5 import answers, runstore, shards, store
from fillbook.mt5.accounts import AccountSync
from fillbook.mt5.desk import RealTime
from fillbook.mt5.records import Claimed
from fillbook.mt5.runrecords import Result, Run, Shard
from fillbook.mt5.worked import Worked
from fillbook.runtime import clock
from fillbook.runtime.db import Tx
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.sql import statement
from tests.support.mt5_runs import OTHER_SERVER, Fleet

SMALL: dict[str, Any] = {"mt5_inline_accounts_max": 5, "mt5_shard_accounts_max": 4, "mt5_shard_window": 4}
"""Shards of four, and as many places."""
WAIT_SECONDS = 60.0


def shard_of(message: bytes) -> dict[str, Any]:
    """What a message tells of its shard."""
    data: dict[str, Any] = json.loads(message)["data"]
    return data


def in_order(messages: Sequence[bytes]) -> list[bytes]:
    """Messages by the numbers of their shards."""
    return sorted(messages, key=lambda one: int(shard_of(one)["shard_no"]))


class Silence:
    """Keeps an account from being answered until it is released, or until ``after`` others have ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, account_id: str, *, after: int | None = None) -> None:
        self._others, self._over = after, Event()
        self._result_of, fetched = answers.result_of, AccountSync.fetch

        def fetch(sync: AccountSync, claimed: Claimed, deadline: float) -> Callable[[], Worked]:
            if claimed.account_id == account_id:
                self._over.wait(WAIT_SECONDS)
            return fetched(sync, claimed, deadline)

        monkeypatch.setattr("fillbook.mt5.part.AccountSync.fetch", fetch)
        if after is not None:
            monkeypatch.setattr("fillbook.mt5.part.answers.result_of", self._told)

    def release(self) -> None:
        """Let it be answered."""
        self._over.set()

    def _told(self, worked: Worked) -> Result:
        assert self._others is not None
        self._others -= 1
        if not self._others:
            self.release()
        return self._result_of(worked)


def rows(fleet: Fleet) -> list[dict[str, Any]]:
    """The shards, by number."""
    return fleet.query("select * from mt5.sync_shards order by shard_no")


def worked(said: str) -> list[dict[str, Any]]:
    """Lines about shards that were worked, in the order in which they were over."""
    lines = [json.loads(line) for line in said.splitlines() if '"shard_worked"' in line]
    return [{**line, **line.get("fields", {})} for line in lines]


def test_the_healthy_accounts_of_three_shards_end_before_a_silent_one_of_the_first(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.fleet(9)
    run_id = fleet.tick(**SMALL)["executionId"]
    first, *others = in_order(fleet.take_shards())
    silent = shard_of(first)["account_ids"][0]
    Silence(monkeypatch, silent, after=8)
    fleet.fake.world.calls.clear()
    fleet.deliver(first, **SMALL)
    ends = fleet.query("select account_id::text as account_id from mt5.sync_logs order by created_at")
    assert (len(ends), ends[-1]["account_id"]) == (9, silent)
    over = worked(capsys.readouterr().out)
    assert [one["shard_no"] for one in over] == [1, 2, 0]
    assert [(one["accounts"], one["succeeded"], one["left"]) for one in over] == [(4, 4, 0), (1, 1, 0), (4, 4, 0)]
    assert fleet.fake.world.calls.in_flight_max <= 4
    row = fleet.run(run_id)
    assert (row["status"], row["shards_done"], row["success_count"], row["deferred_count"]) == ("finished", 3, 9, 0)
    tokens = fleet.query("select sum(lease_token) as sum from mt5.account_sync_state")
    assert [fleet.deliver(message) for message in others] == [None, None], "their messages find them over"
    assert fleet.query("select sum(lease_token) as sum from mt5.account_sync_state") == tokens


def test_the_message_of_a_shard_that_another_worker_took_comes_again(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.fleet(8)
    run_id = fleet.tick(**SMALL)["executionId"]
    first, second = in_order(fleet.take_shards())
    silence = Silence(monkeypatch, shard_of(second)["account_ids"][-1])
    taker = Thread(target=fleet.deliver, args=(first,), kwargs=SMALL)
    taker.start()
    until = clock.monotonic() + WAIT_SECONDS
    while (len(fleet.logs()) < 7 or rows(fleet)[0]["state"] != "done") and clock.monotonic() < until:
        time.sleep(0.01)
    assert [row["state"] for row in rows(fleet)] == ["done", "running"], "the message's own is over before the one it took"
    with pytest.raises(Unavailable, match="accounts_held"):
        fleet.deliver(second, **SMALL)
    silence.release()
    taker.join()
    row = fleet.run(run_id)
    assert (row["status"], row["shards_done"], row["success_count"]) == ("finished", 2, 8)
    assert fleet.deliver(second, **SMALL) is None
    assert {row["lease_token"] for row in fleet.query("select lease_token from mt5.account_sync_state")} == {1}


def test_what_a_dead_worker_had_taken_is_worked_by_the_messages_of_its_shards(fleet: Fleet) -> None:
    fleet.fleet(12)
    run_id = fleet.tick(**SMALL)["executionId"]
    messages = in_order(fleet.take_shards())
    now, told = fleet.clock.now(), [shard_of(one)["account_ids"] for one in messages]
    with fleet.db.transaction() as tx:
        assert runstore.begin_shard(tx, run_id, 0, 0, now) is not None
        taken = runstore.take_shard(tx, run_id, "default", now)
        assert taken is not None
    assert taken.shard_no == 1
    held = store.claim(fleet.db, run_id, [*told[0][:1], *told[1][:2]], lease_seconds=240).claimed
    for message in messages[:2]:
        with pytest.raises(Unavailable, match="accounts_held"):
            fleet.deliver(message, **SMALL)
    assert [row["state"] for row in rows(fleet)] == ["running", "running", "done"]
    assert (len(fleet.logs()), fleet.run(run_id)["success_count"]) == (9, 4)
    store.hand_back(fleet.db, held)  # as if the leases had ended
    for message in messages[:2]:
        fleet.deliver(message, **SMALL)
    row = fleet.run(run_id)
    assert (row["status"], row["shards_done"], row["success_count"], len(fleet.logs())) == ("finished", 3, 12, 12)
    assert [fleet.deliver(message) for message in messages] == [None] * 3


class Leaping(RealTime):
    """Real time, and ``late`` seconds more once ``after`` accounts have ended."""

    def __init__(self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, *, after: int, late: float) -> None:
        super().__init__(fleet.clock)
        self._left, self._late = after, late
        self._result_of = answers.result_of
        monkeypatch.setattr("fillbook.mt5.part.answers.result_of", self._told)

    def monotonic(self) -> float:
        return super().monotonic() + (0.0 if self._left > 0 else self._late)

    def _told(self, worked: Worked) -> Result:
        self._left -= 1
        return self._result_of(worked)


def test_no_shard_is_taken_that_would_not_be_over_in_time(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.fleet(9)
    run_id = fleet.tick(**SMALL)["executionId"]
    first, second, _ = in_order(fleet.take_shards())
    with monkeypatch.context() as patch:  # ten of sixty seconds are left then: an account is expected to want fifteen
        grounds = replace(fleet.grounds(**SMALL), time=Leaping(fleet, patch, after=1, late=50))
        shards.work(grounds, shards.read(first), clock.monotonic() + 60)
    assert [(row["state"], row["started_at"] is None) for row in rows(fleet)] == [
        ("done", False),
        ("queued", True),
        ("queued", True),
    ]
    assert (fleet.run(run_id)["success_count"], fleet.take_shards()) == (4, [])
    fleet.deliver(second, **SMALL)
    row = fleet.run(run_id)
    assert (row["status"], row["shards_done"], row["success_count"], row["deferred_count"]) == ("finished", 3, 9, 0)


def test_what_is_left_of_a_taken_shard_is_its_own_continuation(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.fleet(8)
    run_id = fleet.tick(**SMALL)["executionId"]
    first, second = in_order(fleet.take_shards())
    silent = shard_of(second)["account_ids"][-1]
    with monkeypatch.context() as patch:
        silence = Silence(patch, silent)
        grounds = replace(fleet.grounds(**SMALL), time=Leaping(fleet, patch, after=7, late=60))
        shards.work(grounds, shards.read(first), clock.monotonic() + 60)
    row = fleet.run(run_id)
    assert (row["status"], row["shards_done"], row["success_count"], row["deferred_count"]) == ("running", 1, 7, 1)
    (again,) = fleet.take_shards()
    told = shard_of(again)
    assert (told["shard_no"], told["continuation"], told["account_ids"]) == (1, 1, [silent])
    silence.release()
    assert fleet.deliver(second, **SMALL) is None
    fleet.deliver(again, **SMALL)
    row = fleet.run(run_id)
    assert (row["status"], row["shards_done"], row["success_count"], len(fleet.logs())) == ("finished", 2, 8, 8)


def test_a_shard_is_closed_when_all_that_was_heard_of_its_accounts_is_written_down(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.fleet(8)
    close, written = runstore.close_shard, list[int]()

    def closed(tx: Tx, shard: Shard, *args: Any, **given: Any) -> Run | None:
        marks = statement("select count(*) as n from mt5.account_sync_state where last_run_id = :run and account_id = any (:ids)")
        written.append(tx.query(marks, run=UUID(shard.run_id), ids=[UUID(one) for one in shard.account_ids])[0]["n"])
        return close(tx, shard, *args, **given)

    monkeypatch.setattr("fillbook.mt5.shards.runstore.close_shard", closed)
    for _ in range(2):  # the second time nothing has changed, and such outcomes wait for each other
        fleet.tick(**SMALL)
        fleet.deliver(in_order(fleet.take_shards())[0], **SMALL, mt5_flush_ms=5_000)
        fleet.clock.step(300)
    assert written == [4, 4, 4, 4]


def test_a_shard_is_taken_with_the_breakers_of_its_own_broker(fleet: Fleet) -> None:
    fleet.fake.add_server(OTHER_SERVER)
    fleet.fleet(4)
    there = [fleet.link(f"b{number}", server=OTHER_SERVER, login=50 + number) for number in range(4)]
    fleet.query(
        "insert into mt5.service_breakers (key, state, consecutive, opened_at, probe_at, last_error_code)"
        " values (:key, 'open', 5, :now, :until, 'timeout') returning 1",
        key=f"broker:{OTHER_SERVER}",
        now=fleet.clock.now(),
        until=fleet.clock.now() + timedelta(minutes=5),
    )
    fleet.tick(**SMALL)
    (first,) = [one for one in fleet.take_shards() if not {*shard_of(one)["account_ids"]} & {*there}]
    fleet.deliver(first, **SMALL)
    assert sorted(str(row["account_id"]) for row in fleet.logs("skipped")) == sorted(there)
    assert len(fleet.logs("success")) == 4


def test_a_worker_in_groups_and_one_without_a_message_keep_to_their_own_shard(fleet: Fleet) -> None:
    fleet.fleet(9)
    run_id = fleet.tick(**SMALL)["executionId"]
    messages = in_order(fleet.take_shards())
    fleet.deliver(messages[0], **SMALL, mt5_pacing_shard="batch")
    assert [row["state"] for row in rows(fleet)] == ["done", "queued", "queued"]
    shards.resume(fleet.grounds(**SMALL), run_id, 1, clock.monotonic() + 60)
    assert [row["state"] for row in rows(fleet)] == ["done", "done", "queued"]
