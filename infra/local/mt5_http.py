"""A small HTTP/1.1 server for the fake MT5 service: keep-alive, one write an answer, a timer for a reply that waits.

Written by hand because the benchmark runs ten thousand accounts against it on the core it shares with the worker: a call costs
no task, no stream and no header object. It speaks to loopback alone.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from infra.local.mt5_service import Reply

HOST: Final = "127.0.0.1"
BODY_BYTES_MAX: Final = 32 * 1024 * 1024
HEAD_BYTES_MAX: Final = 32 * 1024
_PHRASES: Final = {one.value: one.phrase for one in HTTPStatus}
Answer = Callable[[str, str, dict[str, str], bytes, str], Reply]
"""Method, target, headers (lower case), body, the caller's address."""


class Connection(asyncio.Protocol):
    """One kept-alive connection; the next request is read when the answer to the one before has left."""

    def __init__(self, answer: Answer, ended: Callable[[Reply], None], is_open: set[Connection]) -> None:
        self._answer, self._ended, self._open = answer, ended, is_open
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._reply: Reply | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin. asyncio has set TCP_NODELAY already."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._peer = str((transport.get_extra_info("peername") or ("",))[0])
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - of the protocol
        """The caller has gone, or we have."""
        self._open.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._finish()
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Take what came, and answer if a request is complete."""
        self._buffer += data
        if self._reply is None:
            self._next()

    def close(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    def _next(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_BYTES_MAX:
                self.close()
            return
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        size = headers.get("content-length", "0")
        parts = lines[0].split(" ")
        if len(parts) != 3 or not size.isdecimal() or int(size) > BODY_BYTES_MAX:
            self.close()
            return
        if len(self._buffer) < end + 4 + int(size):
            return
        body = bytes(self._buffer[end + 4 : end + 4 + int(size)])
        del self._buffer[: end + 4 + int(size)]
        self._reply = reply = self._answer(parts[0], parts[1], headers, body, self._peer)
        if reply.travel == "hang":
            return
        if reply.delay > 0:
            self._timer = asyncio.get_running_loop().call_later(reply.delay, self._send, reply)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        self._timer = None
        if self._transport is None:
            return
        if reply.travel == "reset":
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
            return
        more = "".join([f"{name}: {value}\r\n" for name, value in reply.headers.items()])
        head = (
            f"HTTP/1.1 {reply.status} {_PHRASES.get(reply.status, '')}\r\nContent-Type: {reply.kind}\r\n"
            f"Content-Length: {len(reply.body)}\r\n{more}\r\n"
        ).encode("latin-1")
        if reply.travel == "drip":
            self._transport.write(head)
            self._drip(reply, 0)
            return
        self._finish()  # first, so that who has read an answer finds its call over and its session free
        self._transport.write(head + reply.body)
        if self._buffer:
            asyncio.get_running_loop().call_soon(self._next)

    def _drip(self, reply: Reply, at: int) -> None:
        if self._transport is None:
            return
        if at + 1 < len(reply.body):
            self._timer = asyncio.get_running_loop().call_later(reply.interval, self._drip, reply, at + 1)
        else:
            self._finish()
        self._transport.write(reply.body[at : at + 1])

    def _finish(self) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            self._ended(reply)
