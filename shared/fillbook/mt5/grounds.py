"""What all runs of a process stand on: database, publisher, clocks, settings, and how an MT5 service is spoken to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final, Protocol

from fillbook.mt5 import store
from fillbook.mt5.accounts import Limits
from fillbook.mt5.desk import Time
from fillbook.mt5.model import Instance
from fillbook.mt5.settings import DEFAULT_INSTANCE, Mt5Config
from fillbook.mt5.sources import ReadsAccount, ReadsHealth, ReadsSymbols
from fillbook.mt5.windows import Spans
from fillbook.outbox.relay import relay_own
from fillbook.outbox.service import enqueue
from fillbook.runtime import logs
from fillbook.runtime.clock import Clock
from fillbook.runtime.cloud_run import NoJobs, StartsJob
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.pubsub import Publish
from fillbook.runtime.sql import load_queries
from fillbook.values import frozen

__all__ = ["FRESH", "QUERIES", "AsksFirst", "Grounds", "Speaks", "enqueue"]

QUERIES: Final = load_queries("fillbook.mt5", "runs.sql")
FRESH: Final = timedelta(minutes=10)


class Speaks(ReadsAccount, ReadsHealth, ReadsSymbols, Protocol):
    """Everything that is asked of MT5 services."""


AsksFirst = Callable[[str], None]
"""Called with an instance's key before each request; may wait, and raises when the request may not be made."""


@frozen
class Grounds:
    """One per process, shared by its threads. ``jobs``: what slots of very large fleets are handed to.

    ``speaks(before_call, after_429)`` makes what talks to the services for one part of a run: ``before_call(instance_key)`` is
    called ahead of every request, ``after_429(instance_key, seconds)`` when a service asked for a pause.
    """

    db: Database
    publisher: Publish
    clock: Clock
    time: Time
    config: Mt5Config
    speaks: Callable[[AsksFirst, Callable[[str, float], None]], Speaks]
    log: logs.Logger
    jobs: StartsJob = NoJobs()

    def instances(self) -> Mapping[str, Instance]:
        """Active instances by key; the one that is configured here is written down first where it differs."""
        return self.db.run(self._instances)

    def _instances(self, tx: Tx) -> Mapping[str, Instance]:
        found = store.instances(tx)
        known = found.get(DEFAULT_INSTANCE)
        wanted = self.config.instance
        if known is not None:
            wanted = replace(wanted, epoch_clock=known.epoch_clock)  # an operator's word, of which the environment says nothing
        if known != wanted:
            store.configure_instances(tx, [wanted])
            found = store.instances(tx)
        return found

    @property
    def limits(self) -> Limits:
        """Settings of one account's work."""
        config = self.config
        return Limits(
            spans=Spans(
                default_days=config.mt5_history_default_days,
                overlap_hours=config.mt5_history_overlap_hours,
                chunk_days=config.mt5_backfill_chunk_days,
                chunks_per_run=config.mt5_backfill_chunks_per_run,
            ),
            page_limit=config.mt5_page_limit,
            pages_max=config.mt5_pages_max,
            backoff=config.backoff,
            auth_failures_max=config.mt5_auth_failures_max,
            adaptive_above=config.mt5_adaptive_above_accounts,
            cadence=config.cadence,
            log_unchanged_max_accounts=config.mt5_log_unchanged_max_accounts,
            flush_accounts_max=config.mt5_flush_accounts_max,
            retries_max=config.mt5_retry_max,
        )

    def relay(self, partitions: Iterable[int]) -> None:
        """Publish what was just committed; what is left is the sweeper's."""
        wanted = tuple(sorted(set(partitions)))
        if wanted:
            relay_own(self.db, self.publisher, wanted, now_from=self.clock)
