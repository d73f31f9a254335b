"""Between the strategy's words and the ledger's: positions become facts, intents become fills, outcomes become bookings.

Pure translation, both ways, in one place; it decides nothing. Source: signals.md 3.5 and 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from fillbook.ledger.ids import fill_id
from fillbook.ledger.model import Action, Direction, Fill, Outcome, OutcomeStatus, Position, Side, Totals
from fillbook.money import ONE, ZERO, plain
from fillbook.outbox.model import Event, event_id
from fillbook.signal.model import EXIT, TRIM, Admission, Booked, Decision, Facts, Intent, PositionFacts, Receipt
from fillbook.signal.receipt import instant, milliseconds
from fillbook.signal.store import PlanRow, Surroundings

SOURCE: Final = "signal"
CURRENCY: Final = "USD"

_SIDE_OF: Final = {
    (Direction.LONG, True): Side.BUY,
    (Direction.LONG, False): Side.SELL,
    (Direction.SHORT, True): Side.SELL,
    (Direction.SHORT, False): Side.BUY,
}
_LANE_OF: Final = {TRIM: "trim", EXIT: "exit"}


def position_facts(position: Position | None, plan: PlanRow | None) -> PositionFacts | None:
    """The open position as the rules read it: the ledger's quantities and prices, the plan's memory if it is of this position."""
    if position is None:
        return None
    known = plan if plan is not None and plan.position_id == position.position_id else None
    assert position.vwap is not None
    assert position.value_opened is not None
    assert position.value_initial is not None
    return PositionFacts(
        position_id=position.position_id,
        side=position.direction.value,
        base_quantity=position.quantity_opened,
        quantity=position.quantity_open,
        vwap=position.vwap,
        initial_value=position.value_initial,
        opened_value=position.value_opened,
        first_entry_ts=milliseconds(position.opened_at),
        last_buy_ts=milliseconds(position.last_opened_at),
        adds=known.adds if known else 0,
        tiers_taken=known.tiers_taken if known else 0,
        stop=known.stop if known else None,
        plan=known.plan if known else None,
        cycles_used=known.cycles_used if known else (),
        sector=known.sector if known else None,
        split_factor=position.split_factor,
    )


def facts_of(totals: Totals, around: Surroundings, *, book_executions: bool) -> Facts:
    """The book as the limits see it. Signal fills are USD with fees known, so every amount of this book is known."""
    realized, basis = totals.realized.get(CURRENCY, ZERO), totals.cost_basis_open.get(CURRENCY, ZERO)
    if realized is None or basis is None:
        raise ValueError("a signal book holds an amount that nobody knows")
    equity = totals.start_cash + realized
    return Facts(
        equity=equity,
        buying_power=equity - basis,
        open_long=totals.open_long,
        open_short=totals.open_short,
        open_in_sector=around.open_in_sector,
        entries_today=totals.entries,
        vix=around.vix,
        vix_ts=around.vix_ts,
        book_executions=book_executions,
    )


def executed_at(receipt: Receipt) -> datetime:
    """Executions are stamped with the close of the bar, where it is known."""
    return instant(receipt.ts if receipt.time_close is None else receipt.time_close)


def marked_at(receipt: Receipt) -> datetime:
    """Marks are stamped with the last millisecond of the bar, where its close is known."""
    return instant(receipt.ts if receipt.time_close is None else receipt.time_close - 1)


def source_id(receipt: Receipt, intent: Intent) -> str:
    """The identity of a fill at its source; the same receipt always gives the same."""
    return f"{receipt.receipt_id}#{intent.ordinal}"


def fill_id_of(receipt: Receipt, intent: Intent) -> str:
    """The id under which the ledger will know the fill of an intent."""
    return fill_id(SOURCE, "", source_id(receipt, intent))


def fills_of(
    decision: Decision,
    admissions: Sequence[Admission],
    receipt: Receipt,
    *,
    day: date,
    received_at: datetime,
    origin: str = "live",
) -> list[Fill]:
    """The granted intents as fills, in the order of their ordinals; ``origin`` ``history`` when live is caught up later."""
    granted = {answer.ordinal: answer.quantity for answer in admissions if answer.quantity is not None}
    chosen = [intent for intent in decision.intents if intent.ordinal in granted]
    opens = any(intent.opens for intent in chosen)
    fills = [
        _fill(decision, intent, granted[intent.ordinal], receipt, opens=opens, day=day, received_at=received_at)
        for intent in chosen
    ]
    return fills if origin == "live" else [replace(fill, origin=origin) for fill in fills]


def _fill(
    decision: Decision, intent: Intent, quantity: Decimal, receipt: Receipt, *, opens: bool, day: date, received_at: datetime
) -> Fill:
    return Fill(
        source=SOURCE,
        source_id=source_id(receipt, intent),
        instrument=intent.ticker,
        ticker=intent.ticker,
        contract_name=intent.ticker,
        side=_SIDE_OF[Direction(intent.side), intent.opens],
        quantity=quantity,
        price=intent.price,
        multiplier=ONE,
        currency=CURRENCY,
        fx_rate=ONE,
        fees=ZERO,
        fees_currency=CURRENCY,
        fees_rate=ONE,
        position_effect="open" if intent.opens else "close",
        cash_style="full",
        executed_at=executed_at(receipt),
        venue_order=f"{intent.ordinal:02d}",
        session_date=day,
        reason=intent.reason,
        meta={
            "receipt_id": receipt.receipt_id,
            "lane": "enter_now" if opens else _LANE_OF[intent.kind],
            "rule": intent.rule,
            "rank": _text(decision.score),
            "rr": _text(intent.rr),
            "script_version": receipt.script_version,
            "trigger_reason": receipt.trigger_reason,
            "profile": decision.profile,
        },
        received_at=received_at,
    )


def _text(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def booked_of(decision: Decision, admissions: Sequence[Admission], outcomes: Sequence[Outcome]) -> list[Booked]:
    """What the ledger answered, in the strategy's words. A decided fill is booked or refused, never anything else."""
    return booked_actions(decision, admissions, [_action_of(outcome) for outcome in outcomes])


def booked_actions(decision: Decision, admissions: Sequence[Admission], actions: Sequence[Action]) -> list[Booked]:
    """The actions of the granted intents, in the strategy's words."""
    granted = [
        intent.ordinal for intent in decision.intents if any(a.ordinal == intent.ordinal and a.granted for a in admissions)
    ]
    return [_booked(ordinal, action) for ordinal, action in zip(granted, actions, strict=True)]


def _action_of(outcome: Outcome) -> Action:
    if outcome.status is not OutcomeStatus.BOOKED or len(outcome.actions) != 1:
        raise ValueError(f"fill {outcome.fill_id} ended {outcome.status} with {len(outcome.actions)} actions")
    return outcome.actions[0].action


def _booked(ordinal: int, action: Action) -> Booked:
    return Booked(
        ordinal=ordinal,
        action_id=action.action_id,
        action_type=action.action_type.value,
        position_id=action.position_id,
        quantity=action.quantity,
        price=action.price,
        quantity_after=action.position_quantity_after,
        opened_after=action.position_quantity_opened_after,
        vwap_after=action.position_vwap_after,
        realized_pnl=action.realized_pnl,
        position_realized_pnl_after=action.position_realized_pnl_after,
    )


def close_reason(final: Decision, booked: Sequence[Booked], position_id: str) -> str | None:
    """The reason of the intent that emptied this position now; ``None`` when none of ours did."""
    ended = {item.ordinal for item in booked if item.position_id == position_id and not item.quantity_after}
    return next((intent.reason for intent in final.intents if intent.ordinal in ended), None)


def lane_event(book_id: str, final: Decision, now: datetime) -> Event:
    """The event of a lane move; its own aggregate, because it is ordered by the ticker's version, not by the book's."""
    return Event(
        event_id=event_id(book_id, "lane_changed", final.receipt_id, final.version),
        event_type="lane_changed",
        book_id=book_id,
        aggregate_key=f"lane/{book_id}/{final.ticker}",
        aggregate_version=final.version,
        occurred_at=instant(final.ts),
        recorded_at=now,
        data={
            "ticker": final.ticker,
            "from_lane": final.previous_lane,
            "lane": final.lane,
            "rule": final.rule,
            "reason": final.reason,
            "badges": list(final.badges),
            "side": final.side,
            "score": final.score,
            "price": final.inputs["price"],
            "receipt_id": final.receipt_id,
            "action_ids": list(final.action_ids),
        },
    )
