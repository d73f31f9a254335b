"""A small desk with a past, for the journeys through Kanban, a position and History: its book is made by the house's own rooms.

Receipts go through the strategy, a broker's fills into a book of their own, every event to a notifier with the fake Discord; only
the past, two hundred closed trades of ten weeks, is booked at once. What a journey then changes goes the same ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from fillbook.calendar import calendar
from fillbook.ledger import service
from fillbook.ledger.model import Book, Fill, Mark, Side
from fillbook.runtime.db import Database
from tests.support.notify_desk import NotifyDesk
from tests.support.receipts import R_TS, body
from tests.support.signal_live import LiveDesk

D = Decimal
MINUTE_MS = 60_000
OPENED_AT = datetime(2025, 11, 3, 14, 0, tzinfo=UTC)
R_AT = datetime.fromtimestamp(R_TS / 1000, UTC)  # 2026-02-03 10:15 New York
NOW = R_AT + timedelta(minutes=40)
BROKER_BOOK = "ibkr:U1"
CLOSED_TRADES = 130
INERT = "=1+1"  # what a spreadsheet would compute


def past_fills(count: int) -> list[Fill]:
    """``count`` trades of earlier days, each bought and sold within an hour: every seventh flat, every third lost."""
    exchange, found, day = calendar(), [], date(2025, 12, 1)
    for number in range(count):
        while exchange.session(day) is None:
            day += timedelta(days=1)
        ticker = f"YA{number % 26:02d}"
        at = datetime(day.year, day.month, day.day, 15, number % 50, tzinfo=UTC)
        change = D(0) if number % 7 == 0 else D(-1) * (number % 9) if number % 3 == 0 else D(number % 11) / 2
        found += [
            past_fill(ticker, f"b{number}", Side.BUY, D(10), D(100), at, "corridor_momentum"),
            past_fill(ticker, f"s{number}", Side.SELL, D(10), D(100) + change, at + timedelta(hours=1), "tp_hit"),
        ]
        if number % 3 == 2:
            day += timedelta(days=1)
    return found


def past_fill(ticker: str, source_id: str, side: Side, quantity: Decimal, price: Decimal, at: datetime, reason: str) -> Fill:
    """A fill of the signal with no fees, received when it was executed."""
    return Fill(
        source="signal",
        source_id=f"{ticker}#{source_id}",
        instrument=ticker,
        ticker=ticker,
        contract_name=INERT if source_id.endswith("5") else ticker,
        side=side,
        quantity=quantity,
        price=price,
        fx_rate=D(1),
        fees=D(0),
        fees_currency="USD",
        fees_rate=D(1),
        executed_at=at,
        session_date=at.date(),
        received_at=at,
        reason=reason,
    )


def broker_fill(execution: str, minute: int, side: Side, quantity: str, price: str, *, revision: int = 1) -> Fill:
    """An execution of the broker's account U1; a higher revision corrects the one before."""
    at = R_AT + timedelta(minutes=minute)
    return Fill(
        source="ibkr",
        account_key="U1",
        source_id=execution,
        source_revision=revision,
        instrument="265598",
        ticker="ZZIB",
        contract_name="ZZIB",
        side=side,
        quantity=D(quantity),
        price=D(price),
        fx_rate=D(1),
        fees=D("0.35"),
        fees_currency="USD",
        fees_rate=D(1),
        executed_at=at,
        session_date=at.date(),
        received_at=at,
        cause="first" if revision == 1 else "broker_correction",
        reason="broker_execution",
    )


class JourneyDesk:
    """The desk; ``db`` writes with every right, ``worker`` as the signal's worker, ``notify`` tells Discord."""

    def __init__(self, db: Database, worker: Database, notify: NotifyDesk, query: Any) -> None:
        self.db = db
        self.notify = notify
        self.query = query
        self.live = LiveDesk(worker, query)

    def furnish(self) -> None:
        """The past, an open position of two lots with a trim, one of the strategy with two trims, an exit, and a blocked card."""
        with self.db.transaction() as tx:
            service.open_book(tx, Book(book_id="live", start_cash=D(100_000)), OPENED_AT)
            service.open_book(tx, Book(book_id=BROKER_BOOK, start_cash=D(50_000)), OPENED_AT)
            service.book_fills(tx, "live", past_fills(CLOSED_TRADES), R_AT - timedelta(minutes=30))
        self._trimmed_lots()
        self._strategy()
        self.book(BROKER_BOOK, [broker_fill("0001.01", 5, Side.BUY, "100", "20.00"), broker_fill("0002.01", 15, Side.SELL, "40", "21.00")], 16)
        self.tell()

    def _trimmed_lots(self) -> None:
        fills = [
            (Side.BUY, "10", "100", 1, "corridor_momentum"),
            (Side.BUY, "10", "110", 5, "scale_in"),
            (Side.SELL, "5", "120", 12, "tp_hit"),
        ]
        made = [
            past_fill("ZZLT", f"l{number}", side, D(quantity), D(price), R_AT + timedelta(minutes=number), reason)
            for side, quantity, price, number, reason in fills
        ]
        self.book("live", made, 13)
        prices = [("98.20", -1440), ("99.50", 0), ("101.10", 2), ("108.75", 4), ("112.00", 8), ("119.90", 11), ("117.30", 14), ("115.00", 38)]
        marks = [
            Mark(instrument="ZZLT", price=D(price), bid=None, ask=None, marked_at=R_AT + timedelta(minutes=minute), source="signal")
            for price, minute in prices
        ]
        with self.db.transaction() as tx:
            service.mark(tx, "live", marks, NOW)

    def _strategy(self) -> None:
        self.live.send()
        self.live.send("Q")
        self.live.take(receipt(1, "ZZTC"))
        self.live.take(receipt(3, "ZZWA", ltf_score=D("3.1")))
        self.live.take(receipt(14, "ZZTC", price=D("96.90")))
        for minute, price in ((20, "102.10"), (25, "103.00"), (30, "102.60")):
            self.live.send(minutes=minute, price=D(price))

    def book(self, book_id: str, fills: Sequence[Fill], minute: int) -> None:
        """Book fills ``minute`` minutes after the first receipt."""
        with self.db.transaction() as tx:
            service.book_fills(tx, book_id, list(fills), R_AT + timedelta(minutes=minute))

    def tell(self) -> None:
        """Hand every event to the notifier and let it post."""
        self.notify.relay()
        self.notify.drain(allowance=600)

    def correct_the_broker(self) -> None:
        """The broker says that the sale was made at 21.50."""
        self.book(BROKER_BOOK, [broker_fill("0002.01", 15, Side.SELL, "40", "21.50", revision=2)], 39)

    def move(self, ticker: str = "ZZWA") -> None:
        """A receipt moves a watched ticker into a position."""
        self.live.take(receipt(31, ticker))

    def only(self, text: str, **params: object) -> Any:
        """The one value of the one row of a statement."""
        ((value,),) = [row.values() for row in self.query(text, **params)]
        return value

    def position(self, ticker: str) -> str:
        """The id of a ticker's position."""
        return str(self.only("select position_id from ledger.v_positions where symbol = :ticker", ticker=ticker))


def receipt(minute: int, ticker: str, **changes: Any) -> dict[str, Any]:
    """R for another ticker, its trigger moved along and of no sector."""
    return body(minutes=minute, ticker=ticker, sector=None, trigger_ts=R_TS + (minute - 15) * MINUTE_MS, **changes)
