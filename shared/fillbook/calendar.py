"""Trading sessions as data: which days trade, when they open and close, and which day an instant belongs to.

The exchange's days are a table of facts (``sessions/XNYS.csv``, written by ``infra/dev.py calendar``), so that no
function carries the calendar library, which costs 0.26 s and 76 MB at import. The module has no clock: every question
comes with its instant, timezone-aware. It refuses to guess about days the table does not hold (``CalendarError``).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from fillbook.values import frozen

NEW_YORK = ZoneInfo("America/New_York")
BUCKET_MINUTES = 5
SESSION_CACHE_MAX = 1024

# Extended hours of the US exchanges: early trading from 04:00, late trading four hours past the close (20:00, 17:00 on
# a half day). Only the regular session decides anything; these two merely name the rest of the day.
PRE_OPENS_AT = time(4, 0)
POST_LASTS = timedelta(hours=4)

# The FX week on New York's clock, counted from Monday midnight: closed from Friday 17:00 to Sunday 17:00.
FX_WEEK_ENDS = timedelta(days=4, hours=17)
FX_WEEK_BEGINS = timedelta(days=6, hours=17)


class CalendarError(LookupError):
    """A day outside the session table was asked for; the text names the range that is known."""


@frozen
class Session:
    """One trading session; ``open_at`` and ``close_at`` are UTC instants, the close itself is outside."""

    date: date
    open_at: datetime
    close_at: datetime
    is_half_day: bool


class TradingCalendar:
    """The sessions of one exchange over whole years; every method raises ``CalendarError`` outside them."""

    def __init__(self, name: str, table: str) -> None:
        """Read ``table``: a header, then ``date,open_utc,close_utc,half_day`` in ascending order.

        Rows are decoded when they are asked for: a function needs a handful of the 4,000 days at its cold start.
        """
        self.name = name
        rows = [line.split(",") for line in table.splitlines()[1:]]
        self._rows = {row[0]: row for row in rows}
        self._days = [row[0] for row in rows]
        self.first_day = date(int(self._days[0][:4]), 1, 1)
        self.last_day = date(int(self._days[-1][:4]), 12, 31)
        self._decode = lru_cache(SESSION_CACHE_MAX)(self._decode_row)

    def session(self, day: date) -> Session | None:
        """The session of ``day``, or ``None`` when the exchange is closed all day."""
        self._require(day)
        key = day.isoformat()
        return self._decode(key) if key in self._rows else None

    def trading_day(self, instant: datetime) -> date:
        """The New York date of ``instant`` if it is a session, else the next session's (snapshot specification, 1)."""
        day = _new_york_date(instant)
        self._require(day)
        return self._at(bisect_left(self._days, day.isoformat()), day).date

    def phase(self, instant: datetime) -> str:
        """``pre``, ``regular`` (open <= instant < close), ``post`` or ``closed``, by the New York clock."""
        session = self.session(_new_york_date(instant))
        if session is None:
            return "closed"
        if session.open_at <= instant < session.close_at:
            return "regular"
        if instant < session.open_at:
            return "pre" if instant.astimezone(NEW_YORK).time() >= PRE_OPENS_AT else "closed"
        return "post" if instant < session.close_at + POST_LASTS else "closed"

    def is_regular(self, instant: datetime) -> bool:
        """Whether ``instant`` lies in the regular session: open <= instant < close."""
        return self.phase(instant) == "regular"

    def next_session(self, day: date) -> Session:
        """The first session after ``day``."""
        self._require(day)
        return self._at(bisect_right(self._days, day.isoformat()), day)

    def previous_session(self, day: date) -> Session:
        """The last session before ``day``."""
        self._require(day)
        return self._at(bisect_left(self._days, day.isoformat()) - 1, day)

    def last_finished(self, now: datetime) -> Session:
        """The latest session whose close is not after ``now``."""
        day = _new_york_date(now)
        session = self.session(day)
        return session if session is not None and session.close_at <= now else self.previous_session(day)

    def sessions(self, first: date, last: date) -> tuple[Session, ...]:
        """All sessions from ``first`` to ``last``, both included, in ascending order."""
        self._require(first)
        self._require(last)
        begin, end = bisect_left(self._days, first.isoformat()), bisect_right(self._days, last.isoformat())
        return tuple(self._decode(key) for key in self._days[begin:end])

    def _require(self, day: date) -> None:
        if not self.first_day <= day <= self.last_day:
            raise self._unknown(day)

    def _at(self, index: int, day: date) -> Session:
        if not 0 <= index < len(self._days):
            raise self._unknown(day)
        return self._decode(self._days[index])

    def _unknown(self, day: date) -> CalendarError:
        return CalendarError(f"{self.name} knows sessions from {self.first_day} to {self.last_day}, not around {day}")

    def _decode_row(self, key: str) -> Session:
        day, open_utc, close_utc, half_day = self._rows[key]
        return Session(
            date=date.fromisoformat(day),
            open_at=datetime.fromisoformat(f"{day}T{open_utc}+00:00"),
            close_at=datetime.fromisoformat(f"{day}T{close_utc}+00:00"),
            is_half_day=half_day == "1",
        )


def calendar(name: str = "XNYS") -> TradingCalendar:
    """The calendar of an exchange by its market code, read once; a code without a table is a ``CalendarError``."""
    return _read(name)  # the cache keys on what was passed: with a default of its own it would read the table twice


@cache
def _read(name: str) -> TradingCalendar:
    table = Path(__file__).with_name("sessions") / f"{name}.csv"
    if not name.isalnum() or not table.is_file():
        raise CalendarError(f"no session table for {name!r}")
    return TradingCalendar(name, table.read_text("utf-8"))


def is_fx_week(instant: datetime) -> bool:
    """Whether ``instant`` lies in the week of over-the-counter FX: Sunday 17:00 to Friday 17:00 New York, holidays included.

    Servers of FX and CFD brokers have no exchange whose days could be a table; what they trade inside that week is each
    broker's own, what lies outside is closed at all of them but for what trades at weekends too. A naive instant: ``ValueError``.
    """
    local = _aware(instant).astimezone(NEW_YORK)
    since_monday = timedelta(days=local.weekday(), hours=local.hour, minutes=local.minute, seconds=local.second)
    return not FX_WEEK_ENDS <= since_monday < FX_WEEK_BEGINS


def bucket_5m(instant: datetime) -> datetime:
    """The start of the 5-minute bucket that holds ``instant``, in UTC; a naive instant is a ``ValueError``."""
    utc = _aware(instant).astimezone(UTC)
    return utc.replace(minute=utc.minute - utc.minute % BUCKET_MINUTES, second=0, microsecond=0)


def _new_york_date(instant: datetime) -> date:
    return _aware(instant).astimezone(NEW_YORK).date()


def _aware(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("an instant needs its time zone")
    return instant


def day_end(day: date) -> datetime:
    """The last instant of a New York date: what a session's day came to includes it."""
    return datetime.combine(day + timedelta(days=1), time.min, NEW_YORK).astimezone(UTC) - timedelta(microseconds=1)
