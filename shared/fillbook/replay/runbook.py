"""The book of a run in memory: what the next receipt is decided on, kept up with the ledger's own pure booking.

It is the ``Ground`` of a page: facts for the limits, and bookings that the ledger will write as one call at the page's end. It
holds no rule of its own; a fill that does not simply continue its instrument is handed to ``late``, which books it for real.
Where a run's facts are ``recorded``, the limits see what they saw when live decided the receipt, as far as live asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal, localcontext
from typing import Any

from fillbook.ledger.booking import InstrumentState, book
from fillbook.ledger.intake import check_fill
from fillbook.ledger.model import Action, ActionType, Direction, Fill, Position, PositionStatus, Totals
from fillbook.ledger.state import LedgerState, Tail
from fillbook.money import CONTEXT, ZERO, plain
from fillbook.replay.cursors import instant_of
from fillbook.runtime.errors import Rejected
from fillbook.signal import intents
from fillbook.signal.admission import admit
from fillbook.signal.model import Admission, Booked, Decision, Facts, Receipt
from fillbook.signal.profile import Profile
from fillbook.signal.sessions import session_date
from fillbook.signal.store import PlanRow, Surroundings

Late = Callable[[list[Fill]], list[Action]]
VixOf = Callable[[], tuple[Decimal | None, int | None]]


class RunBook:
    """One book as of the last receipt; ``fills`` and ``actions`` are those the ledger has not been told yet,
    ``booked`` all actions of this page. ``sectors``: of positions whose plans are closed by now, where a ticker is run alone.

    ``received`` is when the receipt in hand came, as the database writes it.
    """

    def __init__(
        self, state: LedgerState, plans: Mapping[str, PlanRow], profile: Profile, vix: VixOf, *, day: date, origin: str = "live"
    ) -> None:
        """``state`` holds every open position of the book and its totals, with the entries of ``day``."""
        assert state.totals is not None
        self.head = state.head
        self.positions = {name: held for name, held in state.positions.items() if held}
        self.tails: dict[str, Tail] = dict(state.tails)
        self.fills: list[Fill] = []
        self.actions: list[Action] = []
        self.booked: list[Action] = []
        self.opened = 0
        self.recorded: Mapping[str, Facts] = {}
        self.received: str | None = None
        self.sectors: dict[str, str | None] = {}
        self.late: Late | None = None
        self.profile = profile
        self._known: dict[tuple[object, ...], Facts] = {}  # by what was asked, as long as nothing is booked
        self._plans = plans
        self._vix = vix
        self._origin = origin
        self._take_totals(state.totals, day)

    def _take_totals(self, totals: Totals, day: date) -> None:
        self._known.clear()
        self._start_cash = totals.start_cash
        self._realized = totals.realized.get(intents.CURRENCY) or ZERO
        self._basis = totals.cost_basis_open.get(intents.CURRENCY) or ZERO
        self._open = {Direction.LONG: totals.open_long, Direction.SHORT: totals.open_short}
        self._entries = {day: totals.entries}

    def position(self, instrument: str) -> Position | None:
        """The open position, or ``None``."""
        held = self.positions.get(instrument)
        return held[0] if held else None

    def facts(self, receipt: Receipt) -> Facts:
        """The book as of this receipt, or what was recorded with live's decision on it."""
        recorded = self.recorded.get(receipt.receipt_id)
        if recorded is not None:
            return recorded
        vix, vix_ts = self._vix()
        day = session_date(receipt.ts, self.profile.trading)
        asked = (receipt.sector, day, vix, vix_ts)
        known = self._known.get(asked)
        if known is None:
            around = Surroundings(open_in_sector=self._in_sector(receipt.sector), vix=vix, vix_ts=vix_ts)
            known = self._known[asked] = intents.facts_of(self._totals(day), around, book_executions=True)
        return known

    def book(self, receipt: Receipt, decision: Decision, *, asks: bool) -> tuple[list[Admission], list[Booked]]:
        """Admit and book; nobody else writes in this book, so what was looked at is what is true."""
        facts = self.facts(receipt) if asks else None
        admissions = [admit(intent, facts, self.profile) for intent in decision.intents]
        day = session_date(receipt.ts, self.profile.trading)
        received_at = intents.executed_at(receipt) if self.received is None else instant_of(self.received)
        fills = intents.fills_of(decision, admissions, receipt, day=day, received_at=received_at, origin=self._origin)
        return admissions, intents.booked_actions(decision, admissions, self.take(fills))

    def take(self, fills: Sequence[Fill]) -> list[Action]:
        """Book fills in the order given and remember them for the ledger; raises ``Rejected`` for one that does not fit."""
        checked = [check_fill(fill, self.head.book) for fill in fills]
        if self.late is not None and not all(self._continues(fill) for fill in checked):
            actions = self.late(checked)
            self.booked += actions
            return actions
        saved = self._saved(checked)
        try:
            actions = [action for fill in checked for action in self.apply(fill)]
        except Rejected:
            self._restore(saved)
            raise
        self.fills += checked
        self.actions += actions
        self.booked += actions
        return actions

    def _saved(self, fills: Sequence[Fill]) -> tuple[Any, ...]:
        """What one receipt's fills may change; they are all of one instrument."""
        named = {fill.instrument for fill in fills}
        held = {name: (self.positions.get(name), self._tail(name)) for name in named}
        return held, self._realized, self._basis, dict(self._open), dict(self._entries), self.opened

    def _restore(self, saved: tuple[Any, ...]) -> None:
        self._known.clear()
        held, self._realized, self._basis, self._open, self._entries, self.opened = saved
        for name, (positions, tail) in held.items():
            self.tails[name] = tail
            self.positions.pop(name, None)
            if positions:
                self.positions[name] = positions

    def apply(self, fill: Fill) -> list[Action]:
        """Book one fill in memory only."""
        self._known.clear()
        named = fill.instrument
        start = InstrumentState(self.head.book.netting, self.head.book.base_currency, self.positions.get(named, ()))
        booked = book(start, fill, self.head.book.lot_method)
        held = {position.position_id: position for position in start.positions}
        with localcontext(CONTEXT):
            for leg in booked.legs:
                self._count(held.get(leg.position.position_id), leg.position)
                held[leg.position.position_id] = leg.position
                if leg.action.action_type is ActionType.ENTRY:
                    self._entries[fill.session_date] = self._entries.get(fill.session_date, 0) + 1
                    self.opened += 1
        if booked.state.positions:
            self.positions[named] = booked.state.positions
        else:
            self.positions.pop(named, None)
        self.tails[named] = Tail(last_key=fill.key, last_adjustment_key=self._tail(named).last_adjustment_key)
        return list(booked.actions)

    def reload(self, state: LedgerState, day: date) -> None:
        """Take over what stands in the ledger after it booked something by itself."""
        assert state.totals is not None
        entries = self._entries
        self.head, self.tails = state.head, dict(state.tails)
        self.positions = {name: held for name, held in state.positions.items() if held}
        self._take_totals(state.totals, day)
        self._entries = {**entries, day: state.totals.entries}

    def written(self) -> None:
        """The ledger has been told."""
        self.fills, self.actions, self.booked = [], [], []

    def totals_for_digest(self, day: date) -> list[object]:
        """Account totals as JSON values."""
        amounts = [plain(self._start_cash), plain(self._realized), plain(self._basis)]
        return [*amounts, self._open[Direction.LONG], self._open[Direction.SHORT], self._entries.get(day, 0)]

    def _tail(self, instrument: str) -> Tail:
        return self.tails.get(instrument) or Tail()

    def _continues(self, fill: Fill) -> bool:
        return self._tail(fill.instrument).comes_after(fill.key)

    def _count(self, before: Position | None, after: Position) -> None:
        assert after.realized_pnl is not None
        assert after.cost_basis is not None
        self._realized += after.realized_pnl - ((before.realized_pnl if before else None) or ZERO)
        self._basis += after.cost_basis - ((before.cost_basis if before else None) or ZERO)
        was_open = before is not None and before.status is PositionStatus.OPEN
        self._open[after.direction] += (after.status is PositionStatus.OPEN) - was_open

    def _in_sector(self, sector: str | None) -> int:
        if sector is None:
            return 0
        return sum(self._sector_of(name, held) == sector for name, positions in self.positions.items() for held in positions)

    def _sector_of(self, instrument: str, held: Position) -> str | None:
        plan = self._plans.get(instrument)
        if plan is not None and plan.position_id == held.position_id:
            return plan.sector
        return self.sectors.get(held.position_id)

    def _totals(self, day: date) -> Totals:
        return Totals(
            start_cash=self._start_cash,
            base_currency=self.head.book.base_currency,
            realized={intents.CURRENCY: self._realized},
            cost_basis_open={intents.CURRENCY: self._basis},
            open_long=self._open[Direction.LONG],
            open_short=self._open[Direction.SHORT],
            entries=self._entries.get(day, 0),
        )


def unused(state: LedgerState) -> LedgerState:
    """The book before its first fill."""
    totals = Totals(
        start_cash=state.head.book.start_cash,
        base_currency=state.head.book.base_currency,
        realized={},
        cost_basis_open={},
        open_long=0,
        open_short=0,
        entries=0,
    )
    return replace(state, positions={}, tails={}, totals=totals)
