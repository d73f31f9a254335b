"""A real message and schedule process for tests, and a receiver that answers its pushes as a test wants it to."""

from __future__ import annotations

import base64
import json
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from infra.local.control import ClockControl, Control
from infra.local.readiness import answers
from infra.local.wiring import Subscription, Wiring
from tests.support.forked import Started, program
from tests.support.waiting import WAIT_SECONDS, wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One request as the receiver saw it."""

    path: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    started_at: float

    @property
    def envelope(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def text(self) -> str:
        """The message's data as text."""
        return base64.b64decode(self.envelope["message"].get("data", "")).decode()


class Receiver:
    """An HTTP server on a free port; ``answer(push)`` gives the status, or None to break the connection."""

    def __init__(self, answer: Callable[[Push], int | None] | None = None) -> None:
        self.answer: Callable[[Push], int | None] = answer or (lambda _push: 204)
        self.pushes: list[Push] = []
        self.at_once_max = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.open()

    def open(self) -> None:
        """Listen, on the same port as before when there was one."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                receiver._serve(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        with self._changed:
            self._at_once += 1
            self.at_once_max = max(self.at_once_max, self._at_once)
            push = Push(
                path=handler.path,
                headers={name.lower(): value for name, value in handler.headers.items()},
                body=body,
                started_at=time.monotonic(),
            )
            self.pushes.append(push)
            self._changed.notify_all()
        status = self.answer(push)
        with self._lock:
            self._at_once -= 1
        with suppress(OSError):
            if status is None:
                handler.close_connection = True
                handler.connection.close()
                return
            handler.send_response(status)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def texts(self) -> list[str]:
        """Data of all pushes in order of arrival."""
        return [push.text for push in self.pushes]

    def wait_for(self, count: int, seconds: float = WAIT_SECONDS) -> list[Push]:
        """Wait until ``count`` pushes arrived; fails the test otherwise."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.pushes) >= count, seconds), f"{len(self.pushes)} of {count} pushes"
            return list(self.pushes)

    def subscription(self, **options: Any) -> Subscription:
        """An ordered subscription ``s`` of topic ``t`` that pushes here."""
        basis: dict[str, Any] = {"name": "s", "topic": "t", "url": self.url + "/", "audience": "https://a", "email": "push@x"}
        return Subscription(**{**basis, "ordered": True, "dead_letter_topic": "dead", **options})


class MessageProcess:
    """``infra.local.server`` as a process of its own; ``kill`` and ``start`` it as often as needed, on one port."""

    def __init__(self, home: Path, wiring: Wiring, port: int) -> None:
        self.home, self.port = home, port
        self.write(wiring)
        self._process: Started | None = None
        self.control = Control(f"http://127.0.0.1:{port}")
        self.clock = ClockControl(self.control)

    def write(self, wiring: Wiring) -> None:
        """What the next start is told."""
        wiring.write(self.home / "wiring.json")

    def start(self) -> None:
        """Start and wait until it answers."""
        arguments = ["--home", str(self.home), "--wiring", str(self.home / "wiring.json"), "--port", str(self.port)]
        self._process = program("infra.local.server").start(arguments, self.home / "server.log")
        end = time.monotonic() + WAIT_SECONDS
        while not answers(f"{self.control.url}/_control"):
            assert self._process.poll() is None, (self.home / "server.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill -9."""
        if self._process is not None:
            self._process.send(signal.SIGKILL)
            self._process.wait(WAIT_SECONDS)
            self._process = None

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self._process is not None
        self._process.send(signal.SIGTERM)
        status = self._process.wait(WAIT_SECONDS)
        self._process = None
        return status

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def publish(self, *texts: str, key: str = "k", topic: str = "t", **attributes: str) -> list[str]:
        """Publish each text as a message of its own request, so that each may be acknowledged alone."""
        ids = []
        for text in texts:
            message = {"data": base64.b64encode(text.encode()).decode(), "attributes": attributes, "orderingKey": key}
            ids += self.control.publish(topic, [message], project="p")
        return ids

    def figures(self, subscription: str = "s") -> dict[str, Any]:
        """Figures of a subscription."""
        found: dict[str, Any] = self.control.pubsub()["subscriptions"][subscription]
        return found

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Poll until something holds; fails the test otherwise."""
        wait_until(is_so, self.control.pubsub)
