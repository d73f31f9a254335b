"""Faults of the fake MT5 service: what goes wrong, for whom, how often, reproducibly.

A rule strikes requests of its scope (instance, server, account, endpoint; each a name or a list of names) until its limit is
used up: ``count`` strikes, a span of desk time (``until``), a seeded probability. Rules that *shape* an answer add up; of the
rules that *replace* it the first one in the queue wins. A name that is not in ``KNOBS`` is refused, so that a test cannot rely
on a fault that never happens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

ENDPOINTS: Final = ("health", "snapshot", "deals", "symbols", "info", "positions", "history")
HISTORY: Final = ("deals", "history")
"""The endpoints of deals in the two contracts; ``page_*`` and ``late_history`` befall no other."""

REPLACES: Final[dict[str, tuple[str, Mapping[str, Any]]]] = {
    "hang": ("never answers", {}),
    "drip": ("one byte each `interval` real seconds", {"interval": 0.05}),
    "reset": ("the connection is reset without an answer", {}),
    "status": (
        "`code` with `body` (text or JSON), else an error body that names `error_code` where it is given",
        {"code": 503, "retry_after": None, "body": None, "error_code": None},
    ),
    "rate_limit": ("429 beyond `per_minute` calls in 60 real seconds of those in the scope", {"per_minute": 60}),
    "auth_failed": (
        "401 with `code`; `inline`: 200 whose parts are incomplete for that reason",
        {"code": "AUTH_FAILED", "inline": False},
    ),
    "page_fails": ("page `n` of a window answers `code`", {"n": 2, "code": 503}),
    "garbage": ("200 with no answer in it: html, truncated, oversize, nan, empty", {"kind": "html"}),
}
SHAPES: Final[dict[str, tuple[str, Mapping[str, Any]]]] = {
    "latency": ("waits `ms` plus or minus `jitter`", {"ms": 100, "jitter": 0}),
    "wrong_login": (
        "names another `login` or `named_server` (the scope is called server)",
        {"login": None, "named_server": None},
    ),
    "page_drift": (
        "from the second page on a deal more in front (`how` total) or the page backwards (`how` order)",
        {"how": "total"},
    ),
    "duplicate_rows": ("the first row of a list or page comes twice; `counted`: the totals know", {"counted": True}),
    "incomplete": (
        "half of the rows, and the answer says so, with `code`; `part`: info, positions, history or all",
        {"part": "all", "code": "INCOMPLETE"},
    ),
    "stale": ("as the account was `age` seconds ago; `declared`: and says so", {"age": 60, "declared": True}),
    "error_as_empty": (
        "an empty list of `what` where there is none; counters and completeness say so unless it `lies`",
        {"what": "positions", "lies": False, "code": "INCOMPLETE"},
    ),
    "late_history": ("history shows a deal `seconds` after its time; balance and positions know at once", {"seconds": 600}),
    "shape": ("told in another `variant`: fields of a shape, or the name of an undocumented one", {"variant": "unknown_root"}),
    "clock_offset": ("the server clock that heads tell is `minutes` off", {"minutes": 60}),
    "health": ("`status` degraded, or unhealthy, which answers 503", {"status": "unhealthy"}),
    "one_terminal": ("one login at a time; a change of login takes `switch_ms`", {"switch_ms": 1000}),
}
KNOBS: Final[Mapping[str, str]] = {name: told for name, (told, _) in (REPLACES | SHAPES).items()}
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "info": ("snapshot", "info"),
    "positions": ("snapshot", "positions"),
    "history": HISTORY,
    "all": tuple(name for name in ENDPOINTS if name != "health"),
}
_ONLY: Final[Mapping[str, tuple[str, ...]]] = {
    "page_fails": HISTORY,
    "page_drift": HISTORY,
    "late_history": HISTORY,
    "duplicate_rows": ("snapshot", "positions", *HISTORY),
    "health": ("health",),
    **dict.fromkeys(("auth_failed", "wrong_login", "shape", "stale", "clock_offset"), _PARTS["all"]),
}
Scope = frozenset[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a rule is held against. ``page``: of a window, from 1."""

    instance: str
    server: str
    account: str
    endpoint: str
    at: datetime
    page: int = 1


@dataclass(slots=True, kw_only=True)
class Fault:
    """One rule. ``count`` None: as long as it stands; ``skip`` lets that many requests of the scope pass first."""

    knob: str
    instance: Scope = None
    server: Scope = None
    account: Scope = None
    endpoint: Scope = None
    count: int | None = None
    skip: int = 0
    until: datetime | None = None
    probability: float = 1.0
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    hits: int = 0
    reach: tuple[str, ...] = field(init=False, repr=False)
    chance: random.Random = field(init=False, repr=False)
    calls: list[float] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        if self.knob not in KNOBS:
            raise ValueError(f"unknown fault {self.knob!r}; known: {', '.join(KNOBS)}")
        unknown = (self.endpoint or frozenset()) - set(ENDPOINTS)
        if unknown:
            raise ValueError(f"unknown endpoint {', '.join(sorted(unknown))}; known: {', '.join(ENDPOINTS)}")
        usual = (REPLACES | SHAPES)[self.knob][1]
        if self.options.keys() - usual.keys():
            raise ValueError(f"{self.knob} knows {', '.join(usual) or 'no option'}")
        self.options = {**usual, **self.options}
        part = self.options.get("part") or self.options.get("what")
        if part is not None and part not in _PARTS:
            raise ValueError(f"a part is one of {', '.join(_PARTS)}")
        self.reach = _ONLY.get(self.knob, ENDPOINTS) if part is None else _PARTS[part]
        self.chance = random.Random(self.seed)

    @property
    def replaces(self) -> bool:
        """Whether it stands in place of the answer."""
        return self.knob in REPLACES

    def concerns(self, call: Call) -> bool:
        """Whether the request is of its scope and time."""
        return (
            (self.instance is None or call.instance in self.instance)
            and (self.server is None or call.server in self.server)
            and (self.account is None or call.account in self.account)
            and (self.endpoint is None or call.endpoint in self.endpoint)
            and call.endpoint in self.reach
            and (self.until is None or call.at < self.until)
            and (self.knob != "page_fails" or call.page == self.options["n"])
            and (self.knob != "page_drift" or call.page > 1)
        )

    def hit(self, call: Call) -> bool:
        """Say whether this request is struck, and count it."""
        if self.is_spent or not self.concerns(call):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.probability < 1.0 and self.chance.random() >= self.probability:
            return False
        self.hits += 1
        return True

    @property
    def is_spent(self) -> bool:
        """Whether its count is used up."""
        return self.count is not None and self.hits >= self.count

    def is_over(self, now: float) -> bool:
        """Count a call of ``rate_limit``; whether there were more than it allows in the last 60 real seconds."""
        self.calls = [at for at in self.calls if now - at < 60.0]
        if len(self.calls) >= self.options["per_minute"]:
            return True
        self.calls.append(now)
        return False

    def document(self) -> dict[str, Any]:
        """Return the rule as the admin API shows it."""
        scope = {name: getattr(self, name) for name in ("instance", "server", "account", "endpoint")}
        return {
            "fault": self.knob, **{name: None if one is None else sorted(one) for name, one in scope.items()},
            "count": self.count, "skip": self.skip, "until": None if self.until is None else self.until.isoformat(),
            "probability": self.probability, "seed": self.seed, "hits": self.hits, "options": dict(self.options),
        }  # fmt: skip


class Faults:
    """The queue."""

    def __init__(self, now: Callable[[], datetime], real: Callable[[], float]) -> None:
        self._now, self._real = now, real
        self.rules: list[Fault] = []

    def add(self, knob: str, **values: Any) -> Fault:
        """Append a rule; ``seconds_long``: its span of desk time from now on. Raises ``ValueError`` for unknown names."""
        known: dict[str, Any] = {}
        for name in ("count", "skip", "probability", "seed"):
            if name in values:
                known[name] = values.pop(name)
        for name in ("instance", "server", "account", "endpoint"):
            given = values.pop(name, None)
            if given is not None:
                known[name] = frozenset([given] if isinstance(given, str) else given)
        if "seconds_long" in values:
            known["until"] = self._now() + timedelta(seconds=float(values.pop("seconds_long")))
        fault = Fault(knob=knob, options=values, **known)
        self.rules.append(fault)
        return fault

    def strike(self, call: Call) -> tuple[Fault | None, tuple[Fault, ...]]:
        """Return what replaces the answer to this request, if anything, and what shapes it; used-up rules leave the queue."""
        replacing: Fault | None = None
        shaping: list[Fault] = []
        for rule in self.rules:
            if rule.replaces and replacing is not None:
                continue
            if rule.hit(call):
                if not rule.replaces:
                    shaping.append(rule)
                elif rule.knob != "rate_limit" or rule.is_over(self._real()):
                    replacing = rule
        if any(rule.is_spent for rule in self.rules):
            self.rules = [rule for rule in self.rules if not rule.is_spent]
        return replacing, tuple(shaping)
