"""The supervisor's processes: started, watched, started again, stopped and counted.

One thread of its own (the *keeper*) starts all of them, because the kernel ties a child's life to the thread that started
it, and watches them: a process that dies is started again after a back-off that doubles while it keeps dying, as
Cloud Run replaces an instance. Every process leads a process group, so that a terminal's Ctrl-C reaches the runner alone and
a kill reaches the workers too.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from infra.local.memory import peak_bytes
from infra.local.processor import spent_seconds

POLL_SECONDS = 0.02
MEASURE_SECONDS = 2.0
BACK_OFF_SECONDS, BACK_OFF_SECONDS_MAX = 0.1, 5.0
STEADY_SECONDS = 20.0
LOG_TAIL_LINES = 15

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run; ``environment`` is the whole of it, nothing is inherited."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path


@dataclass(slots=True, eq=False)
class Running:
    """A program and its life so far; ``peak_bytes`` is the largest resident size of any of its processes.

    ``processor_seconds`` counts all its lives. What the workers of a killed one spent since the last look is lost.
    """

    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    starts: int = 0
    deaths_in_a_row: int = 0
    again_at: float | None = None
    wanted: bool = True
    exit_status: int | None = None
    peak_bytes: int = 0
    ended_seconds: float = 0.0
    living_seconds: float = 0.0
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def pid(self) -> int | None:
        """The process id, None while it does not run."""
        return self.process.pid if self.process is not None else None

    def measure(self) -> None:
        """Bring ``peak_bytes`` and ``processor_seconds`` up to date."""
        if self.process is not None:
            self.peak_bytes = max(self.peak_bytes, peak_bytes(self.process.pid))
            self.living_seconds = max(self.living_seconds, spent_seconds(self.process.pid))

    @property
    def processor_seconds(self) -> float:
        """Processor seconds of all its lives, as of the last look."""
        return self.ended_seconds + self.living_seconds

    @property
    def restarts(self) -> int:
        """How often it had to be started again."""
        return max(self.starts - 1, 0)


class Keeper:
    """Owns the thread; ``close`` ends what still runs and the thread. ``tell_death(name, exit status)`` hears of deaths."""

    def __init__(self, tell_death: Callable[[str, int | None], None] | None = None) -> None:
        self._tell_death = tell_death or (lambda _name, _status: None)
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._all: dict[str, Running] = {}
        self._measure_at = 0.0
        self.watch: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], T]) -> T:
        """Run ``work`` in the keeper's thread and return what it returns (or raise what it raises)."""
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:  # noqa: BLE001 - handed to the asking thread as it is
                done.set_exception(error)

        self._asked.put(run)
        return done.result()

    def start(self, program: Program) -> Running:
        """Start a program and watch it from now on; a stopped one of the same name goes on counting."""

        def start() -> Running:
            one = self._all.setdefault(program.name, Running(program))
            one.program, one.wanted, one.deaths_in_a_row = program, True, 0
            if one.process is None:
                self._launch(one)
            return one

        return self.do(start)

    def get(self, name: str) -> Running:
        """The program's life; KeyError when it was never started."""
        return self._all[name]

    def all(self) -> list[Running]:
        """Every program ever started, in order."""
        return list(self._all.values())

    def kill(self, name: str, *, stay_down: bool = False) -> None:
        """Kill -9 the program with all its workers, as a crash would; it comes back by itself unless it shall stay down."""

        def kill() -> None:
            one = self._all[name]
            one.wanted = not stay_down
            if one.process is not None:
                _signal_group(one.process.pid, signal.SIGKILL)
                self._reap(one, block=True)
                self._mourn(one)

        self.do(kill)

    def stop(self, names: Sequence[str], grace_seconds: float) -> None:
        """SIGTERM to all of them at once, kill -9 to what is left after the grace."""

        def ask() -> None:
            for name in names:
                one = self._all.get(name)
                if one is not None:
                    one.wanted, one.again_at = False, None
                    one.measure()
                    if one.process is not None:
                        with suppress(ProcessLookupError):
                            os.kill(one.process.pid, signal.SIGTERM)

        self.do(ask)
        end = time.monotonic() + grace_seconds
        while any(self._all[name].pid for name in names if name in self._all) and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        for name in names:
            if name in self._all:
                self.kill(name, stay_down=True)

    def close(self) -> None:
        """End everything that still runs, then the thread."""
        self.watch.clear()
        self.stop(list(self._all), 0)
        self._asked.put(None)
        self._thread.join()

    def _keep(self) -> None:
        while True:
            try:
                work = self._asked.get(timeout=POLL_SECONDS)
            except queue.Empty:
                work = self._look_after_all
            if work is None:
                return
            work()

    def _look_after_all(self) -> None:
        for one in list(self._all.values()):
            if one.process is not None and self._reap(one, block=False):
                self._mourn(one)
            if one.process is None and one.again_at is not None and time.monotonic() >= one.again_at:
                self._launch(one)
        if time.monotonic() >= self._measure_at:
            self._measure_at = time.monotonic() + MEASURE_SECONDS
            for one in self._all.values():
                one.measure()
        for look in list(self.watch):
            look()

    def _launch(self, one: Running) -> None:
        one.again_at = None
        program = one.program
        command = [program.command[0], "-P", str(Path(__file__).with_name("child.py")), str(os.getpid()), *program.command[1:]]
        with program.log.open("ab") as log:
            one.process = subprocess.Popen(
                command,
                env=dict(program.environment),
                cwd=program.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        one.started_at = time.monotonic()
        one.starts += 1
        one.exit_status = None

    def _reap(self, one: Running, *, block: bool) -> bool:
        """Collect a dead process with its figures; whether there was one."""
        process = one.process
        assert process is not None
        try:
            pid, status, usage = os.wait4(process.pid, 0 if block else os.WNOHANG)
        except ChildProcessError:
            pid, status, usage = process.pid, 0, None
        if pid == 0:
            return False
        one.exit_status = process.returncode = os.waitstatus_to_exitcode(status)
        if usage is not None:
            one.peak_bytes = max(one.peak_bytes, usage.ru_maxrss * 1024)
            one.living_seconds = max(one.living_seconds, usage.ru_utime + usage.ru_stime)
        one.ended_seconds, one.living_seconds = one.processor_seconds, 0.0
        _signal_group(process.pid, signal.SIGKILL)  # workers that outlived their master
        one.process = None
        return True

    def _mourn(self, one: Running) -> None:
        """Decide whether and when a dead program is started again."""
        if not one.wanted:
            return
        steady = time.monotonic() - one.started_at >= STEADY_SECONDS
        one.deaths_in_a_row = 1 if steady else one.deaths_in_a_row + 1
        wait = min(BACK_OFF_SECONDS * 2 ** min(one.deaths_in_a_row - 1, 10), BACK_OFF_SECONDS_MAX)
        one.again_at = time.monotonic() + wait
        self._tell_death(one.program.name, one.exit_status)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def tail(log: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log, for an error message."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
