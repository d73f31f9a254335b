"""A part of a run, asked for by a message: begun, worked under leases, closed with its totals or handed on to a continuation.

A message may come twice, late, or while another one is at the same accounts: leases and the run's own mark on each account keep
the work single, and a shard's row is left exactly once per continuation. Source: section 2 of the specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from fillbook.mt5 import answers, runstore
from fillbook.mt5.asked import uuid_text
from fillbook.mt5.duetimes import slot_of
from fillbook.mt5.ending import log_end
from fillbook.mt5.grounds import Grounds
from fillbook.mt5.part import Course
from fillbook.mt5.runrecords import Result, Run, Shard, Totals
from fillbook.mt5.taking import AtHand, Hand, takes_none
from fillbook.mt5.telling import SYNC_REQUESTED, sync_requested
from fillbook.mt5.words import ShardState, SyncStatus
from fillbook.mt5.working import WINDOW, Share, Timings, fitting, pace_size, work_shard
from fillbook.outbox.service import enqueue, partitions_of, receive
from fillbook.runtime.bodies import parse_json_object
from fillbook.runtime.db import Tx
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.values import frozen

CONSUMER: Final = "account_sync_shard"
HELD_SECONDS: Final = 30
NUMBER_MAX: Final = 2**31 - 1


@frozen
class Wanted:
    """A message: which continuation of which shard. ``event_id`` None: it was not asked for by a message."""

    run_id: str
    shard_no: int
    continuation: int
    event_id: UUID | None = None


def read(data: bytes) -> Wanted:
    """Read an event's envelope; raises ``Rejected`` (``json_invalid``, ``event_type_unknown``, ``value_invalid``)."""
    envelope = parse_json_object(data)
    if envelope.get("event_type") != SYNC_REQUESTED:
        raise Rejected("event_type_unknown")
    inner = envelope.get("data")
    if not isinstance(inner, Mapping):
        raise Rejected("value_invalid", field="data")
    return Wanted(
        run_id=uuid_text(inner.get("run_id"), "run_id"),
        shard_no=_number(inner, "shard_no"),
        continuation=_number(inner, "continuation"),
        event_id=UUID(uuid_text(envelope.get("event_id"), "event_id")),
    )


def _number(row: Mapping[str, Any], name: str) -> int:
    value = row.get(name)
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise Rejected("value_invalid", field=name)
    return value


def work(grounds: Grounds, wanted: Wanted, deadline: float) -> Share | None:
    """Work what a message asks for, until ``deadline`` (monotonic), and queued shards beside it while places are idle; what came
    of its own accounts. None: it is done, or a later continuation has it.

    Raises ``Unavailable('accounts_held')`` when another worker of the same run is still at some of them: the message comes again.
    """
    now = grounds.clock.now()
    found = grounds.db.run(lambda tx: runstore.begin_shard(tx, wanted.run_id, wanted.shard_no, wanted.continuation, now))
    if found is None:
        grounds.log.info("shard_over", execution_id=wanted.run_id, shard_no=wanted.shard_no, continuation=wanted.continuation)
        return None
    shard, run = found
    takes = wanted.event_id is not None and grounds.config.mt5_pacing_shard == WINDOW
    with grounds.db.transaction(read_only=True) as tx:
        active = runstore.active(tx, count_max=grounds.config.counted_accounts_max)
        queued = runstore.accounts_queued(tx, run.run_id, shard.instance_key) if takes else 0
    widest = Course(
        slot=run.scheduled_for or slot_of(run.started_at),
        active_accounts=active,
        deadline=deadline,
        size=pace_size(grounds.config, is_shard=True),
    )
    course = fitting(widest, len(shard.account_ids) + queued)
    timings = Timings(grounds.time, grounds.log, run.run_id)
    take = (lambda: _taken(grounds, shard)) if takes else takes_none
    hand = Hand(shard, monotonic=grounds.time.monotonic, take=take)
    own: list[Share] = []

    def leave(one: AtHand, worked: Share) -> None:
        if one is hand.first:
            own.append(worked)
        if not worked.held:
            _left(grounds, run, one, worked, timings, wanted.event_id if one is hand.first else None)

    work_shard(grounds, run, hand, course, timings, leave)
    (worked,) = own
    if worked.held and _is_open(grounds, shard):
        raise Unavailable("accounts_held", f"{len(worked.held)} accounts of {run.run_id}", retry_after_seconds=HELD_SECONDS)
    return worked


def _taken(grounds: Grounds, beside: Shard) -> Shard | None:
    """Take up the next shard that nobody is at; its message finds it over, or comes again."""
    now = grounds.clock.now()
    shard = grounds.db.run(lambda tx: runstore.take_shard(tx, beside.run_id, beside.instance_key, now))
    if shard is not None:
        grounds.log.info(
            "shard_taken",
            execution_id=shard.run_id,
            shard_no=shard.shard_no,
            continuation=shard.continuation,
            beside=beside.shard_no,
        )
    return shard


def _is_open(grounds: Grounds, shard: Shard) -> bool:
    """Whether nobody has ended a continuation of a shard, or handed it on, meanwhile."""
    now = grounds.clock.now()
    return grounds.db.run(lambda tx: runstore.begin_shard(tx, shard.run_id, shard.shard_no, shard.continuation, now)) is not None


def _left(grounds: Grounds, run: Run, one: AtHand, worked: Share, timings: Timings, event_id: UUID | None) -> None:
    """A shard is over here: its row, one line in the log, and the run's line with the last one."""
    totals = _totals(grounds, run, worked)
    after = _leave(grounds, run, one.shard, worked, totals, event_id)
    elapsed_ms = round((grounds.time.monotonic() - one.begun) * 1000)
    _log_shard(grounds, one.shard, worked, totals, elapsed_ms)
    if after is not None and after.finished_at is not None and after.shards_done >= after.shards_total:
        log_end(grounds, after, after.totals, after.duration_ms or 0, timings)


def resume(grounds: Grounds, run_id: str, shard_no: int, deadline: float) -> Share:
    """Work what is left of a shard, whichever continuation it stands at, without waiting for its message."""
    for continuation in range(grounds.config.mt5_continuations_max + 1):
        try:
            worked = work(grounds, Wanted(run_id=run_id, shard_no=shard_no, continuation=continuation), deadline)
        except Unavailable as error:
            if error.reason != "accounts_held":
                raise
            return Share()
        if worked is not None:
            return worked
    return Share()


def bury(grounds: Grounds, wanted: Wanted) -> None:
    """Give a shard up: its message could not be worked in twenty attempts. Its accounts stay due."""
    now = grounds.clock.now()
    shard = Shard(
        run_id=wanted.run_id, shard_no=wanted.shard_no, instance_key="", account_ids=(), continuation=wanted.continuation
    )
    run = grounds.db.run(lambda tx: runstore.close_shard(tx, shard, Totals(), now, state=ShardState.DEAD))
    grounds.log.error("shard_dead", execution_id=wanted.run_id, shard_no=wanted.shard_no, is_new=run is not None)


def _totals(grounds: Grounds, run: Run, worked: Share) -> Totals:
    """What a shard brought, accounts included that a process before this one had finished when it died."""
    results: list[Result] = list(worked.results)
    unlogged = 0
    if worked.done:
        with grounds.db.transaction(read_only=True) as tx:
            logged = runstore.results(tx, run, worked.done)
        results += logged
        unlogged = len(set(worked.done) - {one.account_id for one in logged})
    totals = answers.totals_of(results, deferred=worked.deferred, total=0)
    return replace(totals, success_count=totals.success_count + unlogged)


def _leave(grounds: Grounds, run: Run, shard: Shard, worked: Share, totals: Totals, event_id: UUID | None) -> Run | None:
    """Close the shard, or hand on what is left, and write the inbox row with it; the run as it stands then."""
    now = grounds.clock.now()
    is_handed_on = bool(worked.left) and shard.continuation < grounds.config.mt5_continuations_max

    def leave(tx: Tx) -> tuple[Run | None, tuple[int, ...]]:
        if event_id is not None:
            receive(tx, CONSUMER, event_id, now)
        if not is_handed_on:
            return runstore.close_shard(tx, shard, totals, now), ()
        after = runstore.continue_shard(tx, shard, worked.left, totals, now)
        if after is None:
            return None, ()
        following = Shard(
            run_id=shard.run_id,
            shard_no=shard.shard_no,
            instance_key=shard.instance_key,
            account_ids=worked.left,
            continuation=shard.continuation + 1,
        )
        events = [sync_requested(run, following, now)]
        enqueue(tx, events)
        return after, partitions_of(events)

    after, partitions = grounds.db.run(leave)
    grounds.relay(partitions)
    return after


def _log_shard(grounds: Grounds, shard: Shard, worked: Share, totals: Totals, duration_ms: int) -> None:
    grounds.log.info(
        "shard_worked",
        execution_id=shard.run_id,
        shard_no=shard.shard_no,
        continuation=shard.continuation,
        accounts=len(shard.account_ids),
        succeeded=totals.success_count,
        not_synced=sum(one.status is not SyncStatus.SUCCESS for one in worked.results),
        left=len(worked.left),
        has_no_session=worked.has_no_session,
        duration_ms=duration_ms,
    )
