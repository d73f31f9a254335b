"""What a mark is worth to a reader: its state, and the unrealized P&L it gives (ledger specification, sections 7 and 9)."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from typing import Literal

from fillbook import money
from fillbook.calendar import TradingCalendar

PriceState = Literal["fresh", "stale", "missing"]
LIVE_AGE_MAX = timedelta(minutes=15)
BROKER_AGE_MAX = timedelta(minutes=30)


def price_state(marked_at: datetime | None, now: datetime, book_id: str, exchange: TradingCalendar) -> PriceState:
    """``fresh``, ``stale`` or ``missing``: inside a session by age, outside it by the last session's close."""
    if marked_at is None:
        return "missing"
    if exchange.is_regular(now):
        limit = LIVE_AGE_MAX if book_id == "live" else BROKER_AGE_MAX
        return "stale" if now - marked_at > limit else "fresh"
    oldest = exchange.last_finished(now).close_at - LIVE_AGE_MAX
    return "stale" if marked_at < oldest else "fresh"


def unrealized(
    direction: str, quantity: Decimal, mark: Decimal | None, multiplier: Decimal | None, basis: Decimal | None
) -> Decimal | None:
    """Sign × (open quantity × mark × multiplier − cost basis), entry fees in; None when a part is unknown."""
    if mark is None or multiplier is None or basis is None:
        return None
    with localcontext(money.CONTEXT):
        gain = quantity * mark * multiplier - basis
        return money.to_money(gain if direction == "LONG" else -gain)


def day_direction(mark: Decimal | None, before: Decimal | None) -> str:
    """The ticker's day as a word; never guessed."""
    if mark is None or before is None:
        return "unknown"
    return "up" if mark > before else "down" if mark < before else "flat"
