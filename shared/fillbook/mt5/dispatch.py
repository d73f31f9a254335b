"""Which accounts a run takes, into which shards they are cut, and whether a service can give that much in a tick."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from fillbook.mt5 import runstore
from fillbook.mt5.duetimes import STEPPED_BACK, due_until
from fillbook.mt5.grounds import QUERIES, Grounds
from fillbook.mt5.pacing import FIRST_GUESS_SECONDS, Throughput, capacity
from fillbook.mt5.runrecords import Due, Run, Shard
from fillbook.mt5.telling import capacity_exceeded, sync_requested
from fillbook.mt5.tokens import published_limit
from fillbook.mt5.words import ContractKind, RunMode
from fillbook.outbox.service import enqueue, partitions_of, receive
from fillbook.runtime.db import Tx
from fillbook.values import frozen

TELLER: Final = "account_sync"
"""In whose name a run notes what it told."""
SHARDS_AT_ONCE: Final = 100
SAMPLE_ACCOUNTS: Final = 100
SAMPLE_SPAN: Final = timedelta(hours=3)
CALLS: Final = {ContractKind.V1: 2, ContractKind.V0: 3, ContractKind.AUTO: 3}


@frozen
class Choice:
    """Whose accounts a run takes. ``slot`` None: all active ones, due or not; ``with_reauth``: also those whose login was
    refused; ``tenant_id`` None: everybody's.
    """

    slot: datetime | None
    tenant_id: str | None = None
    with_reauth: bool = False


# --- who ---------------------------------------------------------------------------------------------------------------


def chosen(tx: Tx, choice: Choice) -> Iterator[Due]:
    """The accounts of a run, longest due first, read in pages. Due, too, is what was put off before the clock was set back."""
    if choice.slot is None:
        yield from _pages(tx, choice, due_before=None, after=None)
        return
    yield from _pages(tx, choice, due_before=due_until(choice.slot), after=None)
    ahead = Due(
        account_id=str(UUID(int=0)), tenant_id="", server="", instance_key="", shard=0, next_due_at=choice.slot + STEPPED_BACK
    )
    yield from _pages(tx, choice, due_before=None, after=ahead)


def _pages(tx: Tx, choice: Choice, *, due_before: datetime | None, after: Due | None) -> Iterator[Due]:
    while True:
        page = runstore.due_page(
            tx, due_before=due_before, after=after, tenant_id=choice.tenant_id, with_reauth=choice.with_reauth
        )
        yield from page
        if len(page) < runstore.DUE_ROWS_MAX:
            return
        after = page[-1]


# --- shards -------------------------------------------------------------------------------------------------------------


def cut(run_id: str, accounts: Iterable[Due], *, size: int, first_no: int = 0) -> Iterator[Shard]:
    """Cut accounts into shards of one instance and server each, ``size`` at most, those that are longest due first."""
    number = first_no
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in accounts:
        group = groups[one.instance_key, one.server]
        group.append(one.account_id)
        if len(group) == size:
            yield Shard(run_id=run_id, shard_no=number, instance_key=one.instance_key, account_ids=tuple(group))
            group.clear()
            number += 1
    for (instance_key, _), group in groups.items():
        if group:
            yield Shard(run_id=run_id, shard_no=number, instance_key=instance_key, account_ids=tuple(group))
            number += 1


@frozen
class Cut:
    """What was written of a run's shards; ``partitions`` of the outbox, to be relayed."""

    shards: int
    partitions: tuple[int, ...]


def write_shards(tx: Tx, run: Run, shards: Iterable[Shard], now: datetime, *, mode: RunMode, count_accounts: bool) -> Cut:
    """Write shards and their events in the caller's transaction; what is there already is not written again."""
    made, partitions = 0, set[int]()
    block: list[Shard] = []

    def write() -> None:
        nonlocal made
        total = sum(len(one.account_ids) for one in block)
        numbers = set(runstore.add_shards(tx, run.run_id, block, mode=mode, total_accounts=total if count_accounts else 0))
        events = [sync_requested(run, one, now) for one in block if one.shard_no in numbers]
        enqueue(tx, events)
        partitions.update(partitions_of(events))
        made += len(numbers)
        block.clear()

    for shard in shards:
        block.append(shard)
        if len(block) == SHARDS_AT_ONCE:
            write()
    if block:
        write()
    return Cut(shards=made, partitions=tuple(sorted(partitions)))


# --- capacity -----------------------------------------------------------------------------------------------------------


class Load:
    """Counts the accounts of a run by instance while they are read, and keeps a few of each to estimate by."""

    def __init__(self) -> None:
        self.due: dict[str, int] = defaultdict(int)
        self._sample: dict[str, list[str]] = defaultdict(list)

    def counted(self, accounts: Iterable[Due]) -> Iterator[Due]:
        """Pass accounts on."""
        for one in accounts:
            self.due[one.instance_key] += 1
            if len(self._sample[one.instance_key]) < SAMPLE_ACCOUNTS:
                self._sample[one.instance_key].append(one.account_id)
            yield one

    def sample(self, instance_key: str) -> Sequence[str]:
        """A few of an instance's accounts."""
        return self._sample[instance_key]


def check_capacity(grounds: Grounds, run: Run, load: Load, now: datetime) -> tuple[int, ...]:
    """Log what each instance can give in five minutes, and tell where more is due; partitions of what was told."""
    instances = grounds.instances()

    def look(tx: Tx) -> tuple[int, ...]:
        events = []
        for key, due in sorted(load.due.items()):
            instance = instances.get(key)
            if instance is None:
                continue
            given = Throughput(
                sessions=instance.sessions_max,
                seconds_per_account=_seconds(tx, load.sample(key), now),
                calls_per_account=CALLS[instance.contract],
                rate_per_minute=published_limit(instance.rate_per_minute, None, instance.contract)
                if instance.contract is not ContractKind.AUTO
                else instance.rate_per_minute,
            )
            most = capacity(given)
            grounds.log.info(
                "capacity", execution_id=run.run_id, instance=key, due=due, capacity=most, seconds=given.seconds_per_account
            )
            if due > most:
                events.append(capacity_exceeded(run, key, due, most, now))
        events = [one for one in events if receive(tx, TELLER, one.event_id, now)]  # a run that is taken over looks again
        enqueue(tx, events)
        return partitions_of(events)

    return grounds.db.run(look)


def _seconds(tx: Tx, account_ids: Sequence[str], now: datetime) -> float:
    """Seconds an account takes, by what a few took of late; a first guess where none was tried."""
    (row,) = tx.query(QUERIES["times_of_accounts"], account_ids=list(account_ids), since=now - SAMPLE_SPAN)
    return max(row["duration_ms"] / row["runs"] / 1000, 0.001) if row["runs"] else FIRST_GUESS_SECONDS
