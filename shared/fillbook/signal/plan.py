"""The plan frozen at ENTRY: ATR, three targets, and the four rules by which its stop tightens (specification 4.4).

Distances are measured from our entry, because the multipliers a chart sends start at the previous close. Nothing that comes
later alters a plan; only the stop moves, and only towards the profit side. Trim quantities are shares of what was ever
opened, rounded down, so that rounding never closes more than a tier says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import combinations
from typing import Final

from fillbook.money import floor_to_step
from fillbook.signal.definitions import FOUR_PLACES, HUNDRED, ONE, gain_pct, price_step
from fillbook.signal.levels import Level, unpack
from fillbook.signal.model import LONG, Check, Plan, PositionFacts, Receipt, StopMove, Tier
from fillbook.signal.profile import Profile, TierRule
from fillbook.signal.sessions import MINUTE_MS

_ATR_TYPE: Final = "ATR_FIB"
_DAILY: Final = "D"
# Best level: weekly before daily before 4-hourly before any other, then the surer, the nearer, the label.
_TIME_FRAMES: Final = {"W": 0, "D": 1, "240": 2}
_OTHER_FRAME: Final = 3
_NO_CONFIDENCE: Final = Decimal(-1)
FALLBACK_SOURCE: Final = "atr"


def make_plan(
    receipt: Receipt, *, side: str, tp_max: Decimal, cycle: str, score: Decimal, rr: Decimal, confidence: Decimal, config: Profile
) -> Plan:
    """The plan of an entry at the receipt's price; stop and tp_max are known, the gate saw to that (G03)."""
    assert receipt.sl is not None
    long, entry, levels = side == LONG, receipt.price, unpack(receipt.levels)
    step = price_step(entry)
    atr = average_true_range(levels, entry, receipt.sl)
    trim, exit_, runner = (_tier(rule, levels, entry, atr, long, step) for rule in config.tiers)
    return Plan(
        entry=entry,
        side=side,
        stop=receipt.sl,
        anchor=entry if receipt.trigger_price is None else receipt.trigger_price,
        tp_max=tp_max,
        atr=atr,
        tiers=(trim, exit_, runner),
        cycle_key=cycle,
        score=score,
        rr=rr,
        confidence=confidence,
        sector=receipt.sector,
        profile=config.version,
        config_digest=config.digest,
        script_version=receipt.script_version,
    )


def average_true_range(levels: Sequence[Level], entry: Decimal, sl: Decimal) -> Decimal:
    """Median slope over pairs of daily ATR_FIB levels with different multipliers; else the distance to the stop; 4 decimals."""
    ladder = [
        (level.price, level.multiplier)
        for level in levels
        if level.type == _ATR_TYPE and level.timeframe == _DAILY and level.multiplier is not None
    ]
    slopes = [abs(p1 - p2) / abs(m1 - m2) for (p1, m1), (p2, m2) in combinations(ladder, 2) if m1 != m2]
    atr = _median(slopes) if slopes else abs(entry - sl)
    # A price of a few thousandths may round to no distance at all: then the unrounded stop distance is the better ruler.
    return atr.quantize(FOUR_PLACES) or abs(entry - sl)


def _median(values: Sequence[Decimal]) -> Decimal:
    """As ``statistics.median``, whose module costs every start more than these lines."""
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _tier(rule: TierRule, levels: Sequence[Level], entry: Decimal, atr: Decimal, long: bool, step: Decimal) -> Tier:
    low, high = rule.atr[0] * atr, rule.atr[1] * atr
    is_last = rule.cum == ONE
    found = []
    for level in levels:
        distance = level.price - entry if long else entry - level.price
        if low <= distance and (distance <= high if is_last else distance < high):
            frame = _TIME_FRAMES.get(level.timeframe or "", _OTHER_FRAME)
            sureness = _NO_CONFIDENCE if level.confidence is None else level.confidence
            found.append((frame, -sureness, distance, level.label, level.price))
    if found:
        *_, label, price = min(found)
        return Tier(name=rule.name, cum=rule.cum, price=price.quantize(step), source=label)
    distance = rule.fallback * atr
    price = entry + distance if long else entry - distance
    return Tier(name=rule.name, cum=rule.cum, price=price.quantize(step), source=FALLBACK_SOURCE)


def in_todays_units(position: PositionFacts) -> PositionFacts:
    """The position with plan and stop read in today's split-adjusted prices; itself when nothing was split since the entry."""
    factor, plan = position.split_factor, position.plan
    if factor == ONE or plan is None:
        return position
    tiers = [replace(tier, price=tier.price / factor) for tier in plan.tiers]
    scaled = replace(
        plan,
        entry=plan.entry / factor,
        stop=plan.stop / factor,
        anchor=plan.anchor / factor,
        tp_max=plan.tp_max / factor,
        atr=plan.atr / factor,
        tiers=(tiers[0], tiers[1], tiers[2]),
    )
    return replace(position, plan=scaled, stop=None if position.stop is None else position.stop / factor)


def trim_quantity(position: PositionFacts, tiers: int, config: Profile) -> Decimal:
    """What closes when the first ``tiers`` tiers are taken: base × cum − already closed, rounded down; 0 or less: too small."""
    assert position.plan is not None
    closed = position.base_quantity - position.quantity
    wanted = position.base_quantity * position.plan.tiers[tiers - 1].cum - closed
    return floor_to_step(wanted, config.instruments.quantity_step) if wanted > 0 else Decimal(0)


def tighten(
    receipt: Receipt, position: PositionFacts, progress: Decimal | None, last_trail_ts: int | None, config: Profile
) -> tuple[StopMove | None, tuple[Check, ...]]:
    """The stop move after this receipt's bookings, if any, and the rules that offered a candidate.

    ``position`` is as booked, in units of the entry; ``progress`` is its completion. The move acts from the next receipt on.
    """
    held = in_todays_units(position)
    plan, stop, rules = held.plan, held.stop, config.stop
    if plan is None or stop is None:
        return None, ()
    long, price = plan.side == LONG, receipt.price
    step = price_step(price)
    # Kept off the price by rounding away from it: half to even could end a hair too near.
    keep_off = price * rules.keep_off_price_pct / HUNDRED
    edge = price - keep_off if long else price + keep_off
    edge = edge.quantize(step, rounding=ROUND_FLOOR if long else ROUND_CEILING)
    best: tuple[str, Decimal] | None = None
    checks = []
    for rule, wanted in _candidates(receipt, held, plan, progress, last_trail_ts, config):
        candidate = wanted.quantize(step)
        candidate = min(candidate, edge) if long else max(candidate, edge)
        gain = candidate - stop if long else stop - candidate
        holds = gain > 0 and gain >= plan.entry * rules.min_step_pct / HUNDRED
        checks.append(Check(rule, candidate, "tightens", stop, holds))
        if holds and (best is None or (candidate > best[1] if long else candidate < best[1])):
            best = (rule, candidate)
    if best is None:
        return None, tuple(checks)
    move = StopMove(
        position_id=position.position_id,
        ts=receipt.ts,
        old_stop=stop,
        new_stop=best[1],
        stored_stop=best[1] * position.split_factor,
        rule=best[0],
    )
    return move, tuple(checks)


def _candidates(
    receipt: Receipt, held: PositionFacts, plan: Plan, progress: Decimal | None, last_trail_ts: int | None, config: Profile
) -> Iterator[tuple[str, Decimal]]:
    rules, long, price = config.stop, plan.side == LONG, receipt.price
    taken = held.tiers_taken
    may_trail = last_trail_ts is None or receipt.ts - last_trail_ts >= rules.cooldown_min * MINUTE_MS
    if taken >= 1:
        yield "S1", held.vwap
    if taken >= 2:
        yield "S2", plan.tiers[0].price
    if taken and may_trail and plan.tiers[taken - 1].cum >= rules.trail_from_cum:
        distance = rules.trail_atr * plan.atr
        yield "S3", price - distance if long else price + distance
    if not taken and may_trail:
        done = progress is not None and progress >= rules.be_at_completion
        if done or gain_pct(long, held.vwap, price) >= rules.be_at_pct:
            cloud = receipt.cloud_lower if long else receipt.cloud_upper
            better = cloud is not None and (cloud > held.vwap if long else cloud < held.vwap)
            yield "S4", cloud if better and cloud is not None else held.vwap


# The rules whose moves wait for each other (stop.cooldown_min); S1 and S2 follow a trim at once.
TRAILING_RULES: Final = frozenset({"S3", "S4"})
