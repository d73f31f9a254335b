"""A call of ``account_sync``: a run is opened, its accounts are worked here or cut into shards, and it is closed with its totals.

A slot of the scheduler has one run. Whoever asks for it again is told the first run's answer, unless that run fell silent: then
it is taken over under its own id, and what it finished stays finished. Source: sections 1 and 2 of the specification.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Final

from fillbook.ledger.ids import derived
from fillbook.mt5 import answers, dispatch, job, keeping, runstore, shards, store
from fillbook.mt5.answers import Reply, Summary
from fillbook.mt5.asked import Asked, Cursor, cursor_text
from fillbook.mt5.columns import run_of
from fillbook.mt5.dispatch import Choice, Load
from fillbook.mt5.duetimes import due_until, slot_of
from fillbook.mt5.ending import close_inline, log_end
from fillbook.mt5.grounds import FRESH, QUERIES, Grounds
from fillbook.mt5.part import Course
from fillbook.mt5.records import ByHand, Claimed
from fillbook.mt5.runrecords import Due, Fleet, Opened, Result, Run, Shard, Totals
from fillbook.mt5.skipping import Skips
from fillbook.mt5.words import Code, RunMode, RunStatus, SyncType
from fillbook.mt5.working import Share, Timings, pace_size, work_accounts, work_claimed
from fillbook.runtime.db import Tx
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.runtime.sql import instant_text
from fillbook.values import frozen

SPARE_SECONDS: Final = 0.5


@frozen
class Caller:
    """Who asks. ``tenant_id``: whose accounts alone it sees; ``scheduled_at``: when the scheduler's call was due."""

    email: str
    tenant_id: str | None = None
    scheduled_at: datetime | None = None

    @property
    def name(self) -> str:
        """As it stands in ``sync_runs.requested_by``."""
        return self.email if self.tenant_id is None else f"{self.email} for {self.tenant_id}"


def run_id_of(slot: datetime) -> str:
    """Id of the run of a slot of the scheduler."""
    return derived("mt5_run", instant_text(slot))


class Runs:
    """The use cases of ``account_sync`` for one call; ``begun``: monotonic seconds at which it came."""

    def __init__(self, grounds: Grounds, caller: Caller, begun: float, run_id: str | None = None) -> None:
        self.run_id = run_id or str(uuid.uuid4())
        """The execution's id; the scheduler's follow from their slots."""
        self._opened: str | None = None
        self._grounds, self._caller, self._begun = grounds, caller, begun
        self._db, self._config, self._log = grounds.db, grounds.config, grounds.log
        self._deadline = begun + grounds.config.mt5_run_budget_seconds

    def sync(self, asked: Asked) -> Reply:
        """Do what is asked. A run that breaks is closed as failed where it can be, so that it may be taken over at once."""
        try:
            return self._sync(asked)
        except Rejected:
            raise
        except Exception as error:
            self._give_up(error.reason if isinstance(error, Unavailable) else "internal")
            raise

    def _sync(self, asked: Asked) -> Reply:
        if asked.task is not None:
            return self.maintain()
        if asked.cursor is not None:
            return self.resume(asked.cursor)
        if asked.account_id is not None:
            return self._one(asked, asked.account_id)
        return self._all(asked)

    def _give_up(self, error_code: str) -> None:
        opened, now = self._opened, self._grounds.clock.now()
        if opened is not None:
            with suppress(Unavailable):
                self._db.run(lambda tx: runstore.close_run(tx, opened, RunStatus.FAILED, Totals(), now, error_code=error_code))

    # --- all accounts ------------------------------------------------------------------------------------------------

    def _all(self, asked: Asked) -> Reply:
        now = self._grounds.clock.now()
        slot = slot_of(self._caller.scheduled_at or now)
        is_scheduled = asked.sync_type is SyncType.SCHEDULED
        choice = Choice(slot=slot if is_scheduled else None, tenant_id=self._caller.tenant_id, with_reauth=asked.force)
        if is_scheduled:
            self.run_id = run_id_of(slot)
        opened, active = self._open(asked.sync_type, slot, now)
        run = opened.run
        if opened.outcome == "duplicate" or run.shards_total:
            return self._told_again(run, active)
        self._opened = run.run_id
        if is_scheduled and run.mode is RunMode.JOB:
            return self._handed_to_job(run, active, slot)
        load = Load()
        with self._db.transaction(read_only=True) as tx:
            accounts = list(islice(load.counted(dispatch.chosen(tx, choice)), self._config.mt5_inline_accounts_max + 1))
        before = self._done_before(run) if opened.outcome == "taken_over" else ()
        if accounts and (not asked.wait or len(accounts) > self._config.mt5_inline_accounts_max):
            return self._fan_out(run, choice, active, now)
        if is_scheduled and accounts:
            self._grounds.relay(dispatch.check_capacity(self._grounds, run, load, now))
        return self._inline(run, accounts, before, active, slot)

    def _open(self, sync_type: SyncType, slot: datetime, now: datetime) -> tuple[Opened, int]:
        """Open the run; how many accounts are active."""
        is_scheduled = sync_type is SyncType.SCHEDULED
        tenant_id = self._caller.tenant_id

        def work(tx: Tx) -> tuple[Opened, int]:
            most = self._config.mt5_job_above_accounts
            due = runstore.due(tx, due_before=due_until(slot), count_max=most + 1, tenant_id=tenant_id) if is_scheduled else 0
            opened = runstore.open_run(
                tx,
                self.run_id,
                sync_type=sync_type,
                requested_by=self._caller.name,
                now=now,
                scheduled_for=slot if is_scheduled else None,
                mode=RunMode.JOB if due > most else RunMode.INLINE,
            )
            return opened, runstore.active(tx, tenant_id=tenant_id)

        return self._db.run(work)

    def _told_again(self, run: Run, active: int) -> Reply:
        if run.mode is not RunMode.INLINE:
            document = answers.accepted(run.run_id, run.shards_total, run.mode, self._elapsed_ms())
            return Reply(status=202, document=document | {"duplicate": True})
        document = answers.duplicate(run, self._done_before(run), self._elapsed_ms(), active)
        return Reply(status=200, document=document)

    def _done_before(self, run: Run) -> tuple[Result, ...]:
        """What a run has to show so far, as far as it was worked by another process."""
        choice = Choice(slot=None, tenant_id=self._caller.tenant_id, with_reauth=True)
        with self._db.transaction(read_only=True) as tx:
            ids = [one.account_id for one in islice(dispatch.chosen(tx, choice), runstore.DUE_ROWS_MAX)]
            return runstore.results(tx, run, ids)

    def _handed_to_job(self, run: Run, active: int, slot: datetime) -> Reply:
        """So many accounts are the job's, whose tasks claim what is due by themselves."""
        with self._db.transaction(read_only=True) as tx:
            due = runstore.due(tx, due_before=due_until(slot), tenant_id=self._caller.tenant_id)
        tasks = job.hand_over(self._grounds, run, due)
        not_due = max(active - due, 0)
        return Reply(status=202, document=answers.accepted(run.run_id, tasks, RunMode.JOB, self._elapsed_ms(), not_due=not_due))

    def _fan_out(self, run: Run, choice: Choice, active: int, now: datetime) -> Reply:
        size = self._config.shard_size

        def work(tx: Tx) -> tuple[dispatch.Cut, Load]:
            load = Load()
            parts = dispatch.cut(run.run_id, load.counted(dispatch.chosen(tx, choice)), size=size)
            return dispatch.write_shards(tx, run, parts, now, mode=RunMode.FANNED_OUT, count_accounts=True), load

        made, load = self._db.run(work)
        told = dispatch.check_capacity(self._grounds, run, load, now) if run.sync_type is SyncType.SCHEDULED else ()
        self._grounds.relay([*made.partitions, *told])
        total = sum(load.due.values())
        self._log.info("run_fanned_out", execution_id=run.run_id, shards=made.shards, accounts=total, active=active)
        document = answers.accepted(
            run.run_id, made.shards, RunMode.FANNED_OUT, self._elapsed_ms(), not_due=max(active - total, 0)
        )
        return Reply(status=202, document=document)

    # --- here and now --------------------------------------------------------------------------------------------------

    def _inline(self, run: Run, accounts: Sequence[Due], before: Sequence[Result], active: int, slot: datetime) -> Reply:
        course = Course(slot=slot, active_accounts=active, deadline=self._deadline, size=pace_size(self._config, is_shard=False))
        timings = Timings(self._grounds.time, self._log, run.run_id)
        worked = work_accounts(self._grounds, run, accounts, course, timings) if accounts else Share()
        results = (*before, *worked.results)
        totals = answers.totals_of(results, deferred=worked.deferred, total=len(results) + worked.deferred)
        cursor = close_inline(self._grounds, run, totals, [one for one in accounts if one.account_id in worked.left])
        log_end(self._grounds, run, totals, self._elapsed_ms(), timings)
        if active == 0:
            return Reply(status=200, document=answers.no_accounts(run.run_id, self._elapsed_ms()))
        summary = Summary(
            run_id=run.run_id,
            totals=totals,
            results=results,
            duration_ms=self._elapsed_ms(),
            not_due=max(active - totals.total_accounts, 0),
            cursor=cursor,
            is_unhealthy=worked.is_unhealthy and totals.success_count + totals.partial_count == 0,
            is_late=bool(worked.left),
        )
        return Reply(status=200, document=answers.finished(summary))

    # --- one account ---------------------------------------------------------------------------------------------------

    def _one(self, asked: Asked, account_id: str) -> Reply:
        now = self._grounds.clock.now()
        try:
            by_hand, run, active = self._db.run(lambda tx: self._claimed(tx, asked, account_id, now))
        except _NotClaimed as refusal:
            return _refusal(refusal.found, account_id, self.run_id)
        self._opened = run.run_id
        claimed = by_hand.claimed
        if claimed is None:
            return self._barred(run, account_id)
        if not asked.wait:
            return self._one_elsewhere(run, claimed, now)
        course = Course(slot=slot_of(now), active_accounts=active, deadline=self._deadline, size=1)
        timings = Timings(self._grounds.time, self._log, run.run_id)
        worked = work_claimed(self._grounds, run, claimed, course, timings)
        totals = answers.totals_of(worked.results, deferred=worked.deferred, total=1)
        status = RunStatus.DEADLINE if worked.left else RunStatus.FINISHED
        self._db.run(lambda tx: runstore.close_run(tx, run.run_id, status, totals, self._grounds.clock.now()))
        log_end(self._grounds, run, totals, self._elapsed_ms(), timings)
        summary = Summary(
            run_id=run.run_id,
            totals=totals,
            results=worked.results,
            duration_ms=self._elapsed_ms(),
            is_unhealthy=worked.is_unhealthy,
            is_late=bool(worked.left),
        )
        return Reply(status=200, document=answers.finished(summary))

    def _claimed(self, tx: Tx, asked: Asked, account_id: str, now: datetime) -> tuple[ByHand, Run, int]:
        """Open the run of one account and claim it, both or neither."""
        opened = runstore.open_run(tx, self.run_id, sync_type=SyncType.MANUAL, requested_by=self._caller.name, now=now)
        by_hand = store.claim_by_hand(
            tx,
            account_id,
            run_id=self.run_id,
            tenant_id=self._caller.tenant_id,
            now=now,
            lease_seconds=self._config.mt5_lease_seconds,
            cooldown_seconds=self._config.mt5_manual_cooldown_seconds,
            force=asked.force,
        )
        if by_hand.outcome not in ("claimed", "needs_reauth"):
            raise _NotClaimed(by_hand)
        return by_hand, opened.run, runstore.active(tx, count_max=self._config.counted_accounts_max)

    def _barred(self, run: Run, account_id: str) -> Reply:
        """Its login was refused before: told and noted, not tried."""
        skips = Skips(self._grounds, run)
        results = (skips.add(account_id, Code.NEEDS_REAUTH),)
        skips.flush()
        totals = answers.totals_of(results, deferred=0, total=1)
        self._db.run(lambda tx: runstore.close_run(tx, run.run_id, RunStatus.FINISHED, totals, self._grounds.clock.now()))
        summary = Summary(run_id=run.run_id, totals=totals, results=results, duration_ms=self._elapsed_ms())
        return Reply(status=200, document=answers.finished(summary))

    def _one_elsewhere(self, run: Run, claimed: Claimed, now: datetime) -> Reply:
        shard = Shard(run_id=run.run_id, shard_no=0, instance_key=claimed.account.instance_key, account_ids=(claimed.account_id,))
        store.hand_back(self._db, [claimed])
        made = self._db.run(lambda tx: dispatch.write_shards(tx, run, [shard], now, mode=RunMode.FANNED_OUT, count_accounts=True))
        self._grounds.relay(made.partitions)
        return Reply(status=202, document=answers.accepted(run.run_id, made.shards, RunMode.FANNED_OUT, self._elapsed_ms()))

    # --- the rest -------------------------------------------------------------------------------------------------------

    def resume(self, cursor: Cursor) -> Reply:
        """Take up what a run did not come to; what a message has taken up meanwhile is not done twice."""
        run = self._found(cursor.run_id)
        results: list[Result] = []
        deferred = 0
        for shard_no in range(cursor.shard_no, run.shards_total):
            if self._grounds.time.monotonic() >= self._deadline - SPARE_SECONDS:
                break
            done = shards.resume(self._grounds, run.run_id, shard_no, self._deadline)
            results += done.results
            deferred += done.deferred
        run = self._found(cursor.run_id)
        totals = answers.totals_of(results, deferred=deferred, total=len(results) + deferred)
        is_late = run.status in (RunStatus.DEADLINE, RunStatus.RUNNING)
        summary = Summary(
            run_id=run.run_id,
            totals=totals,
            results=results,
            duration_ms=self._elapsed_ms(),
            cursor=cursor_text(cursor) if is_late else None,
            mode=run.mode,
            is_late=is_late,
        )
        return Reply(status=200, document=answers.finished(summary))

    def status(self, run_id: str | None) -> Reply:
        """How far a run is, or the scheduler's last one; reads one row and asks no service."""
        now, tenant_id = self._grounds.clock.now(), self._caller.tenant_id

        def look(tx: Tx) -> tuple[Run | None, Fleet]:
            found = runstore.run(tx, run_id) if run_id is not None else latest(tx)
            return found, runstore.fleet(tx, fresh_since=now - FRESH, tenant_id=tenant_id)

        with self._db.transaction(read_only=True) as tx:
            run, fleet = look(tx)
        if run is None or (tenant_id is not None and run.requested_by != self._caller.name):
            raise Rejected("run_unknown", status=404)
        fresh_pct = None if fleet.active == 0 else round(Decimal(100 * fleet.fresh) / fleet.active, 2)
        return Reply(status=200, document=answers.status(run, fresh_pct))

    def maintain(self) -> Reply:
        """Keep the room's tables in bounds, as long as there is time."""
        config = self._config
        kept = keeping.maintain(
            self._db,
            self._grounds.clock.now(),
            keeping.Retention(log_days=config.mt5_log_days, archive_days=config.mt5_failure_log_days),
            may_go_on=lambda: self._grounds.time.monotonic() < self._deadline,
        )
        figures = asdict(kept)
        self._log.info("maintained", execution_id=self.run_id, **figures)
        document = {"success": True, "executionId": self.run_id, "duration_ms": self._elapsed_ms(), "kept": figures}
        return Reply(status=200, document=document)

    def _found(self, run_id: str) -> Run:
        with self._db.transaction(read_only=True) as tx:
            run = runstore.run(tx, run_id)
        if run is None or (self._caller.tenant_id is not None and run.requested_by != self._caller.name):
            raise Rejected("run_unknown", status=404)
        return run

    def _elapsed_ms(self) -> int:
        return round((self._grounds.time.monotonic() - self._begun) * 1000)


class _NotClaimed(Exception):
    """The account is not to be had; takes the opening of its run back."""

    def __init__(self, found: ByHand) -> None:
        super().__init__(found.outcome)
        self.found = found


def _refusal(found: ByHand, account_id: str, run_id: str) -> Reply:
    if found.outcome == "leased":
        return answers.running(found.lease_run_id)
    if found.outcome == "cooling":
        return answers.too_soon(run_id, found.retry_after_seconds or 1)
    return answers.not_found(account_id, run_id)


def latest(tx: Tx) -> Run | None:
    """The scheduler's last run."""
    rows = tx.query(QUERIES["latest_run"])
    return run_of(rows[0]["run"]) if rows else None
