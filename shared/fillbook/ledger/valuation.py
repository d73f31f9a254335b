"""What open positions are worth: unrealized P&L at a mark, and how far the mark can be trusted. Pure.

Unrealized is computed when read, never stored on a position. A stale mark still values it, flagged; a missing one leaves it
unknown. Source: ledger specification, 7 and 9.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from typing import Protocol

from fillbook.calendar import TradingCalendar
from fillbook.ledger.amounts import money, total
from fillbook.ledger.model import Direction
from fillbook.ledger.words import DECISION_KINDS
from fillbook.money import CONTEXT

FRESH, STALE, MISSING = "fresh", "stale", "missing"
LIVE_MARK_AGE_MAX = timedelta(minutes=15)
BROKER_MARK_AGE_MAX = timedelta(minutes=30)
CLOSING_MARK_AGE_MAX = timedelta(minutes=15)


class Valued(Protocol):
    """What is valued: a position as it stands today, or as it stood."""

    @property
    def instrument(self) -> str:
        """Names the mark."""
        ...

    @property
    def currency(self) -> str:
        """Of the basis and the result."""
        ...

    @property
    def direction(self) -> Direction:
        """Which way it profits."""
        ...

    @property
    def multiplier(self) -> Decimal | None:
        """None = contract size unknown."""
        ...

    @property
    def quantity_open(self) -> Decimal:
        """In the units of the mark."""
        ...

    @property
    def cost_basis(self) -> Decimal | None:
        """Fees included; None = unknown."""
        ...


def mark_state(marked_at: datetime | None, now: datetime, kind: str, sessions: TradingCalendar) -> str:
    """``fresh``, ``stale`` or ``missing``: a mark ages in the book's session; outside it, the close's mark stays good."""
    return MISSING if marked_at is None else FRESH if marked_at >= fresh_since(now, kind, sessions) else STALE


def fresh_since(now: datetime, kind: str, sessions: TradingCalendar) -> datetime:
    """The oldest instant of a mark that is fresh."""
    if sessions.is_regular(now):
        return now - (LIVE_MARK_AGE_MAX if kind in DECISION_KINDS else BROKER_MARK_AGE_MAX)
    return sessions.last_finished(now).close_at - CLOSING_MARK_AGE_MAX


def unrealized(position: Valued, mark: Decimal | None) -> Decimal | None:
    """A position's gain at ``mark``, in its currency."""
    return gain(position.direction, position.quantity_open, mark, position.multiplier, position.cost_basis)


def gain(
    direction: str, quantity: Decimal, mark: Decimal | None, multiplier: Decimal | None, basis: Decimal | None
) -> Decimal | None:
    """s·(quantity × mark × multiplier - basis), entry fees in; None when any of them is unknown."""
    if mark is None or multiplier is None or basis is None:
        return None
    worth = CONTEXT.subtract(CONTEXT.multiply(CONTEXT.multiply(quantity, mark), multiplier), basis)
    return money(worth if direction == Direction.LONG else CONTEXT.minus(worth))


def unrealized_total(
    positions: Iterable[tuple[Valued, Decimal | None]],
) -> tuple[dict[str, Decimal | None], tuple[str, ...]]:
    """Unrealized per currency of (position, mark) pairs, and the instruments without a mark, which leave a total unknown."""
    parts: dict[str, list[Decimal | None]] = {}
    missing = []
    for position, mark in positions:
        parts.setdefault(position.currency, []).append(unrealized(position, mark))
        if mark is None:
            missing.append(position.instrument)
    with localcontext(CONTEXT):
        return {currency: total(amounts) for currency, amounts in parts.items()}, tuple(sorted(missing))
