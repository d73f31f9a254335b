"""A stand-in for Pub/Sub on loopback: keeps what is published, or refuses, or hangs; serves certificates; makes envelopes."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HANG_SECONDS_MAX = 60


class Topics:
    """What was published, by topic; ``behaviour`` is ``ok``, ``hang`` or a status to answer with.

    ``certificates`` are those that sign pushes.
    """

    def __init__(self) -> None:
        self.messages: dict[str, list[dict[str, Any]]] = {}
        self.behaviour: str | int = "ok"
        self.certificates: dict[str, str] = {}
        self.released = threading.Event()
        self.url = ""

    def data(self, topic: str) -> list[bytes]:
        return [base64.b64decode(message["data"]) for message in self.messages.get(topic, [])]


@contextmanager
def topics() -> Iterator[Topics]:
    """Serve on a free port until the block ends."""
    kept = Topics()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one write per answer, or the client waits 40 ms for the rest

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if kept.behaviour == "hang":
                kept.released.wait(HANG_SECONDS_MAX)
                self.close_connection = True
                return
            if not self.path.endswith(":publish"):
                self.send_error(404)
                return
            topic = self.path.rpartition("/")[2].removesuffix(":publish")
            if kept.behaviour == "ok":
                kept.messages.setdefault(topic, []).extend(sent["messages"])
                answer = json.dumps({"messageIds": [str(number) for number, _ in enumerate(sent["messages"])]}).encode()
                self.send_response(200)
            else:
                answer = b"{}"
                self.send_response(int(kept.behaviour))
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_GET(self) -> None:
            answer = json.dumps(kept.certificates).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield kept
    finally:
        kept.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def envelope(data: bytes, *, ordering_key: str = "", attempt: int = 1, **attributes: str) -> dict[str, Any]:
    """A push request's body as Pub/Sub sends it."""
    message: dict[str, Any] = {
        "data": base64.b64encode(data).decode(),
        "attributes": attributes,
        "messageId": "7",
        "publishTime": "2026-02-03T15:16:01.000Z",
    }
    if ordering_key:
        message["orderingKey"] = ordering_key
    return {"message": message, "subscription": "projects/p/subscriptions/s", "deliveryAttempt": attempt}
