"""One leg of a fill: opening a lot, or closing parts of lots; every figure of the ledger specification, 7, is computed here.

Signs: a LONG pays basis and receives proceeds, a SHORT receives basis and pays to cover, so with s = +1 or -1:
basis = value + s·fees, proceeds = value - s·fees, gross = s·(close value - lot value), net = s·(proceeds - lot basis).
Callers run under ``money.CONTEXT``; ``NumberError`` means that a figure does not fit its column.
"""

from __future__ import annotations

from decimal import Decimal

from fillbook.ledger.amounts import minus, money, part, plus, total
from fillbook.ledger.ids import action_id, lot_id, position_id
from fillbook.ledger.methods import METHODS
from fillbook.ledger.model import (
    Action,
    ActionType,
    Closing,
    Direction,
    Fill,
    Lot,
    LotMethod,
    Position,
    PositionStatus,
)
from fillbook.ledger.positions import added, entered, reduced
from fillbook.money import ONE, ZERO
from fillbook.values import frozen


@frozen(kw_only=False)
class Charge:
    """Fees of a fill or of one of its legs: in the trade's currency and in base; None = unknown."""

    fees: Decimal | None
    fees_base: Decimal | None

    def share(self, quantity: Decimal, whole: Decimal) -> Charge:
        """The part that belongs to ``quantity`` of ``whole``."""
        return Charge(
            None if self.fees is None else part(self.fees, quantity, whole, ZERO),
            None if self.fees_base is None else part(self.fees_base, quantity, whole, ZERO),
        )

    def less(self, given: Charge) -> Charge:
        """What is left after ``given``."""
        return Charge(minus(self.fees, given.fees), minus(self.fees_base, given.fees_base))


@frozen(kw_only=False)
class Leg:
    """One action, the position right after it, and the lots it opened or took from."""

    action: Action
    position: Position
    lots: tuple[Lot, ...]


def open_leg(
    fill: Fill,
    leg: int,
    position: Position | None,
    quantity: Decimal,
    charge: Charge,
    *,
    fx_rate: Decimal | None,
    is_net: bool,
) -> Leg:
    """ENTRY, or ADD_ENTRY to ``position``: always a new lot, also at an equal price (R1, R2)."""
    direction = Direction.LONG if fill.side == "BUY" else Direction.SHORT
    is_long = direction is Direction.LONG
    value = None if fill.multiplier is None else money(quantity * fill.price * fill.multiplier)
    basis = None if value is None or charge.fees is None else value + charge.fees if is_long else value - charge.fees
    own_id = action_id(fill.fill_id, leg)
    lot = Lot(
        lot_id=lot_id(fill.fill_id),
        position_id=position.position_id if position is not None else position_id(fill.fill_id),
        fill_id=fill.fill_id,
        action_id=own_id,
        lot_ref=fill.lot_ref,
        opened_at=fill.executed_at,
        venue_order=fill.venue_order,
        status=PositionStatus.OPEN,
        quantity=quantity,
        price=fill.price,
        multiplier=fill.multiplier,
        value=value,
        fees=charge.fees,
        fees_base=charge.fees_base,
        basis=basis,
        fx_rate=fx_rate,
        split_factor=ONE,
        price_adjusted=fill.price,
        quantity_adjusted=quantity,
        quantity_open=quantity,
        value_open=value,
        basis_open=basis,
        fees_base_open=charge.fees_base,
    )
    after = entered(fill, direction, lot, is_net=is_net) if position is None else added(position, fill, lot)
    cash = None
    if charge.fees is not None and value is not None:
        cash = -charge.fees or ZERO
        if fill.cash_style == "full":
            cash = cash - value if is_long else cash + value
    action_type = ActionType.ENTRY if position is None else ActionType.ADD_ENTRY
    action = _action(
        fill, leg, action_type, after, quantity, value, charge.fees, cash, own_id, lot.lot_id, (), is_flat_after=False
    )
    return Leg(action, after, (lot,))


def close_leg(
    fill: Fill,
    position: Position,
    quantity: Decimal,
    charge: Charge,
    method: LotMethod,
    *,
    fx_rate: Decimal | None,
    is_flat_after: bool,
) -> Leg:
    """TRIM, or EXIT when nothing stays open, of lots chosen by ``method`` (R3, R7); ``fx_rate`` is that of the close."""
    is_long = position.direction is Direction.LONG
    value = None if fill.multiplier is None else money(quantity * fill.price * fill.multiplier)
    proceeds = None if value is None or charge.fees is None else value - charge.fees if is_long else value + charge.fees
    takes = METHODS[method](position.lots, position.direction, quantity, fill.lot_picks)
    lots = list(position.lots)
    closings: list[Closing] = []
    touched: list[Lot] = []
    cumulative = given_value = given_proceeds = given_fees = notional = ZERO
    for ordinal, (index, taken) in enumerate(takes, 1):
        lot = lots[index]
        cumulative += taken
        is_last = ordinal == len(takes)
        close_value = _share(value, cumulative, quantity, given_value, is_last)
        lot_proceeds = _share(proceeds, cumulative, quantity, given_proceeds, is_last)
        fees_base = _share(charge.fees_base, cumulative, quantity, given_fees, is_last)
        given_value += close_value or ZERO
        given_proceeds += lot_proceeds or ZERO
        given_fees += fees_base or ZERO
        notional += taken * lot.price_adjusted
        left = without(lot, taken)
        closings.append(_closing(ordinal, lot, left, taken, close_value, lot_proceeds, fees_base, fill, fx_rate, is_long))
        lots[index] = left
        touched.append(left)
    net = total(closing.realized_pnl for closing in closings)
    gross = total(closing.realized_pnl_gross for closing in closings)
    base = total(closing.realized_pnl_base for closing in closings)
    after = reduced(position, fill, quantity, charge.fees, (net, gross, base), tuple(filter(_is_open, lots)), notional)
    cash = None
    if charge.fees is not None and value is not None:
        moved = gross if fill.cash_style == "margin" else value if is_long else -value
        cash = None if moved is None else moved - charge.fees or ZERO
    action_type = ActionType.TRIM if after.lots else ActionType.EXIT
    own_lot = touched[0].lot_id if len(touched) == 1 else None
    action = _action(
        fill,
        1,
        action_type,
        after,
        quantity,
        value,
        charge.fees,
        cash,
        action_id(fill.fill_id, 1),
        own_lot,
        tuple(closings),
        is_flat_after=is_flat_after,
    )
    return Leg(action, after, tuple(touched))


def _is_open(lot: Lot) -> bool:
    return lot.status is PositionStatus.OPEN


def _share(whole: Decimal | None, cumulative: Decimal, quantity: Decimal, given: Decimal, is_last: bool) -> Decimal | None:
    if whole is None:
        return None
    return whole - given if is_last else part(whole, cumulative, quantity, given)


def without(lot: Lot, taken: Decimal) -> Lot:
    """``lot`` less ``taken`` of it; amounts by running difference over the whole lot: an emptied one has basis exactly 0."""
    left = lot.quantity_open - taken
    if left:
        value, basis, fees = (
            None
            if whole is None or rest is None
            else whole - money(whole * (lot.quantity_adjusted - left) / lot.quantity_adjusted)
            for whole, rest in ((lot.value, lot.value_open), (lot.basis, lot.basis_open), (lot.fees_base, lot.fees_base_open))
        )
    else:
        value = basis = fees = ZERO
    return Lot(
        lot_id=lot.lot_id,
        position_id=lot.position_id,
        fill_id=lot.fill_id,
        action_id=lot.action_id,
        lot_ref=lot.lot_ref,
        opened_at=lot.opened_at,
        venue_order=lot.venue_order,
        status=PositionStatus.OPEN if left else PositionStatus.CLOSED,
        quantity=lot.quantity,
        price=lot.price,
        multiplier=lot.multiplier,
        value=lot.value,
        fees=lot.fees,
        fees_base=lot.fees_base,
        basis=lot.basis,
        fx_rate=lot.fx_rate,
        split_factor=lot.split_factor,
        price_adjusted=lot.price_adjusted,
        quantity_adjusted=lot.quantity_adjusted,
        quantity_open=left,
        value_open=value,
        basis_open=basis,
        fees_base_open=fees,
    )


def _gain(close: Decimal, opening: Decimal, is_long: bool) -> Decimal:
    return (close - opening if is_long else opening - close) or ZERO


def _closing(
    ordinal: int,
    lot: Lot,
    left: Lot,
    taken: Decimal,
    close_value: Decimal | None,
    proceeds: Decimal | None,
    fees_base: Decimal | None,
    fill: Fill,
    fx_rate: Decimal | None,
    is_long: bool,
) -> Closing:
    lot_value = minus(lot.value_open, left.value_open)
    gross = base = None
    if close_value is not None and lot_value is not None:
        gross = _gain(close_value, lot_value, is_long)
        fees = plus(minus(lot.fees_base_open, left.fees_base_open), fees_base)
        lot_rate = fx_rate if fill.cash_style == "margin" else lot.fx_rate
        if fees is not None and fx_rate is not None and lot_rate is not None:
            base = money(_gain(close_value * fx_rate, lot_value * lot_rate, is_long) - fees)
        elif fees is not None and not gross and fill.cash_style == "margin":
            base = ZERO - fees  # only the gain is converted there, and none needs no rate
    lot_basis = minus(lot.basis_open, left.basis_open)
    net = None if proceeds is None or lot_basis is None else _gain(proceeds, lot_basis, is_long)
    return Closing(
        lot_id=lot.lot_id,
        ordinal=ordinal,
        quantity=taken,
        lot_price=lot.price_adjusted,
        split_factor=lot.split_factor,
        close_value=close_value,
        lot_value=lot_value,
        proceeds=proceeds,
        lot_basis=lot_basis,
        realized_pnl_gross=gross,
        realized_pnl=net,
        realized_pnl_base=base,
    )


def _action(
    fill: Fill,
    leg: int,
    action_type: ActionType,
    after: Position,
    quantity: Decimal,
    value: Decimal | None,
    fees: Decimal | None,
    cash: Decimal | None,
    own_id: str,
    own_lot: str | None,
    closings: tuple[Closing, ...],
    *,
    is_flat_after: bool,
) -> Action:
    """The history row of this leg, with the state of the position right after; unrealized at this action's own price."""
    unrealized = None
    if after.lots and fill.multiplier is not None and after.cost_basis is not None:
        worth = after.quantity_open * fill.price * fill.multiplier - after.cost_basis
        unrealized = money(worth if after.direction is Direction.LONG else -worth)
    closes = bool(closings)
    return Action(
        action_id=own_id,
        fill_id=fill.fill_id,
        leg=leg,
        position_id=after.position_id,
        lot_id=own_lot,
        action_type=action_type,
        instrument=fill.instrument,
        ticker=fill.ticker,
        direction=after.direction,
        side=fill.side,
        executed_at=fill.executed_at,
        venue_order=fill.venue_order,
        session_date=fill.session_date,
        quantity=quantity,
        price=fill.price,
        multiplier=fill.multiplier,
        currency=fill.currency,
        value=value,
        fees=fees,
        cash_effect=cash,
        realized_pnl=total(closing.realized_pnl for closing in closings) if closes else None,
        realized_pnl_gross=total(closing.realized_pnl_gross for closing in closings) if closes else None,
        realized_pnl_base=total(closing.realized_pnl_base for closing in closings) if closes else None,
        position_quantity_after=after.quantity_open,
        position_quantity_opened_after=after.quantity_opened,
        position_vwap_after=after.vwap,
        position_cost_basis_after=after.cost_basis,
        position_realized_pnl_after=after.realized_pnl,
        unrealized_pnl_after=unrealized,
        is_flat_after=is_flat_after,
        reason=fill.reason,
        meta=fill.meta,
        closings=closings,
    )
