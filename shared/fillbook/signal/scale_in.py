"""Scale-in A1..A7: adds follow strength and never average down (specification 4.5).

A8, the value the position may reach, is asked at admission, because only there the size is known.
"""

from __future__ import annotations

from fillbook.signal.definitions import FOUR_PLACES, gain_pct, is_beyond_stop
from fillbook.signal.gate import ADD_RULES
from fillbook.signal.model import LONG, Check, Plan, PositionFacts, Receipt
from fillbook.signal.profile import Profile
from fillbook.signal.sessions import MINUTE_MS
from fillbook.signal.verdict import Entry


def add_checks(receipt: Receipt, entry: Entry, held: PositionFacts, plan: Plan, config: Profile) -> tuple[Check, ...]:
    """All seven comparisons for a receipt of the position's own side; ``held`` and ``plan`` are in today's units."""
    rules, long, price = config.scale_in, held.side == LONG, receipt.price
    refused = [check.rule for check in entry.gate[:ADD_RULES] if not check.holds]
    missing = ",".join(refused if entry.path is not None else ["path", *refused])
    percent = gain_pct(long, held.vwap, price)
    gain = price - held.vwap if long else held.vwap - price
    in_atr = (gain / plan.atr).quantize(FOUR_PLACES)
    in_favour = percent >= rules.min_favour_pct or in_atr >= rules.min_favour_atr
    waited = receipt.ts - held.last_buy_ts
    # "On the loss side" is meant of the price, as in G04; it can fail only where the profile lets stops wait for a session.
    stop_ok = held.stop is not None and not is_beyond_stop(long, price, held.stop)
    return (
        Check("A1", missing, "==", "", not missing),
        Check("A2", held.adds, "<", rules.max_adds, held.adds < rules.max_adds),
        Check("A3", entry.cycle, "unused", True, entry.cycle not in held.cycles_used),
        Check("A4", (percent, in_atr), "any>=", (rules.min_favour_pct, rules.min_favour_atr), in_favour),
        Check("A5", held.stop, "loss_side", price, stop_ok),
        Check("A6", waited // MINUTE_MS, ">=", rules.min_gap_min, waited >= rules.min_gap_min * MINUTE_MS),
        Check("A7", held.tiers_taken, "==", 0, held.tiers_taken == 0),
    )
