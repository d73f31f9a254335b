"""The hash of what a book says now: equal for any order and batching of deliveries, and for live and replay.

Covered: current BOOKED actions with their closings, lots and positions that are not VOID; each as its canonical columns
without the book's name, seq, version, cause and recorded times. The chain covers those too and so is equal only for the
same journal. Source: ledger specification, 10.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from fillbook.ledger.chain import encode
from fillbook.ledger.columns import ACTIONS, LOTS, POSITIONS, closing_rows
from fillbook.ledger.model import ActionVersion, Lot, Position, PositionStatus, RowState

_TOLD = frozenset({"book_id", "version", "state", "fill_seq", "cause", "cause_seq", "recorded_at", "seq", "booking_seq"})
_ACTION_COLUMNS = [index for index, name in enumerate(ACTIONS.names) if name not in _TOLD]


def state_hash(actions: Iterable[ActionVersion], lots: Iterable[Lot], positions: Iterable[Position]) -> str:
    """SHA-256 (hex) over the canonical lines of the current state, whatever the order they are given in."""
    return ordered_state_hash(
        sorted(actions, key=lambda version: version.action.action_id),
        sorted(lots, key=lambda lot: lot.lot_id),
        sorted(positions, key=lambda position: position.position_id),
    )


def ordered_state_hash(actions: Iterable[ActionVersion], lots: Iterable[Lot], positions: Iterable[Position]) -> str:
    """The same of rows that come ordered by their ids, held one at a time: a line begins with its kind and its id."""
    digest = hashlib.sha256()
    for line in _lines(actions, lots, positions):
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _lines(actions: Iterable[ActionVersion], lots: Iterable[Lot], positions: Iterable[Position]) -> Iterator[str]:
    for version in actions:
        if version.state is RowState.BOOKED:
            yield _action_line(version)
    for lot in lots:
        if lot.status is not PositionStatus.VOID:
            yield encode(["lot", *LOTS.values("", lot)[1:]])
    for position in positions:
        if position.status is not PositionStatus.VOID:
            yield encode(["position", *POSITIONS.values("", position)[1:]])


def _action_line(version: ActionVersion) -> str:
    values = ACTIONS.values("", version)
    # a closing's columns between its key (book, action, version) and its times
    closings = [row[3:-2] for row in closing_rows("", version)]
    return encode(["action", *(values[index] for index in _ACTION_COLUMNS), closings])
