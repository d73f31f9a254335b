"""Several workers of one room, one at a time: who goes on is chosen by a seed, wherever one of them stops to talk or to wait.

Each runs in a thread of its own and stops at its stops (``stop``), which lie outside transactions; so a database sees
exactly the interleaving that was drawn, and the same seed gives it again. One that is killed never goes on: nothing of it is
cleaned up, as with kill -9.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random

PATIENCE_SECONDS = 60.0


class Worker:
    """One worker between two of its stops."""

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self.name = name
        self.is_done = False
        self.error: BaseException | None = None
        self._work = work
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name=f"turns {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._wait(self._go)
        _HERE.worker = self
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - told by ``turn`` where the worker is looked at
            self.error = error
        self.is_done = True
        self._stopped.release()

    def turn(self) -> None:
        """Go on to the next stop or the end; raises what the worker raised."""
        self._go.release()
        self._wait(self._stopped)
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Let others go on."""
        self._stopped.release()
        self._go.acquire()  # one that is killed waits here for good

    def _wait(self, side: threading.Semaphore) -> None:
        if side is self._go:
            side.acquire()
        elif not side.acquire(timeout=PATIENCE_SECONDS):
            raise TimeoutError(f"{self.name} neither stops nor ends: it waits for somebody whose turn it is not")


class _Here(threading.local):
    worker: Worker | None = None


_HERE = _Here()


def stop() -> None:
    """A place at which a worker may be left standing; nothing in any other thread."""
    if _HERE.worker is not None:
        _HERE.worker.stop()


class Turns:
    """The workers that are at it."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self.workers: list[Worker] = []

    def begin(self, name: str, work: Callable[[], object]) -> None:
        """Add a worker, who has not begun yet."""
        self.workers.append(Worker(name, work))

    def has(self, name: str) -> bool:
        """Whether one of this name is at it."""
        return any(worker.name == name for worker in self.workers)

    def turn(self) -> Worker | None:
        """Let one of them go on; None where nobody is there."""
        if not self.workers:
            return None
        worker = self._chance.choice(self.workers)
        worker.turn()
        if worker.is_done:
            self.workers.remove(worker)
        return worker

    def kill(self) -> Worker | None:
        """One of them never goes on."""
        if not self.workers:
            return None
        worker = self._chance.choice(self.workers)
        self.workers.remove(worker)
        return worker
