"""Sync runs under any interleaving of workers: asked for, claimed, worked, killed, leased out, taken over, finished too late.

A job has one holder at a time and ends once; what a run brought is stored however it ends; only a run that ended complete, and
was not called off meanwhile, moves the cursor and covers anything. A run is called off with the lease of its job: whoever begins
one after his lease was taken back, and before anybody else has the job, reads the broker like any other: what he read holds.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fillbook.ibkr import jobs, payloads
from fillbook.ibkr.jobs import Job
from fillbook.ibkr.model import Window
from fillbook.ibkr.payloads import Defaults
from fillbook.ibkr.runs import sync_trades_once
from fillbook.ibkr.sources import Fetched, Target
from fillbook.runtime.errors import Unavailable
from tests.support.ibkr import exec_id, tws
from tests.support.ibkr_world import NOW, Query, Socket, World
from tests.support.machines import walk
from tests.support.publisher import Killed

DEFAULTS = Defaults(targets=(("127.0.0.1", 4002),), client_id=11)
DAYS = (2, 3)
REQUESTS = {days: payloads.read("trades.sync", {"lookback_days": days}, DEFAULTS) for days in DAYS}
ENDS = st.sampled_from(["overtaken", "complete", "partial", "unavailable", "killed", "complete"])


class Scripted(Socket):
    """Brings one execution, unless something happens while it is asked."""

    def __init__(self, number: int, *, happens: Callable[[], None], is_end_seen: bool) -> None:
        super().__init__((tws(exec_id(number)),), is_end_seen=is_end_seen)
        self.happens = happens

    def fetch(self, target: Target, window: Window) -> Fetched:
        self.happens()
        return super().fetch(target, window)


class SyncMachine(RuleBasedStateMachine):
    """Any number of workers over one queue."""

    def __init__(self, anew: Callable[[], World], query: Query) -> None:
        super().__init__()
        self.anew, self.query = anew, query

    @initialize()
    def begins(self) -> None:
        self.world, self.now, self.number = self.anew(), NOW, 0
        self.held: list[Job] = []
        self.lost: set[str] = set()  # tokens of leases that were taken back
        self.stored: set[str] = set()
        self.reached: Any = None
        self.ended: dict[str, int] = {"complete": 0, "abandoned": 0}

    @rule(days=st.sampled_from(DAYS))
    def is_asked_for(self, days: int) -> None:
        waits = self._states("queued")
        taken = jobs.enqueue_once(self.world.db, REQUESTS[days], requested_by="somebody", now=self.now)
        assert taken.is_new == (days not in waits)

    @rule(minutes=st.sampled_from([1, 20]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(days=st.sampled_from(DAYS))
    def is_claimed(self, days: int) -> None:
        self.is_asked_for(days)
        at_work = self._states("running")
        (asked,) = self.query(
            "select id::text from ibkr.jobs where state = 'queued' and (payload->>'lookback_days')::integer = :days", days=days
        )
        job = jobs.claim(self.world.db, self.now, job_id=asked["id"])
        if job is not None:
            assert job.payload["lookback_days"] not in at_work
            self.held.append(job)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), ends=ENDS)
    def is_worked(self, data: st.DataObject, ends: str) -> None:
        self.work(self.held.pop(data.draw(st.integers(0, len(self.held) - 1))), ends)

    def work(self, job: Job, ends: str) -> None:
        self.now += timedelta(minutes=1)
        self.number += 1
        self.is_called_off = False
        source = Scripted(self.number, happens=lambda: self._happens(job, ends), is_end_seen=ends != "partial")
        try:
            sync_trades_once(
                self.world.db, source, host="127.0.0.1", port=4002, client_id=11, connect_timeout_seconds=10,
                lookback_days=job.payload["lookback_days"], now=self.now, job_id=job.job_id,
            )  # fmt: skip
        except Unavailable:
            left = jobs.fail(self.world.db, job, "tws_unavailable", self.now, is_final=False)
        except Killed:
            return  # nobody ends the job: its lease does
        else:
            self.stored.add(exec_id(self.number))
            left = jobs.finish(self.world.db, job, self.now)
        assert left.is_held == (job.lease_token not in self.lost)
        if ends == "complete" or (ends == "overtaken" and not self.is_called_off):
            self.reached = self.now
            self.ended["complete"] += 1

    def _happens(self, job: Job, ends: str) -> None:
        if ends == "unavailable":
            raise Unavailable("tws_unavailable")
        if ends == "killed":
            raise Killed
        if ends == "overtaken":
            self.is_called_off = bool(self.query("select from ibkr.jobs where id = :id and state = 'running'", id=job.job_id))
            self.leases_are_over()

    @rule()
    def leases_are_over(self) -> None:
        """Whoever held one is taken for dead; some are only slow, and come back."""
        running = "from ibkr.jobs where state = 'running'"
        self.lost |= {str(row["token"]) for row in self.query(f"select lease_token as token {running}")}
        count = len(self.query(f"select id {running}"))
        self.ended["abandoned"] += len(
            self.query(
                "select r.id from ibkr.sync_runs r join ibkr.jobs j on j.id = r.job_id "
                "where r.state = 'running' and j.state = 'running'"
            )
        )
        self.query(
            "update ibkr.jobs set lease_expires_at = clock_timestamp() - interval '1 second' where state = 'running' returning id"
        )
        assert jobs.reap(self.world.db, self.now)[0] == count

    def _states(self, state: str) -> list[int]:
        return [row["payload"]["lookback_days"] for row in self.query("select payload from ibkr.jobs where state = :s", s=state)]

    @invariant()
    def a_request_waits_once_and_is_worked_once(self) -> None:
        if hasattr(self, "world"):
            for state in ("queued", "running"):
                found = self._states(state)
                assert len(found) == len(set(found))

    @invariant()
    def only_a_run_that_ended_complete_moves_the_cursor(self) -> None:
        if not hasattr(self, "world"):
            return
        rows = self.query("select distinct high_water_at from ibkr.sync_cursors where source = 'tws'")
        assert [row["high_water_at"] for row in rows] == ([] if self.reached is None else [self.reached])
        wrong = self.query(
            "select r.state from ibkr.sync_coverage c join ibkr.sync_runs r on r.id = c.run_id "
            "where c.is_complete <> (r.state = 'complete')"
        )
        assert wrong == []
        states = self.query("select state from ibkr.sync_runs where state in ('complete', 'abandoned')")
        found = [row["state"] for row in states]
        assert {state: found.count(state) for state in self.ended} == self.ended

    @invariant()
    def what_was_brought_is_stored(self) -> None:
        if hasattr(self, "world"):
            assert {row["ib_exec_id"] for row in self.query("select ib_exec_id from ibkr.trade_executions")} == self.stored


def test_only_complete_runs_move_the_cursor_whoever_dies_or_comes_back(
    anew: Callable[[], World], query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "back_off", lambda attempts, _dice: timedelta(minutes=attempts))  # a walk is one again
    walk(lambda: SyncMachine(anew, query), walks=(5, 200), steps=(20, 60))


def test_a_worker_that_begins_after_its_lease_was_taken_back_reads_like_any_other(
    anew: Callable[[], World], query: Query
) -> None:
    desk = SyncMachine(anew, query)
    desk.begins()
    desk.is_claimed(2)
    desk.leases_are_over()
    desk.work(desk.held.pop(), "overtaken")
    desk.only_a_run_that_ended_complete_moves_the_cursor()
    desk.what_was_brought_is_stored()
    assert desk.ended == {"complete": 1, "abandoned": 0}


def test_a_worker_that_comes_back_to_a_run_that_was_called_off_covers_nothing(anew: Callable[[], World], query: Query) -> None:
    desk = SyncMachine(anew, query)
    desk.begins()
    for ends in ("overtaken", "complete", "overtaken"):
        desk.is_claimed(2)
        desk.work(desk.held.pop(), ends)
        desk.only_a_run_that_ended_complete_moves_the_cursor()
        desk.time_passes(20)
    assert desk.ended == {"complete": 1, "abandoned": 2}
    desk.what_was_brought_is_stored()
