"""The conversation with Postgres on a socket that is already logged in: one message out, all its answers back.

pg8000 opens the connection and logs in (``db.py``); from then on it would need three round trips for a statement with
parameters and would lose step with the server when a parameter cannot be encoded half-way (platform.md 2). Here a
message is complete before its first byte leaves, several statements share it, and every answer is read up to the last
``ReadyForQuery``. ``in_step`` is False from the first byte sent until then: a connection abandoned in between (timeout,
broken socket, exception thrown into the thread) must be thrown away, never lent again.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import IO, Any, cast

from fillbook.runtime.rows import Texts, columns

_HEAD = Struct("!ci")
_SIZE = Struct("!i")
_SHORT = Struct("!h")
_FIELD = Struct("!ihihih")
_DESCRIBE_EXECUTE_SYNC = b"D\x00\x00\x00\x06P\x00" + b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00" + b"S\x00\x00\x00\x04"
_TERMINATE = b"X\x00\x00\x00\x04"
_COPY_DONE = b"c\x00\x00\x00\x04"
_COPY_CHUNK_BYTES = 65_536
MESSAGE_BYTES_MAX = 256 * 1024 * 1024  # far above any document of ours, far below the protocol's 1 GB
READ_BYTES = 65_536
"""Taken from the socket at once: after each read a thread waits until the others let it go on."""
PLANS_MAX = 32
"""How many statements a connection keeps planned; a plan takes the server some 100 kB."""

IDLE = b"I"
FAILED = b"E"


class WireBroken(Exception):
    """The socket or the protocol failed; what was under way has an unknown outcome. ``server`` is its last word, if any."""

    def __init__(self, detail: str, server: ServerError | None = None, *, timed_out: bool = False) -> None:
        super().__init__(detail)
        self.server = server
        self.timed_out = timed_out


def _broken(error: OSError | ValueError) -> WireBroken:
    return WireBroken(f"{type(error).__name__} on the database connection", timed_out=isinstance(error, TimeoutError))


class ServerError(Exception):
    """The server refused a statement; the connection is still in step. Only code and names, no row values."""

    def __init__(self, fields: dict[str, str]) -> None:
        self.sqlstate = fields.get("C", "XX000")
        self.constraint = fields.get("n", "")
        self.message = fields.get("M", "")
        super().__init__(f"{self.sqlstate}: {self.message}")


@dataclass(slots=True)
class Result:
    """The answer to one statement: its rows as they came, column names and type oids, the command tag."""

    bodies: list[bytes] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    oids: list[int] = field(default_factory=list)
    tag: str = ""

    @property
    def columns(self) -> list[Texts]:
        """The texts of the rows by column, read anew each time."""
        return columns(self.bodies, len(self.names))

    @property
    def rows(self) -> list[tuple[str | None, ...]]:
        """The texts of the rows, read anew each time."""
        return list(zip(*self.columns, strict=True)) if self.names else [()] * len(self.bodies)


def query_message(text: str) -> bytes:
    """Return the simple-protocol message for ``text``, one or several statements without parameters."""
    return _framed(b"Q", text.encode() + b"\x00")


def extended_message(text: str, values: Sequence[str | None]) -> bytes:
    """Return Parse, Bind, Describe, Execute and Sync for one statement with text parameters: one round trip."""
    return _parse(b"", text) + _bind(b"", values) + _DESCRIBE_EXECUTE_SYNC


def _parse(name: bytes, text: str) -> bytes:
    return _framed(b"P", name + b"\x00" + text.encode() + b"\x00\x00\x00")


def _bind(name: bytes, values: Sequence[str | None]) -> bytes:
    """The message that gives a statement its parameters, in the unnamed portal, without format codes (all text)."""
    parts = [b"\x00", name, b"\x00\x00\x00", _SHORT.pack(len(values))]
    for value in values:
        if value is None:
            parts.append(_SIZE.pack(-1))
        else:
            raw = value.encode()
            parts += (_SIZE.pack(len(raw)), raw)
    parts.append(b"\x00\x00")
    return _framed(b"B", b"".join(parts))


def _framed(code: bytes, body: bytes) -> bytes:
    if len(body) > MESSAGE_BYTES_MAX:
        raise ValueError(f"a message of {len(body)} bytes is above the limit of {MESSAGE_BYTES_MAX}")
    return code + _SIZE.pack(len(body) + 4) + body


class Plans:
    """The statements that one connection has planned under names of their own, the longest unused given up for a new one."""

    __slots__ = ("_closing", "_count", "_known")

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}
        self._closing = b""
        self._count = 0

    def message(self, text: str, values: Sequence[str | None]) -> bytes:
        """As ``extended_message``, without Parse where the statement is known."""
        name = self._known.pop(text, b"")
        parse = b""
        if not name:
            if len(self._known) >= PLANS_MAX:
                self.forget(next(iter(self._known)))
            self._count += 1  # a name is never used again: what became of one whose Parse failed is not known
            name = b"plan_%d" % self._count
            parse = _parse(name, text)
        self._known[text] = name
        closing, self._closing = self._closing, b""
        return closing + parse + _bind(name, values) + _DESCRIBE_EXECUTE_SYNC

    def forget(self, text: str) -> None:
        """Have a statement planned anew when it is asked next; the server is told with the next message to let the old one go."""
        name = self._known.pop(text, None)
        if name is not None:
            self._closing += _framed(b"C", b"S" + name + b"\x00")


class Wire:
    """One logged-in connection. Not for two threads at once; the pool sees to that."""

    __slots__ = ("_file", "_read", "_socket", "in_step", "plans", "status")

    def __init__(self, sock: socket.socket) -> None:
        """Talk on a socket on which the login is over: nothing of its answers is left to be read."""
        self._socket = sock
        self._file = cast("IO[bytes]", sock.makefile("rb", READ_BYTES))
        self._read = self._file.read
        self.in_step = True
        self.plans = Plans()
        self.status = IDLE

    def exchange(self, message: bytes, readies: int = 1) -> list[Result]:
        """Send ``message`` and return the result of each statement; ``readies`` is its number of Query and Sync parts.

        Raises the first ``ServerError`` (in step afterwards) or ``WireBroken`` (throw the connection away).
        """
        self.send(message)
        return self.receive(readies)

    def send(self, message: bytes) -> None:
        """Send ``message``; its answers have to be received before anything else is sent. Raises ``WireBroken``."""
        self.in_step = False
        try:
            self._socket.sendall(message)
        except (OSError, ValueError) as error_of_socket:
            raise _broken(error_of_socket) from error_of_socket

    def receive(self, readies: int = 1) -> list[Result]:
        """The answers to what was sent; raises as ``exchange``."""
        try:
            results, error = self._answers(readies)
        except (OSError, ValueError) as error_of_socket:
            raise _broken(error_of_socket) from error_of_socket
        self.in_step = True
        if error is not None:
            raise error
        return results

    def copy_in(self, statement: str, lines: Iterable[str]) -> int:
        """Run ``copy … from stdin`` with text ``lines`` (without line ends) in large chunks; return the rows copied."""
        self.in_step = False
        try:
            self._socket.sendall(query_message(statement))
            self._await_copy()
            for chunk in _chunks(lines):
                self._socket.sendall(_framed(b"d", chunk))
            self._socket.sendall(_COPY_DONE)
            results, error = self._answers(1)
        except OSError as error_of_socket:
            raise _broken(error_of_socket) from error_of_socket
        self.in_step = True
        if error is not None:
            raise error
        return int(results[-1].tag.rpartition(" ")[2])

    def is_alive(self) -> bool:
        """Say whether an idle connection may be lent: the server has closed it, or speaks unasked, when it is readable."""
        try:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN | select.POLLERR | select.POLLHUP)
            return self.in_step and not poll.poll(0)
        except (OSError, ValueError):
            return False

    def close(self) -> None:
        """Say goodbye and close; never raises, whatever state the connection is in."""
        if self.in_step:
            with contextlib.suppress(OSError, ValueError):
                self._socket.sendall(_TERMINATE)
        self.abandon()

    def abandon(self) -> None:
        """Close the socket without a word: in a forked child the connection belongs to the parent."""
        self.in_step = False
        for end in (self._file, self._socket):
            with contextlib.suppress(OSError, ValueError):
                end.close()

    def _take(self, size: int) -> bytes:
        data = self._read(size)
        if len(data) != size:
            raise WireBroken("the server closed the connection")
        return data

    def _await_copy(self) -> None:
        while True:
            code, size = _HEAD.unpack(self._take(5))
            body = self._take(size - 4)
            if code == b"G":
                return
            if code == b"E":
                error = _server_error(body)
                self._answers(1, error)
                self.in_step = True
                raise error

    def _answers(self, readies: int, error: ServerError | None = None) -> tuple[list[Result], ServerError | None]:
        results: list[Result] = []
        current = Result()
        take = self._take
        try:
            while readies:
                code, size = _HEAD.unpack(take(5))
                body = take(size - 4) if size > 4 else b""
                if code == b"D":
                    current.bodies.append(body)
                elif code == b"T":
                    current.names, current.oids = _described(body)
                elif code == b"C":
                    current.tag = body[:-1].decode()
                    results.append(current)
                    current = Result()
                elif code == b"Z":
                    self.status = body
                    readies -= 1
                elif code == b"E":
                    error = error or _server_error(body)
                    current = Result()
                elif code not in _SILENT:
                    raise WireBroken(f"unexpected message {code!r}")
        except WireBroken as broken:
            raise WireBroken(str(broken), error) from broken
        return results, error


# ParseComplete, BindComplete, CloseComplete, NoData, EmptyQuery, Notice, ParameterStatus, Notification
_SILENT = frozenset({b"1", b"2", b"3", b"n", b"I", b"N", b"S", b"A"})


def _described(body: bytes) -> tuple[list[str], list[int]]:
    names: list[str] = []
    oids: list[int] = []
    at = 2
    for _ in range(_SHORT.unpack_from(body)[0]):
        end = body.index(b"\x00", at)
        names.append(body[at:end].decode())
        oids.append(_FIELD.unpack_from(body, end + 1)[2])
        at = end + 1 + _FIELD.size
    return names, oids


def _server_error(body: bytes) -> ServerError:
    parts = (part for part in body.split(b"\x00") if part)
    fields: dict[str, Any] = {part[:1].decode(): part[1:].decode(errors="replace") for part in parts}
    return ServerError(fields)


def _chunks(lines: Iterable[str]) -> Iterable[bytes]:
    held: list[str] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line) + 1
        if size >= _COPY_CHUNK_BYTES:
            yield ("\n".join(held) + "\n").encode()
            held, size = [], 0
    if held:
        yield ("\n".join(held) + "\n").encode()
