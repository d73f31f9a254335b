"""Fault knobs of the local Pub/Sub: what a real one may do at its worst, on demand and by a seed.

A knob holds for one subscription or topic, or for all (``*``), until it is reset or its ``count`` is used up. Chances are
drawn from one seeded generator, so that the same seed and the same order of messages give the same faults.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

DELIVERY_KNOBS = {
    "drop_ack": (0, 1),  # chance that an acknowledgement is lost: the message comes again
    "duplicate": (1, 100),  # every message is delivered this many times
    "at_once": (0, 1),  # 1: the copies of `duplicate` go out together, 0: one after the other
    "delay_seconds": (0, 60),  # real seconds before each delivery
    "reorder": (0, 1),  # 1: any waiting message may be next, ordering keys ignored
}
PUBLISH_KNOBS = {
    "refuse": (0, 1),  # chance of 503 before anything is kept
    "lose_answer": (0, 1),  # chance of 503 after the messages were kept
    "hang_seconds": (0, 3600),  # real seconds before a publish is looked at
}


class FaultError(ValueError):
    """A knob that does not exist or a value outside its range; the text names it."""


@dataclass(slots=True)
class _Knob:
    value: float
    left: int | None


class Faults:
    """The knobs as they stand. Asking for one uses up one of its ``count``."""

    def __init__(self) -> None:
        self._knobs: dict[tuple[str, str], _Knob] = {}
        self.random = Random(0)

    def turn(self, instruction: dict[str, Any]) -> None:
        """Turn knobs: ``{"target": name or "*", "count"?: n, "seed"?: n, <knob>: value, …}``. Raises FaultError."""
        wanted = dict(instruction)
        target = wanted.pop("target", "*")
        count, seed = wanted.pop("count", None), wanted.pop("seed", None)
        if not isinstance(target, str):
            raise FaultError("target must be a name or *")
        for name, value in (("count", count), ("seed", seed)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise FaultError(f"{name} must be a whole number")
        for name, value in wanted.items():
            low, high = (DELIVERY_KNOBS | PUBLISH_KNOBS).get(name, (1, 0))
            if low > high:
                raise FaultError(f"unknown knob {name}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise FaultError(f"{name} must be a number from {low} to {high}")
        if seed is not None:
            self.random = Random(seed)
        for name, value in wanted.items():
            self._knobs[target, name] = _Knob(value, count)

    def reset(self) -> None:
        """All knobs off, the seed back to 0."""
        self._knobs.clear()
        self.random = Random(0)

    def value(self, target: str, name: str, default: float) -> float:
        """The knob's value for ``target``; ``default`` when it is off or used up."""
        if not self._knobs:
            return default
        knob = self._knobs.get((target, name)) or self._knobs.get(("*", name))
        if knob is None or knob.left == 0:
            return default
        if knob.left is not None:
            knob.left -= 1
        return knob.value

    def strikes(self, target: str, name: str) -> bool:
        """Whether a fault given as a chance happens now."""
        if not self._knobs:
            return False
        knob = self._knobs.get((target, name)) or self._knobs.get(("*", name))
        if knob is None or knob.left == 0 or self.random.random() >= knob.value:
            return False
        if knob.left is not None:
            knob.left -= 1
        return True

    def document(self) -> list[dict[str, Any]]:
        """The knobs that are on."""
        return [
            {"target": target, "knob": name, "value": knob.value, "left": knob.left}
            for (target, name), knob in sorted(self._knobs.items())
        ]
