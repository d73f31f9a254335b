"""Results of a range and of its days: P&L of the executions in it, counts of the positions that they closed.

A range means activity: whatever was executed within [since, until) counts, however old its position. ``day``, ``weekday`` and
``reason`` are words of an execution; there a position counts on every day on which it acted, so that days add up to weeks and
weekdays. All other groups are words of a position: its ticker, direction and book, and the trigger and score of its entry. The
range of everything is read from sums that the ledger keeps of finished days, today and whatever was corrected since from the
actions themselves (``sums.py``). Source: tracker.md 3 and 4.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Final, cast

from fillbook.calendar import NEW_YORK, Session, TradingCalendar, calendar
from fillbook.ledger import asof
from fillbook.ledger.moment import moment
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.tracker import days, listing, store
from fillbook.tracker import results as made
from fillbook.tracker.figures_model import Calendar, Day, Group, Results, Summary, Week
from fillbook.tracker.filters import day as read_day
from fillbook.tracker.listing import Common
from fillbook.tracker.model import choice, refused, single
from fillbook.tracker.results import Cell
from fillbook.tracker.route import Given, Parameter, Route, Source, Weight, names
from fillbook.tracker.store import Row
from fillbook.tracker.sums import OF_AN_EXECUTION, Asked, Sums
from fillbook.tracker.wire import answer, text

GROUPS: Final = ("ticker", "direction", "day", "weekday", "reason", "trigger_reason", "score_band", "book")
WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
GROUPS_MAX: Final = 500
CALENDAR_DAYS_MAX: Final = 400
FIRST_KNOWN: Final = date(2010, 12, 31)
"""Windows begin where the session before ended, which is not known of the calendar's very first."""
Place = tuple[str, str | None]
"""Currency and group."""

GROUP_BY: Final = Parameter(name="group_by", schema={"enum": list(GROUPS)}, purpose="By what the results are told apart.")
_DATE: Final = {"type": "string", "format": "date", "examples": ["2026-02-03"]}
MONTH: Final = Parameter(
    name="month",
    schema={"type": "string", "pattern": r"^\d{4}-\d{2}$", "examples": ["2026-02"]},
    purpose="A calendar month, in place of `from` and `to`; that of today when none is named.",
)
FROM: Final = Parameter(name="from", schema=_DATE, purpose="The first date.")
TO: Final = Parameter(name="to", schema=_DATE, purpose=f"The last date; at most {CALENDAR_DAYS_MAX} days from the first.")
BY: Final = Parameter(name="by", schema={"enum": ["day", "week"]}, purpose="`week`: weeks alone, without their days.")
SUMMARY: Final = (listing.BOOKS, *listing.RANGE, *listing.CLOCKS, GROUP_BY)
CALENDAR: Final = (listing.BOOKS, *listing.CLOCKS, MONTH, FROM, TO, BY)

CLOCKED: Final = names((listing.BOOKS, *listing.CLOCKS))


def summary(db: Database, key: DeskKey, given: Given, now: datetime) -> Summary:
    """The results of a range, per currency and by group: the groups with the most positions, days and weekdays in their order."""
    one = single(given, names(SUMMARY))
    by = choice(one, "group_by", GROUPS)
    asked = listing.read(one, "summary", 1, 1)
    with store.look(db, key, asked.books) as seen:
        total, seqs, recorded_at = _asked(seen, asked, now)
        kept = Sums(seen)
        told_apart = replace(total, by=by)
        grouped = folded(kept.cells(told_apart), by)
        acted_in = _trades(kept, told_apart, grouped)
        whole = grouped if by is None else _whole(grouped)
        acted = acted_in if by is None else _trades(kept, total, whole)
    ranked = [] if by is None else _ranked(grouped, acted_in, by)
    found = answer(
        total.at,
        recorded_at,
        seqs,
        group_by=by,
        count=len(ranked),
        totals=[made.results(place[0], whole[place], acted[place]) for place in sorted(whole)],
        groups=[_group(place, grouped[place], acted_in[place]) for place in ranked[:GROUPS_MAX]],
        other=_others(grouped, acted_in, ranked[GROUPS_MAX:]),
    )
    return cast("Summary", found)


def _asked(seen: store.Seen, asked: Common, now: datetime) -> tuple[Asked, Mapping[str, int], datetime | None]:
    """What is asked for, of which books at which sequence, and how recent that is."""
    at = moment(asked.as_of, asked.known_as_of, now)
    seqs, recorded_at = seen.books, seen.recorded_at
    if asked.known_as_of is None:
        at = replace(at, known_as_of=recorded_at or now)
    if asked.is_past:
        known = asof.books(seen.tx, seen.book_ids, at)
        seqs = {name: known[name].seq for name in seen.books}
        recorded_at = max((one.recorded_at for one in known.values() if one.recorded_at is not None), default=None)
    return Asked(since=asked.since, until=asked.until, at=at, is_past=asked.is_past), seqs, recorded_at


def folded(rows: Iterable[Row], by: str | None = None) -> dict[Place, Cell]:
    """Cells by currency and group; a date is a group by its trading day or its weekday."""
    parts: dict[Place, list[Cell]] = {}
    for row in rows:
        parts.setdefault((row["currency"], _word(row, by)), []).append(made.cell(row))
    return {place: made.added(cells) for place, cells in parts.items()}


def _whole(groups: Mapping[Place, Cell]) -> dict[Place, Cell]:
    """What all groups of each currency add up to."""
    parts: dict[Place, list[Cell]] = {}
    for place, cell in groups.items():
        parts.setdefault((place[0], None), []).append(cell)
    return {place: made.added(cells) for place, cells in parts.items()}


def _word(row: Mapping[str, Any], by: str | None) -> str | None:
    if by not in ("day", "weekday"):
        found: str | None = row["key"]
        return found
    day = days.trading_day(row["day"], calendar())
    return day.isoformat() if by == "day" else WEEKDAYS[day.weekday()]


def _trades(kept: Sums, asked: Asked, groups: Mapping[Place, Cell]) -> dict[Place, int]:
    """How many positions acted, by group: opened in the range or before; on each date where the word is an execution's."""
    is_of_an_execution = asked.by in OF_AN_EXECUTION
    found = {place: 0 if is_of_an_execution else cell.entries for place, cell in groups.items()}
    for row in kept.active(asked) if is_of_an_execution else kept.carried(asked):
        found[row["currency"], _word(row, asked.by)] += row["trades"]
    return found


def _ranked(groups: Iterable[Place], acted: Mapping[Place, int], by: str) -> list[Place]:
    """Groups in the order in which they are shown; what carries no word comes last."""
    if by == "day":
        return sorted(groups, key=lambda place: (place[1] or "", place[0]))
    if by == "weekday":
        return sorted(groups, key=lambda place: (WEEKDAYS.index(place[1] or WEEKDAYS[0]), place[0]))
    return sorted(groups, key=lambda place: (place[1] is None, -acted[place], place[1] or "", place[0]))


def _group(place: Place, cell: Cell, trades: int) -> Group:
    return {"key": place[1], **made.results(place[0], cell, trades)}


def _others(groups: Mapping[Place, Cell], acted: Mapping[Place, int], left: Sequence[Place]) -> list[Results]:
    """What the groups that are not shown add up to, per currency."""
    found = []
    for currency in sorted({place[0] for place in left}):
        mine = [place for place in left if place[0] == currency]
        found.append(made.results(currency, made.added(groups[place] for place in mine), sum(acted[place] for place in mine)))
    return found


def by_days(db: Database, key: DeskKey, given: Given, now: datetime) -> Calendar:
    """Trading days of a span up to today, each with its results, and the sums of their weeks.

    A day of the exchange stands there in each currency of the answer, also where nothing happened on it.
    """
    one = single(given, names(CALENDAR))
    asked = listing.read({name: one[name] for name in one if name in CLOCKED}, "calendar", 1, 1)
    exchange = calendar()
    first, last = _span(one, now)
    with store.look(db, key, asked.books) as seen:
        at = moment(asked.as_of, asked.known_as_of, now)
        sessions = [one.date for one in _sessions(exchange, first, min(last, _day(at.as_of)))]
        bounds = (days.window(sessions[0], exchange)[0], days.window(sessions[-1], exchange)[1]) if sessions else (now, now)
        what, seqs, recorded_at = _asked(seen, replace(asked, since=bounds[0], until=bounds[1]), now)
        what = replace(what, by="day")
        kept = Sums(seen)
        cells = folded(kept.cells(what), "day") if sessions else {}
        opened = kept.open_at(what, bounds[0])
        currencies = sorted({place[0] for place in cells} | set(opened)) or kept.base_currencies()
    found = [day for currency in currencies for day in _days(currency, sessions, cells, opened.get(currency, 0))]
    found.sort(key=lambda day: day[0])
    shown = [_shown(*day) for day in found] if one.get("by") != "week" else []
    told = answer(
        what.at,
        recorded_at,
        seqs,
        first_date=first.isoformat(),
        last_date=last.isoformat(),
        count=len(shown),
        days=shown,
        weeks=_weeks(found),
    )
    return cast("Calendar", told)


def _span(one: Mapping[str, str], now: datetime) -> tuple[date, date]:
    """The first and the last date asked for."""
    if "month" in one:
        if "from" in one or "to" in one:
            raise refused("month")
        first = read_day(f"{one['month']}-01", "month")
        return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    today = _day(now)
    last = read_day(one["to"], "to") if "to" in one else today
    first = read_day(one["from"], "from") if "from" in one else last.replace(day=1)
    if not 0 <= (last - first).days < CALENDAR_DAYS_MAX:
        raise refused("to" if "to" in one else "from")
    return first, last


def _day(at: datetime) -> date:
    return at.astimezone(NEW_YORK).date()


def _sessions(exchange: TradingCalendar, first: date, last: date) -> tuple[Session, ...]:
    """The sessions of a span, as far as the exchange's calendar reaches."""
    begin, end = max(first, exchange.first_day), min(last, exchange.last_day)
    found = exchange.sessions(begin, end) if begin <= end else ()
    return tuple(one for one in found if one.date > FIRST_KNOWN)


OneDay = tuple[str, str, Cell, int]
"""Date, currency, sums, and how many positions were open at its end."""


def _days(currency: str, sessions: Sequence[date], cells: Mapping[Place, Cell], held: int) -> Iterator[OneDay]:
    for session in sessions:
        cell = cells.get((currency, session.isoformat()), Cell())
        held += cell.entries - cell.exits
        yield session.isoformat(), currency, cell, held


def _shown(day: str, currency: str, cell: Cell, held: int) -> Day:
    return {
        "date": day,
        "currency": currency,
        **made.counts(cell),
        "realized_pnl": text(made.realized(cell)),
        "fees": text(made.fees(cell)),
        "open_at_close": held,
    }


def _weeks(found: Sequence[OneDay]) -> list[Week]:
    """The sums of the days of each calendar week."""
    parts: dict[tuple[date, str], list[OneDay]] = {}
    for one in found:
        day = date.fromisoformat(one[0])
        parts.setdefault((day - timedelta(days=day.weekday()), one[1]), []).append(one)
    return [_week(currency, mine) for (_, currency), mine in sorted(parts.items())]


def _week(currency: str, mine: Sequence[OneDay]) -> Week:
    cell = made.added(one[2] for one in mine)
    return {
        "first_date": mine[0][0],
        "last_date": mine[-1][0],
        "currency": currency,
        **made.counts(cell),
        "realized_pnl": text(made.realized(cell)),
        "fees": text(made.fees(cell)),
        "open_at_close": mine[-1][3],
    }


ROUTES: Final = (
    Route(
        path="/timed/ledger/summary",
        purpose="Results of a range of activity, per currency and by group.",
        use_case=summary,
        answer=Summary,
        parameters=SUMMARY,
        weight=Weight.FIGURES,
        sources=frozenset({Source.LEDGER}),
    ),
    Route(
        path="/timed/calendar",
        purpose="Results of trading days and of their weeks.",
        use_case=by_days,
        answer=Calendar,
        parameters=CALENDAR,
        weight=Weight.FIGURES,
        sources=frozenset({Source.LEDGER, Source.MINUTE}),
    ),
)
