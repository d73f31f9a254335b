"""Every number of a profile is read: each key, changed alone, changes what is decided in a story made for it (9.4)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fillbook.signal.profile import Profile, ProfileError, load
from tests.support.signal_desk import Desk
from tests.support.signal_keys import FIRST, REFUSED, ROWS, SECOND, SECOND_ROWS, changed
from tests.support.signal_stories import Story


def told(config: Profile, story: Story) -> list[Any]:
    """What a desk under this profile does with a story."""
    desk = Desk(config)
    outcomes = []
    for incoming in story:
        decision = desk.take(incoming)
        position = decision.state.position
        shown = (decision.profile, decision.lane, decision.computed_lane, decision.reason, decision.path, decision.badges)
        blocks = [(block.rule, block.why) for block in decision.blocks]
        outcomes.append((*shown, blocks, None if position is None else (position.stop, position.plan and position.plan.tiers)))
    return [outcomes, [(fill.action_type, fill.quantity) for fill in desk.fills]]


@pytest.mark.parametrize(("path", "value", "story"), ROWS, ids=[row[0] for row in ROWS])
def test_changing_this_key_changes_a_decision(path: str, value: Any, story: Story) -> None:
    config = changed(FIRST, path, value)
    assert told(load(FIRST), story) != told(config, story)
    assert config.digest != load(FIRST).digest


@pytest.mark.parametrize(("path", "value", "story"), SECOND_ROWS, ids=[row[0] for row in SECOND_ROWS])
def test_changing_this_key_of_the_risk_profile_changes_a_size(path: str, value: Any, story: Story) -> None:
    assert told(load(SECOND), story)[1] != told(changed(SECOND, path, value), story)[1]


@pytest.mark.parametrize(("path", "value"), REFUSED.items())
def test_keys_with_one_possible_value_refuse_another_at_load(path: str, value: Any) -> None:
    with pytest.raises(ProfileError):
        changed(FIRST, path, value)


def test_the_stories_cover_every_key_of_both_profiles() -> None:
    keys = set(_leaves(json.loads(load(FIRST).text), "")) | set(_leaves(json.loads(load(SECOND).text), ""))
    assert {row[0] for row in (*ROWS, *SECOND_ROWS)} | set(REFUSED) == keys


def _leaves(node: Any, path: str) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, f"{path}.{name}" if path else name)
    elif isinstance(node, list) and node and isinstance(node[0], dict):
        for number, value in enumerate(node):
            yield from _leaves(value, f"{path}.{number}")
    else:
        yield path
