"""The list of scenarios of room snapshot is whole, and names tests that exist."""

from __future__ import annotations

from tests.support.listed import ROOT, listed, missing

LIST = ROOT / "infra" / "docs" / "snapshot-scenarios.md"
SCENARIOS = [str(number) for number in range(1, 43)]
ACCEPTANCE = [f"A{number}" for number in range(1, 10)]


def test_every_scenario_and_every_point_of_acceptance_has_its_tests_in_order() -> None:
    found = listed(LIST)
    assert list(found) == [*SCENARIOS, *ACCEPTANCE]
    assert [number for number, tests in found.items() if not tests] == []


def test_every_line_of_the_list_is_a_test_that_exists() -> None:
    assert missing(LIST) == []


def test_every_scenario_is_shown_with_bundles_in_the_local_cloud() -> None:
    shown = {number for number, tests in listed(LIST).items() if any(path.startswith("tests/e2e/") for path, _ in tests)}
    assert shown >= set(SCENARIOS)
