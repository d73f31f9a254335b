"""The read model at another moment: as of T, known as of K, by the same names and shapes as the present.

Everything comes from the ledger's own reading of its history (``ledger.asof``); nothing of other rooms does, because they
keep what is, not what was known. With K fixed two answers are equal byte for byte for ever, figures that need a mark apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from functools import cached_property
from uuid import UUID

from fillbook.ledger import asof
from fillbook.ledger.asof import Held, KnownBook, Selection, rounded
from fillbook.ledger.model import Closing, Lot
from fillbook.ledger.moment import Moment, moment
from fillbook.ledger.unfolding import Booked, Unfolded
from fillbook.money import CONTEXT, PRICE_STEP, plain
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.tracker import store
from fillbook.tracker.model import TradeQuery
from fillbook.tracker.store import Groups, Row, Seen

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLOSINGS = frozenset({"TRIM", "EXIT"})


@contextmanager
def look(db: Database, key: DeskKey, query: TradeQuery, now: datetime) -> Iterator[tuple[Seen, Moment, store.Present | Past]]:
    """One look at the desk, its moment, and the source of its rows; raises ``Rejected`` as ``store.look`` and ``moment``.

    Where K was not given, it is the newest row that the answer has seen: that moment can be asked for again.
    """
    at = moment(query.as_of, query.known_as_of, now)
    with store.look(db, key, query.books) as seen:
        if query.known_as_of is None:
            at = replace(at, known_as_of=seen.recorded_at or now)
        if not query.is_past:
            yield seen, at, store.Present(seen)
            return
        known = asof.books(seen.tx, seen.book_ids, at)
        recorded = [one.recorded_at for one in known.values() if one.recorded_at is not None]
        then = replace(seen, books={name: known[name].seq for name in seen.books}, recorded_at=max(recorded, default=None))
        yield then, at, Past(then, known, at)


class Past:
    """What ``store.Present`` answers, for a moment; a position of the answer is unfolded once, when its parts are asked for."""

    def __init__(self, seen: Seen, known: Mapping[str, KnownBook], at: Moment) -> None:
        """Read within one look."""
        self._tx = seen.tx
        self._known = known
        self._at = at
        self._held: list[Held] = []

    def positions(self, query: TradeQuery, day_start: datetime) -> tuple[list[Row], bool]:
        """The positions of a query and whether there are more."""
        chosen = Selection(
            ticker=query.ticker,
            direction=query.direction,
            status=query.status,
            since=query.since,
            until=query.until,
            rows_max=query.limit + 1,
        )
        found = asof.positions(self._tx, self._known, self._at, chosen)
        self._held = found[: query.limit]
        instruments = [(held.book_id, held.instrument) for held in self._held]
        last = asof.marks(self._tx, instruments, self._at.as_of, self._at)
        earlier = asof.marks(self._tx, instruments, day_start, self._at)
        rows = []
        for held in self._held:
            mark, before = last.get((held.book_id, held.instrument)), earlier.get((held.book_id, held.instrument))
            rows.append(
                {name: getattr(held, name) for name in _AS_HELD}
                | {
                    "position_id": UUID(held.position_id),
                    "symbol": held.ticker,
                    "mark": None if mark is None else mark.price,
                    "marked_at": None if mark is None else mark.marked_at,
                    "mark_before": None if before is None else before.price,
                    "lane": None,
                    "badges": None,
                }
            )
        return rows, len(found) > query.limit

    @cached_property
    def _told(self) -> dict[asof.Place, list[Booked]]:
        return asof.stories(self._tx, self._at, [held.place for held in self._held])

    @cached_property
    def _unfolded(self) -> dict[asof.Place, Unfolded]:
        return asof.unfold_told(self._tx, self._known, self._at, self._told)

    def lots(self, _: Sequence[Row]) -> Groups:
        """The lots of the positions, oldest first, by the columns of ``v_lots``."""
        return {
            (book_id, UUID(position_id)): [_lot_row(book_id, lot) for lot in sorted(one.lots, key=_age)]
            for (book_id, position_id), one in self._unfolded.items()
        }

    def actions(self, _: Sequence[Row]) -> Groups:
        """The execution actions of the positions in order, with their closings in the units of T."""
        found: Groups = {}
        for (book_id, position_id), booked in self._told.items():
            factors = {lot.lot_id: lot.split_factor for lot in self._unfolded[book_id, position_id].lots}
            ordered = sorted(booked, key=lambda one: (one.action.executed_at, one.action.action_id))
            found[book_id, UUID(position_id)] = [_action_row(one, factors) for one in ordered]
        return found

    def flat_trades(self, _: Sequence[Row]) -> Groups:
        """The flat shape of the positions, by the columns of ``v_trades``."""
        return {
            (held.book_id, UUID(held.position_id)): [_flat_trade(held, self._known[held.book_id].book.tenant_id)]
            for held in self._held
        }

    def flat_events(self, _: Sequence[Row]) -> Groups:
        """The flat shape of their actions, by the columns of ``v_trade_events``."""
        found: Groups = {}
        for (book_id, position_id), booked in self._told.items():
            tenant_id = self._known[book_id].book.tenant_id
            ordered = sorted(booked, key=lambda one: (_milliseconds(one.action.executed_at), one.action.action_id))
            found[book_id, UUID(position_id)] = [_flat_event(book_id, tenant_id, one) for one in ordered]
        return found


_AS_HELD = (
    "book_id contract_name direction status currency multiplier quantity_open quantity_opened quantity_closed vwap entry_vwap "
    "cost_basis realized_pnl fees_total opened_at last_action_at closed_at action_count opening_basis"
).split()
_AS_BOOKED = "executed_at quantity price value fees realized_pnl position_quantity_after reason".split()


def _age(lot: Lot) -> tuple[datetime, str]:
    return (lot.opened_at, lot.lot_id)


def _lot_row(book_id: str, lot: Lot) -> Row:
    return {
        "book_id": book_id,
        "position_id": UUID(lot.position_id),
        "lot_id": UUID(lot.lot_id),
        "opened_at": lot.opened_at,
        "quantity": lot.quantity_adjusted,
        "quantity_open": lot.quantity_open,
        "price": lot.price_adjusted,
        "cost_basis": lot.basis,
        "cost_basis_open": lot.basis_open,
        "status": lot.status.value,
    }


def _action_row(one: Booked, factors: Mapping[str, Decimal]) -> Row:
    action = one.action
    closings = sorted(action.closings, key=lambda closing: closing.lot_id)
    return {name: getattr(action, name) for name in _AS_BOOKED} | {
        "action_id": UUID(action.action_id),
        "version": one.version,
        "action_type": action.action_type.value,
        "closings": [_closing_row(closing, factors[closing.lot_id]) for closing in closings],
    }


def _closing_row(closing: Closing, split_factor: Decimal) -> Row:
    """A closing in the units of T, as ``v_closings`` shows it in today's."""
    with localcontext(CONTEXT):
        quantity = rounded(closing.quantity * split_factor / closing.split_factor)
        lot_price = rounded(closing.lot_price * closing.split_factor / split_factor, PRICE_STEP)
    gain = _plain(closing.realized_pnl)
    return {"lot_id": closing.lot_id, "quantity": plain(quantity), "lot_price": plain(lot_price), "realized_pnl": gain}


def _flat_trade(held: Held, tenant_id: str) -> Row:
    is_open, realized = held.is_open, held.realized_pnl
    with localcontext(CONTEXT):
        share = None if realized is None or not held.opening_basis else rounded(100 * realized / held.opening_basis)
        trimmed = rounded(held.quantity_closed / held.quantity_opened)
    return {
        "trade_id": UUID(held.position_id),
        "book_id": held.book_id,
        "tenant_id": tenant_id,
        "ticker": held.ticker,
        "direction": held.direction.value,
        "entry_ts": _milliseconds(held.opened_at),
        "exit_ts": _optional_milliseconds(held.closed_at),
        "trim_ts": _optional_milliseconds(held.trimmed_at),
        "created_at": _milliseconds(held.created_at),
        "updated_at": _milliseconds(held.updated_at),
        "entry_price": held.vwap if is_open else held.entry_vwap,
        "total_qty": held.quantity_open,
        "cost_basis": held.cost_basis,
        "status": _flat_status(held),
        "exit_price": None if is_open else held.last_price,
        "exit_reason": None if is_open else held.last_reason,
        "trim_price": held.trim_price,
        "trimmed_pct": trimmed,
        "pnl": realized,
        "pnl_pct": share,
        "rank": held.rank,
        "rr": held.rr,
        "script_version": held.script_version,
    }


def _flat_status(held: Held) -> str:
    if held.is_open:
        return "OPEN" if held.trimmed_at is None else "TP_HIT_TRIM"
    if held.realized_pnl is None:
        return "CLOSED"
    return "WIN" if held.realized_pnl > 0 else "LOSS" if held.realized_pnl < 0 else "FLAT"


def _flat_event(book_id: str, tenant_id: str, one: Booked) -> Row:
    action = one.action
    closes = action.action_type in CLOSINGS
    opened = action.position_quantity_opened_after
    with localcontext(CONTEXT):
        delta = rounded(action.quantity / opened) if closes else None
        total = rounded(1 - action.position_quantity_after / opened) if closes else None
    touched = [(part.lot_id, part.quantity, part.lot_price, part.realized_pnl) for part in action.closings]
    own = [(action.lot_id, action.quantity, action.price, None)]
    return {
        "event_id": UUID(action.action_id),
        "trade_id": UUID(action.position_id),
        "book_id": book_id,
        "tenant_id": tenant_id,
        "ts": _milliseconds(action.executed_at),
        "type": action.action_type.value,
        "price": action.price,
        "qty": action.quantity,
        "value": action.value,
        "pnl_realized": action.realized_pnl,
        "reason": action.reason,
        "meta_json": action.meta,
        "lot_id": None if action.lot_id is None else UUID(action.lot_id),
        "lots": [
            {"lot_id": lot_id, "qty": plain(quantity), "price": plain(price), "pnl_realized": _plain(gain)}
            for lot_id, quantity, price, gain in touched or own
        ],
        "qty_pct_delta": delta,
        "qty_pct_total": total,
    }


def _milliseconds(at: datetime) -> int:
    """Epoch milliseconds as the flat views write them: rounded, half up."""
    return ((at - EPOCH) // timedelta(microseconds=1) + 500) // 1000


def _optional_milliseconds(at: datetime | None) -> int | None:
    return None if at is None else _milliseconds(at)


def _plain(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)
