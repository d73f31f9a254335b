"""An MT5 service that says what a test told it, call by call: answers by path, in turn, the last one for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from fillbook.mt5.model import ServiceFailure, StepFailure, Target, Window
from fillbook.mt5.mt5_calls import Hooks
from fillbook.mt5.mt5_service import Keys, Mt5Service
from fillbook.mt5.words import ContractKind
from fillbook.runtime import clock
from fillbook.runtime.clock import FixedClock
from tests.support.mt5_shapes import (
    NOW,
    NOW_MSC,
    deal,
    history_v0,
    info,
    infos_v0,
    position,
    positions_v0,
    snapshot_v1,
    target,
    wire,
)

KEY = "canary-api-key-0123456789"
HEALTHY_V1 = {"contract": "mt5/1", "status": "healthy", "limits": {"requests_per_minute": 600, "sessions": 20}}


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer. ``how``: plain, hang, drip (the body), drip_header, reset, cut (the body ends early)."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    how: str = "plain"

    def bytes(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else wire(self.body)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One call that came."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    port: int


class ScriptedService:
    """Where it is and what came to it; ``tell`` sets the answers of a path."""

    def __init__(self) -> None:
        self.base_url = ""
        self.calls: list[Seen] = []
        self.hung = threading.Event()
        self._answers: dict[str, list[Reply]] = {}
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Begin anew for another test."""
        self.calls.clear()
        self._answers.clear()

    def tell(self, path: str, *replies: Any) -> None:
        """Answer a path with these, in turn; a plain document is a 200."""
        self._answers[path] = [one if isinstance(one, Reply) else Reply(body=one) for one in replies]

    def paths(self) -> list[str]:
        """The paths that were asked for, in order."""
        return [call.path for call in self.calls]

    def next_reply(self, seen: Seen) -> Reply:
        """Note a call and give its answer; a path of which nothing was told does not exist."""
        with self._lock:
            self.calls.append(seen)
            left = self._answers.get(seen.path, [Reply(status=404, body={"detail": "Not found"})])
            return left.pop(0) if len(left) > 1 else left[0]


class _Handler(BaseHTTPRequestHandler):
    """One connection; a subclass says whose."""

    protocol_version = "HTTP/1.1"
    service: ScriptedService

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.service.next_reply(Seen(path=parts.path, query=query, headers=headers, port=self.client_address[1]))
        if reply.how == "hang":
            self.service.hung.wait(60)
        if reply.how in ("hang", "reset"):
            self.close_connection = True
            return
        with suppress(OSError):
            self._give(reply)

    def _give(self, reply: Reply) -> None:
        body = reply.bytes()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if reply.how == "drip_header":
            self.flush_headers()
            self._drip(b"X-Slow: 1\r\n" * 200)
        self.end_headers()
        if reply.how == "drip":
            self._drip(body)
        elif reply.how == "cut":
            self.wfile.write(body[:-5])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def _drip(self, body: bytes) -> None:
        for letter in body:
            self.wfile.write(bytes([letter]))
            if self.service.hung.wait(0.02):
                return

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A caller that hung up is no news."""


@contextmanager
def scripted_service() -> Iterator[ScriptedService]:
    """Run one on a free port of this machine."""
    service = ScriptedService()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": service}))
    service.base_url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield service
    finally:
        service.hung.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Watched:
    """An adapter whose pauses are noted instead of waited for, and whose hooks are noted too."""

    def __init__(self, **options: Any) -> None:
        self.pauses: list[float] = []
        self.before: list[str] = []
        self.limited: list[tuple[str, float]] = []
        hooks = Hooks(
            before_call=self.before.append,
            after_429=lambda key, seconds: self.limited.append((key, seconds)),
            jitter=lambda: 0.5,
            sleep=self.pauses.append,
        )
        keys = options.pop("keys", Keys(api_key=SecretStr(KEY)))
        self.service = Mt5Service(keys, now=FixedClock(NOW), hooks=hooks, **options)


def soon(seconds: float = 60.0) -> float:
    """A deadline."""
    return clock.monotonic() + seconds


# --- as the tests of the adapter say it ---------------------------------------------------------------------------------

SNAPSHOT, DEALS, SYMBOLS = (f"/v1/accounts/svc-7/{name}" for name in ("snapshot", "deals", "symbols"))
INFO, POSITIONS, HISTORY = (f"/api/mt5/account/svc-7/{name}" for name in ("info", "positions", "history"))
WHOLE = snapshot_v1(info(), (position(1), position(2)))
WINDOW = Window(from_msc=NOW_MSC - 86_400_000, to_msc=NOW_MSC + 86_400_000)


def v1(service: ScriptedService) -> Target:
    return target(service.base_url)


def v0(service: ScriptedService) -> Target:
    return target(service.base_url, ContractKind.V0)


def failed(part: Any) -> StepFailure:
    assert isinstance(part, StepFailure)
    return part


def refused(call: Any) -> StepFailure:
    with pytest.raises(ServiceFailure) as raised:
        call()
    return raised.value.failure


def tell_v0(service: ScriptedService, *positions: Any) -> None:
    service.tell(INFO, infos_v0(info(), len(positions))[0])
    service.tell(POSITIONS, positions_v0(positions)[0][0])
    service.tell(HISTORY, history_v0((deal(1), deal(2)))[0][0])
