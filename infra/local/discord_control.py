"""The fake Discord's control API and inbox route: what tests and the local cloud may do to it from outside.

``GET /_control/webhooks`` {name: url} · ``POST /_control/webhooks`` {name} · ``GET /_control/read-token`` {token} ·
``GET /_control/messages?webhook=`` · ``GET /_control/requests?after=`` · ``GET /_control/pings`` · ``GET /_control/stats`` ·
``POST /_control/reset`` · ``POST /_control/clock`` {step_seconds} · ``GET|POST|DELETE /_control/faults`` ·
``POST /_control/state`` {webhook, state} · ``POST /_control/meddle`` {how, message_id, patch?} ·
``POST /_control/threads`` {webhook, name}. Answers JSON; 400 with ``error`` for what it does not understand.
Loopback only, because it hands out tokens.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from infra.local.discord_faults import KNOBS
from infra.local.discord_page import CONTENT_SECURITY_POLICY, inbox

if TYPE_CHECKING:
    from infra.local.discord import DiscordFake

_LOCAL_NAMES = ("127.0.0.1", "localhost")


def add_control(app: web.Application, fake: DiscordFake) -> None:
    """Add ``/`` and ``/_control`` to the server."""
    control = _Control(fake)
    app.router.add_get("/", control.page)
    for method, path, handler in (
        ("GET", "webhooks", control.webhooks),
        ("POST", "webhooks", control.add_webhook),
        ("GET", "read-token", control.read_token),
        ("GET", "messages", control.messages),
        ("GET", "requests", control.requests),
        ("GET", "pings", control.pings),
        ("GET", "stats", control.stats),
        ("POST", "reset", control.reset),
        ("POST", "clock", control.clock),
        ("GET", "faults", control.faults),
        ("POST", "faults", control.add_fault),
        ("DELETE", "faults", control.clear_faults),
        ("POST", "state", control.state),
        ("POST", "meddle", control.meddle),
        ("POST", "threads", control.add_thread),
    ):
        app.router.add_route(method, f"/_control/{path}", _guarded(handler))


def _guarded(handler: Callable[[web.Request], Awaitable[Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def guarded(request: web.Request) -> web.Response:
        if not _is_local(request):
            return web.json_response({"error": "loopback only"}, status=403)
        try:
            return web.json_response(await handler(request))
        except KeyError as error:
            return web.json_response({"error": f"missing or unknown: {error.args[0]}"}, status=400)
        except (TypeError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)

    return guarded


def _is_local(request: web.Request) -> bool:
    # The Host is checked too: a page in a browser may point its own name at this address.
    return request.remote == "127.0.0.1" and request.host.partition(":")[0] in _LOCAL_NAMES


class _Control:
    def __init__(self, fake: DiscordFake) -> None:
        self._fake = fake

    async def page(self, request: web.Request) -> web.Response:
        if not _is_local(request):
            return web.Response(status=403)
        with self._fake.lock:
            channels = self._fake.store.channels()
            messages = self._fake.store.messages(request.query.get("channel"), limit=200)
        html = inbox(channels, messages, selected=request.query.get("channel"), now=self._fake.clock.now())
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Cache-Control": "no-store"}
        return web.Response(text=html, content_type="text/html", headers=headers)

    async def webhooks(self, _: web.Request) -> dict[str, str]:
        return self._fake.webhooks()

    async def add_webhook(self, request: web.Request) -> dict[str, str]:
        webhook = self._fake.add_webhook((await _body(request))["name"])
        return {webhook.name: webhook.url}

    async def read_token(self, _: web.Request) -> dict[str, str]:
        return {"token": self._fake.read_token}

    async def messages(self, request: web.Request) -> list[dict[str, Any]]:
        return self._fake.messages(request.query.get("webhook"))

    async def requests(self, request: web.Request) -> list[dict[str, Any]]:
        return self._fake.requests(after=int(request.query.get("after", "0")))

    async def pings(self, _: web.Request) -> list[dict[str, Any]]:
        return self._fake.pings()

    async def stats(self, _: web.Request) -> dict[str, Any]:
        requests = self._fake.requests()
        return {
            "messages": len(self._fake.messages()),
            "requests": len(requests),
            "violations": self._fake.violations,
            "early": sum(1 for one in requests if one["early_by"] > 0),
            "pings": sum(1 for one in self._fake.pings() if one["would_ping"]),
            "now": self._fake.clock.now().isoformat(),
        }

    async def reset(self, _: web.Request) -> dict[str, bool]:
        self._fake.reset()
        return {"ok": True}

    async def clock(self, request: web.Request) -> dict[str, str]:
        self._fake.clock.step(float((await _body(request))["step_seconds"]))
        return {"now": self._fake.clock.now().isoformat()}

    async def faults(self, _: web.Request) -> dict[str, Any]:
        with self._fake.lock:
            return {"queued": [rule.document() for rule in self._fake.faults.rules], "knobs": dict(KNOBS)}

    async def add_fault(self, request: web.Request) -> dict[str, Any]:
        rule = await _body(request)
        if rule.get("fault") == "network.refuse":
            self._fake.refuse_soon(float(rule.get("seconds", 1.0)))
            return {"fault": "network.refuse"}
        with self._fake.lock:
            return self._fake.faults.add(**rule).document()

    async def clear_faults(self, _: web.Request) -> dict[str, bool]:
        self._fake.clear_faults()
        return {"ok": True}

    async def state(self, request: web.Request) -> dict[str, str]:
        body = await _body(request)
        self._fake.set_state(body["webhook"], body["state"])
        return {body["webhook"]: body["state"]}

    async def meddle(self, request: web.Request) -> dict[str, Any]:
        body = await _body(request)
        if body["how"] not in ("deleted", "edited", "doubled"):
            raise ValueError("how is deleted, edited or doubled")
        return {"message_id": self._fake.meddle(body["how"], str(body["message_id"]), body.get("patch"))}

    async def add_thread(self, request: web.Request) -> dict[str, str]:
        body = await _body(request)
        return {"thread_id": self._fake.add_thread(body["webhook"], body.get("name", "thread"))}


async def _body(request: web.Request) -> dict[str, Any]:
    body = json.loads(await request.read() or b"{}")
    if not isinstance(body, dict):
        raise TypeError("the body must be a JSON object")
    return body
