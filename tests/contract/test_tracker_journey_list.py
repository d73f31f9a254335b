"""The list of journeys through the page is whole, and names tests that exist."""

from __future__ import annotations

from tests.support.listed import ROOT, listed, missing

LIST = ROOT / "infra" / "docs" / "tracker-journeys.md"


def test_every_journey_has_its_tests_in_order() -> None:
    found = listed(LIST)
    assert list(found) == [str(number) for number in range(1, 21)]
    assert [number for number, tests in found.items() if not tests] == []


def test_every_line_of_the_list_is_a_test_that_exists() -> None:
    assert missing(LIST) == []
