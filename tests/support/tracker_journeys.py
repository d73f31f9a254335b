"""What the journeys through Kanban, a position and History find on the desk beside its day: a broker's book with a past.

The book is of an account that no sync knows, so that nothing else on the desk touches it: closed trades of ten weeks (history,
which is not told), an open position of two lots with a trim, and one whose sale the broker corrects later. Receipts of a
journey's own go through the webhook like those of the day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from fillbook.calendar import calendar
from fillbook.ledger import service
from fillbook.ledger.model import Book, Fill, Mark, Side
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.local import demo
from infra.local.receipts import Document
from infra.local.sender import send_minutes
from tests.support.browser import Desk
from tests.support.receipts import R_TS, body

D = Decimal
BOOK = "ibkr:U7"
OPENED_AT = datetime(2025, 11, 3, 14, 0, tzinfo=UTC)
LOTS_AT = datetime(2026, 2, 3, 15, 0, tzinfo=UTC)  # 10:00 in New York, on the desk's day
PAST_TRADES = 130
INERT = "=1+1"  # what a spreadsheet would compute
MINUTE_MS = 60_000
IS_THERE = statement("select 1 as one from ledger.v_books where book_id = :book_id")


def fill(
    name: str, at: datetime, side: Side, quantity: str, price: Decimal, ticker: str, *, revision: int = 1, origin: str = "live"
) -> Fill:
    """An execution of the account without fees, known when it was executed; a higher revision corrects the one before."""
    return Fill(
        source="ibkr",
        account_key="U7",
        source_id=name,
        source_revision=revision,
        instrument=ticker,
        ticker=ticker,
        contract_name=INERT if name.endswith("5.01") else ticker,
        side=side,
        quantity=D(quantity),
        price=price,
        fx_rate=D(1),
        fees=D(0),
        fees_currency="USD",
        fees_rate=D(1),
        executed_at=at,
        session_date=at.date(),
        received_at=at,
        origin=origin,
        cause="first" if revision == 1 else "revision",
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
            fill(f"b{number}.01", at, sides[0], "10", D(100), ticker, origin="history"),
            fill(f"s{number}.01", at + timedelta(hours=1), sides[1], "10", D(100) + change, ticker, origin="history"),
        ]
        if number % 3 == 2:
            day += timedelta(days=1)
    return found


def lot_fills() -> list[Fill]:
    """Two lots of ZZLT with a trim; ZZIB bought and half sold."""

    def at(minute: int) -> datetime:
        return LOTS_AT + timedelta(minutes=minute)

    return [
        fill("l1.01", at(1), Side.BUY, "10", D(100), "ZZLT"),
        fill("l2.01", at(5), Side.BUY, "10", D(110), "ZZLT"),
        fill("l3.01", at(12), Side.SELL, "5", D(120), "ZZLT"),
        fill("i1.01", at(3), Side.BUY, "100", D("20.00"), "ZZIB"),
        sale("21.00"),
    ]


def sale(price: str, *, revision: int = 1) -> Fill:
    """The sale of ZZIB as the broker tells it."""
    return fill("i2.01", LOTS_AT + timedelta(minutes=15), Side.SELL, "40", D(price), "ZZIB", revision=revision)


def addition(price: str, *, revision: int = 1) -> Fill:
    """The second purchase of ZZLT as the broker tells it."""
    return fill("l2.01", LOTS_AT + timedelta(minutes=5), Side.BUY, "10", D(price), "ZZLT", revision=revision)


def furnish(db: Database, now: datetime) -> None:
    """Open the book and fill it, as known ``now``; one that is there stays as it is."""
    with db.transaction(read_only=True) as tx:
        if tx.query(IS_THERE, book_id=BOOK):
            return
    marks = [("98.20", -1440), ("99.50", 0), ("101.10", 2), ("108.75", 4), ("112.00", 8), ("119.90", 11), ("117.30", 14)]
    with db.transaction() as tx:
        service.open_book(tx, Book(book_id=BOOK, start_cash=D(50_000)), OPENED_AT)
        service.book_fills(tx, BOOK, [*past_fills(PAST_TRADES), *lot_fills()], now)
        found = [mark("ZZLT", price, LOTS_AT + timedelta(minutes=minute)) for price, minute in marks]
        service.mark(tx, BOOK, [*found, mark("ZZLT", "115.00", now)], now)


def mark(ticker: str, price: str, at: datetime) -> Mark:
    """A price of the broker's."""
    return Mark(instrument=ticker, price=D(price), bid=None, ask=None, marked_at=at, source="ibkr")


def book(db: Database, fills: Sequence[Fill], now: datetime) -> None:
    """Book what the broker tells now."""
    with db.transaction() as tx:
        service.book_fills(tx, BOOK, list(fills), now)


def next_minute(desk: Desk) -> datetime:
    """The next bar of the desk's clock."""
    return now_of(desk).replace(second=0, microsecond=0) + timedelta(minutes=1)


def now_of(desk: Desk) -> datetime:
    """The desk's clock."""
    now: datetime = desk.cloud.clock.now().astimezone(UTC)
    return now


def post(desk: Desk, *receipts: Document) -> None:
    """Send receipts of one minute to the webhook on their own time and wait until they are decided."""
    to, _ = demo.desk_of(desk.cloud)

    def send() -> None:
        asyncio.run(send_minutes(to, [receipts], total=len(receipts), progress=lambda *_: None))

    with ThreadPoolExecutor(1) as pool:  # the browser's own loop runs in this thread
        pool.submit(send).result()


def receipt(at: datetime, ticker: str, name: str = "R", **changes: Any) -> dict[str, Any]:
    """R or Q for another ticker, of no sector, its bar opening at ``at`` and its trigger a quarter of an hour before."""
    minutes = (int(at.timestamp() * 1000) - R_TS) // MINUTE_MS
    moved = {"trigger_ts": R_TS + (minutes - 15) * MINUTE_MS} if name == "R" else {}
    return body(name, minutes=minutes, ticker=ticker, sector=None, **{**moved, **changes})
