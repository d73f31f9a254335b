"""Which five-minute buckets a replayed day has, and which receipts belong to it.

A bucket is written as its start in ms UTC and holds the receipts whose ``ts`` lies in its five minutes. A regular day is cut
from the exchange's open to its close: 78 buckets, 42 on a half day. ``all`` takes the whole window of the trading day, which
begins at midnight New York after the previous session (snapshot.md 1): there only buckets that hold rows are walked, because
nobody posts through the night. Of today a bucket counts once it ended a minute ago: until then its rows still arrive.
Sessions come from the exchange's table, never from a rule of thumb; ``now`` is a parameter. Source: replay.md 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from fillbook.calendar import NEW_YORK, CalendarError, TradingCalendar, calendar
from fillbook.replay.model import SessionKind
from fillbook.runtime.errors import Rejected
from fillbook.signal.receipt import milliseconds
from fillbook.values import frozen

BUCKET_MS: Final = 300_000
MINUTE_MS: Final = 60_000
SETTLE_SECONDS: Final = 60  # a bucket of today counts when it ended this long ago


class BucketNotInDay(Rejected):
    """The bucket is no bucket of this day; ``first`` and ``last`` are those of the day (ms)."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__("bucket_not_in_day", f"buckets run from {first} to {last}", field="bucket")
        self.first = first
        self.last = last


@frozen
class ReplayDay:
    """One session date as a replay walks it: receipts with ``start <= ts < end``, all bounds ms UTC on bucket edges.

    ``settled`` is the first instant that is not walked yet; it equals ``end`` on every day but today.
    """

    date: date
    session: SessionKind
    start: int
    end: int
    settled: int

    @property
    def minutes(self) -> int:
        """Minutes of the stretch: 390 of a regular session, 210 of a half day."""
        return (self.end - self.start) // MINUTE_MS

    @property
    def first(self) -> int:
        """The day's first bucket."""
        return self.start

    @property
    def last(self) -> int:
        """The day's last bucket."""
        return self.end - BUCKET_MS

    def buckets(self, present: Iterable[int] = ()) -> tuple[int, ...]:
        """The buckets to walk, ascending. ``present`` are those that hold rows; a regular day is walked whatever they are."""
        if self.session is SessionKind.REGULAR:
            return tuple(range(self.start, self.settled, BUCKET_MS))
        return tuple(sorted({bucket for bucket in present if self.start <= bucket < self.settled}))

    def holds(self, ts: int) -> bool:
        """Whether a receipt of this ``ts`` belongs to the stretch."""
        return self.start <= ts < self.settled

    def checked(self, bucket: int) -> int:
        """The bucket itself; ``BucketNotInDay`` when it is off the grid of five minutes or outside this day."""
        if bucket % BUCKET_MS or not self.start <= bucket < self.end:
            raise BucketNotInDay(self.first, self.last)
        return bucket


def replay_day(day: date, session: SessionKind, now: datetime, *, trading: TradingCalendar | None = None) -> ReplayDay:
    """The stretch of one session date.

    Raises ``Rejected``: ``no_session`` (weekend, holiday), ``date_in_future`` (after today in New York), ``param`` with field
    ``date`` (outside the session table).
    """
    trading = calendar() if trading is None else trading
    try:
        held = trading.session(day)
        if held is None:
            raise Rejected("no_session", f"the exchange is closed on {day}", field="date")
        if day > now.astimezone(NEW_YORK).date():
            raise Rejected("date_in_future", f"{day} is still to come", field="date")
        window = (held.open_at, held.close_at) if session is SessionKind.REGULAR else _window(day, trading)
    except CalendarError as error:
        raise Rejected("param", str(error), field="date") from error
    start, end = (milliseconds(edge) for edge in window)
    settled = bucket_of(milliseconds(now - timedelta(seconds=SETTLE_SECONDS)))
    return ReplayDay(date=day, session=session, start=start, end=end, settled=max(start, min(end, settled)))


def bucket_of(ts: int) -> int:
    """The bucket that holds ``ts``."""
    return ts - ts % BUCKET_MS


def _window(day: date, trading: TradingCalendar) -> tuple[datetime, datetime]:
    """The window of a trading day: midnight after the previous session to midnight after this one, New York."""
    after_previous = trading.previous_session(day).date + timedelta(days=1)
    return _midnight(after_previous), _midnight(day + timedelta(days=1))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), NEW_YORK).astimezone(UTC)
