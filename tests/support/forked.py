"""A program that is imported once and forked for each start: what a start costs beyond it is what the program itself does.

The parent of all starts is a process of its own with one thread, which imports the module and answers orders on its pipes. What
it forks runs the module's ``main`` with the arguments given, and may be signalled, waited for and killed like any process.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from infra.local.home import ROOT

LOOK_SECONDS = 0.005
PARENT = """
import gc, importlib, json, os, sys
main = importlib.import_module(sys.argv[1]).main
gc.freeze()
for line in sys.stdin:
    order = json.loads(line)
    if "pid" in order:
        found, status = os.waitpid(order["pid"], os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if found else None), flush=True)
        continue
    pid = os.fork()
    if pid == 0:
        log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for number, target in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
            os.dup2(target, number)
        status = 1
        try:
            status = main(order["arguments"])
        finally:
            os._exit(status)
    print(json.dumps(pid), flush=True)
"""


class Program:
    """A module that was imported, ready to be started."""

    def __init__(self, module: str) -> None:
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'shared'}"}
        self._parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, module],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()
        atexit.register(self._end)

    def start(self, arguments: Sequence[str], log: Path) -> Started:
        """Start it; what it writes goes to the end of ``log``."""
        return Started(self, int(self.order(arguments=list(arguments), log=str(log))))

    def order(self, **order: Any) -> Any:
        """What the parent answers."""
        with self._lock:
            assert self._parent.stdin is not None
            assert self._parent.stdout is not None
            self._parent.stdin.write(json.dumps(order) + "\n")
            self._parent.stdin.flush()
            return json.loads(self._parent.stdout.readline())

    def _end(self) -> None:
        self._parent.kill()
        self._parent.communicate()


class Started:
    """A start of a program, with the words of ``subprocess.Popen``."""

    def __init__(self, program: Program, pid: int) -> None:
        self._program, self.pid = program, pid
        self._status: int | None = None

    def poll(self) -> int | None:
        """Its exit status, or minus the signal that ended it; None while it runs."""
        if self._status is None:
            self._status = self._program.order(pid=self.pid)
        return self._status

    def wait(self, seconds: float) -> int:
        """Wait for its end; raises ``TimeoutError``."""
        end = time.monotonic() + seconds
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise TimeoutError(f"process {self.pid} has not ended")
            time.sleep(LOOK_SECONDS)
        return status

    def send(self, number: signal.Signals) -> None:
        """Signal it."""
        os.kill(self.pid, number)


@cache
def program(module: str) -> Program:
    """The program, imported at its first use in this process."""
    return Program(module)
