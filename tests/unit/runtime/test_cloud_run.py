"""Starting a job: what the platform is sent, and that anything but an execution is an outside that is down."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from fillbook.runtime.cloud_run import CloudRun
from fillbook.runtime.errors import Unavailable

STARTED = {"name": "operations/1", "metadata": {"name": "projects/p/locations/r/jobs/a-job/executions/a-job-x1"}}


class Platform:
    """Answers every call with ``status`` and ``body``, and remembers what it was sent."""

    def __init__(self) -> None:
        self.status, self.body = 200, json.dumps(STARTED).encode()
        self.seen: list[tuple[str, str | None, Any]] = []
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                platform.seen.append((self.path, self.headers["Authorization"], sent))
                self.send_response(platform.status)
                self.send_header("Content-Length", str(len(platform.body)))
                self.end_headers()
                self.wfile.write(platform.body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def platform() -> Iterator[Platform]:
    made = Platform()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def started(url: str) -> str:
    client = CloudRun("p", "r", authorization=lambda: {"Authorization": "Bearer t"}, base_url=url)
    return client.run("a-job", tasks=7, environment={"SLOT": "s", "ALSO": "a"})


def test_an_execution_is_asked_for_with_its_tasks_and_settings(platform: Platform) -> None:
    assert started(platform.url) == "a-job-x1"
    settings = [{"name": "ALSO", "value": "a"}, {"name": "SLOT", "value": "s"}]
    asked = {"overrides": {"taskCount": 7, "containerOverrides": [{"env": settings}]}}
    assert platform.seen == [("/v2/projects/p/locations/r/jobs/a-job:run", "Bearer t", asked)]


@pytest.mark.parametrize(
    ("status", "body"),
    [(403, b"{}"), (404, b"{}"), (503, b""), (302, b""), (200, b"html"), (200, b"[]"), (200, b'{"metadata": 1}')],
)
def test_anything_but_an_execution_is_an_outside_that_is_down(platform: Platform, status: int, body: bytes) -> None:
    platform.status, platform.body = status, body
    with pytest.raises(Unavailable):
        started(platform.url)
    assert len(platform.seen) == 1, "a call that may have started one is not made again"


def test_a_platform_that_is_away_is_down() -> None:
    with pytest.raises(Unavailable, match="job_not_started"):
        started("http://127.0.0.1:9")
