"""The rules of the fake MT5 service, without a socket: a request becomes a reply.

Checks in this order, as an ordinary service would: path, faults that stand in place of everything, API key, published limits,
account, scope, request id, arguments. What does not change between two calls is kept as bytes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from infra.local import mt5_answers as answers
from infra.local.mt5_answers import Account, View
from infra.local.mt5_faults import Call, Fault, Faults
from infra.local.mt5_pages import Asked, Refused, asked_v0, asked_v1, history_v0, page_v1, visible
from infra.local.mt5_shapes import Document, encoded, error_body, nan_first
from infra.local.mt5_twists import HARMLESS, refused, seen, twist
from infra.local.mt5_world import Entry, Instance, World

JSON: Final = "application/json"
SYMBOLS_MAX: Final = 50
OVERSIZE_BYTES: Final = 9 * 1024 * 1024
REQUEST_ID_MAX: Final = 128
HTML: Final = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
V1: Final = ("snapshot", "deals", "symbols")
V0: Final = ("info", "positions", "history")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A call; header names in lower case."""

    instance: str
    method: str
    target: str
    headers: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Reply:
    """What is sent after ``delay`` real seconds. ``travel``: plain, hang, drip or reset."""

    status: int = 200
    body: bytes = b""
    kind: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    travel: str = "plain"
    interval: float = 0.0
    entry: Entry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a path leads. ``account_id`` empty: health. ``query`` as pairs of text."""

    endpoint: str
    account_id: str
    is_v1: bool
    query: Mapping[str, str]
    page: int = 1


class _Answered(Exception):
    """The reply is an error."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class Service:
    """Answers requests about a world; ``real`` is a clock of seconds that only grows."""

    def __init__(self, world: World, faults: Faults, real: Callable[[], float]) -> None:
        self._world, self._faults, self._real = world, faults, real

    def reply(self, request: Request) -> Reply:
        """Answer a request and note the call."""
        instance, real = self._world.instances[request.instance], self._real()
        route = _route(request.target, instance)
        account = self._world.accounts.get(route.account_id) if route else None
        if account is not None and account.instance != instance.name:
            account = None
        call = Call(
            instance=instance.name, server=account.server if account else "", account=route.account_id if route else "",
            endpoint=route.endpoint if route else "", at=self._world.now(), page=route.page if route else 1,
        )  # fmt: skip
        replacing, shaping = self._faults.strike(call)
        try:
            reply = self._answer(request, instance, route, account, replacing, shaping)
        except _Answered as error:
            reply = error.reply
        except Refused as error:
            reply = _error(route, account, 400, error.code, str(error))
        self._wait(reply, instance, call.account, shaping, real)
        struck = [fault.knob for fault in (*((replacing,) if replacing else ()), *shaping)]
        reply.entry = Entry(
            at=real, desk_at=call.at, instance=call.instance, server=call.server, account=call.account, endpoint=call.endpoint,
            target=request.target, status=reply.status if reply.travel in ("plain", "drip") else 0,
            fault=",".join(struck) or None, request_id=request.headers.get("x-request-id", ""),
            headers=frozenset(request.headers),
        )  # fmt: skip
        self._begin(reply.entry, instance)
        return reply

    def _begin(self, entry: Entry, instance: Instance) -> None:
        self._world.calls.begin(entry)
        instance.busy[entry.account] += 1
        instance.busy_max = max(instance.busy_max, len(instance.busy) - ("" in instance.busy))

    def ended(self, entry: Entry) -> None:
        """Hear that a call is over, answered or not."""
        self._world.calls.end(entry, self._real())
        instance = self._world.instances.get(entry.instance)
        if instance is not None:
            instance.busy[entry.account] -= 1
            if instance.busy[entry.account] <= 0:
                del instance.busy[entry.account]

    def _wait(self, reply: Reply, instance: Instance, account: str, shaping: tuple[Fault, ...], real: float) -> None:
        """Put off the reply: latency, and the one terminal that serves a single login at a time."""
        for fault in shaping:
            options = fault.options
            if fault.knob == "latency":
                jitter = float(options["jitter"])
                reply.delay += max(0.0, float(options["ms"]) + (fault.chance.uniform(-jitter, jitter) if jitter else 0.0)) / 1000
        for fault in shaping:
            if fault.knob == "one_terminal" and account:
                begins = max(real, instance.terminal_free_at)
                busy = reply.delay + (float(fault.options["switch_ms"]) / 1000 if instance.terminal != account else 0.0)
                instance.terminal, instance.terminal_free_at = account, begins + busy
                reply.delay = instance.terminal_free_at - real

    # -- deciding ---------------------------------------------------------------------------------------------------------

    def _answer(
        self, request: Request, instance: Instance, route: Route | None, account: Account | None,
        replacing: Fault | None, shaping: tuple[Fault, ...],
    ) -> Reply:  # fmt: skip
        if route is None:
            return _error(None, None, 404, "NOT_FOUND", "no such path")
        if replacing is not None and replacing.knob not in ("drip", "garbage") and not replacing.options.get("inline"):
            return _replaced(replacing, route, account)
        self._admit(request, instance, route, account)
        if route.endpoint == "health":
            return _health(instance, route, shaping)
        assert account is not None
        body = self._body(account, route, shaping, replacing)
        reply = Reply(body=body)
        if replacing is not None and replacing.knob == "drip":
            reply.travel, reply.interval = "drip", float(replacing.options["interval"])
        elif replacing is not None and replacing.knob == "garbage":
            _spoil(reply, replacing.options["kind"])
        return reply

    def _admit(self, request: Request, instance: Instance, route: Route, account: Account | None) -> None:
        headers = request.headers

        def refuse(status: int, code: str, text: str, retry_after: float | None = None) -> None:
            raise _Answered(_error(route, account, status, code, text, retry_after))

        if headers.get("x-api-key") != instance.api_key:
            raise _Answered(Reply(status=401, body=b'{"detail":"missing or wrong API key"}'))
        if instance.audience is not None and not _is_for(headers.get("authorization", ""), instance.audience):
            raise _Answered(Reply(status=401, body=b'{"detail":"missing or wrong identity token"}'))
        if instance.is_over(self._real()):
            refuse(429, "RATE_LIMITED", "more calls than the published limit", 60 - (self._real() - instance.recent[0]))
        if request.method != "GET":
            refuse(405, "INVALID_METHOD", "only GET")
        if route.endpoint == "health":
            return
        if headers.get("x-account-scope") != route.account_id:
            refuse(403, "FORBIDDEN", "X-Account-Scope must name the account of the path")
        if not 0 < len(headers.get("x-request-id", "")) <= REQUEST_ID_MAX:
            refuse(400, "INVALID_REQUEST", "X-Request-Id is missing")
        if account is None:
            refuse(404, "NOT_FOUND", "Account not found")
        if instance.sessions is not None and route.account_id not in instance.busy and len(instance.busy) >= instance.sessions:
            refuse(503, "SERVICE_OVERLOADED", "all sessions are taken", 1)

    # -- telling ----------------------------------------------------------------------------------------------------------

    def _body(self, account: Account, route: Route, shaping: tuple[Fault, ...], replacing: Fault | None) -> bytes:
        now = self._world.now()
        view = View(account=account, shape=account.shape, at=now, as_of=now, login=account.login, server=account.server)
        asked = None
        if route.endpoint in ("deals", "history"):
            asked = asked_v1(route.query, self._world.cursors) if route.is_v1 else asked_v0(route.query)
        is_spoilt = replacing is not None and (replacing.knob == "auth_failed" or replacing.options.get("kind") == "nan")
        faults = tuple(fault for fault in shaping if fault.knob not in HARMLESS)
        if not faults and not is_spoilt:
            return self._kept(view, route, asked)
        view = seen(view, faults)
        head, rest = self._parts(view, route, asked, faults)
        document = head | rest()
        twist(document, route.endpoint, faults, 1 if asked is None else -(-document.get("total", 1) // asked.limit) or 1)
        if replacing is not None and replacing.knob == "auth_failed":
            refused(document, route.endpoint, str(replacing.options["code"]))
        elif is_spoilt:
            nan_first(document)
        return encoded(document, is_noisy=view.shape.is_noisy).encode()

    def _kept(self, view: View, route: Route, asked: Asked | None) -> bytes:
        """The usual answer: a fresh head, and the rest as it was written last time unless something happened."""
        account, server = view.account, self._world.servers[view.account.server]
        head, rest = self._parts(view, route, asked, ())
        # Windows move with the clock while what is in them stays, so the rest is known by its rows.
        rows = visible(view, asked, 0.0) if asked is not None and account.shape.history == "deals" else []
        ends = (rows[0].ticket, rows[-1].ticket, len(rows)) if rows else ()
        paging: tuple[Any, ...] = ()
        if asked is not None:
            paging = (asked.limit, asked.offset, asked.after, self._world.cursors)
            paging += (asked.window, asked.utc) if len(rows) > asked.limit or not rows else ()
        moment = (account.book.version(view.at), server.version, server.pulse(view.at))
        key = (moment, ends, paging, route.query.get("names"))
        known = account.kept.get(route.endpoint)
        if known is None or known[0] != key:
            account.kept[route.endpoint] = known = (key, encoded(rest(), is_noisy=view.shape.is_noisy)[1:].encode())
        return encoded(head)[:-1].encode() + b"," + known[1]

    def _parts(
        self, view: View, route: Route, asked: Asked | None, faults: tuple[Fault, ...]
    ) -> tuple[Document, Callable[[], Document]]:
        drifts = [fault for fault in faults if fault.knob == "page_drift"]
        late = max((float(fault.options["seconds"]) for fault in faults if fault.knob == "late_history"), default=0.0)
        head = answers.head_v1(view) if route.is_v1 else answers.head_v0(view)
        match route.endpoint:
            case "snapshot":
                return head, lambda: answers.snapshot_v1(view)
            case "symbols":
                names = [name for name in route.query.get("names", "").split(",") if name]
                if not 0 < len(names) <= SYMBOLS_MAX:
                    raise Refused("INVALID_NAMES", f"names must be 1 to {SYMBOLS_MAX}")
                return head, lambda: answers.symbols_v1(view, names)
            case "info":
                return head, lambda: answers.info_v0(view)
            case "positions":
                return head, lambda: answers.positions_v0(view)
        assert asked is not None
        if route.is_v1:
            head |= {"margin_mode": view.account.terms.margin_mode}
            if asked.position_id is None:
                head |= {name: view.shape.number(getattr(asked, name)) for name in ("from_msc", "to_msc")}
            generation = self._world.cursors
            return head, lambda: page_v1(view, asked, visible(view, asked, late), drifts, generation)
        return head, lambda: history_v0(view, asked, late, drifts)


def _route(target: str, instance: Instance) -> Route | None:
    path, _, text = target.partition("?")
    parts = path.split("/")[1:]
    query = dict(parse_qsl(text, keep_blank_values=True)) if text else {}
    if parts == ["v1", "health"] and instance.contract != "v0":
        return Route(endpoint="health", account_id="", is_v1=True, query=query)
    if parts == ["health"] and instance.contract != "v1":
        return Route(endpoint="health", account_id="", is_v1=False, query=query)
    if len(parts) == 4 and parts[:2] == ["v1", "accounts"] and parts[3] in V1 and instance.contract != "v0":
        return Route(endpoint=parts[3], account_id=parts[2], is_v1=True, query=query, page=_page(query))
    if len(parts) == 5 and parts[:3] == ["api", "mt5", "account"] and parts[4] in V0 and instance.contract != "v1":
        return Route(endpoint=parts[4], account_id=parts[3], is_v1=False, query=query, page=_page(query))
    return None


def _page(query: Mapping[str, str]) -> int:
    """Which page a request means; 1 for anything that cannot be read."""
    try:
        if "cursor" in query:
            offset = int(json.loads(base64.urlsafe_b64decode(query["cursor"].encode()))[1])
        else:
            offset = int(query.get("offset", "0"))
        return offset // max(int(query.get("limit", "1000")), 1) + 1
    except (ValueError, TypeError, IndexError):
        return 1


def _is_for(authorization: str, audience: str) -> bool:
    """Whether a bearer token says that it is for ``audience``; its signature is not looked at."""
    kind, _, token = authorization.partition(" ")
    parts = token.split(".")
    if kind != "Bearer" or len(parts) != 3:
        return False
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return False
    return isinstance(claims, dict) and claims.get("aud") == audience


def _error(
    route: Route | None, account: Account | None, status: int, code: str, text: str, retry_after: float | None = None
) -> Reply:
    """An error in the words of the contract that was spoken."""
    if route is None or route.is_v1:
        error = {"code": code, "message": text, "retry_after_seconds": retry_after}
        body: Document = {"contract": answers.CONTRACT, "error": error}
    else:
        body = error_body(account.shape.errors if account else "object", code, text, retry_after)
    headers = {} if retry_after is None else {"Retry-After": str(max(1, round(retry_after + 0.5)))}
    return Reply(status=status, body=json.dumps(body).encode(), headers=headers)


def _replaced(fault: Fault, route: Route, account: Account | None) -> Reply:
    options = fault.options
    match fault.knob:
        case "hang" | "reset":
            return Reply(travel=fault.knob)
        case "rate_limit":
            return _error(route, account, 429, "RATE_LIMITED", "rate limit exceeded", 60.0)
        case "auth_failed":
            return _error(route, account, 401, str(options["code"]), "authorization failed")
        case "page_fails":
            return _error(route, account, int(options["code"]), "SERVICE_OVERLOADED", "try again")
    reply = _error(
        route, account, int(options["code"]), str(options["error_code"] or ""), "failed on demand", options["retry_after"]
    )
    if options["retry_after"] is not None:
        reply.headers["Retry-After"] = str(options["retry_after"])
    if options["body"] is not None:
        reply.body = (options["body"] if isinstance(options["body"], str) else json.dumps(options["body"])).encode()
    elif options["error_code"] is None:
        reply.body = b'{"detail":"failed on demand"}'
    return reply


def _health(instance: Instance, route: Route, shaping: tuple[Fault, ...]) -> Reply:
    status = next((str(fault.options["status"]) for fault in shaping if fault.knob == "health"), "healthy")
    limits: dict[str, Any] = {"requests_per_minute": instance.requests_per_minute, "sessions": instance.sessions}
    body = {"status": status, "limits": {name: one for name, one in limits.items() if one is not None}}
    if route.is_v1:
        body = {"contract": answers.CONTRACT, **body}
    return Reply(status=503 if status == "unhealthy" else 200, body=json.dumps(body).encode())


def _spoil(reply: Reply, kind: str) -> None:
    match kind:
        case "html":
            reply.body, reply.kind = HTML, "text/html"
        case "truncated":
            reply.body = reply.body[: len(reply.body) // 2]
        case "oversize":
            reply.body = reply.body[:-1] + b',"padding":"' + b"x" * OVERSIZE_BYTES + b'"}'
        case "empty":
            reply.body = b""
        case "nan":
            pass  # it is in the document already
        case _:
            raise ValueError("kind is html, truncated, oversize, nan or empty")
