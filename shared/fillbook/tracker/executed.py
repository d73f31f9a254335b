"""What was executed, in short: how many executions there were and what they realized, by currency and day or ticker. Pure.

The account asks this about today, each day of a curve and each ticker of a range, and needs none of the other sums of a result.
Source: tracker.md 4.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, localcontext
from typing import Any, Final, cast

from fillbook.calendar import calendar
from fillbook.money import CONTEXT, ZERO
from fillbook.tracker import days
from fillbook.tracker.portfolio_model import Executions
from fillbook.tracker.wire import text
from fillbook.values import frozen

TICKERS_MAX: Final = 500
Place = tuple[str, str | None]
"""Currency and trading day, or ticker, or nothing."""


@frozen
class Executed:
    """How many executions, and what they realized; of ``unknown_realized`` of them nobody knows what."""

    count: int = 0
    realized: Decimal = ZERO
    unknown_realized: int = 0

    @property
    def known(self) -> Decimal | None:
        """The realized P&L, None where a part of it is not known."""
        return None if self.unknown_realized else self.realized


NOTHING: Final = Executed()


def added(*parts: Executed) -> Executed:
    """The sums of all parts."""
    if len(parts) == 1:
        return parts[0]
    with localcontext(CONTEXT):
        return Executed(
            count=sum(part.count for part in parts),
            realized=sum((part.realized for part in parts), ZERO),
            unknown_realized=sum(part.unknown_realized for part in parts),
        )


def less(whole: Executed, part: Executed) -> Executed:
    """What is left of a whole without a part of it."""
    with localcontext(CONTEXT):
        return Executed(
            count=whole.count - part.count,
            realized=whole.realized - part.realized,
            unknown_realized=whole.unknown_realized - part.unknown_realized,
        )


def folded(rows: Iterable[Mapping[str, Any]], by: str | None) -> dict[Place, Executed]:
    """Rows of ``Sums.executed`` by currency and word; a date is the word of its trading day."""
    parts: dict[Place, list[Executed]] = {}
    for row in rows:
        word = days.trading_day(row["day"], calendar()).isoformat() if by == "day" else row["key"]
        one = Executed(count=row["count"], realized=row["realized"], unknown_realized=row["unknown_realized"])
        parts.setdefault((row["currency"], word), []).append(one)
    return {place: added(*mine) for place, mine in parts.items()}


def joined(one: Mapping[Place, Executed], other: Mapping[Place, Executed]) -> dict[Place, Executed]:
    """The sums of two, place by place."""
    if not one or not other:
        return {**one, **other}
    return {**one, **{place: added(one.get(place, NOTHING), mine) for place, mine in other.items()}}


def by_currency(places: Mapping[Place, Executed]) -> dict[str, Executed]:
    """The sums of each currency."""
    parts: dict[str, list[Executed]] = {}
    for place, mine in places.items():
        parts.setdefault(place[0], []).append(mine)
    return {currency: added(*mine) for currency, mine in parts.items()}


def told(by_day: Mapping[Place, Executed], by_ticker: Mapping[Place, Executed]) -> Executions:
    """As they are shown: days in their order, tickers with the most executions first."""
    tickers = sorted(by_ticker, key=lambda place: (-by_ticker[place].count, place[1] or "", place[0]))[:TICKERS_MAX]
    return cast(
        "Executions",
        {
            "count": sum(one.count for one in by_day.values()),
            "by_day": [{"date": place[1], **_shown(place[0], by_day[place])} for place in sorted(by_day, key=_by_date)],
            "by_ticker": [{"ticker": place[1], **_shown(place[0], by_ticker[place])} for place in tickers],
        },
    )


def _by_date(place: Place) -> tuple[str, str]:
    return place[1] or "", place[0]


def _shown(currency: str, one: Executed) -> dict[str, Any]:
    return {"currency": currency, "count": one.count, "realized_pnl": text(one.known)}
