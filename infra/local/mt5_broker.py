"""The fake's broker: operations become deals, positions, balance and credit of one account.

``Book.operate`` carries an operation out or raises ``ValueError`` and changes nothing. The balance moves only where a deal is
written, changed or taken back, so that balance = opening + Σ(profit + commission + swap + fee) of all deals but credit holds by
construction. Every operation leaves a ``Change``; playing the changes up to an instant (``Reading``) gives the account as it
was then, so that answers from a cache, and operations still to come, need no second bookkeeping.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from infra.local.mt5_draft import Draft, Given
from infra.local.mt5_model import BONUS, CREDIT, EPOCH, ZERO, Change, Deal, Done, Position, Terms, floored
from infra.local.mt5_operations import OPERATIONS

FIRST_TICKET: Final = 1_000_001
FIRST_ORDER: Final = 5_000_001
Quote = Callable[[str, datetime], Decimal | None]


def place(deal: Deal) -> tuple[int, int]:
    """Return where a deal stands in history."""
    return deal.time_msc, deal.ticket


class Reading:
    """An account as it stood after the first ``index`` changes; ``rows`` are its deals in the order of history."""

    __slots__ = ("at", "balance", "credit", "deals", "index", "late_until", "positions", "rows")

    def __init__(self, balance: Decimal, credit: Decimal) -> None:
        self.index, self.at, self.late_until = 0, EPOCH, EPOCH
        self.balance, self.credit = balance, credit
        self.positions: dict[int, Position] = {}
        self.deals: dict[int, Deal] = {}
        self.rows: list[Deal] = []

    def play(self, change: Change) -> None:
        """Go on by one change."""
        for ticket in (*change.removed, *(deal.ticket for deal in change.deals if deal.ticket in self.deals)):
            self.rows.pop(bisect_left(self.rows, place(self.deals.pop(ticket)), key=place))
        for deal in change.deals:
            self.deals[deal.ticket] = deal
            self.late_until = max(self.late_until, deal.appears_at)
            if not self.rows or place(self.rows[-1]) < place(deal):
                self.rows.append(deal)
            else:
                insort(self.rows, deal, key=place)
        for position_id, position in change.positions.items():
            if position is None:
                self.positions.pop(position_id, None)
            else:
                self.positions[position_id] = position
        self.index, self.at = self.index + 1, change.at
        self.balance, self.credit = change.balance, change.credit

    def between(self, from_msc: int, to_msc: int) -> list[Deal]:
        """Return the deals of a window on the server clock, start inclusive, end exclusive."""
        return self.rows[bisect_left(self.rows, (from_msc, 0), key=place) : bisect_left(self.rows, (to_msc, 0), key=place)]


class Book:
    """One account at the broker. ``opening``: a balance it begins with that no deal explains."""

    def __init__(
        self,
        terms: Terms,
        *,
        opening: Decimal = ZERO,
        quote: Quote | None = None,
        first_ticket: int = FIRST_TICKET,
        first_order: int = FIRST_ORDER,
    ) -> None:
        self.terms, self.opening = terms, opening
        self.balance, self.credit = opening, ZERO
        self.positions: dict[int, Position] = {}
        self.ended: dict[int, Position] = {}
        self.deals: dict[int, Deal] = {}
        self.refs: dict[str, int] = {}
        self.prices: dict[str, Decimal] = {}
        self.changes: list[Change] = []
        self._quote = quote
        self._next_ticket, self._next_order = first_ticket, first_order
        self._now, self._past = Reading(opening, ZERO), Reading(opening, ZERO)

    # -- doing ------------------------------------------------------------------------------------------------------------

    def operate(self, kind: str, at: datetime, **given: Any) -> Done:
        """Carry out an operation at an instant not before the last one; raises ``ValueError`` and then changed nothing."""
        at = floored(at)
        if kind not in OPERATIONS:
            raise ValueError(f"unknown operation {kind!r}; known: {', '.join(OPERATIONS)}")
        if self.changes and at < self.changes[-1].at:
            raise ValueError("an operation cannot be before the last one; date its deals with dated_at instead")
        asked = Given(given)
        draft = Draft(self, at, asked)
        position_id = OPERATIONS[kind](draft)
        asked.finish()
        return self._commit(draft, position_id)

    def _commit(self, draft: Draft, position_id: int) -> Done:
        balance, credit = self.balance, self.credit
        gone = [
            self.deals[ticket] for ticket in (*draft.removed, *(one.ticket for one in draft.deals if one.ticket in self.deals))
        ]
        for sign, deals in ((-1, gone), (1, draft.deals)):
            for deal in deals:
                if self._is_credit(deal):
                    credit += sign * deal.amount
                else:
                    balance += sign * deal.amount
        change = Change(
            at=draft.at, deals=tuple(draft.deals), removed=tuple(draft.removed), positions=dict(draft.positions),
            balance=balance, credit=credit, facts=tuple(draft.facts),
        )  # fmt: skip
        self.balance, self.credit = balance, credit
        for ticket in draft.removed:
            del self.deals[ticket]
        self.deals |= {deal.ticket: deal for deal in draft.deals}
        self.prices |= {deal.symbol: deal.price for deal in draft.deals if deal.price}
        self.ended |= draft.ended
        for one, position in draft.positions.items():
            if position is None:
                self.positions.pop(one, None)
            else:
                self.positions[one] = position
                self.ended.pop(one, None)
        self.refs |= draft.refs
        self._next_ticket = max([self._next_ticket, *(deal.ticket + 1 for deal in draft.deals)])
        self._next_order = max(self._next_order, draft.order + 1)
        self.changes.append(change)
        fresh = [deal for deal in draft.deals if deal.ticket not in {one.ticket for one in gone}]
        return Done(tickets=tuple(deal.ticket for deal in fresh), order=draft.order, position_id=position_id)

    def _is_credit(self, deal: Deal) -> bool:
        return deal.type == CREDIT or (deal.type == BONUS and self.terms.bonus_is_credit)

    def next_ticket(self) -> int:
        """Return the number of the next deal."""
        return self._next_ticket

    def next_order(self) -> int:
        """Return the number of the next order."""
        return self._next_order

    def price(self, symbol: str, at: datetime) -> Decimal:
        """Return what a symbol costs at an instant: the quote, else what was last paid, else where it began."""
        quoted = None if self._quote is None else self._quote(symbol, at)
        if quoted is None:
            quoted = self.prices.get(symbol)
        return self.terms.symbols[symbol].base_price if quoted is None else quoted

    # -- reading ----------------------------------------------------------------------------------------------------------

    def state(self, at: datetime) -> Reading:
        """Return the account as it stood at an instant. It is only good until the next call."""
        reading = self._now
        if reading.at > at:
            reading = self._past
            if reading.at > at:
                reading = self._past = Reading(self.opening, ZERO)
        while reading.index < len(self.changes) and self.changes[reading.index].at <= at:
            reading.play(self.changes[reading.index])
        return reading

    def version(self, at: datetime) -> tuple[int, ...]:
        """Return what differs whenever the account does."""
        return (self.state(at).index,)

    def between(self, from_msc: int, to_msc: int, at: datetime) -> list[Deal]:
        """Return what history shows at an instant of a window on the server clock."""
        reading = self.state(at)
        return shown(reading.between(from_msc, to_msc), reading.late_until, at)

    def life(self, position_id: int, at: datetime) -> list[Deal]:
        """Return all deals of a position that history shows at an instant."""
        reading = self.state(at)
        return shown([deal for deal in reading.rows if deal.position_id == position_id], reading.late_until, at)

    def told(self, at: datetime) -> Sequence[Change]:
        """Return the changes up to an instant."""
        return self.changes[: self.state(at).index]


def shown(deals: list[Deal], late_until: datetime, at: datetime) -> list[Deal]:
    """Leave out what history does not show yet."""
    return deals if late_until <= at else [deal for deal in deals if deal.appears_at <= at]


def worth(position: Position, price: Decimal, terms: Terms) -> Decimal:
    """Return the floating result of a position at a price, in account currency."""
    symbol = terms.symbols[position.symbol]
    difference = price - position.price_open if position.side == 0 else position.price_open - price
    return terms.rounded(difference * position.volume * symbol.contract_size * terms.rate(symbol.currency_profit))


def margin(positions: Mapping[int, Position], terms: Terms) -> Decimal:
    """Return the margin that open positions bind, in account currency."""
    held = ZERO
    for one in positions.values():
        symbol = terms.symbols[one.symbol]
        held += one.volume * symbol.contract_size * one.price_open * terms.rate(symbol.currency_profit) / terms.leverage
    return terms.rounded(held)
