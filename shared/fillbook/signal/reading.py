"""What one complete receipt says, read in the light of what was observed of the ticker before.

``read`` turns a receipt into a ``Reading``: every definition of specification 3.2 that the lanes, the paths and the gate
compare, computed once, and the ``Market`` memory after it. Changes (into the corridor, into momentum) count only when they
were seen between two complete receipts; the first one proves nothing. It decides nothing.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

from fillbook.signal import definitions as define
from fillbook.signal.model import LONG, STATES, Market, Plan, Receipt, new
from fillbook.signal.profile import Profile
from fillbook.signal.scoring import score_of
from fillbook.signal.sessions import HOUR_MS, MINUTE_MS

RECENT_MAX: Final = 6
BUCKET_MS: Final = 5 * MINUTE_MS
BUCKETS_SPAN_MS: Final = 4 * HOUR_MS


# What a state says: its side, whether that is LONG, and whether it is a momentum (else a setup).
_MEANING: Final = {
    state: (define.side_of(state), define.side_of(state) == LONG, not state.endswith("PULLBACK")) for state in STATES
}


class Reading(NamedTuple):
    """One complete receipt, read. ``column`` names the gate's column: base, boosted or elite."""

    side: str
    long: bool
    momentum: bool
    elite: bool
    corridor: bool
    tp_max: Decimal | None
    rr: Decimal | None
    completion: Decimal | None
    late: bool
    regime_ok: bool
    trigger_age: int | None
    triggered: bool
    flip_points: int | None
    flip_watch: bool
    status: str
    score: Decimal
    column: str
    released: bool
    market: Market


def is_complete(receipt: Receipt) -> bool:
    """Whether state and both blends are present: all rules may run."""
    return receipt.state is not None and receipt.htf_score is not None and receipt.ltf_score is not None


def read(receipt: Receipt, market: Market, plan: Plan | None, config: Profile) -> Reading:
    """Read a complete receipt; ``plan`` is the open position's, in today's units."""
    state, htf, ltf = receipt.state, receipt.htf_score, receipt.ltf_score
    assert state is not None
    assert htf is not None
    assert ltf is not None
    side, long, momentum = _MEANING[state]
    flags = receipt.flags or ()
    corridor = define.in_corridor(long, htf, ltf, config.corridor)
    tp_max = receipt.target_high if long else receipt.target_low
    rr = define.reward_risk(long, receipt.price, receipt.sl, tp_max, config.entry.rr.cap)
    completion = _completion(receipt, side, tp_max, plan)
    recent = (*market.recent[1 - RECENT_MAX :], (receipt.ts, htf, ltf))
    points = None if momentum else define.flip_points(long, receipt, completion, config.corridor, recent, market.buckets)
    after = _observe(receipt, market, side if corridor else "", momentum, long, points, recent, config)
    flip_until = after.flip_long_until if long else after.flip_short_until
    flip_watch = flip_until is not None and receipt.ts <= flip_until
    status = define.move_status(long, receipt.price, receipt.trigger_price, receipt.sl, tp_max, config.exit.anchor_breach_pct)
    age = define.trigger_age_ms(receipt, side)
    elite, released = "momentum_elite" in flags, "sq30_release" in flags
    return new(
        Reading,
        (
            side,
            long,
            momentum,
            elite,
            corridor,
            tp_max,
            rr,
            completion,
            define.is_late(receipt, config.late),
            not (define.daily_regime_against(long, receipt) or define.ichimoku_against(long, receipt)),
            age,
            age is not None and 0 <= age <= config.entry.max_trigger_age_min * MINUTE_MS,
            points,
            flip_watch,
            status,
            score_of(receipt, long=long, rr=rr, completion=completion, status=status),
            "elite" if elite else "boosted" if flip_watch or released else "base",
            released,
            after,
        ),
    )


def _completion(receipt: Receipt, side: str, tp_max: Decimal | None, plan: Plan | None) -> Decimal | None:
    """Completion of the receipt's side.

    While a position of this side is open, both ends of the way are the plan's: later receipts never alter it. A receipt of
    the other side (a flip) is measured from its own trigger, for the plan's way runs in the opposite direction.
    """
    long = side == LONG
    if plan is not None and plan.side == side:
        return define.completion_of(long, receipt.price, plan.anchor, plan.tp_max, receipt.completion)
    return define.completion_of(long, receipt.price, receipt.trigger_price, tp_max, receipt.completion)


def _observe(
    receipt: Receipt,
    market: Market,
    corridor: str,
    momentum: bool,
    long: bool,
    points: int | None,
    recent: tuple[tuple[int, Decimal, Decimal], ...],
    config: Profile,
) -> Market:
    """The market memory after this receipt."""
    ts = receipt.ts
    corridor_since = momentum_since = None
    if corridor:
        seen = market.corridor is not None and market.corridor != corridor
        corridor_since = ts if seen else market.corridor_since
    if momentum:
        seen = market.state is not None and market.state != receipt.state
        momentum_since = ts if seen else market.momentum_since
    flip_long = market.flip_long_until if long and not momentum else None
    flip_short = market.flip_short_until if not (long or momentum) else None
    if points is not None and points >= config.flip_watch.min:
        until = ts + config.flip_watch.sticky_min * MINUTE_MS
        flip_long, flip_short = (until, None) if long else (None, until)
    buckets = market.buckets
    if not buckets or buckets[-1][0] // BUCKET_MS != ts // BUCKET_MS:
        oldest = ts - BUCKETS_SPAN_MS
        # The first receipt after a long gap drops many; otherwise at most one falls out.
        kept = buckets if not buckets or buckets[0][0] >= oldest else tuple(item for item in buckets if item[0] >= oldest)
        assert receipt.htf_score is not None
        buckets = (*kept, (ts, receipt.htf_score))
    setup = not momentum
    return new(
        Market,
        (
            receipt.state,
            momentum_since,
            corridor,
            corridor_since,
            ts if setup and long else market.setup_long,
            ts if setup and not long else market.setup_short,
            recent,
            buckets,
            flip_long,
            flip_short,
        ),
    )
