"""What an operation of the fake's broker is given, and what it is about to change before the book takes it as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from infra.local.mt5_model import BUY, MONEY_FIELDS, SELL, ZERO, Deal, Fact, Position, floored

if TYPE_CHECKING:
    from infra.local.mt5_broker import Book


class Given:
    """The fields of an operation; what nobody asked for is refused at the end."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values, self._asked = values, set[str]()

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field as it came."""
        self._asked.add(name)
        value = self._values.get(name)
        return default if value is None else value

    def number(self, name: str, default: Decimal | None = None) -> Decimal:
        """Return a number; raises ``ValueError`` where it is missing or none."""
        value = self.get(name, default)
        if value is None or isinstance(value, bool):
            raise ValueError(f"{name} is missing")
        try:
            number = value if isinstance(value, Decimal) else Decimal(str(value))
        except InvalidOperation as error:
            raise ValueError(f"{name} is no number") from error
        if not number.is_finite():
            raise ValueError(f"{name} is no number")
        return number

    def volume(self, name: str = "volume", default: Decimal | None = None) -> Decimal:
        """Return a number above zero."""
        number = self.number(name, default)
        if number <= 0:
            raise ValueError(f"{name} must be above zero")
        return number

    def whole(self, name: str, default: int) -> int:
        """Return an id or a code."""
        return int(self.get(name, default))

    def instant(self, name: str, default: datetime) -> datetime:
        """Return an instant, ISO text or aware."""
        value = self.get(name, default)
        return floored(datetime.fromisoformat(value) if isinstance(value, str) else value)

    def side(self) -> int:
        """Return BUY or SELL, from a word or a number."""
        value = self.get("side")
        sides = {"buy": BUY, "sell": SELL, BUY: BUY, SELL: SELL}
        if value not in sides:
            raise ValueError("side is buy or sell")
        return sides[value]

    def finish(self) -> None:
        """Raise ``ValueError`` for a field that means nothing here."""
        left = self._values.keys() - self._asked
        if left:
            raise ValueError(f"unknown field: {', '.join(sorted(left))}")


class Draft:
    """What an operation is about to change; the book takes it as a whole."""

    def __init__(self, book: Book, at: datetime, given: Given) -> None:
        self.book, self.terms, self.at, self.given = book, book.terms, at, given
        self.deals: list[Deal] = []
        self.removed: list[int] = []
        self.positions: dict[int, Position | None] = {}
        self.ended: dict[int, Position] = {}
        self.refs: dict[str, int] = {}
        self.facts: list[Fact] = []
        self.order = 0
        self.dated_at = given.instant("dated_at", at)
        self._appears_at = given.instant("appears_at", at)

    def take_order(self) -> int:
        """Return the number of this operation's order."""
        self.order = self.order or self.given.whole("order", self.book.next_order())
        return self.order

    def ticket(self) -> int:
        """Return the number of the next deal of this operation."""
        fresh = max(self.book.next_ticket(), *(deal.ticket + 1 for deal in self.deals), 0)
        ticket = self.given.whole("ticket", fresh) if not self.deals else self.given.whole("second_ticket", fresh)
        if ticket in self.book.deals:
            raise ValueError(f"deal {ticket} exists")
        return ticket

    def deal(self, **values: Any) -> Deal:
        """Write a deal; it has the costs that are given, else those of the terms."""
        given = self.given
        made = Deal(
            ticket=self.ticket(), at=self.dated_at, time_msc=self.terms.clock.msc(self.dated_at), appears_at=self._appears_at,
            magic=given.whole("magic", 0), comment=str(given.get("comment", "")), reason=given.whole("reason", 0),
            external_id=str(given.get("external_id", "")), **values,
        )  # fmt: skip
        self.deals.append(made)
        return made

    def costs(self, volume: Decimal) -> dict[str, Decimal]:
        """Return commission and fee of a deal of ``volume`` lots."""
        usual = self.terms.rounded(-self.terms.commission_per_lot * volume)
        return {"commission": self.given.number("commission", usual), "fee": self.given.number("fee", ZERO)}

    def price(self, symbol: str) -> Decimal:
        """Return the price given, else the market's."""
        return self.given.number("price", self.book.price(symbol, self.at))

    def position(self, name: str = "position") -> Position:
        """Return the open position named."""
        wanted = self.given.get(name)
        found = self.book.positions.get(self.book.refs.get(str(wanted), -1)) or self.book.positions.get(number_of(wanted))
        if found is None:
            raise ValueError(f"no open position {wanted!r}")
        return found

    def put(self, position: Position) -> None:
        """Leave a position open, or end it where nothing is left of it."""
        self.positions[position.position_id] = position if position.volume else None
        if not position.volume:
            self.ended[position.position_id] = position

    def fact(self, kind: str, deal: Deal, **values: Any) -> None:
        """Say what a deal truly was."""
        money = {name: getattr(deal, name) for name in MONEY_FIELDS}
        told = {"symbol": deal.symbol, "volume": deal.volume, "price": deal.price, "comment": deal.comment, **money, **values}
        self.facts.append(Fact(kind=kind, ticket=deal.ticket, at=deal.at, position_id=deal.position_id, **told))


def number_of(wanted: object) -> int:
    """Return the number that a position is named by; -1 where it is none."""
    return int(wanted) if isinstance(wanted, int | str) and str(wanted).isdecimal() else -1
