"""Broker trades and their executions as the desk took them in: every row the broker told of, with what became of it.

Columns are those of ``ibkr.v_trades`` and ``ibkr.v_trade_executions``; broker ids are texts. A trade that was merged into
another one still answers and names its heir, which shows the user's words about both; hidden trades are left out of lists unless
they are asked for. Pages walk by (last execution, id): a trade that is executed while somebody
pages moves ahead of the cursor and is seen on the next look, never twice on this one. Source: ibkr.md 12.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Rejected
from fillbook.tracker import annotated, filters, paging, store
from fillbook.tracker.brokers_model import BrokerExecutions, BrokerTrades, OneBrokerTrade
from fillbook.tracker.model import single
from fillbook.tracker.route import Given, Route, Source
from fillbook.tracker.wire import answer, instants, text

Document = dict[str, Any]
EXECUTIONS_MAX = 5_000
_INSTANT = "_at"
_BROKER_IDS = frozenset(
    {
        "account_id",
        "ib_perm_id",
        "ib_order_id",
        "flex_order_id",
        "client_id",
        "conid",
        "transaction_id",
        "broker_trade_id",
    }
)
_INNER = frozenset({"sorted_at"})
_ENDS = frozenset({"requested_from", "requested_to", "covered_from", "covered_to"})


def broker_trades(db: Database, key: DeskKey, given: Given, now: datetime) -> BrokerTrades:
    """A page of broker trades, newest first; ``next_cursor`` is the cursor of the one after it, null on the last."""
    query = filters.broker_trades(given)
    with store.look(db, key, None) as seen:
        accounts = accounts_of(seen, query.account_id)
        rows = seen.tx.query(
            store.QUERIES["broker_trades"],
            accounts=list(accounts),
            status=query.status,
            symbol=query.symbol,
            executed_from=query.executed_from,
            executed_to=query.executed_to,
            include_merged=query.include_merged,
            include_hidden=query.include_hidden,
            tenant_id=key.tenant_id,
            after_at=None if query.after is None else query.after.at,
            after_id=None if query.after is None else query.after.id,
            limit=query.limit + 1,
        )
        shown = rows[: query.limit]
        words = annotated.of_trades(seen, key, [row["trade_id"] for row in shown], is_linked=False)
    has_more = len(rows) > query.limit
    last = paging.Place(at=shown[-1]["sorted_at"], id=shown[-1]["trade_id"]) if has_more else None
    found = answer(
        now,
        max((row["updated_at"] for row in shown), default=None),
        seen.books,
        count=len(shown),
        has_more=has_more,
        items=[told(row) | annotated.about_trade(words.get(row["trade_id"])) for row in shown],
        next_cursor=None if last is None else paging.written(last, query.question),
    )
    return cast("BrokerTrades", found)


def broker_trade(db: Database, key: DeskKey, given: Given, now: datetime, *, trade_id: str) -> OneBrokerTrade:
    """One trade with the keys that hold it together and the open anomalies about it or its rows; 404 ``trade_unknown``."""
    single(given, frozenset())
    with store.look(db, key, None) as seen:
        row = _trade(seen, trade_id)
        anomalies = seen.tx.query(store.QUERIES["broker_trade_anomalies"], trade_id=row["trade_id"], account_id=row["account_id"])
        words = annotated.of_trades(seen, key, [row["trade_id"]], is_linked=False).get(row["trade_id"])
    more = {"keys": row["keys"], "anomalies": [told(one) for one in anomalies]}
    trade = told(row) | annotated.about_trade(words) | more
    return cast("OneBrokerTrade", answer(now, row["updated_at"], seen.books, trade=trade))


def broker_executions(db: Database, key: DeskKey, given: Given, now: datetime, *, trade_id: str) -> BrokerExecutions:
    """All rows of a trade by (executed_at, ib_exec_id); what the broker wrote (``include=raw``) needs an admin key, 403."""
    query = filters.executions(given)
    if "raw" in query.parts and not key.may("admin"):
        raise Rejected("forbidden", f"key {key.id} lacks admin", status=403)
    with store.look(db, key, None) as seen:
        trade = _trade(seen, trade_id)
        rows = seen.tx.query(
            store.QUERIES["broker_executions"],
            trade_id=trade["trade_id"],
            account_id=trade["account_id"],
            is_canonical=query.is_canonical,
            limit=EXECUTIONS_MAX + 1,
        )
        shown = rows[:EXECUTIONS_MAX]
        names = [row["ib_exec_id"] for row in shown] if query.parts else []
        texts = seen.tx.query(store.QUERIES["broker_texts"], account_id=trade["account_id"], ib_exec_ids=names) if names else []
    items = [_execution(row, query.parts, texts) for row in shown]
    found = answer(
        now,
        max((row["updated_at"] for row in shown), default=None),
        seen.books,
        count=len(items),
        has_more=len(rows) > EXECUTIONS_MAX,
        trade_id=trade["trade_id"],
        merged_into=trade["merged_into"],
        items=items,
    )
    return cast("BrokerExecutions", found)


def _execution(row: Mapping[str, Any], parts: frozenset[str], texts: Sequence[Mapping[str, Any]]) -> Document:
    document = told(row)
    payload_hash = document.pop("payload_hash")
    own = [one for one in texts if one["ib_exec_id"] == row["ib_exec_id"]] if parts else []
    if "raw" in parts:
        document["raw"] = next((one["raw"] for one in own if one["payload_hash"] == payload_hash), None)
    if "history" in parts:
        left_out = () if "raw" in parts else ("raw",)
        document["history"] = [told({name: value for name, value in one.items() if name not in left_out}) for one in own]
    return document


def _trade(seen: store.Seen, text_id: str) -> store.Row:
    identity = filters.path_uuid(text_id, "trade_unknown")
    rows = seen.rows("broker_trade", trade_id=identity)
    if not rows:
        raise Rejected("trade_unknown", "no such trade for this key", status=404)
    return rows[0]


def accounts_of(seen: store.Seen, account_id: int | None) -> dict[int, store.Row]:
    """The accounts of the reader's books by id, or the one asked for; 404 ``account_unknown``."""
    found = {row["account_id"]: row for row in seen.rows("broker_accounts")}
    if account_id is None:
        return found
    if account_id not in found:
        raise Rejected("account_unknown", "no such account for this key", field="account_id", status=404)
    return {account_id: found[account_id]}


def told(row: Mapping[str, Any]) -> Document:
    """A row of the room's views on the wire: instants as pairs, decimals as text, broker ids as text, unknown as null."""
    document: Document = {}
    for name, value in row.items():
        if name.endswith(_INSTANT) or name in _ENDS:
            document |= {} if name in _INNER else instants(name.removesuffix(_INSTANT), value)
        elif name in _BROKER_IDS:
            document[name] = None if value is None else str(value)
        elif isinstance(value, Decimal):
            document[name] = text(value)
        elif isinstance(value, UUID):
            document[name] = str(value)
        elif isinstance(value, date):
            document[name] = value.isoformat()
        elif name != "keys":
            document[name] = value
    return document


ROUTES: tuple[Route, ...] = (
    Route(
        path="/api/v1/trades/{trade_id}/executions",
        purpose="The executions of an IBKR trade, superseded and voided ones too.",
        use_case=broker_executions,
        answer=BrokerExecutions,
        parameters=(filters.TRADE_ID, *filters.EXECUTION_PARAMETERS),
        sources=frozenset({Source.IBKR}),
    ),
)
