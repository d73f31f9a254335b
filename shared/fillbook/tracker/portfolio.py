"""The account: what the books are worth, what the day brought, its curve, and what was executed.

The figures are those of a published day (snapshot specification, 2.3) at any instant and for any books: equity is start cash, all
realized P&L and what open positions gained, at the marks that every screen counts (``days.Today``); the day's P&L is it against
the close of the session before. On a date without a session the day is the last session's.
The curve has a point where everything that is held has a mark, and none elsewhere: a minute's end for one day, else the end of
a session's day valued at its close. Source: tracker.md 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any, Final, cast

from fillbook.calendar import Session, TradingCalendar, calendar, day_end
from fillbook.ledger.moment import moment
from fillbook.money import CONTEXT, ZERO
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.sql import load_queries
from fillbook.tracker import days, executed, listing, store
from fillbook.tracker.executed import NOTHING, Executed, Place
from fillbook.tracker.model import choice, single, whole
from fillbook.tracker.portfolio_model import Executions, Point, Portfolio, Worth
from fillbook.tracker.route import Given, Parameter, Route, Source, Weight, names
from fillbook.tracker.store import Row, Seen
from fillbook.tracker.sums import Asked, Sums
from fillbook.tracker.wire import MONEY_DECIMALS, answer, instants, text
from fillbook.tracker.worths import Moment, Worths

QUERIES: Final = load_queries("fillbook.tracker", "portfolio.sql")
RANGES: Final[Mapping[str, int | None]] = {"1d": 1, "5d": 5, "30d": 30, "90d": 90, "1y": 366, "all": None}
"""Of ``1d`` and ``5d`` sessions, else calendar days back."""
IN_SESSIONS: Final = frozenset({"1d", "5d"})
POINTS_MAX: Final = 2_000
PERCENT_DECIMALS: Final = Decimal("0.0001")

RANGE: Final = Parameter(name="range", schema={"enum": list(RANGES)}, purpose="How far back curve and executions reach; `1d`.")
POINTS: Final = Parameter(
    name="points",
    schema={"type": "integer", "minimum": 1, "maximum": POINTS_MAX, "default": POINTS_MAX},
    purpose="How many points the curve of a currency has at most; of more, points at even distances.",
)
PARAMETERS: Final = (listing.BOOKS, listing.AS_OF, RANGE, POINTS)
NOTHING_HELD: Final[Mapping[str, Any]] = dict.fromkeys(("positions", "open_positions", "stale", "lacks", "unknown"), 0) | {
    "realized": ZERO,
    "unrealized": ZERO,
}


def portfolio(db: Database, key: DeskKey, given: Given, now: datetime) -> Portfolio:
    """The account at an instant; money in the currency of each total."""
    one = single(given, names(PARAMETERS))
    asked = listing.read({name: one[name] for name in one if name in ("books", "as_of")}, "portfolio", 1, 1)
    wanted = choice(one, "range", tuple(RANGES)) or "1d"
    points = whole(one.get("points", str(POINTS_MAX)), "points", POINTS_MAX)
    exchange = calendar()
    at = moment(asked.as_of, None, now)
    day = days.today(at.as_of, exchange)
    with store.look(db, key, asked.books) as seen, _minutes(db, key, seen, day, wanted) as changes:
        account = _Account(seen, Asked(since=None, until=None, at=at, is_past=False), day, exchange)
        totals = account.totals()
        first = _first(wanted, day, exchange)
        curve = list(account.minutes(changes) if wanted == "1d" else account.closes(first))
        executions = account.executions(first)
    found = answer(
        at.as_of,
        seen.recorded_at,
        seen.books,
        date=day.session.date.isoformat(),
        **instants("valuation", day.valuation_at),
        range=wanted,
        totals=totals,
        curve=_thinned(curve, points),
        executions=executions,
    )
    return cast("Portfolio", found)


def _minutes(
    db: Database, key: DeskKey, seen: Seen, day: days.Today, wanted: str
) -> AbstractContextManager[Callable[[], list[Row]]]:
    """What changed at which minute end of the session: the longest question, so the server works on it beside the others."""
    if wanted != "1d" or not _minutes_of(day):
        return nullcontext(list)
    return db.beside(
        seen.tx,
        QUERIES["minutes"],
        tenant_id=key.tenant_id,
        books=seen.book_ids,
        open_at=day.session.open_at,
        since=day.before.close_at,
        last_at=day.as_of,
        valued_at=day.valuation_at,
        minutes=_minutes_of(day),
    )


def _minutes_of(day: days.Today) -> int:
    """How many minutes of the session have a valuation."""
    return max(0, int((day.valuation_at - day.session.open_at).total_seconds() // 60))


def _first(wanted: str, day: days.Today, exchange: TradingCalendar) -> Session | None:
    """The first session of a range, None for all there ever was."""
    back = RANGES[wanted]
    if back is None:
        return None
    if wanted in IN_SESSIONS:
        return exchange.sessions(day.session.date - timedelta(days=4 * back + 8), day.session.date)[-back]
    first = max(exchange.first_day, day.session.date - timedelta(days=back - 1))
    return exchange.session(first) or exchange.next_session(first)


class _Account:
    """What some books are worth at some moments of a day, within one look. The day's own actions are added up once."""

    def __init__(self, seen: Seen, everything: Asked, day: days.Today, exchange: TradingCalendar) -> None:
        self._seen = seen
        self._kept = Sums(seen)
        self._worths = Worths(seen, self._kept)
        self._everything = everything
        self._day = day
        self._exchange = exchange
        self._began = {row["currency"]: row["start_cash"] for row in seen.tx.query(QUERIES["start_cash"], books=seen.book_ids)}
        self._start, self._end = days.window(day.session.date, exchange)
        self._tickers = self._executed(self._start, day.as_of + days.INSTANT, "ticker")
        self._today = executed.by_currency(self._tickers)
        self._earlier = executed.by_currency(self._executed(None, self._start))
        self._days: dict[Place, Executed] | None = None
        self._late = executed.by_currency(self._executed(day.before.close_at + days.INSTANT, self._start))

    def totals(self) -> list[Worth]:
        """The account of each currency that there is anything in, or that a book counts in."""
        day = self._day
        close = Moment(held_at=day.before.close_at, valued_at=day.marked_before_then, day=day.before.date)
        now, then = self._worths.at([Moment(held_at=day.as_of, valued_at=day.marked_before), close])
        return [
            _worth(
                currency,
                self._began.get(currency, ZERO),
                (now.get(currency), executed.added(self._earlier.get(currency, NOTHING), self._today.get(currency, NOTHING))),
                (then.get(currency), self._at_close(currency)),
                self._today.get(currency, NOTHING),
            )
            for currency in sorted({*self._began, *self._earlier, *self._today, *now})
        ]

    def minutes(self, changes: Callable[[], list[Row]]) -> Iterator[Point]:
        """A point per minute end of the session's, up to its valuation; ``changes``: what ``_minutes`` asked."""
        begin, count = self._day.session.open_at, _minutes_of(self._day)
        if not count:
            return
        rows = changes()
        for currency in sorted({*self._began, *self._earlier, *(row["currency"] for row in rows)}):
            of_minutes = {row["minute"]: row for row in rows if row["currency"] == currency}
            before = self._at_close(currency).known
            latest: Mapping[str, Any] = NOTHING_HELD
            for minute in range(1, count + 1):
                latest = of_minutes.get(minute, latest)
                if before is not None and not latest["lacks"] and not latest["unknown"]:
                    with localcontext(CONTEXT):
                        equity = self._began.get(currency, ZERO) + before + latest["realized"] + latest["unrealized"]
                    yield _point(begin + timedelta(minutes=minute), currency, equity, latest["positions"], latest["stale"])

    def closes(self, first: Session | None) -> Iterator[Point]:
        """A point per session of a range: what its day had come to, at the marks of its close; the last one as it stands."""
        day, acted = self._day, self._by_day()
        begun = min((place[1] or "" for place in acted), default=day.session.date.isoformat())
        sessions = self._exchange.sessions(date.fromisoformat(begun) if first is None else first.date, day.session.date)
        moments = [
            Moment(held_at=min(day_end(one.date), day.as_of), valued_at=day.marked_before_at(one), day=one.date)
            for one in sessions
        ]
        held = self._worths.at(moments)
        for currency in sorted({*self._began, *(place[0] for place in acted)}):
            earned = [(place[1] or "", mine) for place, mine in acted.items() if place[0] == currency]
            earned.sort(key=lambda one: one[0])
            sofar = NOTHING
            for session, now in zip(sessions, held, strict=True):
                while earned and earned[0][0] <= session.date.isoformat():
                    sofar = executed.added(sofar, earned.pop(0)[1])
                equity = _equity(self._began.get(currency, ZERO), now.get(currency), sofar)
                if equity is not None:
                    row = now.get(currency, NOTHING_HELD)
                    yield _point(min(session.close_at, day.as_of), currency, equity, row["open_positions"], row["stale"])

    def executions(self, first: Session | None) -> Executions:
        """What was executed from a session on, by day and by ticker."""
        since = None if first is None else days.window(first.date, self._exchange)[0]
        if since == self._start:
            return executed.told(self._by_day_now(), self._tickers)
        begin = "" if first is None else first.date.isoformat()
        by_day = {place: mine for place, mine in self._by_day().items() if (place[1] or "") >= begin}
        return executed.told(by_day, executed.joined(self._executed(since, self._start, "ticker"), self._tickers))

    def _by_day(self) -> dict[Place, Executed]:
        """What was executed by trading day, all there ever was."""
        if self._days is None:
            self._days = executed.joined(self._executed(None, self._start, "day"), self._by_day_now())
        return self._days

    def _by_day_now(self) -> dict[Place, Executed]:
        """That of the day itself; on a date without a session what happened since is the next one's."""
        if self._day.as_of >= self._end:
            return self._executed(self._start, self._day.as_of + days.INSTANT, "day")
        return {(currency, self._day.session.date.isoformat()): mine for currency, mine in self._today.items()}

    def _at_close(self, currency: str) -> Executed:
        """All that was executed by the close of the session before."""
        return executed.less(self._earlier.get(currency, NOTHING), self._late.get(currency, NOTHING))

    def _executed(self, since: datetime | None, until: datetime, by: str | None = None) -> dict[Place, Executed]:
        return executed.folded(self._kept.executed(replace(self._everything, since=since, until=until, by=by)), by)


def _worth(
    currency: str, began: Decimal, now: tuple[Row | None, Executed], then: tuple[Row | None, Executed], of_the_day: Executed
) -> Worth:
    held, earned = now
    equity, before = _equity(began, held, earned), _equity(began, *then)
    realized = earned.known
    with localcontext(CONTEXT):
        outlay = ZERO if held is None else None if held["lacks_outlay"] else held["outlay"]
        unrealized = _known(held, "unrealized", "lacks_unrealized")
        cash = None if realized is None or outlay is None else began + realized - outlay
        value = None if unrealized is None or outlay is None else unrealized + outlay
        day_pnl = None if equity is None or before is None else equity - before
        share = 100 * day_pnl / before if day_pnl is not None and before is not None and before > 0 else None
    return {
        "currency": currency,
        "start_cash": text(began) or "0",
        "cash": _money(cash),
        "positions_value": _money(value),
        "equity": _money(equity),
        "realized_pnl": _money(realized),
        "unrealized_pnl": _money(unrealized),
        "day_pnl": _money(day_pnl),
        "day_realized_pnl": _money(of_the_day.known),
        "day_return_percent": None if share is None else str(share.quantize(PERCENT_DECIMALS, ROUND_HALF_EVEN) + 0),
        "gross_exposure": _money(_known(held, "gross", "lacks_worth")),
        "net_exposure": _money(_known(held, "net", "lacks_worth")),
        "open_positions": 0 if held is None else held["open_positions"],
        "missing_marks": [] if held is None else list(held["missing_marks"]),
    }


def _equity(began: Decimal, held: Row | None, earned: Executed) -> Decimal | None:
    """Start cash, all realized P&L and what is held gained; None where a part is not known."""
    realized, unrealized = earned.known, _known(held, "unrealized", "lacks_unrealized")
    if realized is None or unrealized is None:
        return None
    with localcontext(CONTEXT):
        return began + realized + unrealized


def _known(held: Row | None, name: str, lacks: str) -> Decimal | None:
    """A sum over what is held: nothing where nothing is, None where a part of it is not known."""
    if held is None:
        return ZERO
    amount: Decimal = held[name]
    return None if held[lacks] else amount


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else text(amount.quantize(MONEY_DECIMALS, ROUND_HALF_EVEN))


def _point(at: datetime, currency: str, equity: Decimal, positions: int, stale: int) -> Point:
    state = "ledger" if not positions else "stale" if stale else "live"
    return cast("Point", {**instants("", at), "currency": currency, "equity": _money(equity), "state": state})


def _thinned(curve: Sequence[Point], points: int) -> list[Point]:
    """At most so many points of each currency at even distances, its last among them."""
    found: list[Point] = []
    for currency in dict.fromkeys(point["currency"] for point in curve):
        mine = [point for point in curve if point["currency"] == currency]
        if len(mine) > points:
            last = len(mine) - 1
            mine = [mine[last - (last * step) // max(1, points - 1)] for step in range(points)][::-1]
        found += mine
    return found


ROUTES: Final = (
    Route(
        path="/timed/portfolio",
        purpose="What the account is worth, how that came about, and how it went.",
        use_case=portfolio,
        answer=Portfolio,
        parameters=PARAMETERS,
        weight=Weight.FIGURES,
        sources=frozenset({Source.LEDGER, Source.MARKS, Source.MINUTE}),
    ),
)
