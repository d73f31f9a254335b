"""Time as a value: the only module that reads a clock.

Business time (deadlines, ages, ladders, due times) is *desk time*: the system clock in the cloud, locally a clock that
the local cloud may start on a recorded day, speed up, pause and step (architecture.md 6). Leases and request budgets run
on real time, ``monotonic()``, because desk time may run hundreds of times faster. A core never sees a clock; it is
handed ``now``.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Says what time it is on the desk."""

    def now(self) -> datetime:
        """Return the instant as an aware UTC datetime."""
        ...


class ClockSettings(Protocol):
    """What ``clock_for`` needs of a configuration."""

    @property
    def fillbook_env(self) -> str: ...  # noqa: D102 -- the field of runtime.config

    @property
    def fillbook_desk_clock(self) -> Path | None: ...  # noqa: D102 -- the field of runtime.config


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present instant in UTC."""
        return datetime.now(UTC)


class FixedClock:
    """A clock for tests: stands still until it is stepped."""

    def __init__(self, now: datetime) -> None:
        if now.tzinfo is None:
            raise ValueError("a clock needs an aware instant")
        self._now = now.astimezone(UTC)

    def now(self) -> datetime:
        """Return the instant it was set to, plus every step since."""
        return self._now

    def step(self, seconds: float) -> None:
        """Move by ``seconds``; a negative step is a clock set back."""
        self._now += timedelta(seconds=seconds)


class DeskClock:
    """The simulated clock of the local cloud, shared by all processes through one small JSON file.

    ``{"desk_at": iso, "real_at": epoch seconds, "speed": float, "paused": bool}`` means: at the real instant ``real_at``
    the desk read ``desk_at`` and has since run ``speed`` times as fast (not at all when paused). The file is replaced as
    a whole by its writer and re-read when its modification time changes; without a file the system clock holds.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: int | None = None
        self._anchor: tuple[datetime, float, float] | None = None

    def now(self) -> datetime:
        """Return the desk's instant in UTC; raises ``ValueError`` when the file is not a clock."""
        try:
            stamp = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return datetime.now(UTC)
        if stamp != self._seen:
            self._anchor = self._read()
            self._seen = stamp
        if self._anchor is None:
            return datetime.now(UTC)
        desk_at, real_at, speed = self._anchor
        return desk_at + timedelta(seconds=(time.time() - real_at) * speed)

    def _read(self) -> tuple[datetime, float, float]:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            desk_at = datetime.fromisoformat(document["desk_at"])
            speed = 0.0 if document["paused"] else float(document["speed"])
            anchor = (desk_at.astimezone(UTC), float(document["real_at"]), speed)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self._path} is not a desk clock") from error
        if desk_at.tzinfo is None:
            raise ValueError(f"{self._path} is not a desk clock: desk_at has no time zone")
        return anchor


def clock_for(config: ClockSettings) -> Clock:
    """Return the desk clock when the environment is local and names one, else the system clock (always in the cloud)."""
    if config.fillbook_env == "local" and config.fillbook_desk_clock is not None:
        return DeskClock(config.fillbook_desk_clock)
    return SystemClock()


def monotonic() -> float:
    """Return real seconds that only grow, for budgets, leases of threads and waits; never for business time."""
    return time.monotonic()


def real_epoch_seconds() -> float:
    """Return real seconds since 1970, for what the outside stamps in real time (token expiry), never for business time."""
    return time.time()


def sleep(seconds: float) -> None:
    """Wait in real time; callers bound it (retry jitter, back-off inside a request budget)."""
    time.sleep(seconds)
