"""Counts and prices become a bill: pure.

Free amounts are a month's and are given once, over everybody's use of a measure together; each owner bears the share of what is
left that it used. So the bill is the sum of its lines, more of anything never costs less, and nobody pays for what nobody used.
Gross is what a count would cost without free amounts: what one more of it costs once they are used up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from fillbook.values import frozen
from infra.cost.model import Measure, Usage
from infra.cost.prices import Price, PriceList

NOTHING = Decimal(0)


@frozen
class Line:
    """What an owner used of a measure in a month. ``price`` None: it is counted and costs nothing by itself."""

    owner: str
    measure: Measure
    quantity: Decimal
    price: Price | None
    gross: Decimal
    net: Decimal


@frozen
class Bill:
    """All lines of a month, in the order of the usage."""

    lines: tuple[Line, ...]

    @property
    def net(self) -> Decimal:
        """What the month costs."""
        return sum((line.net for line in self.lines), NOTHING)

    @property
    def gross(self) -> Decimal:
        """What it would cost without free amounts."""
        return sum((line.gross for line in self.lines), NOTHING)

    def by_owner(self) -> dict[str, Decimal]:
        """What each owner bears."""
        return self._grouped(lambda line: line.owner)

    def by_service(self) -> dict[str, Decimal]:
        """What each service of the list costs."""
        return self._grouped(lambda line: line.price.service if line.price is not None else "")

    def _grouped(self, key: Callable[[Line], str]) -> dict[str, Decimal]:
        found: dict[str, Decimal] = {}
        for line in self.lines:
            if line.price is not None:
                found[key(line)] = found.get(key(line), NOTHING) + line.net
        return dict(sorted(found.items(), key=lambda one: -one[1]))


def billed(month: Usage, prices: PriceList) -> Bill:
    """The bill of a month's usage; ``ValueError`` for a negative count."""
    totals: dict[Measure, Decimal] = {}
    for (owner, measure), quantity in month.items():
        if quantity < 0:
            raise ValueError(f"{owner} {measure}: {quantity} is less than nothing")
        totals[measure] = totals.get(measure, NOTHING) + quantity
    shares = {measure: _paid_share(total, prices.of(measure)) for measure, total in totals.items()}
    return Bill(lines=tuple(_line(owner, measure, quantity, prices, shares) for (owner, measure), quantity in month.items()))


def _paid_share(total: Decimal, price: Price | None) -> Decimal:
    """The share of a measure's use that the free amount leaves to be paid."""
    if price is None or total <= price.free:
        return NOTHING
    return (total - price.free) / total


def _line(owner: str, measure: Measure, quantity: Decimal, prices: PriceList, shares: Mapping[Measure, Decimal]) -> Line:
    price = prices.of(measure)
    gross = NOTHING if price is None else quantity * price.one
    return Line(owner=owner, measure=measure, quantity=quantity, price=price, gross=gross, net=gross * shares[measure])
