"""A generated statement of a busy account: every shape that real statements hold, in their proportions, the same for a seed.

330 orders and more than 671 executions: orders of up to 59 fills, groups of rows that differ in their ids only, combos of two
legs without a brokerageOrderID, expiries, assignments, exercises, currencies booked to the next day, corrections, busts, and a
booking that was done again under its own id. Every id exceeds 2^32.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fillbook.calendar import NEW_YORK
from fillbook.ibkr.model import Row
from tests.support.ibkr import cancel, exec_id, flex

PLAIN_ORDERS = 170
LONGEST_ORDER = 59
TWIN_GROUPS = 65
COMBO_FILLS = 120
COMBO_ORDERS = 40
BOOK_TRADES = 9
CASH_ROWS = 24
TRIPLES, BUSTS, REBOOKS = 3, 2, 1
SERIES = 2**33
STOCKS, MANY_STOCKS = 12, 200
FILLS_A_DAY = 3_000
BEGINS = datetime(2025, 10, 6, 9, 30, tzinfo=NEW_YORK)
DAY = timedelta(days=1)


@dataclass(slots=True)
class _Teller:
    """Hands out ids and times as the broker does: ever higher."""

    rng: random.Random
    number: int = 0
    rows: list[Row] = field(default_factory=list)
    stocks: int = STOCKS
    begins: datetime = datetime(2026, 1, 5, 9, 30, tzinfo=NEW_YORK)

    def next(self) -> int:
        self.number += 1
        return self.number

    def time(self) -> dict[str, str]:
        at = self.begins + timedelta(seconds=self.number % FILLS_A_DAY * 7)
        return {"dateTime": at.strftime("%Y%m%d;%H%M%S"), "tradeDate": at.strftime("%Y%m%d")}

    def stock(self) -> dict[str, str]:
        number = self.rng.randrange(self.stocks)
        return {"conid": str(SERIES + number), "symbol": f"ZZ{number:03}"}

    def fill(self, order: int, quantity: str, price: str, name: str | None = None, **texts: str) -> dict[str, Any]:
        number = self.next()
        given = {"transactionID": str(SERIES + number), "tradeID": str(2 * SERIES + number), "ibOrderID": str(SERIES + order)}
        given |= self.time() | texts
        self.rows.append(flex(exec_id(f"{number:08x}") if name is None else name, quantity, price, **given))
        return given


def busy_statement(seed: int = 7) -> list[Row]:
    """The rows of the statement in the order of the broker."""
    teller = _Teller(random.Random(seed))
    for part in (_plain, _twins, _combos, _booked, _cash, _corrected):
        part(teller)
    return teller.rows


def _amounts(rng: random.Random) -> tuple[str, str]:
    sign = rng.choice(("", "-"))
    return f"{sign}{rng.choice(('100', '60', '0.3088', '7', '1145.929445'))}", f"{rng.randrange(900, 30_000) / 100:.4f}"


def _plain(teller: _Teller) -> None:
    for number in range(PLAIN_ORDERS):
        fills = LONGEST_ORDER if number == 0 else teller.rng.choice((1, 1, 1, 1, 2, 3))
        order, stock, side = teller.next(), teller.stock(), teller.rng.choice(("", "-"))
        for _ in range(fills):
            quantity, price = _amounts(teller.rng)
            teller.fill(order, side + quantity.lstrip("-"), price, **stock)


def _twins(teller: _Teller) -> None:
    for _ in range(TWIN_GROUPS):
        order, stock, (quantity, price), when = teller.next(), teller.stock(), _amounts(teller.rng), teller.time()
        for _ in range(2):
            teller.fill(order, quantity, price, **stock, **when)


def _combos(teller: _Teller) -> None:
    option = {"assetCategory": "OPT", "multiplier": "100", "underlyingSymbol": "ZZA", "putCall": "C", "expiry": "20260116"}
    for _ in range(COMBO_ORDERS):
        near, far, strike = teller.next(), teller.next(), teller.rng.randrange(50, 90)
        for _ in range(COMBO_FILLS // COMBO_ORDERS):
            pair = f"{teller.next():08x}"
            for slot, order, sign, higher in (("02", near, "", 0), ("03", far, "-", 5)):
                price = strike + higher
                leg = {"conid": str(3 * SERIES + price), "symbol": f"ZZA 260116C{price:08}", "strike": str(price)}
                name = exec_id(pair, slot=slot)
                teller.fill(order, f"{sign}2", f"{teller.rng.randrange(100, 900) / 100}", name, **option, **leg)


def _booked(teller: _Teller) -> None:
    """Expiries, assignments and exercises: no execution id, keyed by their transaction."""
    for number in range(BOOK_TRADES):
        texts = {"transactionType": "BookTrade", "notes": ("Ep", "A", "Ex")[number % 3], "ibOrderID": "", "exchange": ""}
        option = {"assetCategory": "OPT", "multiplier": "100", "conid": str(4 * SERIES + number), "symbol": f"ZZB {number}"}
        teller.fill(0, "-1", "0", "", **option, **texts)


def _cash(teller: _Teller) -> None:
    """Currencies after 17:00 New York: booked to the next day."""
    pair = {"assetCategory": "CASH", "symbol": "EUR.USD", "conid": "12087792", "multiplier": "1", "ibCommissionCurrency": "USD"}
    for number in range(CASH_ROWS):
        when = {"dateTime": f"20260104;18{number:02}00", "tradeDate": "20260105"}
        teller.fill(teller.next(), "-1143.28313142" if number % 2 else "25000", f"1.1{number:04}", **pair, **when)


def _corrected(teller: _Teller) -> None:
    for _ in range(TRIPLES):
        order, name = teller.next(), f"{teller.next():08x}"
        first = teller.fill(order, "100", "30.2374637", exec_id(name, 1))
        _cancelled(teller, first, "-100", "30.2374637")
        teller.fill(order, "60", "30.2374637", exec_id(name, 2))
    for _ in range(BUSTS):
        _cancelled(teller, teller.fill(teller.next(), "-40", "11.5"), "40", "11.5")
    for _ in range(REBOOKS):
        order, name = teller.next(), exec_id(f"{teller.next():08x}")
        first = teller.fill(order, "25", "12.25", name)
        _cancelled(teller, first, "-25", "12.25")
        teller.fill(order, "25", "12.25", name, tradeID=first["tradeID"], ibCommission="0")


def _cancelled(teller: _Teller, first: dict[str, Any], quantity: str, price: str) -> None:
    texts = {"origTransactionID": first["transactionID"], "origTradeID": first["tradeID"]}
    teller.rows.append(cancel(quantity, price, transactionID=str(SERIES + teller.next()), **texts))


def long_statement(executions: int, chunk: int) -> Iterator[list[Row]]:
    """Plain orders of 1 to 59 fills in the order of their times, day after day, chunk by chunk: what a bench imports."""
    teller = _Teller(random.Random(executions), stocks=MANY_STOCKS, begins=BEGINS)
    told = 0
    while told < executions:
        teller.rows = []
        while len(teller.rows) < min(chunk, executions - told):
            order, stock, side = teller.next(), teller.stock(), teller.rng.choice(("", "-"))
            for _ in range(min(teller.rng.choice((1, 1, 2, 3, 5, LONGEST_ORDER)), chunk - len(teller.rows))):
                quantity, price = _amounts(teller.rng)
                teller.fill(order, side + quantity.lstrip("-"), price, **stock)
                teller.begins += DAY * (teller.number % FILLS_A_DAY == 0)
        rows = teller.rows[: executions - told]
        told += len(rows)
        yield rows
