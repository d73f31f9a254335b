"""Trading hours by receipt ``ts``: is this minute in the regular session, and which session date is it.

A thin cache over ``fillbook.calendar`` for milliseconds, because every receipt asks. It holds no rule of its own.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

from fillbook.calendar import TradingCalendar

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(ts: int) -> datetime:
    """``ts`` (ms UTC) as an aware instant, exact (no float in between)."""
    return _EPOCH + timedelta(milliseconds=ts)


def is_regular(ts: int, trading: TradingCalendar) -> bool:
    """Whether ``ts`` lies in the regular session: open <= ts < close."""
    opens, closes = _hours(trading, ts // DAY_MS)
    return opens <= ts < closes


def is_open(window: str, ts: int, trading: TradingCalendar) -> bool:
    """Whether a kind of action with this window (``regular`` or ``any``) may happen at ``ts``."""
    return window == "any" or is_regular(ts, trading)


def phase(ts: int, trading: TradingCalendar) -> str:
    """``pre``, ``regular``, ``post`` or ``closed``."""
    return "regular" if is_regular(ts, trading) else trading.phase(instant(ts))


@lru_cache(maxsize=4096)
def _session_date(trading: TradingCalendar, minute: int) -> date:
    return trading.trading_day(instant(minute * MINUTE_MS))


def session_date(ts: int, trading: TradingCalendar) -> date:
    """The trading day of ``ts`` (snapshot specification, 1); asked per minute, so it is cached per minute."""
    return _session_date(trading, ts // MINUTE_MS)


@lru_cache(maxsize=4096)
def _hours(trading: TradingCalendar, day: int) -> tuple[int, int]:
    """Open and close (ms) of the session on this UTC day; XNYS sessions never cross midnight UTC. Closed: an empty range."""
    session = trading.session((_EPOCH + timedelta(days=day)).date())
    if session is None:
        return 0, 0
    return _milliseconds(session.open_at), _milliseconds(session.close_at)


def _milliseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)
