"""Scenarios 15 to 23 of the signal specification: score, paths, gate and discovery lanes, to the last digit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fillbook.signal.model import Decision
from tests.support.receipts import MINUTE_MS, R_TS, body
from tests.support.signal_desk import Desk

D = Decimal


def post(name: str = "R", *, minutes: int = 0, **changes: Any) -> Decision:
    return Desk().post(name, minutes=minutes, **changes)


def outcome(decision: Decision) -> tuple[str, str]:
    return decision.computed_lane, decision.reason


def refused(decision: Decision) -> list[str]:
    return [block.rule for block in decision.blocks]


def flags(**changes: bool) -> dict[str, bool]:
    return {**body()["flags"], **changes}


def triggered(minutes_ago: int) -> int:
    return R_TS - minutes_ago * MINUTE_MS


def cloud(position: str) -> dict[str, Any]:
    return {**body()["daily_ema_cloud"], "position": position}


def ichimoku(frame: str, position: str) -> dict[str, Any]:
    return {**body()[f"ichimoku_{frame}"], "position": position}


def test_scenario_15_r_on_an_empty_state_enters_with_the_plan_and_size_of_section_7() -> None:
    desk = Desk()
    decision = desk.post("R")
    assert (decision.score, decision.path, outcome(decision)) == (D("94.73"), "E1", ("enter_now", "E1"))
    assert [decision.inputs[name] for name in ("rr", "completion", "phase")] == [D("1.3529"), D("0.0800"), D("0.34")]
    assert decision.blocks == ()
    position = decision.state.position
    assert position is not None
    plan = position.plan
    assert plan is not None
    assert (plan.atr, plan.stop, plan.tp_max, plan.anchor) == (D("2.0006"), D("97.00"), D("105.00"), D("100.00"))
    assert [(tier.name, tier.price, tier.source) for tier in plan.tiers] == [
        ("TRIM", D("102.10"), "TP2"),
        ("EXIT", D("103.00"), "TP4"),
        ("RUNNER", D("104.90"), "TP5"),
    ]
    assert plan.confidence == D("0.6947")
    (fill,) = desk.fills
    assert (fill.action_type, fill.side, fill.quantity, fill.price) == ("ENTRY", "LONG", D("37.6374"), D("100.40"))
    assert fill.quantity * fill.price == D("3778.79496")


def test_scenario_15_q_on_an_empty_state_is_a_flip_watch_without_intent() -> None:
    desk = Desk()
    decision = desk.post("Q")
    assert (decision.score, decision.path, outcome(decision)) == (D("60.35"), None, ("flip_watch", "flip_points"))
    assert decision.inputs["rr"] is None
    assert (decision.inputs["completion"], decision.inputs["phase"]) == (D("0.1310"), D("0.31"))
    assert decision.inputs["flip_points"] == 100
    assert refused(decision) == ["G03", "G11", "G12"]
    assert decision.intents == ()
    assert desk.fills == []


@pytest.mark.parametrize(
    ("sl", "score", "lane", "blocks"),
    [
        (None, "88.73", ("flip_watch", "blocked"), ["G03", "G12"]),
        (D("101.00"), "65.73", ("watch", "default"), ["G04", "G08", "G11", "G12"]),
    ],
)
def test_scenario_16_a_missing_stop_and_one_on_the_wrong_side_are_refused(
    sl: Decimal | None, score: str, lane: tuple[str, str], blocks: list[str]
) -> None:
    decision = post(sl=sl)
    assert (decision.score, outcome(decision), refused(decision)) == (D(score), lane, blocks)
    assert (decision.path is None) == (lane[0] == "watch")


def test_scenario_17_a_trigger_of_390_minutes_enters() -> None:
    assert outcome(post(trigger_ts=triggered(390))) == ("enter_now", "E1")


@pytest.mark.parametrize(
    ("changes", "score"),
    [
        ({"trigger_ts": triggered(391)}, "94.73"),
        ({"trigger_ts": None}, "92.73"),
        ({"trigger_dir": "BEAR"}, "94.73"),
    ],
)
def test_scenario_17_an_old_missing_or_opposite_trigger_is_no_start(changes: dict[str, Any], score: str) -> None:
    decision = post(**changes)
    assert outcome(decision) == ("flip_watch", "blocked")
    assert refused(decision) == ["G06", "G07"]
    assert decision.score == D(score)


def test_scenario_18_a_breached_trigger_price_leaves_only_the_cross_path_and_refuses() -> None:
    decision = post(trigger_price=D("106.00"))
    assert (decision.score, decision.path, refused(decision)) == (D("69.73"), "E5", ["G08", "G11"])
    assert outcome(decision) == ("flip_watch", "blocked")


def test_scenario_18_a_price_more_than_half_way_is_refused_for_completion_and_rr() -> None:
    decision = post(price=D("102.60"))
    assert (decision.score, decision.inputs["completion"]) == (D("80.73"), D("0.52"))
    assert refused(decision) == ["G12", "G13"]
    assert outcome(decision) == ("flip_watch", "blocked")


@pytest.mark.parametrize(
    ("changes", "score", "lane", "blocks"),
    [
        ({"phase_pct": D("0.65")}, "90.23", ("enter_now", "E1"), []),
        ({"phase_pct": D("0.66")}, "89.93", ("flip_watch", "blocked"), ["G14"]),
        ({"phase_pct": D("0.70")}, "88.73", ("archive", "late_cycle"), ["G10", "G14"]),
        ({"phase_zone": "HIGH"}, "94.73", ("archive", "late_cycle"), ["G10"]),
        ({"phase_zone": "HIGH", "flags": flags(momentum_elite=True)}, "100", ("enter_now", "E1"), []),
    ],
)
def test_scenario_19_late_moves_are_archived_unless_elite(
    changes: dict[str, Any], score: str, lane: tuple[str, str], blocks: list[str]
) -> None:
    decision = post(**changes)
    assert (decision.score, outcome(decision), refused(decision)) == (D(score), lane, blocks)


@pytest.mark.parametrize(
    ("changes", "score", "path", "lane", "blocks"),
    [
        ({"ltf_score": D(22)}, "97.93", "E1", ("enter_now", "E1"), []),
        ({"ltf_score": D("22.01")}, "97.94", None, ("watch", "default"), ["G05"]),
        ({"ltf_score": D("22.01"), "htf_score": D(41)}, "97.94", "E3", ("flip_watch", "blocked"), ["G05"]),
        ({"sl": D("96.57")}, "94.73", "E1", ("enter_now", "E1"), []),
        ({"sl": D("96.56")}, "90.73", "E1", ("flip_watch", "blocked"), ["G12"]),
    ],
)
def test_scenario_20_corridor_and_rr_decide_at_their_edges(
    changes: dict[str, Any], score: str, path: str | None, lane: tuple[str, str], blocks: list[str]
) -> None:
    decision = post(**changes)
    assert (decision.score, decision.path, outcome(decision), refused(decision)) == (D(score), path, lane, blocks)


def test_scenario_20_rr_is_rounded_to_four_places_before_it_is_compared() -> None:
    assert post(sl=D("96.57")).inputs["rr"] == D("1.2010")
    assert post(sl=D("96.56")).inputs["rr"] == D("1.1979")


@pytest.mark.parametrize(
    ("changes", "blocks"),
    [
        ({"daily_ema_cloud": cloud("below")}, ["G09"]),
        ({"ichimoku_d": ichimoku("d", "below")}, []),
        ({"ichimoku_d": ichimoku("d", "below"), "ichimoku_w": ichimoku("w", "below")}, ["G09"]),
        ({"ticker": "ES1!"}, ["G01"]),
        ({"ticker": "ESH2026"}, ["G01"]),
        ({"ticker": "VIX"}, ["G01"]),
        ({"ticker": "ES"}, []),
    ],
)
def test_scenario_21_regime_and_tradable_instruments(changes: dict[str, Any], blocks: list[str]) -> None:
    decision = post(**changes)
    assert refused(decision) == blocks
    assert decision.computed_lane == ("flip_watch" if blocks else "enter_now")


def test_scenario_22_an_incomplete_receipt_is_only_watched() -> None:
    decision = post(state=None)
    assert (outcome(decision), decision.rule, decision.score) == (("watch", "incomplete"), "D1", None)


def test_scenario_22_a_weak_setup_is_a_setup_watch() -> None:
    decision = post(
        state="HTF_BULL_LTF_PULLBACK",
        htf_score=D(3),
        ltf_score=D(-9),
        phase_pct=D("0.55"),
        completion=D("0.9"),
        trigger_price=None,
    )
    assert (decision.score, outcome(decision)) == (D("57.38"), ("setup_watch", "setup"))


def test_scenario_22_a_setup_with_ninety_points_enters_on_the_flip_path() -> None:
    decision = post(state="HTF_BULL_LTF_PULLBACK", ltf_score=D(-4))
    assert decision.inputs["flip_points"] == 90
    assert (decision.score, outcome(decision)) == (D("84.13"), ("enter_now", "E6"))


def test_scenario_23_an_observed_corridor_entry_is_just_flipped_for_an_hour() -> None:
    desk = Desk()
    late = D("0.66")
    first = desk.post(ltf_score=D("22.5"), phase_pct=late)
    later = [desk.post(minutes=minutes, phase_pct=late) for minutes in (1, 61, 62)]
    assert first.computed_lane == "watch"
    assert [outcome(decision) for decision in later] == [
        ("just_flipped", "blocked"),
        ("just_flipped", "blocked"),
        ("flip_watch", "blocked"),
    ]
    assert [refused(decision) for decision in later] == [["G14"]] * 3
