"""Scenarios 32 to 42: what happens to P, the position that R opens."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from fillbook.signal.model import Decision, Tier
from tests.support.receipts import MINUTE_MS, R_TS, body
from tests.support.signal_desk import Desk, Fill, mirrored, receipt_from

D = Decimal
NEXT_DAY_0745 = 21 * 60 + 30


def holding() -> Desk:
    """A desk that holds P."""
    desk = Desk()
    desk.post()
    return desk


def outcome(decision: Decision) -> tuple[str, str]:
    return decision.computed_lane, decision.reason


def waits(decision: Decision) -> list[tuple[str, str]]:
    return [(block.rule, block.why) for block in decision.blocks]


def refused(decision: Decision) -> list[str]:
    return [block.rule for block in decision.blocks]


def stop_of(desk: Desk) -> Decimal | None:
    position = desk.states["ZZTA"].position
    assert position is not None
    return position.stop


def last(desk: Desk) -> tuple[str, Decimal, Decimal | None]:
    fill: Fill = desk.fills[-1]
    return fill.action_type, fill.quantity, fill.realized


def cloud(**changes: Any) -> dict[str, Any]:
    return {**body()["daily_ema_cloud"], **changes}


def test_scenario_32_the_stop_closes_and_the_ticker_is_archived_at_once() -> None:
    desk = holding()
    assert outcome(desk.post(minutes=20, price=D("97.00"))) == ("exit", "sl_breached")
    assert last(desk) == ("EXIT", D("37.6374"), D("-127.96716"))
    after = desk.post(minutes=21, price=D("97.00"))
    assert (outcome(after), after.lane) == (("archive", "closed:sl_breached"), "archive")


def test_scenario_33_before_the_session_stops_act_and_targets_wait() -> None:
    assert outcome(holding().post(minutes=NEXT_DAY_0745, price=D("96.50"))) == ("exit", "sl_breached")
    desk = holding()
    decision = desk.post(minutes=NEXT_DAY_0745, price=D("105.00"))
    assert outcome(decision) == ("hold", "overextended")
    assert decision.badges == ("defend",)
    assert waits(decision) == [("M3", "session"), ("M6", "session")]
    assert len(desk.fills) == 1


def test_scenario_34_the_largest_loss_closes_at_any_age_and_the_broken_move_waits() -> None:
    desk = holding()
    desk.change_position(stop=D(85))
    decision = desk.post(minutes=5, price=D("90.37"))
    assert (outcome(decision), decision.badges, waits(decision)) == (("hold", "behind_anchor"), ("defend",), [("M4", "age")])
    desk = holding()
    desk.change_position(stop=D(85))
    assert outcome(desk.post(minutes=5, price=D("90.36"))) == ("exit", "max_loss")


def test_scenario_34_the_last_target_closes_all() -> None:
    desk = holding()
    assert outcome(desk.post(minutes=20, price=D("104.90"))) == ("exit", "tp_full")
    assert last(desk) == ("EXIT", D("37.6374"), D("169.3683"))


def test_scenario_35_two_trims_with_their_cooldown_and_their_stops() -> None:
    desk = holding()
    assert outcome(desk.post(minutes=20, price=D("102.10"))) == ("trim", "tp_hit")
    assert (last(desk), stop_of(desk)) == (("TRIM", D("22.5824"), D("38.39008")), D("100.40"))
    waiting = desk.post(minutes=23, price=D("103.00"))
    assert (waiting.computed_lane, waits(waiting)) == ("hold", [("M6", "cooldown")])
    assert outcome(desk.post(minutes=25, price=D("103.00"))) == ("trim", "tp_hit")
    assert (last(desk), stop_of(desk)) == (("TRIM", D("7.5275"), D("19.5715")), D("102.10"))


def test_scenario_36_two_targets_at_once_are_one_trim() -> None:
    desk = holding()
    assert outcome(desk.post(minutes=20, price=D("103.10"))) == ("trim", "tp_hit")
    assert [fill.action_type for fill in desk.fills] == ["ENTRY", "TRIM"]
    assert (last(desk), stop_of(desk)) == (("TRIM", D("30.1099"), D("81.29673")), D("102.10"))


def test_scenario_37_near_the_first_target_is_a_trim_at_ninety_percent_and_ten_minutes() -> None:
    desk = holding()
    assert outcome(desk.post(minutes=10, price=D("101.93"))) == ("trim", "near_tp")
    assert (last(desk)[:2], stop_of(desk)) == (("TRIM", D("22.5824")), D("100.40"))
    assert outcome(holding().post(minutes=10, price=D("101.92"))) == ("just_entered", "age")
    early = holding().post(minutes=9, price=D("101.93"))
    assert (outcome(early), waits(early)) == (("just_entered", "age"), [("M7", "age")])


def test_scenario_37_a_late_phase_with_a_warning_trims_only_in_profit() -> None:
    late: dict[str, Any] = {"phase_pct": D("0.66"), "daily_ema_cloud": cloud(position="below")}
    desk = holding()
    assert desk.post(minutes=20, price=D("100.30"), **late).computed_lane == "hold"
    assert len(desk.fills) == 1
    assert outcome(holding().post(minutes=20, price=D("100.50"), **late)) == ("trim", "near_tp")


BROKEN: dict[str, Any] = {"state": "HTF_BULL_LTF_PULLBACK", "ltf_score": D("-10.5"), "price": D("99.69")}


def test_scenario_38_a_broken_move_exits_on_its_second_receipt() -> None:
    desk = holding()
    first = desk.post(minutes=20, **BROKEN)
    assert outcome(first) == ("hold", "behind_anchor")
    assert "exit_pending" in first.badges
    assert outcome(desk.post(minutes=21, **BROKEN)) == ("exit", "invalidated")


def test_scenario_38_back_in_the_corridor_the_count_starts_again() -> None:
    desk = holding()
    desk.post(minutes=20, **BROKEN)
    back = desk.post(minutes=21, price=D("99.69"))
    assert (back.computed_lane, back.state.desk.pending_exits) == ("hold", ())
    assert "exit_pending" in desk.post(minutes=22, **BROKEN).badges


def test_scenario_38_a_young_position_starts_no_count() -> None:
    decision = holding().post(minutes=14, **BROKEN)
    assert "exit_pending" not in decision.badges
    assert decision.state.desk.pending_exits == ()
    assert ("M4", "age") in waits(decision)


def flip(minutes: int) -> dict[str, Any]:
    shift = minutes * MINUTE_MS
    document = mirrored()
    return document | {name: document[name] + shift for name in ("ts", "time_close", "trigger_ts")}


def test_scenario_39_the_other_side_flips_the_position_on_its_second_receipt() -> None:
    desk = holding()
    first = desk.take(receipt_from(flip(20)))
    assert (first.computed_lane, waits(first)) == ("hold", [("M5", "confirm")])
    assert "exit_pending" in first.badges
    second = desk.take(receipt_from(flip(21)))
    assert outcome(second) == ("enter_now", "flip")
    assert [(fill.action_type, fill.side, fill.action_id[-2:], fill.reason) for fill in desk.fills[1:]] == [
        ("EXIT", "LONG", "#1", "flip"),
        ("ENTRY", "SHORT", "#2", "corridor_momentum"),
    ]


def test_scenario_39_a_flip_whose_entry_is_refused_only_exits() -> None:
    desk = holding()
    desk.book_facts = {"open_short": 12}
    desk.take(receipt_from(flip(20)))
    second = desk.take(receipt_from(flip(21)))
    assert (outcome(second), refused(second)) == (("exit", "flip"), ["L2"])
    assert [fill.action_type for fill in desk.fills] == ["ENTRY", "EXIT"]
    assert second.state.position is None


def scaling() -> Desk:
    """P with ATR 5.00 and its targets at the fallback distances (TRIM 104.15)."""
    desk = holding()
    position = desk.states["ZZTA"].position
    assert position is not None
    assert position.plan is not None
    prices = (D("104.15"), D("106.76"), D("110.40"))
    trim, exit_, runner = (
        Tier(name=tier.name, cum=tier.cum, price=price, source="atr")
        for tier, price in zip(position.plan.tiers, prices, strict=True)
    )
    desk.change_position(plan=replace(position.plan, atr=D("5.00"), tiers=(trim, exit_, runner)))
    return desk


def add(desk: Desk, minutes: int, price: str, *, trigger: int | None = None) -> Decision:
    """R again at ``price`` with a stop that leaves room for the gate's rr, on a new trigger unless one is given."""
    trigger_ts = R_TS + (minutes - 5) * MINUTE_MS if trigger is None else trigger
    return desk.post(minutes=minutes, price=D(price), sl=D("101.00"), trigger_ts=trigger_ts)


def test_scenario_40_an_add_follows_strength_within_twice_the_first_value() -> None:
    desk = scaling()
    assert outcome(add(desk, 31, "102.41")) == ("enter_now", "scale_in")
    assert desk.fills[-1].action_type == "ADD_ENTRY"
    position = desk.states["ZZTA"].position
    assert position is not None
    assert position.opened_value <= D("7557.58992")
    assert sum(fill.quantity * fill.price for fill in desk.fills) == position.opened_value
    assert position.plan is not None
    assert position.plan.atr == D("5.00")


@pytest.mark.parametrize(
    ("minutes", "price", "trigger", "block"),
    [
        (31, "102.40", None, "A4"),
        (29, "102.41", None, "A6"),
        (31, "102.41", R_TS - 15 * MINUTE_MS, "A3"),
    ],
)
def test_scenario_40_each_scale_in_rule_refuses_alone(minutes: int, price: str, trigger: int | None, block: str) -> None:
    decision = add(scaling(), minutes, price, trigger=trigger)
    assert (decision.computed_lane, refused(decision)) == ("hold", [block])


def test_scenario_40_after_two_adds_no_third() -> None:
    desk = scaling()
    desk.change_position(adds=2)
    decision = add(desk, 31, "102.41")
    assert (decision.computed_lane, refused(decision)) == ("hold", ["A2"])


def test_scenario_41_a_ghost_price_changes_nothing_and_a_second_print_acts() -> None:
    desk = holding()
    ghost = desk.post(minutes=20, price=D("75.00"))
    assert (ghost.lane, ghost.previous_lane, ghost.badges, ghost.rule) == ("enter_now", "enter_now", ("price_unconfirmed",), "P0")
    assert outcome(desk.post(minutes=21, price=D("75.20"))) == ("exit", "sl_breached")
    assert desk.fills[-1].price == D("75.20")

    desk = holding()
    desk.post(minutes=20, price=D("75.00"))
    back = desk.post(minutes=21, price=D("100.50"))
    assert (back.computed_lane, back.badges) == ("hold", ())
    assert len(desk.fills) == 1


def test_scenario_41_a_price_alone_still_stops_out() -> None:
    desk = holding()
    bare = receipt_from({"ticker": "ZZTA", "ts": R_TS + 20 * MINUTE_MS, "price": D("96.90")})
    assert outcome(desk.take(bare)) == ("exit", "sl_breached")


def test_scenario_42_the_stop_moves_at_most_each_quarter_hour_and_never_loosens() -> None:
    desk = scaling()
    better = cloud(lower=D("101.20"))
    assert desk.post(minutes=40, price=D("102.41")).stop_move is not None
    assert stop_of(desk) == D("100.40")
    assert desk.post(minutes=54, price=D("102.41"), daily_ema_cloud=better).stop_move is None
    moved = desk.post(minutes=55, price=D("102.41"), daily_ema_cloud=better).stop_move
    assert moved is not None
    assert (moved.rule, moved.old_stop, moved.new_stop) == ("S4", D("100.40"), D("101.20"))
    assert desk.post(minutes=75, price=D("101.60"), daily_ema_cloud=cloud(lower=D("100.90"))).stop_move is None
    assert stop_of(desk) == D("101.20")
