"""Discord's rate limits on desk time: what a request may cost, what the headers say, and who came too early.

Windows are sliding, which is stricter than Discord's own: whoever satisfies them satisfies Discord. Per webhook 5 writes
in 2 s (creates, edits and deletes together) and 5 reads in 2 s; per channel 30 writes in 60 s over all its webhooks,
which no header tells; per address 50 requests a second, and a ban after 10,000 answers 401, 403 or 429 in 10 minutes.

A request travels in real time: when the desk clock runs 300 times faster, 10 ms on the way are 3 s on the desk, and the
most careful client would seem early. ``slack_seconds`` is that uncertainty, 0 at ordinary speed; it only ever forgives.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

WEBHOOK_LIMIT, WEBHOOK_SECONDS = 5, 2.0
CHANNEL_LIMIT, CHANNEL_SECONDS = 30, 60.0
ADDRESS_LIMIT, ADDRESS_SECONDS = 50, 1.0
INVALID_LIMIT, INVALID_SECONDS = 10_000, 600.0
WRITE_BUCKET = "b5cbf4ac4b2b3f2e2d7f6a1c6f0e9d11"
READ_BUCKET = "6f1d0c3a9be84f0d8a6b1f27c5d3e920"


@dataclass(slots=True)
class Window:
    """Instants of the requests of one scope that still count."""

    limit: int
    seconds: float
    instants: deque[datetime] = field(default_factory=deque)

    def settle(self, now: datetime) -> None:
        """Forget what has left the window, and everything when the clock went back."""
        if self.instants and self.instants[-1] > now:
            self.instants.clear()
        while self.instants and now - self.instants[0] >= timedelta(seconds=self.seconds):
            self.instants.popleft()

    def remaining(self, now: datetime, slack_seconds: float = 0.0) -> int:
        """Return how many more requests fit at ``now``; those about to leave within the slack do not count."""
        self.settle(now)
        leaving = now - timedelta(seconds=self.seconds - slack_seconds)
        return max(0, self.limit - sum(instant > leaving for instant in self.instants))

    def reset_after(self, now: datetime) -> float:
        """Return the seconds until the oldest request leaves, rounded up to the millisecond: early is never right."""
        self.settle(now)
        if not self.instants:
            return self.seconds
        left = self.seconds - (now - self.instants[0]).total_seconds()
        return math.ceil(left * 1000) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """A refusal: which scope was full and how long to wait."""

    scope: str
    retry_after: float
    remaining: int = 0
    is_ban: bool = False


@dataclass(slots=True)
class Limits:
    """All windows of the fake; ``violations`` counts requests that came although a window was full."""

    windows: dict[str, Window] = field(default_factory=dict)
    not_before: dict[str, tuple[datetime, bool]] = field(default_factory=dict)
    violations: int = 0
    latest: datetime | None = None
    slack_seconds: float = 0.0

    def settle(self, now: datetime) -> None:
        """Forget everything but the count of violations when the desk clock was set back by more than a minute."""
        if self.latest is not None and self.latest - now > timedelta(minutes=1):
            self.windows.clear()
            self.not_before.clear()
        self.latest = now

    def window(self, scope: str) -> Window:
        """Return the window of a scope: ``write:<webhook>``, ``read:<webhook>``, ``channel:<id>``, ``address:<ip>``…"""
        if scope not in self.windows:
            kind = scope.partition(":")[0]
            size = {
                "write": (WEBHOOK_LIMIT, WEBHOOK_SECONDS),
                "read": (WEBHOOK_LIMIT, WEBHOOK_SECONDS),
                "channel": (CHANNEL_LIMIT, CHANNEL_SECONDS),
                "address": (ADDRESS_LIMIT, ADDRESS_SECONDS),
                "invalid": (INVALID_LIMIT, INVALID_SECONDS),
            }[kind]
            self.windows[scope] = Window(*size)
        return self.windows[scope]

    def take(self, bucket: str, channel: str | None, address: str, scopes: list[str], now: datetime) -> Limited | None:
        """Count one request, or say why it is refused (then it does not count); ``channel`` is None for reads."""
        if not self.window(f"invalid:{address}").remaining(now):
            return Limited(scope="global", retry_after=INVALID_SECONDS, is_ban=True)
        early = self.early_by(scopes, now)
        if early:
            self.violations += 1
            is_ban = any(self.not_before[scope][1] for scope in scopes if self._wait(scope, now) > 0)
            is_global = self._wait("global", now) > 0
            return Limited(scope="global" if is_global else "user", retry_after=early, is_ban=is_ban)
        windows = [(f"address:{address}", "global"), (bucket, "user")]
        if channel is not None:
            windows.append((f"channel:{channel}", "user"))
        for scope, name in windows:
            window = self.window(scope)
            if not window.remaining(now, self.slack_seconds):
                self.violations += 1
                wait = window.reset_after(now)
                until = now + timedelta(seconds=wait)
                self.forbid_until("global" if name == "global" else scope, until)
                return Limited(scope=name, retry_after=wait, remaining=self.window(bucket).remaining(now))
        for scope, _ in windows:
            self.window(scope).instants.append(now)
        return None

    def count_invalid(self, address: str, now: datetime) -> None:
        """Note an answer 401, 403 or 429 (scope shared excepted)."""
        window = self.window(f"invalid:{address}")
        window.settle(now)
        window.instants.append(now)

    def forbid_until(self, scope: str, until: datetime, *, is_ban: bool = False) -> None:
        """Remember that a 429 told ``scope`` to wait: who comes earlier is refused again and counted."""
        known = self.not_before.get(scope)
        if known is None or known[0] < until:
            self.not_before[scope] = (until, is_ban)

    def _wait(self, scope: str, now: datetime) -> float:
        known = self.not_before.get(scope)
        return (known[0] - now).total_seconds() if known else 0.0

    def early_by(self, scopes: list[str], now: datetime) -> float:
        """Return by how many seconds a request comes before what a 429 of one of its scopes allowed; 0 = in time."""
        early = max([0.0, *(self._wait(scope, now) for scope in scopes)])
        return early if early > self.slack_seconds else 0.0

    def headers(self, bucket: str, now: datetime) -> dict[str, str]:
        """Return the true rate-limit headers of a bucket."""
        window = self.window(bucket)
        reset_after = window.reset_after(now)
        return {
            "X-RateLimit-Limit": str(window.limit),
            "X-RateLimit-Remaining": str(window.remaining(now)),
            "X-RateLimit-Reset": f"{now.timestamp() + reset_after:.3f}",
            "X-RateLimit-Reset-After": f"{reset_after:.3f}",
            "X-RateLimit-Bucket": WRITE_BUCKET if bucket.startswith("write:") else READ_BUCKET,
        }

    def clear(self) -> None:
        """Forget everything."""
        self.windows.clear()
        self.not_before.clear()
        self.violations = 0
        self.latest = None
