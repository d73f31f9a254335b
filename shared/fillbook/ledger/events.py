"""What the ledger announces: one event per new action version, restatements, parked facts, splits.

``data`` repeats the columns of ``ledger.v_actions`` by name with the stored values as text, so that what is told can be
compared with what is stored. A replay book announces nothing. Source: ledger specification, 8 and 13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from fillbook.ledger.columns import ACTIONS, Values
from fillbook.ledger.ids import event_id, instant_text
from fillbook.ledger.model import Action, ActionVersion, FillVersion, Position, RowState
from fillbook.ledger.words import EVENT_LOTS_MAX, KNOCK_ON_EVENTS_MAX
from fillbook.money import plain
from fillbook.outbox.model import Event
from fillbook.values import frozen

_LEFT_OUT = frozenset({"book_id", "meta", "state", "fill_seq", "cause_seq", "booking_seq", "multiplier"})
# the view calls the exact key instrument_id; elsewhere in the ledger it is the instrument
_NAMES = tuple("instrument_id" if name == "instrument" else name for name in ACTIONS.names)
_NOT_COMPARED = _LEFT_OUT | {"version", "cause", "recorded_at", "seq", "lots", "lot_count"}


@frozen
class Told:
    """One new action version with what its event needs: its canonical ``values``, the version it follows, its fill's origin."""

    row: ActionVersion
    values: Values
    previous: ActionVersion | None
    origin: str
    is_direct: bool
    replaces: ActionVersion | None = None
    is_silent: bool = False


class Announcer:
    """Writes the events of one call on a book, in the order of the rows they announce."""

    def __init__(self, book_id: str, recorded_at: datetime) -> None:
        """``recorded_at`` is that of every row of the call."""
        self._book_id = book_id
        self._recorded_at = recorded_at
        self._knock_ons: dict[str, int] = {}
        self._covered: dict[str, list[Action]] = {}
        self.events: list[Event] = []

    def action(self, told: Told) -> None:
        """Announce one action version; beyond the limit of knock-on changes only ``restated`` covers it."""
        if told.is_silent:
            return
        row = told.row
        is_first = told.previous is None and told.replaces is None
        if not told.is_direct and not is_first:
            count = self._knock_ons[row.action.instrument] = self._knock_ons.get(row.action.instrument, 0) + 1
            if count > KNOCK_ON_EVENTS_MAX:
                self._covered.setdefault(row.action.instrument, []).append(row.action)
                return
        data = _row_data(told.values, row, told.origin)
        if row.state is RowState.VOID:
            assert told.previous is not None
            self._add("execution_busted", row.action, row, {**data, "before": self._stored(told.previous, told.origin)})
        elif is_first:
            self._add("execution_booked", row.action, row, data)
        else:
            before = told.replaces if told.replaces is not None else told.previous
            assert before is not None
            earlier = self._stored(before, told.origin)
            changed = [name for name, value in data.items() if name not in _NOT_COMPARED and earlier.get(name) != value]
            if told.replaces is not None:
                data["replaces_action_id"] = told.replaces.action.action_id
            # the same figures from other lots
            data |= {"before": earlier, "after": dict(data), "changed": changed or ["lots"], "is_direct": told.is_direct}
            self._add("execution_corrected", row.action, row, data)

    def restated(self, booking_seq: int) -> None:
        """Announce, per instrument, the knock-on changes that got no event of their own."""
        for instrument, actions in self._covered.items():
            data = {
                "instrument_id": instrument,
                "ticker": actions[0].ticker,
                "count": len(actions),
                "first_executed_at": instant_text(min(action.executed_at for action in actions)),
                "last_executed_at": instant_text(max(action.executed_at for action in actions)),
            }
            self._write("book_restated", instrument, booking_seq, instrument, actions[0].executed_at, booking_seq, data)

    def parked(self, version: FillVersion, reason: str, seq: int) -> None:
        """Announce a fact that is held but cannot be booked yet."""
        fill = version.fill
        data = {
            "fill_id": fill.fill_id,
            "reason": reason,
            "instrument_id": fill.instrument,
            "ticker": fill.ticker,
            "side": fill.side,
            "quantity": plain(fill.quantity),
            "price": plain(fill.price),
            "currency": fill.currency,
            "executed_at": instant_text(fill.executed_at),
            "source": fill.source,
            "source_id": fill.source_id,
            "origin": fill.origin,
        }
        self._write("fill_parked", fill.fill_id, seq, fill.instrument, fill.executed_at, seq, data)

    def adjusted(
        self, subject: str, version: int, seq: int, instrument: str, effective_at: datetime, data: Mapping[str, Any]
    ) -> None:
        """Announce a split entered or voided."""
        self._write("position_adjusted", subject, version, instrument, effective_at, seq, data)

    def _stored(self, version: ActionVersion, origin: str) -> dict[str, Any]:
        return _row_data(ACTIONS.values(self._book_id, version), version, origin)

    def _add(self, event_type: str, action: Action, row: ActionVersion, data: Mapping[str, Any]) -> None:
        self._write(event_type, action.action_id, row.version, action.instrument, action.executed_at, row.seq, data)

    def _write(
        self,
        event_type: str,
        subject: str,
        version: int,
        instrument: str,
        occurred_at: datetime,
        seq: int,
        data: Mapping[str, Any],
    ) -> None:
        self.events.append(
            Event(
                event_id=UUID(event_id(self._book_id, event_type, subject, version)),
                event_type=event_type,
                book_id=self._book_id,
                aggregate_key=f"{self._book_id}/{instrument}",
                aggregate_version=seq,
                occurred_at=occurred_at,
                recorded_at=self._recorded_at,
                data=data,
            )
        )


def split_data(split: Mapping[str, Any], before: Sequence[Position], after: Sequence[Position]) -> dict[str, Any]:
    """Positions with quantity and price before and after a split."""
    return {
        **split,
        "positions": [
            {
                "position_id": new.position_id,
                "direction": new.direction,
                "ticker": new.ticker,
                "quantity_before": plain(old.quantity_open),
                "quantity_after": plain(new.quantity_open),
                "price_before": None if old.vwap is None else plain(old.vwap),
                "price_after": None if new.vwap is None else plain(new.vwap),
            }
            for old, new in zip(before, after, strict=True)
        ],
    }


def _row_data(values: Values, row: ActionVersion, origin: str) -> dict[str, Any]:
    data = {name: value for name, value in zip(_NAMES, values, strict=True) if name not in _LEFT_OUT}
    data["origin"] = origin
    data["lots"] = _lots(row.action)
    data["lot_count"] = len(row.action.closings) or 1
    return data


def _lots(action: Action) -> list[dict[str, Any]]:
    if not action.closings:
        if action.lot_id is None:
            return []
        return [{"lot_id": action.lot_id, "quantity": plain(action.quantity), "price": plain(action.price), "realized_pnl": None}]
    return [
        {
            "lot_id": closing.lot_id,
            "quantity": plain(closing.quantity),
            "price": plain(closing.lot_price),
            "realized_pnl": None if closing.realized_pnl is None else plain(closing.realized_pnl),
        }
        for closing in action.closings[:EVENT_LOTS_MAX]
    ]
