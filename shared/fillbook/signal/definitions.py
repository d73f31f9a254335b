"""The words of the rules as pure functions of prices and scores: corridor, rr, completion, late, regime, triggers, flips.

Each is one row of specification 3.2. ``long`` says the side (True LONG, False SHORT), so that long and short are the same
formula read in two directions. Ratios are rounded before they are compared: rr and completion to 4 decimals, percentages to
4 decimals as well, so that a stored value always agrees with the outcome stored beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final

from fillbook.signal.model import LONG, SHORT, Receipt
from fillbook.signal.profile import Corridor, Late, Profile
from fillbook.signal.sessions import HOUR_MS, MINUTE_MS, session_date

ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)
HUNDRED: Final = Decimal(100)
FOUR_PLACES: Final = Decimal("0.0001")
PRICE_PLACES_MIN: Final = 2

ACTIVE: Final = "ACTIVE"
COMPLETED: Final = "COMPLETED"
INVALIDATED: Final = "INVALIDATED"

NAMED_TRIGGERS: Final = ("EMA_CROSS", "SQUEEZE_RELEASE")

# Flip points (3.2). They are part of the definition, not of the profile, which holds only how many points count.
_FLIP_HTF: Final = ((Decimal(20), 20), (Decimal(15), 15), (Decimal(10), 10))
_FLIP_COMPLETION: Final = ((Decimal("0.15"), 20), (Decimal("0.25"), 15), (Decimal("0.35"), 10))
_FLIP_PHASE: Final = ((Decimal("0.35"), 15), (Decimal("0.5"), 10))
_FLIP_NEAR: Final = Decimal(5)
_FLIP_OLDEST_MS: Final = 60 * MINUTE_MS


def side_of(state: str) -> str:
    """LONG for HTF_BULL, SHORT for HTF_BEAR."""
    return LONG if state.startswith("HTF_BULL") else SHORT


def in_corridor(long: bool, htf: Decimal, ltf: Decimal, corridor: Corridor) -> bool:
    """Whether the blends lie in the corridor of this side; a blend of exactly 0 belongs to no side."""
    low, high = corridor.long if long else corridor.short
    return (htf > 0 if long else htf < 0) and low <= ltf <= high


def reward_risk(long: bool, price: Decimal, sl: Decimal | None, tp_max: Decimal | None, cap: Decimal) -> Decimal | None:
    """Distance to the farthest target over distance to the stop, capped; unknown unless both are positive."""
    if sl is None or tp_max is None:
        return None
    gain, risk = (tp_max - price, price - sl) if long else (price - tp_max, sl - price)
    if gain <= 0 or risk <= 0:
        return None
    ratio = (gain / risk).quantize(FOUR_PLACES)
    return min(ratio, cap)


def completion_of(
    long: bool, price: Decimal, anchor: Decimal | None, tp_max: Decimal | None, sent: Decimal | None
) -> Decimal | None:
    """How much of the way anchor → tp_max is done, 0..1, never negative; the sender's figure when the way is unknown.

    Signed on purpose: a losing move is no progress, which the sender's completion cannot say.
    """
    if anchor is not None and tp_max is not None:
        way, done = (tp_max - anchor, price - anchor) if long else (anchor - tp_max, anchor - price)
        if way > 0:
            return ZERO if done <= 0 else ONE if done >= way else (done / way).quantize(FOUR_PLACES)
    return None if sent is None else sent.quantize(FOUR_PLACES)


def is_late(receipt: Receipt, late: Late) -> bool:
    """Whether the daily move is mature by zone or by phase; unknown is not late."""
    phase = receipt.phase_pct
    return receipt.phase_zone in late.zones or (phase is not None and phase >= late.phase)


def daily_regime_against(long: bool, receipt: Receipt) -> bool:
    """Whether price lies on the wrong side of the daily cloud; missing is fine."""
    return receipt.cloud_position == ("below" if long else "above")


def ichimoku_against(long: bool, receipt: Receipt) -> bool:
    """Whether daily **and** weekly Ichimoku are against the side; one of them alone is no break."""
    against = "below" if long else "above"
    return receipt.ichimoku_d == against and receipt.ichimoku_w == against


def trigger_age_ms(receipt: Receipt, side: str) -> int | None:
    """Age of a named trigger of this side (it may be negative); ``None`` when it is unnamed, undated or of the other side."""
    if receipt.trigger_ts is None or receipt.trigger_reason is None:
        return None
    if not _is_named(receipt.trigger_reason):
        return None
    if receipt.trigger_dir is not None and receipt.trigger_dir != ("BULL" if side == LONG else "BEAR"):
        return None
    return receipt.ts - receipt.trigger_ts


@lru_cache(maxsize=256)
def _is_named(reason: str) -> bool:
    return any(name in reason for name in NAMED_TRIGGERS)


def cycle_key(receipt: Receipt, side: str, corridor_since: int | None, config: Profile) -> str:
    """What makes two entries the same idea: (trigger_ts, else corridor_since, else session date; side).

    The kind is written into the key, so that a trigger and a corridor of the same minute stay two cycles.
    """
    if receipt.trigger_ts is not None:
        return f"trigger:{receipt.trigger_ts}:{side}"
    if corridor_since is not None:
        return f"corridor:{corridor_since}:{side}"
    return f"session:{session_date(receipt.ts, config.trading)}:{side}"


def adverse_pct(long: bool, reference: Decimal, price: Decimal) -> Decimal:
    """How far price stands against the side from ``reference``, in percent; 0 when it does not."""
    distance = reference - price if long else price - reference
    return (distance / reference * HUNDRED).quantize(FOUR_PLACES) if distance > 0 else ZERO


def gain_pct(long: bool, reference: Decimal, price: Decimal) -> Decimal:
    """Signed percent in favour of the side from ``reference``."""
    distance = price - reference if long else reference - price
    return (distance / reference * HUNDRED).quantize(FOUR_PLACES)


def is_through(long: bool, price: Decimal, target: Decimal) -> bool:
    """Whether price is at or through a target on the profit side."""
    return price >= target if long else price <= target


def is_beyond_stop(long: bool, price: Decimal, stop: Decimal) -> bool:
    """Whether price is at or beyond a stop."""
    return price <= stop if long else price >= stop


def move_status(
    long: bool, price: Decimal, anchor: Decimal | None, stop: Decimal | None, tp_max: Decimal | None, breach_pct: Decimal
) -> str:
    """State of the sender's move without an entry of ours: COMPLETED before INVALIDATED before ACTIVE."""
    # is_through and is_beyond_stop, written out: this is asked of every receipt
    if tp_max is not None and (price >= tp_max if long else price <= tp_max):
        return COMPLETED
    if stop is not None and (price <= stop if long else price >= stop):
        return INVALIDATED
    if anchor is not None and adverse_pct(long, anchor, price) >= breach_pct:
        return INVALIDATED
    return ACTIVE


def flip_points(
    long: bool,
    receipt: Receipt,
    completion: Decimal | None,
    corridor: Corridor,
    recent: Sequence[tuple[int, Decimal, Decimal]],
    buckets: Sequence[tuple[int, Decimal]],
) -> int:
    """Points of a complete setup receipt towards a flip; ``recent`` ends with this receipt."""
    htf, ltf = receipt.htf_score, receipt.ltf_score
    assert htf is not None
    assert ltf is not None
    strength = abs(htf)
    low, high = (corridor.long[0], ZERO) if long else (ZERO, corridor.short[1])
    points = 30 if low <= ltf <= high else 20 if low - _FLIP_NEAR <= ltf <= high + _FLIP_NEAR else 0
    points += next((value for floor, value in _FLIP_HTF if strength >= floor), 0)
    if completion is not None:
        points += next((value for ceiling, value in _FLIP_COMPLETION if completion < ceiling), 0)
    if receipt.phase_pct is not None:
        points += next((value for ceiling, value in _FLIP_PHASE if receipt.phase_pct < ceiling), 0)
    if receipt.flags is not None:
        points += 15 if "sq30_release" in receipt.flags else 10 if "sq30_on" in receipt.flags else 0
    oldest = next((bucket for bucket in buckets if bucket[0] >= receipt.ts - 4 * HOUR_MS), None)
    if oldest is not None and receipt.ts - oldest[0] >= _FLIP_OLDEST_MS and (htf > oldest[1]) == long and htf != oldest[1]:
        points += 10
    if abs(ltf) <= _FLIP_NEAR:
        points += 5
    for change in (htf - recent[0][1], ltf - recent[0][2]):
        if change > 0 if long else change < 0:
            points += 5
    return points


def price_step(price: Decimal) -> Decimal:
    """Rounding step of derived prices: as many decimals as the receipt's price has, at least 2 (trailing zeros do not count)."""
    exponent = price.normalize().as_tuple().exponent
    places = max(PRICE_PLACES_MIN, -exponent) if isinstance(exponent, int) else PRICE_PLACES_MIN
    return ONE.scaleb(-places)
