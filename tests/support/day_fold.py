"""Every figure that the screens show of a book, against folds of its executions and marks, and against each other.

For a day that is over or under way, at any instant: grid and history, journey, board, Today's account and results, calendar and
the published day. The folds are those that generated books are held to; here they look at what a day of receipts has made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from fillbook.calendar import calendar
from fillbook.ledger import bookstore
from fillbook.ledger.model import ActionVersion, RowState
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.sql import statement
from fillbook.snapshot import days
from fillbook.tracker import figures, lanes, portfolio, trade_detail, trades
from tests.support.figures_fold import fold
from tests.support.snapshot_desk import SnapshotDesk, figure
from tests.support.snapshot_oracle import Oracle, Seen, rounded
from tests.support.tracker_fold import folded, summed, written

BOOK = "live"
KEY = DeskKey(id="desk", sha256="0" * 64, scopes=frozenset({"read"}), tenant_id="desk", books=(BOOK,))
EVER, FOR_EVER = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
ROWS = statement(f"select * from ledger.v_actions where book_id = '{BOOK}' order by executed_at, venue_order, fill_id, leg")
MARKS = statement(f"select instrument_id, marked_at, price, bid, ask from ledger.v_mark_history where book_id = '{BOOK}'")
START = statement(f"select start_cash from ledger.v_books where book_id = '{BOOK}'")
OF_THE_ACCOUNT = {
    "equity": "Equity", "unrealized_pnl": "Unrealized PnL", "day_pnl": "Daily PnL", "day_realized_pnl": "Realized PnL",
    "day_return_percent": "Daily return", "gross_exposure": "Gross exposure", "net_exposure": "Net exposure",
    "open_positions": "Open positions",
}  # fmt: skip
OF_RESULTS = {
    "entries": "Entries opened", "adds": "Add entries", "trims": "Trims taken", "exits": "Exits closed", "fees": "Fees paid",
    "expectancy": "Expectancy", "avg_win": "Avg win", "avg_loss": "Avg loss", "profit_factor": "Profit factor",
}  # fmt: skip
"""A figure of the API -> its name on a published day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What the book holds, read once: executions in booking order, as rows and as values, and marks."""

    db: Database
    rows: Sequence[Mapping[str, Any]]
    actions: Sequence[ActionVersion]
    marks: Sequence[Seen]
    start_cash: Decimal


def read(db: Database) -> Book:
    """The live book."""
    with db.transaction(read_only=True) as tx:
        versions = list(bookstore.action_versions(tx, BOOK))
        rows, marks, (start,) = tx.query(ROWS), tx.query(MARKS), tx.query(START)
    actions = [one for one in versions if one.superseded_at is None and one.state is RowState.BOOKED]
    return Book(
        db=db,
        rows=rows,
        actions=sorted(actions, key=lambda one: one.action.order),
        marks=[Seen(row["instrument_id"], row["marked_at"], row["price"], row["bid"], row["ask"]) for row in marks],
        start_cash=start["start_cash"],
    )


def every_figure_agrees(book: Book, at: datetime, now: datetime | None = None) -> dict[str, Any]:
    """Hold all views to the folds as of ``at`` (``now`` later: as of then, asked later). Returns the account."""
    asked = {} if now is None else {"as_of": at.isoformat()}
    now = now or at
    actions = [one for one in book.actions if one.action.executed_at <= at]
    planned = days.plan(days.trading_day(at), at)
    bound = planned.session_close if at >= planned.session_close else at + INSTANT
    oracle = Oracle(actions, book.marks, planned, book.start_cash)
    shown = _trades(book, at, now, asked, oracle, bound)
    _journeys(book.db, now, asked, shown)
    if not asked:
        _board(book.db, now, shown)
    results = _results(book.db, actions, at, now, asked, planned)
    worth = _account(book.db, now, asked, oracle, bound, shown, actions)
    published = SnapshotDesk(book.db).figures(bound if at < planned.session_close else at, planned.report_date)
    for told, kpis in ((worth, OF_THE_ACCOUNT), (results, OF_RESULTS)):
        for name, kpi in kpis.items():
            number = figure(published, kpi)[0]
            assert (None if told[name] is None else Decimal(told[name])) == number, (at, name)
    return worth


def _asked(use_case: Any, db: Database, now: datetime, **given: str) -> dict[str, Any]:
    return dict(use_case(db, KEY, {name: [text] for name, text in given.items()}, now))


def _trades(
    book: Book, at: datetime, now: datetime, asked: Mapping[str, str], oracle: Oracle, bound: datetime
) -> list[dict[str, Any]]:
    """Grid and history: each figure of each position."""
    rows: dict[str, list[Any]] = {}
    for row in book.rows:
        if row["executed_at"] <= at:
            rows.setdefault(str(row["position_id"]), []).append(row)
    found: list[dict[str, Any]] = []
    for status in ("open", "closed"):
        found += _asked(trades.trades, book.db, now, status=status, include="lots,actions", limit="1000", **asked)["trades"]
    assert {one["position_id"] for one in found} == set(rows)
    for one in found:
        own = rows[one["position_id"]]
        seen = oracle.mark(own[0]["instrument_id"], bound)
        wanted = folded(own, None if seen is None else seen.price)
        assert {name: one[name] for name in wanted} == wanted, (at, one["ticker"])
        assert written(summed(Decimal(lot["remaining_qty"]) for lot in one["lots"])) == one["total_qty"]
        told = [(part["action_id"], part["action_type"], part["pnl_realized"], part["fees"]) for part in one["execution_actions"]]
        assert told == [
            (str(row["action_id"]), row["action_type"], written(row["realized_pnl"]), written(row["fees"])) for row in own
        ]
    return found


def _journeys(db: Database, now: datetime, asked: Mapping[str, str], shown: Sequence[Mapping[str, Any]]) -> None:
    """A position by itself is what it is in the lists."""
    for one in shown:
        detail = dict(
            trade_detail.trade(db, KEY, {name: [text] for name, text in asked.items()}, now, trade_id=one["position_id"])
        )
        told = detail["trade"] | {"lots": detail["lots"], "execution_actions": detail["actions"]}
        assert told == one


def _board(db: Database, now: datetime, shown: Sequence[Mapping[str, Any]]) -> None:
    """What is held stands on the board, at the prices of its cards."""
    cards = [card for lane in _asked(lanes.lanes, db, now)["lanes"] for card in lane["cards"]]
    told = {"price": "current_price"} | {
        name: name for name in ("price_ts", "price_state", "day_change_percent", "day_direction")
    }
    held = {card["position_id"]: card for card in cards if card["position_status"] == "OPEN"}
    opened = {one["position_id"]: one for one in shown if one["status"] == "OPEN"}
    assert set(held) == set(opened)
    for position_id, card in held.items():
        for name, other in told.items():
            assert card[name] == opened[position_id][other], (card["ticker"], name)


def _results(
    db: Database, actions: Sequence[ActionVersion], at: datetime, now: datetime, asked: Mapping[str, str], planned: Any
) -> dict[str, Any]:
    """Results by every group, and the calendar's days; those of the day are returned."""
    for by in (None, "ticker", "reason", "direction", "day"):
        group = {} if by is None else {"group_by": by}
        answer = _asked(figures.summary, db, now, **group, **asked)
        assert {(one["currency"], None): one for one in answer["totals"]} == fold(actions, EVER, FOR_EVER, None)
        if by is not None:
            told = {(one["currency"], one["key"]): {k: v for k, v in one.items() if k != "key"} for one in answer["groups"]}
            assert told == fold(actions, EVER, FOR_EVER, by), (at, by)
    since, until = planned.window_start, planned.window_end
    span = {"since": since.isoformat(), "until": until.isoformat()}
    totals = _asked(figures.summary, db, now, **span, **asked)["totals"]
    of_the_day = fold(actions, since, until, None)
    assert {(one["currency"], None): one for one in totals} == of_the_day
    day = planned.report_date.isoformat()
    cells = _asked(figures.by_days, db, now, **{"from": day, "to": day}, **asked)["days"]
    names = ("entries", "adds", "trims", "exits", "wins", "losses", "flats", "pending", "realized_pnl", "fees")
    for total in totals:
        (cell,) = [one for one in cells if one["currency"] == total["currency"]]
        assert {name: cell[name] for name in names} == {name: total[name] for name in names}
    nothing = dict.fromkeys(("expectancy", "avg_win", "avg_loss", "profit_factor"))
    return dict(totals[0]) if totals else nothing | dict.fromkeys(("entries", "adds", "trims", "exits", "fees"), "0")


def _account(
    db: Database,
    now: datetime,
    asked: Mapping[str, str],
    oracle: Oracle,
    bound: datetime,
    shown: Sequence[Mapping[str, Any]],
    actions: Sequence[ActionVersion],
) -> dict[str, Any]:
    """Today's account: against the fold, and against the cards."""
    answer = _asked(portfolio.portfolio, db, now, range="all", **asked)
    (worth,) = answer["totals"]
    assert worth["equity"] == written(rounded(oracle.equity(oracle.last_at, bound), 2))
    cards = [one["unrealized_pnl"] for one in shown if one["status"] == "OPEN"]
    assert worth["unrealized_pnl"] == _cents(summed(None if one is None else Decimal(one) for one in cards))
    assert worth["open_positions"] == len(cards)
    assert worth["realized_pnl"] == _cents(summed(Decimal(one["realized_pnl"]) for one in shown))
    assert answer["executions"]["count"] == len(actions)
    assert answer["date"] == calendar().trading_day(oracle.day.as_of).isoformat()
    return dict(worth)


def _cents(amount: Decimal | None) -> str | None:
    return written(rounded(None if amount is None else Fraction(amount), 2))
