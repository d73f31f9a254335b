"""Leases of the dead: they run on real time, 30 s of a channel to 330 s of a job, which no simulated day waits out.

A lease is ended here only where its holder is known to be dead: ``OF`` names what a process held that was just killed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from fillbook.notify.store import LEASE_SECONDS
from fillbook.runtime.db import Database
from fillbook.runtime.errors import FillbookError
from fillbook.runtime.sql import statement

PATIENCE_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.01

JOBS = "update ibkr.jobs set lease_expires_at = clock_timestamp() where state = 'running'"
PARTITIONS = "update outbox.partitions set lease_until = clock_timestamp() where lease_token is not null"
CHANNELS = "update notify.channels set lease_until = clock_timestamp() where lease_token is not null"
PROOFS = "update notify.reconcile_runs set lease_until = clock_timestamp() where lease_token is not null"
ACCOUNTS = "update mt5.account_sync_state set lease_until = clock_timestamp() where lease_until is not null"
SESSIONS = "update mt5.session_slots set lease_until = clock_timestamp() where holder is not null"
MT5_RUNS = "update mt5.sync_runs set heartbeat_at = heartbeat_at - interval '61 s' where status = 'running'"
SLOTS = "update ops.slots set lease_until = clock_timestamp() where finished_at is null"
PUBLICATIONS = "update metrics.publication_leases set expires_at = clock_timestamp()"
REPLAYS = "update replay.run_records set lease_until = clock_timestamp() where lease_until is not null"

ALL: Final = (JOBS, PARTITIONS, CHANNELS, PROOFS)
EVERYWHERE: Final = (*ALL, ACCOUNTS, SESSIONS, MT5_RUNS, SLOTS, PUBLICATIONS, REPLAYS)
"""Of every room: what a database leaves behind that died under all of them."""
ALL_OF_SIGNALS: Final = (PARTITIONS, CHANNELS)
OF: Final[Mapping[str, tuple[str, ...]]] = {
    # a partition does not tell its holder: a living relay loses it too, and what it publishes twice is taken once
    "execution_sync": (JOBS, PARTITIONS),
    "signal_worker": (PARTITIONS,),
    "outbox_relay": (PARTITIONS,),
    "discord_notifier": (CHANNELS, PROOFS, PARTITIONS),
    "account_sync": (ACCOUNTS, SESSIONS, MT5_RUNS, PARTITIONS),
    "account_sync_shard": (ACCOUNTS, SESSIONS, MT5_RUNS, PARTITIONS),
    "desk_keeper": (SLOTS, PARTITIONS),
    "snapshot_publisher": (PUBLICATIONS, SLOTS, PARTITIONS),
    "replay_worker": (REPLAYS,),
    "postgres": EVERYWHERE,
}


def channels_held_at(instant: datetime) -> str:
    """Ends the leases of channels that were taken up to then: of a drain whose database died under it, and of no later one."""
    last = (instant + timedelta(seconds=LEASE_SECONDS)).isoformat()
    return f"{CHANNELS} and lease_until <= timestamptz '{last}'"


def end(db: Database, *leases: str) -> None:
    """Let these leases be over; tried again while the database is being started again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for lease in leases:
        while not _is_done(db, lease):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the database did not come back for: {lease}")
            time.sleep(LOOK_SECONDS)


def end_of(db: Database, victim: str) -> None:
    """Let all that a killed process held be over; nothing for a process that holds no lease."""
    end(db, *OF.get(victim, ()))


def _is_done(db: Database, lease: str) -> bool:
    try:
        with db.transaction() as tx:
            tx.execute(statement(lease))
    except FillbookError:
        return False
    return True
