"""The account: what the books are worth, what the day brought, its curve, and what was executed.

The figures are those of a published day (snapshot specification, 2.3) at any instant and for any books: equity is start cash, all
realized P&L and what open positions gained, at the marks that every screen counts (``days.Today``); the day's P&L is it against
the close of the session before. On a date without a session the day is the last session's.
The curve has a point where everything that is held has a mark, and none elsewhere: a minute's end for one day, else the end of
a session's day valued at its close. Source: tracker.md 4.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from fillbook.tracker import days, figures, listing, store
from fillbook.tracker import results as made
from fillbook.tracker.model import choice, single, whole
from fillbook.tracker.portfolio_model import Executions, Point, Portfolio, Worth
from fillbook.tracker.results import Cell
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
TICKERS_MAX: Final = 500
PERCENT_DECIMALS: Final = Decimal("0.0001")

RANGE: Final = Parameter(name="range", schema={"enum": list(RANGES)}, purpose="How far back curve and executions reach; `1d`.")
POINTS: Final = Parameter(
    name="points",
    schema={"type": "integer", "minimum": 1, "maximum": POINTS_MAX, "default": POINTS_MAX},
    purpose="How many points the curve of a currency has at most; of more, points at even distances.",
)
PARAMETERS: Final = (listing.BOOKS, listing.AS_OF, RANGE, POINTS)
NOTHING: Final[Mapping[str, Any]] = dict.fromkeys(("positions", "open_positions", "stale", "lacks", "unknown"), 0) | {
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
    with store.look(db, key, asked.books) as seen:
        account = _Account(seen, Asked(since=None, until=None, at=at, is_past=False), day, exchange)
        totals = account.totals()
        first = _first(wanted, day, exchange)
        curve = list(account.minutes() if wanted == "1d" else account.closes(first))
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
        self._tickers = self._cells(self._start, day.as_of + days.INSTANT, "ticker")
        self._today = _by_currency(self._tickers)
        self._earlier = _by_currency(self._cells(None, self._start))
        self._days: dict[figures.Place, Cell] | None = None
        self._late = _by_currency(self._cells(day.before.close_at + days.INSTANT, self._start))

    def totals(self) -> list[Worth]:
        """The account of each currency that there is anything in, or that a book counts in."""
        day = self._day
        close = Moment(held_at=day.before.close_at, valued_at=day.marked_before_then, day=day.before.date)
        now, then = self._worths.at([Moment(held_at=day.as_of, valued_at=day.marked_before), close])
        return [
            _worth(
                currency,
                self._began.get(currency, ZERO),
                (now.get(currency), made.added([self._earlier.get(currency, Cell()), self._today.get(currency, Cell())])),
                (then.get(currency), self._at_close(currency)),
                self._today.get(currency, Cell()),
            )
            for currency in sorted({*self._began, *self._earlier, *self._today, *now})
        ]

    def minutes(self) -> Iterator[Point]:
        """A point per minute end of the session's, up to its valuation."""
        day, begin = self._day, self._day.session.open_at
        count = max(0, int((day.valuation_at - begin).total_seconds() // 60))
        if not count:
            return
        rows = self._seen.tx.query(
            QUERIES["minutes"],
            books=self._seen.book_ids,
            open_at=begin,
            since=day.before.close_at,
            last_at=day.as_of,
            valued_at=day.valuation_at,
            minutes=count,
        )
        for currency in sorted({*self._began, *self._earlier, *(row["currency"] for row in rows)}):
            changes = {row["minute"]: row for row in rows if row["currency"] == currency}
            before = made.realized(self._at_close(currency))
            latest: Mapping[str, Any] = NOTHING
            for minute in range(1, count + 1):
                latest = changes.get(minute, latest)
                if before is not None and not latest["lacks"] and not latest["unknown"]:
                    with localcontext(CONTEXT):
                        equity = self._began.get(currency, ZERO) + before + latest["realized"] + latest["unrealized"]
                    yield _point(begin + timedelta(minutes=minute), currency, equity, latest["positions"], latest["stale"])

    def closes(self, first: Session | None) -> Iterator[Point]:
        """A point per session of a range: what its day had come to, at the marks of its close; the last one as it stands."""
        day, cells = self._day, self._by_day()
        begun = min((place[1] or "" for place in cells), default=day.session.date.isoformat())
        sessions = self._exchange.sessions(date.fromisoformat(begun) if first is None else first.date, day.session.date)
        moments = [
            Moment(held_at=min(day_end(one.date), day.as_of), valued_at=day.marked_before_at(one), day=one.date)
            for one in sessions
        ]
        held = self._worths.at(moments)
        for currency in sorted({*self._began, *(place[0] for place in cells)}):
            earned = [(place[1] or "", cell) for place, cell in cells.items() if place[0] == currency]
            earned.sort(key=lambda one: one[0])
            sofar = Cell()
            for session, now in zip(sessions, held, strict=True):
                while earned and earned[0][0] <= session.date.isoformat():
                    sofar = made.added([sofar, earned.pop(0)[1]])
                equity = _equity(self._began.get(currency, ZERO), now.get(currency), sofar)
                if equity is not None:
                    row = now.get(currency, NOTHING)
                    yield _point(min(session.close_at, day.as_of), currency, equity, row["open_positions"], row["stale"])

    def executions(self, first: Session | None) -> Executions:
        """What was executed from a session on, by day and by ticker."""
        since = None if first is None else days.window(first.date, self._exchange)[0]
        if since == self._start:
            return _executions(self._by_day_now(), self._tickers)
        begin = "" if first is None else first.date.isoformat()
        by_day = {place: cell for place, cell in self._by_day().items() if (place[1] or "") >= begin}
        return _executions(by_day, _joined(self._cells(since, self._start, "ticker"), self._tickers))

    def _by_day(self) -> dict[figures.Place, Cell]:
        """Results by trading day, all there ever were."""
        if self._days is None:
            self._days = _joined(self._cells(None, self._start, "day"), self._by_day_now())
        return self._days

    def _by_day_now(self) -> dict[figures.Place, Cell]:
        """Those of the day itself; on a date without a session what happened since is the next one's."""
        if self._day.as_of >= self._end:
            return self._cells(self._start, self._day.as_of + days.INSTANT, "day")
        return {(currency, self._day.session.date.isoformat()): cell for currency, cell in self._today.items()}

    def _at_close(self, currency: str) -> Cell:
        """All that was realized by the close of the session before; of no other sum."""
        earlier, late = self._earlier.get(currency, Cell()), self._late.get(currency, Cell())
        with localcontext(CONTEXT):
            return Cell(
                realized=earlier.realized - late.realized, unknown_realized=earlier.unknown_realized - late.unknown_realized
            )

    def _cells(self, since: datetime | None, until: datetime, by: str | None = None) -> dict[figures.Place, Cell]:
        return figures.folded(self._kept.cells(replace(self._everything, since=since, until=until, by=by)), by)


def _by_currency(cells: Mapping[figures.Place, Cell]) -> dict[str, Cell]:
    parts: dict[str, list[Cell]] = {}
    for place, cell in cells.items():
        parts.setdefault(place[0], []).append(cell)
    return {currency: made.added(mine) for currency, mine in parts.items()}


def _joined(one: Mapping[figures.Place, Cell], other: Mapping[figures.Place, Cell]) -> dict[figures.Place, Cell]:
    return {place: made.added([part[place] for part in (one, other) if place in part]) for place in {**one, **other}}


def _worth(currency: str, began: Decimal, now: tuple[Row | None, Cell], then: tuple[Row | None, Cell], of_the_day: Cell) -> Worth:
    held, earned = now
    equity, before = _equity(began, held, earned), _equity(began, *then)
    realized = made.realized(earned)
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
        "day_realized_pnl": _money(made.realized(of_the_day)),
        "day_return_percent": None if share is None else str(share.quantize(PERCENT_DECIMALS, ROUND_HALF_EVEN) + 0),
        "gross_exposure": _money(_known(held, "gross", "lacks_worth")),
        "net_exposure": _money(_known(held, "net", "lacks_worth")),
        "open_positions": 0 if held is None else held["open_positions"],
        "missing_marks": [] if held is None else list(held["missing_marks"]),
    }


def _equity(began: Decimal, held: Row | None, earned: Cell) -> Decimal | None:
    """Start cash, all realized P&L and what is held gained; None where a part is not known."""
    realized, unrealized = made.realized(earned), _known(held, "unrealized", "lacks_unrealized")
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


def _executions(by_day: Mapping[figures.Place, Cell], by_ticker: Mapping[figures.Place, Cell]) -> Executions:
    tickers = sorted(by_ticker, key=lambda place: (-_count(by_ticker[place]), place[1] or "", place[0]))[:TICKERS_MAX]
    return cast(
        "Executions",
        {
            "count": sum(_count(cell) for cell in by_day.values()),
            "by_day": [{"date": place[1], **_executed(place[0], by_day[place])} for place in sorted(by_day, key=_by_date)],
            "by_ticker": [{"ticker": place[1], **_executed(place[0], by_ticker[place])} for place in tickers],
        },
    )


def _by_date(place: figures.Place) -> tuple[str, str]:
    return place[1] or "", place[0]


def _count(cell: Cell) -> int:
    return cell.entries + cell.adds + cell.trims + cell.exits


def _executed(currency: str, cell: Cell) -> dict[str, Any]:
    return {"currency": currency, "count": _count(cell), "realized_pnl": text(made.realized(cell))}


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
