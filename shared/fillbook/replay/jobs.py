"""Whole days, ranges and sweeps: runs are made and wait, tasks claim whole runs and walk them page by page.

One run is walked by one task under a lease, which every page prolongs with its commit; a task that dies loses at most the page in
hand, and the next one goes on from there. The loop is that of the bucket route; only the memory between two pages is kept.
Source: replay.md 6.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from itertools import product
from typing import Any, Final

from fillbook.calendar import calendar
from fillbook.ledger import service as ledger
from fillbook.replay import answers, incremental, rewinding, runs, service, store
from fillbook.replay.asked import Asked, asked, is_id, refused, run_name
from fillbook.replay.buckets import replay_day
from fillbook.replay.model import Run, RunKind, RunStatus
from fillbook.replay.runs import Desk
from fillbook.replay.service import Limits
from fillbook.replay.settings import ReplayWorkerConfig
from fillbook.replay.store import INCREMENTAL, Held
from fillbook.replay.walk import Walk
from fillbook.runtime import logs
from fillbook.runtime.clock import Clock, clock_for, monotonic
from fillbook.runtime.cloud_run import StartsJob
from fillbook.runtime.db import Contended, Database, Tx
from fillbook.runtime.errors import Conflict, Rejected, Unavailable
from fillbook.values import frozen

JOB: Final = "replay-worker-job"
ATTEMPTS_MAX: Final = 3
PAGE_TRIES: Final = 3
RANGE_DAYS_MAX: Final = 366
SWEEP_RUNS_MAX: Final = 100
LIST_ROWS: Final = (20, 100)
LIMIT_DIGITS_MAX: Final = 9
_OWN: Final = frozenset({"from", "to", "dates", "profiles", "tickers", "name", "mode"})

_log = logs.get("replay")


# --- asking -----------------------------------------------------------------------------------------------------------


def start(desk: Desk, body: Mapping[str, Any], config: ReplayWorkerConfig, *, created_by: str, now: datetime) -> dict[str, Any]:
    """Make (or find) the runs that are asked for and let them wait for a task; ``{"runs": ids, "sweep": bool}``.

    Raises ``Rejected('param')`` with its field, ``Conflict``: ``too_many_runs``, ``gaps``, ``run_differs``, ``run_busy``.
    """
    mode = body.get("mode", store.FULL)
    if mode not in (store.FULL, INCREMENTAL):
        raise refused("mode")
    wanted, is_sweep = _wanted(body, config, now)

    def work(tx: Tx) -> list[str]:
        if not is_sweep and store.active(tx) >= runs.ACTIVE_MAX:
            raise Conflict("too_many_runs", f"{runs.ACTIVE_MAX} runs are under way")
        return [_queued(tx, desk, one, until, mode, created_by, now) for one, until in wanted]

    return {"runs": ledger.run(desk.db, work), "sweep": is_sweep}


def start_tasks(desk: Desk, platform: StartsJob, wanted: int, *, tasks_max: int) -> None:
    """Start the job with as many tasks as are wanted and free of ``tasks_max``.

    That it cannot be started, or that all its tasks are at work, is no failure of the call that made the runs: they wait, and
    whichever task comes next takes them along.
    """
    walking = desk.db.run(store.walking, read_only=True)
    tasks = min(wanted, tasks_max - walking)
    if tasks < 1:
        _log.info("replay_job_is_full", wanted=wanted, walking=walking)
        return
    try:
        execution = platform.run(JOB, tasks=tasks, environment={})
    except Unavailable as error:
        _log.warning("replay_job_not_started", tasks=tasks, reason=error.reason, detail=error.detail)
        return
    _log.info("replay_job_started", tasks=tasks, job_execution=execution)


def _wanted(body: Mapping[str, Any], config: ReplayWorkerConfig, now: datetime) -> tuple[list[tuple[Asked, date | None]], bool]:
    """One call per run, with the last date of a range."""
    lists: dict[str, list[Any] | None] = {name: _list(body, f"{name}s") for name in ("date", "profile", "ticker")}
    is_sweep = any(found is not None for found in lists.values())
    common = {name: value for name, value in body.items() if name not in _OWN}
    until = None
    if "from" in body or "to" in body:
        common["date"] = body.get("from")
        until = _until(body, now)
    if body.get("name") is not None:
        if is_sweep:
            raise refused("name")
        common["run"] = body["name"]
    wanted = []
    for day, profile, ticker in product(*(lists[name] or [common.get(name)] for name in ("date", "profile", "ticker"))):
        given = {**common, "date": day, "profile": profile, "ticker": ticker}
        wanted.append((asked({}, given, now, profile=config.replay_default_profile), until))
    if len(wanted) > SWEEP_RUNS_MAX:
        raise refused("dates")
    return wanted, is_sweep


def _queued(tx: Tx, desk: Desk, one: Asked, until: date | None, mode: str, created_by: str, now: datetime) -> str:
    """The run, made when there is none, waiting for a task."""
    replay_day(one.date, one.session, now)
    kind = RunKind.DAY if until is None or until == one.date else RunKind.RANGE
    run = runs.make(one, desk, kind=kind, created_by=created_by, now=now, until=until)
    if until is not None and one.run is None:
        run = runs.named_by_range(run)
    if store.find(tx, run.run_id, None) is None:
        runs.create(tx, desk, run, now, status=RunStatus.PLANNED, require_complete=one.require_complete)
        return run.run_id
    held = store.lock(tx, run.run_id)
    if held is None:
        raise Conflict("run_busy", f"run {run.run_id} is worked on")
    held = replace(held, run=runs.check_same(held.run, one, desk))
    if one.clean_slate:
        day = replay_day(held.run.scope.date_from, held.run.scope.session, now)
        held, _ = rewinding.clean_slate(tx, held, day, None, now)
    store.put(tx, held, now, seconds=0)
    store.change(tx, "run_queued", run.run_id, mode=mode)
    return run.run_id


def _until(body: Mapping[str, Any], now: datetime) -> date:
    try:
        first, last = date.fromisoformat(str(body.get("from"))), date.fromisoformat(str(body.get("to")))
    except ValueError as error:
        raise refused("to") from error
    if not 0 <= (last - first).days < RANGE_DAYS_MAX or last > now.date():
        raise refused("to")
    return last


def _list(body: Mapping[str, Any], name: str) -> list[str] | None:
    found = body.get(name)
    if found is None:
        return None
    if not isinstance(found, list) or not found or not all(isinstance(item, str) for item in found):
        raise refused(name)
    return found


def run_id(desk: Desk, run: str) -> str:
    """The id of a run by its id or name; ``Rejected('run_unknown')`` 404."""
    return _find(desk, run).run.run_id


def shown(desk: Desk, run: str) -> dict[str, Any]:
    """One run with its gap report and hash, and how many of its buckets are behind it."""
    held = _find(desk, run)
    done = desk.db.run(lambda tx: store.checkpoints(tx, held.run.run_id), read_only=True)
    days = (held.run.gaps or {}).get("days", ())
    record = answers.run_record(held.run, service.shown_hash(held.run, held.progress))
    progress = {
        "bucket": done[-1]["bucket"] if done else None,
        "bucketsDone": len(done),
        "bucketsTotal": max(len(done), sum(day["bucketsExpected"] for day in days)),
    }
    return {"ok": True, **record, **progress, "gaps": held.run.gaps}


def listing(desk: Desk, query: Mapping[str, list[str]]) -> dict[str, Any]:
    """A page of runs, the youngest first: ``limit``, ``after`` (a run's id)."""
    usual, most = LIST_ROWS
    text = query.get("limit", [str(usual)])[0]
    if not (text.isascii() and text.isdigit()) or len(text) > LIMIT_DIGITS_MAX or not 0 < int(text) <= most:
        raise refused("limit")
    limit, after = int(text), query.get("after", [None])[0]
    last = None if after is None else _find(desk, after).run

    def work(tx: Tx) -> list[dict[str, Any]]:
        before_at, before_id = (None, None) if last is None else (last.created_at, last.run_id)
        return store.listed(tx, before_at, before_id, limit + 1)

    rows = desk.db.run(work, read_only=True)
    more = rows[limit - 1]["run_id"] if len(rows) > limit else None
    return {"ok": True, "runs": [answers.listed_run(row) for row in rows[:limit]], "after": None if more is None else str(more)}


def _find(desk: Desk, run: str) -> Held:
    try:
        name = run_name(run)
    except ValueError:
        raise Rejected("run_unknown", status=404) from None
    by_id, by_name = (name, None) if is_id(name) else (None, name)
    held = desk.db.run(lambda tx: store.find(tx, by_id, by_name), read_only=True)
    if held is None:
        raise Rejected("run_unknown", status=404)
    return held


# --- working ----------------------------------------------------------------------------------------------------------


@frozen
class Task:
    """One task of the job: its desk, its clock, its limits."""

    desk: Desk
    clock: Clock
    limits: Limits
    lease_seconds: int = 90
    page_rows: int = 2_000


def task_for(config: ReplayWorkerConfig, db: Database) -> Task:
    """A task of the job, as its settings say."""
    return Task(
        desk=runs.desk_for(config, db),
        clock=clock_for(config),
        limits=config.limits(),
        lease_seconds=config.replay_lease_seconds,
        page_rows=config.replay_page_rows_max,
    )


def work_off(task: Task) -> int:
    """Claim waiting runs, one after the other, and walk each to its end; returns how many were walked."""
    walked = 0
    while True:
        token = str(uuid.uuid4())
        now = task.clock.now()

        def claim(tx: Tx, token: str = token, now: datetime = now) -> str | None:
            return store.claim(tx, token, now, lease_seconds=task.lease_seconds, attempts_max=ATTEMPTS_MAX)

        claimed = task.desk.db.run(claim)
        if claimed is None:
            return walked
        walked += 1
        _Walker(task, claimed, token).walk_run()


class _Walker:
    """One run in the hands of one task; the memory of the last page serves the next."""

    def __init__(self, task: Task, run_id: str, token: str) -> None:
        self._task = task
        self._run_id = run_id
        self._token = token
        self._walk: Walk | None = None

    def walk_run(self) -> None:
        """Walk until nothing is left, the run is cancelled, or the lease is somebody else's."""
        tries = 0
        while True:
            try:
                is_left = self._step()
                tries = 0
            except (Contended, Unavailable):
                self._walk = None  # what a lost page left in memory never happened
                tries += 1
                if tries == PAGE_TRIES:
                    raise
                continue
            except (Rejected, Conflict) as error:
                self._fail(error.reason)
                return
            if not is_left:
                return

    def _step(self) -> bool:
        """One page in one transaction; False when the run needs no more of them."""
        with self._task.desk.db.transaction() as tx:
            held = store.own(tx, self._run_id, self._token)
            if held is None or held.run.status is not RunStatus.RUNNING:
                store.release(tx, self._run_id, self._token)
                return False
            if held.mode == INCREMENTAL:
                incremental.decide_again(tx, self._task.desk, held, self._task.clock.now(), self._task.limits)
                store.change(tx, "run_mode", self._run_id, mode=store.FULL)
                return True
            return self._page(tx, held)

    def _page(self, tx: Tx, held: Held) -> bool:
        begun, now = monotonic(), self._task.clock.now()
        day, arrivals, following = service.upcoming(tx, held.run, now, self._task.page_rows, self._task.limits)
        if day is not None:
            tickers = {arrival.receipt.ticker for arrival in arrivals}
            if self._walk is None:
                profile = runs.profile_of(held.run)
                self._walk = service.load_walk(tx, held, profile, tickers, day.date, self._task.limits)
            service.meet(tx, self._walk, tickers)
            turn = service.work_page(tx, held, self._walk, arrivals, following, now)
            self._put(tx, turn.held, now, monotonic() - begun)
            return True
        last = replay_day(last_session(held.run), held.run.scope.session, now)
        held = service.finish(tx, held, now) if last.settled == last.end else _paused(held)
        self._put(tx, held, now, monotonic() - begun)
        store.release(tx, self._run_id, self._token)
        _log.info("replay_run_walked", run_id=self._run_id, status=held.run.status, rows=held.run.rows)
        return False

    def _put(self, tx: Tx, held: Held, now: datetime, seconds: float) -> None:
        store.put(tx, held, now, seconds=seconds, token=self._token, lease_seconds=self._task.lease_seconds)

    def _fail(self, reason: str) -> None:
        """What stays wrong is not tried again."""

        def work(tx: Tx) -> None:
            held = store.own(tx, self._run_id, self._token)
            if held is not None:
                now = self._task.clock.now()
                failed = replace(held.run, status=RunStatus.FAILED, error=reason, finished_at=now)
                store.put(tx, replace(held, run=failed), now, seconds=0)
                store.release(tx, self._run_id, self._token)

        self._task.desk.db.run(work)
        _log.error("replay_run_failed", run_id=self._run_id, reason=reason)


def _paused(held: Held) -> Held:
    return replace(held, run=replace(held.run, status=RunStatus.PAUSED))


def last_session(run: Run) -> date:
    """The last session date of a run's scope."""
    return calendar().sessions(run.scope.date_from, run.scope.date_to)[-1].date
