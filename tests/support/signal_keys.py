"""A story for each key of a profile: changed alone, the key changes what is decided in its story."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from fillbook.signal.profile import Profile, load, parse_profile
from tests.support.signal_desk import receipt
from tests.support.signal_stories import (
    NEXT_DAY_0745,
    Story,
    adding,
    broken,
    cloud,
    flags,
    fresh,
    r,
    setup,
    short,
    weak_setup,
    wide,
)

FIRST, SECOND = "tt-2026-02", "tt-2026-02-12"
P = r()
ELITE = flags(momentum_elite=True)
NO_LEVELS: dict[str, Any] = {"tp_levels": [], "tp": "107.00", "sl": "95.40"}
FAR: dict[str, Any] = {"sl": "60.40", "tp": "160.00"}
LATE: dict[str, Any] = {"phase_pct": "0.66", "daily_ema_cloud": cloud(position="below")}
CLIMB = [P, r(20, price="103.10"), r(40, price="104.85")]
TRIMMED = [P, r(20, price="102.10")]
RUN = [wide(), wide(40, price="102.60"), wide(54, price="102.60", daily_ema_cloud=cloud(lower=Decimal("101.50")))]
LOSS = [P, r(20, price="97.00"), fresh(260)]
VOLATILE = [receipt(ticker="VIX", price=Decimal(26), minutes=-120), r(**FAR)]

Row = tuple[str, Any, Story]
ROWS: list[Row] = [
    ("version", "other", [P]),
    ("session.entries", "any", [fresh(-46)]),
    ("session.signal_exits", "any", [P, r(NEXT_DAY_0745, price="101.95")]),
    ("session.target_hits", "any", [P, r(NEXT_DAY_0745, price="102.10")]),
    ("session.stop_hits", "regular", [P, r(NEXT_DAY_0745, price="96.50")]),
    ("instruments.futures_roots", ["ZZ"], [r(ticker="ZZH26")]),
    ("instruments.not_tradable", ["ZZTA"], [P]),
    ("instruments.quantity_step", "0.1", [P]),
    ("corridor.long", [-10, 13], [P]),
    ("corridor.short", [-11, 10], [short()]),
    ("late.phase", "0.30", [P]),
    ("late.zones", ["LOW"], [P]),
    ("paths.corridor_score", 95, [P]),
    ("paths.elite", 101, [r(flags=ELITE, ltf_score="22.5")]),
    ("paths.strong.htf", 42, [r(htf_score="41", ltf_score="22.01")]),
    ("paths.strong.ltf", 23, [r(htf_score="41", ltf_score="22.01")]),
    ("paths.strong.score", 99, [r(htf_score="41", ltf_score="22.01")]),
    ("paths.squeeze", 101, [r(flags=flags(sq30_release=True), sl="101.00", phase_pct="0.66")]),
    ("paths.cross", 66, [r(sl="101.00", trigger_price="100.90", td_sequential={"boost": 1})]),
    ("paths.flip.score", 90, [setup()]),
    ("paths.flip.elite", 100, [setup(flags=ELITE)]),
    ("paths.setup_squeeze", 101, [setup(ltf_score="13.6", htf_score="3", phase_pct="0.5", flags=flags(sq30_release=True))]),
    ("entry.score.base", 95, [P]),
    ("entry.score.boosted", 85, [setup()]),
    ("entry.score.elite", 101, [r(flags=ELITE)]),
    ("entry.rr.base", "1.4", [P]),
    ("entry.rr.boosted", "1.4", [setup()]),
    ("entry.rr.elite", "1.4", [r(flags=ELITE)]),
    ("entry.rr.cap", 1, [P]),
    ("entry.completion.base", "0.07", [P]),
    ("entry.completion.boosted", "0.07", [setup()]),
    ("entry.completion.elite", "0.07", [r(flags=ELITE)]),
    ("entry.phase.base", "0.33", [P]),
    ("entry.phase.boosted", "0.33", [setup()]),
    ("entry.phase.elite", "0.33", [r(flags=ELITE)]),
    ("entry.max_trigger_age_min", 14, [P]),
    ("entry.fresh_min", 2, [r(ltf_score="22.5"), r(1, phase_pct="0.66"), r(4, trigger_ts=None)]),
    ("entry.from_setup_min", 2, [setup(phase_pct="0.66"), r(3, trigger_ts=None)]),
    ("entry.cooldown_min", 31, [P, r(20, price="104.90"), fresh(50)]),
    ("entry.cooldown_after_entry_min", 60, [P, r(20, price="104.90"), fresh(50)]),
    ("entry.cooldown_after_loss_min", 241, LOSS),
    ("flip_watch.min", 101, [receipt("Q")]),
    ("flip_watch.sticky_min", 20, [setup(phase_pct="0.66"), weak_setup(30)]),
    ("just_flipped_min", 5, [r(ltf_score="22.5"), r(1, phase_pct="0.66"), r(10, phase_pct="0.66")]),
    ("just_entered_min", 5, [P, r(10, price="101.00")]),
    ("archive_hours", 0, [P, r(20, price="97.00"), r(80, price="97.00")]),
    ("size.min", 2000, [P]),
    ("size.max", 6000, [P]),
    ("tiers.0.cum", "0.5", TRIMMED),
    ("tiers.0.atr", ["0.5", "0.8"], [P]),
    ("tiers.0.fallback", "0.6", [r(**NO_LEVELS)]),
    ("tiers.1.cum", "0.7", [P, r(20, price="103.10")]),
    ("tiers.1.atr", ["1.0", "1.29"], [P]),
    ("tiers.1.fallback", "1.5", [r(**NO_LEVELS)]),
    ("tiers.2.atr", ["1.618", "2.1"], [P]),
    ("tiers.2.fallback", "2.5", [r(**NO_LEVELS)]),
    ("stop.be_at_pct", 5, RUN),
    ("stop.be_at_completion", "0.7", [r(trigger_price="98.00"), r(NEXT_DAY_0745, price="102.20")]),
    ("stop.trail_from_cum", "0.9", [P, r(20, price="103.10"), r(NEXT_DAY_0745, price="105.60")]),
    ("stop.trail_atr", "0.5", CLIMB),
    ("stop.keep_off_price_pct", 2, TRIMMED),
    ("stop.min_step_pct", 10, TRIMMED),
    ("stop.cooldown_min", 10, RUN),
    ("exit.max_adverse_pct", 4, [wide(), wide(5, price="95.00")]),
    ("exit.anchor_breach_pct", 4, [wide(), wide(20, price="94.00"), wide(21, price="94.00")]),
    ("exit.corridor_adverse_pct", 1, [P, broken(20), broken(21)]),
    ("exit.warn_behind_pct", "0.5", [P, r(20, price="99.69")]),
    ("exit.warn_adverse_pct", 6, [wide(trigger_price="90.00"), wide(20, price="95.00")]),
    ("exit.min_age_min", 60, [P, broken(20), broken(21)]),
    ("exit.confirm_receipts", 1, [P, broken(20)]),
    ("trim.near", "0.8", [P, r(10, price="101.92")]),
    ("trim.completion", "0.7", [wide(trigger_price="85.00"), wide(20, price="105.40")]),
    ("trim.phase_with_warning", "0.7", [P, r(20, price="100.50", **LATE)]),
    ("trim.require_profit", False, [P, r(20, price="100.30", **LATE)]),
    ("trim.min_age_min", 11, [P, r(10, price="101.93")]),
    ("trim.cooldown_min", 3, [*TRIMMED, r(23, price="103.00")]),
    ("scale_in.max_adds", 0, [wide(), adding()]),
    ("scale_in.min_gap_min", 40, [wide(), adding()]),
    ("scale_in.min_favour_pct", 3, [wide(), adding()]),
    ("scale_in.min_favour_atr", "0.2", [wide(), adding(price="102.01")]),
    ("scale_in.max_notional_x", "1.5", [wide(), adding()]),
    ("limits.per_sector", 0, [P]),
    ("limits.per_side", 0, [P]),
    ("limits.entries_per_day", 0, [P]),
    ("price_guard.max_jump_pct", 30, [P, r(20, price="75.00")]),
    ("price_guard.confirm_within_pct", 1, [P, r(20, price="75.00"), r(21, price="77.00")]),
    ("hysteresis.receipts", 3, [r(state=None), weak_setup(1), weak_setup(2)]),
]
SECOND_ROWS: list[Row] = [
    ("size.start_cash", 50_000, [r(**FAR)]),
    ("size.risk_pct", ["0.5", "1.0"], [r(**FAR)]),
    ("size.vix.ticker", "ZZVX", VOLATILE),
    ("size.vix.factors", [[35, "0.5"]], VOLATILE),
    ("size.vix.max_age_hours", 1, VOLATILE),
]
# One value is possible in each: another is refused at load, which is louder than a decision that changes.
REFUSED = {"session.calendar": "XOTHER", "session.tz": "UTC", "size.mode": "other", "tiers.2.cum": "0.9"} | {
    f"tiers.{number}.name": "OTHER" for number in range(3)
}


def changed(name: str, path: str, value: Any) -> Profile:
    """A shipped profile with one key replaced."""
    document = json.loads(load(name).text)
    *parents, last = path.split(".")
    node: Any = document
    for parent in parents:
        node = node[int(parent)] if isinstance(node, list) else node[parent]
    assert last in node
    node[last] = value
    return parse_profile(json.dumps(document))
