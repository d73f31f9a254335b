"""Faults of the fake Discord: what goes wrong, how often, on which requests, reproducibly.

A fault is queued by count, route and webhook, or thrown with a probability from its own seed. Which knobs exist is the
table ``KNOBS``; a name that is not in it is refused, so that a test can not rely on a fault that never happens.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ROUTES = ("create", "edit", "delete", "get", "get_webhook", "list", "any")

KNOBS: Mapping[str, str] = {
    "rate_limit.normal": "429, seconds in body and header, scope user",
    "rate_limit.header_only": "429 whose body has no retry_after",
    "rate_limit.ms_header": "429, milliseconds in the header, seconds in the body",
    "rate_limit.ms_body": "429, seconds in the header, milliseconds in the body",
    "rate_limit.ms_both": "429, milliseconds in both",
    "rate_limit.shared": "429 with scope shared",
    "rate_limit.global": "429 with scope global and X-RateLimit-Global",
    "rate_limit.remaining_2": "429 although the headers say Remaining 2: the channel's limit is in no header",
    "rate_limit.old_edits": "429 with code 30046",
    "rate_limit.ban": "429 as HTML without Via: the edge network has banned the address",
    "server_error.500": "500 with a JSON body",
    "server_error.502": "502 with an HTML body",
    "server_error.503": "503 with an HTML body",
    "server_error.504": "504 with an HTML body",
    "network.refuse": "the port is closed for `seconds` of desk time (or until accept)",
    "network.hang": "never answers, nothing stored",
    "network.reset": "connection reset before any answer, nothing stored",
    "network.reset_after_accept": "stored, then connection reset",
    "network.hang_after_accept": "stored, then never answers",
    "network.drip": "stored, answers one byte each `interval` real seconds (default 1)",
    "network.huge": "stored, answers 50 MB (or `bytes`)",
    "body.invalid_json": "stored, 200 with a torn JSON body",
    "body.empty_200": "stored, 200 without a body",
    "body.no_content": "stored, 204 despite wait",
    "body.wrong_id": "stored, 200 whose id is no snowflake",
    "body.other_embed": "stored, 200 whose embeds are not those that were sent",
    "state.webhook_deleted": "404 code 10015",
    "state.token_bad": "401 code 50027",
    "state.forbidden": "403 code 50013",
    "state.channel_deleted": "404 code 10003",
    "state.message_deleted": "answers as usual, then someone deletes the message",
    "state.message_edited": "answers as usual, then someone edits the message",
    "state.message_doubled": "answers as usual, then the same post stands there twice",
}


@dataclass(slots=True, kw_only=True)
class Fault:
    """One rule. ``count`` None = as long as it stands; ``skip`` lets that many matching requests pass first.

    ``options``: retry_after (desk seconds), applied (a server error after the message was stored), interval, bytes, seconds.
    """

    knob: str
    route: str = "any"
    webhook: str | None = None
    count: int | None = 1
    skip: int = 0
    probability: float = 1.0
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    hits: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.knob not in KNOBS:
            raise ValueError(f"unknown fault {self.knob!r}; known: {', '.join(KNOBS)}")
        if self.route not in ROUTES:
            raise ValueError(f"unknown route {self.route!r}; known: {', '.join(ROUTES)}")
        self._random = random.Random(self.seed)

    def hit(self, route: str, webhook: str | None) -> bool:
        """Say whether this request is struck, and count it."""
        if self.route not in ("any", route) or (self.webhook is not None and self.webhook != webhook):
            return False
        if self.count is not None and self.hits >= self.count:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.probability < 1.0 and self._random.random() >= self.probability:
            return False
        self.hits += 1
        return True

    def document(self) -> dict[str, Any]:
        """Return the rule as the control API shows it."""
        return {
            "fault": self.knob, "route": self.route, "webhook": self.webhook, "count": self.count, "skip": self.skip,
            "probability": self.probability, "seed": self.seed, "hits": self.hits, "options": dict(self.options),
        }  # fmt: skip


@dataclass(slots=True)
class Faults:
    """The queue; the first rule that strikes wins."""

    rules: list[Fault] = field(default_factory=list)

    def add(self, **values: Any) -> Fault:
        """Append a rule; raises ``ValueError`` for unknown knobs, routes or fields."""
        known = {
            name: values.pop(name) for name in ("route", "webhook", "count", "skip", "probability", "seed") if name in values
        }
        fault = Fault(knob=str(values.pop("fault", "")), options=values, **known)
        self.rules.append(fault)
        return fault

    def strike(self, route: str, webhook: str | None) -> Fault | None:
        """Return the fault that strikes this request, if any; used-up rules leave the queue."""
        struck = next((rule for rule in self.rules if rule.hit(route, webhook)), None)
        self.rules = [rule for rule in self.rules if rule.count is None or rule.hits < rule.count]
        return struck

    def clear(self) -> None:
        """Forget all rules."""
        self.rules.clear()
