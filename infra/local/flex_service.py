"""The rules of the Flex web service, without a socket: one live token, pacing, references, statements, codes.

Both steps answer 200 whatever happens; what went wrong is a code in a status answer. Source: ibkr.md 8, 14.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

from infra.local import flex_book
from infra.local.flex_book import TakenBack

MESSAGES: Mapping[int, str] = {
    1001: "Statement could not be generated at this time. Please try again shortly.",
    1009: "The server is under heavy load. Statement could not be generated at this time. Please try again shortly.",
    1012: "Token has expired.",
    1013: "IP restriction.",
    1014: "Query is invalid.",
    1015: "Token is invalid.",
    1017: "Reference code is invalid.",
    1018: "Too many requests have been made from this token. Please try again shortly.",
    1019: "Statement generation in progress. Please try again shortly.",
    1020: "Invalid request or unable to validate request.",
    1021: "Statement could not be retrieved at this time. Please try again shortly.",
    1025: "Too many failed attempts.",
}
GAP_SECONDS = 1.0
CALLS_A_MINUTE = 10
VIOLATIONS_MAX = 3
LOCKED_OUT = timedelta(minutes=45)
CONFIRMATIONS = "2"
"""The query that answers with trade confirmations; every other one answers with an activity statement."""
Statement = Callable[[date, date], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A statement that was asked for."""

    query_id: str
    from_date: date
    to_date: date


class FlexRules:
    """What the service knows. ``queries``: query id -> what makes the statement of a window; ``taken_back``: of its own book."""

    def __init__(self, token: str, accounts: Sequence[str], now: Callable[[], datetime]) -> None:
        self.token = token
        self.accounts = tuple(accounts)
        self.slack_seconds = 0.0
        self.paces = True
        self._now = now
        self.reset()

    def reset(self) -> None:
        """Forget references, calls, given statements and what was taken back; the token stays."""
        self.queries: dict[str, Statement] = {}
        self.taken_back: tuple[TakenBack, ...] = ()
        self.orders: dict[str, Order] = {}
        self.calls: list[datetime] = []
        self.violations = 0
        self.locked_until: datetime | None = None

    def refusal(self, token: str) -> int | None:
        """The code that answers a call before anything of it is looked at; it counts as a call."""
        now = self._now()
        if self.locked_until is not None and now < self.locked_until:
            return 1025
        self.locked_until = None
        if token != self.token:
            return 1015
        return self._pace(now) if self.paces else None

    def _pace(self, now: datetime) -> int | None:
        slack = timedelta(seconds=self.slack_seconds)
        self.calls = [at for at in self.calls if now - at + slack < timedelta(seconds=60)]
        is_close = bool(self.calls) and now - self.calls[-1] + slack < timedelta(seconds=GAP_SECONDS)
        is_violation = is_close or len(self.calls) >= CALLS_A_MINUTE
        self.calls.append(now)
        if not is_violation:
            return None
        self.violations += 1
        if self.violations >= VIOLATIONS_MAX:
            self.violations, self.locked_until = 0, now + LOCKED_OUT
            return 1025
        return 1018

    def send(self, asked: Mapping[str, str], url: str) -> bytes:
        """Answer SendRequest; ``url``: where statements are."""
        try:
            days = [date.fromisoformat(asked[name]) for name in ("fd", "td")]
        except (KeyError, ValueError):
            return status(1020)
        if asked.get("v") != "3" or not 0 <= (days[1] - days[0]).days < 365:
            return status(1020)
        if not asked.get("q", "").isdigit():
            return status(1014)
        reference = str(1_000_000_000 + len(self.orders) + 1)
        self.orders[reference] = Order(query_id=asked["q"], from_date=days[0], to_date=days[1])
        return accepted(reference, url)

    def statement(self, asked: Mapping[str, str]) -> bytes:
        """Answer GetStatement."""
        order = self.orders.get(asked.get("q", ""))
        if order is None or asked.get("v") != "3":
            return status(1017)
        given = self.queries.get(order.query_id)
        if given is not None:
            return given(order.from_date, order.to_date)
        make = flex_book.confirmations if order.query_id == CONFIRMATIONS else flex_book.statement
        return make(self.accounts, (order.from_date, order.to_date), self._now(), self.taken_back)


def status(code: int) -> bytes:
    """A status answer with a code."""
    word = "Warn" if code in (1001, 1009, 1019, 1021) else "Fail"
    text = escape(MESSAGES.get(code, "Unspecified."))
    return (
        f'<FlexStatementResponse timestamp="05 January, 2026 10:30 AM EST"><Status>{word}</Status>'
        f"<ErrorCode>{code}</ErrorCode><ErrorMessage>{text}</ErrorMessage></FlexStatementResponse>"
    ).encode()


def accepted(reference: str, url: str) -> bytes:
    """A status answer with a reference."""
    return (
        '<FlexStatementResponse timestamp="05 January, 2026 10:30 AM EST"><Status>Success</Status>'
        f"<ReferenceCode>{escape(reference)}</ReferenceCode><Url>{escape(url)}</Url></FlexStatementResponse>"
    ).encode()


def told(rules: FlexRules) -> dict[str, Any]:
    """Figures for the control API."""
    return {
        "orders": len(rules.orders),
        "violations": rules.violations,
        "locked_until": None if rules.locked_until is None else rules.locked_until.isoformat(),
    }
