"""The pure core: a fill becomes actions, closings and the next state; a journal folds; two histories differ.

Problem. Fills arrive late, twice, corrected and busted, yet the book must be the same whatever the order of delivery.
Observations. The book of an instrument is a function of its current fills and splits in booking order alone, and it is
prefix-causal: nothing after a fill changes what it was booked as. So a fill that sorts last needs only the open lots, and
anything else is a fold from the last flat point, compared with what is stored.
Choice. ``book`` is one step on immutable values, ``fold`` repeats it and sets aside what does not fit, ``diff`` finds the
rows that changed. Nothing here reads, writes, or knows the time. Rules R1–R9 and figures: ledger specification, 5 and 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext

from fillbook.ledger import amounts
from fillbook.ledger.legs import Charge, Leg, close_leg, open_leg
from fillbook.ledger.model import (
    Action,
    ActionVersion,
    Adjustment,
    Direction,
    Fill,
    Lot,
    LotMethod,
    Netting,
    Position,
    RowState,
    Side,
)
from fillbook.ledger.splits import adjust
from fillbook.ledger.words import OPEN_LOTS_MAX, UNKNOWN_CURRENCY
from fillbook.money import CONTEXT, ONE, ZERO, NumberError
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

MISFITS = frozenset(
    {
        "nothing_to_close",
        "close_exceeds_open",
        "lot_picks_mismatch",
        "position_effect_conflict",
        "instrument_terms_changed",
        "too_many_lots",
        "number_overflow",
    }
)
"""Reasons why a well-formed fill cannot be booked: a decision is refused with them, a fact is parked."""


@frozen(kw_only=False)
class InstrumentState:
    """The OPEN positions of one instrument of a book: net at most one, hedge at most one per direction."""

    netting: Netting
    base_currency: str
    positions: tuple[Position, ...] = ()

    def facing(self, direction: Direction) -> Position | None:
        """The open position of ``direction``, if any."""
        for position in self.positions:
            if position.direction is direction:
                return position
        return None


@frozen(kw_only=False)
class Booked:
    """What one fill became: its legs in order, and the state after."""

    legs: tuple[Leg, ...]
    state: InstrumentState

    @property
    def actions(self) -> tuple[Action, ...]:
        """One action, or EXIT and ENTRY when the fill crossed zero."""
        return tuple(leg.action for leg in self.legs)


@dataclass(slots=True)
class Folded:
    """A folded journal: actions in booking order, the last form of every position and lot touched, what did not fit and why.

    ``splits`` holds (adjustment, positions before, positions after) of every split that met an open position.
    """

    state: InstrumentState
    actions: list[Action] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
    lots: dict[str, Lot] = field(default_factory=dict)
    misfits: dict[str, str] = field(default_factory=dict)
    splits: list[tuple[Adjustment, tuple[Position, ...], tuple[Position, ...]]] = field(default_factory=list)


@frozen(kw_only=False)
class Revision:
    """One action that needs a new version: ``action`` to be stored with ``state``; ``previous`` is the current version."""

    action: Action
    state: RowState
    previous: ActionVersion | None


def book(state: InstrumentState, fill: Fill, method: LotMethod) -> Booked:
    """Book one fill that sorts after everything in ``state``; raises ``Rejected`` with a reason of ``MISFITS``.

    The fill has passed ``intake.check``. All amounts are computed with 60 digits and rounded once per column.
    """
    with localcontext(CONTEXT):
        return _book(state, fill, method)


def fold(state: InstrumentState, journal: Iterable[Fill | Adjustment], method: LotMethod) -> Folded:
    """Book a journal in the order given (which must be booking order); fills that do not fit are set aside, whole."""
    folded = Folded(state=state)
    with localcontext(CONTEXT):
        for entry in journal:
            if isinstance(entry, Adjustment):
                _fold_split(folded, entry)
                continue
            try:
                booked = _book(folded.state, entry, method)
            except Rejected as misfit:
                if misfit.reason not in MISFITS:
                    raise
                folded.misfits[entry.fill_id] = misfit.reason
                continue
            for leg in booked.legs:
                folded.actions.append(leg.action)
                folded.positions[leg.position.position_id] = leg.position
                for lot in leg.lots:
                    folded.lots[lot.lot_id] = lot
            folded.state = booked.state
    return folded


def diff(old: Mapping[str, ActionVersion], new: Sequence[Action]) -> list[Revision]:
    """The actions whose content changed, in booking order: new and changed ones BOOKED, vanished ones VOID.

    ``old`` maps action_id to current versions; VOID ones are there to continue their numbering. A VOID keeps the last
    values for display and has no closings.
    """
    revisions = []
    wanted = set()
    for action in new:
        wanted.add(action.action_id)
        previous = old.get(action.action_id)
        if previous is None or previous.state is RowState.VOID or previous.action != action:
            revisions.append(Revision(action, RowState.BOOKED, previous))
    for action_id, version in old.items():
        if action_id not in wanted and version.state is RowState.BOOKED:
            revisions.append(Revision(replace(version.action, closings=()), RowState.VOID, version))
    revisions.sort(key=lambda revision: revision.action.order)
    return revisions


def _fold_split(folded: Folded, adjustment: Adjustment) -> None:
    before = folded.state.positions
    if not before:
        return
    after = tuple(adjust(position, adjustment) for position in before)
    folded.state = replace(folded.state, positions=after)
    for position in after:
        folded.positions[position.position_id] = position
        for lot in position.lots:
            folded.lots[lot.lot_id] = lot
    folded.splits.append((adjustment, before, after))


def _book(state: InstrumentState, fill: Fill, method: LotMethod) -> Booked:
    try:
        position, closes, opens = _route(state, fill)
        fees, fees_base = amounts.charges(
            fill.fees if fill.multiplier is not None else None,
            currency=fill.currency,
            base_currency=state.base_currency,
            fx_rate=fill.fx_rate,
            fees_currency=fill.fees_currency,
            fees_rate=fill.fees_rate,
        )
        charge = Charge(fees, fees_base)
        if position is None or not closes:
            return _opened(state, fill, position, fill.quantity, charge)
        if not opens:
            return _closed(state, fill, position, closes, charge, method)
        first = charge.share(closes, fill.quantity)
        closed = _closed(state, fill, position, closes, first, method)
        opened = _opened(closed.state, fill, None, opens, charge.less(first), leg=2)
        return Booked(closed.legs + opened.legs, opened.state)
    except NumberError as error:
        raise Rejected(error.reason, str(error)) from error


def _route(state: InstrumentState, fill: Fill) -> tuple[Position | None, Decimal, Decimal]:
    """The open position a fill meets, and how much of it closes and opens (R1–R6)."""
    if state.netting is Netting.HEDGE:
        position, closes = _hedge_route(state, fill)
    else:
        position, closes = _net_route(state, fill)
    if position is not None:
        _require_same_terms(position, fill)
        if not closes and position.open_lot_count >= OPEN_LOTS_MAX:
            raise Rejected("too_many_lots", f"{OPEN_LOTS_MAX} open lots")
    return position, closes, fill.quantity - closes


def _net_route(state: InstrumentState, fill: Fill) -> tuple[Position | None, Decimal]:
    position = state.positions[0] if state.positions else None
    adds = position is not None and (fill.side is Side.BUY) is (position.direction is Direction.LONG)
    if position is None or adds:
        if fill.position_effect == "close":
            raise Rejected("nothing_to_close", "no open position on the other side")
        return position, ZERO
    if fill.position_effect == "open":
        raise Rejected("position_effect_conflict", "an opening fill against the open side of a net book")
    if fill.quantity <= position.quantity_open:
        return position, fill.quantity
    if fill.position_effect == "close":
        raise Rejected("close_exceeds_open", "more than the open quantity")
    return position, position.quantity_open


def _hedge_route(state: InstrumentState, fill: Fill) -> tuple[Position | None, Decimal]:
    if fill.direction is None:
        raise Rejected("position_effect_conflict", "a hedging book needs the direction")
    opens = (fill.side is Side.BUY) is (fill.direction is Direction.LONG)
    if fill.position_effect == ("close" if opens else "open"):
        raise Rejected("position_effect_conflict", "side, direction and effect disagree")
    position = state.facing(fill.direction)
    if opens:
        return position, ZERO
    if position is None:
        raise Rejected("nothing_to_close", "no open position in this direction")
    if fill.quantity > position.quantity_open:
        raise Rejected("close_exceeds_open", "more than the open quantity")
    return position, fill.quantity


def _require_same_terms(position: Position, fill: Fill) -> None:
    """A position keeps currency, multiplier and cash style for life; from unknown to known is no change."""
    known_multipliers = position.multiplier is not None and fill.multiplier is not None
    if (
        (known_multipliers and position.multiplier != fill.multiplier)
        or (position.currency != fill.currency and UNKNOWN_CURRENCY not in (position.currency, fill.currency))
        or position.cash_style != fill.cash_style
    ):
        raise Rejected("instrument_terms_changed", "other currency, multiplier or cash style than the open position")


def _opened(
    state: InstrumentState, fill: Fill, position: Position | None, quantity: Decimal, charge: Charge, leg: int = 1
) -> Booked:
    opened = open_leg(fill, leg, position, quantity, charge, fx_rate=_rate(state, fill), is_net=state.netting is Netting.NET)
    return Booked((opened,), _with(state, opened.position))


def _closed(
    state: InstrumentState, fill: Fill, position: Position, quantity: Decimal, charge: Charge, method: LotMethod
) -> Booked:
    is_last = quantity == position.quantity_open and len(state.positions) == 1
    closed = close_leg(fill, position, quantity, charge, method, fx_rate=_rate(state, fill), is_flat_after=is_last)
    return Booked((closed,), _with(state, closed.position))


def _rate(state: InstrumentState, fill: Fill) -> Decimal | None:
    """Base currency per unit of the fill's currency; None = unknown."""
    return ONE if fill.currency == state.base_currency else fill.fx_rate


def _with(state: InstrumentState, changed: Position) -> InstrumentState:
    """The state with one position replaced, added, or gone because nothing of it is open; LONG before SHORT."""
    if len(state.positions) + bool(changed.lots) <= 1 or state.netting is Netting.NET:
        return InstrumentState(state.netting, state.base_currency, (changed,) if changed.lots else ())
    others = [position for position in state.positions if position.direction is not changed.direction]
    kept = [*others, changed] if changed.lots else others
    kept.sort(key=lambda position: position.direction is Direction.SHORT)
    return InstrumentState(state.netting, state.base_currency, tuple(kept))
