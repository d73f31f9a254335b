"""The figures of a day a second time: in plain Python with exact fractions, from a book's actions and marks and nothing else.

Written from the definitions (snapshot specification, 2.3) and not from the views: positions are followed action by action, an
instant is looked at by walking all of them. Slow and simple on purpose.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from typing import Any

from fillbook.ledger.model import Action, ActionVersion
from fillbook.snapshot.model import WorkDay

DIGITS = {"currency": 2, "percent": 4, "ratio": 4, "number": 0, "duration": 0}
BUCKET = timedelta(minutes=5)
Amount = Fraction | None


@dataclass(frozen=True, slots=True)
class Seen:
    """A price at an instant."""

    instrument: str
    at: datetime
    price: Decimal
    bid: Decimal | None
    ask: Decimal | None


@dataclass(slots=True)
class Trade:
    """A position and all that happened to it, in order."""

    position_id: str
    instrument: str
    sign: int
    multiplier: Amount
    actions: list[Action] = field(default_factory=list)

    def held(self, at: datetime) -> tuple[Fraction, Amount]:
        """Open quantity and its basis at an instant."""
        lots: dict[str, list[Any]] = {}
        for action in self.actions:
            if action.executed_at > at:
                continue
            if action.lot_id is not None and action.action_type in ("ENTRY", "ADD_ENTRY"):
                known = action.value is not None and action.fees is not None
                basis = Fraction(action.value) + self.sign * Fraction(action.fees) if known else None  # type: ignore[arg-type]
                lots[action.lot_id] = [Fraction(action.quantity), Fraction(action.quantity), basis]
            for closing in action.closings:
                lots[closing.lot_id][0] -= Fraction(closing.quantity)
        opened = [lot for lot in lots.values() if lot[0] > 0]
        if any(basis is None for _, _, basis in opened):
            return sum((lot[0] for lot in opened), Fraction(0)), None
        return sum((lot[0] for lot in opened), Fraction(0)), sum((b * q / whole for q, whole, b in opened), Fraction(0))

    def realized(self, after: datetime | None, until: datetime) -> list[Amount]:
        """What each closing of (after, until] realized."""
        return [
            None if closing.realized_pnl is None else Fraction(closing.realized_pnl)
            for action in self.actions
            if action.executed_at <= until and (after is None or action.executed_at > after)
            for closing in action.closings
        ]

    @property
    def closed_at(self) -> datetime | None:
        """When it was closed, if it was."""
        return self.actions[-1].executed_at if self.actions[-1].is_flat_after else None


def trades(actions: Sequence[ActionVersion], currency: str) -> list[Trade]:
    """Positions of one currency from current actions in booking order."""
    found: dict[str, Trade] = {}
    for version in actions:
        action = version.action
        if action.currency != currency:
            continue
        multiplier = None if action.multiplier is None else Fraction(action.multiplier)
        sign = 1 if action.direction == "LONG" else -1
        trade = found.setdefault(action.position_id, Trade(action.position_id, action.instrument, sign, multiplier))
        trade.actions.append(action)
    return list(found.values())


def total(parts: Sequence[Amount]) -> Amount:
    """A sum; unknown with one unknown part."""
    return None if any(part is None for part in parts) else sum(parts, Fraction(0))  # type: ignore[arg-type]


class Oracle:
    """One book's figures of a day; every amount a fraction, None where it cannot be known."""

    def __init__(self, actions: Sequence[ActionVersion], marks: Sequence[Seen], day: WorkDay, start_cash: Decimal) -> None:
        self.day = day
        self.start_cash = Fraction(start_cash)
        self.trades = trades(actions, "USD")
        self.marks = sorted(marks, key=lambda seen: seen.at)
        self._marks = {name: [seen for seen in self.marks if seen.instrument == name] for name in {m.instrument for m in marks}}
        self.last_at = min(day.as_of, day.window_end - timedelta(microseconds=1))

    def mark(self, instrument: str, before: datetime, *, ended: bool = False) -> Seen | None:
        """The last mark before an instant; ``ended``: of a five-minute bucket that has ended by then."""
        edge = datetime.fromtimestamp(before.timestamp() // 300 * 300, before.tzinfo) if ended else before
        known = self._marks.get(instrument, [])
        place = bisect_left(known, edge, key=lambda seen: seen.at)
        return known[place - 1] if place else None

    def open(self, at: datetime, valued: datetime, *, ended: bool = False) -> list[tuple[Trade, Fraction, Amount, Seen | None]]:
        """What was held at an instant, with the marks it is valued with."""
        held = [(trade, *trade.held(at)) for trade in self.trades]
        return [(t, q, b, self.mark(t.instrument, valued, ended=ended)) for t, q, b in held if q > 0]

    @staticmethod
    def worth(trade: Trade, quantity: Fraction, seen: Seen | None) -> Amount:
        """Quantity at its mark."""
        return None if seen is None or trade.multiplier is None else Fraction(seen.price) * quantity * trade.multiplier

    def unrealized(self, at: datetime, valued: datetime, *, ended: bool = False) -> dict[str, Amount]:
        """Open result by position."""
        found: dict[str, Amount] = {}
        for trade, quantity, basis, seen in self.open(at, valued, ended=ended):
            worth = self.worth(trade, quantity, seen)
            found[trade.position_id] = None if worth is None or basis is None else trade.sign * (worth - basis)
        return found

    def equity(self, at: datetime, valued: datetime, *, ended: bool = False) -> Amount:
        """Start cash, everything realized, everything open."""
        parts: list[Amount] = [self.start_cash, *self.unrealized(at, valued, ended=ended).values()]
        for trade in self.trades:
            parts += trade.realized(None, at)
        return total(parts)

    def figures(self, at: datetime, valued: datetime, *, ended: bool = False) -> dict[str, Amount]:
        """All KPIs that depend on this book alone, as of an instant of the day."""
        day = self.day
        acts = [a for t in self.trades for a in t.actions if day.window_start <= a.executed_at <= at]
        before = day.window_start - timedelta(microseconds=1)
        closings = [part for trade in self.trades for part in trade.realized(before, at)]
        closed = [t for t in self.trades if t.closed_at is not None and day.window_start <= t.closed_at <= at]
        results = [total(trade.realized(None, at)) for trade in closed]
        opened = self.open(at, valued, ended=ended)
        worths = [self.worth(t, q, seen) for t, q, _, seen in opened]
        equity, earlier = self.equity(at, valued, ended=ended), self.equity(day.previous_close, day.previous_close)
        daily = None if equity is None or earlier is None else equity - earlier
        ages = [
            None if seen is None else Fraction(int((valued - seen.at) / timedelta(microseconds=1)), 10**6) for *_, seen in opened
        ]
        holds = [
            Fraction(int((t.closed_at - t.actions[0].executed_at) / timedelta(microseconds=1)), 10**6)  # type: ignore[operator]
            for t in closed
        ]
        return {
            "Daily PnL": daily,
            "Realized PnL": total(closings),
            "Unrealized PnL": total(list(self.unrealized(at, valued, ended=ended).values())),
            "Total PnL": None if equity is None else equity - self.start_cash,
            "Equity": equity,
            "Daily return": None if daily is None or earlier is None or earlier <= 0 else 100 * daily / earlier,
            **_results(closings, results),
            **{
                name: Fraction(sum(a.action_type == word for a in acts))
                for name, word in (
                    ("Entries opened", "ENTRY"), ("Add entries", "ADD_ENTRY"), ("Trims taken", "TRIM"), ("Exits closed", "EXIT"),
                )
            },
            "Open positions": Fraction(len(opened)),
            "Gross exposure": total([None if w is None else abs(w) for w in worths]),
            "Net exposure": total([None if w is None else row[0].sign * w for row, w in zip(opened, worths, strict=True)]),
            "Traded value": total([None if a.value is None else abs(Fraction(a.value)) for a in acts]),
            "Fees paid": total([None if a.fees is None else Fraction(a.fees) for a in acts]),
            "Avg hold time": sum(holds, Fraction(0)) / len(holds) if holds else None,
            "Liquidity drag": total([_drag(t, q, seen) for t, q, _, seen in opened]),
            "Oldest mark age": None if not ages or None in ages else max(ages),  # type: ignore[type-var]
        }  # fmt: skip

    def is_stale(self, at: datetime) -> str:
        """The source of a point that needs marks."""
        opened = self.open(at, at, ended=True)
        if not opened:
            return "ledger"
        return "live" if all(seen is not None and at - seen.at <= timedelta(minutes=15) for *_, seen in opened) else "stale"


def _results(closings: list[Amount], results: list[Amount]) -> dict[str, Amount]:
    gains = None if None in closings else sum((c for c in closings if c and c > 0), Fraction(0))
    losses = None if None in closings else -sum((c for c in closings if c and c < 0), Fraction(0))
    known = [] if None in results else [result for result in results if result is not None]
    wins, defeats = [r for r in known if r > 0], [r for r in known if r < 0]
    return {
        "Win rate": Fraction(100 * len(wins), len(wins) + len(defeats)) if wins or defeats else None,
        "Profit factor": gains / losses if gains is not None and losses else None,
        "Expectancy": sum(known, Fraction(0)) / len(known) if known else None,
        "Avg win": sum(wins, Fraction(0)) / len(wins) if wins else None,
        "Avg loss": sum(defeats, Fraction(0)) / len(defeats) if defeats else None,
    }


def _drag(trade: Trade, quantity: Fraction, seen: Seen | None) -> Amount:
    if seen is None or seen.bid is None or seen.ask is None or trade.multiplier is None:
        return None
    mid = (Fraction(seen.bid) + Fraction(seen.ask)) / 2
    gap = mid - Fraction(seen.bid) if trade.sign > 0 else Fraction(seen.ask) - mid
    return gap * quantity * trade.multiplier


def rounded(value: Amount, digits: int) -> Decimal | None:
    """Half to even, exactly."""
    if value is None:
        return None
    with localcontext() as context:
        context.prec = 60
        return Decimal(round(value * 10**digits)).scaleb(-digits).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)
