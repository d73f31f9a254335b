"""Trades of linked MT5 accounts, newest first by when they were opened.

Columns are those of ``mt5.account_trades``, with masked logins; tickets and position ids are texts. A trade whose opening is
not known comes last. One that is told another opening while somebody pages, because its deals arrive after its snapshot, may
move; all others are seen once, whatever is opened meanwhile. Source: tracker.md 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from fillbook.mt5.deals import Stored
from fillbook.mt5.episodes import Leg, episodes
from fillbook.mt5.model import Deal
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.tracker import annotated, filters, linked, paging, store
from fillbook.tracker.brokers import broker_trade, broker_trades, told
from fillbook.tracker.brokers_model import BrokerTrades, OneBrokerTrade
from fillbook.tracker.model import single
from fillbook.tracker.route import Given, Route, Source
from fillbook.tracker.wire import answer, instants, text

Document = dict[str, Any]
DEALS_MAX = 5_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INNER = frozenset({"login_number", "account_name"})
_OF_DEAL = (
    "deal_ticket",
    "position_id",
    "order_id",
    "deal_type",
    "entry",
    "reason",
    "symbol",
    "volume",
    "price",
    "profit",
    "commission",
    "swap",
    "fee",
    "magic",
    "comment",
    "external_id",
)


def linked_trades(db: Database, key: DeskKey, given: Given, now: datetime) -> BrokerTrades:
    """A page of trades; ``next_cursor`` is the cursor of the one after it, null on the last."""
    query = filters.linked_trades(given)
    with store.look(db, key, None) as seen:
        accounts = linked.own(seen, key, now, query.account_id)
        places = _page(seen, key, query, accounts)
        shown, has_more = places[: query.limit], len(places) > query.limit
        ids = [place.id for place in shown]
        rows = seen.tx.query(linked.QUERIES["linked_trades"], tenant_id=key.tenant_id, ids=ids) if ids else []
        words = annotated.of_trades(seen, key, ids, is_linked=True)
    found = {row["trade_id"]: row for row in rows}
    page = answer(
        now,
        max((row["updated_at"] for row in rows), default=None),
        seen.books,
        count=len(ids),
        has_more=has_more,
        items=[_trade(found[one]) | annotated.about_trade(words.get(one)) for one in ids],
        next_cursor=paging.written(shown[-1], query.question) if has_more else None,
    )
    return cast("BrokerTrades", page)


def linked_trade(db: Database, key: DeskKey, given: Given, now: datetime, *, trade_id: UUID) -> OneBrokerTrade | None:
    """One trade with the deals behind it, in their order; None: this key has no such trade of a linked account.

    A deal that reversed a netting position belongs to two trades, to each with its part of volume and costs.
    """
    single(given, frozenset())
    with store.look(db, key, None) as seen:
        rows = seen.tx.query(linked.QUERIES["linked_trades"], tenant_id=key.tenant_id, ids=[trade_id])
        rows = [row for row in rows if key.sees(row["book_id"])]
        if not rows:
            return None
        (row,) = rows
        found = seen.tx.query(
            linked.QUERIES["linked_deals"],
            tenant_id=key.tenant_id,
            account_id=row["account_id"],
            position_id=row["position_id"],
            limit=DEALS_MAX + 1,
        )
        words = annotated.of_trades(seen, key, [trade_id], is_linked=True).get(trade_id)
    deals = _deals(found[:DEALS_MAX], row["episode"])
    whole = _trade(row) | annotated.about_trade(words) | {"deals": deals, "has_more_deals": len(found) > DEALS_MAX}
    return cast("OneBrokerTrade", answer(now, row["updated_at"], seen.books, trade=whole))


def _deals(rows: Sequence[Mapping[str, Any]], number: int) -> list[Document]:
    """What each deal did to one life of its position. The server's clock orders them; only its repeated hour could not."""
    stored = [
        Stored(
            deal=Deal(time_msc=row["time_server_msc"], extra={}, **{name: row[name] for name in _OF_DEAL}),
            revision=row["revision"],
            withdrawn=row["withdrawn"],
            first_read_at=row["recorded_at"],
        )
        for row in rows
    ]
    digits = rows[0]["currency_digits"] if rows else 0
    lives = episodes(stored, lambda msc, _ticket: _EPOCH + timedelta(milliseconds=msc), digits)
    return [_deal(leg) for life in lives if life.number == number for leg in life.legs]


def _deal(leg: Leg) -> Document:
    deal = leg.deal
    figures = {name: text(getattr(leg, name)) for name in ("volume", "profit", "commission", "swap", "fee", "net")}
    return {
        "deal_ticket": str(deal.deal_ticket),
        "order_id": str(deal.order_id),
        "position_id": str(deal.position_id),
        "part": leg.part,
        "effect": leg.effect.name.lower(),
        "server_time": linked.server_time(deal.time_msc),
        "deal_type": deal.deal_type,
        "entry": deal.entry,
        "reason": deal.reason,
        "symbol": deal.symbol,
        "price": text(deal.price),
        **figures,
        "is_certain": leg.is_certain,
        "comment": deal.comment,
        "external_id": deal.external_id,
        "magic": None if deal.magic is None else str(deal.magic),
        "revision": leg.stored.revision,
        **instants("recorded", leg.stored.first_read_at),
    }


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
        include_hidden=query.include_hidden,
        after_at=None if query.after is None else query.after.at,
        after_id=None if query.after is None else query.after.id,
        limit=query.limit + 1,
        **({} if is_live else {"account_id": only}),
    )
    return [paging.Place(at=row["sorted_at"], id=row["id"]) for row in rows]


def _trade(row: Mapping[str, Any]) -> Document:
    document = told({name: value for name, value in row.items() if name not in _INNER})
    return document | {"label": linked.label(row), "login_masked": linked.masked(row["login_number"])}


def any_trades(db: Database, key: DeskKey, given: Given, now: datetime) -> BrokerTrades:
    """A page of the trades of one platform."""
    return (linked_trades if filters.is_linked(given) else broker_trades)(db, key, given, now)


def any_trade(db: Database, key: DeskKey, given: Given, now: datetime, *, trade_id: str) -> OneBrokerTrade:
    """One trade of whichever broker; ids of both are derived from content, so that no id is two trades."""
    identity = filters.path_uuid(trade_id, "trade_unknown")
    found = linked_trade(db, key, given, now, trade_id=identity)
    return broker_trade(db, key, given, now, trade_id=trade_id) if found is None else found


SOURCES = frozenset({Source.IBKR, Source.MT5, Source.ANNOTATIONS})
ROUTES: tuple[Route, ...] = (
    Route(
        path="/api/v1/trades",
        purpose="Broker trades of one platform, newest first.",
        use_case=any_trades,
        answer=BrokerTrades,
        parameters=filters.TRADE_PARAMETERS,
        sources=SOURCES,
    ),
    Route(
        path="/api/v1/trades/{trade_id}",
        purpose="One broker trade with what holds it together.",
        use_case=any_trade,
        answer=OneBrokerTrade,
        parameters=(filters.TRADE_ID,),
        sources=SOURCES,
    ),
)
