"""What the broker takes back of the statements' account: what an exchange busts, and what is booked at another price.

It is known to the stand-in from an instant on, and stays known for the season: a statement reaches back some days. A service that
was killed forgets it until it is told again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from infra.local import flex_book, walking
from infra.local.desk import LocalCloud
from infra.local.fakes import FLEX
from infra.local.flex_book import Row, TakenBack
from infra.local.plan import FLEX_ACCOUNT

PIECES: Final = 2
"""Of an order: a day has two purchases and two sales of each stock, of the same pieces."""


class Statements:
    """The season that is played."""

    def __init__(self) -> None:
        self._taken_back: dict[str, TakenBack] = {}

    def bust(self, day: date, trip: int, at: datetime) -> bool:
        """A piece that was bought and its sale never happened: what is held stays what it is. False: it is gone already."""
        rows = _rows(day)
        first = trip // PIECES * 2 * PIECES + trip % PIECES
        names = [rows[place]["ibExecID"] for place in (first, first + PIECES)]
        return self._take_back(TakenBack(exec_id=name, at=at) for name in names)

    def book_again(self, day: date, fill: int, cents: int, at: datetime) -> bool:
        """An execution is taken back and booked at another price, under the same id. False: it was taken back already."""
        row = _rows(day)[fill]
        price = Decimal(row["tradePrice"]) + Decimal(cents) / 100
        return self._take_back([TakenBack(exec_id=row["ibExecID"], at=at, price=f"{price:f}")])

    def _take_back(self, given: Iterable[TakenBack]) -> bool:
        chosen = {one.exec_id: one for one in given}
        if chosen.keys() & self._taken_back.keys():
            return False
        self._taken_back |= chosen
        return True

    def tell(self, cloud: LocalCloud) -> None:
        """Have the stand-in know all of it."""
        if self._taken_back:
            known = [asdict(one) | {"at": one.at.isoformat()} for one in self._taken_back.values()]
            walking.ask(cloud, FLEX, "taken_back", {"executions": known})

    def expected(self, days: Iterable[date]) -> Iterator[tuple[str, Decimal, Decimal]]:
        """Execution id, quantity and price of all that must stand of these days in the end."""
        for row in (row for day in days for row in _rows(day)):
            one = self._taken_back.get(row["ibExecID"])
            if one is None or one.price is not None:
                price = row["tradePrice"] if one is None or one.price is None else one.price
                yield row["ibExecID"], abs(Decimal(row["quantity"])), Decimal(price)


def _rows(day: date) -> list[Row]:
    return [row for row, _ in flex_book.executions(FLEX_ACCOUNT, day)]
