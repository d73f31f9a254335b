"""The score of a complete receipt, 0..100 (specification 3.3).

A sum of parts, each a table or one formula, of one receipt alone: there is no rank among tickers anywhere, for a lane must
be a function of one ticker. A missing input gives 0 points and is counted in the data part.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Final

from fillbook.money import CONTEXT
from fillbook.signal.definitions import COMPLETED, INVALIDATED, ZERO
from fillbook.signal.model import Receipt

TWO_PLACES: Final = Decimal("0.01")
_HUNDRED: Final = Decimal(100)

# (from, at most, factor) of the two blends.
_HTF: Final = ((Decimal(25), Decimal(10), Decimal("0.4")), (Decimal(15), Decimal(7), Decimal("0.35")))
_HTF_ELSE: Final = (Decimal(4), Decimal("0.25"))
_LTF: Final = ((Decimal(20), Decimal(10), Decimal("0.3")), (Decimal(12), Decimal(6), Decimal("0.25")))
_LTF_ELSE: Final = (Decimal(3), Decimal("0.2"))
_RR: Final = ((Decimal(2), 10), (Decimal("1.5"), 7), (Decimal("1.2"), 4))
_COMPLETION: Final = ((Decimal("0.2"), 15), (Decimal("0.4"), 10), (Decimal("0.6"), 5))
_PHASE_EARLY: Final = Decimal("0.3")
_PHASE_LATE: Final = Decimal("0.5")
_PHASE_COST: Final = Decimal(30)
_STATUS: Final = {INVALIDATED: -25, COMPLETED: -15}
_BOOST_MAX: Final = Decimal(5)

# Share of 12 fields present: 12 of 12 is >= 95 %; 11 is < 95 %; 10 and 9 are < 85 %; 8 and fewer are < 70 %.
_DATA: Final = (0, -2, -5, -5, -10, -10, -10, -10, -10)


def _alignment_table() -> dict[tuple[int, int], Decimal]:
    """Points by (g × sum of signs, known frames): 10a when a > 0, else 8a."""
    with_side, against = Decimal(10), Decimal(8)
    return {
        (total, count): CONTEXT.divide((with_side if total > 0 else against) * total, Decimal(count))
        for count in range(1, 7)
        for total in range(-count, count + 1)
    }


_ALIGNMENT: Final = _alignment_table()


def score_of(receipt: Receipt, *, long: bool, rr: Decimal | None, completion: Decimal | None, status: str) -> Decimal:
    """Score of a complete receipt with its derived rr, completion and move status; 2 decimals."""
    points = 30 + (4 if receipt.state is not None and receipt.state.endswith("PULLBACK") else 12)
    points += _flag_points(receipt.flags) + _STATUS.get(status, 0) + _DATA[_missing(receipt)]
    if rr is not None:
        for floor, value in _RR:
            if rr >= floor:
                points += value
                break
    if completion is not None:
        for ceiling, value in _COMPLETION:
            if completion <= ceiling:
                points += value
                break
    points += _trigger_points(receipt.triggers, long)
    if receipt.divergence in ("bullish", "bearish"):
        points += 4 if (receipt.divergence == "bullish") == long else -4
    total = _blend(receipt.htf_score, _HTF, _HTF_ELSE) + _blend(receipt.ltf_score, _LTF, _LTF_ELSE) + points
    phase = receipt.phase_pct
    if phase is not None:
        if phase <= _PHASE_EARLY:
            total += 3
        elif phase > _PHASE_LATE:
            total -= _PHASE_COST * (phase - _PHASE_LATE)
    if receipt.stack_count:
        total += _ALIGNMENT[receipt.stack_sum if long else -receipt.stack_sum, receipt.stack_count]
    if receipt.td_boost:
        total += max(-_BOOST_MAX, min(_BOOST_MAX, receipt.td_boost))
    return max(ZERO, min(_HUNDRED, total)).quantize(TWO_PLACES)


@lru_cache(maxsize=4096)
def _flag_points(flags: frozenset[str] | None) -> int:
    """Points of the flags; few sets of them ever occur."""
    flags = flags or frozenset()
    points = 15 * ("momentum_elite" in flags) + 5 * ("ema_cross_1h_13_48" in flags) + 7 * ("buyable_dip_1h_13_48" in flags)
    return points + 2 * ("phase_zone_change" in flags) + (12 if "sq30_release" in flags else 4 if "sq30_on" in flags else 0)


def _missing(receipt: Receipt) -> int:
    """How many of the 12 fields of the data part are absent; price, state, htf and ltf are there in a complete receipt."""
    return (
        (receipt.phase_pct is None)
        + (receipt.phase_zone is None)
        + (receipt.sl is None)
        + (receipt.levels is None)
        + (receipt.trigger_ts is None)
        + (receipt.trigger_price is None)
        + (receipt.trigger_reason is None)
        + (receipt.flags is None)
    )


@lru_cache(maxsize=4096)
def _trigger_points(triggers: tuple[int, int, int], long: bool) -> int:
    bull, bear, neutral = triggers
    with_side, against = (bull, bear) if long else (bear, bull)
    return max(-6, min(18, 5 * with_side + 2 * neutral - 5 * against))


def _blend(
    value: Decimal | None, bands: tuple[tuple[Decimal, Decimal, Decimal], ...], otherwise: tuple[Decimal, Decimal]
) -> Decimal:
    if value is None:
        return ZERO
    size = abs(value)
    for floor, most, factor in bands:
        if size >= floor:
            return min(most, factor * size)
    most, factor = otherwise
    return min(most, factor * size)
