"""Faults of the two targets of a published day, D1 and the lenient receiver: what goes wrong, for which calls, how often.

A name that is not in ``KNOBS`` is refused, so that a test cannot rely on a fault that never happens. Source: snapshot
specification, 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

KNOBS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "status": ("answers `status`, with Retry-After where it is given", {"status": 503, "retry_after": None}),
    "hang": ("no answer for `seconds`, then the connection ends", {"seconds": 30.0}),
    "reset_before": ("the connection is reset, nothing was done", {}),
    "reset_after": ("everything is done, then the connection is reset", {}),
    "failure": ("200 that says it has failed; nothing was done", {}),
    "not_json": ("200 with a page for people; nothing was done", {}),
    "stop": (
        "ends before statement `n` of the call, from 1; `rollback`: what its transaction wrote is undone, else it stays",
        {"n": 1, "rollback": True, "status": 500},
    ),
    "forget": ("acknowledges a write that it does not make", {}),
    "alter": ("one stored row of `table` is changed after the write", {"table": "metrics_series_points", "column": None}),
    "slow": ("waits `seconds`, then does it", {"seconds": 1.0}),
}
SIDES: Final = ("any", "write", "read")
STORING: Final = frozenset({"stop", "forget", "alter"})
"""Knobs that befall writes only, whatever the rule says."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One rule. ``count`` None: as long as it stands; ``skip`` lets that many calls of its side pass first."""

    kind: str
    on: str = "any"
    count: int | None = 1
    skip: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KNOBS:
            raise ValueError(f"unknown fault {self.kind!r}; known: {', '.join(KNOBS)}")
        if self.on not in SIDES:
            raise ValueError(f"unknown side {self.on!r}; known: {', '.join(SIDES)}")
        usual = KNOBS[self.kind][1]
        if self.options.keys() - usual.keys():
            raise ValueError(f"{self.kind} knows {', '.join(usual) or 'no option'}")
        self.options = {**usual, **self.options}
        if self.kind in STORING:
            self.on = "write"

    def hit(self, side: str) -> bool:
        """Say whether this call is struck, and count it."""
        if self.on not in ("any", side) or self.is_spent:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.hits += 1
        return True

    @property
    def is_spent(self) -> bool:
        """Whether its count is used up."""
        return self.count is not None and self.hits >= self.count

    def document(self) -> dict[str, Any]:
        """Return the rule as ``GET /_fault`` shows it."""
        return {
            "kind": self.kind, "on": self.on, "count": self.count, "skip": self.skip, "hits": self.hits,
            "options": dict(self.options),
        }  # fmt: skip


@dataclass(slots=True)
class Faults:
    """The queue; the first rule that strikes wins."""

    rules: list[Fault] = field(default_factory=list)

    def add(self, kind: str, **values: Any) -> Fault:
        """Append a rule; raises ``ValueError`` for unknown knobs, sides and options."""
        known = {name: values.pop(name) for name in ("on", "count", "skip") if name in values}
        fault = Fault(kind=kind, options=values, **known)
        self.rules.append(fault)
        return fault

    def strike(self, side: str) -> Fault | None:
        """Return the fault that strikes a call of this side, if any; used-up rules leave the queue."""
        struck = next((rule for rule in self.rules if rule.hit(side)), None)
        self.rules = [rule for rule in self.rules if not rule.is_spent]
        return struck
