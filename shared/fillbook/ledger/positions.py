"""The position after a leg: entered, added to, reduced. Running sums are exact, so nothing is computed from history.

Callers run under ``money.CONTEXT``.
"""

from __future__ import annotations

from decimal import Decimal

from fillbook.ledger.amounts import plus, price, total
from fillbook.ledger.model import Direction, Fill, Lot, Position, PositionStatus
from fillbook.ledger.words import UNKNOWN_CURRENCY
from fillbook.money import ONE, ZERO


def entered(fill: Fill, direction: Direction, lot: Lot, *, is_net: bool) -> Position:
    """A new position with its first lot."""
    notional = lot.quantity * lot.price
    return Position(
        position_id=lot.position_id,
        instrument=fill.instrument,
        ticker=fill.ticker,
        contract_name=fill.contract_name,
        direction=direction,
        status=PositionStatus.OPEN,
        currency=fill.currency,
        multiplier=fill.multiplier,
        is_net=is_net,
        cash_style=fill.cash_style,
        quantity_open=lot.quantity,
        quantity_opened=lot.quantity,
        quantity_closed=ZERO,
        value_open=lot.value,
        cost_basis=lot.basis,
        vwap=lot.price,
        entry_vwap=lot.price,
        exit_vwap=None,
        entry_notional=notional,
        exit_notional=ZERO,
        value_opened=lot.value,
        value_initial=lot.value,
        fees_total=lot.fees,
        realized_pnl=ZERO,
        realized_pnl_gross=ZERO,
        realized_pnl_base=ZERO,
        split_factor=ONE,
        opened_at=fill.executed_at,
        last_opened_at=fill.executed_at,
        last_action_at=fill.executed_at,
        closed_at=None,
        first_action_id=lot.action_id,
        action_count=1,
        open_lot_count=1,
        lots=(lot,),
        notional_open=notional,
    )


def added(position: Position, fill: Fill, lot: Lot) -> Position:
    """The position with one lot more."""
    quantity_open = position.quantity_open + lot.quantity
    opened = position.quantity_opened + lot.quantity
    notional = lot.quantity * lot.price
    entry_notional = position.entry_notional + notional
    notional_open = position.notional_open + notional
    return Position(
        position_id=position.position_id,
        instrument=position.instrument,
        ticker=position.ticker,
        contract_name=position.contract_name,
        direction=position.direction,
        status=PositionStatus.OPEN,
        currency=fill.currency if position.currency == UNKNOWN_CURRENCY else position.currency,
        multiplier=fill.multiplier if position.multiplier is None else position.multiplier,
        is_net=position.is_net,
        cash_style=position.cash_style,
        quantity_open=quantity_open,
        quantity_opened=opened,
        quantity_closed=position.quantity_closed,
        value_open=plus(position.value_open, lot.value),
        cost_basis=plus(position.cost_basis, lot.basis),
        vwap=price(notional_open / quantity_open),
        entry_vwap=price(entry_notional / opened),
        exit_vwap=position.exit_vwap,
        entry_notional=entry_notional,
        exit_notional=position.exit_notional,
        value_opened=plus(position.value_opened, lot.value),
        value_initial=position.value_initial,
        fees_total=plus(position.fees_total, lot.fees),
        realized_pnl=position.realized_pnl,
        realized_pnl_gross=position.realized_pnl_gross,
        realized_pnl_base=position.realized_pnl_base,
        split_factor=position.split_factor,
        opened_at=position.opened_at,
        last_opened_at=fill.executed_at,
        last_action_at=fill.executed_at,
        closed_at=None,
        first_action_id=position.first_action_id,
        action_count=position.action_count + 1,
        open_lot_count=position.open_lot_count + 1,
        lots=(*position.lots, lot),
        notional_open=notional_open,
    )


def reduced(
    position: Position,
    fill: Fill,
    quantity: Decimal,
    fees: Decimal | None,
    realized: tuple[Decimal | None, Decimal | None, Decimal | None],
    lots: tuple[Lot, ...],
    notional: Decimal,
) -> Position:
    """The position after ``quantity`` was closed; ``realized`` is net, gross, base; ``notional`` what the lots gave up."""
    net, gross, base = realized
    closed = position.quantity_closed + quantity
    quantity_open = position.quantity_open - quantity
    exit_notional = position.exit_notional + quantity * fill.price
    notional_open = position.notional_open - notional
    return Position(
        position_id=position.position_id,
        instrument=position.instrument,
        ticker=position.ticker,
        contract_name=position.contract_name,
        direction=position.direction,
        status=PositionStatus.OPEN if lots else PositionStatus.CLOSED,
        currency=fill.currency if position.currency == UNKNOWN_CURRENCY else position.currency,
        multiplier=fill.multiplier if position.multiplier is None else position.multiplier,
        is_net=position.is_net,
        cash_style=position.cash_style,
        quantity_open=quantity_open,
        quantity_opened=position.quantity_opened,
        quantity_closed=closed,
        value_open=total(lot.value_open for lot in lots),
        cost_basis=total(lot.basis_open for lot in lots),
        vwap=price(notional_open / quantity_open) if lots else None,
        entry_vwap=position.entry_vwap,
        exit_vwap=price(exit_notional / closed),
        entry_notional=position.entry_notional,
        exit_notional=exit_notional,
        value_opened=position.value_opened,
        value_initial=position.value_initial,
        fees_total=plus(position.fees_total, fees),
        realized_pnl=plus(position.realized_pnl, net),
        realized_pnl_gross=plus(position.realized_pnl_gross, gross),
        realized_pnl_base=plus(position.realized_pnl_base, base),
        split_factor=position.split_factor,
        opened_at=position.opened_at,
        last_opened_at=position.last_opened_at,
        last_action_at=fill.executed_at,
        closed_at=None if lots else fill.executed_at,
        first_action_id=position.first_action_id,
        action_count=position.action_count + 1,
        open_lot_count=len(lots),
        lots=lots,
        notional_open=notional_open,
    )
