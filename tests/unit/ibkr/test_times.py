"""Time texts: what each means, that the host's zone plays no part, and what is refused rather than guessed."""

import os
import time
from datetime import UTC, date, datetime

import pytest

from fillbook.ibkr.times import TimeRefused, flex_time, start_of_day, trade_day, tws_time

INSTANT = datetime(2026, 1, 5, 15, 30, tzinfo=UTC)
NEW_YORK = "America/New_York"
TWS = [
    ("20260105 10:30:00 US/Eastern", None),
    ("20260105 10:30:00 America/New_York", None),
    ("20260105 15:30:00 UTC", None),
    ("20260105 15:30:00 Universal", None),
    ("20260105 10:30:00 EST", None),
    ("20260105 16:30:00 MET", None),
    ("20260106 00:30:00 JST", None),
    ("20260105 23:30:00 Hongkong", None),
    ("20260105-15:30:00", None),
    ("20260105-15:30:00.000", None),
    ("20260105  10:30:00", NEW_YORK),
    ("20260105 10:30:00", NEW_YORK),
    ("1767627000", None),
    ("1767627000000", None),
]
FLEX = [
    "20260105;103000",
    "20260105,103000",
    "20260105 103000",
    "20260105T103000",
    "2026-01-05;10:30:00",
    "2026-01-05, 10:30:00",
    "2026-01-05 10:30:00",
    "20260105;103000 EST",
    "20260105;113000 EDT",
    "1767627000",
]


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def host_zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_every_text_means_the_same_instant_wherever_the_host_stands(host_zone):
    assert os.environ["TZ"] == host_zone
    for text, bare_zone in TWS:
        moment = tws_time(text, bare_zone)
        assert (moment.at, moment.is_ambiguous) == (INSTANT, False), text
    for text in FLEX:
        assert flex_time(text, NEW_YORK).at == INSTANT, text


def test_fractions_of_a_second_are_kept():
    assert tws_time("20260105-15:30:00.123456789", None).at == INSTANT.replace(microsecond=123456)
    assert flex_time("20260105;103000.5", NEW_YORK).at == INSTANT.replace(microsecond=500000)
    assert tws_time("1767627000123", None).at == INSTANT.replace(microsecond=123000)


def test_the_autumn_hour_that_occurs_twice_is_the_first_and_says_so():
    moment = flex_time("20261101;013000", NEW_YORK)
    assert (moment.at, moment.is_ambiguous) == (datetime(2026, 11, 1, 5, 30, tzinfo=UTC), True)
    assert flex_time("20261101;013000 EDT", NEW_YORK).at == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert flex_time("20261101;013000 EST", NEW_YORK).at == datetime(2026, 11, 1, 6, 30, tzinfo=UTC)
    assert not flex_time("20261101;013000 EST", NEW_YORK).is_ambiguous


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("20260105  10:30:00", "time_without_zone"),
        ("20260105 15:30:00 Mars/Base", "unknown_zone"),
        ("20260105 15:30:00 CST", "unknown_zone"),
        ("20260105 15:30:00 ../etc", "unknown_zone"),
        ("20260105 15:30:00 America", "unknown_zone"),
        ("20260308 02:30:00 US/Eastern", "time_in_gap"),
        ("20260230 10:30:00 UTC", "bad_time"),
        ("20260105 25:30:00 UTC", "bad_time"),
        ("00010105 10:30:00 UTC", "bad_time"),
        ("20260105", "bad_time"),
        ("", "bad_time"),
        ("17676270001234567", "bad_time"),
        ("now", "bad_time"),
    ],
)
def test_a_time_that_is_not_clear_is_refused_with_its_reason(text, reason):
    with pytest.raises(TimeRefused) as refused:
        tws_time(text, None)
    assert refused.value.reason == reason


def test_a_statement_time_in_the_spring_gap_is_refused():
    with pytest.raises(TimeRefused) as refused:
        flex_time("20260308;023000", NEW_YORK)
    assert refused.value.reason == "time_in_gap"


@pytest.mark.parametrize(
    ("at", "sec_type", "day"),
    [
        (datetime(2026, 1, 6, 4, 59, tzinfo=UTC), "STK", date(2026, 1, 5)),
        (datetime(2026, 1, 6, 5, 0, tzinfo=UTC), "STK", date(2026, 1, 6)),
        (datetime(2026, 1, 5, 21, 59, tzinfo=UTC), "CASH", date(2026, 1, 5)),
        (datetime(2026, 1, 5, 22, 0, tzinfo=UTC), "CASH", date(2026, 1, 6)),
        (datetime(2026, 1, 5, 22, 0, tzinfo=UTC), "FUT", date(2026, 1, 5)),
        (datetime(2026, 1, 5, 23, 0, tzinfo=UTC), "FOP", date(2026, 1, 6)),
        (datetime(2026, 1, 9, 23, 0, tzinfo=UTC), "FUT", date(2026, 1, 12)),
        (datetime(2026, 1, 11, 22, 30, tzinfo=UTC), "CASH", date(2026, 1, 12)),
    ],
)
def test_the_trade_day_rolls_in_the_evening_to_the_next_weekday(at, sec_type, day):
    assert trade_day(at, NEW_YORK, sec_type) == day


def test_a_day_begins_at_midnight_of_its_zone():
    assert start_of_day(date(2026, 1, 5), NEW_YORK) == datetime(2026, 1, 5, 5, tzinfo=UTC)
