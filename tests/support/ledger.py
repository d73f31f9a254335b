"""Builders and worlds for the ledger's tests: the same deliveries to a book in memory and to a book in Postgres.

``MemoryWorld`` makes the calls that ``ledger.service`` makes, on ``ledger.memory``; so laws run thousands of histories
without a database, and a handful of them prove that the database says the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

from fillbook.ledger import bookstore, rebuild, service
from fillbook.ledger.bookstore import action_versions, book_head, book_state_hash
from fillbook.ledger.chain import genesis
from fillbook.ledger.intake import check_adjustment, check_fill
from fillbook.ledger.journal import classify
from fillbook.ledger.memory import MemoryBook
from fillbook.ledger.model import (
    ActionVersion,
    Adjustment,
    AdjustmentVersion,
    Book,
    BookHead,
    Direction,
    Fill,
    LotMethod,
    LotPick,
    Netting,
    Outcome,
    Position,
    RowState,
    Side,
)
from fillbook.ledger.sealing import recording_time
from fillbook.ledger.statehash import state_hash
from fillbook.money import CONTEXT
from fillbook.outbox.model import Event
from fillbook.runtime.db import Database
from fillbook.runtime.sql import encode, statement

DAY = datetime(2026, 2, 3, 15, 0, tzinfo=UTC)
"""A Tuesday, half an hour into the New York session."""


def at(minutes: float) -> datetime:
    """An instant of the day, minutes after its start."""
    return DAY + timedelta(minutes=minutes)


def make_fill(source_id: str, side: str, quantity: object, price: object, minute: float = 0, **options: Any) -> Fill:
    """A fill of AMD in USD, fees known to be 0 and multiplier 1 unless said otherwise; numbers as text."""
    given: dict[str, Any] = {
        "source": "signal",
        "instrument": "AMD",
        "fees": Decimal(0),
        "executed_at": at(minute),
        "session_date": date(2026, 2, 3),
        "received_at": DAY,
        "reason": "tp_hit",
        **options,
    }
    for name in ("fees", "multiplier", "fx_rate", "fees_rate"):
        if isinstance(given.get(name), str | int):
            given[name] = Decimal(given[name])
    given.setdefault("ticker", given["instrument"])
    given.setdefault("contract_name", given["instrument"])
    if isinstance(given.get("direction"), str):
        given["direction"] = Direction(given["direction"])
    if given.get("lot_picks") is not None:
        given["lot_picks"] = tuple(LotPick(lot=lot, quantity=Decimal(amount)) for lot, amount in given["lot_picks"])
    return Fill(source_id=source_id, side=Side(side), quantity=Decimal(str(quantity)), price=Decimal(str(price)), **given)


def make_book(book_id: str = "live", method: str = "FIFO", netting: str = "net", **options: Any) -> Book:
    """A book; method and netting by their words."""
    return Book(book_id=book_id, lot_method=LotMethod(method), netting=Netting(netting), **options)


class MemoryWorld:
    """One book in memory, delivered to as the service does it."""

    def __init__(self, book: Book | None = None) -> None:
        self.book = book or make_book()
        head = BookHead(book=self.book, seq=0, chain_head=genesis(self.book.book_id), last_recorded_at=DAY)
        self.memory = MemoryBook(head)
        self.events: list[Event] = []

    def deliver(self, fills: Sequence[Fill], now: datetime = DAY) -> list[Outcome]:
        """What ``book_fills`` does, without a database."""
        checked = [check_fill(fill, self.book) for fill in fills]
        state = self.memory.state({fill.instrument for fill in fills}, {fill.fill_id for fill in fills})
        recorded_at = recording_time(self.memory.head, now)
        arrivals, _ = classify(state.journal, checked, recorded_at)
        service._raise_conflicts(self.book, arrivals)
        rows = [arrival.row for arrival in arrivals if arrival.row is not None]
        if not rows:
            return service._outcomes(arrivals, None, None)
        sealed = rebuild.step(self.memory, rows, [], recorded_at, announce=True)
        self.events += sealed.events
        return service._outcomes(arrivals, sealed.plan, sealed)

    def split(
        self,
        ratio: tuple[int, int],
        minute: float,
        *,
        is_void: bool = False,
        instrument: str = "AMD",
        now: datetime = DAY,
    ) -> None:
        """Enter or undo a split."""
        adjustment = check_adjustment(make_split(self.book.book_id, ratio, minute, is_void=is_void, instrument=instrument))
        known = self.memory.adjustments.get(adjustment.adjustment_id, [])
        if known and known[-1].adjustment.is_void == is_void:
            return
        recorded_at = recording_time(self.memory.head, now)
        version = AdjustmentVersion(adjustment=adjustment, version=len(known) + 1, recorded_at=recorded_at)
        sealed = rebuild.step(self.memory, [], [version], version.recorded_at, announce=True)
        self.events += sealed.events

    @property
    def actions(self) -> list[ActionVersion]:
        """Current BOOKED actions in booking order."""
        booked = [version for version in self.memory.current.values() if version.state is RowState.BOOKED]
        return sorted(booked, key=lambda version: version.action.order)

    @property
    def positions(self) -> list[Position]:
        """Positions that are not VOID, oldest first."""
        found = [position for position in self.memory.positions.values() if position.status != "VOID"]
        return sorted(found, key=lambda position: (position.opened_at, position.position_id))

    @property
    def parked(self) -> dict[str, tuple[str, str]]:
        """fill_id -> (instrument, reason)."""
        return self.memory.parked

    @property
    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """(event type, data) of everything announced, in order."""
        return [(event.event_type, json.loads(encode(event.data))) for event in self.events]

    @property
    def state_hash(self) -> str:
        """The hash of the current state."""
        return state_hash(self.memory.current.values(), self.memory.lots.values(), self.memory.positions.values())

    @property
    def chain_head(self) -> str:
        """The end of the chain."""
        return self.memory.head.chain_head.hex()


def make_split(
    book_id: str, ratio: tuple[int, int], minute: float, *, is_void: bool = False, instrument: str = "AMD"
) -> Adjustment:
    """A split entered by an operator."""
    return Adjustment(
        book_id=book_id,
        instrument=instrument,
        ratio_num=ratio[0],
        ratio_den=ratio[1],
        effective_at=at(minute),
        is_void=is_void,
        entered_by="operator",
        reason="announced by the exchange",
    )


class StoredWorld:
    """The same on Postgres, through the service."""

    def __init__(self, db: Database, book: Book | None = None) -> None:
        self.db = db
        self.book = book or make_book()
        service.run(db, lambda tx: service.open_book(tx, self.book, DAY))

    def deliver(self, fills: Sequence[Fill], now: datetime = DAY) -> list[Outcome]:
        """Book in a transaction of its own."""
        return service.run(self.db, lambda tx: service.book_fills(tx, self.book.book_id, fills, now))

    def split(
        self,
        ratio: tuple[int, int],
        minute: float,
        *,
        is_void: bool = False,
        instrument: str = "AMD",
        now: datetime = DAY,
    ) -> None:
        """Enter or undo a split."""
        adjustment = make_split(self.book.book_id, ratio, minute, is_void=is_void, instrument=instrument)
        service.run(self.db, lambda tx: service.adjust(tx, adjustment, now))

    @property
    def actions(self) -> list[ActionVersion]:
        """Current BOOKED actions in booking order."""
        with self.db.transaction(read_only=True) as tx:
            found = [
                version
                for version in action_versions(tx, self.book.book_id)
                if version.superseded_at is None and version.state is RowState.BOOKED
            ]
        return sorted(found, key=lambda version: version.action.order)

    @property
    def positions(self) -> list[Position]:
        """Positions that are not VOID, oldest first, their open lots inside."""
        with self.db.transaction(read_only=True) as tx:
            stored = [position for position, _ in bookstore.positions(tx, self.book.book_id) if position.status != "VOID"]
            held = list(bookstore.lots(tx, self.book.book_id))
        held.sort(key=lambda lot: (lot.opened_at, lot.venue_order, lot.fill_id))
        found = [
            replace(position, lots=tuple(lot for lot in held if lot.position_id == position.position_id and lot.status == "OPEN"))
            for position in stored
        ]
        return sorted(found, key=lambda position: (position.opened_at, position.position_id))

    @property
    def parked(self) -> dict[str, tuple[str, str]]:
        """fill_id -> (instrument, reason)."""
        with self.db.transaction(read_only=True) as tx:
            return {fill_id: (name, reason) for fill_id, name, reason in bookstore.parked(tx, self.book.book_id)}

    @property
    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """(event type, data) of everything in the outbox, in order."""
        with self.db.transaction(read_only=True) as tx:
            rows = tx.query(
                statement("select event_type, payload from outbox.events where book_id = :book_id order by id"),
                book_id=self.book.book_id,
            )
        return [(row["event_type"], json.loads(row["payload"])["data"]) for row in rows]

    @property
    def state_hash(self) -> str:
        """The hash of the current state."""
        with self.db.transaction(read_only=True) as tx:
            return book_state_hash(tx, self.book.book_id)

    @property
    def chain_head(self) -> str:
        """The end of the chain."""
        with self.db.transaction(read_only=True) as tx:
            return book_head(tx, self.book.book_id).chain_head.hex()


def exact(text: str) -> Decimal:
    """A number of an expectation."""
    with localcontext(CONTEXT):
        return Decimal(text)
