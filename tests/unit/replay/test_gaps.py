"""The gap report: what is missing is named, and the share that is there becomes a grade."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from fillbook.replay.buckets import BUCKET_MS, MINUTE_MS, ReplayDay, replay_day
from fillbook.replay.gaps import Seen, Stored, document, grade, report, worst
from fillbook.replay.model import Grade, Missing, SessionKind

DAY = replay_day(date(2026, 2, 2), SessionKind.REGULAR, datetime(2026, 3, 2, tzinfo=UTC))


def seen(ticker: str, *, day: ReplayDay = DAY, without: tuple[int, ...] = ()) -> Seen:
    """A ticker with every minute of the day but those of the buckets ``without`` (by number)."""
    buckets = [bucket for number, bucket in enumerate(day.buckets()) if number not in without]
    last_ts = buckets[-1] + BUCKET_MS - MINUTE_MS
    return Seen(ticker=ticker, minutes=5 * len(buckets), first_ts=buckets[0], last_ts=last_ts, buckets=frozenset(buckets))


def stored(*tickers: Seen, known: tuple[str, ...] = ()) -> Stored:
    return Stored(seen=tickers, known=known, by_script={"2.5.0": 1}, by_result={"decided": 1}, quarantined=2)


def bucket(number: int) -> int:
    return DAY.start + number * BUCKET_MS


def test_a_whole_day_is_complete_and_names_nothing_missing() -> None:
    found = report(DAY, stored(seen("ZZTA"), seen("ZZTB"), known=("ZZTA",)))
    assert found.grade is Grade.COMPLETE
    assert (found.minutes_present, found.minutes_expected) == (780, 780)
    assert (found.buckets_present, found.buckets_expected, found.empty) == (78, 78, ())
    assert all(one.missing == () for one in found.tickers)
    assert (found.tickers_seen, found.unseen) == (2, ())


# Scenario 28
def test_missing_buckets_and_an_absent_ticker_are_named_as_ranges() -> None:
    found = report(DAY, stored(seen("ZZTA"), seen("ZZTB", without=(3, 4, 40)), known=("ZZTA", "ZZTB", "ZZTC")))
    by_ticker = {one.ticker: one for one in found.tickers}
    assert by_ticker["ZZTB"].missing == (Missing(first=bucket(3), last=bucket(4)), Missing(first=bucket(40), last=bucket(40)))
    assert by_ticker["ZZTC"].missing == (Missing(first=DAY.first, last=DAY.last),)
    assert (by_ticker["ZZTC"].minutes, by_ticker["ZZTC"].first_ts) == (0, None)
    assert found.unseen == ("ZZTC",)
    assert (found.minutes_present, found.minutes_expected) == (765, 1170)
    assert found.grade is Grade.GAP
    assert found.empty == ()  # the other ticker was there


def test_a_bucket_without_any_ticker_is_empty() -> None:
    found = report(DAY, stored(seen("ZZTA", without=(0, 1)), seen("ZZTB", without=(1, 77))))
    assert found.empty == (Missing(first=bucket(1), last=bucket(1)),)
    assert found.buckets_present == 77


def test_of_today_only_what_has_ended_is_expected() -> None:
    today = replay_day(date(2026, 2, 2), SessionKind.REGULAR, datetime(2026, 2, 2, 15, 1, tzinfo=UTC))
    found = report(today, stored(seen("ZZTA", day=today)))
    assert (found.buckets_expected, found.minutes_expected, found.grade) == (6, 30, Grade.COMPLETE)


@pytest.mark.parametrize(
    ("present", "expected", "given"),
    [
        (99, 100, Grade.COMPLETE),
        (989, 1000, Grade.THIN),
        (90, 100, Grade.THIN),
        (899, 1000, Grade.GAP),
        (0, 0, Grade.GAP),
    ],
)
def test_the_grade_is_the_share_of_ticker_minutes(present: int, expected: int, given: Grade) -> None:
    assert grade(present, expected) is given


def test_several_days_are_as_good_as_the_worst_of_them() -> None:
    whole, thin = report(DAY, stored(seen("ZZTA"))), report(DAY, stored(seen("ZZTA", without=(1, 2, 3))))
    assert [worst(days) for days in ([whole], [whole, thin], [])] == [Grade.COMPLETE, Grade.THIN, Grade.GAP]


def test_the_document_says_it_in_ranges_of_milliseconds() -> None:
    told = document([report(DAY, stored(seen("ZZTA", without=(3, 4))))])
    assert told["grade"] == "thin"
    [day] = told["days"]
    assert day["tickers"] == [
        {
            "ticker": "ZZTA",
            "minutes": 380,
            "first": DAY.first,
            "last": DAY.last + 4 * MINUTE_MS,
            "missing": [[bucket(3), bucket(4)]],
        }
    ]
    assert (day["byScript"], day["byResult"], day["quarantined"]) == ({"2.5.0": 1}, {"decided": 1}, 2)
