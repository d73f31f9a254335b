"""A book as beancount text (3.x) that ``bean-check`` accepts, with our balances and our realized figures, written out.

A lot is held at its total cost, our basis, under its lot_id; a reduction names the lot, so beancount finds the cost itself
and refuses a realized figure that does not follow. Amounts have 8 decimals, so its tolerance is half of our last digit;
what a lot's parts, rounded one by one, miss of their exact share goes to ``Equity:<Book>:Rounding``, in view.
A split takes a lot out and puts it in again at unchanged total cost. What margin finances (``cash_style``) stands in
``Liabilities:<Book>:Margin``; a hedging book holds long and short apart. Positions that beancount cannot hold are left out
and listed: fees or contract size unknown, a basis below zero. Pure; the steps come from ``walk.py``.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, localcontext

from fillbook.ledger.ids import instant_text
from fillbook.ledger.legs import Leg
from fillbook.ledger.model import Action, Book, Direction, Fill, Lot, Netting, Position, PositionStatus
from fillbook.ledger.steps import SplitStep, Step
from fillbook.money import CONTEXT, ZERO, plain

PRECISION = 28
"""Digits that beancount computes with: the cost per unit of a lot is its total cost divided with these."""
TOLERANCE = Decimal("4e-9")
_ROUNDING_STEP = Decimal("1e-14")
_NAME_LENGTH_MAX = 30
_RESERVED = frozenset({"TRUE", "FALSE", "NULL"})
_DAY_ZERO = date(1970, 1, 1)


@dataclass(slots=True)
class Survey:
    """What has to be known before the first line: names, currencies, the first day, and what is left out and why."""

    tickers: dict[str, str] = field(default_factory=dict)
    currencies: set[str] = field(default_factory=set)
    left_out: dict[str, tuple[str, str]] = field(default_factory=dict)
    first_day: date | None = None
    has_margin: bool = False

    @property
    def commodities(self) -> dict[str, str]:
        """Instrument -> its name in beancount: the ticker as far as it can be one, with a digest where two would be one."""
        plainly = {instrument: _commodity(ticker) for instrument, ticker in self.tickers.items()}
        times = Counter(plainly.values())
        return {
            instrument: name
            if times[name] == 1 and name not in self.currencies | _RESERVED
            else f"{name}-{hashlib.sha256(instrument.encode()).hexdigest()[:8].upper()}"
            for instrument, name in plainly.items()
        }


def survey(steps: Iterable[Step]) -> Survey:
    """Look at every step once."""
    found = Survey()
    for step in steps:
        if isinstance(step, SplitStep):
            continue
        fill = step.fill
        found.tickers.setdefault(fill.instrument, fill.ticker)
        found.currencies.add(fill.currency)
        found.has_margin = found.has_margin or fill.cash_style == "margin"
        if found.first_day is None or fill.session_date < found.first_day:
            found.first_day = fill.session_date
        for leg in step.legs:
            reason = _unfit(leg)
            if reason is not None:
                found.left_out.setdefault(leg.action.position_id, (fill.instrument, reason))
    return found


def _unfit(leg: Leg) -> str | None:
    action = leg.action
    if action.value is None:
        return "contract size unknown"
    if action.fees is None:
        return "fees unknown"
    if not action.closings and leg.lots[0].basis is not None and leg.lots[0].basis < 0:
        return "basis below zero"
    return None


def _commodity(ticker: str) -> str:
    name = re.sub(r"[^A-Z0-9._-]", "-", ticker.upper())[:_NAME_LENGTH_MAX].strip("._-")
    return name if name[:1].isalpha() else f"X-{name}".rstrip("-")


@dataclass(slots=True)
class _Held:
    """An open lot as beancount holds it: its label's day, and its cost per unit with beancount's digits."""

    day: date
    unit_cost: Decimal


class Journal:
    """The text of one book, made line by line from the steps; holds the open lots only."""

    def __init__(self, book: Book, seen: Survey) -> None:
        """``seen`` is the survey of the same steps."""
        self._book = book
        self._seen = seen
        self._commodities = seen.commodities
        name = re.sub(r"[^A-Za-z0-9-]", "-", book.book_id)
        self._name = name[:1].upper() + name[1:]
        self._held: dict[str, _Held] = {}
        self._days: dict[str, date] = {}

    def text(self, steps: Iterable[Step]) -> Iterator[str]:
        """The whole file, a few lines at a time."""
        yield from self._head()
        for step in steps:
            if isinstance(step, SplitStep):
                yield from self._split(step)
                continue
            for leg in step.legs:
                if leg.action.position_id not in self._seen.left_out:
                    yield self._executed(step.fill, leg)

    def _head(self) -> Iterator[str]:
        book, seen, name = self._book, self._seen, self._name
        day = seen.first_day or _DAY_ZERO
        yield f'option "title" {_quoted(book.book_id)}\n'
        for currency in sorted({*seen.currencies, book.base_currency}):
            yield f'option "operating_currency" "{currency}"\n'
        for currency in sorted(seen.currencies):
            # a transaction without amounts of its own (a split) is held to the same half digit
            yield f'option "inferred_tolerance_default" "{currency}:0.000000005"\n'
        for position_id, (instrument, reason) in sorted(seen.left_out.items()):
            yield f"; left out: position {position_id} of {_comment(instrument)}: {reason}\n"
        accounts = [f'{account} "STRICT"' for account in self._positions_accounts()]
        accounts += [f"Assets:{name}:Cash", f"Income:{name}:Realized", f"Equity:{name}:Rounding"]
        accounts += [f"Liabilities:{name}:Margin"] if seen.has_margin else []
        accounts += [f"Equity:{name}:Opening"] if book.start_cash else []
        for account in accounts:
            yield f"{day} open {account}\n  book_id: {_quoted(book.book_id)}\n"
        for instrument, commodity in sorted(self._commodities.items()):
            yield f"{day} commodity {commodity}\n  instrument: {_quoted(instrument)}\n"
        if book.start_cash:
            amount = f"{book.start_cash:.8f} {book.base_currency}"
            yield f'{day} * "start cash"\n  Assets:{name}:Cash  {amount}\n  Equity:{name}:Opening\n'

    def _positions_accounts(self) -> list[str]:
        root = f"Assets:{self._name}:Positions"
        return [root] if self._book.netting is Netting.NET else [f"{root}:Long", f"{root}:Short"]

    def _account_of(self, direction: Direction) -> str:
        return self._positions_accounts()[-1 if direction is Direction.SHORT else 0]

    def _day(self, instrument: str, wanted: date) -> date:
        """The session date, and never before the step before: beancount sorts by day."""
        day = self._days[instrument] = max(wanted, self._days.get(instrument, wanted))
        return day

    def _executed(self, fill: Fill, leg: Leg) -> str:
        action, name = leg.action, self._name
        sign = 1 if action.direction is Direction.LONG else -1
        day = self._day(action.instrument, fill.session_date)
        title = f"{action.action_type} {action.direction} {plain(action.quantity)} @ {plain(action.price)}"
        lines = [
            f"{day} * {_quoted(action.ticker)} {_quoted(title)}",
            f'  action_id: "{action.action_id}"',
            f'  executed_at: "{instant_text(action.executed_at)}"',
        ]
        is_margin = fill.cash_style == "margin"
        financed = ZERO
        if action.closings:
            residue = ZERO
            for closing in action.closings:
                residue += self._residue(closing.lot_id, sign * closing.quantity, sign * (closing.lot_basis or ZERO))
                lines.append(self._out(action, closing.lot_id, sign * closing.quantity))
                financed += sign * (closing.lot_value or ZERO)
            lines.append(f"  Income:{name}:Realized  {-(action.realized_pnl or ZERO):.8f} {action.currency}")
            lines += self._rounding(residue, action.currency)
        else:
            lot = leg.lots[0]
            lines.append(self._in(action.instrument, action.direction, lot, action.currency, day))
            financed = -sign * (action.value or ZERO)
        if is_margin:
            lines.append(f"  Liabilities:{name}:Margin  {financed:.8f} {action.currency}")
        lines.append(f"  Assets:{name}:Cash  {action.cash_effect or ZERO:.8f} {action.currency}")
        for lot in leg.lots:
            if lot.status is not PositionStatus.OPEN:
                self._held.pop(lot.lot_id, None)
        return "\n".join(lines) + "\n"

    def _split(self, step: SplitStep) -> Iterator[str]:
        split = step.split
        for before, after in zip(step.before, step.after, strict=True):
            if before.position_id in self._seen.left_out:
                continue
            sign = 1 if before.direction is Direction.LONG else -1
            day = self._day(split.instrument, split.effective_at.date())
            lines = [f'{day} * {_quoted(before.ticker)} "split {split.ratio_num}:{split.ratio_den}"']
            residue = ZERO
            for old, new in zip(before.lots, after.lots, strict=True):
                opened = self._held[old.lot_id].day
                residue += self._residue(old.lot_id, sign * old.quantity_open, sign * (old.basis_open or ZERO))
                lines.append(self._out(before, old.lot_id, sign * old.quantity_open))
                lines.append(self._in(split.instrument, before.direction, new, before.currency, opened))
            yield "\n".join([*lines, *self._rounding(residue, before.currency)]) + "\n"

    def _in(self, instrument: str, direction: Direction, lot: Lot, currency: str, day: date) -> str:
        """The posting that puts a lot in at its total cost."""
        cost = lot.basis_open or ZERO
        with localcontext(CONTEXT) as context:
            context.prec = PRECISION
            self._held[lot.lot_id] = _Held(day, cost / lot.quantity_open)
        units = lot.quantity_open if direction is Direction.LONG else -lot.quantity_open
        label = f'{{{{{cost:.8f} {currency}, {day}, "{lot.lot_id}"}}}}'
        return f"  {self._account_of(direction)}  {plain(units)} {self._commodities[instrument]} {label}"

    def _out(self, of: Action | Position, lot_id: str, units: Decimal) -> str:
        """The posting that takes signed units out of a lot."""
        label = f'{{{of.currency}, "{lot_id}"}}'
        return f"  {self._account_of(of.direction)}  {plain(-units)} {self._commodities[of.instrument]} {label}"

    def _residue(self, lot_id: str, units: Decimal, basis: Decimal) -> Decimal:
        """What beancount's share of a lot's cost misses of ours, both signed."""
        with localcontext(CONTEXT):
            return basis - units * self._held[lot_id].unit_cost

    def _rounding(self, residue: Decimal, currency: str) -> list[str]:
        if abs(residue) <= TOLERANCE:
            return []
        return [f"  Equity:{self._name}:Rounding  {-residue.quantize(_ROUNDING_STEP):f} {currency}"]


def _quoted(text: str) -> str:
    inert = "".join(sign if sign.isprintable() else " " for sign in text)
    return '"' + inert.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _comment(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)
