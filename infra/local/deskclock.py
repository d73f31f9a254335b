"""The desk clock's own hand: the one place that moves it.

Every local process reads the clock file through ``fillbook.runtime.clock``; only this module writes it, whole and by
rename, so that a reader sees the old time or the new one. Nothing is signalled: readers notice the changed file.
The file is ``{"desk_at": ISO UTC, "real_at": epoch seconds, "speed": number, "paused": bool}``: at ``real_at`` it was
``desk_at``, and since then desk time has run ``speed`` times as fast as real time, or stood still.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SPEED_MAX = 100_000.0
STEP_SECONDS_MAX = 400 * 86_400.0


class ClockError(ValueError):
    """An instruction that the desk clock refuses; the text names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the clock file says: desk time ``desk_at`` at real time ``real_at`` (epoch seconds), and how it goes on."""

    desk_at: datetime
    real_at: float
    speed: float = 1.0
    paused: bool = False

    def at(self, real: float) -> datetime:
        """Desk time (UTC) at the real time ``real`` (epoch seconds)."""
        if self.paused:
            return self.desk_at
        return self.desk_at + timedelta(seconds=(real - self.real_at) * self.speed)

    def document(self) -> dict[str, Any]:
        """The file's content."""
        return {
            "desk_at": self.desk_at.astimezone(UTC).isoformat(timespec="microseconds"),
            "real_at": self.real_at,
            "speed": self.speed,
            "paused": self.paused,
        }


class DeskClockFile:
    """The clock file of one local cloud: reads it, moves it, and cheaply tells the time from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = -1
        self._setting = Setting(desk_at=datetime.fromtimestamp(time.time(), UTC), real_at=time.time())
        if not path.exists():
            self.write(self._setting)
        self.setting()

    def setting(self) -> Setting:
        """The file as it is now, parsed again only when it was replaced."""
        seen = self.path.stat().st_mtime_ns
        if seen != self._seen:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            self._setting = Setting(
                desk_at=datetime.fromisoformat(document["desk_at"]),
                real_at=float(document["real_at"]),
                speed=float(document["speed"]),
                paused=bool(document["paused"]),
            )
            self._seen = seen
        return self._setting

    def now(self) -> datetime:
        """Desk time, aware UTC."""
        return self.setting().at(time.time())

    def write(self, setting: Setting) -> None:
        """Replace the file in one rename."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        fresh.write_text(json.dumps(setting.document()), encoding="utf-8")
        # Readers notice a change by its mtime, and file systems stamp coarsely: two writes must never carry the same.
        before = self.path.stat().st_mtime_ns if self.path.exists() else 0
        stamp = max(time.time_ns(), before + 1_000)
        os.utime(fresh, ns=(stamp, stamp))
        fresh.replace(self.path)
        self._seen = -1

    def apply(self, instruction: dict[str, Any]) -> Setting:
        """Carry out one instruction and return the new setting.

        Keys, any of: ``desk_at`` (ISO with zone) sets the time; ``speed`` (> 0) the pace; ``paused`` (bool) stops or
        starts it; ``step_seconds`` moves it on (or back when negative) without a change of pace; ``realtime`` (true)
        makes it the wall clock and allows no other key. Raises ClockError for anything else.
        """
        unknown = set(instruction) - {"desk_at", "speed", "paused", "step_seconds", "realtime"}
        if unknown or not instruction:
            raise ClockError(f"unknown or missing instruction: {', '.join(sorted(map(str, unknown))) or 'empty'}")
        real = time.time()
        if "realtime" in instruction:
            if instruction != {"realtime": True}:
                raise ClockError("realtime must be true and stand alone")
            setting = Setting(desk_at=datetime.fromtimestamp(real, UTC), real_at=real)
        else:
            setting = self._moved(instruction, real)
        self.write(setting)
        return self.setting()

    def _moved(self, instruction: dict[str, Any], real: float) -> Setting:
        before = self.setting()
        desk_at = before.at(real)
        if "desk_at" in instruction:
            desk_at = _instant(instruction["desk_at"])
        if "step_seconds" in instruction:
            desk_at += timedelta(seconds=_number(instruction, "step_seconds", -STEP_SECONDS_MAX, STEP_SECONDS_MAX))
        speed = before.speed
        if "speed" in instruction:
            speed = _number(instruction, "speed", 1e-6, SPEED_MAX)
        paused = instruction.get("paused", before.paused)
        if not isinstance(paused, bool):
            raise ClockError("paused must be true or false")
        return Setting(desk_at=desk_at.astimezone(UTC), real_at=real, speed=speed, paused=paused)


def _instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise ClockError("desk_at must be ISO text with a time zone")
    try:
        instant = datetime.fromisoformat(value)
    except ValueError as error:
        raise ClockError("desk_at must be ISO text with a time zone") from error
    if instant.tzinfo is None:
        raise ClockError("desk_at must be ISO text with a time zone")
    return instant


def _number(instruction: dict[str, Any], name: str, low: float, high: float) -> float:
    value = instruction[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ClockError(f"{name} must be a number from {low:g} to {high:g}")
    return float(value)
