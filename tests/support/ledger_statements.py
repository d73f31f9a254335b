"""Statements for reconciliation tests: what a broker says of a stored book, line by line, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from fillbook.ledger import reconcile, service
from fillbook.ledger.matching import NOTHING, BookAt, Held, Moved
from fillbook.ledger.model import Direction
from fillbook.ledger.reconcile import Reconciled
from fillbook.ledger.statement import Break, StatedCash, StatedPosition, StatedRealized, Statement
from fillbook.runtime.db import Database
from tests.support.ledger import MemoryWorld, StoredWorld, at, make_book, make_fill

ACCOUNT = "U1"
BOOK = f"ibkr:{ACCOUNT}"
NOON = at(60)
Query = Callable[..., list[dict[str, Any]]]


def new_york(day: int, hour: int, minute: int = 0, month: int = 2) -> datetime:
    """An instant of 2026 by the New York clock in winter."""
    return datetime(2026, month, day, hour, minute, tzinfo=UTC) + timedelta(hours=5)


def number(value: object) -> Decimal | None:
    """A number of a test as Decimal; None stays unknown."""
    return None if value is None else Decimal(str(value))


def line(instrument: str, quantity: object, price: object = None, **options: Any) -> StatedPosition:
    """One position of a statement, in USD unless said otherwise."""
    if isinstance(options.get("direction"), str):
        options["direction"] = Direction(options["direction"])
    amount = number(quantity)
    assert amount is not None
    return StatedPosition(instrument=instrument, quantity=amount, average_price=number(price), **{"currency": "USD", **options})


def cash(start: object, end: object, *, currency: str = "USD", other: object = 0) -> StatedCash:
    """Cash of one currency."""
    return StatedCash(currency=currency, start=Decimal(str(start)), end=Decimal(str(end)), other_movements=Decimal(str(other)))


def realized(amount: object, instrument: str = "", *, currency: str = "USD", direction: str | None = None) -> StatedRealized:
    """Realized P&L of an instrument or a currency."""
    side = None if direction is None else Direction(direction)
    return StatedRealized(instrument=instrument, direction=side, currency=currency, amount=Decimal(str(amount)))


def says(*positions: StatedPosition, book_id: str = BOOK, as_of: datetime = NOON, **options: Any) -> Statement:
    """A complete statement of the account of the book, an hour into the day."""
    given = {"complete": True, "source": "flex", "account": book_id.partition(":")[2], **options}
    return Statement(book_id=book_id, as_of=as_of, positions=positions, **given)


def fact(source_id: str, side: str, quantity: object, price: object, minute: float = 0, **options: Any) -> Any:
    """A broker's fill of the account."""
    return make_fill(source_id, side, quantity, price, minute, **{"source": "ibkr", "account_key": ACCOUNT, **options})


class BrokerDesk:
    """A broker's book in Postgres and the statements compared with it."""

    def __init__(self, db: Database, *, book_id: str = BOOK, netting: str = "net", **options: Any) -> None:
        self.db = db
        self.book_id = book_id
        self.world = StoredWorld(db, make_book(book_id, options.pop("method", "FIFO"), netting, **options))

    def book(self, *fills: Any, now: datetime = NOON) -> None:
        """Book facts."""
        self.world.deliver(list(fills), now)

    def compare(self, statement: Statement, now: datetime | None = None) -> Reconciled:
        """Reconcile in a transaction of its own, a minute after the statement unless said otherwise."""
        moment = statement.as_of + timedelta(minutes=1) if now is None else now
        return service.run(self.db, lambda tx: reconcile.reconcile(tx, statement, moment))

    def hears(self, *positions: StatedPosition, now: datetime | None = None, **options: Any) -> Reconciled:
        """Compare what ``says`` makes of the arguments."""
        return self.compare(says(*positions, book_id=self.book_id, **options), now)

    def breaks(self, *, resolved: bool = False) -> list[Break]:
        """The breaks as they are stored, open ones first."""
        with self.db.transaction(read_only=True) as tx:
            return reconcile.list_breaks(tx, self.book_id, NOON, with_resolved=resolved)

    @property
    def found(self) -> list[tuple[str, str, str]]:
        """(kind, instrument or currency, cause) of the open breaks, in order of these."""
        return sorted((row.key.kind.value, row.key.instrument or row.key.currency, row.cause) for row in self.breaks())

    @property
    def told(self) -> list[tuple[str, str, int]]:
        """(event type, break's kind, age in sessions) of every announcement about breaks, in order."""
        return [
            (event_type, data["kind"], data["sessions"])
            for event_type, data in self.world.told
            if event_type.startswith("break_")
        ]


def events(query: Query) -> Sequence[dict[str, Any]]:
    """The envelopes of every announcement about breaks, in the order of the outbox."""
    rows = query("select payload from outbox.events where event_type like 'break_%' order by id")
    return [json.loads(row["payload"]) for row in rows]


def book_in(world: MemoryWorld | StoredWorld) -> BookAt:
    """A book as a statement of now meets it, computed from its positions and actions; its period is all there was."""
    net = world.book.netting == "net"
    held = [
        Held(
            instrument=position.instrument,
            ticker=position.ticker,
            direction=None if net else position.direction,
            currency=position.currency,
            multiplier=position.multiplier,
            quantity=position.quantity_open if position.direction is Direction.LONG else -position.quantity_open,
            vwap=position.vwap,
            cost_basis=position.cost_basis,
        )
        for position in world.positions
        if position.status == "OPEN"
    ]
    moved: dict[str, Moved] = {}
    earned: dict[tuple[str, Direction | None, str], Moved] = {}
    for version in world.actions:
        action = version.action
        value = None if action.value is None else -action.value if action.side == "BUY" else action.value
        flow = Moved(gross=value, fees=action.fees or Decimal(0), unknown=action.fees is None, executions=1)
        moved[action.currency] = _sum(moved.get(action.currency, NOTHING), flow)
        if action.action_type in ("TRIM", "EXIT"):
            net_pnl, gross = action.realized_pnl, action.realized_pnl_gross
            took = Decimal(0) if net_pnl is None or gross is None else gross - net_pnl
            key = (action.instrument, None if net else action.direction, action.currency)
            profit = Moved(gross=gross, fees=took, unknown=net_pnl is None, executions=1)
            earned[key] = _sum(earned.get(key, NOTHING), profit)
    first = min((version.action.executed_at for version in world.actions), default=None)
    return BookAt(held=tuple(held), cash=moved, realized=earned, first_fill_at=first)


def _sum(left: Moved, right: Moved) -> Moved:
    gross = None if left.gross is None or right.gross is None else left.gross + right.gross
    return Moved(gross=gross, fees=left.fees + right.fees, unknown=left.unknown + right.unknown, executions=left.executions + 1)


def statement_of(book: BookAt, book_id: str, as_of: datetime = NOON) -> Statement:
    """What a broker who agrees says: every position with its price, and every amount that the book knows."""
    positions = tuple(
        line(held.instrument, held.quantity, held.vwap, currency=held.currency, direction=held.direction) for held in book.held
    )
    flows = tuple(
        cash("7.5", Decimal("7.5") + flow.gross - flow.fees, currency=currency)
        for currency, flow in book.cash.items()
        if flow.gross is not None and not flow.unknown
    )
    profits = tuple(
        realized(profit.gross - profit.fees, name, currency=currency, direction=direction)
        for (name, direction, currency), profit in book.realized.items()
        if profit.gross is not None and not profit.unknown
    )
    return replace(says(*positions, book_id=book_id, as_of=as_of), cash=flows, realized=profits)
