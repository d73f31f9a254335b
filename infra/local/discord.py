"""A fake of Discord's webhook API for the local cloud and for tests: real paths, real limits, every fault on demand.

In tests: ``with DiscordFake(clock=clock) as discord:`` and give ``discord.api_base`` and ``discord.webhook("ops").url`` to
the adapter. In the local cloud: ``python -m infra.local.discord --port N --state FILE --clock FILE --webhook ops …``.
The inbox page is at ``/``, the control API at ``/_control`` (``discord_control.py``). Binds to 127.0.0.1 only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from fillbook.runtime.clock import Clock, DeskClock, SystemClock
from infra.local.discord_api import DiscordApi
from infra.local.discord_control import add_control
from infra.local.discord_faults import Fault, Faults
from infra.local.discord_limits import Limits
from infra.local.discord_shapes import Ask, Reply
from infra.local.discord_store import DiscordStore, Webhook
from infra.local.steppedclock import SteppedClock

HOST = "127.0.0.1"
BODY_BYTES_MAX = 30 * 1024 * 1024
DEFAULT_WEBHOOKS = ("executions", "ops", "lanes")
TRAVEL_SECONDS = 0.05  # what a request may spend on its way, in real time
_POLL_SECONDS = 0.02


class DiscordFake:
    """The server, in a thread of its own. All methods may be called from any thread."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        state: Path | None = None,
        port: int = 0,
        webhooks: Sequence[str] = DEFAULT_WEBHOOKS,
        speed: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self.clock = SteppedClock(clock or SystemClock())
        self.store = DiscordStore(state)
        self.faults = Faults()
        self.limits = Limits()
        self.lock = threading.RLock()
        self._api = DiscordApi(self.store, self.faults, self.limits, self.clock)
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="discord", daemon=True)
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._speed = speed
        self._stopping = False
        self._later: asyncio.Task[None] | None = None
        for name in webhooks:
            self.add_webhook(name)

    # -- life -----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start serving; ``base_url`` is known afterwards."""
        self._thread.start()
        self._await(self._open())

    def stop(self) -> None:
        """Stop serving at once, hanging answers included, and close the state file."""
        self._stopping = True
        self._await(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.store.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _await(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _open(self) -> None:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        add_control(app, self)
        app.router.add_route("*", "/api/{tail:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await self._listen()

    async def _listen(self) -> None:
        if self._runner is None or self._site is not None:
            return
        self._site = web.TCPSite(self._runner, HOST, self._port, reuse_address=True)
        await self._site.start()
        if self._port == 0:
            self._port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _deafen(self) -> None:
        if self._site is None or self._runner is None or self._runner.server is None:
            return
        site, self._site = self._site, None
        await site.stop()
        for connection in list(self._runner.server.connections):  # kept-alive ones would go on being served
            if connection.transport is not None:
                connection.transport.close()

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:<port>``."""
        return f"http://{HOST}:{self._port}"

    @property
    def api_base(self) -> str:
        """What ``DISCORD_API_BASE`` should hold."""
        return f"{self.base_url}/api/v10"

    @property
    def read_token(self) -> str:
        """The read bot's token (``DISCORD_READ_TOKEN``)."""
        with self.lock:
            return self.store.read_token()

    # -- control, also behind /_control -----------------------------------------------------------------------------------

    def webhook(self, name: str) -> Webhook:
        """Return the webhook called ``name``; raises ``KeyError``."""
        with self.lock:
            return {webhook.name: webhook for webhook in self.store.webhooks()}[name]

    def webhooks(self) -> dict[str, str]:
        """Return ``{name: url as copied from Discord}``."""
        with self.lock:
            return {webhook.name: webhook.url for webhook in self.store.webhooks()}

    def add_webhook(self, name: str) -> Webhook:
        """Return the webhook ``name`` or, as ``name@channel``, a second one in that channel; made when missing."""
        with self.lock:
            return self.store.ensure_webhook(_named(name)[0], channel=_named(name)[1])

    def add_thread(self, webhook: str, name: str = "thread") -> str:
        """Return the id of a new thread in the webhook's channel."""
        with self.lock:
            return self.store.add_thread(name, self.webhook(webhook).channel_id)

    def make_forum(self, webhook: str) -> None:
        """Turn the webhook's channel into a forum: a post without ``thread_id`` is refused."""
        with self.lock:
            self.store.make_forum(self.webhook(webhook).channel_id)

    def messages(self, webhook: str | None = None) -> list[dict[str, Any]]:
        """Return messages oldest first, of all channels or of what one webhook posted."""
        with self.lock:
            found = self.store.messages()[::-1]
            identity = self.webhook(webhook).webhook_id if webhook else None
        return [one for one in found if identity is None or one["webhook_id"] == identity]

    def requests(self, *, after: int = 0) -> list[dict[str, Any]]:
        """Return the request log oldest first: at (desk time), operation, webhook, status, code, fault, early_by, body."""
        with self.lock:
            return self.store.requests(after=after)

    def pings(self) -> list[dict[str, Any]]:
        """Return every mention seen; ``would_ping`` says whether somebody would have been disturbed."""
        with self.lock:
            return self.store.pings()

    @property
    def violations(self) -> int:
        """How many requests came although a window was full or a wait had been told."""
        with self.lock:
            return self.limits.violations

    def fault(self, knob: str, **rule: Any) -> Fault | None:
        """Queue a fault (``discord_faults.KNOBS``); ``network.refuse`` acts at once and returns None."""
        if knob == "network.refuse":
            self.refuse(seconds=rule.get("seconds"))
            return None
        with self.lock:
            return self.faults.add(fault=knob, **rule)

    def clear_faults(self) -> None:
        """Take all faults out of the queue."""
        with self.lock:
            self.faults.clear()

    def set_state(self, webhook: str, state: str) -> None:
        """Break a webhook until set to ``ok`` again: deleted, token_bad, forbidden, channel_deleted."""
        if state not in ("ok", "deleted", "token_bad", "forbidden", "channel_deleted"):
            raise ValueError(f"unknown state {state!r}")
        with self.lock:
            self.store.set_state(self.webhook(webhook).name, state)

    def meddle(self, how: str, message_id: str, patch: dict[str, Any] | None = None) -> str | None:
        """Let a person have ``deleted``, ``edited`` (with ``patch``) or ``doubled`` a message; None when it is unknown."""
        with self.lock:
            return self._api.meddle(how, message_id, self.clock.now(), patch)

    def reset(self) -> None:
        """Forget messages, requests, pings, faults, windows and states; webhooks and tokens stay."""
        with self.lock:
            self.store.reset()
            self.faults.clear()
            self.limits.clear()

    def refuse(self, *, seconds: float | None = None) -> None:
        """Close the port: connections are refused until ``accept`` or for ``seconds`` of desk time."""
        self._await(self._deafen())
        if seconds is not None:
            asyncio.run_coroutine_threadsafe(self._accept_at(self.clock.now() + timedelta(seconds=seconds)), self._loop)

    def refuse_soon(self, seconds: float) -> None:
        """The same from a request handler: the answer still leaves before the port closes."""
        self._later = self._loop.create_task(self._refuse_for(seconds))

    async def _refuse_for(self, seconds: float) -> None:
        until = self.clock.now() + timedelta(seconds=seconds)
        await asyncio.sleep(_POLL_SECONDS)
        await self._deafen()
        await self._accept_at(until)

    def accept(self) -> None:
        """Open the port again."""
        self._await(self._listen())

    async def _accept_at(self, until: datetime) -> None:
        while self.clock.now() < until and not self._stopping:
            await asyncio.sleep(_POLL_SECONDS)
        if not self._stopping:
            await self._listen()

    # -- serving ----------------------------------------------------------------------------------------------------------

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        ask = Ask(
            method=request.method, path=request.path, query=dict(request.query), headers=dict(request.headers),
            body=await request.read(), address=request.remote or "",
        )  # fmt: skip
        with self.lock:
            self.limits.slack_seconds = max(0.0, self._speed() - 1.0) * TRAVEL_SECONDS
            reply = self._api.answer(ask)
        return await self._send(request, reply)

    async def _send(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        if reply.travel in ("reset", "hang"):
            if reply.travel == "hang":
                await self._wait_while(lambda: request.transport is not None and not request.transport.is_closing())
            _reset(request.transport)
            return web.Response()
        headers = {**reply.headers, "Content-Type": "text/html" if reply.html is not None else "application/json"}
        if reply.travel == "plain":
            return web.Response(status=reply.status, body=reply.body, headers=headers)
        response = web.StreamResponse(status=reply.status, headers=headers)
        await response.prepare(request)
        try:
            if reply.travel == "drip":
                await self._drip(response, reply)
            else:
                await self._flood(response, reply)
        except ConnectionError:
            return response
        return response

    async def _wait_while(self, holds: Callable[[], bool]) -> None:
        while holds() and not self._stopping:
            await asyncio.sleep(_POLL_SECONDS)

    async def _drip(self, response: web.StreamResponse, reply: Reply) -> None:
        for byte in reply.body:
            if self._stopping:
                return
            await response.write(bytes([byte]))
            await asyncio.sleep(float(reply.options.get("interval", 1.0)))

    async def _flood(self, response: web.StreamResponse, reply: Reply) -> None:
        await response.write(reply.body[:-1] + b', "padding": "')
        left = int(reply.options.get("bytes", 50 * 1024 * 1024))
        while left > 0 and not self._stopping:
            await response.write(b"x" * min(left, 65_536))
            left -= 65_536
        await response.write(b'"}')


def _reset(transport: asyncio.Transport | None) -> None:
    """Drop the connection with RST, as a crashed peer does, not with an orderly end."""
    if transport is None:
        return
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def desk_speed(path: Path | None) -> float:
    """Return how fast the desk clock of a file runs; 1 without one, and while it is paused or being replaced."""
    try:
        document = json.loads(path.read_text(encoding="utf-8")) if path else {}
        return 1.0 if document.get("paused", False) else float(document.get("speed", 1.0))
    except (OSError, ValueError):
        return 1.0


def _named(name: str) -> tuple[str, str | None]:
    webhook, _, channel = name.partition("@")
    return webhook, channel or None


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.discord", description="a fake of Discord's webhook API")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path, help="SQLite file that keeps messages, webhooks and tokens")
    parser.add_argument("--clock", type=Path, help="desk clock file; the system clock without it")
    parser.add_argument("--webhook", action="append", help="name, or name@channel for a second webhook in one channel")
    options = parser.parse_args(arguments)
    clock = DeskClock(options.clock) if options.clock else SystemClock()
    fake = DiscordFake(
        clock=clock,
        state=options.state,
        port=options.port,
        webhooks=options.webhook or DEFAULT_WEBHOOKS,
        speed=lambda: desk_speed(options.clock),
    )
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with fake:
        print(f"discord fake: inbox {fake.base_url}/  api {fake.api_base}", flush=True)
        done.wait()


if __name__ == "__main__":
    main()
