"""Executions by themselves, newest first, across positions: what a fill did, as executed, as known at a moment.

Now and another moment are read by one statement. The first page fixes what is known and its cursor carries it.
Source: tracker.md 2, 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from fillbook.ledger.moment import Moment
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.sql import counted
from fillbook.tracker import paging, past
from fillbook.tracker.present import QUERIES, after
from fillbook.tracker.route import Given, Route, Source
from fillbook.tracker.store import Row, Seen
from fillbook.tracker.trade_query import ACTION_PARAMETERS, ActionQuery, action_query
from fillbook.tracker.trades import reason_text
from fillbook.tracker.trades_model import Actions
from fillbook.tracker.wire import answer, pair

Document = dict[str, Any]
COUNTED = counted(QUERIES["executions"])


def actions(db: Database, key: DeskKey, given: Given, now: datetime) -> Actions:
    """A page of executions."""
    query = action_query(given)
    with past.look(db, key, query.common, now) as (seen, at, _):
        rows, has_more = chosen(seen, query, at)
    page = answer(
        at,
        seen.recorded_at,
        seen.books,
        count=len(rows),
        has_more=has_more,
        next_cursor=query.common.cursor(place_of(rows[-1]), at.known_as_of) if has_more else None,
        actions=[execution(row) for row in rows],
    )
    return cast("Actions", page)


def chosen(seen: Seen, query: ActionQuery, at: Moment) -> tuple[list[Row], bool]:
    """The rows of a page and whether there are more."""
    limit = query.common.limit
    rows = seen.tx.shown(QUERIES["executions"], limit=limit + 1, **_asked(seen, query, at))
    return rows[:limit], len(rows) > limit


def ahead(seen: Seen, query: ActionQuery, at: Moment) -> None:
    """Let the server begin with the page that is chosen next."""
    seen.tx.ahead(QUERIES["executions"], limit=query.common.limit + 1, **_asked(seen, query, at))


def count(seen: Seen, query: ActionQuery, at: Moment, limit: int) -> int:
    """How many executions the list has, ``limit`` at most."""
    (row,) = seen.tx.query(COUNTED, limit=limit, **_asked(seen, query, at))
    return int(row["count"])


def _asked(seen: Seen, query: ActionQuery, at: Moment) -> dict[str, object]:
    return {
        "books": seen.book_ids,
        "as_of": at.as_of,
        "known_as_of": at.known_as_of,
        "since": query.common.since,
        "until": query.common.until,
        "ticker": query.ticker,
        "action_type": query.action_type,
        "position_id": query.position_id,
        **after(query.common.place),
    }


def place_of(row: Mapping[str, Any]) -> paging.Place:
    """Where an execution stands in the list."""
    return paging.Place(at=datetime.fromisoformat(row["executed_at"]), id=UUID(row["action_id"]), book_id=row["book_id"])


def execution(row: Mapping[str, Any]) -> Document:
    """An execution on the wire."""
    ts, at = pair(row["executed_at"])
    recorded_ts, recorded_at = pair(row["known_from"])
    return {
        "action_id": row["action_id"],
        "version": row["version"],
        "book_id": row["book_id"],
        "position_id": row["position_id"],
        "ticker": row["ticker"],
        "direction": row["direction"],
        "ts": ts,
        "at": at,
        "session_date": row["session_date"],
        "action_type": row["action_type"],
        "qty": row["quantity"],
        "price": row["price"],
        "value": row["value"],
        "fees": row["fees"],
        "cash_effect": row["cash_effect"],
        "currency": row["currency"],
        "pnl_realized": row["realized_pnl"],
        "qty_after": row["position_quantity_after"],
        "vwap_after": row["position_vwap_after"],
        "cost_basis_after": row["position_cost_basis_after"],
        "realized_pnl_after": row["position_realized_pnl_after"],
        "is_flat_after": row["is_flat_after"],
        "reason": row["reason"],
        "reason_text": reason_text(row["reason"]),
        "origin": row["origin"],
        "recorded_ts": recorded_ts,
        "recorded_at": recorded_at,
    }


ROUTES: tuple[Route, ...] = (
    Route(
        path="/timed/ledger/actions",
        purpose="Executions, newest first.",
        use_case=actions,
        answer=Actions,
        parameters=ACTION_PARAMETERS,
        sources=frozenset({Source.LEDGER}),
    ),
)
