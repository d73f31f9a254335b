"""The list of scenarios of room replay is whole, and names tests that exist."""

from __future__ import annotations

from tests.support.listed import ROOT, listed, missing

LIST = ROOT / "infra" / "docs" / "replay-scenarios.md"
SCENARIOS = [str(number) for number in range(1, 35)]
ACCEPTANCE = ["A1", "A2", "A3", "A5", "A6"]  # A4 is the table that the benchmark prints
BESIDE = ["Recorded points", "One number", "Nightly", "Pinned"]


def test_every_scenario_and_every_point_of_acceptance_has_its_tests_in_order() -> None:
    found = listed(LIST)
    assert list(found) == [*SCENARIOS, *ACCEPTANCE, *BESIDE]
    assert [number for number, tests in found.items() if not tests] == []


def test_every_line_of_the_list_is_a_test_that_exists() -> None:
    assert missing(LIST) == []
