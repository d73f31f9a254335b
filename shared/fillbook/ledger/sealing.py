"""A plan gets its place in the chain: seq, versions, hashes, events, and the one document that ``ledger.apply`` writes.

Pure. Journal rows come first in booking order, then the action versions in booking order; every row's hash follows the one
before it. The same plan on the same head always gives the same document: that is what makes a rebuild reproduce it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from fillbook.ledger.booking import Revision
from fillbook.ledger.chain import row_hash
from fillbook.ledger.columns import ACTIONS, ADJUSTMENTS, CLOSING_NAMES, FILLS, LOTS, POSITIONS, Table, Values, closing_rows
from fillbook.ledger.events import Announcer, Told, split_data
from fillbook.ledger.ids import action_id, instant_text
from fillbook.ledger.journal import Change
from fillbook.ledger.model import (
    ActionVersion,
    Adjustment,
    AdjustmentVersion,
    BookHead,
    FillVersion,
    Key,
    Lot,
    Position,
    RowState,
)
from fillbook.ledger.rebooking import History, Plan
from fillbook.outbox.model import Event
from fillbook.values import frozen

_TICK = timedelta(microseconds=1)


@dataclass(slots=True, kw_only=True)
class Sealed:
    """The rows of one call with their numbers, the head before and after it, and its events.

    ``rows`` holds the chained rows as documents by table (``closings`` and ``superseded`` too); the plan has the rest.
    ``values`` are the canonical values of each of ``actions``, with those of its closings.
    """

    before: BookHead
    head: BookHead
    plan: Plan
    fills: list[FillVersion] = field(default_factory=list)
    adjustments: list[AdjustmentVersion] = field(default_factory=list)
    actions: list[ActionVersion] = field(default_factory=list)
    values: list[tuple[Values, list[Values]]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@frozen(kw_only=False)
class _Trigger:
    """The earliest journal row of the call that touched an instrument: what its knock-on changes are due to."""

    key: Key
    cause: str
    seq: int


class _Sealer:
    """Numbers and hashes rows one after the other."""

    def __init__(self, head: BookHead, recorded_at: datetime) -> None:
        self.book_id = head.book.book_id
        self.seq = head.seq
        self.hash = head.chain_head
        self.booking_seq = head.seq + 1
        self.recorded_at = recorded_at

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def row(self, table: Table, values: Values, extra: Sequence[Values] | None = None) -> dict[str, Any]:
        """Hash a row onto the chain and return it as a document."""
        document = table.document(values)
        previous = self.hash
        self.hash = row_hash(previous, values if extra is None else [*values, extra])
        document["prev_hash"] = f"\\x{previous.hex()}"
        document["row_hash"] = f"\\x{self.hash.hex()}"
        return document


def recording_time(head: BookHead, now: datetime) -> datetime:
    """When a call is recorded: now, but always after everything the book has, whatever the clock does.

    So an answer that names the newest row's time as what it knew is never added to.
    """
    return max(now.astimezone(UTC), head.last_recorded_at + _TICK)


def seal(
    head: BookHead,
    recorded_at: datetime,
    journal: Sequence[FillVersion],
    changes: Mapping[str, Change],
    plan: Plan,
    histories: Mapping[str, History],
    adjustments: Sequence[AdjustmentVersion] = (),
    *,
    announce: bool = True,
) -> Sealed:
    """Number, hash and announce; ``journal`` are the rows to be stored of this call, without their seq.

    A rebuild needs no events and says ``announce=False``; a replay book has none anyway.
    """
    held = {version.fill.fill_id: version for history in histories.values() for version in history.fills}
    sealer = _Sealer(head, recorded_at)
    result = Sealed(before=head, head=head, plan=plan)
    _seal_fills(sealer, result, journal)
    _seal_adjustments(sealer, result, adjustments)
    announcer = Announcer(sealer.book_id, recorded_at) if announce and head.book.kind != "replay" else None
    _seal_actions(sealer, result, changes, held, announcer)
    if announcer is not None:
        _announce_rest(sealer, result, held, announcer)
        result.events = announcer.events
    result.head = replace(head, seq=sealer.seq, chain_head=sealer.hash, last_recorded_at=recorded_at)
    return result


def apply_document(sealed: Sealed) -> dict[str, Any]:
    """The document of ``ledger.apply``, events apart; only what there is has a key."""
    head, plan = sealed.head, sealed.plan
    book_id, recorded_at = head.book.book_id, instant_text(head.last_recorded_at)
    document = {
        "book_id": book_id,
        "expected_seq": sealed.before.seq,
        "seq": head.seq,
        "chain_head": f"\\x{head.chain_head.hex()}",
        "recorded_at": recorded_at,
        "fills": [],
    }
    document |= _optional(
        **sealed.rows,
        positions_left=[position_document(book_id, position, head.seq) for position in plan.left],
        positions=[position_document(book_id, position, head.seq) for position in plan.positions],
        lots=[lot_document(book_id, lot) for lot in plan.lots],
        unparked=[{"fill_id": fill_id} for fill_id in plan.unparked],
        parked=[
            parked_document(book_id, fill_id, instrument, reason, recorded_at)
            for fill_id, (instrument, reason) in sorted(plan.parked.items())
        ],
    )
    return document


def position_document(book_id: str, position: Position, seq: int) -> dict[str, Any]:
    """A row of ``positions``, changed last by the call that ended at ``seq``."""
    return {**POSITIONS.document(POSITIONS.values(book_id, position)), "updated_seq": seq}


def lot_document(book_id: str, lot: Lot) -> dict[str, Any]:
    """A row of ``lots``."""
    return LOTS.document(LOTS.values(book_id, lot))


def parked_document(book_id: str, fill_id: str, instrument: str, reason: str, parked_at: str) -> dict[str, Any]:
    """A row of ``parked_fills``."""
    return {"book_id": book_id, "fill_id": fill_id, "reason": reason, "parked_at": parked_at, "instrument": instrument}


def _optional(**parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: rows for name, rows in parts.items() if rows}


def _seal_fills(sealer: _Sealer, result: Sealed, journal: Sequence[FillVersion]) -> None:
    documents = result.rows["fills"] = []
    for version in sorted(journal, key=lambda row: (*row.fill.key, row.version)) if len(journal) > 1 else journal:
        row = replace(version, seq=sealer.next_seq(), booking_seq=sealer.booking_seq)
        document = sealer.row(FILLS, FILLS.values(sealer.book_id, row))
        document["content_hash"] = f"\\x{document['content_hash']}"
        result.fills.append(row)
        documents.append(document)


def _seal_adjustments(sealer: _Sealer, result: Sealed, adjustments: Sequence[AdjustmentVersion]) -> None:
    documents = result.rows["adjustments"] = []
    for version in adjustments:
        row = replace(version, seq=sealer.next_seq(), booking_seq=sealer.booking_seq)
        result.adjustments.append(row)
        documents.append(sealer.row(ADJUSTMENTS, ADJUSTMENTS.values(sealer.book_id, row)))


def _seal_actions(
    sealer: _Sealer,
    result: Sealed,
    changes: Mapping[str, Change],
    held: Mapping[str, FillVersion],
    announcer: Announcer | None,
) -> None:
    """Number and hash the action versions and announce them."""
    stored = {version.fill.fill_id: version for version in result.fills if _is_current(version, changes)}
    triggers = _triggers(changes, stored, result.adjustments)
    replacing = _replacing(changes, result.plan.revisions)
    superseded = result.rows["superseded"] = []
    documents = result.rows["actions"] = []
    closings = result.rows["closings"] = []
    for revision in result.plan.revisions:
        fill_id, previous = revision.action.fill_id, revision.previous
        change = changes.get(fill_id)
        fill = stored[fill_id] if change is not None else held[fill_id]
        cause, cause_seq = _cause(revision, change, fill, triggers)
        row = ActionVersion(
            action=revision.action,
            version=1 if previous is None else previous.version + 1,
            state=revision.state,
            fill_seq=fill.seq,
            cause=cause,
            cause_seq=cause_seq,
            recorded_at=sealer.recorded_at,
            seq=sealer.next_seq(),
            booking_seq=sealer.booking_seq,
        )
        if previous is not None:
            superseded.append({"action_id": row.action.action_id, "version": previous.version})
        values = ACTIONS.values(sealer.book_id, row)
        parts = closing_rows(sealer.book_id, row)
        documents.append(sealer.row(ACTIONS, values, parts))
        closings += [dict(zip(CLOSING_NAMES, part, strict=True)) for part in parts]
        result.actions.append(row)
        result.values.append((values, parts))
        if announcer is not None:
            told = Told(
                row=row,
                values=values,
                previous=previous,
                origin=fill.fill.origin,
                is_direct=change is not None,
                replaces=replacing.heirs.get(row.action.action_id),
                is_silent=row.action.action_id in replacing.silent,
            )
            announcer.action(told)


def _announce_rest(sealer: _Sealer, result: Sealed, held: Mapping[str, FillVersion], announcer: Announcer) -> None:
    """Facts newly parked, splits, and what got no event of its own."""
    stored = {version.fill.fill_id: version for version in result.fills}
    for fill_id, (_, reason) in sorted(result.plan.parked.items()):
        version = stored.get(fill_id) or held[fill_id]
        announcer.parked(version, reason, version.seq if fill_id in stored else sealer.booking_seq)
    for split in result.adjustments:
        _announce_split(announcer, split, result.plan)
    announcer.restated(sealer.booking_seq)


def _is_current(version: FillVersion, changes: Mapping[str, Change]) -> bool:
    change = changes.get(version.fill.fill_id)
    return change is not None and change.after.version == version.version


def _triggers(
    changes: Mapping[str, Change], stored: Mapping[str, FillVersion], adjustments: Sequence[AdjustmentVersion]
) -> dict[str, _Trigger]:
    found: dict[str, _Trigger] = {}
    for fill_id, change in changes.items():
        cause = "enrichment" if change.is_enrichment else change.after.fill.cause
        if change.before is None and not change.after.fill.is_bust:
            cause = "late_fill"
        for instrument, key in change.effects():
            if instrument not in found or key < found[instrument].key:
                found[instrument] = _Trigger(key, cause, stored[fill_id].seq)
    for version in adjustments:
        split = version.adjustment
        key = (split.effective_at, "", "")
        if split.instrument not in found or key < found[split.instrument].key:
            found[split.instrument] = _Trigger(key, "adjustment", version.seq)
    return found


def _cause(revision: Revision, change: Change | None, fill: FillVersion, triggers: Mapping[str, _Trigger]) -> tuple[str, int]:
    """Why this version exists, and the seq of the journal row that made it."""
    if change is not None:
        return ("enrichment" if change.is_enrichment else change.after.fill.cause), fill.seq
    trigger = triggers[revision.action.instrument]
    return (fill.fill.cause if revision.previous is None else trigger.cause), trigger.seq


@dataclass(slots=True)
class _Replacing:
    """Actions that take the place of others voided in the same call: heir's action_id -> what it replaces; silent VOIDs."""

    heirs: dict[str, ActionVersion] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)


def _replacing(changes: Mapping[str, Change], revisions: Sequence[Revision]) -> _Replacing:
    """Match fills that replace another id with the ids voided in this call (ledger specification, 4)."""
    result = _Replacing()
    pairs = {
        change.after.fill.replaces_fill_id: fill_id
        for fill_id, change in changes.items()
        if change.after.fill.replaces_fill_id is not None and not change.after.fill.is_bust
    }
    if not pairs:
        return result
    booked = {revision.action.fill_id for revision in revisions if revision.state is RowState.BOOKED}
    for revision in revisions:
        old = revision.action.fill_id
        heir = pairs.get(old)
        is_gone = old in changes and changes[old].after.fill.is_bust
        if heir is not None and heir in booked and is_gone and revision.previous is not None:
            result.silent.add(revision.action.action_id)
            result.heirs[action_id(heir, revision.action.leg)] = revision.previous
    return result


def _announce_split(announcer: Announcer, version: AdjustmentVersion, plan: Plan) -> None:
    split: Adjustment = version.adjustment
    before, after = next(
        ((old, new) for adjustment, old, new in plan.splits if adjustment.adjustment_id == split.adjustment_id), ((), ())
    )
    data = split_data(
        {
            "adjustment_id": split.adjustment_id,
            "instrument_id": split.instrument,
            "ratio": f"{split.ratio_num}:{split.ratio_den}",
            "effective_at": instant_text(split.effective_at),
            "is_void": split.is_void,
            "entered_by": split.entered_by,
            "reason": split.reason,
        },
        before,
        after,
    )
    announcer.adjusted(split.adjustment_id, version.version, version.seq, split.instrument, split.effective_at, data)
