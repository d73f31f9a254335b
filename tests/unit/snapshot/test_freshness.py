"""Freshness: what is due when, on sessions, half days, weekends and in both halves of the year."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from fillbook.calendar import NEW_YORK, calendar
from fillbook.snapshot.freshness import Standing, expected, judged
from fillbook.snapshot.model import Stage


def at(text: str) -> datetime:
    """A New York wall clock time as an instant."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def stored(day: str, stage: Stage | None, updated_at: str | None = None) -> Standing:
    return Standing(date=date.fromisoformat(day), stage=stage, version=1, updated_at=at(updated_at or f"{day}T16:30:00"))


def status(now: str, standing: Standing | None) -> str:
    wanted = expected(at(now), calendar())
    return str(judged(wanted, standing, standing, at(now), calendar())["status"])


@pytest.mark.parametrize(
    ("now", "day", "stage"),
    [
        ("2026-02-11T09:14:59", "2026-02-10", Stage.FINAL),
        ("2026-02-11T09:15:00", "2026-02-11", Stage.PREMARKET),
        ("2026-02-11T12:45:00", "2026-02-11", Stage.INTRADAY),
        ("2026-02-11T16:44:59", "2026-02-11", Stage.INTRADAY),
        ("2026-02-11T16:45:00", "2026-02-11", Stage.FINAL),
        ("2026-07-08T09:15:00", "2026-07-08", Stage.PREMARKET),
        ("2026-11-27T12:45:00", "2026-11-27", Stage.INTRADAY),
        ("2026-02-15T12:00:00", "2026-02-13", Stage.FINAL),
        ("2026-02-16T12:00:00", "2026-02-13", Stage.FINAL),
        ("2026-02-17T09:00:00", "2026-02-13", Stage.FINAL),
        ("2026-03-09T09:15:00", "2026-03-09", Stage.PREMARKET),
        ("2026-11-02T09:15:00", "2026-11-02", Stage.PREMARKET),
    ],
)
def test_the_slot_that_was_due_last_is_told_by_new_yorks_clock(now: str, day: str, stage: Stage) -> None:
    wanted = expected(at(now), calendar())
    assert (wanted.session.date.isoformat(), wanted.stage) == (day, stage)


@pytest.mark.parametrize(
    ("now", "standing", "expected_status"),
    [
        ("2026-02-11T09:16:00", None, "late"),
        ("2026-02-11T09:45:00", None, "stale"),
        ("2026-02-11T09:16:00", stored("2026-02-11", Stage.PREMARKET), "fresh"),
        ("2026-02-11T12:46:00", stored("2026-02-11", Stage.PREMARKET), "late"),
        ("2026-02-11T12:46:00", stored("2026-02-11", Stage.FINAL), "fresh"),
        ("2026-02-11T17:15:00", stored("2026-02-11", Stage.INTRADAY), "stale"),
        ("2026-02-14T12:00:00", stored("2026-02-13", Stage.FINAL), "closed"),
        ("2026-02-14T12:00:00", stored("2026-02-13", Stage.INTRADAY), "stale"),
        ("2026-02-14T12:00:00", None, "stale"),
    ],
)
def test_what_is_there_is_judged_by_how_far_it_should_be(now: str, standing: Standing | None, expected_status: str) -> None:
    assert status(now, standing) == expected_status


@pytest.mark.parametrize(
    ("updated_at", "expected_status"),
    [("2026-02-11T15:59:00", "stale"), ("2026-02-11T16:00:00", "fresh")],
)
def test_a_day_without_a_stage_is_judged_by_the_time_of_its_data(updated_at: str, expected_status: str) -> None:
    assert status("2026-02-11T17:30:00", stored("2026-02-11", None, updated_at)) == expected_status


def test_a_half_day_says_so_and_closes_early() -> None:
    wanted = expected(at("2026-11-27T14:00:00"), calendar())
    told: dict[str, Any] = judged(wanted, None, None, at("2026-11-27T14:00:00"), calendar())
    assert told["session"] == {
        "date": date(2026, 11, 27),
        "open": "2026-11-27T14:30:00.000Z",
        "close": "2026-11-27T18:00:00.000Z",
        "half_day": True,
    }
    assert told["expected"]["due_at"] == "2026-11-27T17:45:00.000Z"
