"""The days of a chaos run and what is done at each moment of them; values only.

A run lives through *seasons*: a few sessions in a row around something that a calendar can do to a desk – both changes of
New York's clock and that of Europe, holidays, half days, the end of a year. Each season begins with a fresh desk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from typing import Final

from fillbook.calendar import NEW_YORK, Session, calendar
from infra.chaos.kinds import BARS, BROKER, EVENING, KEEPING, PARITY, PUBLISHING

FIRST_YEAR: Final = 2026
MARCH, NOVEMBER, SUNDAY, THURSDAY, FRIDAY = 3, 11, 6, 3, 4
BARS_A_DAY, BARS_A_HALF_DAY = 9, 7
MARGIN_MINUTES: Final = 4
"""Of a session, before its first and after its last bar."""
TOLD_BEFORE_OPEN: Final = time(8, 1)
"""When a season begins: nothing of the day is executed yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An instant to which the desk clock is set. ``minutes``: of the session, whose receipts are sent then."""

    name: str
    at: datetime
    groups: tuple[str, ...]
    minutes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """Sessions in a row, and what they are chosen for."""

    name: str
    days: tuple[date, ...]


def seasons_of(year: int) -> tuple[Season, ...]:
    """The five seasons of a year: 24 sessions."""
    spring, autumn = _nth(year, MARCH, SUNDAY, 2), _nth(year, NOVEMBER, SUNDAY, 1)
    return (
        Season(name=f"{year} clocks forward", days=_around(spring, 2, 3)),
        Season(name=f"{year} Good Friday, clocks of Europe", days=_around(_good_friday(year), 5, 1)),
        Season(name=f"{year} clocks back", days=_around(autumn, 2, 2)),
        Season(name=f"{year} Thanksgiving, half day", days=_around(_nth(year, NOVEMBER, THURSDAY, 4), 1, 2)),
        Season(name=f"{year} year end, half day", days=_around(date(year + 1, 1, 1), 5, 1)),
    )


def chosen(number: int, seed: int) -> tuple[Season, ...]:
    """So many sessions by seasons; the seed says with which season a run begins. Whole years of 24 hold everything."""
    found: list[Season] = []
    for year in count(FIRST_YEAR):
        of_year = seasons_of(year)
        turned = of_year[seed % len(of_year) :] + of_year[: seed % len(of_year)]
        for season in turned:
            left = number - sum(len(one.days) for one in found)
            if left <= 0:
                return tuple(found)
            found.append(Season(name=season.name, days=season.days[:left]))
    raise AssertionError("unreachable")


def begins_at(day: date) -> datetime:
    """The instant at which a season's desk begins."""
    return datetime.combine(day, TOLD_BEFORE_OPEN, NEW_YORK).astimezone(UTC)


def moments(day: date, *, bars: int | None = None) -> tuple[Moment, ...]:
    """What is done on a session, in its order, to the morning after. Raises ``ValueError`` for a day without one."""
    session = calendar().session(day)
    if session is None:
        raise ValueError(f"{day} is no trading day")
    number = bars or (BARS_A_HALF_DAY if session.is_half_day else BARS_A_DAY)
    return (
        _moment("premarket", day, time(9, 0, 5), EVENING, PUBLISHING),
        *_bars(session, number),
        _moment("published", day, time(16, 30, 5), EVENING, PUBLISHING),
        _moment("watched", day, time(17, 5, 5), EVENING, BROKER),
        _moment("held", day, time(17, 21), EVENING, BROKER),
        _moment("proven", day, time(17, 31), EVENING, PARITY),
        _moment("kept", day, time(17, 46), EVENING, KEEPING),
        _moment("night", day, time(23, 51), BROKER),
        _moment("statement", day + timedelta(days=1), time(6, 16), BROKER),
    )


def _bars(session: Session, number: int) -> Iterator[Moment]:
    minutes = int((session.close_at - session.open_at) / timedelta(minutes=1)) - 2 * MARGIN_MINUTES
    for place in range(number):
        first = MARGIN_MINUTES + place * minutes // max(number - 1, 1)
        at = session.open_at + timedelta(minutes=first + 2, seconds=1)
        groups = (BARS, PUBLISHING) if _is_first_after_noon(at, session, minutes // max(number - 1, 1)) else (BARS,)
        yield Moment(name=f"bar {place + 1}", at=at, groups=groups, minutes=(first, first + 1))


def _is_first_after_noon(at: datetime, session: Session, step: int) -> bool:
    midday = datetime.combine(session.date, time(12, 30), NEW_YORK).astimezone(UTC)
    return midday <= at < midday + timedelta(minutes=step)


def _moment(name: str, day: date, at: time, *groups: str) -> Moment:
    return Moment(name=name, at=datetime.combine(day, at, NEW_YORK).astimezone(UTC), groups=groups)


def _around(anchor: date, before: int, after: int) -> tuple[date, ...]:
    """Sessions before an instant's date and from it on."""
    earlier = [anchor]
    for _ in range(before):
        earlier.append(calendar().previous_session(earlier[-1]).date)
    later = [anchor - timedelta(days=1)]
    for _ in range(after):
        later.append(calendar().next_session(later[-1]).date)
    return (*reversed(earlier[1:]), *later[1:])


def _nth(year: int, month: int, weekday: int, number: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (number - 1))


def _good_friday(year: int) -> date:
    """The only Friday of spring without a session."""
    fridays = (_nth(year, MARCH, FRIDAY, number) for number in range(3, 9))
    return next(friday for friday in fridays if calendar().session(friday) is None)
