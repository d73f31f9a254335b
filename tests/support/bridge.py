"""A function's test client behind a real socket, for programs that speak HTTP to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from flask.testing import FlaskClient


@contextmanager
def served(client: FlaskClient) -> Iterator[str]:
    """The URL of the function; requests are answered one after the other, as they come."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            given = client.open(self.path, method=self.command, headers=dict(self.headers), data=body)
            self.send_response(given.status_code)
            for name, value in given.headers.items():
                if name not in ("Content-Length", "Server", "Date", "Connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(given.data)))
            self.send_header("Connection", "close")
            self.close_connection = True
            self.end_headers()
            self.wfile.write(given.data)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
