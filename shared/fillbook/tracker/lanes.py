"""The kanban board: all lanes in their order, every ticker in exactly one; and how tickers came there.

Which lanes there are is data of room signal. Whether a ticker holds a position is said by the ledger, never by its lane, and its
price is the ledger's mark, as everywhere. Source: tracker.md 4.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from fillbook.calendar import TradingCalendar, calendar
from fillbook.ledger.valuation import mark_state
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.sql import load_queries
from fillbook.signal.rules import RULES, WHYS, reason_words, sentence_of
from fillbook.tracker import days, listing, store
from fillbook.tracker.lanes_model import Lanes, Moves
from fillbook.tracker.model import books, refused, single, whole
from fillbook.tracker.paging import Place
from fillbook.tracker.parameter import Parameter, names
from fillbook.tracker.route import Given, Route, Source, Weight
from fillbook.tracker.trades import day_direction
from fillbook.tracker.wire import answer, instants, percent, text

QUERIES = load_queries("fillbook.tracker", "lanes.sql")
Document = dict[str, Any]
Order = Mapping[str, int]
"""Stage -> how far forward it is."""
CARDS_MAX = 50
HUNDRED = Decimal(100)
LIMIT_DEFAULT, LIMIT_MAX = 100, 500
TICKER_LENGTH_MAX = 32
TICKER = Parameter(
    name="ticker", schema={"type": "string", "minLength": 1, "maxLength": TICKER_LENGTH_MAX}, purpose="One ticker alone."
)
PARAMETERS = (
    listing.BOOKS,
    TICKER,
    Parameter(
        name="cards",
        schema={"type": "integer", "minimum": 1, "maximum": CARDS_MAX, "default": CARDS_MAX},
        purpose="How many cards of a lane at most, those that moved last first.",
    ),
)
HISTORY_PARAMETERS = (listing.BOOKS, TICKER, *listing.RANGE, listing.limit(LIMIT_DEFAULT, LIMIT_MAX), listing.CURSOR)


def lanes(db: Database, key: DeskKey, given: Given, now: datetime) -> Lanes:
    """All lanes with their newest cards; a stage that no lane has stands in one of its own behind them."""
    one = single(given, names(PARAMETERS))
    most, exchange = whole(one.get("cards", str(CARDS_MAX)), "cards", CARDS_MAX), calendar()
    with store.look(db, key, books(one)) as seen:
        columns = seen.tx.query(QUERIES["lanes"])
        day = days.today(now, exchange)
        marked = {"marked_before": day.marked_before, "marked_before_then": day.marked_before_then}
        rows = seen.tx.query(QUERIES["board"], books=seen.book_ids, ticker=_ticker(one), **marked)
    columns = [*columns, *_unplaced(columns, (row["lane"] for row in rows))]
    order = _order(columns)
    found = []
    for column in columns:
        here = [row for row in rows if row["lane"] in column["stages"]]
        found.append(
            {
                "key": column["key"],
                "title": column["title"],
                "stages": column["stages"],
                "holds": column["holds"],
                "position": any(row["status"] == "OPEN" for row in here),
                "count": len(here),
                "cards": [_card(row, order, now, exchange) for row in here[:most]],
            }
        )
    newest = max((row["last_ts"] for row in rows), default=None)
    return cast("Lanes", answer(now, newest, seen.books, count=len(rows), lanes=found))


def history(db: Database, key: DeskKey, given: Given, now: datetime) -> Moves:
    """A page of moves, newest first."""
    one = single(given, names(HISTORY_PARAMETERS))
    asked = listing.read(one, "lane_moves", LIMIT_DEFAULT, LIMIT_MAX)
    after = asked.place
    with store.look(db, key, asked.books) as seen:
        columns = seen.tx.query(QUERIES["lanes"])
        rows = seen.tx.query(
            QUERIES["moves"],
            books=seen.book_ids,
            ticker=_ticker(one),
            since=asked.since,
            until=asked.until,
            after_at=None if after is None else after.at,
            after_id=None if after is None else after.id,
            after_book=None if after is None else after.book_id,
            limit=asked.limit + 1,
        )
    order = _order([*columns, *_unplaced(columns, (row["lane"] for row in rows))])
    shown, has_more = rows[: asked.limit], len(rows) > asked.limit
    last = Place(at=shown[-1]["entered_at"], id=shown[-1]["receipt_id"], book_id=shown[-1]["book_id"]) if has_more else None
    page = answer(
        now,
        max((row["entered_at"] for row in shown), default=None),
        seen.books,
        count=len(shown),
        has_more=has_more,
        next_cursor=None if last is None else asked.cursor(last, None),
        moves=[_move(row, order) for row in shown],
    )
    return cast("Moves", page)


def _ticker(one: Mapping[str, str]) -> str | None:
    ticker = one.get("ticker")
    if ticker is not None and not (0 < len(ticker) <= TICKER_LENGTH_MAX and ticker.isprintable()):
        raise refused("ticker")
    return ticker


def _unplaced(columns: Sequence[Mapping[str, Any]], stages: Iterable[str]) -> list[Document]:
    """Columns for stages that none has: a ticker is never left out because nobody has named its lane yet."""
    placed = {stage for column in columns for stage in column["stages"]}
    return [
        {"key": stage, "title": stage.replace("_", " ").title(), "stages": [stage], "holds": "no"}
        for stage in dict.fromkeys(stages)
        if stage not in placed
    ]


def _order(columns: Sequence[Mapping[str, Any]]) -> Order:
    return {stage: place for place, stage in enumerate(stage for column in columns for stage in column["stages"])}


def _moved(before: str | None, stage: str, order: Order) -> str | None:
    if before is None or before == stage or before not in order:
        return None
    return "forward" if order[stage] > order[before] else "backward"


def _card(row: Mapping[str, Any], order: Order, now: datetime, exchange: TradingCalendar) -> Document:
    """One ticker on the board. Where nothing is held and the ledger has no mark, its last receipt says the price, and the chart
    the day's change; what is held is priced as on the card of its position, or not at all.
    """
    is_marked = row["mark"] is not None or row["status"] == "OPEN"
    price, priced_at = (row["mark"], row["marked_at"]) if is_marked else (row["last_price"], row["last_ts"])
    before = row["mark_before"]
    if row["status"] == "OPEN" or (is_marked and before is not None):
        change = None if price is None or before is None else percent(price - before, before)
        direction = day_direction(price, before)
    else:
        told = row["day_change_percent"]
        change = None if told is None else percent(told, HUNDRED)
        direction = "unknown" if told is None else "up" if told > 0 else "down" if told < 0 else "flat"
    return {
        "book_id": row["book_id"],
        "ticker": row["ticker"],
        "direction": row["side"],
        "stage": row["lane"],
        "previous_stage": row["previous_lane"],
        **instants("moved", row["lane_since"]),
        "moved": _moved(row["previous_lane"], row["lane"], order),
        "score": text(row["score"]),
        "price": text(price),
        **instants("price", priced_at),
        "price_state": mark_state(priced_at, now, row["book_id"].partition(":")[0], exchange),
        "day_change_percent": change,
        "day_direction": direction,
        "badges": list(row["badges"] or ()),
        "reasons": [_reason(row["reason"])],
        "block_reasons": _blocks(row["blocks"]),
        "position_id": None if row["position_id"] is None else str(row["position_id"]),
        "position_status": row["status"],
        "receipt_id": None if row["last_receipt_id"] is None else str(row["last_receipt_id"]),
    }


def _move(row: Mapping[str, Any], order: Order) -> Document:
    rule = row["rule"]
    return {
        "book_id": row["book_id"],
        "ticker": row["ticker"],
        "seq": row["seq"],
        "from_stage": row["from_lane"],
        "stage": row["lane"],
        "moved": _moved(row["from_lane"], row["lane"], order),
        **instants("", row["entered_at"]),
        **instants("left", row["left_at"]),
        "rule": rule,
        "rule_text": reason_words(rule),
        "reason": _reason(row["reason"]),
        "block_reasons": _blocks(row["blocks"]),
        "badges": list(row["badges"]),
        "price": text(row["price"]),
        "score": text(row["score"]),
        "receipt_id": str(row["receipt_id"]),
        "action_ids": [str(action_id) for action_id in row["action_ids"]],
    }


def _reason(slug: str) -> Document:
    return {"code": slug, "text": reason_words(slug)}


def _blocks(blocks: Sequence[Mapping[str, Any]] | None) -> list[Document]:
    """Why it is not traded: the rule that stands in the way, with what it compared."""
    return [{"code": block["rule"], "text": block_words(block)} for block in blocks or ()]


def block_words(block: Mapping[str, Any]) -> str:
    """What stood in the way, as a sentence: why the rule mattered, and what it compared."""
    why = WHYS.get(block["why"], str(block["why"]).replace("_", " "))
    if block["rule"] not in RULES:
        return why
    return f"{why}: {sentence_of(block['rule'], block.get('value'), block.get('limit'))}"


SOURCES = frozenset({Source.SIGNAL, Source.LEDGER})
ROUTES: tuple[Route, ...] = (
    Route(
        path="/timed/lanes",
        purpose="The board: every ticker in its lane, and why it is not traded.",
        use_case=lanes,
        answer=Lanes,
        parameters=PARAMETERS,
        sources=SOURCES | {Source.MARKS, Source.MINUTE},
    ),
    Route(
        path="/timed/lanes/history",
        purpose="Moves between lanes, newest first.",
        use_case=history,
        answer=Moves,
        parameters=HISTORY_PARAMETERS,
        weight=Weight.LIST,
        sources=SOURCES,
    ),
)
