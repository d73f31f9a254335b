"""One position with everything that is kept of it: lots, actions, events, closings, messages, if asked versions and evidence.

It is found by its id or by the integer that published snapshots name it by, in all books of the key unless they are named; where
a fill stands in several of them, in the first that has it. Source: tracker.md 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from fillbook.ledger.moment import Moment
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Rejected
from fillbook.tracker import past
from fillbook.tracker.filters import path_uuid
from fillbook.tracker.present import QUERIES, Present
from fillbook.tracker.route import Given, Route, Source
from fillbook.tracker.store import Row, Seen
from fillbook.tracker.trade_query import DETAIL_PARAMETERS, PARTS, TRADE_ID, DetailQuery, TradeQuery, detail_query
from fillbook.tracker.trades import SOURCES, message, parts_of, told
from fillbook.tracker.trades import chosen as positions
from fillbook.tracker.trades_model import TradeDetail
from fillbook.tracker.wire import answer, instants, pair, text

Document = dict[str, Any]
VERSIONS_MAX = 20_000
NUMBER_MAX = 2**52


def trade(db: Database, key: DeskKey, given: Given, now: datetime, *, trade_id: str) -> TradeDetail:
    """One position; 404 ``trade_unknown``, 400 ``too_many_versions``."""
    query = detail_query(given)
    with past.look(db, key, query.common, now) as (seen, at, source):
        row = _found(seen, key, source, query, at, trade_id)
        is_past = query.common.is_past
        made_of = parts_of(seen, source, [row], PARTS, is_past=is_past)
        (shown,) = told(seen, key, [row], made_of, at, is_past=is_past)
        parts = {
            "lots": shown.pop("lots"),
            "actions": shown.pop("execution_actions"),
            "events": source.flat_events([row]).get((row["book_id"], row["position_id"]), []),
            "messages": [_own_message(one) for one in (made_of.messages or {}).values()],
            **({"versions": _versions(seen, row, at)} if "history" in query.parts else {}),
            **({"evidence": _evidence(seen, row, at)} if "evidence" in query.parts else {}),
        }
    parts["closings"] = [
        {**closed, "action_id": one["action_id"], "ts": one["ts"], "at": one["at"]}
        for one in parts["actions"]
        for closed in one["lots"]
    ]
    return cast("TradeDetail", answer(at, seen.recorded_at, seen.books, trade=shown, **parts))


def _found(seen: Seen, key: DeskKey, source: Present | past.Past, query: DetailQuery, at: Moment, trade_id: str) -> Row:
    if trade_id.isascii() and trade_id.isdigit() and len(trade_id) <= 16 and int(trade_id) < NUMBER_MAX:
        numbers = seen.tx.query(QUERIES["position_of_number"], books=seen.book_ids, number=int(trade_id))
        identity = numbers[0]["position_id"] if numbers else None
    else:
        identity = path_uuid(trade_id, "trade_unknown")
    rows = [] if identity is None else _positions(seen, key, source, query, at, identity)
    if not rows:
        raise Rejected("trade_unknown", "no such trade for this key", status=404)
    order = list(query.common.books or ())
    return min(rows, key=lambda row: order.index(row["book_id"]) if order else row["book_id"] != "live")


def _positions(
    seen: Seen, key: DeskKey, source: Present | past.Past, query: DetailQuery, at: Moment, identity: UUID
) -> Sequence[Row]:
    asked = TradeQuery(common=query.common, only=identity)
    rows, _ = positions(seen, key, source, asked, at)
    return rows


def _own_message(row: Mapping[str, Any]) -> Document:
    proven_ts, proven_at = pair(row["proven_at"])
    return message(row) | {
        "action_id": row["action_id"],
        "channel_id": row["channel_id"],
        "wanted_version": row["wanted_version"],
        "posted_version": row["posted_version"],
        "proven_ts": proven_ts,
        "proven_at": proven_at,
    }


def _whole(rows: list[Row]) -> list[Row]:
    if len(rows) > VERSIONS_MAX:
        raise Rejected("too_many_versions", f"more than {VERSIONS_MAX} rows of history", field="include")
    return rows


def _rows(seen: Seen, name: str, row: Row, at: Moment) -> list[Row]:
    asked = {"as_of": at.as_of, "known_as_of": at.known_as_of, "limit": VERSIONS_MAX + 1}
    return _whole(seen.tx.query(QUERIES[name], book_id=row["book_id"], position_id=row["position_id"], **asked))


def _versions(seen: Seen, row: Row, at: Moment) -> list[Document]:
    return [
        {
            "action_id": str(one["action_id"]),
            "version": one["version"],
            "state": one["state"],
            **instants("known_from", one["known_from"]),
            # what replaced it later was not known at K
            **instants("known_to", None if one["known_to"] is None or one["known_to"] > at.known_as_of else one["known_to"]),
            "cause": one["cause"],
            "action_type": one["action_type"],
            **instants("", one["executed_at"]),
            "qty": text(one["quantity"]),
            "price": text(one["price"]),
            "value": text(one["value"]),
            "fees": text(one["fees"]),
            "pnl_realized": text(one["realized_pnl"]),
            "qty_after": text(one["position_quantity_after"]),
            "vwap_after": text(one["position_vwap_after"]),
            "realized_pnl_after": text(one["position_realized_pnl_after"]),
            "reason": one["reason"],
        }
        for one in _rows(seen, "versions", row, at)
    ]


def _evidence(seen: Seen, row: Row, at: Moment) -> list[Document]:
    return [
        {
            "action_id": str(one["action_id"]),
            "fill_id": str(one["fill_id"]),
            **{name: one[name] for name in _AS_TOLD},
            "qty": text(one["quantity"]),
            "price": text(one["price"]),
            "fees": text(one["fees"]),
            **instants("executed", one["executed_at"]),
            **instants("received", one["received_at"]),
            **instants("recorded", one["recorded_at"]),
        }
        for one in _rows(seen, "evidence", row, at)
    ]


_AS_TOLD = (
    "version source account_key source_id source_revision is_bust venue_order side fees_currency origin cause content_hash"
).split()
ROUTES: tuple[Route, ...] = (
    Route(
        path="/timed/ledger/trades/{trade_id}",
        purpose="One position with everything that is kept of it.",
        use_case=trade,
        answer=TradeDetail,
        parameters=(TRADE_ID, *DETAIL_PARAMETERS),
        sources=SOURCES | {Source.SIGNAL, Source.NOTIFY, Source.MINUTE},
    ),
)
