"""The read API whole and the page: the operations of all nouns in one table, each behind its key, and the static files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Request, Response

from fillbook.runtime.bodies import parse_json_object, read_body
from fillbook.runtime.clock import Clock, clock_for
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey, desk_keys, key_holder
from fillbook.runtime.errors import Rejected
from fillbook.runtime.http import Refusal, answer
from fillbook.tracker import (
    accounts,
    activity,
    admin,
    auditing,
    brokers,
    comparisons,
    cost,
    executions,
    exports,
    figures,
    health,
    lanes,
    linked_trades,
    marks,
    messages,
    page,
    portfolio,
    published,
    replays,
    session,
    stamps,
    syncing,
    trade_detail,
    trades,
    why,
)
from fillbook.tracker.annotations import ROUTES as ANNOTATIONS
from fillbook.tracker.dressing import reads_gzip
from fillbook.tracker.limits import Limits, network
from fillbook.tracker.model import single
from fillbook.tracker.route import Download, Given, Route, Sent
from fillbook.tracker.settings import TradeTrackerConfig
from fillbook.tracker.shared import Answers, Body, packed
from fillbook.tracker.wire import written
from fillbook.values import frozen

Handler = Callable[..., Response]
BODY_BYTES_MAX = 262_144  # the longest notes, each character escaped as two halves
URL_BYTES_MAX = 3_000
"""The server before us cuts a request line off at 4,094 bytes, with an answer that is not ours."""
PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept-Encoding"}


def described(_db: Database, _key: DeskKey, given: Given, _now: datetime) -> Mapping[str, Any]:
    """The OpenAPI document of all routes, made once per process."""
    single(given, frozenset())
    return _document()


@functools.cache
def _document() -> Mapping[str, Any]:
    from fillbook.tracker import openapi  # costs a start what one reader in a thousand asks for

    return openapi.document(ROUTES)


ROUTES: tuple[Route, ...] = (
    Route(path="/openapi.json", purpose="This document.", use_case=described, answer=dict[str, Any]),
    *trades.ROUTES,
    *trade_detail.ROUTES,
    *executions.ROUTES,
    *exports.ROUTES,
    *lanes.ROUTES,
    *ANNOTATIONS,
    *messages.ROUTES,
    *replays.ROUTES,
    *comparisons.ROUTES,
    *admin.ROUTES,
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
    *cost.ROUTES,
    *published.ROUTES,
)


@frozen
class Desk:
    """What the routes need of their process: the database, the clock, the keys, how often they may ask, the answers that others
    were sent, and who does what an admin asks for.
    """

    db: Database
    clock: Clock
    keys: tuple[DeskKey, ...]
    limits: Limits
    answers: Answers
    admin: admin.Admin


def desk_for(config: TradeTrackerConfig, db: Database, owners: admin.Owners) -> Desk:
    """What a process needs; nothing is connected yet."""
    return Desk(
        db=db,
        clock=clock_for(config),
        keys=desk_keys(config.desk_keys.get_secret_value()),
        limits=Limits(config.desk_rate_factor, config.desk_failed_keys_max),
        answers=Answers(),
        admin=admin.Admin(db=db, owners=owners),
    )


def routes(desk: Callable[[], Desk], static: Path) -> Mapping[str, Handler]:
    """Method and path -> handler; ``desk`` is called on the first request that needs it, never for a static file."""

    def file(place: str) -> Handler:
        return lambda request, **_path: sent(request, page.find(static, place))

    def asset(request: Request, name: str) -> Response:
        return sent(request, page.find(static, f"{page.ASSETS}/{name}"))

    return {
        "GET /": file(page.INDEX),
        "GET /app/{view:path}": file(page.INDEX),
        "GET /assets/{name:path}": asset,
        "GET /favicon.ico": file(page.ICON),
        "GET /robots.txt": lambda _request: Response("User-agent: *\nDisallow: /\n", mimetype="text/plain"),
        **{route.operation: operation(route, desk) for route in ROUTES},
    }


def operation(route: Route, desk: Callable[[], Desk]) -> Handler:
    """Return the handler of a route: who asks and how often, whether the reader holds the answer already, then the answer."""

    def handler(request: Request, **path: str) -> Response:
        if len(request.path.encode()) + len(request.query_string) > URL_BYTES_MAX:
            raise Rejected("uri_too_long", status=414)
        here = desk()
        now = here.clock.now()
        key = admitted(here, request, route, now)
        given = request.args.to_dict(flat=False)
        if not route.sources:
            return _answered(route, route.use_case(getattr(here, route.asks), key, given, now, **_more(route, request), **path))
        tag = stamps.etag(here.db, key, route, given, path, now)

        def made() -> Body:
            return packed(written(route.use_case(here.db, key, given, now, **path)))

        if request.if_none_match.contains_weak(tag):
            response = answer(304, None, PRIVATE)
        else:
            response = _shared(request, here.answers.of(f"{tag} {stamps.minute(now)}", made))
        response.set_etag(tag, weak=True)
        return response

    return handler


def admitted(here: Desk, request: Request, route: Route, now: datetime) -> DeskKey:
    """The key of a request that may ask this now; ``Rejected`` 401, 403 or 429, ``Unavailable`` where none is configured.

    The address is the last that was written down on the way here: by the cloud's own front, whatever a caller says before it.
    """
    address = network((request.access_route or ["unknown"])[-1])
    here.limits.failed_keys.check(address)
    authorization = request.headers.get("Authorization")
    try:
        key = key_holder(authorization, here.keys, now)
    except Rejected as refusal:
        if refusal.status == 401 and authorization is not None:
            here.limits.failed_keys.count(address)
        raise
    here.limits.take(key.id, route.weight)
    if not key.may(route.scope):
        raise Rejected("forbidden", f"key {key.id} lacks {route.scope}", status=403)
    return key


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


def _shared(request: Request, body: Body) -> Response:
    is_packed = body.is_packed and reads_gzip(request)
    response = Response(body.content if is_packed else body.plain, content_type="application/json")
    response.headers.update(PRIVATE)
    if is_packed:
        response.headers["Content-Encoding"] = "gzip"
    return response


def sent(request: Request, file: page.File) -> Response:
    """A file of the page, or that its reader holds it already."""
    if request.if_none_match.contains_weak(file.tag):
        response = answer(304)
    else:
        response = Response(file.packed if reads_gzip(request) else file.content, content_type=file.content_type)
        if reads_gzip(request):
            response.headers["Content-Encoding"] = "gzip"
    response.headers["Cache-Control"] = file.cache_control
    response.vary.add("Accept-Encoding")
    response.set_etag(file.tag, weak=True)
    return response


def refuse(refusal: Refusal) -> dict[str, object]:
    """The error body of this API: code, a sentence that names the parameter, and the id that finds the log line."""
    message = refusal.reason.replace("_", " ") + (f": {refusal.field}" if refusal.field else "")
    return {"error": {"code": refusal.reason, "message": message, "request_id": refusal.request_id}}
