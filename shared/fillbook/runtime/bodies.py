"""Request bodies: counted while they are read, then parsed; a header is never believed about its size.

A client that drips is cut off: the server's own read would wait for it for ever, so one thread per process shuts the
socket of a body that has not come in time. Nothing is ever decompressed: a body with a Content-Encoding is refused by
whoever cares, and to everybody else it is bytes that are no JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Request, Response
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from fillbook.money import parse
from fillbook.runtime import clock
from fillbook.runtime.errors import Rejected

CHUNK_BYTES = 65_536
READ_SECONDS_MAX = 10.0
CUT_TICK_SECONDS = 0.25
DRAIN_BYTES_MAX = 65_536
DRAIN_SECONDS_MAX = 1.0
_READ = "fillbook.body_read"


class _Cutter:
    """Shuts the reading side of sockets whose body is overdue; wakes four times a second once a body was ever read."""

    def __init__(self) -> None:
        self._due: dict[int, tuple[float, socket.socket]] = {}  # one operation of a dict is atomic: no lock
        self._thread: threading.Thread | None = None

    def watch(self, sock: socket.socket, deadline: float) -> None:
        self._due[id(sock)] = (deadline, sock)
        if self._thread is None or not self._thread.is_alive():  # the first body, or the first one after a fork
            self._thread = threading.Thread(target=self._run, name="body-cutter", daemon=True)
            self._thread.start()

    def forget(self, sock: socket.socket) -> None:
        self._due.pop(id(sock), None)

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(CUT_TICK_SECONDS):
            now = clock.monotonic()
            for deadline, sock in list(self._due.values()):
                if now > deadline:
                    self.forget(sock)
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RD)


_cutter = _Cutter()


def read_body(request: Request, limit: int, *, seconds: float = READ_SECONDS_MAX) -> bytes:
    """Return the body; raises ``Rejected`` ``body_too_large`` (413), ``body_too_slow`` (408), ``body_incomplete`` (400)."""
    declared = request.content_length
    if declared is not None and declared > limit:
        raise Rejected("body_too_large", status=413)
    deadline = clock.monotonic() + seconds
    try:
        with _in_time(request, deadline):
            return _counted(request, limit, deadline)
    except RequestEntityTooLarge:
        raise Rejected("body_too_large", status=413) from None
    except (ClientDisconnected, OSError) as error:
        if clock.monotonic() > deadline:
            raise Rejected("body_too_slow", status=408) from None
        raise Rejected("body_incomplete", type(error).__name__) from None


@contextlib.contextmanager
def _in_time(request: Request, deadline: float) -> Iterator[None]:
    sock = socket_of(request)
    if sock is not None:
        _cutter.watch(sock, deadline)
    try:
        yield
    finally:
        if sock is not None:
            _cutter.forget(sock)


def socket_of(request: Request) -> socket.socket | None:
    """The connection a request came on; None where the server does not hand it over."""
    sock = request.environ.get("gunicorn.socket")
    return sock if isinstance(sock, socket.socket) else None


def _counted(request: Request, limit: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        chunk = request.stream.read(min(CHUNK_BYTES, limit + 1 - size))
        if not chunk:
            request.environ[_READ] = True
            return b"".join(parts)
        size += len(chunk)
        if size > limit:
            raise Rejected("body_too_large", status=413)
        if clock.monotonic() > deadline:
            raise Rejected("body_too_slow", status=408)
        parts.append(chunk)


def leave_nothing_to_read(request: Request, response: Response) -> None:
    """Make sure that nobody reads the rest of a body after the answer.

    functions-framework reads the whole rest into memory then, however long it is. A short rest is read and dropped, so that
    the connection can be kept; a long or endless one is never read: the connection ends with the answer.
    """
    has_body = bool(request.content_length) or "Transfer-Encoding" in request.headers
    if has_body and _READ not in request.environ and not _drained(request):
        sock = socket_of(request)
        if sock is not None:
            response.call_on_close(lambda: _shut(sock))
    request.stream = io.BytesIO()


def _drained(request: Request) -> bool:
    length = request.content_length
    if length is None or length > DRAIN_BYTES_MAX:
        return False
    try:
        with _in_time(request, clock.monotonic() + DRAIN_SECONDS_MAX):
            while request.stream.read(DRAIN_BYTES_MAX):
                pass
    except (ClientDisconnected, RequestEntityTooLarge, OSError):
        return False
    return True


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def parse_json_object(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object in ``body`` (an empty body is ``{}``); raises ``Rejected('json_invalid')``.

    For small bodies of people and schedules: duplicate keys, NaN, deep nesting and endless exponents are refused, fractions
    become Decimal.
    """
    if not body.strip():
        return {}
    try:
        document = json.loads(body, object_pairs_hook=_unique, parse_float=parse, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Rejected("json_invalid") from None
    if not isinstance(document, dict):
        raise Rejected("json_invalid", "not an object")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate key")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(name)
