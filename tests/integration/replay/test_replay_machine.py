"""Replay runs through any life: started, walked by pages, killed between them, taken over, cancelled, started again, compared.

However a run comes to its end, it ends as a run that nobody disturbed; on its way it stands where its rows say, neither beyond
nor behind; and live is what it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fillbook.replay import jobs, runs, store
from fillbook.replay.comparing import compare_runs
from fillbook.replay.jobs import _Walker
from fillbook.runtime.errors import Conflict, Rejected
from tests.support.machines import walk as walked
from tests.support.replay_desk import ReplayDesk, book_rows, walk
from tests.support.signal_live import wipe

Query = Callable[..., list[dict[str, Any]]]
NAMES = st.sampled_from(["first", "second"])
TICKERS, MINUTES = ["ZZTA", "ZZTB"], 12
ROWS = len(TICKERS) * MINUTES
FREE = "update replay.run_records set lease_until = clock_timestamp(), attempts = 0 returning run_id"
STANDS = "select name, status, rows, result_hash, book_id, finished_at from replay.run_records where name <> 'undisturbed'"


class ReplayMachine(RuleBasedStateMachine):
    """Two runs of one day beside one that was never disturbed."""

    def __init__(self, desk: ReplayDesk, query: Query) -> None:
        super().__init__()
        self.desk, self.query = desk, query

    @initialize(seed=st.integers(0, 3))
    def begins(self, seed: int) -> None:
        wipe(self.query)
        self.query("truncate replay.run_records cascade")
        self.desk.keep(walk(seed, TICKERS, range(MINUTES)))
        self.desk.start(name="undisturbed", date="2026-02-02")
        self.desk.work_off()
        self.whole = self.desk.shown("undisturbed")
        self.live = book_rows(self.query, "live")
        self.reached: dict[str, int] = {}

    def stands(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.query(STANDS)}

    @rule(name=NAMES, is_clean=st.sampled_from([False, False, True]))
    def is_started(self, name: str, is_clean: bool) -> None:
        before = self.stands().get(name)
        try:
            self.desk.start(name=name, date="2026-02-02", **({"cleanSlate": True} if is_clean else {}))
        except Conflict as conflict:
            assert (conflict.reason, before is not None) == ("run_busy", True)
            return
        if is_clean:
            self.reached[name] = 0

    @rule(pages=st.integers(1, 4), page_rows=st.sampled_from([1, 3, 7, 11]))
    def is_walked_and_killed(self, pages: int, page_rows: int) -> None:
        """A task that dies after some pages: its lease stands, and the page it had in hand never was."""
        task, token = self.desk.task(page_rows), str(uuid4())
        run = task.desk.db.run(lambda tx: store.claim(tx, token, self.desk.now, lease_seconds=90, attempts_max=3))
        if run is not None:
            walker = _Walker(task, run, token)
            while pages and walker._step():
                pages -= 1

    @rule(page_rows=st.sampled_from([2, 5, 50]))
    def is_walked_to_its_end(self, page_rows: int) -> None:
        self.desk.work_off(page_rows)

    @rule()
    def leases_are_over(self) -> None:
        self.query(FREE)

    @rule(name=NAMES)
    def is_cancelled(self, name: str) -> None:
        before = self.stands().get(name)
        try:
            runs.cancel(self.desk.desk, jobs.run_id(self.desk.desk, name), self.desk.now)
        except Rejected as refusal:
            assert (refusal.reason, before) == ("run_unknown", None)
        except Conflict as conflict:
            assert conflict.reason == "run_ended"
            assert before is not None
            assert before["status"] in ("done", "failed", "cancelled")
        else:
            assert before is not None
            assert before["status"] in ("planned", "running", "paused")

    @precondition(lambda self: {one["status"] for one in self.stands().values()} & {"done"})
    @rule(data=st.data())
    def is_compared(self, data: st.DataObject) -> None:
        done = sorted(name for name, one in self.stands().items() if one["status"] == "done")
        found = compare_runs(self.desk.db, data.draw(st.sampled_from(done)), "undisturbed", now=self.desk.now)
        assert (found.identical, found.divergences, found.totals_a) == (True, (), found.totals_b)

    @rule(name=NAMES)
    def is_removed(self, name: str) -> None:
        before = self.stands().get(name)
        try:
            runs.delete(self.desk.desk, jobs.run_id(self.desk.desk, name))
        except (Rejected, Conflict) as refusal:
            assert refusal.reason == ("run_unknown" if before is None else "run_busy")
            return
        assert before is not None
        assert not any(self.desk.rows(before["book_id"]).values())
        self.reached.pop(name, None)

    @invariant()
    def a_run_stands_where_its_rows_say(self) -> None:
        if not hasattr(self, "reached"):
            return
        for name, one in self.stands().items():
            decided = self.query("select count(*) as n from signal.decisions where book_id = :book", book=one["book_id"])
            assert decided == [{"n": one["rows"]}]
            assert self.reached.get(name, 0) <= one["rows"] <= ROWS
            self.reached[name] = one["rows"]
            assert (one["finished_at"] is None) == (one["status"] in ("planned", "running", "paused"))
            if one["status"] == "done":
                shown = self.desk.shown(name)
                assert (one["rows"], shown["resultHash"]) == (ROWS, self.whole["resultHash"])

    @invariant()
    def live_is_what_it_was(self) -> None:
        if hasattr(self, "live"):
            assert book_rows(self.query, "live") == self.live

    def teardown(self) -> None:
        if not hasattr(self, "reached"):
            return
        self.query(FREE)
        for name in [name for name, one in self.stands().items() if one["status"] == "cancelled"]:
            self.desk.start(name=name, date="2026-02-02")
        self.desk.work_off(5)
        assert {one["status"] for one in self.stands().values()} <= {"done"}
        self.a_run_stands_where_its_rows_say()
        for one in self.stands().values():
            assert self.desk.rows(one["book_id"]) == self.desk.rows(self.whole["book"])


def test_a_run_ends_as_if_undisturbed_whatever_happens_to_it(desk: ReplayDesk, query: Query) -> None:
    walked(lambda: ReplayMachine(desk, query), walks=(4, 150), steps=(20, 60))
