"""The owners of the admin actions as a script, and the local cloud that says who we are: what came is kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fillbook.runtime.clock import real_epoch_seconds
from tests.support.signer import Signer

SIGNER = Signer()
NAMES = ("account_sync", "discord_notifier", "execution_sync", "replay_worker")
RUN = "6f0c2b1e-6f5e-5a3a-9a55-0d6a5e1d7c11"
ANSWERS: Mapping[str, tuple[int, Any]] = {
    "/timed/admin/replay-runs": (202, {"ok": True, "runs": [RUN]}),
    "/mt5/sync": (202, {"success": True, "executionId": RUN}),
    "/api/v1/jobs": (202, {"job_id": RUN, "is_new": True, "state": "queued"}),
    "/reconcile": (202, {"ok": True, "run_id": RUN}),
}


def audience(owner: str) -> str:
    """What tokens for an owner are made for."""
    return f"https://{owner}.test"


class Script:
    """What came, and what is answered: ``answers`` by path; ``behaviour`` hang, drip, huge or redirect goes before."""

    def __init__(self) -> None:
        self.url = ""
        self.came: list[tuple[str, dict[str, str], Any]] = []
        self.answers: dict[str, tuple[int, Any]] = dict(ANSWERS)
        self.headers: dict[str, str] = {}
        self.behaviour = ""
        self.released = threading.Event()

    def settings(self) -> dict[str, str]:
        """What tells ``trade_tracker`` of all this."""
        urls = {f"{name.upper()}_URL": self.url for name in NAMES}
        return urls | {f"{name.upper()}_AUDIENCE": audience(name) for name in NAMES} | {"FILLBOOK_LOCAL_URL": self.url}


class Handler(BaseHTTPRequestHandler):
    """Answers as the script of its server says."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    kept: Script

    def do_GET(self) -> None:
        self._give(200, json.dumps(SIGNER.certificates()))

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/token":
            token = SIGNER.sign(audience=sent["audience"], issued=real_epoch_seconds(), email=sent["email"])
            self._give(200, json.dumps({"token": token}))
            return
        kept = self.kept
        kept.came.append((self.path, dict(self.headers), sent))
        match kept.behaviour:
            case "hang":
                kept.released.wait(30)
                self.close_connection = True
            case "drip":
                self._drip()
            case "huge":
                self._give(202, json.dumps({"x": "y" * 2_000_000}))
            case "redirect":
                self._give(307, "", {"Location": f"{kept.url}/elsewhere"})
            case _:
                status, document = kept.answers[self.path]
                self._give(status, document if isinstance(document, str) else json.dumps(document), kept.headers)

    def _give(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(data)

    def _drip(self) -> None:
        self.send_response(202)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        with suppress(OSError):
            while not self.kept.released.wait(0.02):
                self.wfile.write(b" ")
                self.wfile.flush()
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def script() -> Iterator[Script]:
    """Serve on a free port until the block ends."""
    kept = Script()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Scripted", (Handler,), {"kept": kept}))
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
