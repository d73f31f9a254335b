"""Law 12 of the room: server time and UTC are one time in two clocks, the repeated hour by the tickets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from fillbook.mt5 import server_time
from fillbook.mt5.model import ServerRule

RULES = st.sampled_from(
    [
        ServerRule(server="x", zone_name=zone_name, shift_minutes=shift)
        for zone_name, shift in (
            server_time.NEW_YORK, server_time.EU, ("UTC", 0), ("UTC", 180), ("UTC", -210), ("Australia/Lord_Howe", 0),
            ("Asia/Beirut", 0),
        )
    ]
)  # fmt: skip
FIRST = datetime(2005, 1, 1, tzinfo=UTC)
INSTANTS = st.integers(0, 35 * 365 * 86_400_000).map(lambda ms: FIRST + timedelta(milliseconds=ms))
NEW_YORK = ServerRule(server="x", zone_name="America/New_York", shift_minutes=420)
CHANGE = datetime(2026, 11, 1, 6, tzinfo=UTC)
"""New York's clock goes back from two to one."""


def is_second_pass(rule: ServerRule, at: datetime) -> bool:
    return bool(at.astimezone(server_time.zone(rule.zone_name)).fold)


@given(RULES, INSTANTS)
@example(NEW_YORK, CHANGE)
@example(NEW_YORK, CHANGE - timedelta(milliseconds=1))
@example(NEW_YORK, CHANGE + timedelta(minutes=59))
def test_law_12_utc_to_server_time_and_back_is_the_same_instant(rule: ServerRule, at: datetime) -> None:
    clock = server_time.to_server(rule, at)
    assert server_time.to_utc(rule, clock, is_second_pass=is_second_pass(rule, at)) == at
    assert not server_time.is_skipped(rule, clock)


@given(RULES, INSTANTS, st.booleans())
def test_law_12_server_time_to_utc_and_back_is_the_same_clock(rule: ServerRule, at: datetime, is_second: bool) -> None:
    clock = int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1000
    if not server_time.is_skipped(rule, clock):
        assert server_time.to_server(rule, server_time.to_utc(rule, clock, is_second_pass=is_second)) == clock


@given(st.lists(st.integers(-90 * 60, 90 * 60), min_size=1, max_size=12).map(sorted), st.randoms())
def test_law_12_tickets_put_the_repeated_hour_in_order(seconds: list[int], random: object) -> None:
    instants = [CHANGE + timedelta(seconds=one) for one in seconds]
    deals = [(number, server_time.to_server(NEW_YORK, at)) for number, at in enumerate(instants, 1)]
    random.shuffle(deals)  # type: ignore[attr-defined]
    found = server_time.second_passes(NEW_YORK, deals)
    assert found <= {number for number, at in enumerate(instants, 1) if is_second_pass(NEW_YORK, at)}
    read = [server_time.to_utc(NEW_YORK, clock, is_second_pass=number in found) for number, clock in sorted(deals)]
    after = CHANGE + timedelta(hours=1)
    repeated = [at for at in read if CHANGE - timedelta(hours=1) <= at < after]
    assert repeated == sorted(repeated)
    assert all(read[number - 1] == instants[number - 1] for number in found)


@given(RULES, INSTANTS, st.integers(-400, 400))
def test_what_a_rule_says_is_measured_as_that_rule(rule: ServerRule, at: datetime, drift_seconds: int) -> None:
    told = server_time.to_server(rule, at) + drift_seconds * 1000
    assert server_time.compared(rule, told, at) == rule
    measured = server_time.measured("x", told, at)
    assert measured is not None
    assert server_time.compared(measured, told, at) == measured
