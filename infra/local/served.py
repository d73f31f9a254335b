"""Serves a function as functions-framework does, and keeps a log of its requests, as Cloud Run keeps one before an instance.

``child.py PARENT served.py LOG --target …``: everything after the log goes to functions-framework. A line a request, written
when it has ended: begin and end (epoch nanoseconds), who called (``push``, ``schedule:<job>``, ``http``), bytes in and out,
status. The function sees nothing of it. A line is one short append, so that none is torn and a kill loses at most what is under
way. What the runner asks to see whether a process is up (``/favicon.ico``) is no request. Standard library and
functions-framework only, and started by path, so that nothing of ours is importable by the function.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import functions_framework._cli as framework

PROBE = "/favicon.ico"
NAME_CHARACTERS_MAX = 64


class Noted:
    """A WSGI application whose requests are noted in the file ``log`` (a descriptor opened for appending)."""

    def __init__(self, app: Callable[..., Iterable[bytes]], log: int) -> None:
        self._app, self._log = app, log

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        """Answer, piece by piece, and note the request when its last piece is gone or its reader is."""
        begun, sent, status = time.time_ns(), 0, "0"

        def start(line: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            nonlocal status
            status = line[:3]
            return start_response(line, headers, *error)

        pieces = self._app(environ, start)
        try:
            for piece in pieces:
                sent += len(piece)
                yield piece
        finally:
            if hasattr(pieces, "close"):
                pieces.close()
            if environ.get("PATH_INFO") != PROBE:
                asked = environ.get("CONTENT_LENGTH") or "0"
                line = f"{begun} {time.time_ns()} {caller(environ)} {asked} {sent} {status}\n"
                os.write(self._log, line.encode("ascii", "replace"))


def caller(environ: dict[str, Any]) -> str:
    """Who sent it: the Scheduler by its job's name, Pub/Sub, or anybody."""
    agent = environ.get("HTTP_USER_AGENT", "")
    if agent == "CloudPubSub-Google":
        return "push"
    job: str = environ.get("HTTP_X_CLOUDSCHEDULER_JOBNAME", "")
    if agent == "Google-Cloud-Scheduler" and job and job.replace("-", "").isalnum():
        return "schedule:" + job[:NAME_CHARACTERS_MAX]
    return "http"


def main() -> None:
    """Serve."""
    log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    module: Any = framework
    made = module.create_app

    def create_app(*arguments: Any) -> Any:
        app = made(*arguments)
        app.wsgi_app = Noted(app.wsgi_app, log)
        return app

    module.create_app = create_app
    module._cli()


if __name__ == "__main__":
    main()
