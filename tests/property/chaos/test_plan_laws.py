"""Laws of a chaos plan: a pure value of its seed, with every kind in it and bounds on how much may go wrong at once."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fillbook.calendar import NEW_YORK, calendar
from infra.chaos import days, plan
from infra.chaos.kinds import KINDS
from infra.chaos.strike import PHASES
from tests.support.campaigns import small_or_full

FULL = 24
seeds = st.integers(min_value=0, max_value=10**6)


@settings(max_examples=small_or_full(8, 200))
@given(seed=seeds, number=st.integers(1, 8), faults=st.integers(0, 60))
def test_the_same_seed_gives_the_same_plan_and_another_seed_another(seed: int, number: int, faults: int) -> None:
    one = plan.drawn(seed, number, faults=faults)
    assert one == plan.drawn(seed, number, faults=faults)
    assert one.digest == plan.drawn(seed, number, faults=faults).digest
    assert one.digest != plan.drawn(seed + 1, number, faults=faults).digest


@settings(max_examples=small_or_full(4, 200))
@given(seed=seeds)
def test_a_full_run_has_a_thousand_faults_and_every_kind(seed: int) -> None:
    injected = plan.drawn(seed, FULL).injected
    assert injected.total() == FULL * plan.FAULTS_A_DAY >= 1_000
    assert injected.keys() == KINDS.keys()
    assert max(injected.values()) <= 3 * FULL / 4, "no kind crowds the others out"


@settings(max_examples=small_or_full(8, 200))
@given(seed=seeds, number=st.integers(1, 30), faults=st.integers(0, 60))
def test_no_moment_has_more_than_its_share_and_no_fault_stands_where_it_cannot_strike(
    seed: int, number: int, faults: int
) -> None:
    for day in plan.drawn(seed, number, faults=faults).days:
        groups = {moment.name: set(moment.groups) for moment in day.moments}
        assert len(day.faults) == faults
        assert max(Counter(fault.moment for fault in day.faults).values(), default=0) <= plan.FAULTS_A_MOMENT_MAX
        assert sum(KINDS[fault.kind].is_slow for fault in day.faults) <= plan.SLOW_A_DAY_MAX
        for fault in day.faults:
            kind = KINDS[fault.kind]
            assert groups[fault.moment] & set(kind.at), fault
            assert all(value in kind.options[name] for name, value in fault.options)
        assert [fault for moment in day.moments for fault in day.at(moment)] == list(day.faults)


@settings(max_examples=small_or_full(8, 200))
@given(seed=seeds, number=st.integers(1, 60))
def test_a_run_has_as_many_sessions_as_were_asked_for_and_none_twice(seed: int, number: int) -> None:
    played = [day for season in days.chosen(number, seed) for day in season.days]
    assert len(played) == len(set(played)) == number
    assert all(calendar().session(day) is not None for day in played)


@pytest.mark.parametrize("seed", range(5))
def test_a_full_run_lives_through_both_clock_changes_holidays_half_days_and_the_end_of_a_year(seed: int) -> None:
    seasons = days.chosen(FULL, seed)
    offsets = [[days.begins_at(day).astimezone(NEW_YORK).utcoffset() for day in season.days] for season in seasons]
    assert sum(one[0] < one[-1] for one in offsets) == sum(one[0] > one[-1] for one in offsets) == 1
    assert any(season.days[0].year < season.days[-1].year for season in seasons)
    sessions = [calendar().session(day) for season in seasons for day in season.days]
    assert sum(session.is_half_day for session in sessions if session) >= 2
    gaps = [day for season in seasons for day in season.days if calendar().next_session(day).date in season.days]
    assert any((calendar().next_session(day).date - day).days in (2, 4) for day in gaps), "a holiday in its middle"


def test_the_moments_of_a_day_are_in_their_order_and_far_enough_apart_to_try_again_between_them() -> None:
    for season in days.chosen(FULL, 0):
        for day in season.days:
            known = days.moments(day)
            assert [moment.at for moment in known] == sorted(moment.at for moment in known)
            bars = [moment for moment in known if moment.minutes]
            steps = [(later.at - earlier.at).total_seconds() for earlier, later in pairwise(bars)]
            assert min(steps) > 15 * 60
            assert len({moment.name for moment in known}) == len(known)


def test_every_family_has_somebody_who_carries_it_out_and_every_check_number_is_one_of_the_specification() -> None:
    assert {kind.family for kind in KINDS.values()} == PHASES.keys()
    assert all(1 <= check <= 34 for kind in KINDS.values() for check in kind.checks)
    served = {check for kind in KINDS.values() for check in kind.checks}
    assert served >= {*range(1, 10), *range(12, 22), *range(24, 28), 29, 31, 32}


def test_only_what_is_wanted_is_drawn_and_what_is_unknown_is_refused() -> None:
    assert {kind.partition(".")[0] for kind in plan.drawn(1, 2, only=["kill", "clock"]).injected} == {"kill", "clock"}
    with pytest.raises(ValueError, match="no such kind; families: book"):
        plan.drawn(1, 1, only=["weather"])
