"""Laws of the pure core over generated histories (signals specification 9.2)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fillbook.signal.explain import blocks_of, blocks_text, trace_of
from fillbook.signal.lanes import decide, might_ask
from fillbook.signal.model import ACTING_LANES, EMPTY_STATE, LANES, LONG, POSITION_LANES, Block, Check, Decision, Receipt
from fillbook.signal.profile import load
from fillbook.signal.rules import REASONS, RULES, WHYS, reason_words
from fillbook.signal.state import STATE_BYTES_MAX, state_from_json, state_text, state_to_json
from fillbook.signal.store import decision_row
from fillbook.values import frozen
from tests.support.signal_desk import Desk
from tests.support.signal_histories import history

SEEDS = st.integers(min_value=0, max_value=2**32 - 1)
SHARED = st.integers(min_value=0, max_value=settings().max_examples - 1)
"""Seeds of the histories that laws look at together: playing one costs more than all that is asked of it."""
PROFILES = st.sampled_from(["tt-2026-02", "tt-2026-02-12"])
NAMED = {"enter_now": {"ENTRY", "ADD_ENTRY"}, "trim": {"TRIM"}, "exit": {"EXIT"}}
TRACE_BYTES_MAX = 4096
NOW = datetime(2026, 2, 3, tzinfo=UTC)


@frozen
class Step:
    """A receipt with its decision, the fills it caused and what the book held of its ticker afterwards (None: nothing)."""

    ticker: str
    decision: Decision
    fills: tuple[Any, ...]
    held: Decimal | None


@cache
def steps(seed: int, profile: str) -> tuple[Step, ...]:
    """A history as it was played, once for all laws that only look."""
    return tuple(
        Step(
            ticker=incoming.ticker,
            decision=decision,
            fills=tuple(fills),
            held=desk.lots[incoming.ticker].quantity if incoming.ticker in desk.lots else None,
        )
        for desk, incoming, decision, fills in played(seed, profile)
    )


def played(seed: int, profile: str, tickers: int = 1) -> Iterator[tuple[Desk, Receipt, Decision, list[Any]]]:
    """Every receipt of a history with its decision and the fills it caused."""
    desk = Desk(load(profile))
    for incoming in history(seed, tickers=tickers):
        before = len(desk.fills)
        decision = desk.take(incoming)
        yield desk, incoming, decision, desk.fills[before:]


@given(SHARED, PROFILES)
def test_each_receipt_has_exactly_one_lane_a_rule_and_a_reason_of_the_catalogue(seed: int, profile: str) -> None:
    for decision in (step.decision for step in steps(seed, profile)):
        assert decision.lane in LANES
        assert decision.computed_lane in LANES
        assert decision.rule in RULES
        assert decision.compared
        assert {check.rule for check in decision.compared} <= set(RULES)
        assert {block.rule for block in decision.blocks} <= set(RULES)
        assert {block.why for block in decision.blocks} <= set(WHYS)
        assert reason_words(decision.reason)
        assert decision.reason.removeprefix("closed:") in REASONS or decision.reason in RULES


@given(SHARED, PROFILES)
def test_an_acting_lane_is_shown_exactly_when_its_action_was_booked(seed: int, profile: str) -> None:
    for decision, fills in ((step.decision, step.fills) for step in steps(seed, profile)):
        if decision.rule == "P0":
            assert fills == ()
            continue
        assert (decision.lane in ACTING_LANES) == bool(fills)
        assert len(decision.action_ids) == len(fills)
        if fills:
            assert decision.lane == decision.computed_lane
            assert fills[-1].action_type in NAMED[decision.lane]


@given(SHARED, PROFILES)
def test_the_board_never_claims_a_position_the_book_does_not_hold(seed: int, profile: str) -> None:
    for step in steps(seed, profile):
        decision, holds = step.decision, step.held is not None
        assert (decision.state.position is not None) == holds
        if decision.rule != "P0":
            assert (decision.lane in POSITION_LANES) == holds


@given(SHARED, PROFILES)
def test_a_stop_never_loosens_and_acts_only_from_the_next_receipt(seed: int, profile: str) -> None:
    stops: dict[str, Decimal] = {}
    for decision in (step.decision for step in steps(seed, profile)):
        position = decision.state.position
        if position is None or position.stop is None:
            continue
        before = stops.get(position.position_id)
        if before is not None:
            assert position.stop >= before if position.side == LONG else position.stop <= before
            assert (decision.stop_move is None) == (position.stop == before)
        stops[position.position_id] = position.stop


@given(SHARED, PROFILES)
def test_never_more_is_closed_than_was_opened_and_adds_stay_within_their_value(seed: int, profile: str) -> None:
    opened: dict[str, Decimal] = {}
    config = load(profile)
    for step in steps(seed, profile):
        for fill in step.fills:
            sign = 1 if fill.action_type in ("ENTRY", "ADD_ENTRY") else -1
            opened[fill.ticker] = opened.get(fill.ticker, Decimal(0)) + sign * fill.quantity
            assert fill.quantity > 0
        assert opened.get(step.ticker, Decimal(0)) >= 0
        position = step.decision.state.position
        if position is not None:
            assert position.quantity == opened[step.ticker] == step.held
            assert position.opened_value <= config.scale_in.max_notional_x * position.initial_value


@given(SEEDS, PROFILES)
def test_a_history_played_twice_gives_the_same_bytes_also_through_stored_states(seed: int, profile: str) -> None:
    config = load(profile)
    for desk, incoming, decision, _ in played(seed, profile):
        text = json.dumps(state_to_json(decision.state))
        assert len(text.encode()) <= STATE_BYTES_MAX
        restored = state_from_json(json.loads(text), decision.state.position)
        assert restored == decision.state
        desk.states[incoming.ticker] = restored
    first = [_text(decision) for decision in desk.decisions]
    again = Desk(config)
    assert [_text(again.take(incoming)) for incoming in history(seed)] == first


@given(SHARED, PROFILES)
def test_no_number_is_ever_a_float_and_a_trace_stays_small(seed: int, profile: str) -> None:
    for decision in (step.decision for step in steps(seed, profile)):
        for value in _leaves(decision._replace(context=None)):
            assert not isinstance(value, float)
        assert len(json.dumps(trace_of(decision)).encode()) <= TRACE_BYTES_MAX


@given(SHARED, PROFILES)
def test_what_is_written_as_text_says_what_its_values_say(seed: int, profile: str) -> None:
    compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
    for decision in (step.decision for step in steps(seed, profile)):
        assert state_text(decision.state) == compact(state_to_json(decision.state))
        assert blocks_text(decision.blocks) == compact([_values(block) for block in decision.blocks])
        compared = [list(_values(check).values()) for check in decision.compared]
        assert trace_of(decision)["compared"] == compared
        row = json.loads(decision_row("live", decision, blocks_text(decision.blocks), [], NOW))
        assert (row["trace"], row["blocks"]) == (trace_of(decision), blocks_of(decision))
        assert (row["lane"], row["score"]) == (decision.lane, None if decision.score is None else str(decision.score))


def _values(compared: Check | Block) -> dict[str, Any]:
    """The fields of a comparison or a block as JSON values, numbers as plain text."""
    return {name: _value(value) for name, value in compared._asdict().items()}


def _value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_value(item) for item in value]
    return f"{value.normalize():f}" if isinstance(value, Decimal) else value


@given(SEEDS, PROFILES)
def test_a_receipt_that_asks_the_book_could_be_known_from_itself_alone(seed: int, profile: str) -> None:
    config = load(profile)
    states: dict[str, Any] = {}
    for desk, incoming, _, _ in played(seed, profile, tickers=2):
        wished = decide(incoming, states.get(incoming.ticker, EMPTY_STATE), config)
        if any(intent.asks for intent in wished.intents):
            assert might_ask(incoming, config)
        states[incoming.ticker] = desk.states[incoming.ticker]


@given(SEEDS)
def test_tickers_do_not_touch_each_other_except_through_the_book(seed: int) -> None:
    facts = {"equity": Decimal(10**6), "buying_power": Decimal(10**6), "open_in_sector": 0, "entries_today": 0}
    together = Desk(book_facts=facts)
    mixed = history(seed, tickers=3)
    for incoming in mixed:
        together.take(incoming)
    for ticker in {incoming.ticker for incoming in mixed}:
        alone = Desk(book_facts=facts)
        own = [alone.take(incoming) for incoming in mixed if incoming.ticker == ticker]
        shared = [decision for decision in together.decisions if decision.ticker == ticker]
        assert [_told(decision) for decision in own] == [_told(decision) for decision in shared]


def _text(decision: Decision) -> str:
    """Everything that is stored of a decision."""
    return json.dumps([_told(decision), trace_of(decision), state_to_json(decision.state), decision.action_ids])


def _told(decision: Decision) -> list[Any]:
    return [
        decision.version,
        decision.lane,
        decision.computed_lane,
        decision.rule,
        decision.reason,
        decision.badges,
        blocks_of(decision),
    ]


def _leaves(value: Any) -> Iterator[Any]:
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _leaves(getattr(value, field.name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, tuple | list | frozenset):
        assert len(value) == len(getattr(value, "_fields", value)), "a value has all its fields, however it was made"
        for item in value:
            yield from _leaves(item)
    else:
        yield value
