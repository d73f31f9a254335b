"""What the fake Flex web service tells when nobody gave it a document: statements and confirmations of a small quiet account.

The same day always has the same executions, whatever is asked for and whenever. What is bought in the morning is sold before
the close, beside a holding that never changes, so the positions at the end of any day follow without a memory: a fake that was
killed and started again tells the same. Confirmations appear some minutes after the execution, the statement the day after.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

from fillbook.calendar import NEW_YORK, calendar
from infra.local import flex_document

CONFIRMED_AFTER: Final = timedelta(minutes=5)
HELD: Final = ("VTI", 12340039, "150", "271.35", "318.20")
TRADED: Final = (("AAPL", 265598, "231.50"), ("SPY", 756733, "598.40"))
_RENAMED: Final = {
    "ibExecID": "execID",
    "ibOrderID": "orderID",
    "tradePrice": "price",
    "ibCommission": "commission",
    "ibCommissionCurrency": "commissionCurrency",
    "notes": "code",
    "settleDateTarget": "settleDate",
    "taxes": "tax",
}
"""Attributes of a Trade and how a TradeConfirm spells them."""
_UNCONFIRMED: Final = ("transactionID", "origTransactionID", "relatedTransactionID")
Row = dict[str, str]


def statement(accounts: Sequence[str], days: tuple[date, date], generated_at: datetime) -> bytes:
    """An activity statement: the executions of the days and what is held at the end of the last one."""
    parts = []
    for place, account in enumerate(accounts):
        rows = [row for offset in range((days[1] - days[0]).days + 1) for row, _ in _day(account, place, days[0], offset)]
        ticker, conid, quantity, cost, mark = HELD
        held = [flex_document.position(account, ticker, conid, quantity, cost, mark, reportDate=f"{days[1]:%Y%m%d}")]
        parts.append(flex_document.statement(rows, account=account, days=days, generated_at=generated_at, positions=held))
    return b"".join(flex_document.response(*parts))


def confirmations(accounts: Sequence[str], days: tuple[date, date], generated_at: datetime) -> bytes:
    """Trade confirmations: the executions of the days as far as they have been confirmed, in their own spelling."""
    parts = []
    for place, account in enumerate(accounts):
        told = [one for offset in range((days[1] - days[0]).days + 1) for one in _day(account, place, days[0], offset)]
        rows = [_confirmed(row) for row, at in told if at + CONFIRMED_AFTER <= generated_at]
        statement_of = flex_document.statement(
            rows, account=account, days=days, generated_at=generated_at, row_name="TradeConfirm"
        )
        parts.append(statement_of)
    return b"".join(flex_document.response(*parts, kind="TCF"))


def _day(account: str, place: int, first: date, offset: int) -> Iterator[tuple[Row, datetime]]:
    """One account's day: each stock bought by one order and sold by another, either of them in two pieces."""
    on = first + timedelta(days=offset)
    session = calendar().session(on)
    if session is None:
        return
    chance = random.Random(f"{on} {account}")
    number = (on.toordinal() % 20_000) * 1_000 + place * 100
    for ticker, conid, price in TRADED:
        pieces = (chance.choice((10, 20, 30)), chance.choice((10, 20)))
        for sign, opens_at in (("", time(9, 40)), ("-", time(12, 10))):
            at = datetime.combine(on, opens_at, NEW_YORK) + timedelta(seconds=chance.randint(0, 2_000))
            paid = (Decimal(price) * (1 + Decimal(chance.randint(-80, 80)) / 10_000)).quantize(Decimal("0.01"))
            order = {"ibOrderID": str(4_100_000_000 + number), "symbol": ticker, "underlyingSymbol": ticker}
            order |= {"conid": str(conid), "description": ticker, "openCloseIndicator": "C" if sign else "O"}
            order |= {"notes": "C" if sign else "O"}
            for piece in pieces:
                at += timedelta(seconds=chance.randint(0, 30))
                yield flex_document.trade(number, account, at, quantity=f"{sign}{piece}", price=f"{paid:f}", **order), at
                number += 1


def _confirmed(row: Row) -> Row:
    return {_RENAMED.get(name, name): text for name, text in row.items() if name not in _UNCONFIRMED}
