"""A desk in memory: receipts in, decide → admit → book → conclude, lots first in first out, every fill kept.

It stands in for service, ledger and database in tests of the pure core, and is an oracle of its own: lots and P&L are
computed here in the plainest way. ``book_facts`` replaces single facts to put the book into a situation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from fillbook.signal.admission import admit
from fillbook.signal.canonical import canonical
from fillbook.signal.decode import receipt_of
from fillbook.signal.lanes import conclude, decide
from fillbook.signal.model import EMPTY_STATE, LONG, Admission, Booked, Decision, Facts, Intent, Receipt, TickerState
from fillbook.signal.payload import payload_hash, receipt_id
from fillbook.signal.profile import Profile, RiskSize, load
from fillbook.signal.sessions import session_date
from tests.support.receipts import body

ZERO = Decimal(0)
TYPES = {"enter": "ENTRY", "add": "ADD_ENTRY", "trim": "TRIM", "exit": "EXIT"}


def receipt_from(document: Mapping[str, Any]) -> Receipt:
    """The receipt of a document, with the ids its canonical form gives."""
    digest = payload_hash(canonical(document).encode())
    return receipt_of(document, receipt_id=receipt_id(document["ticker"], document["ts"], digest), payload_hash=digest)


def receipt(name: str = "R", *, minutes: int = 0, **changes: Any) -> Receipt:
    """R or Q as a receipt, ``minutes`` later, with fields replaced."""
    return receipt_from(body(name, minutes=minutes, **changes))


def mirrored(axis: str = "100.40", ltf: str = "-11.9", **changes: Any) -> dict[str, Any]:
    """R turned over at ``axis``: every price on the other side, every direction the other one (scenario 43)."""
    document, twice = body(), 2 * Decimal(axis)
    document |= {"htf_score": -document["htf_score"], "ltf_score": Decimal(ltf), "state": "HTF_BEAR_LTF_BEAR"}
    document |= {name: twice - document[name] for name in ("price", "sl", "tp", "trigger_price")}
    document["tp_levels"] = [{**level, "price": twice - level["price"]} for level in document["tp_levels"]]
    document |= {"trigger_dir": "BEAR", "triggers": ["EMA_CROSS_1H_13_48_BEAR", "ST_FLIP_30M"]}
    for name in ("daily_ema_cloud", "ichimoku_d", "ichimoku_w"):
        document[name] = {**document[name], "position": "below"}
    frames = document["tf_tech"].items()
    document["tf_tech"] = {name: {**frame, "ema": {"stack": -frame["ema"]["stack"]}} for name, frame in frames}
    return document | changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One booked action."""

    action_id: str
    ticker: str
    action_type: str
    side: str
    quantity: Decimal
    price: Decimal
    realized: Decimal | None
    ts: int
    reason: str


@dataclass(slots=True)
class Lots:
    """Open lots of one position, oldest first."""

    position_id: str
    sector: str | None
    open: list[tuple[Decimal, Decimal]] = field(default_factory=list)
    opened: Decimal = ZERO
    realized: Decimal = ZERO

    @property
    def quantity(self) -> Decimal:
        return sum((quantity for quantity, _ in self.open), ZERO)

    @property
    def basis(self) -> Decimal:
        return sum((quantity * price for quantity, price in self.open), ZERO)


@dataclass(slots=True)
class Desk:
    """One book and the states of its tickers."""

    config: Profile = field(default_factory=lambda: load("tt-2026-02"))
    book_facts: dict[str, Any] = field(default_factory=dict)
    states: dict[str, TickerState] = field(default_factory=dict)
    lots: dict[str, Lots] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    realized: Decimal = ZERO

    def post(self, name: str = "R", *, minutes: int = 0, **changes: Any) -> Decision:
        """Decide R or Q with changes."""
        return self.take(receipt(name, minutes=minutes, **changes))

    def take(self, incoming: Receipt) -> Decision:
        """Decide one receipt and book what it asks for."""
        state = self.states.get(incoming.ticker, EMPTY_STATE)
        decision = decide(incoming, state, self.config)
        facts = self.facts(incoming) if any(intent.asks for intent in decision.intents) else None
        admissions = [admit(intent, facts, self.config) for intent in decision.intents]
        booked = [
            self._book(incoming, intent, admission)
            for intent, admission in zip(decision.intents, admissions, strict=True)
            if admission.granted
        ]
        final = conclude(decision, admissions, booked)
        self.states[incoming.ticker] = final.state
        self.decisions.append(final)
        return final

    def facts(self, incoming: Receipt) -> Facts:
        """The book as of this receipt, before its own bookings; ``book_facts`` wins."""
        positions = [(self.states[ticker].position, lots) for ticker, lots in self.lots.items()]
        equity = self.config.size.start_cash + self.realized
        today = session_date(incoming.ts, self.config.trading)
        entries = [fill for fill in self.fills if fill.action_type == "ENTRY"]
        size = self.config.size
        vix = self.states.get(size.vix.ticker, EMPTY_STATE) if isinstance(size, RiskSize) else EMPTY_STATE
        computed = Facts(
            equity=equity,
            buying_power=equity - sum((lots.basis for _, lots in positions), ZERO),
            open_long=sum(position is not None and position.side == LONG for position, _ in positions),
            open_short=sum(position is not None and position.side != LONG for position, _ in positions),
            open_in_sector=sum(lots.sector == incoming.sector for _, lots in positions if incoming.sector),
            entries_today=sum(session_date(fill.ts, self.config.trading) == today for fill in entries),
            vix=vix.last_price,
            vix_ts=vix.last_ts,
        )
        return replace(computed, **self.book_facts)

    def change_position(self, ticker: str = "ZZTA", **changes: Any) -> None:
        """Put the open position into a situation (another stop, another plan)."""
        position = self.states[ticker].position
        assert position is not None
        self.states[ticker] = self.states[ticker]._replace(position=replace(position, **changes))

    def _book(self, incoming: Receipt, intent: Intent, admission: Admission) -> Booked:
        assert admission.quantity is not None
        action_id = f"{incoming.receipt_id}#{intent.ordinal}"
        realized = None
        if intent.opens:
            lots = self.lots.setdefault(intent.ticker, Lots(f"position of {action_id}", incoming.sector))
            lots.open.append((admission.quantity, incoming.price))
            lots.opened += admission.quantity
        else:
            lots = self.lots[intent.ticker]
            realized = _close(lots, admission.quantity, incoming.price, 1 if intent.side == LONG else -1)
            self.realized += realized
        quantity = lots.quantity
        if not quantity:
            del self.lots[intent.ticker]
        self.fills.append(
            Fill(
                action_id=action_id,
                ticker=intent.ticker,
                action_type=TYPES[intent.kind],
                side=intent.side,
                quantity=admission.quantity,
                price=incoming.price,
                realized=realized,
                ts=incoming.ts,
                reason=intent.reason,
            )
        )
        return Booked(
            ordinal=intent.ordinal,
            action_id=action_id,
            action_type=TYPES[intent.kind],
            position_id=lots.position_id,
            quantity=admission.quantity,
            price=incoming.price,
            quantity_after=quantity,
            opened_after=lots.opened,
            vwap_after=lots.basis / quantity if quantity else None,
            realized_pnl=realized,
            position_realized_pnl_after=lots.realized,
        )


def _close(lots: Lots, quantity: Decimal, price: Decimal, sign: int) -> Decimal:
    left, realized = quantity, ZERO
    while left:
        if not lots.open:
            raise AssertionError("closed more than is open")
        size, paid = lots.open.pop(0)
        taken = min(size, left)
        realized += sign * taken * (price - paid)
        left -= taken
        if size > taken:
            lots.open.insert(0, (size - taken, paid))
    lots.realized += realized
    return realized


def replay(receipts: Iterable[Receipt], config: Profile | None = None) -> Desk:
    """A fresh desk after these receipts."""
    desk = Desk() if config is None else Desk(config)
    for incoming in receipts:
        desk.take(incoming)
    return desk
