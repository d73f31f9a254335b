"""Where two runs part: the first difference per ticker, its field with both values, its cause, the rule and the profile key."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from fillbook.replay.causes import Compared, Told, changed_keys, explained, first_judged
from fillbook.replay.compare import Line, Tally, compare, pairs, positions
from fillbook.replay.model import Cause, Totals
from fillbook.signal.profile import load
from fillbook.signal.rules import PROFILE_KEYS, RULES
from tests.support.receipts import MINUTE_MS, R_TS
from tests.support.replay_logs import Log, divergences
from tests.support.signal_desk import receipt
from tests.support.signal_histories import history
from tests.support.signal_keys import FIRST, ROWS, SECOND, SECOND_ROWS, Row, changed
from tests.support.signal_stories import fresh, r

P = [r(), r(20, price="102.10"), r(40, price="104.90")]  # ENTRY, TRIM, EXIT


def line(ticker: str = "ZZTA", ts: int = 0, **changes: Any) -> Line:
    return Line(ticker, ts, f"{ticker}@{ts}", "watch", "watch", "default")._replace(**changes)


def test_equal_logs_have_no_difference() -> None:
    story = history(seed=7, length=80, tickers=3)
    assert divergences(Log(story), Log(story)) == []


# Scenario 23
def test_another_limit_is_found_with_its_rule_both_limits_and_its_key() -> None:
    stricter = changed(FIRST, "entry.rr.base", "1.5")
    [found] = divergences(Log(P), Log(P, stricter))
    assert (found.ticker, found.ts, found.field) == ("ZZTA", R_TS, "computed_lane")
    assert (found.value_a, found.value_b) == ("enter_now", "flip_watch")
    assert (found.cause, found.rule) == (Cause.CONFIG, "G12")
    assert found.detail is not None
    assert found.detail["key"] == "entry.rr.base"
    assert (found.detail["limits"], found.detail["values"]) == (["1.2", "1.5"], ["1.3529", "1.3529"])
    assert found.later_count == 2


def test_a_rule_that_one_side_did_not_keep_takes_its_limit_from_the_profile() -> None:
    late = [r(phase_pct="0.66")]  # G14 refuses under both, so the looser side kept nothing of G12
    [found] = divergences(Log(late), Log(late, changed(FIRST, "entry.rr.base", "1.5")))
    assert (found.field, found.cause, found.rule) == ("blocks", Cause.CONFIG, "G12")
    assert found.detail is not None
    assert (found.detail["key"], found.detail["limits"]) == ("entry.rr.base", ["1.2", "1.5"])


# Scenario 24
def test_a_receipt_on_one_side_only_is_an_input() -> None:
    [found] = divergences(Log(P), Log(P[1:]))
    assert (found.field, found.ts, found.cause) == ("receipt", R_TS, Cause.INPUT)
    assert (found.value_a, found.value_b) == (P[0].receipt_id, None)


def test_another_content_at_the_same_ts_is_an_input_too() -> None:
    other = [P[0], r(20, price="102.11"), P[2]]
    [found] = divergences(Log(P), Log(other))
    assert (found.field, found.cause, found.ts) == ("receipt", Cause.INPUT, R_TS + 20 * MINUTE_MS)
    assert (found.value_a, found.value_b) == (P[1].receipt_id, other[1].receipt_id)


def test_other_states_before_the_first_receipt_are_the_start() -> None:
    held = Log([fresh(-1440), *P])
    held.decisions.pop(("ZZTA", R_TS - 1440 * MINUTE_MS))
    [found] = divergences(Log(P), held, {"ZZTA": (None, {"version": 1, "shown": {"lane": "hold"}})})
    assert (found.cause, found.detail) == (Cause.START, {"differs": ["left is empty"]})
    [found] = divergences(Log(P), held, {"ZZTA": ({"version": 1, "last_ts": 1}, {"version": 2, "last_ts": 1})})
    assert found.detail == {"differs": ["version"]}


def test_an_outcome_that_no_value_explains_is_the_code() -> None:
    a, b = Log(P), Log(P)
    place = ("ZZTA", R_TS)
    planted = b.decisions[place]
    refused = [check._replace(holds=False) if check.rule == "G13" else check for check in planted.compared]
    b.decisions[place] = planted._replace(computed_lane="flip_watch", compared=tuple(refused))
    [found] = divergences(a, b)
    assert (found.cause, found.rule, found.field) == (Cause.CODE, "G13", "computed_lane")
    assert found.detail is not None
    assert found.detail["values"][0] == found.detail["values"][1]


def test_a_full_book_is_a_matter_of_facts() -> None:
    [found] = divergences(Log(P), Log(P, entries_today=10))
    assert (found.cause, found.rule) == (Cause.FACTS, "L3")
    assert found.detail is not None
    assert found.detail["account"] == [{"entries_today": 0}, {"entries_today": 10}]


def test_another_quantity_with_other_facts_is_a_matter_of_facts() -> None:
    [found] = divergences(Log(P[:1]), Log(P[:1], buying_power=Decimal(1500)))
    assert (found.field, found.cause, found.rule) == ("quantity", Cause.FACTS, "E1")
    assert (found.value_a, found.value_b) == (["37.6374"], ["14.9402"])


def test_another_score_alone_is_found_where_no_outcome_differs() -> None:
    a, b = Log(P), Log(P)
    for minutes in (20, 40):
        place = ("ZZTA", R_TS + minutes * MINUTE_MS)
        b.decisions[place] = b.decisions[place]._replace(score=Decimal(1))
    [found] = divergences(a, b)
    assert (found.field, found.value_b, found.later_count) == ("score", "1", 1)
    assert found.detail is not None
    assert found.detail["figuresOnly"] is True


def test_the_earliest_outcome_comes_first_whatever_its_ticker() -> None:
    story = [r(), r(5, ticker="ZZTB"), receipt("Q", minutes=9, ticker="ZZTC")]
    found = divergences(Log(story), Log([r(1), story[1]]))
    assert [(one.ticker, one.cause) for one in found] == [("ZZTA", Cause.INPUT), ("ZZTC", Cause.INPUT)]
    assert (found[0].ts, found[0].later_count) == (R_TS, 1)


def test_a_figure_never_hides_a_later_outcome() -> None:
    a = [line(ts=1, score="60"), line(ts=2), line(ts=3), line(ts=4)]
    b = [line(ts=1, score="61"), line(ts=2), line(ts=3, lane="hold"), line(ts=4, lane="hold")]
    [found] = compare(a, b)
    assert (found.ts, found.field, found.later_count) == (3, "lane", 1)


def test_a_log_that_does_not_ascend_is_refused() -> None:
    with pytest.raises(ValueError, match="ascend"):
        list(pairs([line(ts=2), line(ts=1)], []))


def test_of_the_two_shipped_profiles_the_first_difference_names_bucket_rule_and_key() -> None:
    story = [r(trigger_ts=R_TS - 16 * MINUTE_MS)]  # sixteen minutes old: fresh under the first, too old under the second
    [found] = divergences(Log(story), Log(story, load(SECOND)))
    assert (found.cause, found.rule) == (Cause.CONFIG, "G06")
    assert found.detail is not None
    assert found.detail["key"] == "entry.max_trigger_age_min"
    assert found.detail["keys"]["entry.max_trigger_age_min"] == ["390", "15"]


def test_a_size_is_explained_by_what_makes_sizes_and_not_by_a_limit_that_decided_nothing() -> None:
    [found] = divergences(Log([r()]), Log([r()], load(SECOND)))
    assert (found.field, found.cause, found.rule) == ("quantity", Cause.CONFIG, "E1")
    assert found.detail is not None
    assert (found.detail["key"], found.detail["keys"]["size.mode"]) == ("size.mode", ["confidence_notional", "risk_budget"])
    assert "entry.max_trigger_age_min" not in found.detail["keys"]


# Keys that move a stop, a later target or the path of a refused entry: nothing decided or booked in their stories differs.
UNSEEN = frozenset({"version", "stop", "tiers", "paths"})


@pytest.mark.parametrize(("name", "row"), [*((FIRST, row) for row in ROWS), *((SECOND, row) for row in SECOND_ROWS)])
def test_a_profile_that_differs_in_one_key_is_explained_by_that_key(name: str, row: Row) -> None:
    path, value, story = row
    found = divergences(Log(story, load(name)), Log(story, changed(name, path, value)))
    if not found:
        assert path.partition(".")[0] in UNSEEN, "something else changed and nobody saw it"
        return
    assert found[0].cause is Cause.CONFIG
    assert found[0].detail is not None
    assert path in found[0].detail["keys"]
    assert found[0].detail.get("key") in (path, None)


def test_the_catalogues_keys_belong_to_rules_and_to_profiles() -> None:
    assert set(PROFILE_KEYS) <= set(RULES)
    leaves = [key for name in (FIRST, SECOND) for key in changed_keys({}, _document(name))]
    for paths in PROFILE_KEYS.values():
        for path in paths:
            assert any(key == path or key.startswith(f"{path}.") for key in leaves), path


def _document(name: str) -> dict[str, Any]:
    told = Log([r()], load(name)).told(("ZZTA", R_TS))
    assert told is not None
    assert told.config is not None
    return dict(told.config)


def test_the_totals_of_a_side_are_what_it_decided_and_booked() -> None:
    a, b = Tally(), Tally()
    story = [*P, r(60, trigger_ts=R_TS + 59 * MINUTE_MS)]
    compare(a.over(Log(P).lines()), b.over(Log(story[1:], changed(FIRST, "size.max", "6000")).lines()))
    assert a.totals() == Totals(decided=3, entries=1, adds=0, trims=1, exits=1, realized_pnl="106.13758")
    assert (b.totals().decided, a.tickers) == (3, {"ZZTA"})
    assert positions(a, a) == {"equal": 1, "left_only": 0, "right_only": 0, "different": 0}


def test_positions_are_joined_by_the_action_that_opened_them() -> None:
    sides = []
    for config, story in ((load(FIRST), P), (changed(FIRST, "tiers.0.cum", "0.5"), P), (load(FIRST), [r(minutes=1)])):
        side = Tally()
        list(side.over(Log(story, config).lines()))
        sides.append(side)
    assert positions(sides[0], sides[1]) == {"equal": 0, "left_only": 0, "right_only": 0, "different": 1}
    assert positions(sides[0], sides[2]) == {"equal": 0, "left_only": 1, "right_only": 1, "different": 0}


def test_an_amount_that_nobody_knows_makes_the_sum_unknown() -> None:
    side = Tally()
    list(side.over([line(actions='[["x","EXIT","1","2",null,"x"]]'), line(ts=1, actions='[["y","EXIT","1","2","3","x"]]')]))
    assert side.totals().realized_pnl is None


def test_without_a_profile_the_rule_is_named_all_the_same() -> None:
    a, b = (Log(P, config).told(("ZZTA", R_TS)) for config in (load(FIRST), changed(FIRST, "entry.rr.base", "1.5")))
    assert a is not None
    assert b is not None
    [difference] = compare(Log(P).lines()[:1], Log(P, changed(FIRST, "entry.rr.base", "1.5")).lines()[:1])
    found = explained(difference, replace(a, config=None), b, (None, None), None)
    assert (found.cause, found.rule) == (Cause.CONFIG, "G12")
    assert found.detail is not None
    assert (found.detail["limits"], found.detail["key"]) == (["1.2", "1.5"], None)


def test_a_side_that_kept_everything_is_believed_when_it_did_not_ask() -> None:
    asked = Compared("X1", 1, ">=", 2, holds=False)
    kept = Told(config_digest="a", config=None, compared=[asked], account=None)
    whole = Told(config_digest="a", config=None, compared=[], account=None, is_whole=True)
    assert first_judged(kept, whole) is None
    assert first_judged(kept, replace(whole, is_whole=False)) is not None
