"""Accounts of a run worked here, whichever way they came: a list, one claimed by hand, a shard, whatever is due in a range."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from fillbook.mt5 import store
from fillbook.mt5.desk import Time
from fillbook.mt5.grounds import QUERIES, Grounds
from fillbook.mt5.pacing import Batches, Pace, Window
from fillbook.mt5.part import Brought, Course, Part
from fillbook.mt5.records import Claimed, Claims
from fillbook.mt5.runrecords import Due, Result, Run, Shard
from fillbook.mt5.settings import Mt5Config
from fillbook.mt5.supply import Supply
from fillbook.mt5.taking import AtHand, Hand
from fillbook.mt5.words import Code
from fillbook.runtime import logs
from fillbook.values import frozen

BATCH, WINDOW = "batch", "window"
TIMINGS_MAX: Final = 100


@frozen
class Share:
    """What came of accounts. ``left``: not come to, due at once; ``paused``: their service asked for a pause; ``held``: another
    worker of the same run is at them; ``done``: worked before in the same run, by another process.
    """

    results: tuple[Result, ...] = ()
    left: tuple[str, ...] = ()
    paused: int = 0
    held: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    is_unhealthy: bool = False
    has_no_session: bool = False

    @property
    def deferred(self) -> int:
        """Accounts that are as due as before."""
        return len(self.left) + self.paused


class Timings:
    """When the groups of a run began, logged one by one and told together at its end."""

    def __init__(self, clocks: Time, log: logs.Logger, run_id: str) -> None:
        self._clocks, self._log, self._run_id = clocks, log, run_id
        self._begun = clocks.monotonic()
        self._starts: list[int] = []

    def tell(self, number: int, of: int | None) -> None:
        """A group begins."""
        if len(self._starts) < TIMINGS_MAX:
            self._starts.append(self._at())
        text = f"Processing batch {number}/{of or '?'}"
        self._log.info("processing_batch", execution_id=self._run_id, detail=text, batch=number, batches=of)

    def milliseconds(self) -> list[int]:
        """How long each group took, the pause after it included."""
        ends = [*self._starts[1:], self._at()] if self._starts else []
        return [end - start for start, end in zip(self._starts, ends, strict=True)]

    def _at(self) -> int:
        return round((self._clocks.monotonic() - self._begun) * 1000)


def pace_size(config: Mt5Config, *, is_shard: bool) -> int:
    """Accounts in flight at most."""
    kind = config.mt5_pacing_shard if is_shard else config.mt5_pacing_inline
    return config.mt5_batch_size if kind == BATCH else config.mt5_shard_window


Leave = Callable[[AtHand, Share], None]
"""Called with each shard when it is over, and what came of it; before the next account begins."""


def _pace(config: Mt5Config, *, is_shard: bool, total: int | None, timings: Timings, window: Window | None = None) -> Pace:
    kind = config.mt5_pacing_shard if is_shard else config.mt5_pacing_inline
    if kind == BATCH:
        return Batches(config.mt5_batch_size, config.mt5_batch_delay_ms / 1000, total=total, tell=timings.tell)
    return window or Window(config.mt5_shard_window)


def work_accounts(grounds: Grounds, run: Run, accounts: Sequence[Due], course: Course, timings: Timings) -> Share:
    """Work chosen accounts, those of instances that are unhealthy or lend no session apart."""
    with Part(grounds, run, fitting(course, len(accounts))) as part:
        empty = part.begin((one.instance_key, one.server) for one in accounts)
        part.skip((one.account_id for one in accounts if part.is_shut(one.instance_key)), Code.SERVICE_UNHEALTHY)
        waiting = tuple(one.account_id for one in accounts if one.instance_key in empty)
        ids = [one.account_id for one in accounts if not part.is_shut(one.instance_key) and one.instance_key not in empty]
        supply = Supply.of(
            ids, lambda block: _claimed(grounds, run, block), lambda block: _claimed_patiently(grounds, run, block)
        )
        part.work(supply, _pace(grounds.config, is_shard=False, total=len(ids), timings=timings))
        return _share(part, part.settled(supply), waiting)


def work_claimed(grounds: Grounds, run: Run, claimed: Claimed, course: Course, timings: Timings) -> Share:
    """Work one account that was claimed already."""
    with Part(grounds, run, course) as part:
        empty = part.begin([(claimed.account.instance_key, claimed.account.server)])
        if part.is_shut(claimed.account.instance_key):
            part.skip([claimed.account_id], Code.SERVICE_UNHEALTHY, claimed.lease_token)
            supply = Supply.held([])
        elif empty:
            store.hand_back(grounds.db, [claimed])
            return Share(left=(claimed.account_id,), has_no_session=True)
        else:
            supply = Supply.held([claimed])
        part.work(supply, _pace(grounds.config, is_shard=False, total=1, timings=timings))
        return _share(part, part.settled(supply))


def work_shard(grounds: Grounds, run: Run, hand: Hand, course: Course, timings: Timings, leave: Leave) -> None:
    """Work the shard at hand, all of one instance, and those that its idle places take up; ``leave`` each as it is over."""
    shard = hand.first.shard
    groups = _groups(grounds, shard)
    with Part(grounds, run, course) as part:
        if part.begin(groups):
            for one in hand.rest():
                leave(one, Share(left=one.shard.account_ids, has_no_session=True))
            return
        is_shut = any(part.is_shut(instance_key) for instance_key, _ in groups)
        if is_shut:
            part.skip(shard.account_ids, Code.SERVICE_UNHEALTHY)

        def claim(block: list[str]) -> Claims:
            claims = _claimed(grounds, run, block)
            hand.missed(one.account_id for one in claims.unclaimed if not one.is_being_written)
            return claims

        def again(block: list[str]) -> Claims:
            claims = _claimed_patiently(grounds, run, block)
            hand.missed(one.account_id for one in claims.unclaimed)
            return claims

        def more() -> Sequence[str]:
            taken = hand.take()
            if taken is None:
                return ()
            part.meet(_groups(grounds, taken))
            return taken.account_ids

        def after(account_id: str) -> None:
            hand.ended(account_id)
            for one in hand.over():
                leave(one, _share(part, part.settled(supply, one.has)))

        supply = Supply.of([] if is_shut else shard.account_ids, claim, again, more)
        if not is_shut:  # an instance that is not tried lends no session, and a window without one would never be through
            window = Window(course.size, sessions=part.sessions)
            pace = _pace(grounds.config, is_shard=True, total=len(shard.account_ids), timings=timings, window=window)
            part.work(supply, pace, after)
        for one in hand.rest():
            leave(one, _share(part, part.settled(supply, one.has)))


def work_range(grounds: Grounds, run: Run, shards: tuple[int, int], course: Course, timings: Timings) -> Share:
    """Work whatever is due in a range of logical shards, until nothing is."""
    with grounds.db.transaction(read_only=True) as tx:
        groups = [(row["instance_key"], row["server"]) for row in tx.query(QUERIES["groups_of_accounts"])]
    with Part(grounds, run, course) as part:
        if part.begin(groups):
            return Share(has_no_session=True)

        def claim(count: int) -> Claims:
            return store.claim_due(
                grounds.db,
                run.run_id,
                due_before=course.due_before,
                shards=shards,
                rows_max=count,
                lease_seconds=grounds.config.mt5_lease_seconds,
            )

        supply = Supply.due(claim)
        part.work(supply, _pace(grounds.config, is_shard=True, total=None, timings=timings))
        return _share(part, part.settled(supply))


def fitting(course: Course, accounts: int) -> Course:
    """No more in flight than there are accounts, so that few of them leave the other sessions of an instance to others."""
    return replace(course, size=max(min(course.size, accounts), 1))


def _claimed(grounds: Grounds, run: Run, account_ids: Sequence[str]) -> Claims:
    return store.claim(grounds.db, run.run_id, account_ids, lease_seconds=grounds.config.mt5_lease_seconds)


def _claimed_patiently(grounds: Grounds, run: Run, account_ids: Sequence[str]) -> Claims:
    return store.claim_patiently(grounds.db, run.run_id, account_ids, lease_seconds=grounds.config.mt5_lease_seconds)


def _groups(grounds: Grounds, shard: Shard) -> list[tuple[str, str]]:
    with grounds.db.transaction(read_only=True) as tx:
        rows = tx.query(QUERIES["groups_of"], account_ids=list(shard.account_ids))
    return [(row["instance_key"], row["server"]) for row in rows]


def _share(part: Part, brought: Brought, waiting: tuple[str, ...] = ()) -> Share:
    return Share(
        results=brought.results,
        left=(*brought.left, *waiting),
        paused=brought.paused,
        held=brought.held,
        done=brought.done,
        is_unhealthy=any(part.is_shut(key) for key in part.asked),
    )
