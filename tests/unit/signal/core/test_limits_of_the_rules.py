"""Edges that no numbered scenario names: switched-off cases, stale volatility, sides, sessions, the shape of a decision."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from fillbook.signal.admission import admit, volatility_factor
from fillbook.signal.explain import account_of, trace_of
from fillbook.signal.lanes import decide
from fillbook.signal.model import EMPTY_STATE, Facts, Intent
from fillbook.signal.profile import RiskSize, load, parse_profile
from fillbook.signal.scoring import score_of
from fillbook.signal.sessions import instant, is_open, is_regular, phase, session_date
from tests.support.receipts import MINUTE_MS, R_TS, body
from tests.support.signal_desk import Desk
from tests.support.signal_stories import adding, broken, fresh, r, short, wide

D = Decimal
FIRST, SECOND = load("tt-2026-02"), load("tt-2026-02-12")
HOUR = 60 * MINUTE_MS


def facts(**changes: object) -> Facts:
    known: dict[str, object] = {"equity": D(10**5), "buying_power": D(10**5)}
    known |= dict.fromkeys(("open_long", "open_short", "open_in_sector", "entries_today"), 0)
    return Facts(**(known | changes))  # type: ignore[arg-type]


def test_leaving_the_corridor_never_exits_where_the_profile_says_null() -> None:
    document = json.loads(FIRST.text)
    document["exit"]["corridor_adverse_pct"] = None
    desk = Desk(parse_profile(json.dumps(document)))
    desk.take(r())
    decisions = [desk.take(broken(minutes)) for minutes in (20, 21, 22)]
    assert [decision.computed_lane for decision in decisions] == ["hold"] * 3
    assert all("exit_pending" not in decision.badges for decision in decisions)


def test_the_switch_that_stops_entries_stops_adds_too_but_no_exit() -> None:
    desk = Desk()
    desk.take(wide())
    desk.book_facts = {"book_executions": False}
    refused = desk.take(adding())
    assert (refused.computed_lane, [block.rule for block in refused.blocks]) == ("hold", ["L0"])
    assert desk.take(r(40, price="86.00")).reason == "sl_breached"


@pytest.mark.parametrize(("age_hours", "factor"), [(0, "0.75"), (24, "0.75"), (25, "1")])
def test_a_volatility_older_than_a_day_is_unknown(age_hours: int, factor: str) -> None:
    assert isinstance(SECOND.size, RiskSize)
    assert volatility_factor(facts(vix=D(26), vix_ts=R_TS - age_hours * HOUR), R_TS, SECOND.size) == D(factor)


@pytest.mark.parametrize(("vix", "factor"), [("35", "0.75"), ("35.01", "0.5"), ("25", "1")])
def test_a_volatility_factor_needs_more_than_its_limit(vix: str, factor: str) -> None:
    assert isinstance(SECOND.size, RiskSize)
    assert volatility_factor(facts(vix=D(vix), vix_ts=R_TS), R_TS, SECOND.size) == D(factor)


def intent(price: str) -> Intent:
    return Intent(
        kind="enter",
        ordinal=1,
        side="LONG",
        ticker="ZZTA",
        ts=R_TS,
        price=D(price),
        rule="E1",
        reason="corridor_momentum",
        sl=D(1),
        confidence=D(0),
    )


def test_a_price_too_high_for_one_step_of_quantity_is_refused_and_not_rounded_up() -> None:
    admission = admit(intent("10000001"), facts(), FIRST)
    assert (admission.granted, [(block.rule, block.why) for block in admission.refusals]) == (False, [("L4", "too_small")])
    assert admit(intent("10000000"), facts(), FIRST).quantity == D("0.0001")


def test_the_board_names_the_held_side_while_the_chart_speaks_for_the_other() -> None:
    desk = Desk()
    desk.take(r())
    pending = desk.take(short(20))
    assert (pending.side, pending.inputs["side"]) == ("LONG", "SHORT")
    assert desk.take(short(21)).side == "SHORT"


def test_hours_are_known_by_the_minute() -> None:
    opens = R_TS - 45 * MINUTE_MS
    assert [is_regular(opens + offset, FIRST.trading) for offset in (-1, 0, 390 * MINUTE_MS - 1, 390 * MINUTE_MS)] == [
        False,
        True,
        True,
        False,
    ]
    assert [phase(opens + hours * HOUR, FIRST.trading) for hours in (-6, -1, 1, 7, 13)] == [
        "closed",
        "pre",
        "regular",
        "post",
        "closed",
    ]
    assert is_open("any", opens - 1, FIRST.trading)
    assert not is_open("regular", opens - 1, FIRST.trading)
    assert instant(R_TS).isoformat() == "2026-02-03T15:15:00+00:00"
    assert str(session_date(R_TS + 4 * 24 * HOUR, FIRST.trading)) == "2026-02-09"


def test_outside_the_session_the_gate_says_which_phase_it_is() -> None:
    (check,) = [check for check in decide(fresh(-46), EMPTY_STATE, FIRST).compared if check.rule == "G02"]
    assert (check.value, check.limit, check.holds) == ("pre", "regular", False)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"phase_pct": "0.30"}, "3"),
        ({"phase_pct": None, "phase_zone": None}, "-5"),
        ({"trigger_reason": "", "phase_zone": None, "flags": {}, "trigger_ts": None}, "-15"),
        ({"rsi": {"divergence": {"type": "bullish"}}}, "4"),
        ({"rsi": {"divergence": {"type": "bearish"}}}, "-4"),
        ({"td_sequential": {"boost": D("-7.5")}}, "-5"),
        ({"triggers": ["A_LONG", "B_BULL"]}, "3"),
        ({"triggers": ["A_LONG", "B_BULL", "C_BULL", "D_BULL"], "tf_tech": None}, "2.67"),
        ({"triggers": ["A_SHORT", "B_BEAR"]}, "-13"),
        ({"triggers": None}, "-7"),
        ({"tf_tech": None}, "-8.33"),
        ({"tf_tech": {"D": {"ema": {"stack": -1}}, "W": {"ema": {"stack": None}}}}, "-16.33"),
        ({"htf_score": "16"}, "-4.4"),
        ({"htf_score": "10"}, "-7.5"),
    ],
)
def test_each_part_of_the_score_adds_what_the_table_says(changes: dict[str, object], difference: str) -> None:
    score = decide(r(**changes), EMPTY_STATE, FIRST).score
    assert score is not None
    assert abs(score - D("94.73") - D(difference)) <= D("0.01")


def test_the_score_is_kept_between_nought_and_a_hundred() -> None:
    best = r(td_sequential={"boost": 5}, flags={**body()["flags"], "momentum_elite": True, "sq30_release": True})
    assert decide(best, EMPTY_STATE, FIRST).score == 100
    worst = r(phase_pct="1", td_sequential={"boost": -5}, triggers=["A_BEAR", "B_BEAR"], tf_tech=None, flags=None, sl="101")
    assert score_of(worst, long=True, rr=None, completion=None, status="INVALIDATED") >= 0


def test_a_refused_wish_keeps_everything_that_was_compared_and_the_account_it_saw() -> None:
    decision = Desk(book_facts={"entries_today": 10}).post()
    rules = [row[0] for row in trace_of(decision)["compared"]]
    assert {"E1", "G01", "G16", "L0", "L4"} <= set(rules)
    assert [item.kind for item in decision.intents] == ["enter"]
    assert decision.action_ids == ()
    account = account_of(decision.account)
    assert account is not None
    assert (account["entries_today"], account["equity"]) == (10, "100000")
