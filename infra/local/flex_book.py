"""What the fake Flex web service tells when nobody gave it a document: statements and confirmations of a small quiet account.

The same day always has the same executions, whatever is asked for and whenever. What is bought in the morning is sold before
the close, beside a holding that never changes, so the positions at the end of any day follow without a memory: a fake that was
killed and started again tells the same. Confirmations appear some minutes after the execution, the statement the day after.

What the broker takes back stays in the document, with a row that cancels it beside it (the exchange busted it), and with a third
one where it was booked again at another price. Source of the rows: ibkr.md 5.2 and 5.3.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
CANCEL, BOOKED_AGAIN = 50, 60
"""Transactions of what is taken back are so far behind its own; an account has fewer executions a day."""
Row = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """An execution that counts no longer from an instant on; ``price``: at which it is booked instead, None where it is not."""

    exec_id: str
    at: datetime
    price: str | None = None


def statement(
    accounts: Sequence[str], days: tuple[date, date], generated_at: datetime, taken_back: Sequence[TakenBack] = ()
) -> bytes:
    """An activity statement: the executions of the days and what is held at the end of the last one."""
    parts = []
    for place, account in enumerate(accounts):
        rows = [row for row, _ in _told(account, place, days, _known(taken_back, generated_at))]
        ticker, conid, quantity, cost, mark = HELD
        held = [flex_document.position(account, ticker, conid, quantity, cost, mark, reportDate=f"{days[1]:%Y%m%d}")]
        parts.append(flex_document.statement(rows, account=account, days=days, generated_at=generated_at, positions=held))
    return b"".join(flex_document.response(*parts))


def confirmations(
    accounts: Sequence[str], days: tuple[date, date], generated_at: datetime, taken_back: Sequence[TakenBack] = ()
) -> bytes:
    """Trade confirmations: the executions of the days as far as they have been confirmed, in their own spelling."""
    parts = []
    until = generated_at - CONFIRMED_AFTER
    for place, account in enumerate(accounts):
        told = _told(account, place, days, _known(taken_back, until))
        rows = [_confirmed(row) for row, at in told if at <= until]
        statement_of = flex_document.statement(
            rows, account=account, days=days, generated_at=generated_at, row_name="TradeConfirm"
        )
        parts.append(statement_of)
    return b"".join(flex_document.response(*parts, kind="TCF"))


def executions(account: str, on: date, place: int = 0) -> Iterator[tuple[Row, datetime]]:
    """One account's day: each stock bought by one order and sold by another, either of them in the same two pieces."""
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


def _known(taken_back: Sequence[TakenBack], until: datetime) -> dict[str, TakenBack]:
    return {one.exec_id: one for one in taken_back if one.at <= until}


def _told(
    account: str, place: int, days: tuple[date, date], taken_back: Mapping[str, TakenBack]
) -> Iterator[tuple[Row, datetime]]:
    """Every row of the days, and when it came into being."""
    for offset in range((days[1] - days[0]).days + 1):
        for row, at in executions(account, days[0] + timedelta(days=offset), place):
            yield row, at
            one = taken_back.get(row["ibExecID"])
            if one is not None:
                yield _cancel(row), max(at, one.at)
                if one.price is not None:
                    yield _booked_again(row, one.price), max(at, one.at)


def _cancel(row: Row) -> Row:
    """It names what it cancels by its transaction and its trade; it has no execution id of its own."""
    opposite = row["quantity"].removeprefix("-") if row["quantity"].startswith("-") else f"-{row['quantity']}"
    named = {"origTransactionID": row["transactionID"], "origTradeID": row["tradeID"], "origTradePrice": row["tradePrice"]}
    told = {"transactionType": "TradeCancel", "notes": "Ca", "buySell": f"{row['buySell']} (Ca.)", "ibCommission": "0"}
    blank = dict.fromkeys(("tradeID", "ibExecID", "openCloseIndicator"), "")
    return row | named | told | blank | {"quantity": opposite, "transactionID": _later(row, CANCEL)}


def _booked_again(row: Row, price: str) -> Row:
    """The same execution and trade in a new transaction."""
    money = f"{Decimal(row['quantity']) * Decimal(price):f}"
    return row | {"tradePrice": price, "tradeMoney": money, "transactionID": _later(row, BOOKED_AGAIN)}


def _later(row: Row, offset: int) -> str:
    return str(int(row["transactionID"]) + offset)


def _confirmed(row: Row) -> Row:
    return {_RENAMED.get(name, name): text for name, text in row.items() if name not in _UNCONFIRMED}
