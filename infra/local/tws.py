"""A fake of TWS and IB Gateway for the local cloud and for tests: the real wire protocol on a real socket, faults on demand.

In tests: ``with TwsFake(clock=clock) as tws:`` and dial ``tws.host``, ``tws.port``; ``tws.load(frames)`` says what is answered,
``tws.turn(no_end=…)`` turns knobs (``tws_knobs.Knobs``), ``tws.received()`` lists what came. In the local cloud:
``python -m infra.local.tws --port N --control N --clock FILE --account DU1234567`` serves a small book of the desk's day; the
control API (``tws_control.py``) is at ``/_control`` of the control port. Binds to 127.0.0.1 only. It never fills an order:
order messages are recorded, so that every test can say that none came.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zoneinfo import ZoneInfo

from fillbook.runtime.clock import Clock, DeskClock, SystemClock
from infra.local import tws_book
from infra.local.tws_book import Book
from infra.local.tws_knobs import EXECUTION_END, REQUEST_ID, Frame, Knobs, after_end, faulty

HOST = "127.0.0.1"
FRAME_BYTES_MAX = 1024 * 1024
RECEIVED_MAX = 10_000
ORDER_MESSAGES = frozenset({"3", "4", "21", "58"})
"""Place, cancel, exercise options, cancel all."""
CLIENT_VERSIONS = (157, 178)
CLIENT_ID_IN_USE = 326


class _Gone(Exception):
    """The connection is over, from either side."""


class TwsFake:
    """The server, a thread for each connection. All methods may be called from any thread."""

    def __init__(
        self, *, clock: Clock | None = None, port: int = 0, book: Callable[[datetime], Book] | None = None, **knobs: Any
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.knobs = Knobs().turned(knobs)
        self._port, self._made = port, book
        self._loaded: Book | None = None
        self._lock = threading.RLock()
        self._received: list[list[str]] = []
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self._stopping = threading.Event()
        self.struck = 0

    # -- life -------------------------------------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        """The address it listens on."""
        return HOST

    @property
    def port(self) -> int:
        """The port it listens on; known once it has started."""
        return self._port

    def start(self) -> None:
        """Start serving."""
        self._listener = socket.create_server((HOST, self._port))
        self._port = self._listener.getsockname()[1]
        self._begin(self._accept, self._listener)

    def stop(self) -> None:
        """Stop serving at once, hanging answers included."""
        self._stopping.set()
        with self._lock:
            for one in (self._listener, *self._connections):
                if one is not None:
                    with contextlib.suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)
                    one.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # -- control, also behind /_control -------------------------------------------------------------------------------------

    def load(self, executions: Sequence[Frame] = (), positions: Sequence[Frame] = ()) -> None:
        """Answer with these frames from now on; ``$reqId`` stands for the request's id."""
        with self._lock:
            self._loaded = Book(executions=list(executions), positions=list(positions))

    def turn(self, **changes: Any) -> None:
        """Turn knobs; raises ``ValueError`` for an unknown one."""
        with self._lock:
            self.knobs, self.struck = self.knobs.turned(changes), 0

    def reset(self) -> None:
        """Forget plan, knobs and what was received."""
        with self._lock:
            self.knobs, self._loaded, self.struck = Knobs(), None, 0
            self._received.clear()

    def received(self) -> list[list[str]]:
        """Return every frame that came, as fields, oldest first."""
        with self._lock:
            return [list(frame) for frame in self._received]

    def orders(self) -> list[list[str]]:
        """Return what came of order messages: nothing, or somebody made a grave mistake."""
        return [frame for frame in self.received() if frame[0] in ORDER_MESSAGES]

    def book(self) -> Book:
        """Return what is served now."""
        with self._lock:
            if self._loaded is None and self._made is not None:
                return self._made(self.clock.now())
            return self._loaded or Book()

    # -- serving ------------------------------------------------------------------------------------------------------------

    def _begin(self, work: Callable[[socket.socket], None], sock: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(sock,), name="tws", daemon=True)
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(sock)
            self._begin(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(_Gone, OSError):
            _Connection(self, sock).serve()
        with self._lock:
            self._connections.discard(sock)
        sock.close()

    def note(self, frame: list[str]) -> None:
        """Keep a frame that came."""
        with self._lock:
            self._received = [*self._received[-RECEIVED_MAX + 1 :], frame]

    def is_struck(self) -> bool:
        """Whether this answer is one that an outage strikes."""
        with self._lock:
            self.struck += 1
            return self.knobs.outage_at > 0 and self.struck <= self.knobs.outage_count

    def rest(self, seconds: float) -> None:
        """Wait in real time, unless the server stops."""
        if self._stopping.wait(seconds):
            raise _Gone


class _Connection:
    """One client."""

    def __init__(self, fake: TwsFake, sock: socket.socket) -> None:
        self._fake, self._sock, self._knobs = fake, sock, fake.knobs
        self._version = 0

    def serve(self) -> None:
        """Answer until the client hangs up."""
        if self._read(4) != b"API\0":
            return
        asked = self._frame_bytes().decode("ascii", "replace").split(" ")[0].removeprefix("v").split("..")
        if self._knobs.is_silent:
            self._fake.rest(3600)
        self._version = min(self._knobs.server_version, int(asked[-1]))
        self.send([str(self._version), self._fake.clock.now().astimezone(UTC).strftime("%Y%m%d %H:%M:%S UTC")])
        while True:
            frame = self._frame_bytes().decode("utf-8", "replace").split("\0")[:-1]
            self._fake.note(frame)
            self._answer(frame)

    def _answer(self, frame: list[str]) -> None:
        answers: dict[str, Callable[[], list[list[str]] | None]] = {
            "71": lambda: self._start(int(frame[2])),
            "7": lambda: self._executions(frame),
            "61": self._positions,
            "5": lambda: [["53", "1"]],
            "99": lambda: [["102"]],
            "6": lambda: [["54", "1", frame[3]]],
            "76": lambda: [["74", "1", frame[2]]],
            "49": lambda: [["49", "1", str(int(self._fake.clock.now().timestamp()))]],
        }
        for one in answers.get(frame[0], lambda: None)() or ():
            self.send(one)

    def _start(self, client_id: int) -> list[list[str]]:
        if client_id in self._knobs.busy_client_ids:
            self._error(-1, CLIENT_ID_IN_USE, "Unable to connect as the client id is already in use.")
            raise _Gone
        if self._knobs.is_mute_after_connect:
            return []
        for code in self._knobs.notice_codes:
            self._error(-1, code, "Market data farm connection is OK:usfarm")
        return [["15", "1", ",".join(self._knobs.accounts)], ["9", "1", "1"]]

    def _executions(self, frame: list[str]) -> list[list[str]]:
        request_id = frame[2]
        try:
            since = tws_book.filter_time(frame[5])
        except ValueError:
            self._error(int(request_id), 321, "Error validating request: the time of the filter")
            return []
        local = self._fake.clock.now().astimezone(ZoneInfo(self._knobs.time_zone))
        reach = local.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=self._knobs.reach_days)
        served = tws_book.within(self._fake.book().executions, max(since or reach, reach))
        named = [[request_id if text == REQUEST_ID else text for text in one] for one in served]
        end = [[EXECUTION_END, "1", request_id]] if not self._failed(int(request_id), named) else []
        if self._tell(faulty(named, self._knobs)) and end and self._knobs.has_end:
            self.send(end[0])
            for one in after_end(named, self._knobs):
                self._fake.rest(self._knobs.late_seconds)
                self.send(self._laid_out(one))
        return []

    def _positions(self) -> list[list[str]]:
        rows = [] if self._failed(-1, []) else [list(one) for one in self._fake.book().positions]
        if self._tell(faulty(rows, self._knobs)) and self._knobs.has_end and not self._knobs.error_code:
            self.send(["62", "1"])
        return []

    def _failed(self, request_id: int, frames: list[list[str]]) -> bool:
        """Refuse the request where a knob says so; a plan may also hold an error frame in place of an end."""
        if self._knobs.error_code:
            self._error(request_id if self._knobs.error_names_request else -1, self._knobs.error_code, "refused on demand")
        return bool(self._knobs.error_code) or any(one[0] == "4" for one in frames)

    def _tell(self, frames: list[list[str]]) -> bool:
        """Send frames with what strikes between them; False where the answer ends before its end."""
        is_struck = self._fake.is_struck()
        for number, one in enumerate(frames, 1):
            if is_struck and number == self._knobs.outage_at:
                return self._outage()
            if number == self._knobs.delay_at:
                self._fake.rest(self._knobs.delay_seconds)
            if self._knobs.drop_after is not None and number > self._knobs.drop_after:
                raise _Gone
            self.send(self._laid_out(one))
        if self._knobs.drop_after is not None:
            raise _Gone
        return not is_struck or self._outage()

    def _outage(self) -> bool:
        self._error(-1, 1100, "Connectivity between IBKR and Trader Workstation has been lost.")
        if self._knobs.outage_code:
            self._fake.rest(self._knobs.outage_seconds)
            self._error(-1, self._knobs.outage_code, "Connectivity between IBKR and Trader Workstation has been restored.")
        return False

    def _laid_out(self, frame: list[str]) -> list[str]:
        """An execution at 178 and later has one more field."""
        return [*frame, "0"] if frame[0] == "11" and self._version >= CLIENT_VERSIONS[1] else frame

    # -- bytes ----------------------------------------------------------------------------------------------------------------

    def send(self, fields: Sequence[str]) -> None:
        """Send one frame, in pieces where a knob says so."""
        body = b"".join(text.encode() + b"\0" for text in fields)
        for piece in self._pieces(struct.pack(">I", len(body)) + body):
            self._sock.sendall(piece)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        size = self._knobs.piece_bytes or len(data)
        return (data[begin : begin + size] for begin in range(0, len(data), size))

    def _error(self, request_id: int, code: int, text: str) -> None:
        self.send(["4", "2", str(request_id), str(code), text, ""])

    def _frame_bytes(self) -> bytes:
        (size,) = struct.unpack(">I", self._read(4))
        if size > FRAME_BYTES_MAX:
            raise _Gone
        return self._read(size)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._sock.recv(count - len(data))
            if not part:
                raise _Gone
            data += part
        return data


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    from infra.local.tws_control import Control

    parser = argparse.ArgumentParser(prog="python -m infra.local.tws", description="a fake of TWS and IB Gateway")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control", type=int, default=0, help="port of the control API")
    parser.add_argument("--clock", type=Path, help="desk clock file; the system clock without it")
    parser.add_argument("--account", action="append", help="an account it manages and serves a small book of")
    options = parser.parse_args(arguments)
    clock = DeskClock(options.clock) if options.clock else SystemClock()
    accounts = tuple(options.account or ("DU1234567",))
    fake = TwsFake(clock=clock, port=options.port, accounts=accounts, book=lambda now: tws_book.demo(accounts, now))
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with fake, Control(fake, options.control) as control:
        print(f"tws on {fake.host}:{fake.port}, control on {control.base_url}/_control", flush=True)
        done.wait()


if __name__ == "__main__":
    main()
