"""From what was booked back to lots: a position's actions, in order, with its splits, give the position and every lot of it.

Pure. Lots are stored as they are today; how they were at an earlier instant, or were believed to be, follows from the
actions of that instant. Nothing is decided again: an opening is booked as it was, a closing takes from the lots that its
closings name, so this holds for every lot method, and each step is the one that booking makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal, localcontext

from fillbook.ledger.amounts import charges
from fillbook.ledger.legs import Charge, open_leg, without
from fillbook.ledger.model import Action, Adjustment, Book, Fill, Lot, Netting, Position, PositionStatus
from fillbook.ledger.positions import reduced
from fillbook.ledger.splits import adjust
from fillbook.money import CONTEXT, ONE, ZERO
from fillbook.values import frozen


@frozen
class Booked:
    """One version of an action, its closings inside, with the version of the fill it was booked from."""

    action: Action
    fill: Fill
    version: int
    known_from: datetime


@frozen
class Unfolded:
    """A position after its last action and split; ``lots`` are all it ever had, closed ones too, in booking order."""

    position: Position
    lots: tuple[Lot, ...]


def unfold(book: Book, booked: Sequence[Booked], splits: Iterable[Adjustment]) -> Unfolded:
    """Replay the actions of one position (at least one, in booking order) and the splits of its instrument.

    A split meets the lots that are open at its effective time, and comes before an action of the same instant.
    """
    waiting = sorted(splits, key=lambda split: (split.effective_at, split.adjustment_id), reverse=True)
    lots: dict[str, Lot] = {}
    position: Position | None = None
    with localcontext(CONTEXT):
        for one in booked:
            while waiting and waiting[-1].effective_at <= one.action.executed_at:
                position = _split(position, waiting.pop(), lots)
            position = _closed(position, one, lots) if position and one.action.closings else _opened(book, position, one, lots)
        while waiting:
            position = _split(position, waiting.pop(), lots)
    if position is None:
        raise ValueError("a position without actions is none")
    return Unfolded(position=position, lots=tuple(lots.values()))


def _split(position: Position | None, split: Adjustment, lots: dict[str, Lot]) -> Position | None:
    if position is None or not position.lots:
        return position
    after = adjust(position, split)
    lots.update((lot.lot_id, lot) for lot in after.lots)
    return after


def _opened(book: Book, position: Position | None, one: Booked, lots: dict[str, Lot]) -> Position:
    fill, action = one.fill, one.action
    leg = open_leg(
        fill,
        action.leg,
        position,
        action.quantity,
        _charge(book, fill, action),
        fx_rate=ONE if fill.currency == book.base_currency else fill.fx_rate,
        is_net=book.netting is Netting.NET,
    )
    lots.update((lot.lot_id, lot) for lot in leg.lots)
    return leg.position


def _charge(book: Book, fill: Fill, action: Action) -> Charge:
    """The fees of an opening leg: the fill's, or what the closing leg before it left of them."""
    fees, fees_base = charges(
        fill.fees if fill.multiplier is not None else None,
        currency=fill.currency,
        base_currency=book.base_currency,
        fx_rate=fill.fx_rate,
        fees_currency=fill.fees_currency,
        fees_rate=fill.fees_rate,
    )
    charge = Charge(fees, fees_base)
    return charge if action.leg == 1 else charge.less(charge.share(fill.quantity - action.quantity, fill.quantity))


def _closed(position: Position, one: Booked, lots: dict[str, Lot]) -> Position:
    action = one.action
    notional: Decimal = ZERO
    for closing in action.closings:
        lot = lots[closing.lot_id]
        notional += closing.quantity * lot.price_adjusted
        lots[closing.lot_id] = without(lot, closing.quantity)
    held = (lots[lot.lot_id] for lot in position.lots)
    return reduced(
        position,
        one.fill,
        action.quantity,
        action.fees,
        (action.realized_pnl, action.realized_pnl_gross, action.realized_pnl_base),
        tuple(lot for lot in held if lot.status is PositionStatus.OPEN),
        notional,
    )
