"""Trading days as the read API counts them, for every book: a New York day, and what happens on a day without a session is the
next one's. Pure. Source: snapshot specification, 1.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from fillbook.calendar import NEW_YORK, Session, TradingCalendar


def midnight(day: date) -> datetime:
    """New York midnight at which a date begins."""
    return datetime.combine(day, time.min, NEW_YORK)


def window(day: date, exchange: TradingCalendar) -> tuple[datetime, datetime]:
    """The half-open window of a session's date: from the end of the day of the session before to the end of its own."""
    before = exchange.previous_session(day).date
    return midnight(before + timedelta(days=1)), midnight(day + timedelta(days=1))


def current(now: datetime, exchange: TradingCalendar) -> Session:
    """The session whose day an account is shown for: that of ``now``'s date; on a date without one, the last."""
    day = now.astimezone(NEW_YORK).date()
    return exchange.session(day) or exchange.previous_session(day)


def trading_day(day: date, exchange: TradingCalendar) -> date:
    """The trading day to which what happens on a New York date belongs."""
    return day if exchange.session(day) is not None else exchange.next_session(day).date
