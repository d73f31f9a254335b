"""A fake of the Flex web service for the local cloud and for tests: requests on one port, statements on another.

In tests: ``with FlexFake(clock=clock) as flex:`` and give ``flex.send_url`` and ``flex.token`` to the adapter. In the local
cloud: ``python -m infra.local.flex --port N --statement-port M --token T --clock FILE --account U1234567 …``. Two ports, so that
whoever does not use the returned Url finds nothing. Control API on the first port: ``GET /_control/requests`` ·
``GET /_control/stats`` · ``GET|POST|DELETE /_control/faults`` · ``POST /_control/clock`` {step_seconds} ·
``POST /_control/token`` {token} · ``POST /_control/statement`` {query, body} · ``POST /_control/taken_back`` {executions:
[{exec_id, at, price}]}, all of them · ``POST /_control/reset``. Binds to 127.0.0.1 only.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from datetime import date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from fillbook.runtime.clock import Clock, DeskClock, SystemClock
from infra.local.discord import desk_speed
from infra.local.flex_book import TakenBack
from infra.local.flex_faults import KNOBS, Fault, Faults
from infra.local.flex_service import FlexRules, accepted, status, told
from infra.local.steppedclock import SteppedClock

HOST = "127.0.0.1"
TOKEN = "100000000000000000000001"  # noqa: S105 - of the fake
SEND_PATH = "/AccountManagement/FlexWebService/SendRequest"
STATEMENT_PATH = "/AccountManagement/FlexWebService/GetStatement"
FLOOD_BYTES = 200 * 1024 * 1024
HTML = b"<html><body>Service Unavailable</body></html>"
DOCTYPE = b'<!DOCTYPE FlexQueryResponse [<!ENTITY a "a">]>\n'
BOMB = (
    b'<!DOCTYPE FlexQueryResponse [<!ENTITY a0 "lol">'
    + b"".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">'.encode() for n in range(1, 10))
    + b"]>\n"
)
_POLL_SECONDS = 0.02


class FlexFake:
    """Both servers, each in threads of its own. All methods may be called from any thread."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        token: str = TOKEN,
        accounts: Sequence[str] = ("U1234567",),
        port: int = 0,
        statement_port: int = 0,
        speed: Callable[[], float] | None = None,
    ) -> None:
        """``speed``: of a desk clock that other processes read; their calls arrive a moment after they were paced, so the pace
        is kept to a fifth of a real second. Without it to the very instant.
        """
        self.clock = SteppedClock(clock or SystemClock())
        self.rules = FlexRules(token, accounts, self.clock.now)
        self.faults = Faults()
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self._speed = speed
        self._log: list[dict[str, Any]] = []
        self._servers = [_server(self, step, number) for step, number in (("send", port), ("fetch", statement_port))]
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), name="flex", daemon=True)
            for server in self._servers
        ]

    # -- life -----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start serving."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop serving at once, hanging answers included."""
        self.stopping.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def send_url(self) -> str:
        """Where SendRequest is."""
        return f"http://{HOST}:{self._servers[0].server_address[1]}{SEND_PATH}"

    @property
    def statement_url(self) -> str:
        """What SendRequest returns as Url."""
        return f"http://{HOST}:{self._servers[1].server_address[1]}{STATEMENT_PATH}"

    # -- control, also behind /_control -----------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        """The live token."""
        return self.rules.token

    def set_token(self, token: str) -> None:
        """Give out another token; the one before is invalid."""
        with self.lock:
            self.rules.token = token

    def fault(self, knob: str, **rule: Any) -> Fault:
        """Queue a fault (``flex_faults.KNOBS``)."""
        with self.lock:
            return self.faults.add(fault=knob, **rule)

    def serve(self, query_id: str, body: bytes) -> None:
        """Answer a query with ``body`` whatever the window."""

        def given(_from: date, _to: date) -> bytes:
            return body

        with self.lock:
            self.rules.queries[query_id] = given

    def take_back(self, executions: Sequence[TakenBack]) -> None:
        """What the broker took back of its own book, whatever was told before."""
        with self.lock:
            self.rules.taken_back = tuple(executions)

    def requests(self) -> list[dict[str, Any]]:
        """Every call, oldest first: at, step, query (without the token), user_agent, code, fault."""
        with self.lock:
            return list(self._log)

    def reset(self) -> None:
        """Forget calls, references, given statements and faults."""
        with self.lock:
            self.rules.reset()
            self.faults.rules.clear()
            self._log.clear()

    # -- serving ----------------------------------------------------------------------------------------------------------

    def answer(self, step: str, asked: dict[str, str], user_agent: str) -> tuple[bytes, Fault | None]:
        """The body of a call, and the fault that befalls it."""
        with self.lock:
            self.rules.slack_seconds = 0.0 if self._speed is None else 0.2 * max(1.0, self._speed())
            code = self.rules.refusal(asked.pop("t", ""))
            struck = self.faults.strike(step)
            if struck is not None and struck.knob == "code":
                code = int(struck.options["code"])
            entry = {"at": self.clock.now().isoformat(), "step": step, "query": asked, "user_agent": user_agent}
            self._log.append({**entry, "code": code, "fault": struck.knob if struck else None})
            if code is not None:
                return status(code), struck
            if step == "fetch":
                return self.rules.statement(asked), struck
            url = self.statement_url
            if struck is not None and struck.knob == "foreign_url":
                url = str(struck.options["url"])
                return accepted("1234567890", url), struck
            return self.rules.send(asked, url), struck

    def control(self, method: str, what: str, given: dict[str, Any]) -> object:
        """Answer the control API; raises ``KeyError`` or ``ValueError`` for what it does not understand."""
        match method, what:
            case "GET", "requests":
                return self.requests()
            case "GET", "stats":
                return {**told(self.rules), "calls": len(self._log), "now": self.clock.now().isoformat()}
            case "GET", "faults":
                return {"queued": [rule.document() for rule in self.faults.rules], "knobs": dict(KNOBS)}
            case "POST", "faults":
                return self.fault(str(given.pop("fault")), **given).document()
            case "DELETE", "faults":
                self.faults.rules.clear()
            case "POST", "clock":
                self.clock.step(float(given["step_seconds"]))
            case "POST", "token":
                self.set_token(str(given["token"]))
            case "POST", "statement":
                self.serve(str(given["query"]), str(given["body"]).encode())
            case "POST", "taken_back":
                self.take_back([_taken_back(**one) for one in given["executions"]])
            case "POST", "reset":
                self.reset()
            case _:
                raise KeyError(what)
        return {"ok": True}


def _taken_back(exec_id: str, at: str, price: str | None) -> TakenBack:
    return TakenBack(exec_id=exec_id, at=datetime.fromisoformat(at), price=price)


def _server(fake: FlexFake, step: str, port: int) -> ThreadingHTTPServer:
    class Handler(_Handler):
        pass

    Handler.fake, Handler.step = fake, step
    server = ThreadingHTTPServer((HOST, port), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    return server


class _Handler(BaseHTTPRequestHandler):
    """One call."""

    fake: FlexFake
    step: str
    timeout = 30

    def log_message(self, *_: object) -> None:
        """Nothing is written: the token is in the query."""

    def do_GET(self) -> None:
        """Answer a step, or the control API."""
        parts = urlsplit(self.path)
        if self.step == "send" and parts.path.startswith("/_control/"):
            self._control(parts.path.removeprefix("/_control/"))
        elif parts.path == (SEND_PATH if self.step == "send" else STATEMENT_PATH):
            asked = dict(parse_qsl(parts.query, keep_blank_values=True))
            body, struck = self.fake.answer(self.step, asked, self.headers.get("User-Agent", ""))
            self._send_struck(body, struck)
        else:
            self._send(HTML, status=404, kind="text/html")

    def do_POST(self) -> None:
        """The control API."""
        self.do_GET()

    def do_DELETE(self) -> None:
        """The control API."""
        self.do_GET()

    def _control(self, what: str) -> None:
        if self.headers.get("Host", "").partition(":")[0] not in (HOST, "localhost"):
            return self._send(b"{}", status=403, kind="application/json")
        try:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer, code = self.fake.control(self.command, what, json.loads(text or b"{}")), 200
        except (KeyError, TypeError, ValueError) as error:
            answer, code = {"error": str(error)}, 400
        return self._send(json.dumps(answer).encode(), status=code, kind="application/json")

    def _send(self, body: bytes, *, status: int = 200, kind: str = "application/xml", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _send_struck(self, body: bytes, struck: Fault | None) -> None:
        options = {} if struck is None else struck.options
        match None if struck is None else struck.knob:
            case "html":
                self._send(HTML, kind="text/html")
            case "empty":
                self._send(b"")
            case "http_error":
                self._send(HTML, status=int(options.get("status", 503)), kind="text/html")
            case "truncate":
                self._send(body[: int(options["at"])])
            case "doctype":
                self._send(DOCTYPE + body[body.index(b"<FlexQueryResponse") :])
            case "entity_bomb":
                self._send(BOMB + body[body.index(b"<FlexQueryResponse") :].replace(b'queryName="', b'queryName="&a9;', 1))
            case "redirect":
                self._send(b"", status=302, Location=str(options["url"]))
            case "gzip":
                self._send(gzip.compress(body), Content_Encoding="gzip")
            case "cut" | "drip" | "flood" | "hang" | "reset":
                self._fail(body, str(struck.knob) if struck else "", dict(options))
            case _:
                self._send(body)

    def _fail(self, body: bytes, knob: str, options: dict[str, Any]) -> None:
        self.close_connection = True
        if knob == "hang":
            self.fake.stopping.wait(float(options.get("seconds", 30)))
        if knob in ("hang", "reset"):
            return
        flood = int(options.get("bytes", FLOOD_BYTES)) if knob == "flood" else 0
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + flood))
        self.end_headers()
        try:
            if knob == "cut":
                self.wfile.write(body[: int(options["at"])])
            elif knob == "drip":
                for byte in body:
                    if self.fake.stopping.wait(float(options.get("interval", 0.05))):
                        return
                    self.wfile.write(bytes([byte]))
            else:
                self._flood(body, flood)
        except OSError:
            return

    def _flood(self, body: bytes, flood: int) -> None:
        at = body.rindex(b"</FlexStatements>")
        self.wfile.write(body[:at])
        for _ in range(flood // 65_536):
            if self.fake.stopping.is_set():
                return
            self.wfile.write(b" " * 65_536)
        self.wfile.write(b" " * (flood % 65_536) + body[at:])


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM. The token comes by ``--token`` or the environment's ``IBKR_FLEX_TOKEN``."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.flex", description="a fake of the Flex web service")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--statement-port", type=int, default=0)
    parser.add_argument("--token", default=os.environ.get("IBKR_FLEX_TOKEN", TOKEN))
    parser.add_argument("--clock", type=Path, help="desk clock file; the system clock without it")
    parser.add_argument("--account", action="append", help="an account the statements are of")
    options = parser.parse_args(arguments)
    fake = FlexFake(
        clock=DeskClock(options.clock) if options.clock else SystemClock(),
        token=options.token,
        accounts=options.account or ("U1234567",),
        port=options.port,
        statement_port=options.statement_port,
        speed=lambda: desk_speed(options.clock),
    )
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with fake:
        print(f"fake Flex web service: {fake.send_url}", flush=True)
        done.wait()


if __name__ == "__main__":
    main()
