"""Trades for a screen: one per position, with lots, executions and the state of each execution's message.

``as_of`` and ``known_as_of`` ask for another moment (``past.py``). What other rooms say now, a lane or a message, is not
part of such an answer and null in it; a user's words are, as they are now. Later pages of a list are read as of what was known
on its first, with lanes and messages as they are now. Rows hold texts as they are shown, and only what is reckoned with becomes
a number. Source: tracker.md 2, 3, 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

from fillbook import money
from fillbook.calendar import calendar
from fillbook.ledger.moment import Moment
from fillbook.ledger.valuation import FRESH, MISSING, STALE, fresh_since, gain
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Rejected
from fillbook.signal.rules import reason_words
from fillbook.tracker import annotated, days, paging, past
from fillbook.tracker.present import QUERIES, Places, Present
from fillbook.tracker.route import Given, Route, Source
from fillbook.tracker.store import Groups, Row, Seen
from fillbook.tracker.trade_query import FLAT_TRADE_PARAMETERS, TRADE_PARAMETERS, TradeQuery, trade_query
from fillbook.tracker.trades_model import FlatTrades, Trades
from fillbook.tracker.wire import answer, as_written, number, pair, percent, share, text
from fillbook.values import frozen

Document = dict[str, Any]
Place = tuple[str, Any]
NOT_THEN: Document = {"lane": None, "is_defend": None}
"""What a position of another moment does not say: lanes are known as they are, not as they were."""
TAGGED_MAX = 10_000
RARE_MAX = 2_000
PROBLEMS = frozenset({"missing", "wrong", "double", "orphan", "unverifiable"})


def trades(db: Database, key: DeskKey, given: Given, now: datetime) -> Trades:
    """A page of positions; money and quantities as text, unknown as null."""
    query = trade_query(given)
    with past.look(db, key, query.common, now) as (seen, at, source):
        rows, following = chosen(seen, key, source, query, at)
        is_past = query.common.is_past
        parts = parts_of(seen, source, rows, query.parts, is_past=is_past)
        found = told(seen, key, rows, parts, at, is_past=is_past)
    return cast("Trades", _page(seen, at, query, following, found))


def flat_trades(db: Database, key: DeskKey, given: Given, now: datetime) -> FlatTrades:
    """The flat shape: exactly the columns of ``ledger.v_trades``, each trade with its lots and execution actions."""
    query = trade_query(given, parameters=FLAT_TRADE_PARAMETERS)
    with past.look(db, key, query.common, now) as (seen, at, source):
        rows, following = chosen(seen, key, source, query, at)
        flat, lots, events = source.flat_trades(rows), source.lots(rows), source.flat_events(rows)
    found = []
    for row in rows:
        place = (row["book_id"], row["position_id"])
        parts = {"lots": [lot(one, row) for one in lots.get(place, ())], "execution_actions": events.get(place, [])}
        found += [trade | parts for trade in flat[place]]
    return cast("FlatTrades", _page(seen, at, query, following, found))


def _page(seen: Seen, at: Moment, query: TradeQuery, following: paging.Place | None, found: list[Document]) -> Document:
    cursor = None if following is None else query.common.cursor(following, at.known_as_of)
    has_more = cursor is not None
    return answer(at, seen.recorded_at, seen.books, count=len(found), has_more=has_more, next_cursor=cursor, trades=found)


def place_of(row: Mapping[str, Any]) -> paging.Place:
    """Where a position stands in the lists."""
    return paging.Place(at=datetime.fromisoformat(row["opened_at"]), id=UUID(row["position_id"]), book_id=row["book_id"])


def chosen(
    seen: Seen, key: DeskKey, source: Present | past.Past, query: TradeQuery, at: Moment
) -> tuple[list[Row], paging.Place | None]:
    """The rows of a page and where the next one begins, with the lanes of now unless another moment was asked for."""
    rows, has_more = source.positions(query, days.today(at.as_of, calendar()), within(seen, key, query, source))
    following = place_of(rows[-1]) if has_more else None
    if isinstance(source, Present) or query.common.is_past or not rows:
        return rows, following
    pairs = {(row["book_id"], row["instrument_id"]) for row in rows}
    board = seen.tx.query(QUERIES["board_of"], books=[book for book, _ in pairs], instruments=[one for _, one in pairs])
    lanes = {(row["book_id"], row["instrument_id"]): row for row in board}
    none = {"lane": None, "badges": None}
    for row in rows:
        found = lanes.get((row["book_id"], row["instrument_id"]), none)
        row |= {"lane": found["lane"], "badges": found["badges"]}
    return [row for row in rows if query.lane in (None, row["lane"])], following


def ahead(source: Present | past.Past, query: TradeQuery, at: Moment) -> None:
    """Let the server begin with the page that is chosen next, where the choice is one statement."""
    if isinstance(source, Present) and query.tag is None and query.reason is None:
        source.ahead(query, days.today(at.as_of, calendar()))


def within(seen: Seen, key: DeskKey, query: TradeQuery, source: Present | past.Past) -> Places | None:
    """The positions that alone are wanted, as far as that is told cheaply; None: any may be."""
    if query.only is not None:
        return [(book_id, str(query.only)) for book_id in seen.book_ids]
    if query.tag is not None:
        asked = {"tag": query.tag, "is_present": isinstance(source, Present), "limit": TAGGED_MAX + 1}
        tagged = seen.tx.query(QUERIES["tagged"], tenant_id=key.tenant_id, books=seen.book_ids, **asked)
        if len(tagged) > TAGGED_MAX:
            raise Rejected("tag_too_wide", f"more than {TAGGED_MAX} positions have this tag", field="tag")
        return _places(tagged)
    if query.reason is not None:
        # a reason of many is soon met on the way, a rare one is looked up
        rare = seen.tx.query(QUERIES["of_reason"], books=seen.book_ids, reason=query.reason, limit=RARE_MAX + 1)
        return _places(rare) if len(rare) <= RARE_MAX else None
    return None


def _places(rows: Sequence[Row]) -> Places:
    return [(row["book_id"], str(row["position_id"])) for row in rows]


@frozen
class Parts:
    """The rows of what positions are made of, None where that was not asked for; ``messages`` None: of another moment."""

    lots: Groups | None = None
    actions: Groups | None = None
    messages: Mapping[Place, Row] | None = None

    def message(self, book_id: str, action_id: str) -> Document | None:
        """What became of the message of an execution."""
        return None if self.messages is None else message(self.messages.get((book_id, action_id)))


def parts_of(seen: Seen, source: Present | past.Past, rows: Sequence[Row], wanted: frozenset[str], *, is_past: bool) -> Parts:
    """The parts of some positions that are asked for."""
    actions = source.actions(rows) if "actions" in wanted else None
    return Parts(
        lots=source.lots(rows) if "lots" in wanted else None,
        actions=actions,
        messages=None if is_past or actions is None else messages_of(seen, actions),
    )


def told(seen: Seen, key: DeskKey, rows: Sequence[Row], parts: Parts, at: Moment, *, is_past: bool) -> list[Document]:
    """Positions as they are shown, with their parts."""
    found = plain_ones(rows, annotated.of_positions(seen, key, rows), at, is_past=is_past)
    for trade, row in zip(found, rows, strict=True):
        book_id, position_id = row["book_id"], row["position_id"]
        if parts.lots is not None:
            trade["lots"] = [lot(one, row) for one in parts.lots.get((book_id, position_id), ())]
        if parts.actions is not None:
            trade["execution_actions"] = [
                action(one, parts.message(book_id, one["action_id"])) for one in parts.actions.get((book_id, position_id), ())
            ]
    return found


def plain_ones(rows: Sequence[Row], words: annotated.Words, at: Moment, *, is_past: bool) -> list[Document]:
    """Positions with a user's words, without their parts."""
    fresh: dict[str, str] = {}
    found = []
    for row in rows:
        book_id, marked_at = row["book_id"], row["marked_at"]
        if book_id not in fresh:
            fresh[book_id] = as_written(fresh_since(at.as_of, book_id.partition(":")[0], calendar()))
        trade = position(row, MISSING if marked_at is None else FRESH if marked_at >= fresh[book_id] else STALE)
        trade |= annotated.about_position(words.get((book_id, row["position_id"])))
        if is_past:
            trade |= NOT_THEN
        found.append(trade)
    return found


def messages_of(seen: Seen, actions: Groups) -> dict[Place, Row]:
    """The message rows of executions, by book and action."""
    pairs = [(book_id, one["action_id"]) for (book_id, _), rows in actions.items() for one in rows]
    if not pairs:
        return {}
    books, ids = [book_id for book_id, _ in pairs], [action_id for _, action_id in pairs]
    return {(row["book_id"], row["action_id"]): row for row in seen.tx.shown(QUERIES["messages_of"], books=books, actions=ids)}


def message(row: Mapping[str, Any] | None) -> Document:
    """What became of a message."""
    if row is None:
        return {"state": "none", "message_id": None, "url": None, "posted_ts": None, "posted_at": None}
    posted_ts, posted_at = pair(row["posted_at"])
    return {
        "state": message_state(row),
        "message_id": row["message_id"],
        "url": row["message_url"],
        "posted_ts": posted_ts,
        "posted_at": posted_at,
    }


def message_state(row: Mapping[str, Any]) -> str:
    """A message's state in one word: what was found wrong with it, else how far it got; ``proven``: posted and read back."""
    state: str = "pending" if row["state"] == "sending" else row["state"]
    if state != "posted":
        return state
    if row["last_finding"] is not None:
        kind: str = row["last_finding"].partition(" ")[0].rstrip(":")
        return kind if kind in PROBLEMS else "wrong"
    return "posted" if row["proven_at"] is None else "proven"


def position(row: Mapping[str, Any], state: str) -> Document:
    """One position as a card shows it."""
    is_open = row["status"] == "OPEN"
    unrealized, return_percent = _gained(row) if is_open else (None, share(row["realized_pnl"], row["opening_basis"]))
    day_change_percent, day_direction = _change(row["mark"], row["mark_before"])
    price_ts, price_at = pair(row["marked_at"])
    first_entry_ts, first_entry_at = pair(row["opened_at"])
    last_action_ts, last_action_at = pair(row["last_action_at"])
    return {
        "position_id": row["position_id"],
        "trade_id": row["position_id"],
        "book_id": row["book_id"],
        "ticker": row["symbol"],
        "contract_name": row["contract_name"],
        "instrument": row["instrument_id"],
        "direction": row["direction"],
        "status": row["status"],
        "outcome": None if is_open else outcome(number(row["realized_pnl"])),
        "currency": row["currency"],
        "total_qty": row["quantity_open"],
        "opened_qty": row["quantity_opened"],
        "entry_price": row["vwap"] if is_open else row["entry_vwap"],
        "cost_basis": row["cost_basis"],
        "current_price": row["mark"],
        "price_ts": price_ts,
        "price_at": price_at,
        "price_state": state,
        "unrealized_pnl": unrealized,
        "realized_pnl": row["realized_pnl"],
        "fees": row["fees_total"],
        "return_percent": return_percent,
        "day_change_percent": day_change_percent,
        "day_direction": day_direction,
        "trimmed_percent": share(row["quantity_closed"], row["quantity_opened"]),
        "lane": row["lane"] if is_open else None,
        "is_defend": is_open and "defend" in (row["badges"] or ()),
        "first_entry_ts": first_entry_ts,
        "first_entry_at": first_entry_at,
        "last_action_ts": last_action_ts,
        "last_action_at": last_action_at,
        "action_count": row["action_count"],
        "is_corrected": row["is_corrected"],
    }


def _gained(row: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """What an open position has gained that is not realized, and the percent of its basis that it gained in all."""
    unrealized = _gain(row, row["quantity_open"], row["cost_basis"])
    result = money.total([number(row["realized_pnl"]), unrealized])
    return text(unrealized), percent(result, number(row["opening_basis"]))


def _gain(of: Mapping[str, Any], quantity: str, basis: str | None) -> Decimal | None:
    return gain(of["direction"], Decimal(quantity), number(of["mark"]), number(of["multiplier"]), number(basis))


@lru_cache(8_192)
def _change(mark: str | None, before: str | None) -> tuple[str | None, str]:
    """A ticker's day in percent and as a word; its positions share it."""
    now, then = number(mark), number(before)
    return percent(None if now is None or then is None else now - then, then), day_direction(now, then)


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
    is_open = row["status"] == "OPEN"
    ts, at = pair(row["opened_at"])
    return {
        "lot_id": row["lot_id"],
        "ts": ts,
        "at": at,
        "qty": row["quantity"],
        "price": row["price"],
        "value": row["value"],
        "remaining_qty": row["quantity_open"],
        "cost_basis": row["cost_basis"],
        "unrealized_pnl": text(_gain(of, row["quantity_open"], row["cost_basis_open"])) if is_open else None,
        "status": row["status"],
    }


def action(row: Mapping[str, Any], its_message: Document | None) -> Document:
    """One execution with the lots it closed and what became of its message."""
    ts, at = pair(row["executed_at"])
    return {
        "action_id": row["action_id"],
        "version": row["version"],
        "ts": ts,
        "at": at,
        "action_type": row["action_type"],
        "qty": row["quantity"],
        "price": row["price"],
        "value": row["value"],
        "fees": row["fees"],
        "pnl_realized": row["realized_pnl"],
        "lots": row["closings"] or [],
        "qty_after": row["position_quantity_after"],
        "vwap_after": row["position_vwap_after"],
        "reason": row["reason"],
        "reason_text": reason_text(row["reason"]),
        "message": its_message,
    }


@lru_cache(1_024)
def reason_text(reason: str | None) -> str | None:
    """A reason in words."""
    return None if reason is None else reason_words(reason)


SOURCES = frozenset({Source.LEDGER, Source.MARKS, Source.ANNOTATIONS})
ROUTES: tuple[Route, ...] = (
    Route(
        path="/timed/trades",
        purpose="Positions, newest entry first.",
        use_case=trades,
        answer=Trades,
        parameters=TRADE_PARAMETERS,
        sources=SOURCES | {Source.SIGNAL, Source.NOTIFY, Source.MINUTE},
    ),
    Route(
        path="/timed/ledger/trades",
        purpose="Positions in the flat shape, with their lots and execution actions.",
        use_case=flat_trades,
        answer=FlatTrades,
        parameters=FLAT_TRADE_PARAMETERS,
        sources=SOURCES,
    ),
)
