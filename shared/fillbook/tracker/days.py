"""Trading days as the read API counts them, for every book: a New York day, and what happens on a day without a session is the
next one's; and at which marks a day is valued, on every screen alike. Pure. Source: snapshot specification, 1; decision 0054.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Final

from fillbook.calendar import NEW_YORK, CalendarError, Session, TradingCalendar
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

INSTANT: Final = timedelta(microseconds=1)


@frozen
class Today:
    """The day that every screen shows at an instant: up to when it counts, at which marks, and what it is measured against."""

    session: Session
    before: Session
    as_of: datetime

    @property
    def valuation_at(self) -> datetime:
        """When it is valued: now, once its session is over at the close."""
        return min(self.as_of, self.session.close_at)

    @property
    def marked_before(self) -> datetime:
        """The end, not included, of the marks that count: all that were seen by now, once the session is over those within it."""
        return self.marked_before_at(self.session)

    @property
    def marked_before_then(self) -> datetime:
        """The same of the session before: what the day's change is measured against."""
        return self.before.close_at

    def marked_before_at(self, session: Session) -> datetime:
        """The same of a session up to this one."""
        return session.close_at if session.close_at <= self.as_of else self.as_of + INSTANT


def today(as_of: datetime, exchange: TradingCalendar) -> Today:
    """The day of an instant; raises ``Rejected('instant_unknown')`` for one that no session of the exchange is known about."""
    try:
        session = current(as_of, exchange)
        return Today(session=session, before=exchange.previous_session(session.date), as_of=as_of)
    except CalendarError as error:
        raise Rejected("instant_unknown", str(error), field="as_of") from error


def midnight(day: date) -> datetime:
    """New York midnight at which a date begins."""
    return datetime.combine(day, time.min, NEW_YORK)


def window(day: date, exchange: TradingCalendar) -> tuple[datetime, datetime]:
    """The half-open window of a session's date: from the end of the day of the session before to the end of its own."""
    before = exchange.previous_session(day).date
    return midnight(before + timedelta(days=1)), midnight(day + timedelta(days=1))


def current(now: datetime, exchange: TradingCalendar) -> Session:
    """The session whose day is shown: that of ``now``'s date, from midnight on; on a date without one, the last."""
    day = now.astimezone(NEW_YORK).date()
    return exchange.session(day) or exchange.previous_session(day)


def trading_day(day: date, exchange: TradingCalendar) -> date:
    """The trading day to which what happens on a New York date belongs."""
    return day if exchange.session(day) is not None else exchange.next_session(day).date
