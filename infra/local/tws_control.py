"""The control API of the fake TWS, on a port of its own: load a plan, turn knobs, list what came. Loopback only."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from infra.local.tws import TwsFake

HOST = "127.0.0.1"
BODY_BYTES_MAX = 4 * 1024 * 1024
_LOCAL_NAMES = ("127.0.0.1", "localhost")


class Control:
    """``GET /_control/received``, ``/orders``, ``/book``, ``/knobs`` · ``POST /plan``, ``/knobs``, ``/reset``.

    A plan is {executions: [fields], positions: [fields]}; 400 with ``error`` for what it does not understand.
    """

    def __init__(self, fake: TwsFake, port: int = 0) -> None:
        self._server = ThreadingHTTPServer((HOST, port), _handler(_routes(fake)))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="tws-control", daemon=True)

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:<port>``."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


Routes = dict[tuple[str, str], Callable[[dict[str, Any]], Any]]


def _routes(fake: TwsFake) -> Routes:
    def plan(body: dict[str, Any]) -> dict[str, bool]:
        fake.load(body.get("executions", ()), body.get("positions", ()))
        return {"ok": True}

    def turn(body: dict[str, Any]) -> dict[str, bool]:
        fake.turn(**body)
        return {"ok": True}

    def reset(_: dict[str, Any]) -> dict[str, bool]:
        fake.reset()
        return {"ok": True}

    def book(_: dict[str, Any]) -> dict[str, Any]:
        served = fake.book()
        return {"executions": served.executions, "positions": served.positions}

    return {
        ("GET", "/_control/received"): lambda _: fake.received(),
        ("GET", "/_control/orders"): lambda _: fake.orders(),
        ("GET", "/_control/book"): book,
        ("GET", "/_control/knobs"): lambda _: {name: getattr(fake.knobs, name) for name in fake.knobs.__dataclass_fields__},
        ("POST", "/_control/plan"): plan,
        ("POST", "/_control/knobs"): turn,
        ("POST", "/_control/reset"): reset,
    }


def _handler(routes: Routes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve({})

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            if size > BODY_BYTES_MAX:
                self._tell(413, {"error": "too long"})
                return
            try:
                body = json.loads(self.rfile.read(size) or b"{}")
            except ValueError:
                self._tell(400, {"error": "no JSON"})
                return
            self._serve(body)

        def _serve(self, body: Any) -> None:
            # The Host is checked too: a page in a browser may point its own name at this address.
            if self.headers.get("Host", "").partition(":")[0] not in _LOCAL_NAMES:
                self._tell(403, {"error": "loopback only"})
                return
            route = routes.get((self.command, self.path.partition("?")[0]))
            if route is None:
                self._tell(404, {"error": "unknown"})
                return
            try:
                self._tell(200, route(body))
            except (AttributeError, TypeError, ValueError) as error:
                self._tell(400, {"error": str(error)})

        def _tell(self, status: int, answer: Any) -> None:
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing: the fake's own list of frames is the log."""

    return Handler
