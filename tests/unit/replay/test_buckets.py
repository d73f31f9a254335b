"""The buckets of a replayed day: half days, holidays, both clock changes, and today while it is still running."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from fillbook.calendar import NEW_YORK, calendar
from fillbook.replay.buckets import BUCKET_MS, BucketNotInDay, bucket_of, replay_day
from fillbook.replay.model import SessionKind
from fillbook.runtime.errors import Rejected
from fillbook.signal.receipt import instant, milliseconds

REGULAR, ALL = SessionKind.REGULAR, SessionKind.ALL
LATER = datetime(2027, 1, 4, 12, tzinfo=UTC)
AN_ORDINARY_DAY = date(2026, 2, 2)


def at_new_york(text: str) -> int:
    return milliseconds(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK))


# Scenario 4
@pytest.mark.parametrize(
    "bucket",
    [
        pytest.param(1_738_517_400_000, id="of another year"),
        pytest.param(1_770_042_600_001, id="no multiple of five minutes"),
        pytest.param(1_770_066_000_000, id="the close itself"),
        pytest.param(1_770_042_300_000, id="before the open"),
    ],
)
def test_a_bucket_outside_its_day_is_refused_with_the_days_own(bucket: int) -> None:
    with pytest.raises(BucketNotInDay) as refused:
        replay_day(AN_ORDINARY_DAY, REGULAR, LATER).checked(bucket)
    assert refused.value.reason == "bucket_not_in_day"
    assert refused.value.status == 400
    assert (refused.value.first, refused.value.last) == (1_770_042_600_000, 1_770_065_700_000)


# Scenario 5
def test_a_full_day_has_78_buckets_from_the_open_to_the_last_five_minutes() -> None:
    day = replay_day(AN_ORDINARY_DAY, REGULAR, LATER)
    buckets = day.buckets()
    assert len(buckets) == 78
    assert buckets[0] == day.checked(1_770_042_600_000) == at_new_york("2026-02-02T09:30")
    assert buckets[-1] == day.last == at_new_york("2026-02-02T15:55")
    assert day.minutes == 390


def test_a_half_day_has_42_buckets() -> None:
    day = replay_day(date(2026, 11, 27), REGULAR, LATER)
    buckets = day.buckets()
    assert len(buckets) == 42
    assert (buckets[0], buckets[-1]) == (1_795_789_800_000, 1_795_802_100_000)
    assert day.minutes == 210


@pytest.mark.parametrize("day", [date(2026, 7, 3), date(2026, 2, 7)])
def test_a_day_without_a_session_is_refused(day: date) -> None:
    with pytest.raises(Rejected) as refused:
        replay_day(day, REGULAR, LATER)
    assert refused.value.reason == "no_session"


def test_a_day_to_come_is_refused_by_the_date_in_new_york() -> None:
    late_in_the_evening = datetime(2026, 2, 4, 1, tzinfo=UTC)  # still the third in New York
    with pytest.raises(Rejected) as refused:
        replay_day(date(2026, 2, 4), REGULAR, late_in_the_evening)
    assert refused.value.reason == "date_in_future"
    assert len(replay_day(date(2026, 2, 3), REGULAR, late_in_the_evening).buckets()) == 78


def test_a_day_that_the_session_table_does_not_hold_is_a_wrong_date() -> None:
    with pytest.raises(Rejected) as refused:
        replay_day(date(1999, 2, 2), REGULAR, LATER)
    assert (refused.value.reason, refused.value.field) == ("param", "date")


# Scenario 6
@pytest.fixture(params=["UTC", "Asia/Tokyo"])
def _host_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_host_zone")
@pytest.mark.parametrize(
    ("day", "first"),
    [
        (date(2026, 3, 6), 1_772_807_400_000),
        (date(2026, 3, 9), 1_773_063_000_000),
        (date(2026, 10, 30), 1_793_367_000_000),
        (date(2026, 11, 2), 1_793_629_800_000),
        (date(2026, 11, 27), 1_795_789_800_000),
    ],
)
def test_the_first_bucket_follows_new_yorks_clock_on_any_host(day: date, first: int) -> None:
    found = replay_day(day, REGULAR, LATER)
    assert found.buckets()[0] == first
    assert instant(first).astimezone(NEW_YORK).strftime("%H:%M") == "09:30"


# Scenario 7
def test_a_regular_day_holds_the_session_alone_and_all_holds_the_whole_window() -> None:
    minutes = [at_new_york(f"2026-02-02T{clock}") for clock in ("09:29", "09:30", "15:59", "16:00")]
    regular, whole = (replay_day(AN_ORDINARY_DAY, session, LATER) for session in (REGULAR, ALL))
    assert [regular.holds(ts) for ts in minutes] == [False, True, True, False]
    assert [whole.holds(ts) for ts in minutes] == [True, True, True, True]
    assert whole.buckets(map(bucket_of, minutes)) == tuple(bucket_of(ts) for ts in minutes)


def test_the_window_of_a_monday_holds_its_weekend_and_no_receipt_has_two_windows() -> None:
    friday, monday = (replay_day(day, ALL, LATER) for day in (date(2026, 1, 30), AN_ORDINARY_DAY))
    assert friday.end == monday.start == at_new_york("2026-01-31T00:00")
    assert monday.end == at_new_york("2026-02-03T00:00")
    trading = calendar()
    for ts in range(friday.start, monday.end, 12 * BUCKET_MS):
        assert trading.trading_day(instant(ts)) == (monday if monday.holds(ts) else friday).date


def test_of_a_window_only_buckets_with_rows_are_walked() -> None:
    day = replay_day(AN_ORDINARY_DAY, ALL, LATER)
    noon = at_new_york("2026-02-02T12:00")
    assert day.buckets([noon, day.start - BUCKET_MS, noon - BUCKET_MS, noon, day.end]) == (noon - BUCKET_MS, noon)


@pytest.mark.parametrize(
    ("clock", "walked"), [("09:30:00", 0), ("09:35:59", 0), ("09:36:00", 1), ("12:02:00", 30), ("16:00:59", 77), ("16:01:00", 78)]
)
def test_of_today_a_bucket_counts_once_it_ended_a_minute_ago(clock: str, walked: int) -> None:
    now = datetime.fromisoformat(f"2026-02-02T{clock}").replace(tzinfo=NEW_YORK)
    day = replay_day(AN_ORDINARY_DAY, REGULAR, now)
    assert len(day.buckets()) == walked
    assert not day.holds(day.settled)
    assert day.checked(day.last) == day.last  # asking for a bucket that is still to come is no wrong address
    assert len(replay_day(AN_ORDINARY_DAY, REGULAR, now + timedelta(days=1)).buckets()) == 78
