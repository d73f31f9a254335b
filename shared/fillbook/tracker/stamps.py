"""Whether anything behind an answer has changed: one cheap look that makes the ETag, taken before the answer is read.

A stamp that is older than the answer it goes with is harmless (the next reader is sent the answer again); the other way round
would hide a change, hence the order. A stamp is made of the route, what was asked, what the key may see, and what each of the
route's sources says of itself (``stamps.sql``). Marks come with receipts, which give their ticker another version; what is asked
anew, a message, waits in the outbox first. What depends on the time (lateness, counts of a day) is asked anew once a minute. Of
linked MT5 accounts one alone is looked at where the path names it or its trade. Source: tracker.md 2; decision 0046.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.sql import load_queries
from fillbook.tracker.model import BOOKS_MAX
from fillbook.tracker.parameter import names
from fillbook.tracker.route import Given, Route, Source

QUERIES = load_queries("fillbook.tracker", "stamps.sql")
SHAPE = 2
"""Rises when answers look otherwise: readers must not keep the old ones."""
MINUTE_SECONDS = 60
ROOMS: Mapping[str, frozenset[Source]] = {
    "ledger": frozenset({Source.LEDGER}),
    "signal": frozenset({Source.SIGNAL, Source.MARKS}),
    "ibkr": frozenset({Source.IBKR}),
    "mt5": frozenset({Source.MT5}),
    "notify": frozenset({Source.NOTIFY}),
    "metrics": frozenset({Source.METRICS}),
    "replay": frozenset({Source.REPLAY}),
    "outbox": frozenset({Source.OUTBOX, Source.NOTIFY}),
    "annotations": frozenset({Source.ANNOTATIONS}),
}
"""What is looked at, and for which sources."""


def etag(db: Database, key: DeskKey, route: Route, given: Given, path: Mapping[str, str], now: datetime) -> str:
    """The weak tag's opaque text of an answer of a route with sources, as it would be now."""
    with db.transaction(read_only=True, isolation="repeatable read", tenant_id=key.tenant_id) as tx:
        (row,) = tx.query(QUERIES["stamps"], **asked(route, given, path, key.tenant_id))
    seen = {name: [one for one in row[name] or () if key.sees(one[0])] for name in ("books", "signal")}
    told = {
        "shape": SHAPE,
        "route": route.operation,
        "given": {name: given[name] for name in sorted(given)},
        "path": dict(path),
        "key": [key.tenant_id, sorted(key.books), sorted(key.scopes)],
        "rooms": {name: value for name, value in row.items() if name not in seen} | seen,
        "minute": minute(now) if Source.MINUTE in route.sources else None,
    }
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def minute(now: datetime) -> int:
    """The minute of an instant, counted from the epoch."""
    return int(now.timestamp()) // MINUTE_SECONDS


def asked(route: Route, given: Given, path: Mapping[str, str], tenant_id: str) -> dict[str, Any]:
    """The parameters of the look."""
    return {
        "tenant_id": tenant_id,
        "books": _books(given),
        "replays": "books" not in names(route.parameters),
        "account_id": _uuid(path.get("account")),
        "trade_id": _uuid(path.get("trade_id")),
        **{name: bool(sources & route.sources) for name, sources in ROOMS.items()},
    }


def _books(given: Given) -> list[str] | None:
    """The books that were asked for; None: all of the key. What is not understood is refused by whoever answers."""
    wanted = (given.get("books") or ["all"])[0].split(",")
    return None if wanted == ["all"] else [one for one in wanted[:BOOKS_MAX] if one.isprintable()]


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text is not None and len(text) == 36 else None
    except ValueError:
        return None
