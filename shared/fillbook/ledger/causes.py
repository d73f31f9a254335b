"""Why a break is there: a table of causes, tried in the order of the specification (11), first match wins.

What the room knows wins over everything here. A cause is a statement about evidence, never a repair: a reconciler books
nothing. Pure: evidence comes in as values, the difference looked for is ``Finding.gap`` (broker less book).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, localcontext
from fractions import Fraction

from fillbook.ledger.matching import MONEY_TOLERANCE, Finding
from fillbook.ledger.model import Direction
from fillbook.ledger.statement import EVERYTHING, POSITION_KINDS, BreakKind
from fillbook.money import CONTEXT, ZERO
from fillbook.values import frozen

_WHOLE_RATIOS = (2, 3, 4, 5, 10, 15, 20, 25, 50)
SPLIT_RATIOS = frozenset(ratio for whole in (*_WHOLE_RATIOS, Fraction(3, 2)) for ratio in (Fraction(whole), 1 / Fraction(whole)))
SPLIT_PRICE_TOLERANCE = Decimal("0.01")
QUANTITY_ROUNDING = Decimal("0.0001")
QUANTITY_ROUNDING_SHARE = Decimal("0.001")
PRICE_ROUNDING_SHARE = Decimal("0.001")
EXECUTION_ROUNDING = Decimal("0.005")

CAUSES: Mapping[str, str] = {
    "parked_fill": "a fact we hold but could not book explains the difference",
    "fees_unknown": "fees of executions behind this figure are not known yet",
    "correction_pending": "a newer revision was received but could not be booked",
    "split_unentered": "the quantities differ by the ratio of a split that nobody has entered",
    "late_fill": "an execution within 10 minutes of the statement explains the difference",
    "before_history": "the position is older than the book's first fill",
    "duplicate": "one booked fill explains the difference: it may be booked twice",
    "rounding": "the broker rounds more coarsely than the book",
    "unexplained": "nothing we hold explains the difference",
}
"""Every cause of ours in plain words; the runbook says what to do. A room's own slugs are kept as they come."""


@frozen
class Candidate:
    """A fill as an explanation: signed quantity and the money it moved (None: unknown). ``is_revision``: not its first."""

    instruments: frozenset[str]
    direction: Direction | None
    currency: str
    quantity: Decimal
    cash: Decimal | None = None
    realized: Decimal | None = None
    executed_at: datetime
    is_revision: bool = False

    def amount(self, kind: BreakKind) -> Decimal | None:
        """What it does to a figure of this kind; None: nothing that could be compared."""
        if kind in POSITION_KINDS:
            return self.quantity
        return self.cash if kind is BreakKind.CASH else self.realized if kind is BreakKind.REALIZED_PNL else None


class Candidates:
    """Fills by what they touch, so that thousands of findings look at their own alone."""

    def __init__(self, found: Iterable[Candidate] = ()) -> None:
        """Keep the order given."""
        self._by_instrument: dict[str, list[Candidate]] = {}
        self._by_currency: dict[str, list[Candidate]] = {}
        for one in found:
            self._by_currency.setdefault(one.currency, []).append(one)
            for instrument in one.instruments:
                self._by_instrument.setdefault(instrument, []).append(one)

    def concerning(self, finding: Finding) -> list[Candidate]:
        """Those that touch what the finding is about: its currency for cash and whole-currency figures, else its position."""
        key = finding.key
        if key.kind is BreakKind.CASH or not key.instrument:
            return self._by_currency.get(key.currency, [])
        return [one for one in self._by_instrument.get(key.instrument, ()) if key.direction in (None, one.direction)]


NO_CANDIDATES = Candidates()


@frozen
class Evidence:
    """What the book holds that may explain a finding: parked facts, executions around ``as_of``, booked twins."""

    as_of: datetime
    parked: Candidates = NO_CANDIDATES
    near: Candidates = NO_CANDIDATES
    twins: Candidates = NO_CANDIDATES
    first_fill_at: datetime | None = None


def cause_of(finding: Finding, evidence: Evidence, known_causes: Mapping[str, str]) -> str:
    """The cause of a finding: the room's own where it knows one, else the first of the table that holds."""
    for name in (finding.key.instrument, EVERYTHING):
        if name in known_causes:
            return known_causes[name]
    with localcontext(CONTEXT):
        return next(slug for slug, holds in _TABLE if holds(finding, evidence))


def _parked(finding: Finding, evidence: Evidence) -> bool:
    """One parked fact, or all of them together, are what the broker has and we have not."""
    candidates = [one for one in evidence.parked.concerning(finding) if one.executed_at <= evidence.as_of]
    return _explains(finding, candidates, sign=1)


def _fees_unknown(finding: Finding, _: Evidence) -> bool:
    return finding.fees_unknown


def _correction_pending(finding: Finding, evidence: Evidence) -> bool:
    return any(one.is_revision for one in evidence.parked.concerning(finding))


def _split_unentered(finding: Finding, _: Evidence) -> bool:
    """The ratio is one of a split; where both sides know an average price, it must have moved the other way."""
    if finding.key.kind is not BreakKind.POSITION_QUANTITY or not finding.expected:
        return False
    ratio = Fraction(finding.actual) / Fraction(finding.expected)
    if ratio not in SPLIT_RATIOS:
        return False
    stated = None if finding.stated is None else finding.stated.average_price
    if finding.held is None or finding.held.vwap is None or stated is None:
        return True
    scaled = finding.held.vwap * ratio.denominator / ratio.numerator
    return abs(stated - scaled) <= SPLIT_PRICE_TOLERANCE * abs(scaled)


def _late_fill(finding: Finding, evidence: Evidence) -> bool:
    """The broker drew its line a little beside ``as_of``: executions before it are missing there, or later ones are in."""
    near = sorted(evidence.near.concerning(finding), key=lambda one: one.executed_at)
    before = [one for one in reversed(near) if one.executed_at <= evidence.as_of]
    after = [one for one in near if one.executed_at > evidence.as_of]
    return _explains(finding, before, sign=-1, runs=True) or _explains(finding, after, sign=1, runs=True)


def _before_history(finding: Finding, evidence: Evidence) -> bool:
    if finding.key.kind not in POSITION_KINDS or finding.stated is None or not finding.actual:
        return False
    if evidence.first_fill_at is None:
        return True
    return finding.stated.opened_at is not None and finding.stated.opened_at < evidence.first_fill_at


def _duplicate(finding: Finding, evidence: Evidence) -> bool:
    twins = evidence.twins.concerning(finding)
    return any(_equals(finding, one.amount(finding.key.kind), -1) for one in twins)


def _rounding(finding: Finding, _: Evidence) -> bool:
    kind, size = finding.key.kind, abs(finding.gap)
    largest = max(abs(finding.actual), abs(finding.expected or ZERO))
    if kind in POSITION_KINDS:
        return size < QUANTITY_ROUNDING and size < QUANTITY_ROUNDING_SHARE * largest
    if kind is BreakKind.AVERAGE_PRICE:
        return size <= PRICE_ROUNDING_SHARE * largest
    # each execution may have been rounded to a cent on its own
    return size <= MONEY_TOLERANCE + EXECUTION_ROUNDING * finding.executions


def _unexplained(_: Finding, __: Evidence) -> bool:
    return True


Holds = Callable[[Finding, Evidence], bool]
_HOLDS: tuple[Holds, ...] = (
    _parked,
    _fees_unknown,
    _correction_pending,
    _split_unentered,
    _late_fill,
    _before_history,
    _duplicate,
    _rounding,
    _unexplained,
)
_TABLE: tuple[tuple[str, Holds], ...] = tuple(zip(CAUSES, _HOLDS, strict=True))


def _explains(finding: Finding, candidates: Sequence[Candidate], *, sign: int, runs: bool = False) -> bool:
    """Whether one candidate, or their sum (``runs``: that of the first ones, however many), makes the difference."""
    found = [one.amount(finding.key.kind) for one in candidates]
    if any(_equals(finding, amount, sign) for amount in found):
        return True
    sums = list(_sums(found))
    return any(_equals(finding, total, sign) for total in (sums if runs else sums[-1:]))


def _sums(parts: Iterable[Decimal | None]) -> Iterator[Decimal | None]:
    total: Decimal | None = ZERO
    for part in parts:
        total = None if total is None or part is None else total + part
        yield total


def _equals(finding: Finding, amount: Decimal | None, sign: int) -> bool:
    if amount is None:
        return False
    tolerance = ZERO if finding.key.kind in POSITION_KINDS else MONEY_TOLERANCE
    return bool(amount) and abs(finding.gap - sign * amount) <= tolerance
