"""Law 18: no 60-second span holds more than 80 % of the published calls, whatever several processes do."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from fillbook.mt5 import tokens
from tests.support.mt5_tokens import Table

STEPS = st.tuples(
    st.integers(0, 2),  # which process
    st.sampled_from(["take", "take", "take", "take", "settle", "dies", "refused"]),
    st.sampled_from([0.0, 0.0, 0.01, 0.4, 1.0, 4.9, 5.0, 30.0, 59.5, 61.0]),  # seconds before it
    st.integers(1, 25),  # how many tokens it wants
)


@given(st.integers(1, 60), st.lists(STEPS, min_size=5, max_size=60))
def test_law_18_no_sixty_seconds_hold_more_calls_than_eighty_percent_of_the_limit(
    limit: int, steps: Sequence[tuple[int, str, float, int]]
) -> None:
    table = Table(tokens.bucket(limit))
    processes = [table.allowance() for _ in range(3)]
    calls: list[float] = []
    refused_until = 0.0
    for number, what, seconds, count in steps:
        table.at += seconds
        if what == "dies":
            processes[number] = table.allowance()
        elif what == "settle":
            processes[number].settle()
        elif what == "refused":
            processes[number].refused(7)
            refused_until = max(refused_until, table.at + 7)
        else:
            for _ in range(count):
                if not processes[number].take(table.at + 0.5):
                    break
                calls.append(table.at)
    for place, begin in enumerate(calls):
        assert sum(1 for at in calls[place:] if at < begin + 60) <= table.size


@given(st.integers(10, 200))
def test_law_18_whoever_has_the_time_gets_the_whole_limit(limit: int) -> None:
    """Five minutes of wanting: 95 % of what the limit allows is used, since a token returns up to a second late."""
    table = Table(tokens.bucket(limit))
    allowance = table.allowance()
    count = 0
    while table.at < 1305:
        assert allowance.take(table.at + 62)
        count += 1
    assert 5 * table.size * 0.95 <= count <= 6 * table.size
