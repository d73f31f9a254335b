"""Trades of linked MT5 accounts, newest first by when they were opened.

Columns are those of ``mt5.account_trades``, with masked logins; tickets and position ids are texts. A trade whose opening is
not known comes last. One that is told another opening while somebody pages, because its deals arrive after its snapshot, may
move; all others are seen once, whatever is opened meanwhile. Source: tracker.md 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.tracker import filters, linked, paging, store
from fillbook.tracker.brokers import told
from fillbook.tracker.wire import answer

Document = dict[str, Any]
_INNER = frozenset({"login_number", "account_name"})


def linked_trades(db: Database, key: DeskKey, given: Mapping[str, list[str]], now: datetime) -> Document:
    """A page of trades; ``next`` is the cursor of the one after it, null on the last."""
    query = filters.linked_trades(given)
    with store.look(db, key, None) as seen:
        accounts = linked.own(seen, key, now, query.account_id)
        places = _page(seen, key, query, accounts)
        shown, has_more = places[: query.limit], len(places) > query.limit
        ids = [place.id for place in shown]
        rows = seen.tx.query(linked.QUERIES["linked_trades"], tenant_id=key.tenant_id, ids=ids) if ids else []
    found = {row["trade_id"]: row for row in rows}
    return answer(
        now,
        max((row["updated_at"] for row in rows), default=None),
        seen.books,
        count=len(ids),
        has_more=has_more,
        items=[_trade(found[one]) for one in ids],
        next=paging.written(shown[-1], query.filters) if has_more else None,
    )


def _page(seen: store.Seen, key: DeskKey, query: filters.LinkedTradeQuery, accounts: Sequence[UUID]) -> list[paging.Place]:
    """Where the trades of a page stand, and one more if there are more."""
    only = accounts[0] if len(accounts) == 1 else None
    is_live = query.status in ("open", "close_pending")
    rows = seen.tx.query(
        linked.QUERIES["linked_live_page" if is_live else "linked_page"],
        tenant_id=key.tenant_id,
        accounts=list(accounts),
        status=query.status,
        symbol=query.symbol,
        after_at=None if query.after is None else query.after.at,
        after_id=None if query.after is None else query.after.id,
        limit=query.limit + 1,
        **({} if is_live else {"account_id": only}),
    )
    return [paging.Place(at=row["sorted_at"], id=row["id"]) for row in rows]


def _trade(row: Mapping[str, Any]) -> Document:
    document = told({name: value for name, value in row.items() if name not in _INNER})
    return document | {"label": linked.label(row), "login_masked": linked.masked(row["login_number"])}
