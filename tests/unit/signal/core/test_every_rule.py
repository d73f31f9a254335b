"""Every rule of the catalogue decides in a story made for it, and says so in a plain sentence (9.3)."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from fillbook.signal.explain import blocks_of, trace_of
from fillbook.signal.model import Decision
from fillbook.signal.profile import Profile, load, parse_profile
from fillbook.signal.rules import REASONS, RULES, WHYS, reason_words, sentence_of, slug_of
from tests.support.receipts import R_TS, body
from tests.support.signal_desk import Desk, receipt
from tests.support.signal_stories import (
    NEXT_DAY_0745,
    Story,
    adding,
    bare,
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

P = r()
ICHIMOKU: dict[str, Any] = {name: {**body()[name], "position": "below"} for name in ("ichimoku_d", "ichimoku_w")}
TRIMMED = [P, r(20, price="102.10")]

# The last receipt of each story is decided by the rule: as the rule of the lane, as the path, or as what refused.
STORIES: dict[str, Story] = {
    "P0": [P, r(20, price="75.00")],
    "D1": [r(state=None)],
    "D2": [r(phase_pct="0.70")],
    "D3": [P],
    "D4": [r(ltf_score="22.5"), r(1, phase_pct="0.66")],
    "D5": [receipt("Q")],
    "D6": [weak_setup()],
    "D7": [P, r(20, price="97.00"), r(21, price="97.00")],
    "D8": [r(ltf_score="22.5")],
    "M1": [P, bare(20, "96.90")],
    "M2": [wide(), wide(5, price="90.36")],
    "M3": [P, r(20, price="104.90")],
    "M4": [P, broken(20), broken(21)],
    "M5": [P, short(20), short(21)],
    "M6": TRIMMED,
    "M7": [P, r(10, price="101.93")],
    "M8": [P, r(20, daily_ema_cloud=cloud(position="below"))],
    "M9": [wide(), adding()],
    "M10": [P, r(5)],
    "M11": [P, r(20)],
    "E1": [P],
    "E2": [r(flags=flags(momentum_elite=True), ltf_score="22.5")],
    "E3": [r(htf_score="41", ltf_score="22.5")],
    "E4": [r(flags=flags(sq30_release=True), sl="101.00", phase_pct="0.66")],
    "E5": [r(trigger_price="106.00")],
    "E6": [setup()],
    "E7": [setup(ltf_score="13.6", htf_score="3", phase_pct="0.5", flags=flags(sq30_release=True))],
    "G01": [r(ticker="ES1!")],
    "G02": [fresh(-46)],
    "G03": [r(sl=None)],
    "G04": [r(sl="101.00")],
    "G05": [r(ltf_score="22.01")],
    "G06": [r(trigger_ts=None)],
    "G07": [r(trigger_ts=None)],
    "G08": [r(trigger_price="106.00")],
    "G09": [r(**ICHIMOKU)],
    "G10": [r(phase_pct="0.70")],
    "G11": [r(sl="101.00")],
    "G12": [r(sl="96.56")],
    "G13": [r(price="102.60")],
    "G14": [r(phase_pct="0.66")],
    "G15": [P, r(20, price="104.90"), fresh(49)],
    "G16": [P, r(20, price="104.90"), r(50)],
    "A1": [P, r(20, price="101.80")],
    "A2": [wide(), adding()],
    "A3": [wide(), adding(trigger_ts=R_TS - 15 * 60_000)],
    "A4": [wide(), adding(price="102.40")],
    "A6": [wide(), adding(29)],
    "A7": [P, r(20, price="102.10"), r(60, price="102.50")],
    "S1": TRIMMED,
    "S2": [P, r(20, price="103.10")],
    "S3": [wide(), wide(20, price="112.00"), wide(40, price="118.00")],
    "S4": [wide(), wide(40, price="102.60")],
}
BOOK: dict[str, dict[str, Any]] = {
    "L0": {"book_executions": False},
    "L1": {"open_in_sector": 3},
    "L2": {"open_long": 12},
    "L3": {"entries_today": 10},
    "L4": {"buying_power": Decimal("999.99")},
}


def altered(change: Callable[[dict[str, Any]], None]) -> Profile:
    document = json.loads(load("tt-2026-02").text)
    change(document)
    return parse_profile(json.dumps(document))


def decided_by(decision: Decision) -> set[str | None]:
    """Rules that decided something in this receipt."""
    failed = {check.rule for check in decision.compared if not check.holds}
    moved = None if decision.stop_move is None else decision.stop_move.rule
    return {decision.rule, decision.path, moved} | {block.rule for block in decision.blocks} | failed


@pytest.mark.parametrize("rule", STORIES)
def test_this_rule_decides_in_its_story(rule: str) -> None:
    config = altered(lambda document: document["scale_in"].update(max_adds=0)) if rule == "A2" else load("tt-2026-02")
    if rule == "S3":
        config = altered(lambda document: document["stop"].update(trail_atr="0.5"))
    desk = Desk(config)
    decision = [desk.take(incoming) for incoming in STORIES[rule]][-1]
    assert rule in decided_by(decision)
    if rule[0] in "DMP":
        assert decision.rule == rule


@pytest.mark.parametrize("rule", BOOK)
def test_this_limit_of_the_book_refuses_an_entry(rule: str) -> None:
    decision = Desk(book_facts=BOOK[rule]).post()
    assert [block.rule for block in decision.blocks] == [rule]


def test_a5_refuses_where_the_profile_lets_stops_wait_for_the_session() -> None:
    def change(document: dict[str, Any]) -> None:
        document["session"].update(stop_hits="regular", entries="any")

    desk = Desk(altered(change))
    desk.take(wide())
    position = desk.states["ZZTA"].position
    assert position is not None
    desk.change_position(stop=Decimal("103.00"), quantity=position.quantity)
    decision = desk.take(adding(NEXT_DAY_0745))
    assert [(block.rule, block.why) for block in decision.blocks] == [("M1", "session"), ("A5", "add")]


def test_a8_refuses_an_add_that_would_be_smaller_than_the_smallest_size() -> None:
    desk = Desk()
    desk.take(wide())
    position = desk.states["ZZTA"].position
    assert position is not None
    desk.change_position(opened_value=position.initial_value * 2 - 999)
    decision = desk.take(adding())
    assert (decision.computed_lane, [block.rule for block in decision.blocks]) == ("hold", ["A8"])
    assert decision.account is not None


def test_the_stories_name_every_rule_of_the_catalogue_and_no_other() -> None:
    assert set(STORIES) | set(BOOK) | {"A5", "A8"} == set(RULES)


def test_rule_slugs_are_distinct_and_each_sentence_can_be_said_about_its_story() -> None:
    assert len({rule.slug for rule in RULES.values()}) == len(RULES)
    for rule, story in STORIES.items():
        desk = Desk()
        for incoming in story:
            for row in trace_of(desk.take(incoming))["compared"]:
                said = sentence_of(row[0], row[1], row[3])
                assert "{" not in said
                assert said.endswith(".")
        assert slug_of(rule)


def test_reasons_have_neutral_words_that_never_sound_like_a_gain() -> None:
    for slug in REASONS:
        neutral = reason_words(slug, neutral=True).lower()
        assert not {"profit", "profits", "target", "targets", "gain", "gains"} & set(neutral.split())
    assert reason_words("closed:sl_breached") == "closed: stop reached"
    assert reason_words("E1") == "momentum in its corridor"
    assert reason_words("opening_balance") == "opening balance"
    assert all(WHYS.values())


def test_every_reason_an_intent_can_carry_is_in_the_catalogue() -> None:
    for story in STORIES.values():
        desk = Desk()
        for incoming in story:
            desk.take(incoming)
        assert {fill.reason for fill in desk.fills} <= set(REASONS)


def test_blocks_are_json_with_exact_numbers() -> None:
    assert blocks_of(Desk().post(sl=Decimal("96.56"))) == [{"rule": "G12", "why": "gate", "value": "1.1979", "limit": "1.2"}]
