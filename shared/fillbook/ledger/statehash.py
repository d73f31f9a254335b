"""The hash of what a book says now: equal for any order and batching of deliveries, and for live and replay.

Covered: current BOOKED actions with their closings, lots and positions that are not VOID; each as its canonical columns
without the book's name, seq, version, cause and recorded times. The chain covers those too and so is equal only for the
same journal. Source: ledger specification, 10.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain

from fillbook.ledger.chain import encode
from fillbook.ledger.columns import ACTIONS, LOTS, POSITIONS, Values, closing_rows
from fillbook.ledger.model import ActionVersion, Lot, Position, PositionStatus, RowState

_TOLD = frozenset({"book_id", "version", "state", "fill_seq", "cause", "cause_seq", "recorded_at", "seq", "booking_seq"})
_ACTION_COLUMNS = [index for index, name in enumerate(ACTIONS.names) if name not in _TOLD]


def state_hash(actions: Iterable[ActionVersion], lots: Iterable[Lot], positions: Iterable[Position]) -> str:
    """SHA-256 (hex) over the canonical lines of the current state, whatever the order they are given in."""
    return hash_of(chain(_action_lines(actions), _lot_lines(lots), _position_lines(positions)))


def hash_of(lines: Iterable[str]) -> str:
    """The hash of lines that come in order: actions by id, lots by id, positions by id; a line begins with kind and id."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def action_line(values: Values, closings: Iterable[Values]) -> str:
    """The line of a current BOOKED action: without its book and what depends on delivery; closings without key and times."""
    return encode(["action", *(values[index] for index in _ACTION_COLUMNS), [row[3:-2] for row in closings]])


def lot_line(values: Values) -> str:
    """The line of a lot that is not VOID."""
    return encode(["lot", *values[1:]])


def position_line(values: Values) -> str:
    """The line of a position that is not VOID."""
    return encode(["position", *values[1:]])


def _action_lines(actions: Iterable[ActionVersion]) -> Iterator[str]:
    for version in sorted(actions, key=lambda version: version.action.action_id):
        if version.state is RowState.BOOKED:
            yield action_line(ACTIONS.values("", version), closing_rows("", version))


def _lot_lines(lots: Iterable[Lot]) -> Iterator[str]:
    for lot in sorted(lots, key=lambda lot: lot.lot_id):
        if lot.status is not PositionStatus.VOID:
            yield lot_line(LOTS.values("", lot))


def _position_lines(positions: Iterable[Position]) -> Iterator[str]:
    for position in sorted(positions, key=lambda position: position.position_id):
        if position.status is not PositionStatus.VOID:
            yield position_line(POSITIONS.values("", position))
