"""How whole the receipts of a day are: what a replay of it can be believed.

A ticker is expected when it sent anything in the session, or when the live desk knew it in the week before; each is expected
in every minute. Nothing is filled in and nothing is guessed: what is missing is named, as ranges of buckets, and the share
that is there becomes a grade. The day itself is judged in its regular session alone, also when a run takes the hours around
it, because nobody promises a receipt before the open. Pure: counts come in. Source: replay.md 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from fillbook.replay.buckets import BUCKET_MS, MINUTE_MS, ReplayDay
from fillbook.replay.model import GapReport, Grade, Missing, TickerGaps
from fillbook.values import frozen

COMPLETE_PERCENT: Final = 99
THIN_PERCENT: Final = 90
_GRADES: Final = (Grade.COMPLETE, Grade.THIN, Grade.GAP)  # best first


@frozen
class Seen:
    """What is stored of one ticker in a day's session: distinct minutes, first and last ts, the buckets that hold a row."""

    ticker: str
    minutes: int
    first_ts: int
    last_ts: int
    buckets: frozenset[int]


@frozen
class Stored:
    """What is stored of a day. ``known``: tickers of the live desk; the counts are of all rows, whatever their version."""

    seen: Sequence[Seen] = ()
    known: Iterable[str] = ()
    by_script: Mapping[str, int]
    by_result: Mapping[str, int]
    quarantined: int = 0


def report(day: ReplayDay, stored: Stored) -> GapReport:
    """The report of one regular session; of today only what has ended is expected."""
    expected = day.buckets()
    minutes = len(expected) * (BUCKET_MS // MINUTE_MS)
    seen = {one.ticker: one for one in stored.seen}
    unseen = tuple(sorted(set(stored.known) - seen.keys()))
    there = frozenset().union(*(one.buckets for one in stored.seen))
    tickers = [_ticker(one, expected) for one in stored.seen]
    tickers += [TickerGaps(ticker=ticker, minutes=0, first_ts=None, last_ts=None, missing=_ranges(expected)) for ticker in unseen]
    of_all = minutes * len(tickers)
    present = sum(one.minutes for one in stored.seen)
    return GapReport(
        date=day.date,
        grade=grade(present, of_all),
        buckets_expected=len(expected),
        buckets_present=len(there.intersection(expected)),
        empty=_ranges([bucket for bucket in expected if bucket not in there]),
        tickers_seen=len(seen),
        unseen=unseen,
        minutes_expected=of_all,
        minutes_present=present,
        tickers=tuple(sorted(tickers, key=lambda one: one.ticker)),
        by_script=dict(stored.by_script),
        by_result=dict(stored.by_result),
        quarantined=stored.quarantined,
    )


def grade(present: int, expected: int) -> Grade:
    """``complete`` from 99 % on, ``thin`` from 90 % on, else ``gap``; where nothing is expected nothing is proved: ``gap``."""
    if expected and present * 100 >= expected * COMPLETE_PERCENT:
        return Grade.COMPLETE
    return Grade.THIN if expected and present * 100 >= expected * THIN_PERCENT else Grade.GAP


def worst(reports: Iterable[GapReport]) -> Grade:
    """The grade of several days together: that of the worst of them; of none at all, ``gap``."""
    return max((one.grade for one in reports), key=_GRADES.index, default=Grade.GAP)


def document(reports: Sequence[GapReport]) -> dict[str, Any]:
    """The reports as JSON, as stored with a run and answered; buckets and instants in ms, ranges as ``[first, last]``."""
    return {"grade": worst(reports).value, "days": [_day(one) for one in reports]}


def _day(one: GapReport) -> dict[str, Any]:
    return {
        "date": one.date.isoformat(),
        "grade": one.grade.value,
        "bucketsExpected": one.buckets_expected,
        "bucketsPresent": one.buckets_present,
        "empty": _pairs(one.empty),
        "tickersSeen": one.tickers_seen,
        "unseen": list(one.unseen),
        "minutesExpected": one.minutes_expected,
        "minutesPresent": one.minutes_present,
        "byScript": dict(one.by_script),
        "byResult": dict(one.by_result),
        "quarantined": one.quarantined,
        "tickers": [
            {
                "ticker": ticker.ticker,
                "minutes": ticker.minutes,
                "first": ticker.first_ts,
                "last": ticker.last_ts,
                "missing": _pairs(ticker.missing),
            }
            for ticker in one.tickers
        ],
    }


def _pairs(ranges: Iterable[Missing]) -> list[list[int]]:
    return [[one.first, one.last] for one in ranges]


def _ticker(seen: Seen, expected: Sequence[int]) -> TickerGaps:
    missing = _ranges([bucket for bucket in expected if bucket not in seen.buckets])
    return TickerGaps(ticker=seen.ticker, minutes=seen.minutes, first_ts=seen.first_ts, last_ts=seen.last_ts, missing=missing)


def _ranges(buckets: Iterable[int]) -> tuple[Missing, ...]:
    """Ascending buckets as ranges without a hole."""
    found: list[list[int]] = []
    for bucket in buckets:
        if found and found[-1][1] + BUCKET_MS == bucket:
            found[-1][1] = bucket
        else:
            found.append([bucket, bucket])
    return tuple(Missing(first=first, last=last) for first, last in found)
