"""What a run has counted so far; every fetched row is counted exactly once: new, changed, unchanged, merged, cancel, refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fillbook.ibkr.model import Cancel, Coverage, Refusal, Row, Sighting, SyncMetrics
from fillbook.ibkr.taking import Taken
from fillbook.ibkr.words import RunSource, RunState


@dataclass(slots=True, kw_only=True)
class Tally:
    """Grows chunk by chunk; rows of one id are told apart over the whole run."""

    fetched: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    merged: int = 0
    cancels: int = 0
    quarantined: int = 0
    skipped: int = 0
    library_dropped: int = 0
    canonical_changes: int = 0
    touched_trades: int = 0
    voided: int = 0
    anomalies: int = 0
    seen: dict[int, set[str]] = field(default_factory=dict)
    unpaid: dict[int, set[str]] = field(default_factory=dict)
    earliest: dict[int, datetime] = field(default_factory=dict)
    latest: dict[int, datetime] = field(default_factory=dict)
    partitions: set[int] = field(default_factory=set)
    open_refusals: int = 0

    def add_refusals(self, refusals: Sequence[Refusal], still_open: int) -> None:
        """Count refused rows; ``still_open`` of them keep the run from being complete."""
        self.quarantined += len(refusals)
        self.open_refusals += still_open

    def add(self, account_id: int, rows: Iterable[Row], taken: Taken) -> None:
        """Count the rows of one account of one chunk."""
        seen = self.seen.setdefault(account_id, set())
        for row in rows:
            if isinstance(row, Cancel):
                self.cancels += 1
            elif isinstance(row, Sighting):
                self._see(account_id, row.facts.executed_at)
                if row.ib_exec_id in seen:
                    self.merged += 1
                    continue
                seen.add(row.ib_exec_id)
                self.inserted += row.ib_exec_id in taken.inserted
                self.updated += row.ib_exec_id in taken.updated
                self.unchanged += row.ib_exec_id not in taken.inserted and row.ib_exec_id not in taken.updated
        sighted = {row.ib_exec_id for row in rows if isinstance(row, Sighting)}
        unpaid = self.unpaid.setdefault(account_id, set())
        unpaid -= sighted
        unpaid |= taken.unpaid
        self.canonical_changes += taken.canonical_changes
        self.touched_trades += taken.touched_trades
        self.voided += taken.voided
        self.anomalies += taken.anomalies
        self.partitions.update(taken.partitions)

    def _see(self, account_id: int, at: datetime) -> None:
        self.earliest[account_id] = min(self.earliest.get(account_id, at), at)
        self.latest[account_id] = max(self.latest.get(account_id, at), at)

    def metrics(
        self,
        *,
        run_id: str,
        source: RunSource,
        state: RunState,
        window: tuple[datetime, datetime],
        covered: tuple[Coverage, ...],
        error_class: str | None,
    ) -> SyncMetrics:
        """The figures of the finished run."""
        return SyncMetrics(
            run_id=run_id,
            source=source,
            state=state,
            window_start=window[0],
            window_end=window[1],
            fetched_executions_count=self.fetched,
            inserted_executions_count=self.inserted,
            updated_executions_count=self.updated,
            unchanged_executions_count=self.unchanged,
            merged_sightings_count=self.merged,
            cancel_rows_count=self.cancels,
            quarantined_rows_count=self.quarantined,
            skipped_rows_count=self.skipped,
            library_dropped_count=self.library_dropped,
            canonical_changes_count=self.canonical_changes,
            touched_trades_count=self.touched_trades,
            voided_executions_count=self.voided,
            anomalies_count=self.anomalies,
            missing_commissions_count=sum(len(names) for names in self.unpaid.values()),
            covered=covered,
            error_class=error_class,
            partitions=tuple(sorted(self.partitions)),
        )


def counts_of(metrics: SyncMetrics) -> dict[str, Any]:
    """The counts as ``sync_runs.counts`` keeps them."""
    return {name: getattr(metrics, name) for name in SyncMetrics.__dataclass_fields__ if name.endswith("_count")}
