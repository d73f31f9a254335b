"""What the journeys through Kanban, a position and History find on the desk beside its day: a broker's book with a past.

The book is of an account that no sync knows, so that nothing else on the desk touches it: closed trades of ten weeks (history,
which is not told). Receipts of a journey's own go through the webhook like those of the day.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from fillbook.calendar import calendar
from fillbook.ledger import service
from fillbook.ledger.model import Book, Fill, Side
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from tests.support.browser import Desk
from tests.support.receipts import R_TS, body

D = Decimal
BOOK = "ibkr:U7"
OPENED_AT = datetime(2025, 11, 3, 14, 0, tzinfo=UTC)
PAST_TRADES = 130
INERT = "=1+1"  # what a spreadsheet would compute
MINUTE_MS = 60_000
IS_THERE = statement("select 1 as one from ledger.v_books where book_id = :book_id")


def fill(name: str, at: datetime, side: Side, price: Decimal, ticker: str) -> Fill:
    """An execution of the account without fees, of ten shares, known when it was executed."""
    return Fill(
        source="ibkr",
        account_key="U7",
        source_id=name,
        instrument=ticker,
        ticker=ticker,
        contract_name=INERT if name.endswith("5.01") else ticker,
        side=side,
        quantity=D(10),
        price=price,
        fx_rate=D(1),
        fees=D(0),
        fees_currency="USD",
        fees_rate=D(1),
        executed_at=at,
        session_date=at.date(),
        received_at=at,
        origin="history",
        reason="broker_execution",
    )


def past_fills(count: int) -> list[Fill]:
    """``count`` trades of earlier days, each closed within an hour: every seventh flat, of the others every third a loss."""
    exchange, found, day = calendar(), [], date(2025, 12, 1)
    for number in range(count):
        while exchange.session(day) is None:
            day += timedelta(days=1)
        ticker, at = f"YA{number % 26:02d}", datetime(day.year, day.month, day.day, 15, number % 50, tzinfo=UTC)
        change = D(0) if number % 7 == 0 else D(-1) * (number % 9) if number % 3 == 0 else D(number % 11) / 2
        sides = (Side.BUY, Side.SELL) if number % 4 else (Side.SELL, Side.BUY)
        found += [
            fill(f"b{number}.01", at, sides[0], D(100), ticker),
            fill(f"s{number}.01", at + timedelta(hours=1), sides[1], D(100) + change, ticker),
        ]
        if number % 3 == 2:
            day += timedelta(days=1)
    return found


def furnish(db: Database, now: datetime) -> None:
    """Open the book and fill it, as known ``now``; one that is there stays as it is."""
    with db.transaction(read_only=True) as tx:
        if tx.query(IS_THERE, book_id=BOOK):
            return
    with db.transaction() as tx:
        service.open_book(tx, Book(book_id=BOOK, start_cash=D(50_000)), OPENED_AT)
        service.book_fills(tx, BOOK, past_fills(PAST_TRADES), now)


def next_minute(desk: Desk) -> datetime:
    """The next bar of the desk's clock."""
    return desk.now.replace(second=0, microsecond=0) + timedelta(minutes=1)


def receipt(at: datetime, ticker: str, name: str = "R", **changes: Any) -> dict[str, Any]:
    """R or Q for another ticker, of no sector, its bar opening at ``at`` and its trigger a quarter of an hour before."""
    minutes = (int(at.timestamp() * 1000) - R_TS) // MINUTE_MS
    moved = {"trigger_ts": R_TS + (minutes - 15) * MINUTE_MS} if name == "R" else {}
    return body(name, minutes=minutes, ticker=ticker, sector=None, **{**moved, **changes})
