"""Calls of the publisher: what they ask for, on which New York day, and which of them are refused before anything is done."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from fillbook.calendar import NEW_YORK, calendar
from fillbook.runtime.errors import Rejected
from fillbook.snapshot.asked import Asked, Trigger, asked, days_of
from fillbook.snapshot.model import Guard, Slot

NOW = datetime(2026, 2, 11, 21, 30, tzinfo=UTC)  # Wednesday 16:30 in New York
TODAY = date(2026, 2, 11)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)


def read(body: dict[str, Any] | None = None, *, cron: datetime | None = None, now: datetime = NOW) -> Asked:
    return asked(body or {}, scheduled_at=cron, actor="somebody", now=now)


def days(body: dict[str, Any] | None = None, *, cron: datetime | None = None, now: datetime = NOW) -> tuple[date, ...]:
    return days_of(read(body, cron=cron, now=now), calendar(), now)


def reason(body: dict[str, Any], *, cron: datetime | None = None, now: datetime = NOW) -> tuple[str, str | None]:
    with pytest.raises(Rejected) as caught:
        days(body, cron=cron, now=now)
    assert caught.value.status == 400
    return caught.value.reason, caught.value.field


def test_a_call_without_words_is_about_today_in_new_york() -> None:
    assert read() == Asked(trigger=Trigger.MANUAL, first=TODAY, last=TODAY, actor="somebody")
    assert days() == (TODAY,)


def test_scenario_2_half_past_nine_in_the_evening_is_the_same_day_though_utc_has_the_next() -> None:
    late = at("2026-02-11T21:30")
    assert late.date() == date(2026, 2, 12)
    assert days(now=late) == (TODAY,)


def test_a_scheduled_call_is_about_the_day_it_was_due_however_late_it_comes() -> None:
    due = at("2026-02-11T16:30")
    call = read({"slot": "postmarket"}, cron=due, now=due + timedelta(hours=9))
    assert (call.trigger, call.first, call.slot, call.scheduled_at) == (Trigger.CRON, TODAY, Slot.POSTMARKET, due)


@pytest.mark.parametrize("day", ["2026-02-11", "2026-07-08", "2026-03-06", "2026-03-09", "2026-10-30", "2026-11-02"])
@pytest.mark.parametrize("clock", ["09:00", "12:30", "16:30"])
def test_scenario_3_the_slots_are_on_their_new_york_day_in_winter_in_summer_and_around_both_changes(day: str, clock: str) -> None:
    due = at(f"{day}T{clock}")
    assert days({"slot": "midday"}, cron=due, now=due) == (date.fromisoformat(day),)


@pytest.mark.parametrize("day", ["2026-02-16", "2026-02-14", "2026-02-15", "2026-12-25"])
def test_scenario_4_a_day_without_session_is_no_day(day: str) -> None:
    now = at(f"{day}T16:30")
    assert days({"slot": "postmarket"}, cron=now, now=now) == ()
    assert days({"date": day}, now=now) == ()


def test_a_day_without_session_that_a_person_forces_is_the_session_its_actions_belong_to() -> None:
    now = at("2026-02-14T12:00")
    assert days({"force": ["no_session"], "reason": "a look ahead"}, now=now) == (date(2026, 2, 17),)


def test_before_the_open_the_session_before_is_looked_at_again_first() -> None:
    assert days({"slot": "premarket"}, cron=at("2026-02-17T09:00"), now=at("2026-02-17T09:00")) == (
        date(2026, 2, 13),
        date(2026, 2, 17),
    )


def test_a_range_is_its_sessions_in_order() -> None:
    body = {"from": "2026-02-10", "to": "2026-02-17"}
    assert days(body, now=at("2026-02-18T10:00")) == tuple(date(2026, 2, day) for day in (10, 11, 12, 13, 17))
    assert read(body).trigger is Trigger.BACKFILL
    assert days({"from": "2026-02-14", "to": "2026-02-16"}, now=at("2026-02-18T10:00")) == ()


def test_a_person_may_force_guards_by_name_with_a_reason() -> None:
    call = read({"force": ["sharp_fall", "older", "sharp_fall"], "reason": " half the desk is on leave "})
    assert (call.force, call.reason) == ((Guard.SHARP_FALL, Guard.OLDER), "half the desk is on leave")


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({"day": "2026-02-11"}, ("key_unknown", "day")),
        ({"a b": 1}, ("key_unknown", None)),
        ({"date": "2026-02-30"}, ("bad_date", "date")),
        ({"date": "2026-2-1"}, ("bad_date", "date")),
        ({"date": 20260211}, ("bad_date", "date")),
        ({"date": "٢٠٢٦-02-11"}, ("bad_date", "date")),
        ({"date": None}, ("bad_date", "date")),
        ({"date": "2026-02-12"}, ("date_in_future", "date")),
        ({"date": "1999-02-11"}, ("date_unknown", "date")),
        ({"from": "2026-02-11"}, ("bad_date", "to")),
        ({"from": "2026-02-11", "to": "2026-02-10"}, ("range_backwards", "to")),
        ({"from": "2024-12-31", "to": "2026-02-10"}, ("range_too_long", "to")),
        ({"from": "2026-02-10", "to": "2026-02-12"}, ("date_in_future", "date")),
        ({"date": "2026-02-11", "from": "2026-02-10", "to": "2026-02-11"}, ("date_and_range", "date")),
        ({"slot": "premarket", "from": "2026-02-10", "to": "2026-02-11"}, ("range_of_a_slot", "from")),
        ({"slot": "evening"}, ("slot_unknown", "slot")),
        ({"slot": ["watch"]}, ("slot_unknown", "slot")),
        ({"slot": "watch", "dry_run": True}, ("watch_publishes_nothing", "slot")),
        ({"force": ["sharp_fall"]}, ("force_without_reason", "reason")),
        ({"force": ["kpi_names"], "reason": "because"}, ("force_unknown", "force")),
        ({"force": "sharp_fall", "reason": "because"}, ("force_unknown", "force")),
        ({"force": [["older"]], "reason": "because"}, ("force_unknown", "force")),
        ({"reason": "why"}, ("bad_reason", "reason")),
        ({"reason": "x" * 201}, ("bad_reason", "reason")),
        ({"reason": "two\nlines"}, ("bad_reason", "reason")),
        ({"dry_run": "yes"}, ("bad_flag", "dry_run")),
        ({"verify": 1}, ("bad_flag", "verify")),
    ],
)
def test_a_wrong_call_is_refused_with_the_key_at_fault(body: dict[str, Any], refused: tuple[str, str | None]) -> None:
    assert reason(body) == refused


def test_scenario_11_the_scheduler_forces_nothing() -> None:
    body = {"slot": "midday", "force": ["sharp_fall"], "reason": "a good one"}
    assert reason(body, cron=NOW) == ("force_by_schedule", "force")


def test_four_hundred_days_are_a_range_and_no_more() -> None:
    assert days({"from": "2025-01-08", "to": "2026-02-11"})[-1] == TODAY
    assert reason({"from": "2025-01-07", "to": "2026-02-11"}) == ("range_too_long", "to")
