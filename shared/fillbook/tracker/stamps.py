"""Whether anything behind an answer has changed: one cheap look that makes the ETag, taken before the answer is read.

A stamp that is older than the answer it goes with is harmless (the next reader is sent the answer again); the other way round
would hide a change, hence the order. So far for reads of linked MT5 accounts alone, every row of which changes with its account.
What depends on the time (lateness, counts of a day) is asked anew once a minute. Source: tracker.md 2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import encode
from fillbook.tracker import filters, linked, store
from fillbook.values import frozen

SHAPE = 1
"""Rises when answers look otherwise: readers must not keep the old ones."""
MINUTE_SECONDS = 60
TRADES, TRADE = "/api/v1/trades", "/api/v1/trades/{trade_id}"
ACCOUNTS, ACCOUNT, RUNS = "/api/v1/accounts", "/api/v1/accounts/{account}", "/api/v1/accounts/{account}/sync-runs"


@frozen
class Scope:
    """Which accounts an answer is about: all of the tenant, one, or that of a trade. ``is_timed``: the time is a part of it."""

    account_id: UUID | None = None
    trade_id: UUID | None = None
    is_timed: bool = False


def scope_of(route: str, given: Mapping[str, list[str]], path: Mapping[str, str]) -> Scope | None:
    """What a request is about, where it is about linked accounts alone; None: it has no ETag."""
    try:
        if route == TRADES:
            return Scope() if filters.is_linked(given) else None
        if route == TRADE:
            return Scope(trade_id=filters.path_uuid(path["trade_id"], "trade_unknown"))
        if route == ACCOUNTS:
            return Scope(is_timed=True) if given.get("platform") == ["mt5"] else None
        if route in (ACCOUNT, RUNS):
            account = filters.path_account(path["account"])
            return Scope(account_id=account, is_timed=route == ACCOUNT) if isinstance(account, UUID) else None
    except Rejected:
        return None  # refused in its own words by whoever answers
    return None


def etag(
    db: Database, key: DeskKey, route: str, given: Mapping[str, list[str]], path: Mapping[str, str], now: datetime
) -> str | None:
    """The weak tag's opaque text of an answer as it would be now; None: there is none to be had for it."""
    scope = scope_of(route, given, path)
    if scope is None:
        return None
    with db.transaction(read_only=True, isolation="repeatable read", tenant_id=key.tenant_id) as tx:
        (row,) = tx.query(
            linked.QUERIES["linked_stamp"], tenant_id=key.tenant_id, account_id=scope.account_id, trade_id=scope.trade_id
        )
        books = tx.query(store.QUERIES["books"], tenant_id=key.tenant_id, books=None)
    if not row["accounts"]:
        return None
    told = {
        "shape": SHAPE,
        "route": route,
        "given": {name: given[name] for name in sorted(given)},
        "path": dict(path),
        "key": [key.id, key.tenant_id, sorted(key.books), sorted(key.scopes)],
        "accounts": row["accounts"],
        "updated": [row["last_at"], row["sum_at"]],
        "books": sorted([one["book_id"], one["seq"]] for one in books if key.sees(one["book_id"])),
        "minute": int(now.timestamp()) // MINUTE_SECONDS if scope.is_timed else None,
    }
    return hashlib.sha256(encode(told).encode()).hexdigest()[:32]
