"""Who asks and what time it is: what a screen needs before its first question. Source: tracker.md 3."""

from __future__ import annotations

from datetime import datetime
from typing import Final, cast

from fillbook.calendar import NEW_YORK, calendar
from fillbook.calendar import Session as Hours
from fillbook.runtime.clock import real_epoch_seconds
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.sql import load_queries
from fillbook.tracker import built, store
from fillbook.tracker.model import single
from fillbook.tracker.route import Given, Route, Source
from fillbook.tracker.session_model import BookSeen, Exchange, ExchangeDay, KeySeen, Session
from fillbook.tracker.wire import answer, instants

QUERIES: Final = load_queries("fillbook.tracker", "session.sql")
CLOCKS_APART_SECONDS_MAX: Final = 2


def is_simulated(now: datetime) -> bool:
    """Whether the desk's clock shows another time than the wall."""
    return abs(now.timestamp() - real_epoch_seconds()) > CLOCKS_APART_SECONDS_MAX


def session(db: Database, key: DeskKey, given: Given, now: datetime) -> Session:
    """The key, its books, and the time at the desk and at the exchange."""
    single(given, frozenset())
    with store.look(db, key, None) as seen:
        rows = seen.tx.query(QUERIES["books"], tenant_id=key.tenant_id)
    visible = [row for row in rows if key.sees(row["book_id"])]
    found = answer(
        now,
        seen.recorded_at,
        seen.books,
        **instants("server", now),
        is_simulated=is_simulated(now),
        key=_key(key),
        visible=[
            BookSeen(
                book_id=row["book_id"], kind=row["kind"], currency=row["base_currency"], is_closed=row["closed_at"] is not None
            )
            for row in visible
        ],
        exchange=_exchange(now),
        versions={"build": built.build(), "api": built.API, "migration": built.MIGRATION},
    )
    return cast("Session", found)


def _key(key: DeskKey) -> KeySeen:
    told = {
        "id": key.id,
        "tenant_id": key.tenant_id,
        "scopes": sorted(key.scopes | ({"read"} if key.may("read") else set())),
        "books": list(key.books),
        **instants("expires", key.expires_at),
    }
    return cast("KeySeen", told)


def _exchange(now: datetime) -> Exchange:
    exchange = calendar()
    day = now.astimezone(NEW_YORK).date()
    today = exchange.session(day)
    return {
        "name": exchange.name,
        "time_zone": str(NEW_YORK),
        "phase": cast("Exchange", {"phase": exchange.phase(now)})["phase"],
        "trading_day": exchange.trading_day(now).isoformat(),
        "today": None if today is None else _hours(today),
        "last": _hours(exchange.last_finished(now)),
        "next": _hours(exchange.next_session(day)),
    }


def _hours(hours: Hours) -> ExchangeDay:
    told = {
        "date": hours.date.isoformat(),
        **instants("open", hours.open_at),
        **instants("close", hours.close_at),
        "is_half_day": hours.is_half_day,
    }
    return cast("ExchangeDay", told)


ROUTES: Final = (
    Route(
        path="/timed/session",
        purpose="The key that asks, its books, and the time at the desk and at the exchange.",
        use_case=session,
        answer=Session,
        sources=frozenset[Source](),
    ),
)
