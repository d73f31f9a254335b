"""Idempotency: what an arriving fill is, compared with what the journal already holds of it. Pure.

Same (fill_id, source_revision, is_bust) again: equal content or unknown where we know → duplicate; known where we had
NULL → enrichment, the merged content is a new version; anything else → conflict, the first stays. The version that counts is
the greatest (source_revision, is_bust, version), whatever the order of arrival. Source: ledger specification, 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from fillbook.ledger.chain import content_hash
from fillbook.ledger.columns import economic_values
from fillbook.ledger.model import Fill, FillVersion, Key, OutcomeStatus
from fillbook.ledger.words import UNKNOWN_CURRENCY
from fillbook.values import frozen

_MAY_BECOME_KNOWN = ("fx_rate", "fees", "fees_currency", "fees_rate", "multiplier")
_MUST_EQUAL = (
    "instrument",
    "ticker",
    "contract_name",
    "side",
    "quantity",
    "price",
    "position_effect",
    "direction",
    "lot_ref",
    "lot_picks",
    "cash_style",
    "executed_at",
    "venue_order",
    "session_date",
)


@frozen
class Arrival:
    """One fill of a call: what it is, and the journal row it becomes (None: nothing is stored)."""

    fill: Fill
    status: OutcomeStatus
    row: FillVersion | None = None


@frozen
class Change:
    """A fill whose current version changed in this call: ``before`` is None for a fill never seen."""

    before: FillVersion | None
    after: FillVersion
    is_enrichment: bool

    def effects(self) -> Iterable[tuple[str, Key]]:
        """(instrument, booking key) of what was and of what is now effective; a bust has no effect of its own."""
        for version in (self.before, self.after):
            if version is not None and not version.fill.is_bust:
                yield version.fill.instrument, version.fill.key


def classify(
    journal: Mapping[str, Sequence[FillVersion]], fills: Sequence[Fill], recorded_at: datetime
) -> tuple[list[Arrival], dict[str, Change]]:
    """Classify checked fills in the order given; also return the fills whose current version changed, by fill_id."""
    arrivals: list[Arrival] = []
    known: dict[str, list[FillVersion]] = {}
    changes: dict[str, Change] = {}
    for fill in fills:
        versions = known.get(fill.fill_id)
        if versions is None:
            versions = known[fill.fill_id] = list(journal[fill.fill_id])
        current = max(versions, key=_rank) if versions else None
        arrival = _arrive(fill, versions, current, recorded_at)
        arrivals.append(arrival)
        if arrival.row is None:
            continue
        _note(changes, arrival.row, versions, current)
        versions.append(arrival.row)
    return arrivals, changes


def changes_of(journal: Mapping[str, Sequence[FillVersion]], rows: Iterable[FillVersion]) -> dict[str, Change]:
    """The changes that journal rows of one call meant when they were written; ``journal`` holds what was there before."""
    known: dict[str, list[FillVersion]] = {}
    changes: dict[str, Change] = {}
    for row in sorted(rows, key=lambda row: row.version):
        versions = known.setdefault(row.fill.fill_id, list(journal.get(row.fill.fill_id, ())))
        _note(changes, row, versions, max(versions, key=_rank) if versions else None)
        versions.append(row)
    return changes


def _note(changes: dict[str, Change], row: FillVersion, versions: Sequence[FillVersion], current: FillVersion | None) -> None:
    """Remember the row when it is now its fill's current version."""
    if current is not None and row.current_rank < current.current_rank:
        return
    is_enrichment = any(version.fill.rank == row.fill.rank for version in versions)
    earlier = changes.get(row.fill.fill_id)
    changes[row.fill.fill_id] = Change(
        before=current if earlier is None else earlier.before,
        after=row,
        is_enrichment=is_enrichment and (earlier is None or earlier.is_enrichment),
    )


def _rank(version: FillVersion) -> tuple[int, bool, int]:
    return version.current_rank


def _arrive(fill: Fill, versions: list[FillVersion], current: FillVersion | None, recorded_at: datetime) -> Arrival:
    status, content = OutcomeStatus.BOOKED, fill
    if current is not None:
        same = max((version for version in versions if version.fill.rank == fill.rank), key=_rank, default=None)
        if same is not None:
            merged = merge(same.fill, fill)
            if merged is None:
                return Arrival(fill=fill, status=OutcomeStatus.CONFLICT)
            if merged is same.fill:
                return Arrival(fill=fill, status=OutcomeStatus.DUPLICATE)
            status, content = OutcomeStatus.ENRICHED, merged
        if fill.rank < current.fill.rank:
            status = OutcomeStatus.SUPERSEDED
    row = FillVersion(
        fill=content,
        version=len(versions) + 1,
        content_hash=content_hash(economic_values(content)),
        recorded_at=recorded_at,
    )
    return Arrival(fill=fill, status=status, row=row)


def merge(stored: Fill, arrived: Fill) -> Fill | None:
    """The stored content with what is now known; ``stored`` itself when nothing is new, None when the two contradict."""
    if any(getattr(stored, name) != getattr(arrived, name) for name in _MUST_EQUAL):
        return None
    news: dict[str, Any] = {}
    if arrived.currency != stored.currency and arrived.currency != UNKNOWN_CURRENCY:
        if stored.currency != UNKNOWN_CURRENCY:
            return None
        news["currency"] = arrived.currency
    for name in _MAY_BECOME_KNOWN:
        ours, theirs = getattr(stored, name), getattr(arrived, name)
        if theirs is None or theirs == ours:
            continue
        if ours is not None:
            return None
        news[name] = theirs
    return replace(stored, cause=arrived.cause, received_at=arrived.received_at, **news) if news else stored
