"""The routes of ``snapshot_api``: who calls, what comes or is asked, one use case, one answer.

A publisher shows the internal token and is never answered across origins; readers show a key and may ask from pages of the
origins that are configured. The order of the checks is the protection: who is unknown costs no reading of a body, what is not
signed no parsing.
Source: snapshot specification, 5.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from typing import Any, Final

from flask import Request, Response

from fillbook.runtime.clock import Clock, clock_for
from fillbook.runtime.config import ConfigError
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected
from fillbook.runtime.http import Refusal, answer, read_body
from fillbook.runtime.rates import Rate
from fillbook.snapshot import filters, keys, rates, read, receive
from fillbook.snapshot.keys import MetricsKey, metrics_keys
from fillbook.snapshot.model import BadSnapshot, Problem
from fillbook.snapshot.read import Shown
from fillbook.snapshot.receive import Delivery, OlderSnapshot
from fillbook.snapshot.settings import SnapshotApiConfig
from fillbook.snapshot.shown import instant_text
from fillbook.values import frozen

Handler = Callable[..., Response]
BODY_BYTES_MAX: Final = 8_000_000
BODY_SECONDS_MAX: Final = 25
FORCE_LENGTH_MAX: Final = 64
GZIP_BYTES_MIN: Final = 1_024
GZIP_LEVEL: Final = 4
SETTLED: Final = "private, max-age=300"
CHANGING: Final = "private, no-cache"
VARY: Final = "Authorization, Accept-Encoding, Origin"
PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, If-None-Match",
    "Access-Control-Max-Age": "600",
}


@frozen
class Desk:
    """What the routes need of their process. ``publishers``, ``readers`` and ``strangers`` count calls, each by its own names."""

    db: Database
    clock: Clock
    config: SnapshotApiConfig
    keys: tuple[MetricsKey, ...]
    publishers: Rate
    readers: Rate
    strangers: Rate


def desk_for(config: SnapshotApiConfig, db: Database) -> Desk:
    """What a process needs; nothing is connected yet."""
    return Desk(
        db=db,
        clock=clock_for(config),
        config=config,
        keys=metrics_keys(config.metrics_keys.get_secret_value()),
        publishers=Rate(rates.POSTS_PER_MINUTE, rates.POSTS_AT_ONCE),
        readers=Rate(rates.READS_PER_MINUTE, rates.READS_AT_ONCE),
        strangers=Rate(rates.STRANGERS_PER_MINUTE, rates.STRANGERS_PER_MINUTE),
    )


def routes(desk: Callable[[], Desk]) -> Mapping[str, Handler]:
    """Method and path -> handler; a page of another origin asks with OPTIONS first, wherever readers read."""

    def of(use_case: Callable[..., Response]) -> Handler:
        return lambda request: use_case(desk(), request)

    def reader(route: str) -> Handler:
        return lambda request: ask(desk(), request, route)

    return {
        f"POST {filters.INTERNAL}": of(take),
        f"GET {filters.INTERNAL}": of(standing),
        **{f"GET {route}": reader(route) for route in filters.ROUTES},
        **{f"OPTIONS {route}": preflight for route in filters.ROUTES},
    }


# --- publishers -------------------------------------------------------------------------------------------------------


def take(here: Desk, request: Request) -> Response:
    """A day comes in."""
    keys.check_token(request.headers.get("X-Internal-Token"), here.config.tokens)
    here.publishers.take("publisher")
    _check_kind(request)
    raw = read_body(request, BODY_BYTES_MAX, seconds=BODY_SECONDS_MAX)
    keys.check_signature(request.headers.get("X-Signature"), raw, here.config.signing)
    delivery = Delivery(raw=raw, forced=_forced(request), request_id=str(request.environ["fillbook.request_id"]))
    return answer(200, receive.receive(here.db, delivery, here.clock.now()))


def standing(here: Desk, request: Request) -> Response:
    """What stands under a date, for the publisher to compare."""
    keys.check_token(request.headers.get("X-Internal-Token"), here.config.tokens)
    given = request.args.to_dict(flat=False)
    if given.keys() - {"date"} or any(len(values) != 1 for values in given.values()):
        raise filters.refused("date")
    day = filters.day(given["date"][0], "date") if given else None
    return _json(read.standing(here.db, day), {"Cache-Control": CHANGING})


def _check_kind(request: Request) -> None:
    """JSON or nothing said, in UTF-8 and not compressed; ``Rejected`` 415."""
    kind, *parameters = (request.headers.get("Content-Type") or "application/json").lower().split(";")
    named = (part.partition("=") for part in parameters)
    charsets = [value.strip(" \"'") for name, _, value in named if name.strip() == "charset"]
    if kind.strip() != "application/json" or any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise Rejected("content_type", status=415)
    if (request.headers.get("Content-Encoding") or "").strip():
        raise Rejected("content_encoding", status=415)


def _forced(request: Request) -> frozenset[str]:
    """Refusals to be overruled: ``?force=older,empty``; any other word or parameter is ``Rejected('bad_parameter')``."""
    if request.args.keys() - {"force"}:
        raise filters.refused("unknown")
    text = ",".join(request.args.getlist("force"))
    names = frozenset(filter(None, text.split(",")))
    if len(text) > FORCE_LENGTH_MAX or not names <= receive.FORCES:
        raise filters.refused("force")
    return names


# --- readers ----------------------------------------------------------------------------------------------------------


def ask(here: Desk, request: Request, route: str) -> Response:
    """A reader asks: who, how often, what; answered in full, or told that nothing changed."""
    now = here.clock.now()
    try:
        key = keys.reader(request.headers.get("Authorization"), here.keys, now)
    except Rejected:
        here.strangers.take((request.access_route or ["unknown"])[-1])
        raise
    here.readers.take(key.id)
    asked = filters.understood(route, request.args.to_dict(flat=False))
    shown = read.read(here.db, asked, now, holds=request.if_none_match.contains_weak)
    response = _sent(request, shown)
    response.headers["Cache-Control"] = SETTLED if shown.is_settled else CHANGING
    return response


def preflight(_request: Request) -> Response:
    """A browser asks whether it may ask; ``dress`` says to whom it may."""
    return answer(204)


def dress(desk: Callable[[], Desk]) -> Callable[[Request, Response], None]:
    """Headers of every answer to readers, refusals among them; the publisher's path has none, whatever asks there."""

    def dressed(request: Request, response: Response) -> None:
        if request.path not in filters.ROUTES:
            return
        response.headers["Vary"] = VARY
        origin = request.headers.get("Origin")
        if origin is None or origin not in _origins(desk):
            return
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = "ETag, X-Request-Id"
        if request.method == "OPTIONS":
            response.headers.update(PREFLIGHT)

    return dressed


def _origins(desk: Callable[[], Desk]) -> tuple[str, ...]:
    try:
        return desk().config.cors_origins
    except (ConfigError, ValueError):
        return ()  # the answer that is being dressed is the refusal of this very configuration


def _sent(request: Request, shown: Shown) -> Response:
    if shown.body is None:
        response = answer(304)
    else:
        response = _json(shown.body, {})
        if len(response.data) >= GZIP_BYTES_MIN and request.accept_encodings.quality("gzip") > 0:
            response.data = gzip.compress(response.data, GZIP_LEVEL, mtime=0)
            response.headers["Content-Encoding"] = "gzip"
    if shown.tag is not None:
        response.set_etag(shown.tag)
    return response


def _json(text: str, headers: Mapping[str, str]) -> Response:
    """An answer whose text is JSON already."""
    response = Response(text.encode(), status=200, content_type="application/json")
    response.headers.update(dict(headers))
    return response


# --- refusals ---------------------------------------------------------------------------------------------------------


def refuse(refusal: Refusal) -> dict[str, object]:
    """The error body of this API: code, a sentence, the id that finds the log line, and all that is wrong with a document."""
    told: dict[str, Any] = {"code": refusal.reason, "message": _sentence(refusal), "request_id": refusal.request_id}
    if isinstance(refusal.error, BadSnapshot):
        told |= {"problems": [_problem(one) for one in refusal.error.problems], "problem_count": refusal.error.problem_count}
    if isinstance(refusal.error, OlderSnapshot):
        stored, given = refusal.error.stored, refusal.error.given
        told |= {"stored_updated_at": instant_text(stored), "given_updated_at": instant_text(given)}
    return {"error": told}


def _sentence(refusal: Refusal) -> str:
    words = refusal.reason.replace("_", " ")
    if isinstance(refusal.error, BadSnapshot):
        return f"{words}: {refusal.error.problem_count} problems"
    if isinstance(refusal.error, OlderSnapshot):
        return f"{words}: {refusal.error.detail}"
    return f"{words}: {refusal.field}" if refusal.field else words


def _problem(problem: Problem) -> dict[str, object]:
    return {"path": problem.path, "code": problem.code, "message": problem.message, "value": problem.value}
