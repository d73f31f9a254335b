"""What happens to a book, step by step: a fill that was booked, a split that met open positions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import localcontext

from fillbook.ledger.booking import MISFITS, InstrumentState
from fillbook.ledger.booking import book as book_fill
from fillbook.ledger.legs import Leg
from fillbook.ledger.model import Adjustment, Book, Fill, Lot, Position, PositionStatus
from fillbook.ledger.splits import adjust
from fillbook.money import CONTEXT
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen


@frozen(kw_only=False)
class Execution:
    """A fill that was booked: its legs, one action each."""

    fill: Fill
    legs: tuple[Leg, ...]


@frozen(kw_only=False)
class SplitStep:
    """A split with the open positions before and after it, in the same order."""

    split: Adjustment
    before: tuple[Position, ...]
    after: tuple[Position, ...]


Step = Execution | SplitStep


def instrument_steps(book: Book, fills: Iterable[Fill], splits: Iterable[Adjustment]) -> Iterator[Step]:
    """Book the facts of one instrument, which come in booking order, as the splits do; what does not fit has no step."""
    state = InstrumentState(book.netting, book.base_currency)
    waiting = list(splits)[::-1]
    for fill in fills:
        # a split comes before the fills of its instant
        while waiting and waiting[-1].effective_at <= fill.executed_at:
            state, steps = _split(state, waiting.pop())
            yield from steps
        try:
            booked = book_fill(state, fill, book.lot_method)
        except Rejected as misfit:
            if misfit.reason not in MISFITS:
                raise
            continue
        state = booked.state
        yield Execution(fill, booked.legs)
    while waiting:
        state, steps = _split(state, waiting.pop())
        yield from steps


def _split(state: InstrumentState, split: Adjustment) -> tuple[InstrumentState, tuple[Step, ...]]:
    if not state.positions:
        return state, ()
    with localcontext(CONTEXT):
        after = tuple(adjust(position, split) for position in state.positions)
    return InstrumentState(state.netting, state.base_currency, after), (SplitStep(split, state.positions, after),)


def last_forms(steps: Iterable[Step]) -> Iterator[Lot | Position]:
    """Every lot and position in its last form, as soon as it is closed, what is open at the end; holds open ones only."""
    lots: dict[str, Lot] = {}
    positions: dict[str, Position] = {}
    for step in steps:
        if isinstance(step, SplitStep):
            touched, changed = step.after, [lot for position in step.after for lot in position.lots]
        else:
            touched, changed = tuple(leg.position for leg in step.legs), [lot for leg in step.legs for lot in leg.lots]
        for lot in changed:
            lots[lot.lot_id] = lot
            if lot.status is not PositionStatus.OPEN:
                yield lots.pop(lot.lot_id)
        for position in touched:
            positions[position.position_id] = position
            if position.status is not PositionStatus.OPEN:
                yield positions.pop(position.position_id)
    yield from lots.values()
    yield from positions.values()
