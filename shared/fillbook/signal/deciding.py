"""What one receipt does to its ticker and its book: the steps that live and every replay share, whoever books.

``settle`` is decide → admit → book → conclude over a ``Ground``: live's locks rows and asks the database, a replay's holds the
book of its run in memory. ``rows_of`` names what is to be stored afterwards, without the state: live stores one with each
receipt, a replay one with each page. No rule lives here, nothing is read or written. Source: signals.md 2.1, replay.md 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final, Protocol

from fillbook.ledger.model import Mark
from fillbook.signal import intents, store
from fillbook.signal.admission import admit
from fillbook.signal.explain import blocks_text
from fillbook.signal.lanes import conclude, decide
from fillbook.signal.model import Admission, Booked, Decision, Facts, PositionFacts, Receipt, TickerState
from fillbook.signal.profile import Profile
from fillbook.signal.sessions import session_date
from fillbook.signal.store import PlanRow, Row
from fillbook.values import frozen

CLOSED_ELSEWHERE: Final = "closed_elsewhere"


class Ground(Protocol):
    """The book a receipt is decided on."""

    def facts(self, receipt: Receipt) -> Facts:
        """The book as of the receipt, without a lock: a refusal then costs none."""

    def book(self, receipt: Receipt, decision: Decision, *, asks: bool) -> tuple[list[Admission], list[Booked]]:
        """Admit under the book's lock and book what is granted; ``asks``: an intent needs the book's facts."""


@frozen
class Settled:
    """A concluded decision, the answers to its intents and what was booked of them; ``blocks`` as they are stored."""

    final: Decision
    admissions: Sequence[Admission]
    booked: Sequence[Booked]
    blocks: str


def settle(receipt: Receipt, state: TickerState, profile: Profile, ground: Ground) -> Settled:
    """Decide one receipt and book what is granted; raises what the ledger refuses of a decision."""
    decision = decide(receipt, state, profile)
    if not decision.intents:
        return Settled(final=decision, admissions=(), booked=(), blocks=blocks_text(decision.blocks))
    asks = any(intent.asks for intent in decision.intents)
    facts = ground.facts(receipt) if asks else None
    admissions = [admit(intent, facts, profile) for intent in decision.intents]
    booked: list[Booked] = []
    if any(admission.granted for admission in admissions):
        admissions, booked = ground.book(receipt, decision, asks=asks)
    final = conclude(decision, admissions, booked)
    return Settled(final=final, admissions=admissions, booked=booked, blocks=blocks_text(final.blocks))


def mark_of(receipt: Receipt, before: TickerState, final: Decision) -> Mark | None:
    """The price to mark the ticker with; ``None`` while nothing is held or the price is unconfirmed.

    It is what the bar came to, so that it belongs to the bar and, with the last one, to the session: it is stamped with the bar's
    last instant. The close itself is the first instant of the next bar, and of what follows the session (decision 0054).
    """
    if final.mark is None or (before.position is None and final.state.position is None):
        return None
    return Mark(instrument=final.ticker, price=final.mark, marked_at=intents.marked_at(receipt), source="signal")


def rows_of(
    book_id: str, receipt: Receipt, before: TickerState, plan: PlanRow | None, settled: Settled, profile: Profile, now: datetime
) -> dict[str, list[Any]]:
    """What ``signal.apply`` stores of a settled receipt beside receipt and state; ``before`` and ``plan`` as they were loaded."""
    final, day = settled.final, session_date(receipt.ts, profile.trading)
    rows: dict[str, list[Any]] = {"decisions": [store.decision_row(book_id, final, settled.blocks, settled.admissions, now)]}
    if _begins_day(before, day, profile):
        rows["snapshots"] = [store.snapshot_row(book_id, receipt.ticker, day, before, plan)]
    if final.lane != final.previous_lane:
        rows["moves"] = [store.move_row(book_id, final, receipt.price)]
    if final.stop_move is not None:
        rows["stops"] = [store.stop_row(book_id, final.stop_move, receipt.receipt_id)]
    if plan is not None or final.state.position is not None:
        rows |= _plan_rows(book_id, receipt, plan, settled)
    return rows


def _begins_day(before: TickerState, day: date, profile: Profile) -> bool:
    return before.last_ts is None or session_date(before.last_ts, profile.trading) != day


def _plan_rows(book_id: str, receipt: Receipt, plan: PlanRow | None, settled: Settled) -> dict[str, list[Row]]:
    """The plan table follows the position: opened, changed, closed by our exit or found closed."""
    final, rows = settled.final, dict[str, list[Row]]()
    position = final.state.position
    is_kept = _keeps(plan, position)
    if plan is not None and not is_kept:
        reason = intents.close_reason(final, settled.booked, plan.position_id) or CLOSED_ELSEWHERE
        rows["plans_closed"] = [store.closed_plan_row(book_id, plan.position_id, receipt.ts, reason)]
    if is_kept and position is not None and plan is not None and store.plan_changed(plan, position):
        rows["plans_changed"] = [store.changed_plan_row(book_id, position)]
    if position is not None and position.plan is not None and not is_kept:
        rows["plans_opened"] = [store.opened_plan_row(book_id, receipt.ticker, position, position.plan, receipt.ts)]
    return rows


def _keeps(plan: PlanRow | None, position: PositionFacts | None) -> bool:
    return position is not None and plan is not None and position.position_id == plan.position_id
