"""A book kept in memory, answering what the database would: the state a booking needs, and histories to fold again.

A rebuild replays the journal on it call by call and must end where the stored book ended; the property laws run on it. It
holds every action version ever made, so that history can be compared too. It decides nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import localcontext

from fillbook.ledger.ids import action_id
from fillbook.ledger.journal import Change
from fillbook.ledger.model import (
    ActionVersion,
    AdjustmentVersion,
    BookHead,
    FillVersion,
    Key,
    Lot,
    Position,
    PositionStatus,
    RowState,
)
from fillbook.ledger.rebooking import History, Plan
from fillbook.ledger.sealing import Sealed
from fillbook.ledger.state import LedgerState, Tail
from fillbook.money import CONTEXT, ZERO

Order = tuple[datetime, str, str, int]


def _fill_key(version: FillVersion) -> Key:
    return version.fill.key


def _is_flat_behind(actions: Sequence[ActionVersion], index: int) -> bool:
    """Whether nothing is open after an action; a fill's first leg is no such point."""
    version = actions[index]
    has_second_leg = index + 1 < len(actions) and actions[index + 1].action.fill_id == version.action.fill_id
    return version.action.is_flat_after and not has_second_leg


def _order(version: ActionVersion) -> Order:
    return version.action.order


@dataclass(slots=True)
class _Instrument:
    """Current facts and current BOOKED actions of one instrument, both in booking order."""

    fills: list[FillVersion] = field(default_factory=list)
    actions: list[ActionVersion] = field(default_factory=list)
    adjustments: dict[str, AdjustmentVersion] = field(default_factory=dict)
    parked: dict[str, str] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)


class MemoryBook:
    """One book; ``head`` is the end of its chain."""

    def __init__(self, head: BookHead) -> None:
        """Start with an opened, empty book."""
        self.head = replace(head, is_locked=True)
        self.journal: dict[str, list[FillVersion]] = {}
        self.adjustments: dict[str, list[AdjustmentVersion]] = {}
        self.versions: list[ActionVersion] = []
        self.superseded: dict[tuple[str, int], ActionVersion] = {}
        self.current: dict[str, ActionVersion] = {}
        self.positions: dict[str, Position] = {}
        self.updated_seq: dict[str, int] = {}
        self.lots: dict[str, Lot] = {}
        self._lots_of: dict[str, dict[str, None]] = {}
        self._instruments: dict[str, _Instrument] = {}

    def state(self, instruments: Iterable[str], fill_ids: Iterable[str]) -> LedgerState:
        """What ``ledger.load`` would answer for these."""
        journal = {fill_id: tuple(self.journal.get(fill_id, ())) for fill_id in fill_ids}
        wanted = set(instruments) | {version.fill.instrument for versions in journal.values() for version in versions}
        return LedgerState(
            head=self.head,
            positions={name: self._open_positions(name) for name in wanted},
            tails={name: self._tail(name) for name in wanted},
            journal=journal,
        )

    def histories(
        self, rebooked: Mapping[str, Key], named: Mapping[str, Sequence[str]], until: Mapping[str, Key]
    ) -> dict[str, History]:
        """What ``ledger.load_history`` would answer."""
        return {name: self._history(name, key, named.get(name, ()), until.get(name)) for name, key in rebooked.items()}

    def apply(self, changes: Mapping[str, Change], plan: Plan, sealed: Sealed) -> None:
        """Take over what a call changed."""
        for version in sealed.fills:
            self.journal.setdefault(version.fill.fill_id, []).append(version)
        rows = {(version.fill.fill_id, version.version): version for version in sealed.fills}
        for fill_id, change in changes.items():
            self._replace_fill(change, rows[fill_id, change.after.version])
        for adjustment in sealed.adjustments:
            self.adjustments.setdefault(adjustment.adjustment.adjustment_id, []).append(adjustment)
            instrument = self._instrument(adjustment.adjustment.instrument)
            instrument.adjustments[adjustment.adjustment.adjustment_id] = adjustment
        for position in (*plan.left, *plan.positions):
            self._put_position(position, sealed.head.seq)
        for lot in plan.lots:
            self._put_lot(lot)
        written = {position.position_id for position in (*plan.left, *plan.positions)}
        for position_id in {lot.position_id for lot in plan.lots} - written:
            self._hold_lots(position_id)
        for row in sealed.actions:
            self._put_action(row)
        for fill_id in plan.unparked:
            for instrument in self._instruments.values():
                instrument.parked.pop(fill_id, None)
        for fill_id, (name, reason) in plan.parked.items():
            for instrument in self._instruments.values():
                instrument.parked.pop(fill_id, None)
            self._instrument(name).parked[fill_id] = reason
        self.head = sealed.head

    @property
    def parked(self) -> dict[str, tuple[str, str]]:
        """fill_id -> (instrument, reason)."""
        return {
            fill_id: (name, reason)
            for name, instrument in self._instruments.items()
            for fill_id, reason in instrument.parked.items()
        }

    def _instrument(self, name: str) -> _Instrument:
        return self._instruments.setdefault(name, _Instrument())

    def _open_positions(self, name: str) -> tuple[Position, ...]:
        found = [self.positions[position_id] for position_id in self._instrument(name).open]
        return tuple(sorted(found, key=lambda position: position.direction))

    def _tail(self, name: str) -> Tail:
        instrument = self._instrument(name)
        adjusted = [version.adjustment.effective_at for version in instrument.adjustments.values()]
        last = instrument.actions[-1].action if instrument.actions else None
        return Tail(
            last_key=None if last is None else (last.executed_at, last.venue_order, last.fill_id),
            last_adjustment_key=(max(adjusted), "", "") if adjusted else None,
            parked=len(instrument.parked),
        )

    def _history(self, name: str, key: Key, named: Sequence[str], until: Key | None) -> History:
        instrument = self._instrument(name)
        parked = [version.fill.key for version in instrument.fills if version.fill.fill_id in instrument.parked]
        start = self._start(instrument, min([key, *parked]))
        flat: Key | None = None
        if start:
            last = instrument.actions[start - 1].action
            flat = (last.executed_at, last.venue_order, last.fill_id)
        end = None if until is None or parked else self._end(instrument, until)
        first = 0 if flat is None else bisect_right(instrument.fills, flat, key=_fill_key)
        behind = len(instrument.fills)
        if end is not None:
            last = instrument.actions[end - 1].action
            behind = bisect_right(instrument.fills, (last.executed_at, last.venue_order, last.fill_id), key=_fill_key)
        fills = instrument.fills[first:behind]
        booked = instrument.actions[start:end]
        actions = {row.action.action_id: row for row in booked}
        for fill_id in [*(version.fill.fill_id for version in fills), *named]:
            for leg in (1, 2):
                row = self.current.get(action_id(fill_id, leg))
                if row is not None:
                    actions[row.action.action_id] = row
        held = {row.action.position_id for row in booked}
        return History(
            instrument=name,
            is_bounded=end is not None,
            fills=tuple(fills),
            adjustments=tuple(
                version
                for version in instrument.adjustments.values()
                if flat is None or version.adjustment.effective_at > flat[0]
            ),
            actions=actions,
            positions={position_id: self.positions[position_id] for position_id in held},
            lots={lot_id: self.lots[lot_id] for position_id in held for lot_id in self._lots_of.get(position_id, {})},
            parked=dict(instrument.parked),
        )

    @staticmethod
    def _start(instrument: _Instrument, key: Key) -> int:
        """Index of the first action after the last flat point before ``key``; 0 when there is none."""
        index = bisect_left(instrument.actions, (*key, 0), key=_order)
        while index > 0 and not _is_flat_behind(instrument.actions, index - 1):
            index -= 1
        return index

    @staticmethod
    def _end(instrument: _Instrument, key: Key) -> int | None:
        """Index behind the first flat point at or after ``key``; None when there is none."""
        for index in range(bisect_left(instrument.actions, (*key, 0), key=_order), len(instrument.actions)):
            if _is_flat_behind(instrument.actions, index):
                return index + 1
        return None

    def _replace_fill(self, change: Change, stored: FillVersion) -> None:
        if change.before is not None:
            fills = self._instrument(change.before.fill.instrument).fills
            index = bisect_left(fills, change.before.fill.key, key=_fill_key)
            if index < len(fills) and fills[index].fill.fill_id == stored.fill.fill_id:
                del fills[index]
        if not stored.fill.is_bust:
            insort(self._instrument(stored.fill.instrument).fills, stored, key=_fill_key)

    def _put_position(self, position: Position, seq: int) -> None:
        before = self.positions.get(position.position_id)
        if before is not None and before.status is PositionStatus.OPEN:
            self._instrument(before.instrument).open.remove(position.position_id)
        self.positions[position.position_id] = position
        self.updated_seq[position.position_id] = seq
        if position.status is PositionStatus.OPEN:
            self._instrument(position.instrument).open.append(position.position_id)

    def _put_lot(self, lot: Lot) -> None:
        before = self.lots.get(lot.lot_id)
        if before is not None:
            self._lots_of[before.position_id].pop(lot.lot_id, None)
        self.lots[lot.lot_id] = lot
        self._lots_of.setdefault(lot.position_id, {})[lot.lot_id] = None

    def _hold_lots(self, position_id: str) -> None:
        """A position whose own columns did not change still holds its lots as they are now, in booking order."""
        position = self.positions[position_id]
        held = (self.lots[lot_id] for lot_id in self._lots_of[position_id])
        lots = sorted(
            (lot for lot in held if lot.status is PositionStatus.OPEN),
            key=lambda lot: (lot.opened_at, lot.venue_order, lot.fill_id),
        )
        with localcontext(CONTEXT):
            notional = sum((lot.quantity_open * lot.price_adjusted for lot in lots), ZERO)
        self.positions[position_id] = replace(position, lots=tuple(lots), notional_open=notional)

    def _put_action(self, row: ActionVersion) -> None:
        before = self.current.get(row.action.action_id)
        if before is not None:
            self.superseded[before.action.action_id, before.version] = row
            if before.state is RowState.BOOKED:
                actions = self._instrument(before.action.instrument).actions
                del actions[bisect_left(actions, before.action.order, key=_order)]
        self.current[row.action.action_id] = row
        self.versions.append(row)
        if row.state is RowState.BOOKED:
            insort(self._instrument(row.action.instrument).actions, row, key=_order)
