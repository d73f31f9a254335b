"""From changed fills and splits to what must be written: which instruments continue, which are folded again, what differs.

Pure. An instrument whose new fills all sort last, with nothing parked, continues from its open lots (the hot path);
any other is re-booked from the last flat point before the earliest affected key, and compared with what is stored there.
Source: ledger specification, 5 (steps 3 and 4), 6 and 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import itemgetter

from fillbook.ledger.booking import Folded, InstrumentState, Revision, diff, fold
from fillbook.ledger.journal import Change
from fillbook.ledger.model import (
    ActionVersion,
    Adjustment,
    AdjustmentVersion,
    Fill,
    FillVersion,
    Key,
    Lot,
    Position,
    PositionStatus,
)
from fillbook.ledger.state import LedgerState
from fillbook.money import ZERO
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

BOOK_CLOSED = "book_closed"


class NotLockedError(Exception):
    """A change touches an instrument that was not locked and read."""


@frozen
class History:
    """What is stored of one instrument from a flat point on: current fills and splits after it, and what they became.

    ``actions`` maps action_id to current versions (VOID ones too, to go on numbering); ``parked`` fill_id to reason.
    ``is_bounded``: only what lies up to a later flat point was read.
    """

    instrument: str
    is_bounded: bool = False
    fills: tuple[FillVersion, ...] = ()
    adjustments: tuple[AdjustmentVersion, ...] = ()
    actions: Mapping[str, ActionVersion] = field(default_factory=dict)
    positions: Mapping[str, Position] = field(default_factory=dict)
    lots: Mapping[str, Lot] = field(default_factory=dict)
    parked: Mapping[str, str] = field(default_factory=dict)


Read = Callable[[Mapping[str, Key], Mapping[str, Sequence[str]], Mapping[str, Key]], dict[str, History]]
"""Reads histories: instruments with their first key, changed fills by instrument, keys behind which a flat point is the end."""


@dataclass(slots=True, kw_only=True)
class Plan:
    """What a call changes. ``left`` are positions to be written before ``positions``, because they stop being OPEN.

    ``misfits`` maps fill_id to the reason of every touched fact that does not fit; ``parked`` fill_id to (instrument, reason)
    of those newly parked or parked for another reason. ``reopened``: instruments that were read up to a point where nothing was
    open and where something is open now: what lies behind it must be folded too, and nothing of the plan counts.
    """

    revisions: list[Revision] = field(default_factory=list)
    left: list[Position] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    lots: list[Lot] = field(default_factory=list)
    misfits: dict[str, str] = field(default_factory=dict)
    parked: dict[str, tuple[str, str]] = field(default_factory=dict)
    unparked: list[str] = field(default_factory=list)
    splits: list[tuple[Adjustment, tuple[Position, ...], tuple[Position, ...]]] = field(default_factory=list)
    reopened: list[str] = field(default_factory=list)


def affected(
    state: LedgerState, changes: Mapping[str, Change], splits: Iterable[Adjustment] = ()
) -> tuple[dict[str, list[Fill]], dict[str, Key]]:
    """Split the instruments touched into those that continue (their new fills in booking order) and those to re-book.

    Re-booked ones come with the earliest affected key. Raises ``NotLockedError``.
    """
    fresh: dict[str, list[Fill]] = {}
    rebooked: dict[str, Key] = {}
    for change in changes.values():
        if change.before is None:
            if not change.after.fill.is_bust:
                fresh.setdefault(change.after.fill.instrument, []).append(change.after.fill)
            continue
        for instrument, key in change.effects():
            rebooked[instrument] = min(key, rebooked.get(instrument, key))
    for split in splits:
        key = (split.effective_at, "", "")
        rebooked[split.instrument] = min(key, rebooked.get(split.instrument, key))
    if missing := [instrument for instrument in (*fresh, *rebooked) if instrument not in state.tails]:
        raise NotLockedError(*missing)
    continued: dict[str, list[Fill]] = {}
    for instrument, fills in fresh.items():
        fills.sort(key=_key)
        if instrument not in rebooked and state.tails[instrument].comes_after(fills[0].key):
            continued[instrument] = fills
        else:
            rebooked[instrument] = min(fills[0].key, rebooked.get(instrument, fills[0].key))
    return continued, rebooked


def last_keys(changes: Mapping[str, Change]) -> dict[str, Key]:
    """Per instrument the last key that changes: behind it everything follows from what is open alone."""
    last: dict[str, Key] = {}
    for change in changes.values():
        for instrument, key in change.effects():
            last[instrument] = max(key, last.get(instrument, key))
    return last


def fills_by_instrument(changes: Mapping[str, Change]) -> dict[str, list[str]]:
    """Per instrument the changed fills that stand or stood on it."""
    named: dict[str, list[str]] = {}
    for fill_id, change in changes.items():
        for instrument, _ in change.effects():
            named.setdefault(instrument, []).append(fill_id)
    return named


def _key(fill: Fill) -> Key:
    return fill.key


def plan(
    state: LedgerState, changes: Mapping[str, Change], splits: Mapping[str, Adjustment], read: Read
) -> tuple[Plan, dict[str, History]]:
    """What the changes come to, and the histories it took. ``splits`` maps adjustment_id to what this call enters or voids.

    A history is read up to the first flat point behind the last change; where something is open there now, whole. Raises
    ``NotLockedError``, and ``Rejected`` when a decision of this call does not fit, or makes an
    earlier one not fit: nothing is stored then.
    """
    continued, rebooked = affected(state, changes, splits.values())
    if not rebooked:
        return _planned(state, changes, continued, {}, splits), {}
    named = fills_by_instrument(changes)
    histories = read(rebooked, named, {} if splits else last_keys(changes))
    result = _planned(state, changes, continued, histories, splits)
    if result.reopened:
        histories |= read({instrument: rebooked[instrument] for instrument in result.reopened}, named, {})
        result = _planned(state, changes, continued, histories, splits)
    return result, histories


def _planned(
    state: LedgerState,
    changes: Mapping[str, Change],
    continued: Mapping[str, list[Fill]],
    histories: Mapping[str, History],
    splits: Mapping[str, Adjustment],
) -> Plan:
    """Fold every touched instrument and compare."""
    book = state.head.book
    folds: dict[str, Folded] = {}
    for instrument, fills in continued.items():
        start = InstrumentState(book.netting, book.base_currency, state.positions[instrument])
        folds[instrument] = _fold(start, fills, state, changes)
    for instrument, history in histories.items():
        start = InstrumentState(book.netting, book.base_currency)
        folds[instrument] = _fold(start, _journal(history, changes, splits), state, changes, history)
    for instrument, folded in folds.items():
        if folded.misfits:
            _refuse_decisions(instrument, folded, changes, histories.get(instrument))
    result = _compare(folds, histories, splits)
    result.reopened = [name for name, history in histories.items() if history.is_bounded and folds[name].state.positions]
    return result


def _fold(
    start: InstrumentState,
    journal: Sequence[Fill | Adjustment],
    state: LedgerState,
    changes: Mapping[str, Change],
    history: History | None = None,
) -> Folded:
    """Fold; in a closed book whatever is new does not fit."""
    method = state.head.book.lot_method
    if not state.head.is_closed:
        return fold(start, journal, method)
    shut = {fill_id for fill_id, change in changes.items() if change.before is None}
    shut |= {fill_id for fill_id, reason in (history.parked if history else {}).items() if reason == BOOK_CLOSED}
    folded = fold(start, [entry for entry in journal if isinstance(entry, Adjustment) or entry.fill_id not in shut], method)
    folded.misfits |= {
        entry.fill_id: BOOK_CLOSED for entry in journal if not isinstance(entry, Adjustment) and entry.fill_id in shut
    }
    return folded


def _journal(history: History, changes: Mapping[str, Change], splits: Mapping[str, Adjustment]) -> list[Fill | Adjustment]:
    """The current facts of the instrument after the flat point, this call's included, in booking order."""
    fills = [version.fill for version in history.fills if version.fill.fill_id not in changes and not version.fill.is_bust]
    fills += [
        change.after.fill
        for change in changes.values()
        if change.after.fill.instrument == history.instrument and not change.after.fill.is_bust
    ]
    adjustments = {version.adjustment.adjustment_id: version.adjustment for version in history.adjustments}
    adjustments |= {key: split for key, split in splits.items() if split.instrument == history.instrument}
    keyed: list[tuple[tuple[datetime, str, str, str], Fill | Adjustment]] = [((*fill.key, ""), fill) for fill in fills]
    # a split comes before the fills of its instant
    keyed += [((split.effective_at, "", "", split.adjustment_id), split) for split in adjustments.values() if not split.is_void]
    keyed.sort(key=itemgetter(0))
    return [entry for _, entry in keyed]


def _refuse_decisions(instrument: str, folded: Folded, changes: Mapping[str, Change], history: History | None) -> None:
    """A decision that does not fit is refused, also when it would push out another one; a fact never is."""
    touching = [change.after.fill for change in changes.values() if any(name == instrument for name, _ in change.effects())]
    only_decisions = bool(touching) and all(fill.source == "signal" for fill in touching)
    for fill_id, reason in folded.misfits.items():
        change = changes.get(fill_id)
        was_parked = history is not None and fill_id in history.parked
        if (change is not None and change.after.fill.source == "signal") or (only_decisions and not was_parked):
            raise Rejected(reason, f"fill {fill_id}")


def _compare(folds: Mapping[str, Folded], histories: Mapping[str, History], splits: Mapping[str, Adjustment]) -> Plan:
    result = Plan()
    old_actions: dict[str, ActionVersion] = {}
    old_positions: dict[str, Position] = {}
    old_lots: dict[str, Lot] = {}
    old_parked: dict[str, tuple[str, str]] = {}
    for history in histories.values():
        old_actions.update(history.actions)
        old_positions.update(history.positions)
        old_lots.update(history.lots)
        old_parked.update({fill_id: (history.instrument, reason) for fill_id, reason in history.parked.items()})
    new_positions: dict[str, Position] = {}
    new_lots: dict[str, Lot] = {}
    actions = []
    for instrument, folded in folds.items():
        actions += folded.actions
        new_positions.update(folded.positions)
        new_lots.update(folded.lots)
        result.misfits.update(folded.misfits)
        for fill_id, reason in folded.misfits.items():
            if old_parked.pop(fill_id, None) != (instrument, reason):
                result.parked[fill_id] = (instrument, reason)
        result.splits += [split for split in folded.splits if split[0].adjustment_id in splits]
    if len(folds) > 1:
        actions.sort(key=lambda action: action.order)
    result.unparked = sorted(old_parked)
    result.revisions = diff(old_actions, actions)
    _compare_positions(result, old_positions, new_positions)
    result.lots = [lot for lot in new_lots.values() if old_lots.get(lot.lot_id) != lot]
    result.lots += [
        _void_lot(lot) for lot in old_lots.values() if lot.lot_id not in new_lots and lot.status is not PositionStatus.VOID
    ]
    return result


def _compare_positions(result: Plan, old: Mapping[str, Position], new: Mapping[str, Position]) -> None:
    for position in new.values():
        before = old.get(position.position_id)
        if before is not None and _as_row(before) == _as_row(position):
            continue
        if position.status is not PositionStatus.OPEN:
            result.left.append(position)
            continue
        if (
            before is not None
            and before.status is PositionStatus.OPEN
            and (before.instrument, before.direction) != (position.instrument, position.direction)
        ):
            # it changes its place while OPEN: give the old place up first, another may be about to take it
            result.left.append(void_position(before))
        result.positions.append(position)
    for before in old.values():
        if before.position_id not in new and before.status is not PositionStatus.VOID:
            result.left.append(void_position(before))


def _as_row(position: Position) -> Position:
    """The columns alone: what is stored was read without its lots."""
    return replace(position, lots=(), notional_open=ZERO)


def void_position(position: Position) -> Position:
    """A position that no longer exists: nothing open, nothing booked."""
    return replace(
        position,
        status=PositionStatus.VOID,
        quantity_open=ZERO,
        quantity_opened=ZERO,
        quantity_closed=ZERO,
        value_open=ZERO,
        cost_basis=ZERO,
        vwap=None,
        exit_vwap=None,
        entry_notional=ZERO,
        exit_notional=ZERO,
        value_opened=ZERO,
        value_initial=ZERO,
        fees_total=ZERO,
        realized_pnl=ZERO,
        realized_pnl_gross=ZERO,
        realized_pnl_base=ZERO,
        closed_at=None,
        action_count=0,
        open_lot_count=0,
        lots=(),
        notional_open=ZERO,
    )


def _void_lot(lot: Lot) -> Lot:
    return replace(lot, status=PositionStatus.VOID, quantity_open=ZERO, value_open=ZERO, basis_open=ZERO, fees_base_open=ZERO)
