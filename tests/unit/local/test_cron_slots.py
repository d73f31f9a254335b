"""Slots of schedules in their own time zone: both changes of the clock, coalescing, rare slots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.scheduler import latest_slot, next_slot
from infra.local.wiring import Job
from infra.manifest import load


def job(cron: str, zone: str = "America/New_York") -> Job:
    return Job(name="j", url="http://x", audience="a", email="e", cron=cron, time_zone=zone)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def days(cron: str, start: str, count: int) -> list[str]:
    found, moment = [], at(start)
    for _ in range(count):
        moment = next_slot(job(cron), moment)
        found.append(moment.strftime("%m-%d %H:%M"))
    return found


def test_half_past_five_in_new_york_moves_in_utc_with_the_clock() -> None:
    assert days("30 17 * * *", "2026-03-06T12:00", 4) == ["03-06 22:30", "03-07 22:30", "03-08 21:30", "03-09 21:30"]
    assert days("30 17 * * *", "2026-10-30T12:00", 4) == ["10-30 21:30", "10-31 21:30", "11-01 22:30", "11-02 22:30"]


def test_a_time_that_the_spring_leaves_out_fires_once_when_the_gap_ends() -> None:
    assert days("30 2 * * *", "2026-03-07T12:00", 2) == ["03-08 07:00", "03-09 06:30"]


def test_a_time_that_the_autumn_has_twice_fires_once() -> None:
    assert days("30 1 * * *", "2026-10-31T12:00", 2) == ["11-01 05:30", "11-02 06:30"]


def test_every_minute_is_every_minute_through_both_changes() -> None:
    for start in ("2026-03-08T06:30", "2026-11-01T05:30"):
        moment = at(start)
        for _ in range(120):
            following = next_slot(job("* * * * *"), moment)
            assert following - moment == timedelta(minutes=1)
            moment = following


def test_weekdays_leave_out_the_weekend() -> None:
    assert days("45 17 * * 1-5", "2026-02-06T12:00", 2) == ["02-06 22:45", "02-09 22:45"]


def test_slots_missed_become_the_latest_one() -> None:
    every_minute = job("* * * * *")
    assert latest_slot(every_minute, at("2026-02-03T15:07:30"), since=at("2026-02-03T15:00")) == at("2026-02-03T15:07")
    assert latest_slot(every_minute, at("2026-02-03T15:00:30"), since=at("2026-02-03T15:00")) is None
    assert latest_slot(every_minute, at("2026-08-03T15:07:30"), since=at("2026-02-03T15:00")) == at("2026-08-03T15:07")
    assert latest_slot(job("0 0 1 * *", "UTC"), at("2026-08-03T15:07"), since=at("2026-02-03T15:00")) == at("2026-08-01T00:00")


@given(
    st.sampled_from(["* * * * *", "5 * * * *", "30 17 * * *", "45 17 * * 1-5", "*/15 9-16 * * 1-5", "0 3 * * 0"]),
    st.integers(0, 330 * 86_400),
    st.integers(60, 3 * 86_400),
)
def test_the_latest_slot_is_in_the_span_and_none_follows_it_there(cron: str, offset: int, seconds: int) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=offset)
    until = begin + timedelta(seconds=seconds)
    slot = latest_slot(job(cron), until, since=begin)
    if slot is None:
        assert next_slot(job(cron), begin) > until
    else:
        assert begin < slot <= until < next_slot(job(cron), slot)


@pytest.mark.parametrize("schedule", load().schedules, ids=lambda schedule: schedule.name)
def test_every_schedule_of_the_manifest_has_a_next_slot(schedule: object) -> None:
    moment = at("2026-02-03T15:00")
    assert moment < next_slot(job(schedule.cron, schedule.time_zone), moment) <= moment + timedelta(days=4)  # type: ignore[attr-defined]
