"""Scenarios 24 to 31 and 43: sessions, limits of the book, cooldowns, sizes and the other side."""

from __future__ import annotations

import time
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from fillbook.calendar import NEW_YORK
from fillbook.signal.admission import admit
from fillbook.signal.model import Decision, Facts, Intent
from fillbook.signal.profile import load
from tests.support.receipts import MINUTE_MS, R_TS
from tests.support.signal_desk import Desk, mirrored, receipt_from

D = Decimal
DAY = 24 * 60


def refused(decision: Decision) -> list[str]:
    return [block.rule for block in decision.blocks]


def minutes_to(moment: str) -> int:
    """Minutes from R to a New York wall clock time (or an instant ending in Z)."""
    at = datetime.fromisoformat(moment)
    at = at if at.tzinfo else at.replace(tzinfo=NEW_YORK)
    return (round(at.timestamp()) * 1000 - R_TS) // MINUTE_MS


def later(desk: Desk, minutes: int, **changes: Any) -> Decision:
    """R with its trigger moved along."""
    return desk.post(minutes=minutes, trigger_ts=R_TS + (minutes - 15) * MINUTE_MS, **changes)


SESSIONS = [
    ("2026-02-03T09:29", False),
    ("2026-02-03T09:30", True),
    ("2026-02-03T15:59", True),
    ("2026-02-03T16:00", False),
    ("2026-11-27T12:59", True),
    ("2026-11-27T13:00", False),
    ("2026-07-03T10:00", False),
    ("2026-03-06T13:30Z", False),
    ("2026-03-09T13:30Z", True),
]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize(("moment", "enters"), SESSIONS)
def test_scenario_24_entries_happen_in_the_regular_session_of_new_york_wherever_the_host_stands(
    moment: str, enters: bool, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        decision = later(Desk(), minutes_to(moment))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert refused(decision) == ([] if enters else ["G02"])
    assert decision.computed_lane == ("enter_now" if enters else "flip_watch")


def test_scenario_25_a_lane_shows_when_it_was_computed_twice_running() -> None:
    desk = Desk()
    watch: dict[str, Any] = {"state": None}
    setup: dict[str, Any] = {
        "state": "HTF_BULL_LTF_PULLBACK",
        "htf_score": D(3),
        "ltf_score": D(-9),
        "phase_pct": D("0.55"),
        "completion": D("0.9"),
        "trigger_price": None,
    }
    decisions = [desk.post(minutes=index, **changes) for index, changes in enumerate((watch, setup, watch, setup, setup))]
    assert [decision.computed_lane for decision in decisions] == ["watch", "setup_watch", "watch", "setup_watch", "setup_watch"]
    assert [decision.lane for decision in decisions] == ["watch"] * 4 + ["setup_watch"]
    assert sum(decision.lane != decision.previous_lane for decision in decisions) == 2


def test_scenario_26_the_eleventh_entry_of_a_session_date_is_refused_and_the_next_day_is_new() -> None:
    desk = Desk()
    for number in range(10):
        assert desk.post(ticker=f"ZZ{number}", sector=None).computed_lane == "enter_now"
    eleventh = desk.post()
    assert (eleventh.computed_lane, eleventh.reason, refused(eleventh)) == ("flip_watch", "blocked", ["L3"])
    assert later(desk, DAY).computed_lane == "enter_now"


def test_scenario_26_a_fourth_position_in_a_sector_is_refused_unless_the_sector_is_unknown() -> None:
    desk = Desk()
    for number in range(3):
        desk.post(ticker=f"ZZ{number}")
    fourth = desk.post()
    assert (fourth.computed_lane, refused(fourth)) == ("flip_watch", ["L1"])
    assert desk.post(ticker="ZZTC", sector=None).computed_lane == "enter_now"


def test_scenario_27_twelve_open_on_a_side_refuse_that_side_only() -> None:
    desk = Desk(book_facts={"open_long": 12})
    long = desk.post()
    assert (long.computed_lane, long.reason, refused(long)) == ("flip_watch", "blocked", ["L2"])
    assert desk.take(receipt_from(mirrored(ticker="ZZTC"))).computed_lane == "enter_now"


def test_scenario_27_buying_power_below_the_smallest_size_refuses_and_otherwise_caps() -> None:
    assert refused(Desk(book_facts={"buying_power": D("999.99")}).post()) == ["L4"]
    desk = Desk(book_facts={"buying_power": D("1000.00")})
    assert desk.post().computed_lane == "enter_now"
    assert desk.fills[0].quantity == D("9.9601")


def test_scenario_27_with_executions_off_lanes_go_on_and_nothing_is_booked() -> None:
    desk = Desk(book_facts={"book_executions": False})
    decision = desk.post()
    assert (decision.computed_lane, decision.reason, refused(decision)) == ("flip_watch", "blocked", ["L0"])
    assert desk.fills == []


def test_scenario_28_with_one_slot_left_the_first_of_two_tickers_enters() -> None:
    desk = Desk()
    for number in range(9):
        desk.post(ticker=f"ZZ{number}", sector=None)
    assert desk.post(ticker="ZZTA", sector=None).computed_lane == "enter_now"
    second = desk.post(ticker="ZZTC", sector=None)
    assert (second.computed_lane, refused(second)) == ("flip_watch", ["L3"])


@pytest.mark.parametrize(("waited", "new_trigger", "blocks"), [(29, False, ["G15", "G16"]), (30, False, ["G16"]), (30, True, [])])
def test_scenario_29_after_a_winning_exit_half_an_hour_and_a_new_cycle_are_needed(
    waited: int, new_trigger: bool, blocks: list[str]
) -> None:
    desk = Desk()
    desk.post()
    assert desk.post(minutes=20, price=D("104.90")).computed_lane == "exit"
    again = later(desk, 20 + waited) if new_trigger else desk.post(minutes=20 + waited)
    assert refused(again) == blocks
    assert (again.computed_lane == "enter_now") == (not blocks)


@pytest.mark.parametrize(("waited", "blocks"), [(239, ["G15"]), (240, [])])
def test_scenario_29_after_a_losing_exit_four_hours_are_needed(waited: int, blocks: list[str]) -> None:
    desk = Desk()
    desk.post()
    assert desk.post(minutes=20, price=D("97.00")).computed_lane == "exit"
    again = later(desk, 20 + waited)
    assert refused(again) == blocks
    assert (again.computed_lane == "enter_now") == (not blocks)


def test_scenario_30_the_second_profile_sizes_by_risk_and_wants_a_fresher_trigger() -> None:
    config = load("tt-2026-02-12")
    desk = Desk(config)
    decision = desk.post()
    assert decision.computed_lane == "enter_now"
    assert desk.fills[0].quantity == D("79.6812")
    position = decision.state.position
    assert position is not None
    assert position.plan is not None
    assert [(tier.price, tier.source) for tier in position.plan.tiers] == [
        (D("104.90"), "TP5"),
        (D("106.90"), "atr"),
        (D("110.40"), "atr"),
    ]
    assert refused(Desk(config).post(trigger_ts=R_TS - 16 * MINUTE_MS)) == ["G06", "G07"]


@pytest.mark.parametrize(("vix", "quantity"), [(None, "38.5512"), (D(26), "28.9134"), (D(36), "19.2756")])
def test_scenario_31_risk_is_scaled_down_when_volatility_is_high(vix: Decimal | None, quantity: str) -> None:
    intent = Intent(
        kind="enter",
        ordinal=1,
        side="LONG",
        ticker="ZZTA",
        ts=R_TS,
        price=D("100.40"),
        rule="E1",
        reason="corridor_momentum",
        sl=D("60.40"),
        confidence=D("0.6947"),
    )
    facts = Facts(
        equity=D(100_000),
        buying_power=D(100_000),
        open_long=0,
        open_short=0,
        open_in_sector=0,
        entries_today=0,
        vix=vix,
        vix_ts=R_TS,
    )
    assert admit(intent, facts, load("tt-2026-02-12")).quantity == D(quantity)


def test_scenario_43_r_mirrored_is_a_short_with_the_same_distances() -> None:
    desk = Desk()
    decision = desk.take(receipt_from(mirrored()))
    assert (decision.score, decision.side, decision.computed_lane) == (D("93.71"), "SHORT", "enter_now")
    assert desk.fills[0].quantity == D("37.4820")
    position = decision.state.position
    assert position is not None
    assert position.plan is not None
    assert position.stop == D("103.80")
    assert [tier.price for tier in position.plan.tiers] == [D("98.70"), D("97.80"), D("95.90")]
