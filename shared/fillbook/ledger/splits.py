"""A split of an open position: quantities scale, prices scale back, value and basis stay (ledger specification, 8).

Only open lots change; what was booked keeps its executed figures. Pure; callers run under ``money.CONTEXT``.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from fillbook.ledger.amounts import factor, price, quantity
from fillbook.ledger.model import Adjustment, Lot, Position
from fillbook.money import QUANTITY_STEP, ZERO


def adjust(position: Position, split: Adjustment) -> Position:
    """The position in units after ``split``: each open lot × num/den at price × den/num, rounded to 10 decimals each."""
    num, den = Decimal(split.ratio_num), Decimal(split.ratio_den)
    lots = tuple(_adjust_lot(lot, num, den) for lot in position.lots)
    quantity_open = sum((lot.quantity_open for lot in lots), ZERO)
    quantity_closed = quantity(position.quantity_closed * num / den)
    notional_open = sum((lot.quantity_open * lot.price_adjusted for lot in lots), ZERO)
    return replace(
        position,
        quantity_open=quantity_open,
        quantity_closed=quantity_closed,
        quantity_opened=quantity_open + quantity_closed,
        vwap=price(notional_open / quantity_open),
        entry_vwap=price(position.entry_notional / (quantity_open + quantity_closed)),
        exit_vwap=None if position.exit_vwap is None else price(position.exit_notional / (quantity_closed or QUANTITY_STEP)),
        split_factor=factor(position.split_factor * num / den),
        lots=lots,
        notional_open=notional_open,
    )


def _adjust_lot(lot: Lot, num: Decimal, den: Decimal) -> Lot:
    # a remainder too small for the new unit keeps the smallest one: an open lot never vanishes without a closing
    return replace(
        lot,
        split_factor=factor(lot.split_factor * num / den),
        price_adjusted=price(lot.price_adjusted * den / num),
        quantity_adjusted=quantity(lot.quantity_adjusted * num / den) or QUANTITY_STEP,
        quantity_open=quantity(lot.quantity_open * num / den) or QUANTITY_STEP,
    )
