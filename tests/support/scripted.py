"""An HTTP server that gives the answers it was told, in turn."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def scripted(*answers: tuple[Any, str]) -> Iterator[tuple[str, list[tuple[str, Any, str | None]]]]:
    """Give these answers (status, ``hang`` or ``drip``, and body) in turn, the last one for ever; yields URL and what came."""
    seen: list[tuple[str, Any, str | None]] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            payload = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, json.loads(payload), self.headers.get("Authorization")))
            self._give()

        def do_GET(self) -> None:
            seen.append((self.path, None, self.headers.get("Authorization")))
            self._give()

        def _give(self) -> None:
            status, text = left.pop(0) if len(left) > 1 else left[0]
            if status == "hang":
                hung.wait(60)
                return
            self.send_response(200 if status == "drip" else status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if status == "drip":
                self._drip(text)
                return
            self.wfile.write(text.encode())

        def _drip(self, text: str) -> None:
            with suppress(OSError):
                for letter in text:
                    self.wfile.write(letter.encode())
                    if hung.wait(0.02):
                        return

        def log_message(self, *_: object) -> None:
            pass

    hung = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        hung.set()
        server.shutdown()
        thread.join()
        server.server_close()
