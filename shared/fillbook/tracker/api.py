"""The routes of the read API and of the page: each reads its parameters, asks one use case and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Request, Response

from fillbook.runtime.clock import Clock, real_epoch_seconds
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey, key_holder
from fillbook.runtime.errors import Rejected
from fillbook.runtime.http import Refusal, answer
from fillbook.tracker import (
    accounts,
    auditing,
    brokers,
    filters,
    health,
    lanes,
    linked_trades,
    page,
    published,
    stamps,
    syncing,
    trades,
)
from fillbook.tracker.model import single, trade_query
from fillbook.values import frozen

Handler = Callable[..., Response]
CLOCKS_APART_SECONDS_MAX = 2


def any_trade(db: Database, key: DeskKey, given: Mapping[str, list[str]], now: datetime, *, trade_id: str) -> dict[str, Any]:
    """One trade of whichever broker; ids of both are derived from content, so that no id is two trades."""
    identity = filters.path_uuid(trade_id, "trade_unknown")
    found = linked_trades.linked_trade(db, key, given, now, trade_id=identity)
    return brokers.broker_trade(db, key, given, now, trade_id=trade_id) if found is None else found


BROKER_ROUTES: Mapping[str, Callable[..., dict[str, Any]]] = {
    "/timed/audit": auditing.audit,
    "/api/v1/trades": lambda db, key, given, now: (
        linked_trades.linked_trades if filters.is_linked(given) else brokers.broker_trades
    )(db, key, given, now),
    "/api/v1/trades/{trade_id}": any_trade,
    "/api/v1/trades/{trade_id}/executions": brokers.broker_executions,
    "/api/v1/accounts": accounts.accounts,
    "/api/v1/accounts/{account}": accounts.account,
    "/api/v1/accounts/{account}/sync-runs": syncing.sync_runs,
    "/api/v1/sync/health": syncing.sync_health,
    "/api/v1/sync/coverage": syncing.sync_coverage,
}
PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept-Encoding"}


@frozen
class Desk:
    """What the routes need of their process: the database, the clock and the keys."""

    db: Database
    clock: Clock
    keys: tuple[DeskKey, ...]

    @property
    def is_simulated(self) -> bool:
        """Whether the desk clock shows another time than the wall."""
        return abs(self.clock.now().timestamp() - real_epoch_seconds()) > CLOCKS_APART_SECONDS_MAX


def routes(desk: Callable[[], Desk], static: Path) -> Mapping[str, Handler]:
    """Method and path -> handler; ``desk`` is called on the first request that needs it, never for a static file."""

    def read(use_case: Callable[..., dict[str, Any]]) -> Handler:
        def handler(request: Request, **path: str) -> Response:
            here = desk()
            now = here.clock.now()
            key = key_holder(request.headers.get("Authorization"), here.keys, now)
            return answer(200, use_case(here, key, request.args.to_dict(flat=False), now, **path), PRIVATE)

        return handler

    def conditional(route: str, use_case: Callable[..., dict[str, Any]]) -> Handler:
        """A read whose reader may hold the answer already: then nothing but the stamp is looked at."""
        reads = read(of_database(use_case))

        def handler(request: Request, **path: str) -> Response:
            here = desk()
            now = here.clock.now()
            key = key_holder(request.headers.get("Authorization"), here.keys, now)
            tag = stamps.etag(here.db, key, route, request.args.to_dict(flat=False), path, now)
            if tag is None:
                return reads(request, **path)
            known = request.if_none_match.contains_weak(tag)
            response = answer(304, None, PRIVATE) if known else reads(request, **path)
            response.set_etag(tag, weak=True)
            return response

        return handler

    def index(_request: Request, **_path: str) -> Response:
        return sent(page.find(static, page.INDEX))

    def asset(_request: Request, name: str) -> Response:
        if name == page.INDEX:
            raise Rejected("not_found", "the page is no asset", status=404)
        return sent(page.find(static, name))

    return {
        "GET /": index,
        "GET /app/{view}": index,
        "GET /app/{view}/{id}": index,
        "GET /assets/{name}": asset,
        "GET /favicon.ico": lambda _request: sent(page.icon(static)),
        "GET /robots.txt": lambda _request: Response("User-agent: *\nDisallow: /\n", mimetype="text/plain"),
        "GET /timed/trades": read(lambda here, key, given, now: trades.trades(here.db, key, trade_query(given), now)),
        "GET /timed/ledger/trades": read(lambda here, key, given, now: trades.flat_trades(here.db, key, trade_query(given), now)),
        "GET /timed/lanes": read(lambda here, key, given, now: lanes.lanes(here.db, key, given, now)),
        "GET /timed/health": read(condition),
        "GET /api/v1/snapshot": read(of_database(published.snapshot)),
        **{f"GET {path}": conditional(path, use_case) for path, use_case in BROKER_ROUTES.items()},
    }


def of_database(use_case: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A use case that asks the database only."""

    def asked(desk: Desk, key: DeskKey, given: Mapping[str, list[str]], now: datetime, **path: str) -> dict[str, Any]:
        return use_case(desk.db, key, given, now, **path)

    return asked


def condition(desk: Desk, key: DeskKey, given: Mapping[str, list[str]], now: datetime) -> dict[str, Any]:
    """The desk's health; it takes no parameters."""
    single(given, frozenset())
    return health.health(desk.db, key, now, is_simulated=desk.is_simulated)


def sent(file: page.File) -> Response:
    """A file of the page with its headers."""
    response = Response(file.content, content_type=file.content_type)
    response.headers.update({**page.HEADERS, "Cache-Control": file.cache_control})
    return response


def refuse(refusal: Refusal) -> dict[str, object]:
    """The error body of this API: code, a sentence that names the parameter, and the id that finds the log line."""
    message = refusal.reason.replace("_", " ") + (f": {refusal.field}" if refusal.field else "")
    return {"error": {"code": refusal.reason, "message": message, "request_id": refusal.request_id}}
