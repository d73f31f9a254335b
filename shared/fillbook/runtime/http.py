"""The shell's edge: routes, the error table, the push and the cron protocol; `main.py` says only what is called.

A function's whole ``main.py``::

    class KeeperConfig(DatabaseConfig, OidcConfig):
        retention_days: int = 400  # the field of RETENTION_DAYS


    @functools.cache  # nothing runs at import; all of these are made by the first call
    def config() -> KeeperConfig:
        return KeeperConfig.from_environment()


    @functools.cache
    def database() -> Database:
        return Database.open(config(), application_name="desk_keeper", pool_size=4)


    @functools.cache
    def verifier() -> OidcVerifier:
        return verifier_for(config())


    def run(call: CronCall) -> Mapping[str, object]:
        return keep(database(), retention_days=config().retention_days, now=clock_for(config()).now())


    edge = cron_edge("desk_keeper", {"/": run}, verify=lambda request: verifier().check(request))


    @functions_framework.http
    def desk_keeper(request: Request) -> Response:
        return edge(request)

==============  ============================  =====================================  ==================
raised          HTTP                          push                                   cron (scheduled)
==============  ============================  =====================================  ==================
Rejected        its status (4xx) with reason  quarantined, 204                       logged, 200
Conflict        409 with reason               quarantined, 204                       logged, 200
Unavailable     503, Retry-After              503, Retry-After: redelivered          500: the next tick
anything else   500 with an opaque id         500 with an opaque id                  500 with an opaque id
==============  ============================  =====================================  ==================

With ``places`` an edge takes no more than it can work on (``places.py``); who finds none gets 503 with Retry-After before
anything of his request is read, whatever the protocol: every caller there is comes again on that.

A refused caller (401, 403) is refused everywhere and never quarantined: nobody unknown may write anything. An answer
never holds an exception's text. A slug may be shown to anyone.
"""

from __future__ import annotations

import contextlib
import functools
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from flask import Request, Response
from werkzeug.exceptions import HTTPException

from fillbook.instants import instant_of
from fillbook.runtime import logs
from fillbook.runtime.bodies import leave_nothing_to_read, parse_json_object, read_body, socket_of
from fillbook.runtime.errors import Conflict, FillbookError, Rejected, Unavailable
from fillbook.runtime.places import Held, Overloaded, Places, waited_seconds
from fillbook.runtime.pubsub import PUSH_BYTES_MAX, PushMessage
from fillbook.runtime.sql import encode
from fillbook.values import frozen

__all__ = ["CronCall", "Refusal", "Refused", "answer", "cron", "http_edge", "oidc", "push", "push_edge", "read_body"]

CRON_BODY_BYTES_MAX = 65_536
JOB_NAME_MAX = 128

SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Handler = Callable[..., Response]  # (request, **path parameters)
Verify = Callable[[Request], object]  # raises Rejected 401 or 403

_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")


@frozen
class Refusal:
    """What an error answer may say; ``reason`` is a slug, ``request_id`` finds the log line.

    ``error`` is what was raised, for contracts that list what is wrong with a document; None for a bug, which nobody is told of.
    """

    status: int
    reason: str
    request_id: str
    field: str | None = None
    error: FillbookError | None = None


@frozen
class Refused:
    """A delivery that stays wrong, on its way into quarantine; ``message`` is None when not even the envelope could be read."""

    reason: str
    detail: str
    body: bytes
    message: PushMessage | None


@frozen
class CronCall:
    """A scheduled call, or the same call by hand (``slot`` None); ``slot`` is the instant it was due, desk time."""

    job: str
    slot: datetime | None
    body: Mapping[str, Any]


def answer(status: int, document: object = None, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> Response:
    """Return a JSON answer; Decimals become strings, None means no body. Security headers are added by the edge."""
    if document is None:
        response = Response(status=status)
        response.headers.pop("Content-Type", None)
    else:
        response = Response(encode(document), status=status, content_type="application/json")
    response.headers.update(dict(headers))
    return response


@functools.cache
def settle() -> None:
    """Once a process: what it has loaded by its first answer stays for good, and the garbage collector looks at it no more.

    A full collection goes through everything that was imported: 120,000 objects, 60 ms and more in which nobody is answered,
    once in twenty large answers. That is just often enough to be their 95th percentile.
    """
    import gc

    gc.freeze()


def flat_refusal(refusal: Refusal) -> dict[str, object]:
    """The usual error body: ``{"ok": false, "reason", "field"?, "request_id"?}``; the id only where a log line helps."""
    document: dict[str, object] = {"ok": False, "reason": refusal.reason}
    if refusal.field is not None:
        document["field"] = refusal.field
    if refusal.status >= 500:
        document["request_id"] = refusal.request_id
    return document


def http_edge(
    name: str,
    routes: Mapping[str, Handler],
    *,
    refuse: Callable[[Refusal], object] = flat_refusal,
    others: Mapping[str, Handler] | None = None,
    dress: Callable[[Request, Response], object] | None = None,
    places: Places | None = None,
) -> Callable[[Request], Response]:
    """Return the function's edge for ``routes``: ``"GET /v1/books/{book_id}"`` -> handler(request, book_id=…).

    ``{name}`` matches one path segment, ``{name:path}`` at the end of a path all that is left, slashes included; literal paths
    win, then templates in the order given. GET routes answer HEAD.
    ``refuse`` shapes the error body where a contract asks for another one; ``others``: by method, who takes every other path.
    ``dress`` sets headers that every answer has, refusals among them; it must not raise. ``places``: how many requests are
    worked on at once and how many wait; None where the platform sends no more than that by itself.
    """
    table = _Table(routes, others or {})
    log = logs.get(name)

    def edge(request: Request) -> Response:
        logs.trace_from(request.headers.get("X-Cloud-Trace-Context") or request.headers.get("traceparent"))
        request_id = _request_id(request)
        request.environ["fillbook.request_id"] = request_id
        with contextlib.ExitStack() as place:
            try:
                if places is not None:
                    places.take(waited_seconds(socket_of(request)))
                    place.callback(places.give_back)
                handler, parameters = table.find(request.method, request.path)
                response = handler(request, **parameters)
            except Overloaded as error:
                response = _no_place(error, request_id, log, refuse, places.refused() if places is not None else 1)
            except Exception as error:  # noqa: BLE001 -- the framework would send the text of what escapes to the caller
                response = _refused(error, request_id, log, refuse)
            finish(request, response, request_id)
            settle()
            if places is not None and response.is_streamed:
                response.response = Held(response.response, place.pop_all().close)
        return response

    def finish(request: Request, response: Response, request_id: str) -> None:
        if dress is not None:
            dress(request, response)
        for header, value in SECURITY_HEADERS.items():
            response.headers.setdefault(header, value)
        response.headers["X-Request-Id"] = request_id
        leave_nothing_to_read(request, response)

    return edge


def push_edge(
    name: str,
    routes: Mapping[str, Callable[[PushMessage], object]],
    *,
    verify: Verify,
    quarantine: Callable[[Refused], object],
    places: Places | None = None,
) -> Callable[[Request], Response]:
    """Return the edge of a function that only Pub/Sub calls: path -> what to do with a message."""
    table = {f"POST {path}": push(work, verify=verify, quarantine=quarantine) for path, work in routes.items()}
    return http_edge(name, table, places=places)


def cron_edge(name: str, routes: Mapping[str, Callable[[CronCall], object]], *, verify: Verify) -> Callable[[Request], Response]:
    """Return the edge of a function that only the Scheduler (or an operator) calls: path -> what to do."""
    return http_edge(name, {f"POST {path}": cron(work, verify=verify) for path, work in routes.items()})


def oidc(handler: Handler, *, verify: Verify) -> Handler:
    """Return ``handler`` behind an identity token; for calls by other functions and operators."""

    def checked(request: Request, **parameters: str) -> Response:
        verify(request)
        return handler(request, **parameters)

    return checked


def push(work: Callable[[PushMessage], object], *, verify: Verify, quarantine: Callable[[Refused], object]) -> Handler:
    """Return the handler of a push subscription: 204 when done, a duplicate, or quarantined; see the table above."""
    log = logs.get("push")

    def deliver(request: Request) -> Response:
        verify(request)
        body = read_body(request, PUSH_BYTES_MAX)
        message: PushMessage | None = None
        try:
            message = PushMessage.parse(body)
            work(message)
        except (Rejected, Conflict) as error:
            log.warning(
                "message_quarantined",
                reason=error.reason,
                detail=error.detail,
                field=error.field,
                path=request.path,
                message_id=message.message_id if message else None,
            )
            data = body if message is None else message.data
            quarantine(Refused(reason=error.reason, detail=error.detail, body=data, message=message))
        return answer(204)

    return deliver


def cron(work: Callable[[CronCall], object], *, verify: Verify) -> Handler:
    """Return the handler of a scheduled call; ``work`` returns the document to answer with (None: ``{"ok": true}``).

    A call without the Scheduler's headers is a person's: it gets HTTP's column of the error table.
    """
    log = logs.get("cron")

    def tick(request: Request) -> Response:
        verify(request)
        slot = _slot(request.headers.get("X-CloudScheduler-ScheduleTime"))
        try:
            job = request.headers.get("X-CloudScheduler-JobName", "")[:JOB_NAME_MAX]
            body = parse_json_object(read_body(request, CRON_BODY_BYTES_MAX))
            document = work(CronCall(job=job.rpartition("/")[2], slot=slot, body=body))
        except (Rejected, Conflict) as error:
            if slot is None:
                raise
            log.warning("schedule_refused", reason=error.reason, detail=error.detail, path=request.path)
            return answer(200, {"ok": False, "reason": error.reason})
        except Unavailable as error:
            if slot is None:
                raise
            log.warning("schedule_unavailable", reason=error.reason, detail=error.detail, path=request.path)
            return answer(500, {"ok": False, "reason": error.reason})
        return answer(200, {"ok": True} if document is None else document)

    return tick


class _Table:
    """Finds the handler of a method and path; unknown path 404, known path with another method 405."""

    def __init__(self, routes: Mapping[str, Handler], others: Mapping[str, Handler]) -> None:
        self._others = others
        self._literal: dict[str, dict[str, Handler]] = {}
        self._templates: list[tuple[re.Pattern[str], str, Handler]] = []
        for route, handler in routes.items():
            method, _, path = route.partition(" ")
            if not method.isupper() or not path.startswith("/"):
                raise ValueError(f"{route!r} is not 'METHOD /path'")
            if "{" in path:
                self._templates.append((_pattern(path), method, handler))
            else:
                self._literal.setdefault(path, {})[method] = handler

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        method = "GET" if method == "HEAD" else method
        methods = self._literal.get(path)
        if methods is not None and method in methods:
            return methods[method], {}
        allowed = set(methods or ())
        for pattern, its_method, handler in self._templates:
            match = pattern.fullmatch(path)
            if match is not None:
                if its_method == method:
                    return handler, match.groupdict()
                allowed.add(its_method)
        if method in self._others:
            return self._others[method], {}
        if allowed:
            raise _MethodNotAllowed(allowed)
        raise Rejected("not_found", status=404)


def _pattern(path: str) -> re.Pattern[str]:
    text = re.escape(path).replace(r"\{", "{").replace(r"\}", "}")
    return re.compile(_PARAMETER.sub(lambda found: f"(?P<{found[1]}>{'.*' if found[2] else '[^/]+'})", text))


class _MethodNotAllowed(Rejected):
    def __init__(self, allowed: Iterable[str]) -> None:
        super().__init__("method_not_allowed", status=405)
        self.allowed = ", ".join(sorted(allowed))


def _request_id(request: Request) -> str:
    given = request.headers.get("X-Request-Id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _slot(header: str | None) -> datetime | None:
    if not header:
        return None
    try:
        return instant_of(header)
    except ValueError:
        raise Rejected("slot_invalid", "the schedule time is no instant with a zone") from None


def _no_place(
    error: Overloaded, request_id: str, log: logs.Logger, refuse: Callable[[Refusal], object], refused: int
) -> Response:
    """The cheapest answer there is; ``refused`` so many since the log was last told, 0: not yet again."""
    if refused:
        log.warning("requests_refused", reason=error.reason, refused=refused)
    told = refuse(Refusal(status=503, reason=error.reason, request_id=request_id, error=error))
    return answer(503, told, {"Retry-After": str(error.retry_after_seconds)})


def _refused(error: Exception, request_id: str, log: logs.Logger, refuse: Callable[[Refusal], object]) -> Response:
    headers: dict[str, str] = {}
    field = error.field if isinstance(error, FillbookError) else None
    if isinstance(error, Rejected):
        status, reason = error.status, error.reason
        if isinstance(error, _MethodNotAllowed):
            headers["Allow"] = error.allowed
        elif status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if error.retry_after_seconds is not None:
            headers["Retry-After"] = str(error.retry_after_seconds)
        log.warning("request_rejected", reason=reason, status=status, detail=error.detail, field=field, request_id=request_id)
    elif isinstance(error, Conflict):
        status, reason = 409, error.reason
        log.warning("request_conflict", reason=reason, detail=error.detail, request_id=request_id)
    elif isinstance(error, Unavailable):
        status, reason = 503, error.reason
        headers["Retry-After"] = str(error.retry_after_seconds)
        log.warning("request_unavailable", reason=reason, detail=error.detail, request_id=request_id)
    elif isinstance(error, HTTPException) and error.code is not None and 400 <= error.code < 500:
        status, reason = error.code, "request_invalid"
        log.warning("request_rejected", reason=reason, status=status, request_id=request_id)
    else:
        status, reason = 500, "internal"
        log.failed("request_failed", error, request_id=request_id)
    told = error if isinstance(error, FillbookError) else None
    return answer(status, refuse(Refusal(status=status, reason=reason, request_id=request_id, field=field, error=told)), headers)
