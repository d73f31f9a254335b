"""A larger fleet is computed from two measured ones, and never taken for measured."""

from __future__ import annotations

import pytest

from infra.cost.growth import grown, projected


def test_what_each_account_adds_is_told_from_what_every_tick_has() -> None:
    found = grown(12.0, 42.0, (100, 400), 10_000)  # 2 and 0.1 an account
    assert found.projected == pytest.approx(2 + 1_000)
    assert found.exponent == pytest.approx(0.9037, abs=0.0001)


def test_what_grew_faster_than_the_fleet_goes_on_doing_so() -> None:
    found = grown(1.0, 16.0, (100, 400), 1_600)
    assert (found.exponent, found.projected) == (pytest.approx(2.0), pytest.approx(256.0))


def test_what_does_not_grow_stays_and_what_is_not_there_has_no_exponent() -> None:
    assert grown(3.0, 3.0, (100, 400), 10_000).projected == 3.0
    assert grown(0.0, 0.0, (100, 400), 10_000).exponent is None
    assert grown(0.0, 30.0, (100, 400), 700).projected == pytest.approx(60.0)


@pytest.mark.parametrize("sizes", [(400, 100), (0, 100), (100, 100)])
def test_two_sizes_that_do_not_rise_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="two sizes"):
        grown(1.0, 2.0, sizes, 1_000)


def test_every_count_of_a_tick_is_grown_but_peaks_which_are_no_sums() -> None:
    tick = {100: {"calls x push": {"requests": 2.0}}, 400: {"calls x push": {"requests": 8.0}, "function x": {"peak_bytes": 9.0}}}
    counts, how = projected(tick, 10_000)
    assert counts["calls x push"]["requests"] == pytest.approx(200)
    assert how["function x"] == {}
