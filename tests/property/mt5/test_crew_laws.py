"""Laws 13 and 14: whatever accounts do, in flight stays within limits, each is worked once, a run ends in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fillbook.mt5.crew import Outcome
from fillbook.mt5.pacing import Batches, Window
from fillbook.mt5.words import Code
from tests.support.mt5_crew import FOREVER, Member, Simulation, breakers, failure

SECONDS = st.one_of(st.floats(0.0, 5.0), st.floats(5.0, 120.0), st.just(FOREVER))
FAILURES = st.builds(failure, st.sampled_from(Code), is_broker=st.booleans(), has_code=st.booleans())


@st.composite
def fleets(draw: st.DrawFn) -> list[Member]:
    names = draw(st.lists(st.integers(0, 60), max_size=70))  # some are given twice
    return [
        Member(
            account_id=f"a{name}",
            instance_key=draw(st.sampled_from(["one", "two"])),
            server=draw(st.sampled_from(["A", "B", "C"])),
            seconds=draw(SECONDS),
            failures=tuple(draw(st.lists(FAILURES, max_size=2))),
            raises=draw(st.booleans()),
            heeds=draw(st.integers(0, 9)) > 0,
            sync_failure_count=draw(st.integers(0, 2)),
        )
        for name in names
    ]


@given(
    fleets(),
    st.integers(1, 12),
    st.integers(1, 6),
    st.integers(0, 6),
    st.floats(1.0, 300.0),
    st.booleans(),
)
def test_laws_13_14_in_flight_stays_within_limits_each_account_is_worked_once_and_the_run_ends_in_time(
    fleet: Sequence[Member], size: int, one: int, two: int, budget: float, is_batch: bool
) -> None:
    simulation = Simulation()
    source = iter(fleet)
    pace = Batches(size) if is_batch else Window(size)
    limits = {"one": one, "two": two}
    ended, crew = simulation.run(source, pace, budget=budget, limit=lambda key: limits[key], gate=breakers(fleet))

    assert simulation.seconds <= budget
    assert all(simulation.most_in_flight[key] <= limit for key, limit in limits.items())
    assert sum(simulation.most_in_flight.values()) <= 2 * size
    began = Counter(name for name, _ in simulation.began)
    assert max(began.values(), default=1) == 1
    left = Counter(each.account.account_id for each in ended)
    assert max(left.values(), default=1) == 1
    rest = list(source)
    assert crew.is_stopped or not rest
    assert set(left) | {member.account_id for member in rest} == {member.account_id for member in fleet}
    for each in ended:
        has_begun = each.account.account_id in began
        assert has_begun == (each.started_at is not None)
        assert has_begun or each.outcome in (Outcome.SKIPPED, Outcome.DEFERRED)


@given(st.lists(SECONDS, min_size=1, max_size=60), st.integers(1, 20), st.floats(16.0, 300.0))
def test_law_13_a_group_begins_only_when_the_one_before_has_settled_and_rested(
    seconds: Sequence[float], size: int, budget: float
) -> None:
    fleet = [Member(account_id=f"a{number}", seconds=each) for number, each in enumerate(seconds)]
    simulation = Simulation()
    ended, _ = simulation.run(fleet, Batches(size, 0.1), budget=budget, limit=lambda _: size)
    starts = dict(simulation.began)
    ends = {each.account.account_id: starts[each.account.account_id] + each.seconds for each in ended if each.started_at}
    groups = [simulation.began[first : first + size] for first in range(0, len(simulation.began), size)]
    for former, later in pairwise(groups):
        assert len({at for _, at in later}) == 1
        assert later[0][1] >= max(ends[name] for name, _ in former) + 0.1 - 1e-6


@given(st.integers(0, 4), st.lists(st.integers(0, 99), max_size=10, unique=True), st.booleans(), st.booleans())
def test_a_few_dead_accounts_among_healthy_ones_never_stop_the_fleet(
    consecutive: int, places: Sequence[int], is_quick: bool, is_batch: bool
) -> None:
    """Up to nine dead accounts, anywhere and also at the head: nobody is skipped, everybody healthy succeeds."""
    dead = {*range(consecutive), *places[: 9 - consecutive]}
    fleet = [
        Member(
            account_id=f"a{number}",
            seconds=0.01 if number in dead and is_quick else FOREVER if number in dead else 0.2,
            failures=(failure(Code.SERVICE_UNAVAILABLE),) if number in dead else (),
        )
        for number in range(100)
    ]
    simulation = Simulation()
    ended, _ = simulation.run(
        fleet, Batches(10) if is_batch else Window(20), budget=3300, limit=lambda _: 20, gate=breakers(fleet)
    )
    assert Counter(each.result for each in ended) == Counter({"success": 100 - len(dead), "failed": len(dead)})
