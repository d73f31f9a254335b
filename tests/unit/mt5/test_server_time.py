"""The server clock: both change weeks, the hour that comes twice, the hour that never comes, and how a rule is found out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from fillbook.mt5 import server_time
from fillbook.mt5.model import ServerRule
from fillbook.mt5.words import ZoneState

NEW_YORK = ServerRule(server="Meadow-Live", zone_name="America/New_York", shift_minutes=420)
ATHENS = ServerRule(server="Meadow-EU", zone_name="Europe/Athens", shift_minutes=0)
FIXED = ServerRule(server="Meadow-3", zone_name="UTC", shift_minutes=180)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def clock(text: str) -> int:
    return int((datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH).total_seconds() * 1000)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("rule", "server", "instant"),
    [
        (NEW_YORK, "2026-03-07 00:15", "2026-03-06 22:15"), (NEW_YORK, "2026-03-09 00:15", "2026-03-08 21:15"),
        (NEW_YORK, "2026-10-30 18:00", "2026-10-30 15:00"), (NEW_YORK, "2026-11-02 18:00", "2026-11-02 16:00"),
        (ATHENS, "2026-03-27 18:00", "2026-03-27 16:00"), (ATHENS, "2026-03-30 18:00", "2026-03-30 15:00"),
        (ATHENS, "2026-10-30 18:00", "2026-10-30 16:00"), (FIXED, "2026-07-01 12:00", "2026-07-01 09:00"),
    ],
)  # fmt: skip
def test_a_rule_changes_on_the_dates_of_its_zone(rule: ServerRule, server: str, instant: str) -> None:
    assert server_time.to_utc(rule, clock(server)) == utc(instant)
    assert server_time.to_server(rule, utc(instant)) == clock(server)


def test_the_repeated_hour_has_two_instants_and_one_clock() -> None:
    again = clock("2026-11-01 08:30")  # New York 01:30, twice
    first, second = server_time.to_utc(NEW_YORK, again), server_time.to_utc(NEW_YORK, again, is_second_pass=True)
    assert (first, second) == (utc("2026-11-01 05:30"), utc("2026-11-01 06:30"))
    assert server_time.to_server(NEW_YORK, first) == server_time.to_server(NEW_YORK, second) == again
    assert server_time.is_repeated(NEW_YORK, again)
    for other in ("2026-11-01 07:59:59", "2026-11-01 09:00"):
        assert not server_time.is_repeated(NEW_YORK, clock(other))
        assert server_time.to_utc(NEW_YORK, clock(other), is_second_pass=True) == server_time.to_utc(NEW_YORK, clock(other))


def test_the_skipped_hour_is_told_apart() -> None:
    assert server_time.is_skipped(NEW_YORK, clock("2026-03-08 09:30"))
    assert not server_time.is_skipped(NEW_YORK, clock("2026-03-08 08:59:59"))
    assert not server_time.is_skipped(NEW_YORK, clock("2026-03-08 10:00"))
    assert not server_time.is_repeated(NEW_YORK, clock("2026-03-08 09:30"))


def test_a_deal_is_in_the_second_pass_if_a_smaller_ticket_has_a_later_clock() -> None:
    deals = [(11, clock("2026-11-01 08:50")), (12, clock("2026-11-01 08:10")), (10, clock("2026-11-01 08:20"))]
    assert server_time.second_passes(NEW_YORK, deals) == {12}
    assert server_time.second_passes(NEW_YORK, reversed(deals)) == {12}


def test_what_follows_a_deal_of_the_second_pass_is_in_it_too() -> None:
    deals = [(1, clock("2026-11-01 08:50")), (2, clock("2026-11-01 08:10")), (3, clock("2026-11-01 08:55"))]
    assert server_time.second_passes(NEW_YORK, deals) == {2, 3}


def test_one_clock_and_other_hours_prove_no_second_pass() -> None:
    same = [(1, clock("2026-11-01 08:50")), (2, clock("2026-11-01 08:50"))]
    others = [(3, clock("2026-10-30 08:50")), (4, clock("2026-10-30 08:10")), (5, clock("2025-11-02 08:40"))]
    assert server_time.second_passes(NEW_YORK, [*same, *others]) == frozenset()
    assert server_time.second_passes(FIXED, [(1, 2_000), (2, 1_000)]) == frozenset()


@pytest.mark.parametrize(
    ("server", "as_of", "zone_name", "shift"),
    [
        ("2026-07-01 15:00:02", "2026-07-01 12:00", "America/New_York", 420),
        ("2026-01-05 14:06", "2026-01-05 12:00", "America/New_York", 420), ("2026-03-20 14:00", "2026-03-20 12:00", "UTC", 120),
        ("2026-07-01 12:00", "2026-07-01 12:00", "UTC", 0), ("2026-07-01 06:59", "2026-07-01 12:00", "UTC", -300),
        ("2026-07-01 17:31", "2026-07-01 12:00", "UTC", 330),
    ],
)  # fmt: skip
def test_a_new_server_is_measured_to_a_quarter_of_an_hour(server: str, as_of: str, zone_name: str, shift: int) -> None:
    measured = server_time.measured("Meadow-New", clock(server), utc(as_of))
    assert measured == ServerRule(server="Meadow-New", zone_name=zone_name, shift_minutes=shift)
    assert measured.zone_state is ZoneState.PROVISIONAL


def test_a_clock_that_is_days_away_is_no_measurement() -> None:
    assert server_time.measured("x", clock("2026-06-28 15:00"), utc("2026-07-01 12:00")) is None


def test_the_third_miss_in_a_row_is_a_mismatch_and_nothing_is_corrected() -> None:
    rule, at = replace(NEW_YORK, zone_state=ZoneState.CONFIRMED), utc("2026-07-01 12:00")
    right, wrong = server_time.to_server(rule, at), server_time.to_server(rule, at + timedelta(hours=1))
    states = []
    for measurement in (wrong, wrong, right, wrong, wrong, wrong, right):
        rule = server_time.compared(rule, measurement, at)
        states.append((rule.zone_mismatch_polls, rule.zone_state.value))
    assert states == [(1, "confirmed"), (2, "confirmed"), (0, "confirmed"), (1, "confirmed"), (2, "confirmed"), (3, "mismatch"),
                      (0, "mismatch")]  # fmt: skip
    assert (rule.zone_name, rule.shift_minutes) == ("America/New_York", 420)
    assert server_time.compared(NEW_YORK, right, at) is NEW_YORK


def test_the_venues_day_is_the_date_on_its_clock() -> None:
    assert server_time.clock_date(clock("2026-05-06 00:00")) == date(2026, 5, 6)
    assert server_time.clock_date(clock("2026-05-06 00:00") - 1) == date(2026, 5, 5)


def test_a_rule_that_cannot_be_applied_is_refused() -> None:
    server_time.check(NEW_YORK)
    for wrong in ({"zone_name": "Europe/Nowhere"}, {"zone_name": "../etc/passwd"}, {"zone_name": ""}, {"shift_minutes": 1441}):
        with pytest.raises(server_time.RuleInvalid):
            server_time.check(replace(NEW_YORK, **wrong))
