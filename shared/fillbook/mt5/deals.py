"""What a deal does to its position or to the account's money, and which of its stored revisions counts.

A deal with volume moves its position; one without volume that names a position is a cost of that trade, and so is the money
left on a cancelled deal; what names no position is a movement of cash. Credit and bonus never touch a trade, whatever
they name: they are no result. An unknown type is kept as cash and reported. Source: mt5 specification, 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum, auto
from typing import Final

from fillbook.mt5.model import Deal, DealVersion
from fillbook.mt5.words import DealType, Entry, TradeSide
from fillbook.values import frozen


class Effect(Enum):
    """What a deal does."""

    OPENS = auto()
    CLOSES = auto()
    REVERSES = auto()
    COSTS = auto()
    CASH = auto()


_MOVES: Final[Mapping[int, Effect]] = {
    Entry.IN: Effect.OPENS,
    Entry.OUT: Effect.CLOSES,
    Entry.INOUT: Effect.REVERSES,
    Entry.OUT_BY: Effect.CLOSES,
}
_TRADED: Final = frozenset({int(DealType.BUY), int(DealType.SELL)})
_CANCELLED: Final = frozenset({int(DealType.BUY_CANCELED), int(DealType.SELL_CANCELED)})
_NEVER_OF_A_TRADE: Final = frozenset({int(DealType.CREDIT), int(DealType.BONUS)})
_KNOWN: Final = frozenset(int(each) for each in DealType)


def effect_of(deal: Deal) -> Effect:
    """What this deal does. A trade that names no position cannot be one: its money is cash."""
    kind = deal.deal_type
    if not deal.position_id or kind in _NEVER_OF_A_TRADE or kind not in _KNOWN:
        return Effect.CASH
    if kind in _TRADED and deal.volume:
        return _MOVES[deal.entry]
    return Effect.COSTS


def is_cancelled(deal: Deal) -> bool:
    """Whether the broker took a trade back (types 13 and 14): out of the volumes, a bust for the ledger."""
    return deal.deal_type in _CANCELLED


def is_odd(deal: Deal) -> bool:
    """Whether a deal is none that the reference describes: a type nobody knows, or a trade without a position."""
    is_trade = deal.deal_type in _TRADED or deal.deal_type in _CANCELLED
    return deal.deal_type not in _KNOWN or (is_trade and not deal.position_id)


def side_of(deal: Deal) -> TradeSide:
    """Which way the deal itself went; of one that is no trade, buy."""
    return TradeSide.SELL if deal.deal_type in (DealType.SELL, DealType.SELL_CANCELED) else TradeSide.BUY


def opposite(side: TradeSide) -> TradeSide:
    """The other side."""
    return TradeSide.SELL if side is TradeSide.BUY else TradeSide.BUY


def money_of(deal: Deal) -> Decimal:
    """What the deal did to the account: profit + commission + swap + fee, in account currency."""
    return deal.profit + deal.commission + deal.swap + deal.fee


@frozen
class Stored:
    """A deal as it stands: its highest revision, and when the room first read it."""

    deal: Deal
    revision: int
    withdrawn: bool
    first_read_at: datetime


def standing(versions: Iterable[DealVersion]) -> dict[int, Stored]:
    """The deals that stored revisions amount to, by ticket; any order. Withdrawn ones are there, marked."""
    first: dict[int, datetime] = {}
    highest: dict[int, DealVersion] = {}
    for version in versions:
        ticket = version.deal.deal_ticket
        known = highest.get(ticket)
        if known is None or version.revision > known.revision:
            highest[ticket] = version
        read_at = first.get(ticket)
        if read_at is None or version.recorded_at < read_at:
            first[ticket] = version.recorded_at
    return {
        ticket: Stored(deal=version.deal, revision=version.revision, withdrawn=version.withdrawn, first_read_at=first[ticket])
        for ticket, version in highest.items()
    }
