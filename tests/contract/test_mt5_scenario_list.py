"""The list of scenarios of room mt5 is whole, and names tests that exist."""

from __future__ import annotations

from tests.support.listed import ROOT, listed, missing
from tests.support.mt5_stories import IN_BOTH, STORIES

LIST = ROOT / "infra" / "docs" / "mt5-scenarios.md"
SCENARIOS = [str(number) for number in range(1, 37)]
CRITERIA = [f"AC{number}" for number in range(1, 7)]
TOLD = ("tests/e2e/test_mt5_fleet.py", "test_scenarios_of_single_accounts_hold_through_the_functions_in_both_languages")


def test_every_scenario_and_every_criterion_has_its_tests_in_order() -> None:
    found = listed(LIST)
    assert [number for number in found if not number.startswith("Gate")] == [*SCENARIOS, *CRITERIA]
    assert [number for number, tests in found.items() if not tests] == []


def test_every_line_of_the_list_is_a_test_that_exists() -> None:
    assert missing(LIST) == []


def test_every_story_is_listed_under_its_scenario() -> None:
    assert {number for number, tests in listed(LIST).items() if TOLD in tests and number.isdigit()} == set(STORIES)
    assert set(IN_BOTH) <= set(STORIES)
