"""The read API whole and the page: the operations of all nouns in one table, each behind its key, and the static files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flask import Request, Response

from fillbook.runtime.clock import Clock
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey, key_holder
from fillbook.runtime.http import Refusal, answer, parse_json_object, read_body
from fillbook.tracker import (
    accounts,
    activity,
    annotations,
    auditing,
    brokers,
    executions,
    exports,
    figures,
    health,
    lanes,
    linked_trades,
    marks,
    page,
    portfolio,
    published,
    session,
    stamps,
    syncing,
    trade_detail,
    trades,
    why,
)
from fillbook.tracker.route import Download, Route, Sent
from fillbook.values import frozen

Handler = Callable[..., Response]
BODY_BYTES_MAX = 65_536
PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept-Encoding"}


# operations whose nouns have no ROUTES of their own yet
PRESENT: tuple[Route, ...] = (
    Route(path="/timed/lanes", purpose="The board.", use_case=lanes.lanes, answer=dict),
)
ROUTES: tuple[Route, ...] = (
    *PRESENT,
    *trades.ROUTES,
    *trade_detail.ROUTES,
    *executions.ROUTES,
    *exports.ROUTES,
    *annotations.ROUTES,
    *linked_trades.ROUTES,
    *brokers.ROUTES,
    *accounts.ROUTES,
    *syncing.ROUTES,
    *figures.ROUTES,
    *portfolio.ROUTES,
    *activity.ROUTES,
    *why.ROUTES,
    *marks.ROUTES,
    *session.ROUTES,
    *auditing.ROUTES,
    *health.ROUTES,
    *published.ROUTES,
)


@frozen
class Desk:
    """What the routes need of their process: the database, the clock and the keys."""

    db: Database
    clock: Clock
    keys: tuple[DeskKey, ...]


def routes(desk: Callable[[], Desk], static: Path) -> Mapping[str, Handler]:
    """Method and path -> handler; ``desk`` is called on the first request that needs it, never for a static file."""

    def index(_request: Request, **_path: str) -> Response:
        return sent(page.find(static, page.INDEX))

    def asset(_request: Request, name: str) -> Response:
        return sent(page.find(static, name))

    return {
        "GET /": index,
        "GET /app/{view}": index,
        "GET /assets/{name}": asset,
        "GET /robots.txt": lambda _request: Response("User-agent: *\nDisallow: /\n", mimetype="text/plain"),
        **{route.operation: operation(route, desk) for route in ROUTES},
    }


def operation(route: Route, desk: Callable[[], Desk]) -> Handler:
    """Return the handler of a route: key, then whether the reader holds the answer already, then the answer."""

    def handler(request: Request, **path: str) -> Response:
        here = desk()
        now = here.clock.now()
        key = key_holder(request.headers.get("Authorization"), here.keys, now, scope=route.scope)
        given = request.args.to_dict(flat=False)
        tag = stamps.etag(here.db, key, route.path, given, path, now) if route.method == "GET" else None
        if tag is not None and request.if_none_match.contains_weak(tag):
            response = answer(304, None, PRIVATE)
        else:
            response = _answered(route, route.use_case(getattr(here, route.asks), key, given, now, **_more(route, request), **path))
        if tag is not None:
            response.set_etag(tag, weak=True)
        return response

    return handler


def _more(route: Route, request: Request) -> dict[str, Sent]:
    if route.method == "GET":
        return {}
    body = parse_json_object(read_body(request, BODY_BYTES_MAX))
    headers = {one.name: request.headers[one.name] for one in route.headers if one.name in request.headers}
    return {"sent": Sent(body=body, headers=headers, request_id=request.environ["fillbook.request_id"])}


def _answered(route: Route, told: Mapping[str, Any] | Download) -> Response:
    if not isinstance(told, Download):
        return answer(route.status, told, PRIVATE)
    response = Response(told.pieces, status=route.status, content_type=told.content_type)
    response.headers.update(PRIVATE)
    response.headers["Content-Disposition"] = f'attachment; filename="{told.file_name}"'
    return response


def sent(file: page.File) -> Response:
    """A file of the page with its headers."""
    response = Response(file.content, content_type=file.content_type)
    response.headers.update(page.HEADERS)
    return response


def refuse(refusal: Refusal) -> dict[str, object]:
    """The error body of this API: code, a sentence that names the parameter, and the id that finds the log line."""
    message = refusal.reason.replace("_", " ") + (f": {refusal.field}" if refusal.field else "")
    return {"error": {"code": refusal.reason, "message": message, "request_id": refusal.request_id}}
