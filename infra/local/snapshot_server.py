"""What the fakes of D1 and of the lenient receiver share: the server, the list of calls, the faults and their control API.

``POST /_fault`` {kind, count, on, skip, …} · ``GET|DELETE /_fault`` · ``GET|DELETE /_calls``. A fault strikes before the fake
looks at the call; how an answer travels (whole, never, cut off) is decided here. Binds to 127.0.0.1 only.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

from infra.local.snapshot_faults import KNOBS, STORING, Fault, Faults

HOST: Final = "127.0.0.1"
CALLS_MAX: Final = 10_000
BODY_BYTES_MAX: Final = 64 * 1024 * 1024
PAGE: Final = b"<html><body>Bad gateway</body></html>"
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call: header names are lower case, ``query`` holds the last value of each name."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer; ``travel``: whole, or ``reset`` (the connection is reset instead), or ``end`` (it is closed instead)."""

    status: int
    body: bytes
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    travel: str = "whole"


def told(status: int, document: object, **headers: str) -> Reply:
    """A JSON answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, body=json.dumps(document, separators=(",", ":")).encode(), headers=named)


class Served(ABC):
    """A fake and its server, in threads of its own. All methods may be called from any thread."""

    def __init__(self, *, port: int = 0) -> None:
        self.faults = Faults()
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self._calls: list[dict[str, Any]] = []
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = ThreadingHTTPServer((HOST, port), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True)

    # -- what a fake says ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def side(self, asked: Asked) -> str:
        """Say ``write`` or ``read``: which faults may strike the call."""

    @abstractmethod
    def answer(self, asked: Asked, fault: Fault | None) -> Reply:
        """Answer a call; ``fault``: one of ``STORING`` that befalls it."""

    @abstractmethod
    def failed(self, status: int) -> Reply:
        """The fake's own words for a failure: with 200, an answer that says it has failed."""

    @abstractmethod
    def noted(self, asked: Asked) -> dict[str, Any]:
        """What ``/_calls`` tells of a call beyond method, path, query, size, status and fault; never a credential."""

    # -- life ---------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving at once, hanging answers included."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:<port>``."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    # -- control, also behind /_fault and /_calls -----------------------------------------------------------------------------

    def fault(self, kind: str, **rule: Any) -> Fault:
        """Queue a fault (``snapshot_faults.KNOBS``): its options, and on, count, skip."""
        with self.lock:
            return self.faults.add(kind, **rule)

    def calls(self) -> list[dict[str, Any]]:
        """Every call, oldest first."""
        with self.lock:
            return list(self._calls)

    def forget_calls(self) -> None:
        """Empty the list of calls."""
        with self.lock:
            self._calls.clear()

    def control(self, asked: Asked) -> Reply:
        """Answer the control API."""
        if asked.headers.get("host", "").partition(":")[0] not in (HOST, "localhost"):
            return told(403, {"error": "this machine only"})
        match asked.method, asked.path:
            case "POST", "/_fault":
                try:
                    given = json.loads(asked.body)
                    return told(200, self.fault(str(given.pop("kind")), **given).document())
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    return told(400, {"error": str(error)})
            case "GET", "/_fault":
                with self.lock:
                    queued = [rule.document() for rule in self.faults.rules]
                return told(200, {"queued": queued, "knobs": {name: what for name, (what, _) in KNOBS.items()}})
            case "DELETE", "/_fault":
                with self.lock:
                    self.faults.rules.clear()
            case "GET", "/_calls":
                return told(200, self.calls())
            case "DELETE", "/_calls":
                self.forget_calls()
            case _:
                return told(404, {"error": "unknown"})
        return told(200, {"ok": True})

    # -- serving ------------------------------------------------------------------------------------------------------------

    def reply(self, asked: Asked) -> Reply:
        """Answer a call as the faults allow. It is noted as it comes, its status before the answer leaves."""
        noted = self.noted(asked)
        with self.lock:
            fault = self.faults.strike(self.side(asked))
            entry = {
                "method": asked.method, "path": asked.path, "query": dict(asked.query), "bytes": len(asked.body),
                "status": None, "fault": fault.kind if fault else None, **noted,
            }  # fmt: skip
            if len(self._calls) < CALLS_MAX:
                self._calls.append(entry)
        reply = self._struck(asked, fault)
        if reply.travel == "whole":
            entry["status"] = reply.status
        return reply

    def _struck(self, asked: Asked, fault: Fault | None) -> Reply:
        options = {} if fault is None else fault.options
        match None if fault is None else fault.kind:
            case "status":
                reply = self.failed(int(options["status"]))
                after = options["retry_after"]
                headers = dict(reply.headers) if after is None else {**reply.headers, "Retry-After": str(after)}
                return Reply(status=reply.status, body=reply.body, headers=headers)
            case "failure":
                return self.failed(200)
            case "not_json":
                return Reply(status=200, body=PAGE, kind="text/html")
            case "hang":
                self.stopping.wait(float(options["seconds"]))
                return Reply(status=0, body=b"", travel="end")
            case "reset_before":
                return Reply(status=0, body=b"", travel="reset")
            case "reset_after":
                done = self.answer(asked, None)
                return Reply(status=done.status, body=b"", travel="reset")
            case "slow":
                self.stopping.wait(float(options["seconds"]))
        return self.answer(asked, fault if fault is not None and fault.kind in STORING else None)


class _Handler(BaseHTTPRequestHandler):
    """One connection; an answer leaves in one write."""

    fake: Served
    protocol_version = "HTTP/1.1"
    timeout = 60
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Nothing is written: headers hold credentials."""

    def _any(self) -> None:
        size = self.headers.get("Content-Length") or "0"
        if not size.isdecimal() or int(size) > BODY_BYTES_MAX:
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        asked = Asked(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value.strip() for name, value in self.headers.items()},
            body=self.rfile.read(int(size)),
        )
        self._send(self.fake.control(asked) if parts.path.startswith("/_") else self.fake.reply(asked))

    def _send(self, reply: Reply) -> None:
        if reply.travel != "whole":
            self.close_connection = True
            if reply.travel == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            return
        self.send_response(reply.status)
        for name, value in {"Content-Type": reply.kind, "Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def handle(self) -> None:
        """Answer until the connection ends; a caller who has gone is no error."""
        with suppress(OSError):
            super().handle()

    def finish(self) -> None:
        """End the connection."""
        with suppress(OSError):
            super().finish()


for _method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler._any)


def serve_until_told(fake: Served, words: str) -> None:
    """Serve until SIGINT or SIGTERM; ``words`` go to standard output with the address."""
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with fake:
        print(f"{words}: {fake.base_url}", flush=True)
        done.wait()


def now_text() -> str:
    """The machine's time in the form that published times have."""
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}Z"
