"""The columns of a trade that its deals alone decide: volumes' averages, sums of money, times, and what a close adds.

Callers run under ``fillbook.money.CONTEXT``. An average of several prices is rounded to 10 decimals, one price is itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from fillbook.money import ZERO, to_price
from fillbook.mt5.deals import Effect
from fillbook.mt5.episodes import Episode, Leg
from fillbook.mt5.model import Trade
from fillbook.mt5.symbols import normalized
from fillbook.mt5.words import TradeStatus


def figures(life: Episode) -> dict[str, Any]:
    """The columns that deals alone decide."""
    opens: list[Leg] = []
    closes: list[Leg] = []
    profit = commission = swap = fee = ZERO
    for leg in life.legs:
        profit += leg.profit
        commission += leg.commission
        swap += leg.swap
        fee += leg.fee
        if leg.effect is Effect.OPENS:
            opens.append(leg)
        elif leg.effect is Effect.CLOSES:
            closes.append(leg)
    first = (opens or closes or life.legs)[0].deal
    is_complete = life.is_complete
    return {
        "position_id": life.position_id,
        "episode": life.number,
        "ticket": life.position_id,
        "symbol": first.symbol,
        "symbol_norm": normalized(first.symbol),
        "side": life.side,
        "open_price": _average(opens, life.opened) if is_complete else None,
        "open_time": opens[0].at if is_complete else None,
        "close_price": _average(closes, life.closed) if closes else None,
        "close_time": None,
        "profit": profit,
        "commission": commission,
        "swap": swap,
        "fee": fee,
        "realized_profit": profit,
        "realized_swap": swap,
        "net_pnl": profit + commission + swap + fee,
        "comment": first.comment,
        "magic": first.magic,
        "entry_complete": is_complete,
    }


def closed(life: Episode, before: Trade | None) -> dict[str, Any]:
    """What changes when nothing is left: the last closing deal's time and reason; stops stay as they were last seen."""
    last = next((leg for leg in reversed(life.legs) if leg.effect is Effect.CLOSES), life.legs[-1])
    values: dict[str, Any] = {"status": TradeStatus.CLOSED, "close_time": last.at, "close_reason": last.deal.reason}
    if before is not None:
        values |= {"ticket": before.ticket, "stop_loss": before.stop_loss, "take_profit": before.take_profit}
    return values


def _average(legs: Sequence[Leg], volume: Decimal) -> Decimal:
    """Volume-weighted average price; one price is itself, however small."""
    first = legs[0].deal.price
    if len(legs) == 1 or not volume or all(leg.deal.price == first for leg in legs):
        return first
    return to_price(sum((leg.deal.price * leg.volume for leg in legs), ZERO) / volume)
