"""What a ticker's state becomes: the price guard's memory, what the ledger says happened, and which lane the board shows.

The ledger wins over memory everywhere: a position that is gone was closed, whoever closed it. Cooldowns, ages and cycle
keys change only by what was booked, never by what was wished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from fillbook.signal.definitions import FOUR_PLACES, HUNDRED, ONE
from fillbook.signal.model import (
    ACTING_LANES,
    ADD,
    ENTER,
    EXIT,
    POSITION_LANES,
    TRIM,
    Booked,
    Check,
    Desk,
    Intent,
    Plan,
    PositionFacts,
    Shown,
    TickerState,
)
from fillbook.signal.profile import PriceGuard

CYCLE_KEYS_MAX: Final = 20
_NEEDS_POSITION: Final = frozenset({"just_entered", "hold"})


def guard_price(state: TickerState, price: Decimal, rules: PriceGuard) -> Check | None:
    """P0: the failed comparison when a price is too far from the last one and not confirmed by the one before; else ``None``."""
    last, pending = state.last_price, state.price_pending
    if last is None:
        return None
    jump = (abs(price - last) / last * HUNDRED).quantize(FOUR_PLACES)
    if jump <= rules.max_jump_pct:
        return None
    if pending is not None and abs(price - pending) / pending * HUNDRED <= rules.confirm_within_pct:
        return None
    return Check("P0", jump, "<=", rules.max_jump_pct, False)


def reconciled(state: TickerState, ts: int) -> TickerState:
    """The state as the ledger has it: a position closed by another path, one opened elsewhere, prices after a split."""
    position, desk = state.position, state.desk
    if position is None:
        if desk.position_id is None:
            return state
        return state._replace(desk=_closed(desk, ts, "closed_elsewhere"))
    if position.stop is None and position.plan is not None:
        position = replace(position, stop=position.plan.stop)
        state = state._replace(position=position)
    if desk.position_id != position.position_id:
        adopted = desk._replace(
            position_id=position.position_id,
            first_entry_ts=position.first_entry_ts,
            last_buy_ts=position.last_buy_ts,
            split_factor=position.split_factor,
            pending_exits=(),
        )
        return state._replace(desk=adopted)
    first, last_buy = desk.first_entry_ts, desk.last_buy_ts
    if first is not None and last_buy is not None and (first, last_buy) != (position.first_entry_ts, position.last_buy_ts):
        # The ledger stamps executions with time_close; ages and gaps are counted from the receipt's ts, remembered here.
        state = state._replace(position=replace(position, first_entry_ts=first, last_buy_ts=last_buy))
    if desk.split_factor == position.split_factor:
        return state
    factor = desk.split_factor / position.split_factor
    return state._replace(
        last_price=None if state.last_price is None else state.last_price * factor,
        price_pending=None if state.price_pending is None else state.price_pending * factor,
        desk=desk._replace(split_factor=position.split_factor),
    )


def after_bookings(
    position: PositionFacts | None, desk: Desk, ts: int, done: Sequence[tuple[Intent, Booked]], plan: Plan | None
) -> tuple[PositionFacts | None, Desk]:
    """Position and memory after what was booked, in the order of the ordinals; ``plan`` is that of an ENTRY among it."""
    for intent, booked in done:
        desk = desk._replace(last_execution_ts=ts)
        if intent.kind == ENTER:
            assert plan is not None
            position, desk = _opened(intent, booked, plan, ts), _entered(desk, intent, booked, ts)
            continue
        assert position is not None
        if intent.kind == EXIT:
            position, desk = None, _left(desk, intent, booked, ts)
            continue
        position = replace(
            position,
            quantity=booked.quantity_after,
            base_quantity=booked.opened_after,
            vwap=position.vwap if booked.vwap_after is None else booked.vwap_after,
        )
        if intent.kind == TRIM:
            position, desk = replace(position, tiers_taken=intent.tiers_taken), desk._replace(last_trim_ts=ts)
        elif intent.kind == ADD:
            key = intent.cycle_key or ""
            position = replace(
                position,
                opened_value=position.opened_value + booked.quantity * booked.price,
                last_buy_ts=ts,
                adds=position.adds + 1,
                cycles_used=(*position.cycles_used, key),
            )
            desk = desk._replace(last_buy_ts=ts, cycle_keys=_remember(desk.cycle_keys, key))
    return position, desk


def show(shown: Shown, computed: str, reason: str, ts: int, has_position: bool, receipts: int) -> Shown:
    """Hysteresis: the lane on the board after ``computed`` was the raw lane of this receipt.

    Acting lanes show at once; so does any lane that is the first, follows an acting one, or replaces one that contradicts
    the position. Another lane has to be computed on ``receipts`` decided receipts running.
    """
    lane = shown.lane
    if computed == lane:
        return Shown(lane, reason, shown.since)
    contradicts = lane not in POSITION_LANES if has_position else lane in _NEEDS_POSITION
    count = shown.pending_count + 1 if shown.pending_lane == computed else 1
    if lane is None or computed in ACTING_LANES or lane in ACTING_LANES or contradicts or count >= receipts:
        return Shown(computed, reason, ts)
    return Shown(lane, shown.reason, shown.since, computed, count)


def _opened(intent: Intent, booked: Booked, plan: Plan, ts: int) -> PositionFacts:
    value = booked.quantity * booked.price
    return PositionFacts(
        position_id=booked.position_id,
        side=intent.side,
        base_quantity=booked.opened_after,
        quantity=booked.quantity_after,
        vwap=booked.price if booked.vwap_after is None else booked.vwap_after,
        initial_value=value,
        opened_value=value,
        first_entry_ts=ts,
        last_buy_ts=ts,
        stop=plan.stop,
        plan=plan,
        cycles_used=(plan.cycle_key,),
        sector=intent.sector,
    )


def _entered(desk: Desk, intent: Intent, booked: Booked, ts: int) -> Desk:
    return desk._replace(
        pending_exits=(),
        cycle_keys=_remember(desk.cycle_keys, intent.cycle_key or ""),
        last_entry_ts=ts,
        last_trim_ts=None,
        last_stop_ts=None,
        position_id=booked.position_id,
        first_entry_ts=ts,
        last_buy_ts=ts,
        split_factor=ONE,
    )


def _left(desk: Desk, intent: Intent, booked: Booked, ts: int) -> Desk:
    """A losing close is one whose whole trade lost; where the position's figure is unknown, this action's counts."""
    whole = booked.position_realized_pnl_after
    outcome = booked.realized_pnl if whole is None else whole
    desk = _closed(desk, ts, intent.reason)
    return desk._replace(last_loss_ts=ts) if outcome is not None and outcome < 0 else desk


def _closed(desk: Desk, ts: int, reason: str) -> Desk:
    return desk._replace(
        pending_exits=(),
        last_close_ts=ts,
        last_close_reason=reason,
        position_id=None,
        first_entry_ts=None,
        last_buy_ts=None,
    )


def _remember(keys: tuple[str, ...], key: str) -> tuple[str, ...]:
    return (*[item for item in keys if item != key], key)[-CYCLE_KEYS_MAX:]
