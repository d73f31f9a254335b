"""The local Scheduler: the manifest's schedules on desk time, called as Cloud Scheduler calls.

Cron expressions are read in the schedule's time zone by ``cronsim`` (Debian cron's rules where the clock changes: a fixed time
that does not exist fires at the hour's end of the gap, one that exists twice fires once; hourly wildcards follow the
clock). Two things differ from the cloud, on purpose: an attempt of a job never overlaps another of the same job, and slots
missed because desk time runs fast or jumped forward are *coalesced* into the latest one. Slots missed while the process was
down are made up for only once and only when younger than ``CATCH_UP``. Every call may still come twice; receivers
insert (job, slot) first.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim

from infra.local.deskclock import DeskClockFile
from infra.local.message_store import MessageStore
from infra.local.push import Answer, Pusher
from infra.local.retry import Due, due_after
from infra.local.tokens import Tokens
from infra.local.wiring import Job

TICK_SECONDS = 0.05
CATCH_UP = timedelta(hours=1)
BACKWARD = timedelta(seconds=2)


def next_slot(job: Job, after: datetime) -> datetime:
    """The first slot strictly after ``after``, in UTC."""
    return next(CronSim(job.cron, after.astimezone(ZoneInfo(job.time_zone)))).astimezone(UTC)


def latest_slot(job: Job, until: datetime, *, since: datetime) -> datetime | None:
    """The last slot in (``since``, ``until``], in UTC; None when there is none."""
    slot = next_slot(job, since)
    if slot > until:
        return None
    # A day before `until` is skipped ahead at once; a slot rarer than daily is found from where it was known to be.
    start = until - timedelta(days=1)
    if start > slot and next_slot(job, start) <= until:
        slot = next_slot(job, start)
    hour = until - timedelta(hours=1)
    if hour > slot and next_slot(job, hour) <= until:
        slot = next_slot(job, hour)
    while (later := next_slot(job, slot)) <= until:
        slot = later
    return slot


@dataclass(slots=True)
class _State:
    job: Job
    next_at: datetime
    running: bool = False
    paused: bool = False
    last_slot: datetime | None = None
    last_answer: Answer | None = None


class Scheduler:
    """All jobs of one wiring; ``start`` it inside the event loop, ``stop`` it there."""

    def __init__(
        self,
        jobs: tuple[Job, ...],
        *,
        store: MessageStore,
        pusher: Pusher,
        tokens: Tokens,
        clock: DeskClockFile,
        floor_seconds: float,
    ) -> None:
        self._store, self._pusher, self._tokens, self._clock = store, pusher, tokens, clock
        self._floor = floor_seconds
        self._jobs = jobs
        self._states: dict[str, _State] = {}
        self._seen_at = clock.now()
        self._tasks: set[asyncio.Task[Answer]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self.counts: Counter[str] = Counter()

    async def start(self) -> None:
        """Begin; a slot of the last hour that was not finished before a restart is run once."""
        now = self._seen_at = self._clock.now()
        done: Mapping[str, float] = await self._store.load_slots()
        for job in self._jobs:
            state = _State(job, next_slot(job, now))
            last = done.get(job.name)
            if last is not None and (known := datetime.fromtimestamp(last, UTC)) <= now:
                missed = latest_slot(job, now, since=max(known, now - CATCH_UP))
                state.next_at = missed or state.next_at
            self._states[job.name] = state
        self._ticker = asyncio.create_task(self._tick_for_ever())

    async def stop(self, grace_seconds: float) -> None:
        """Start nothing new; what runs gets ``grace_seconds``."""
        if self._ticker is not None:
            self._ticker.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        for task in list(self._tasks):
            task.cancel()

    def tick(self) -> None:
        """Start every job whose slot has come; called often, and at once when the clock was moved."""
        now = self._clock.now()
        if now < self._seen_at - BACKWARD:
            for state in self._states.values():
                state.next_at = next_slot(state.job, now)
        self._seen_at = now
        for state in self._states.values():
            if state.next_at <= now and not state.running and not state.paused:
                slot = latest_slot(state.job, now, since=state.next_at - timedelta(seconds=1)) or state.next_at
                state.next_at = next_slot(state.job, now)
                _ = self._begin(state, slot)

    async def run_now(self, name: str) -> Answer:
        """Run a job once now, as the console's button does; KeyError: no such job. Waits for a running attempt."""
        state = self._states[name]
        while state.running:
            await asyncio.sleep(TICK_SECONDS)
        return await self._begin(state, self._clock.now())

    def pause(self, name: str, paused: bool) -> None:
        """Pause or resume a job; resuming goes on with the next slot. KeyError: no such job."""
        state = self._states[name]
        state.paused = paused
        state.next_at = next_slot(state.job, self._clock.now())

    @property
    def busy(self) -> int:
        """How many jobs are running."""
        return sum(state.running for state in self._states.values())

    def names(self) -> list[str]:
        """All jobs."""
        return list(self._states)

    def _begin(self, state: _State, slot: datetime) -> asyncio.Task[Answer]:
        state.running = True
        state.last_slot = slot
        task = asyncio.create_task(self._run(state, slot))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, state: _State, slot: datetime) -> Answer:
        job = state.job
        answer = Answer(0, "not sent")
        try:
            for failures in range(job.retries + 1):
                if failures:
                    await self._wait(job, failures)
                answer = await self._call(job, slot)
                state.last_answer = answer
                self.counts[f"{job.name}:{'ok' if 200 <= answer.status < 300 else 'failed'}"] += 1
                if 200 <= answer.status < 300:
                    break
            self._store.slot_done(job.name, slot.timestamp())
            return answer
        finally:
            state.running = False

    async def _wait(self, job: Job, failures: int) -> None:
        due: Due = due_after(
            failures,
            least=job.retry_min_seconds,
            most=job.retry_max_seconds,
            floor=self._floor,
            desk_now=self._clock.now(),
            monotonic=time.monotonic(),
        )
        while not due.is_due(self._clock.now(), time.monotonic()):
            await asyncio.sleep(TICK_SECONDS)

    async def _call(self, job: Job, slot: datetime) -> Answer:
        moment = slot.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        headers = {
            "Authorization": "Bearer " + self._tokens.token(job.email, job.audience),
            "Content-Type": "application/json",
            "User-Agent": "Google-Cloud-Scheduler",
            "X-CloudScheduler": "true",
            "X-CloudScheduler-JobName": job.name,
            "X-CloudScheduler-ScheduleTime": moment,
        }
        return await self._pusher.post(job.url, job.body.encode(), headers, job.deadline_seconds)

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.tick()

    def document(self) -> dict[str, Any]:
        """Figures for the control panel."""
        return {
            name: {
                "cron": state.job.cron,
                "time_zone": state.job.time_zone,
                "next_at": state.next_at.isoformat(),
                "running": state.running,
                "paused": state.paused,
                "last_slot": state.last_slot.isoformat() if state.last_slot else None,
                "last_status": state.last_answer.status if state.last_answer else None,
                "last_reason": state.last_answer.reason if state.last_answer else None,
                "ok": self.counts[f"{name}:ok"],
                "failed": self.counts[f"{name}:failed"],
            }
            for name, state in self._states.items()
        }
