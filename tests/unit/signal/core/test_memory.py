"""What the desk remembers: the ledger wins, pending exits, the price guard, hysteresis, the stored form."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from fillbook.signal.admission import admit
from fillbook.signal.definitions import cycle_key
from fillbook.signal.lanes import conclude, decide, might_ask
from fillbook.signal.memory import show
from fillbook.signal.model import EMPTY_STATE, LONG, Admission, Facts, Shown
from fillbook.signal.profile import load
from fillbook.signal.state import STATE_BYTES_MAX, plan_from_json, plan_to_json, state_from_json, state_to_json
from tests.support.receipts import MINUTE_MS, R_TS
from tests.support.signal_desk import Desk, receipt
from tests.support.signal_stories import bare, broken, fresh, r, setup, short, weak_setup

D = Decimal
CONFIG = load("tt-2026-02")
FACTS = Facts(equity=D(10**5), buying_power=D(10**5), open_long=0, open_short=0, open_in_sector=0, entries_today=0)


def holding() -> Desk:
    desk = Desk()
    desk.take(r())
    return desk


def test_scenario_14_another_script_version_clears_nothing() -> None:
    desk, same = holding(), holding()
    other = [desk.take(r(minutes, script_version="2.6.0")) for minutes in (10, 11, 20)]
    usual = [same.take(r(minutes)) for minutes in (10, 11, 20)]
    assert [decision.lane for decision in other] == [decision.lane for decision in usual]
    assert desk.states == same.states


def test_scenario_14_a_position_closed_by_another_path_is_gone_and_discovery_rules() -> None:
    desk = holding()
    desk.states["ZZTA"] = desk.states["ZZTA"]._replace(position=None)
    decision = desk.take(r(20, price="97.00"))
    assert (decision.lane, decision.computed_lane, decision.reason) == ("archive", "archive", "closed:closed_elsewhere")
    assert decision.state.desk.position_id is None


def test_a_position_opened_elsewhere_without_a_plan_runs_only_what_needs_none() -> None:
    desk = holding()
    position = desk.states["ZZTA"].position
    assert position is not None
    unknown = replace(position, plan=None, stop=None, cycles_used=())
    fresh_state = EMPTY_STATE._replace(position=unknown, last_price=D("100.40"))
    held = decide(r(20, price="96.00"), fresh_state, CONFIG)
    assert (held.computed_lane, held.rule, held.badges, held.stop_move) == ("hold", "M11", ("no_plan",), None)
    young = decide(r(10, price="96.00"), fresh_state, CONFIG)
    assert young.rule == "M10"
    out = decide(bare(20, "90.36"), fresh_state, CONFIG)
    assert (out.computed_lane, out.reason) == ("exit", "max_loss")


def test_ages_are_counted_from_the_receipt_even_when_the_ledger_stamps_the_bars_close() -> None:
    desk = holding()
    desk.change_position(first_entry_ts=R_TS + MINUTE_MS, last_buy_ts=R_TS + MINUTE_MS)
    assert desk.take(r(10, price="101.93")).reason == "near_tp"


def test_a_stop_missing_in_the_facts_is_the_plans() -> None:
    desk = holding()
    desk.change_position(stop=None)
    assert desk.take(r(20, price="97.00")).reason == "sl_breached"


def test_m5_is_confirmed_on_its_own_count_while_m4_stops_holding() -> None:
    desk = holding()
    first = desk.take(short(20, price=D("99.69"), sl=D("102.00")))
    assert {rule for rule, _, _ in first.state.desk.pending_exits} == {"M4", "M5"}
    second = desk.take(short(21, price=D("100.40")))
    assert second.reason == "flip"


def test_an_incomplete_receipt_breaks_the_run_of_a_pending_exit() -> None:
    desk = holding()
    desk.take(broken(20))
    desk.take(bare(21, "99.69"))
    again = desk.take(broken(22))
    assert "exit_pending" in again.badges


def test_an_unconfirmed_price_keeps_the_pending_exit_and_marks_nothing() -> None:
    desk = holding()
    desk.take(broken(20))
    ghost = desk.take(bare(21, "70.00"))
    assert (ghost.mark, ghost.state.last_price) == (None, D("99.69"))
    assert desk.take(broken(22)).reason == "invalidated"


def test_a_price_that_confirms_nothing_starts_its_own_wait() -> None:
    desk = holding()
    assert desk.take(bare(20, "70.00")).rule == "P0"
    assert desk.take(bare(21, "130.00")).rule == "P0"
    assert desk.take(bare(22, "131.00")).rule != "P0"


def test_a_refused_entry_leaves_no_cycle_and_no_cooldown_behind() -> None:
    desk = Desk(book_facts={"entries_today": 10})
    desk.take(r())
    assert desk.states["ZZTA"].desk.cycle_keys == ()
    desk.book_facts = {}
    assert desk.take(r(1)).computed_lane == "enter_now"


def test_an_entry_that_was_granted_but_not_booked_is_not_shown() -> None:
    wished = decide(r(), EMPTY_STATE, CONFIG)
    admissions = [admit(intent, FACTS, CONFIG) for intent in wished.intents]
    final = conclude(wished, admissions, [])
    assert (final.lane, final.reason, final.state.position) == ("flip_watch", "blocked", None)
    assert conclude(final, [], []) is final


def test_an_exit_that_was_not_booked_is_not_shown_either() -> None:
    state = holding().states["ZZTA"]
    wished = decide(r(20, price="97.00"), state, CONFIG)
    final = conclude(wished, [Admission(ordinal=1, quantity=D(1))], [])
    assert (final.computed_lane, final.state.position is None) == ("hold", False)


def test_an_admission_without_facts_is_a_bug_that_is_named() -> None:
    (intent,) = decide(r(), EMPTY_STATE, CONFIG).intents
    with pytest.raises(ValueError, match="facts"):
        admit(intent, None, CONFIG)


def test_a_flip_counts_what_its_own_exit_frees() -> None:
    desk = holding()
    desk.book_facts = {"buying_power": D(0), "open_in_sector": 3}
    desk.take(short(20))
    flipped = desk.take(short(21))
    assert flipped.reason == "flip"
    assert desk.fills[-1].quantity * desk.fills[-1].price <= D("3778.79496")


def test_acting_lanes_show_at_once_and_so_does_what_follows_them() -> None:
    shown = show(Shown("watch", "default", 1), "exit", "sl_breached", 2, False, 2)
    assert shown == Shown("exit", "sl_breached", 2)
    assert show(shown, "archive", "closed:sl_breached", 3, False, 2).lane == "archive"
    waiting = show(Shown("watch", "default", 1), "setup_watch", "setup", 2, False, 2)
    assert waiting == Shown("watch", "default", 1, "setup_watch", 1)
    assert show(waiting, "flip_watch", "blocked", 3, False, 2).pending_count == 1
    assert show(Shown("hold", "default", 1), "watch", "default", 2, False, 2).lane == "watch"
    assert show(Shown("watch", "default", 1), "hold", "default", 2, True, 2).lane == "hold"


def test_cycle_keys_fall_back_to_the_corridor_and_then_to_the_session_date() -> None:
    assert cycle_key(r(), LONG, 5, CONFIG) == "trigger:1770130800000:LONG"
    assert cycle_key(r(trigger_ts=None), LONG, 5, CONFIG) == "corridor:5:LONG"
    assert cycle_key(r(trigger_ts=None), LONG, None, CONFIG) == "session:2026-02-03:LONG"


def test_the_trend_of_four_hours_and_of_six_receipts_adds_flip_points() -> None:
    desk = Desk()
    first = desk.take(weak_setup(0))
    later = desk.take(weak_setup(61, htf_score="4", ltf_score="-8.9"))
    assert isinstance(first.inputs["flip_points"], int)
    assert later.inputs["flip_points"] == first.inputs["flip_points"] + 20


def test_the_htf_of_one_receipt_per_bucket_of_the_last_four_hours_is_kept() -> None:
    desk = Desk()
    for minutes in range(600):
        state = desk.take(weak_setup(minutes)).state
    assert len(state.market.buckets) == 49
    assert len(state.market.recent) == 6
    assert len(json.dumps(state_to_json(state)).encode()) < STATE_BYTES_MAX


def test_a_flip_watch_ends_with_momentum() -> None:
    desk = Desk()
    assert desk.take(setup(phase_pct="0.66")).state.market.flip_long_until is not None
    assert desk.take(r(1, phase_pct="0.66")).state.market.flip_long_until is None


def test_states_and_plans_survive_their_stored_form() -> None:
    desk = holding()
    desk.take(broken(20))
    state = desk.states["ZZTA"]
    stored = json.loads(json.dumps(state_to_json(state)))
    assert state_from_json(stored, state.position) == state
    assert state_from_json(None) == EMPTY_STATE
    assert state.position is not None
    assert state.position.plan is not None
    assert plan_from_json(json.loads(json.dumps(plan_to_json(state.position.plan)))) == state.position.plan


def test_a_receipt_that_cannot_ask_is_known_before_anything_is_read() -> None:
    assert might_ask(r(), CONFIG)
    assert might_ask(setup(), CONFIG)
    for incoming in (
        bare(1, "100"),
        r(sl=None),
        r(sl="95.00"),
        r(phase_pct="0.76"),
        r(ltf_score="23"),
        fresh(-46),
        r(ticker="VIX"),
    ):
        assert not might_ask(incoming, CONFIG)
    assert not might_ask(receipt("Q"), CONFIG)
