"""A program that serves HTTP, as a process of its own: started, asked, measured, ended; nothing of it is left behind."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.local.ports import free_port

HOST = "127.0.0.1"
START_SECONDS = 60.0
ANSWER_SECONDS = 30.0
START_TRIES = 3
POLL_SECONDS = 0.02
TAKEN = "Address already in use"


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running server; ``log`` is what it writes."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """One request: status and body of its answer."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask_at_once(self, number: int, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> list[int]:
        """Statuses of ``number`` equal requests that were all taken up before any could be answered.

        Each is sent but for its end, so that a thread of the server waits for it; when as many threads as requests are there
        the ends are sent. Raises ``TimeoutError`` when there never are as many threads.
        """
        body = b"" if body is None else body
        lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", "Connection: close", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        with contextlib.ExitStack() as stack:
            connections = [
                stack.enter_context(socket.create_connection((HOST, self.port), ANSWER_SECONDS)) for _ in range(number)
            ]
            for connection in connections:
                connection.sendall("\r\n".join(lines).encode())
            self._wait_for_threads(number)
            for connection in connections:
                connection.sendall(b"\r\n\r\n" + body)
            return [status_of(connection) for connection in connections]

    def _wait_for_threads(self, number: int) -> None:
        end = time.monotonic() + ANSWER_SECONDS
        while max(map(threads_of, tree(self.process.pid))) <= number:  # the one that accepts is no thread of a request
            if time.monotonic() > end:
                raise TimeoutError(f"there never were {number} threads for requests")
            time.sleep(POLL_SECONDS)

    def peak_bytes(self) -> int:
        """The peaks of all its processes added up: no less than it ever held, because they share pages."""
        return sum(peak_of(pid) for pid in tree(self.process.pid))

    def told(self) -> str:
        """What it wrote."""
        return self.log.read_text("utf-8", errors="replace")


@contextlib.contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> Iterator[Served]:
    """Start a server on a free port, told by ``PORT``, and wait until it answers; ends with all it started.

    Another port is tried when somebody else took the first one in between.
    """
    served = start(command, environment, folder, log)
    for _ in range(START_TRIES - 1):
        if is_up(served) or TAKEN not in served.told():
            break
        end(served)
        served = start(command, environment, folder, log)
    try:
        wait_until_up(served)
        yield served
    finally:
        end(served)


def start(command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> Served:
    """Start it."""
    port = free_port()
    told = {**environment, "PORT": str(port), "HOST": HOST}
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=told, cwd=folder, stdout=out, stderr=out, start_new_session=True)
    return Served(process=process, port=port, log=log)


def end(served: Served) -> None:
    """End it with all it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(served.process.pid, signal.SIGKILL)
    served.process.wait()


def is_up(served: Served) -> bool:
    """Whether it answers, waited for; not when it ended, found its port taken, or stayed silent too long."""
    until = time.monotonic() + START_SECONDS
    wrapped = served.process.args[0] == "unshare"  # type: ignore[index]
    while served.process.poll() is None and TAKEN not in served.told() and time.monotonic() < until:
        if len(tree(served.process.pid)) > 1 + wrapped:  # workers come once the port is ours: who answers before is another
            with contextlib.suppress(OSError, http.client.HTTPException):
                served.ask("GET", "/favicon.ico")  # not our functions' code
                return True
        time.sleep(POLL_SECONDS)
    return False


def wait_until_up(served: Served) -> None:
    """Wait until it answers; raises ``RuntimeError`` with what was written when it does not."""
    if is_up(served):
        return
    raise RuntimeError(f"ended with {served.process.returncode} while starting:\n{served.told()}")


def status_of(connection: socket.socket) -> int:
    """The status of the answer on a connection, which is read to its end."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


def tree(pid: int) -> list[int]:
    """A process and all it started that still runs."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text("ascii").split():
                found += tree(int(child))
    return found


def threads_of(pid: int) -> int:
    """How many threads a process has."""
    return _status(pid, "Threads:")


def peak_of(pid: int) -> int:
    """The largest resident size a process ever had, in bytes."""
    return _status(pid, "VmHWM:") * 1024


def _status(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("ascii", errors="replace").splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    return 0
