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

from fillbook.ledger import asof
from fillbook.ledger.asof import Held, KnownBook, Selection, rounded
from fillbook.ledger.model import Closing, Lot
from fillbook.ledger.moment import Moment, moment
from fillbook.ledger.unfolding import Booked, Unfolded
from fillbook.money import CONTEXT, PRICE_STEP, plain
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.tracker import days, store
from fillbook.tracker.listing import Common
from fillbook.tracker.present import QUERIES, Places, Present
from fillbook.tracker.store import Groups, Row, Seen
from fillbook.tracker.trade_query import TradeQuery
from fillbook.tracker.wire import as_written, text

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLOSINGS = frozenset({"TRIM", "EXIT"})


@contextmanager
def look(db: Database, key: DeskKey, asked: Common, now: datetime) -> Iterator[tuple[Seen, Moment, Present | Past]]:
    """One look at the desk, its moment, and the source of its rows; raises ``Rejected`` as ``store.look`` and ``moment``.

    Where K was not given, it is the newest row that the first page has seen, carried by the cursor from there on: that moment
    can be asked for again. While nothing was recorded since, what is now is what was known.
    """
    at = moment(asked.as_of, asked.known_as_of, now)
    carried = None if asked.after is None else asked.after.known_as_of
    with store.look(db, key, asked.books) as seen:
        if asked.known_as_of is None:
            at = replace(at, known_as_of=carried or seen.recorded_at or now)
        is_unchanged = carried is None or seen.recorded_at is None or seen.recorded_at <= carried
        if not asked.is_past and is_unchanged:
            yield seen, at, Present(seen)
            return
        known = asof.books(seen.tx, seen.book_ids, at)
        recorded = [one.recorded_at for one in known.values() if one.recorded_at is not None]
        then = replace(seen, books={name: known[name].seq for name in seen.books}, recorded_at=max(recorded, default=None))
        yield then, at, Past(then, known, at)


class Past:
    """What ``Present`` answers, for a moment; a position of a page is unfolded once, when its parts are asked for."""

    def __init__(self, seen: Seen, known: Mapping[str, KnownBook], at: Moment) -> None:
        """Read within one look."""
        self._tx = seen.tx
        self._known = known
        self._at = at
        self._held: list[Held] = []

    def positions(self, query: TradeQuery, day: days.Today, within: Places | None) -> tuple[list[Row], bool]:
        """The positions of a query and whether there are more; ``within``: only these. Lanes are not known of a moment."""
        limit = query.common.limit
        found = asof.positions(self._tx, self._known, self._at, _selection(query, within, limit + 1))
        return self._rows(found[:limit], day), len(found) > limit

    def count(self, query: TradeQuery, within: Places | None, limit: int, *, lots: bool = False) -> int:
        """How many positions, ``limit`` at most, or how many lots these have."""
        return asof.count(self._tx, self._known, self._at, _selection(query, within, limit), lots=lots)

    def _rows(self, held: list[Held], day: days.Today) -> list[Row]:
        self._held = held
        self.__dict__.pop("_told", None)  # those of the page before
        self.__dict__.pop("_unfolded", None)
        instruments = [(one.book_id, one.instrument) for one in held]
        last = asof.marks(self._tx, instruments, day.marked_before - days.INSTANT, self._at)
        earlier = asof.marks(self._tx, instruments, day.marked_before_then - days.INSTANT, self._at)
        places = {"books": [one.book_id for one in held], "positions": [one.position_id for one in held]}
        rows = self._tx.query(QUERIES["corrected"], known_as_of=self._at.known_as_of, **places) if held else []
        corrected = {(row["book_id"], str(row["position_id"])) for row in rows}
        return [
            {name: getattr(one, name) for name in _AS_HELD}
            | {name: text(getattr(one, name)) for name in _AMOUNTS_HELD}
            | {
                "position_id": one.position_id,
                "opened_at": as_written(one.opened_at),
                "last_action_at": as_written(one.last_action_at),
                "instrument_id": one.instrument,
                "symbol": one.ticker,
                **_marked(last.get((one.book_id, one.instrument)), earlier.get((one.book_id, one.instrument))),
                "lane": None,
                "badges": None,
                "is_corrected": one.place in corrected,
            }
            for one in held
        ]

    @cached_property
    def _told(self) -> dict[asof.Place, list[Booked]]:
        return asof.stories(self._tx, self._at, [held.place for held in self._held])

    @cached_property
    def _unfolded(self) -> dict[asof.Place, Unfolded]:
        return asof.unfold_told(self._tx, self._known, self._at, self._told)

    def lots(self, _: Sequence[Row]) -> Groups:
        """The lots of the positions, oldest first, by the columns of ``v_lots``."""
        return {place: [_lot_row(place[0], lot) for lot in sorted(one.lots, key=_age)] for place, one in self._unfolded.items()}

    def actions(self, _: Sequence[Row]) -> Groups:
        """The execution actions of the positions in order, with their closings in the units of T."""
        found: Groups = {}
        for place, booked in self._told.items():
            factors = {lot.lot_id: lot.split_factor for lot in self._unfolded[place].lots}
            ordered = sorted(booked, key=lambda one: (one.action.executed_at, one.action.action_id))
            found[place] = [_action_row(one, factors) for one in ordered]
        return found

    def flat_trades(self, _: Sequence[Row]) -> Groups:
        """The flat shape of the positions, by the columns of ``v_trades``."""
        return {held.place: [_flat_trade(held, self._known[held.book_id].book.tenant_id)] for held in self._held}

    def flat_events(self, _: Sequence[Row]) -> Groups:
        """The flat shape of their actions, by the columns of ``v_trade_events``."""
        found: Groups = {}
        for (book_id, position_id), booked in self._told.items():
            tenant_id = self._known[book_id].book.tenant_id
            ordered = sorted(booked, key=lambda one: (_milliseconds(one.action.executed_at), one.action.action_id))
            found[book_id, position_id] = [_flat_event(book_id, tenant_id, one) for one in ordered]
        return found


_AS_HELD = "book_id contract_name direction status currency action_count".split()
_AMOUNTS_HELD = (
    "multiplier quantity_open quantity_opened quantity_closed vwap entry_vwap cost_basis realized_pnl fees_total opening_basis"
).split()
_AMOUNTS_BOOKED = "quantity price value fees realized_pnl position_quantity_after position_vwap_after".split()


def _selection(query: TradeQuery, within: Places | None, rows_max: int) -> Selection:
    asked = query.common
    return Selection(
        ticker=query.ticker,
        direction=query.direction,
        status=query.status,
        since=asked.since,
        until=asked.until,
        outcome=query.outcome,
        reason=query.reason,
        min_pnl=query.min_pnl,
        max_pnl=query.max_pnl,
        within=within,
        after=None if asked.place is None else (asked.place.at, asked.place.id, asked.place.book_id),
        rows_max=rows_max,
    )


def _marked(last: asof.Seen | None, earlier: asof.Seen | None) -> Row:
    return {
        "mark": None if last is None else plain(last.price),
        "marked_at": None if last is None else as_written(last.marked_at),
        "mark_before": None if earlier is None else plain(earlier.price),
    }


def _age(lot: Lot) -> tuple[datetime, str]:
    return (lot.opened_at, lot.lot_id)


def _lot_row(book_id: str, lot: Lot) -> Row:
    return {
        "book_id": book_id,
        "position_id": lot.position_id,
        "lot_id": lot.lot_id,
        "opened_at": as_written(lot.opened_at),
        "quantity": text(lot.quantity_adjusted),
        "quantity_open": text(lot.quantity_open),
        "price": text(lot.price_adjusted),
        "value": text(lot.value),
        "cost_basis": text(lot.basis),
        "cost_basis_open": text(lot.basis_open),
        "status": lot.status.value,
    }


def _action_row(one: Booked, factors: Mapping[str, Decimal]) -> Row:
    action = one.action
    closings = sorted(action.closings, key=lambda closing: closing.lot_id)
    return {name: text(getattr(action, name)) for name in _AMOUNTS_BOOKED} | {
        "action_id": action.action_id,
        "executed_at": as_written(action.executed_at),
        "reason": action.reason,
        "version": one.version,
        "action_type": action.action_type.value,
        "closings": [_closing_row(closing, factors[closing.lot_id]) for closing in closings],
    }


def _closing_row(closing: Closing, split_factor: Decimal) -> Row:
    """A closing in the units of T, as ``v_closings`` shows it in today's."""
    with localcontext(CONTEXT):
        quantity = rounded(closing.quantity * split_factor / closing.split_factor)
        lot_price = rounded(closing.lot_price * closing.split_factor / split_factor, PRICE_STEP)
    gain = text(closing.realized_pnl)
    return {"lot_id": closing.lot_id, "qty": plain(quantity), "lot_price": plain(lot_price), "pnl_realized": gain}


def _flat_trade(held: Held, tenant_id: str) -> Row:
    is_open, realized = held.is_open, held.realized_pnl
    with localcontext(CONTEXT):
        share = None if realized is None or not held.opening_basis else rounded(100 * realized / held.opening_basis)
        trimmed = rounded(held.quantity_closed / held.quantity_opened)
    return {
        "trade_id": held.position_id,
        "book_id": held.book_id,
        "tenant_id": tenant_id,
        "ticker": held.ticker,
        "direction": held.direction.value,
        "entry_ts": _milliseconds(held.opened_at),
        "exit_ts": _optional_milliseconds(held.closed_at),
        "trim_ts": _optional_milliseconds(held.trimmed_at),
        "created_at": _milliseconds(held.created_at),
        "updated_at": _milliseconds(held.updated_at),
        "entry_price": text(held.vwap if is_open else held.entry_vwap),
        "total_qty": text(held.quantity_open),
        "cost_basis": text(held.cost_basis),
        "status": _flat_status(held),
        "exit_price": None if is_open else plain(held.last_price),
        "exit_reason": None if is_open else held.last_reason,
        "trim_price": text(held.trim_price),
        "trimmed_pct": plain(trimmed),
        "pnl": text(realized),
        "pnl_pct": text(share),
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
        "event_id": action.action_id,
        "trade_id": action.position_id,
        "book_id": book_id,
        "tenant_id": tenant_id,
        "ts": _milliseconds(action.executed_at),
        "type": action.action_type.value,
        "price": plain(action.price),
        "qty": plain(action.quantity),
        "value": text(action.value),
        "pnl_realized": text(action.realized_pnl),
        "reason": action.reason,
        "meta_json": action.meta,
        "lot_id": action.lot_id,
        "lots": [
            {"lot_id": lot_id, "qty": plain(quantity), "price": plain(price), "pnl_realized": text(gain)}
            for lot_id, quantity, price, gain in touched or own
        ],
        "qty_pct_delta": text(delta),
        "qty_pct_total": text(total),
    }


def _milliseconds(at: datetime) -> int:
    """Epoch milliseconds as the flat views write them: rounded, half up."""
    return ((at - EPOCH) // timedelta(microseconds=1) + 500) // 1000


def _optional_milliseconds(at: datetime | None) -> int | None:
    return None if at is None else _milliseconds(at)
