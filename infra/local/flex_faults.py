"""Faults of the fake Flex web service: what goes wrong, at which step, how often.

A name that is not in ``KNOBS`` is refused, so that a test cannot rely on a fault that never happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STEPS = ("send", "fetch", "any")

KNOBS: Mapping[str, str] = {
    "code": "a status answer with error `code`",
    "html": "200 with an HTML page",
    "empty": "200 without a body",
    "http_error": "`status` (default 503) with an HTML page",
    "truncate": "the body ends after `at` bytes, in good order",
    "cut": "the connection ends after `at` bytes although more was promised",
    "drip": "one byte each `interval` real seconds (default 0.05)",
    "flood": "a statement of `bytes` (default 200 MiB)",
    "hang": "no answer",
    "reset": "the connection is closed without an answer",
    "doctype": "a document type before the root",
    "entity_bomb": "entities that unfold into gigabytes",
    "foreign_url": "success whose Url is `url`",
    "redirect": "302 to `url`",
    "gzip": "the body is packed, and says so",
}


@dataclass(slots=True, kw_only=True)
class Fault:
    """One rule. ``count`` None = as long as it stands; ``skip`` lets that many requests of the step pass first."""

    knob: str
    step: str = "any"
    count: int | None = 1
    skip: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    hits: int = 0

    def __post_init__(self) -> None:
        if self.knob not in KNOBS:
            raise ValueError(f"unknown fault {self.knob!r}; known: {', '.join(KNOBS)}")
        if self.step not in STEPS:
            raise ValueError(f"unknown step {self.step!r}; known: {', '.join(STEPS)}")

    def hit(self, step: str) -> bool:
        """Say whether this request is struck, and count it."""
        if self.step not in ("any", step) or (self.count is not None and self.hits >= self.count):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.hits += 1
        return True

    def document(self) -> dict[str, Any]:
        """Return the rule as the control API shows it."""
        return {
            "fault": self.knob,
            "step": self.step,
            "count": self.count,
            "skip": self.skip,
            "hits": self.hits,
            "options": dict(self.options),
        }


@dataclass(slots=True)
class Faults:
    """The queue; the first rule that strikes wins."""

    rules: list[Fault] = field(default_factory=list)

    def add(self, **values: Any) -> Fault:
        """Append a rule; raises ``ValueError`` for unknown knobs and steps."""
        known = {name: values.pop(name) for name in ("step", "count", "skip") if name in values}
        fault = Fault(knob=str(values.pop("fault", "")), options=values, **known)
        self.rules.append(fault)
        return fault

    def strike(self, step: str) -> Fault | None:
        """Return the fault that strikes this request, if any; used-up rules leave the queue."""
        struck = next((rule for rule in self.rules if rule.hit(step)), None)
        self.rules = [rule for rule in self.rules if rule.count is None or rule.hits < rule.count]
        return struck
