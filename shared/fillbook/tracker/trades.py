"""Trades for a screen: one per position, with lots, executions and the state of each execution's message.

``as_of`` and ``known_as_of`` ask for another moment (``past.py``). What other rooms say now, a lane or a message, is not
part of such an answer and null in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from fillbook import money
from fillbook.calendar import NEW_YORK, Session, TradingCalendar, calendar
from fillbook.ledger.valuation import gain, mark_state
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.signal.rules import reason_words
from fillbook.tracker import past
from fillbook.tracker.model import TradeQuery
from fillbook.tracker.wire import answer, instants, percent, text

Document = dict[str, Any]
NOT_THEN: Document = {"lane": None, "is_defend": None}
"""What a position of another moment does not say: lanes are known as they are, not as they were."""


def day_of(now: datetime, exchange: TradingCalendar) -> Session:
    """The session a screen calls today: the one that began last, so that an evening or a weekend still shows it."""
    today = exchange.session(now.astimezone(NEW_YORK).date())
    return today if today is not None and today.open_at <= now else exchange.last_finished(now)


def day_start(session: Session) -> datetime:
    """New York midnight of a session's date."""
    return datetime.combine(session.date, time.min, NEW_YORK)


def trades(db: Database, key: DeskKey, query: TradeQuery, now: datetime) -> Document:
    """The positions of a query; money and quantities as text, unknown as null."""
    exchange = calendar()
    with past.look(db, key, query, now) as (seen, at, source):
        rows, has_more = source.positions(query, day_start(day_of(at.as_of, exchange)))
        lots = source.lots(rows) if "lots" in query.parts else {}
        actions = source.actions(rows) if "actions" in query.parts else {}
    found = []
    for row in rows:
        place = (row["book_id"], row["position_id"])
        trade = position(row, mark_state(row["marked_at"], at.as_of, row["book_id"].partition(":")[0], exchange))
        if query.is_past:
            trade |= NOT_THEN
        if "lots" in query.parts:
            trade["lots"] = [lot(one, row) for one in lots.get(place, [])]
        if "actions" in query.parts:
            trade["execution_actions"] = [action(one) for one in actions.get(place, [])]
        found.append(trade)
    return answer(at, seen.recorded_at, seen.books, count=len(found), has_more=has_more, trades=found)


def position(row: Mapping[str, Any], state: str) -> Document:
    """One position as a card shows it."""
    mark = row["mark"]
    unrealized = gain(row["direction"], row["quantity_open"], mark, row["multiplier"], row["cost_basis"])
    is_open = row["status"] == "OPEN"
    result = money.total([row["realized_pnl"], unrealized if is_open else money.ZERO])
    before = row["mark_before"]
    change = None if mark is None or before is None else mark - before
    return {
        "position_id": row["position_id"],
        "trade_id": row["position_id"],
        "book_id": row["book_id"],
        "ticker": row["symbol"],
        "contract_name": row["contract_name"],
        "direction": row["direction"],
        "status": row["status"],
        "outcome": None if is_open else outcome(row["realized_pnl"]),
        "currency": row["currency"],
        "total_qty": text(row["quantity_open"]),
        "opened_qty": text(row["quantity_opened"]),
        "entry_price": text(row["vwap"] if is_open else row["entry_vwap"]),
        "cost_basis": text(row["cost_basis"]),
        "current_price": text(mark),
        **instants("price", row["marked_at"]),
        "price_state": state,
        "unrealized_pnl": text(unrealized) if is_open else None,
        "realized_pnl": text(row["realized_pnl"]),
        "fees": text(row["fees_total"]),
        "return_percent": percent(result, row["opening_basis"]),
        "day_change_percent": percent(change, before),
        "day_direction": day_direction(mark, before),
        "trimmed_percent": percent(row["quantity_closed"], row["quantity_opened"]),
        "lane": row["lane"] if is_open else None,
        "is_defend": is_open and "defend" in (row["badges"] or ()),
        **instants("first_entry", row["opened_at"]),
        **instants("last_action", row["last_action_at"]),
        "action_count": row["action_count"],
    }


def day_direction(mark: Decimal | None, before: Decimal | None) -> str:
    """The ticker's day as a word; never guessed."""
    if mark is None or before is None:
        return "unknown"
    return "up" if mark > before else "down" if mark < before else "flat"


def outcome(realized: Decimal | None) -> str:
    """A closed position's result as a word."""
    if realized is None:
        return "PENDING"
    return "WIN" if realized > 0 else "LOSS" if realized < 0 else "FLAT"


def lot(row: Mapping[str, Any], of: Mapping[str, Any]) -> Document:
    """One lot; its unrealized P&L takes the part of the basis that is still open."""
    unrealized = gain(of["direction"], row["quantity_open"], of["mark"], of["multiplier"], row["cost_basis_open"])
    return {
        "lot_id": row["lot_id"],
        **instants("", row["opened_at"]),
        "qty": text(row["quantity"]),
        "price": text(row["price"]),
        "remaining_qty": text(row["quantity_open"]),
        "cost_basis": text(row["cost_basis"]),
        "unrealized_pnl": text(unrealized) if row["status"] == "OPEN" else None,
        "status": row["status"],
    }


def action(row: Mapping[str, Any]) -> Document:
    """One execution with the lots it closed and what became of its message."""
    closings = [
        {
            "lot_id": closing["lot_id"],
            "qty": text(Decimal(closing["quantity"])),
            "lot_price": text(Decimal(closing["lot_price"])),
            "pnl_realized": None if closing["realized_pnl"] is None else text(Decimal(closing["realized_pnl"])),
        }
        for closing in row["closings"] or ()
    ]
    message = None
    if "message_state" in row:
        message = {
            "state": row["message_state"] or "none",
            "message_id": row["message_id"],
            **instants("posted", row["posted_at"]),
        }
    return {
        "action_id": row["action_id"],
        "version": row["version"],
        **instants("", row["executed_at"]),
        "action_type": row["action_type"],
        "qty": text(row["quantity"]),
        "price": text(row["price"]),
        "value": text(row["value"]),
        "fees": text(row["fees"]),
        "pnl_realized": text(row["realized_pnl"]),
        "lots": closings,
        "qty_after": text(row["position_quantity_after"]),
        "reason": row["reason"],
        "reason_text": None if row["reason"] is None else reason_words(row["reason"]),
        "message": message,
    }


def flat_trades(db: Database, key: DeskKey, query: TradeQuery, now: datetime) -> Document:
    """The flat shape: exactly the columns of ``ledger.v_trades``, each trade with its lots and execution actions."""
    with past.look(db, key, query, now) as (seen, at, source):
        rows, has_more = source.positions(query, day_start(day_of(at.as_of, calendar())))
        flat, lots, events = source.flat_trades(rows), source.lots(rows), source.flat_events(rows)
    found = []
    for row in rows:
        place = (row["book_id"], row["position_id"])
        parts = {"lots": lots.get(place, []), "execution_actions": events.get(place, [])}
        found += [
            plainly(trade) | {name: [plainly(one) for one in part] for name, part in parts.items()} for trade in flat[place]
        ]
    return answer(at, seen.recorded_at, seen.books, count=len(found), has_more=has_more, trades=found)


def plainly(row: Mapping[str, Any]) -> Document:
    """A row of a view as it goes on the wire: decimals as plain text, whatever their column's scale."""
    return {name: text(value) if isinstance(value, Decimal) else value for name, value in row.items()}
