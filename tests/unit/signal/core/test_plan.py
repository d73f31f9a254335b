"""The plan: ATR, choice of levels, trims that round down, stops that only tighten, prices after a split."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from fillbook.signal.levels import Level, unpack
from fillbook.signal.model import Plan, PositionFacts
from fillbook.signal.plan import average_true_range, in_todays_units, tighten, trim_quantity
from fillbook.signal.profile import load
from tests.support.receipts import MINUTE_MS, R_TS, body
from tests.support.signal_desk import Desk, mirrored, receipt_from
from tests.support.signal_stories import cloud, r, short

D = Decimal
CONFIG = load("tt-2026-02")


def held(**changes: Any) -> PositionFacts:
    desk = Desk()
    position = desk.take(r()).state.position
    assert position is not None
    return replace(position, **changes)


def plan_of(**changes: Any) -> Plan:
    position = Desk().post(**changes).state.position
    assert position is not None
    assert position.plan is not None
    return position.plan


def level(price: str, **changes: Any) -> dict[str, Any]:
    known = {"label": "L", "type": "STRUCTURE", "multiplier": None, "timeframe": "D", "confidence": D("0.5")}
    return {"price": D(price), **known, **changes}


def first_tier(*levels: dict[str, Any]) -> tuple[Decimal, str]:
    """TRIM when R sends these levels (band 1.00 to 2.00 above 100.40 at ATR 2.00) and a far target."""
    ladder = [
        level("102.40", type="ATR_FIB", multiplier=D(1)),
        level("106.40", type="ATR_FIB", multiplier=D(3)),
    ]
    tier = plan_of(tp_levels=[*ladder, *levels]).tiers[0]
    return tier.price, tier.source


def test_atr_is_the_median_slope_of_daily_fib_levels_and_else_the_distance_to_the_stop() -> None:
    ladder = [Level(D(price), "", "ATR_FIB", D(multiplier), "D", None) for price, multiplier in ((101, 1), (103, 2), (104, 3))]
    assert average_true_range(ladder, D(100), D(98)) == D("1.5")
    weekly = [level._replace(timeframe="W") for level in ladder]
    assert average_true_range(weekly, D(100), D("98.5")) == D("1.5")
    twice = [ladder[0], ladder[0]._replace(price=D(105))]
    assert average_true_range(twice, D(100), D(97)) == D(3)


def test_atr_of_a_tiny_price_is_never_zero() -> None:
    assert average_true_range((), D("0.00030"), D("0.00029")) == D("0.00001")


def test_the_best_level_is_by_time_frame_then_confidence_then_distance_then_label() -> None:
    assert first_tier() == (D("101.90"), "atr")
    daily = level("101.50", label="DAY", confidence=D("0.9"))
    assert first_tier(daily, level("102.30", label="WEEK", timeframe="W", confidence=D("0.1"))) == (D("102.30"), "WEEK")
    assert first_tier(daily, level("101.45", label="FOUR", timeframe="240", confidence=D(1))) == (D("101.50"), "DAY")
    assert first_tier(daily, level("101.45", label="SURE", confidence=D("0.95"))) == (D("101.45"), "SURE")
    assert first_tier(daily, level("101.60", label="FAR", confidence=D("0.9"))) == (D("101.50"), "DAY")
    assert first_tier(daily, level("101.50", label="AAA", confidence=D("0.9"))) == (D("101.50"), "AAA")
    assert first_tier(level("101.50", label="NONE", confidence=None), level("101.60", label="SOME")) == (D("101.60"), "SOME")


def test_a_band_holds_its_near_end_and_leaves_its_far_end_to_the_next_tier() -> None:
    assert first_tier(level("101.40", label="LOW")) == (D("101.40"), "LOW")
    plan = plan_of(
        tp_levels=[*body()["tp_levels"][:1], level("102.40", type="ATR_FIB", multiplier=D(1)), level("106.40", label="END")]
    )
    assert plan.atr > 0
    ladder = [
        level("102.40", type="ATR_FIB", multiplier=D(1), label="ONE"),
        level("106.40", type="ATR_FIB", multiplier=D(3), label="END"),
    ]
    tiers = plan_of(tp_levels=ladder).tiers
    assert [(tier.price, tier.source) for tier in tiers] == [(D("101.90"), "atr"), (D("102.40"), "ONE"), (D("106.40"), "END")]


def test_a_plan_without_levels_uses_the_fallback_distances_for_both_sides() -> None:
    changes: dict[str, Any] = {"tp_levels": None, "tp": D("107.00"), "sl": D("95.40")}
    assert [tier.price for tier in plan_of(**changes).tiers] == [D("104.15"), D("106.76"), D("110.40")]
    position = Desk().take(receipt_from(mirrored(tp_levels=None, tp=D("93.80"), sl=D("105.40")))).state.position
    assert position is not None
    assert position.plan is not None
    assert [tier.price for tier in position.plan.tiers] == [D("96.65"), D("94.04"), D("90.40")]


def test_the_anchor_is_the_entry_when_no_trigger_price_was_sent() -> None:
    assert plan_of(trigger_price=None).anchor == D("100.40")


def test_prices_of_a_plan_have_the_decimals_of_the_price_and_at_least_two() -> None:
    tiers = plan_of(price=D("100.4005"), tp_levels=None, tp=D("107.00"), sl=D("95.40")).tiers
    assert tiers[0].price == D("104.1509")


def test_what_was_sent_packs_and_unpacks_exactly() -> None:
    levels = unpack(r(tp_levels=[level("101.50", label='a "b" ü')]).levels)
    assert levels == (Level(D("101.5"), 'a "b" ü', "STRUCTURE", None, "D", D("0.5")),)
    assert unpack(None) == ()


def test_a_trim_closes_its_share_of_everything_opened_and_rounds_down() -> None:
    assert trim_quantity(held(), 1, CONFIG) == D("22.5824")
    assert trim_quantity(held(), 2, CONFIG) == D("30.1099")
    assert trim_quantity(held(quantity=D("10")), 1, CONFIG) == 0


def test_a_trim_too_small_for_one_step_is_a_block_and_the_position_is_held() -> None:
    desk = Desk()
    desk.take(r())
    desk.change_position(base_quantity=D("0.0001"), quantity=D("0.0001"))
    decision = desk.take(r(20, price="102.10"))
    assert decision.computed_lane == "hold"
    assert ("M6", "too_small") in [(block.rule, block.why) for block in decision.blocks]


def test_a_stop_stays_half_a_percent_off_the_price_rounded_away_from_it() -> None:
    trimmed = held(tiers_taken=1, stop=D("99.00"))
    near, _ = tighten(r(20, price="100.60"), trimmed, None, None, CONFIG)
    assert near is not None
    assert (near.rule, near.new_stop) == ("S1", D("100.09"))
    far, _ = tighten(r(20, price="102.10"), trimmed, None, None, CONFIG)
    assert far is not None
    assert far.new_stop == D("100.40")


def test_a_step_smaller_than_the_least_one_moves_no_stop() -> None:
    move, checks = tighten(r(20, price="102.10"), held(tiers_taken=1, stop=D("100.36")), None, None, CONFIG)
    assert (move, [(check.rule, check.holds) for check in checks]) == (None, [("S1", False)])


def test_a_short_stop_follows_the_cloud_downwards() -> None:
    desk = Desk()
    position = desk.take(short()).state.position
    assert position is not None
    upper = cloud(upper=D("99.90"), position="below")
    move, _ = tighten(short(40, price=D("98.30"), daily_ema_cloud=upper), position, None, None, CONFIG)
    assert move is not None
    assert (move.rule, move.old_stop, move.new_stop) == ("S4", D("103.80"), D("99.90"))
    looser, _ = tighten(short(60, price=D("98.30")), replace(position, stop=D("98.10")), None, None, CONFIG)
    assert looser is None


def test_after_a_split_plan_and_stop_are_read_in_todays_prices_and_stored_in_those_of_the_entry() -> None:
    split = held(split_factor=D(4), base_quantity=D("150.5496"), quantity=D("150.5496"), vwap=D("25.10"))
    today = in_todays_units(split)
    assert today.plan is not None
    assert (today.stop, today.plan.tp_max, today.plan.tiers[0].price) == (D("24.25"), D("26.25"), D("25.525"))
    assert in_todays_units(held()) is not None
    move, _ = tighten(r(20, price="25.70"), replace(split, tiers_taken=1), None, None, CONFIG)
    assert move is not None
    assert (move.old_stop, move.new_stop, move.stored_stop) == (D("24.25"), D("25.10"), D("100.40"))


def test_a_split_while_held_is_no_price_jump_and_no_stop_hit() -> None:
    desk = Desk()
    desk.take(r())
    lots = desk.lots["ZZTA"]
    lots.open = [(quantity * 4, price / 4) for quantity, price in lots.open]
    lots.opened *= 4
    desk.change_position(split_factor=D(4), base_quantity=lots.opened, quantity=lots.quantity, vwap=D("25.10"))
    calm = desk.take(receipt_from({"ticker": "ZZTA", "ts": R_TS + 20 * MINUTE_MS, "price": D("25.12")}))
    assert (calm.computed_lane, calm.badges) == ("hold", ())
    hit = desk.take(receipt_from({"ticker": "ZZTA", "ts": R_TS + 21 * MINUTE_MS, "price": D("24.25")}))
    assert (hit.computed_lane, hit.reason) == ("exit", "sl_breached")
