"""Two views never disagree: at any instant every screen, the summary of a run and the published day count the same marks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ledger import service
from fillbook.ledger.model import Mark
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.tracker import lanes, portfolio, trade_detail, trades
from infra.local.summary import Operator
from tests.support.receipts import body
from tests.support.replay_books import ReplayBooks
from tests.support.snapshot_desk import SnapshotDesk, figure, ny

D = Decimal
KEY = DeskKey(id="desk", sha256="0" * 64, scopes=frozenset({"read"}), tenant_id="desk", books=("live",))
TICKERS = ("ZZTA", "ZZTC")
MARKS = {
    "2026-02-02T15:59:59.999": "80",
    "2026-02-02T19:30:00": "70",
    "2026-02-03T15:54:59.999": "101",
    "2026-02-03T15:59:59.999": "102",
    "2026-02-03T16:00:00": "103",  # of what follows the session
    "2026-02-03T19:59:59.999": "104",
    "2026-02-04T08:29:59.999": "105",
    "2026-02-04T10:00:00": "106",
}
CLOSING = "102"
SEEN = {
    "2026-02-03T15:59:59.998": ("101", "80"),
    "2026-02-03T15:59:59.999": ("102", "80"),
    "2026-02-03T16:00:00": (CLOSING, "80"),
    "2026-02-03T16:00:01": (CLOSING, "80"),
    "2026-02-03T20:30:00": (CLOSING, "80"),
    "2026-02-04T08:00:00": ("104", CLOSING),
    "2026-02-04T08:30:00": ("105", CLOSING),
    "2026-02-04T10:00:00": ("106", CLOSING),
}
"""An instant of New York -> the mark that counts, and the one that the day is measured against."""
Query = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def desk(db: Database, query: Query) -> Database:
    """Two open positions on the board, one trimmed, with marks round two closes."""
    ReplayBooks(db, query).live([body(), body(minutes=20, price=D("102.10")), body(ticker="ZZTC", minutes=30, sector=None)])
    query("delete from ledger.marks returning 1")
    for at, price in MARKS.items():
        seen = [Mark(instrument=name, price=D(price), marked_at=ny(at), source="signal") for name in TICKERS]
        with db.transaction() as tx:
            service.mark(tx, "live", seen, ny(at))
    return db


def listed(db: Database, now: datetime, **given: str) -> list[dict[str, Any]]:
    asked = {"include": "lots", **given}
    found: list[dict[str, Any]] = dict(trades.trades(db, KEY, {name: [text] for name, text in asked.items()}, now))["trades"]
    return found


def cards(db: Database, now: datetime) -> dict[str, Any]:
    return {card["ticker"]: card for lane in lanes.lanes(db, KEY, {}, now)["lanes"] for card in lane["cards"]}


def gained(shown: list[dict[str, Any]]) -> Decimal:
    """What all that is open gained, to the cent."""
    return sum((D(one["unrealized_pnl"]) for one in shown if one["status"] == "OPEN"), D(0)).quantize(D("0.01"))


NOT_THEN = {"lane": None, "is_defend": None}
"""Lanes are known as they are."""


def test_every_view_counts_the_same_marks_whenever_it_is_asked(desk: Database, database_url: str) -> None:
    operator = Operator({"FILLBOOK_DATABASE_URL": f"{database_url}?role=desk_operator"})
    for at in SEEN:
        screens_agree(desk, ny(at), *SEEN[at])
        (worth,) = portfolio.portfolio(desk, KEY, {}, ny(at))["totals"]
        assert operator.account(ny(at)) == {
            "realized_pnl": {"USD": worth["realized_pnl"]},
            "unrealized_pnl": {"USD": worth["unrealized_pnl"]},
        }
        assert D(str(worth["unrealized_pnl"])) == gained(listed(desk, ny(at)))
        # a publication counts what was marked before it: the marks of this very instant are those of the next one
        published = SnapshotDesk(desk).figures(ny(at) + timedelta(microseconds=1))
        for kpi, name in {"Unrealized PnL": "unrealized_pnl", "Daily PnL": "day_pnl", "Equity": "equity"}.items():
            assert D(str(worth[name])) == figure(published, kpi)[0], (at, kpi)
    operator.close()


def screens_agree(db: Database, now: datetime, price: str, before: str) -> None:
    """Grid, board, journey, and the grid of an hour later as of now."""
    shown, board = listed(db, now), cards(db, now)
    assert {one["ticker"]: one["status"] for one in shown} == dict.fromkeys(TICKERS, "OPEN")
    change = f"{100 * (D(price) - D(before)) / D(before):.2f}"
    for one in shown:
        card = board[one["ticker"]]
        assert (one["current_price"], one["day_change_percent"]) == (price, change), now
        assert (card["price"], card["day_change_percent"]) == (price, change), now
        for name in ("price_ts", "price_at", "price_state", "day_direction"):
            assert card[name] == one[name], name
        lots = one.pop("lots")
        detail = dict(trade_detail.trade(db, KEY, {}, now, trade_id=one["position_id"]))
        assert (detail["trade"], detail["lots"]) == (one, lots)
        assert sum(D(lot["unrealized_pnl"]) for lot in lots) == D(one["unrealized_pnl"])
    asked = {"as_of": now.isoformat(), "include": ""}
    assert listed(db, now + timedelta(hours=1), **asked) == [one | NOT_THEN for one in shown]


def test_a_closing_bars_price_is_the_sessions_and_that_of_the_minute_after_is_not(db: Database, query: Query) -> None:
    """The bar from 15:59 to 16:00, told a second after the close, and the one after it."""
    live = ReplayBooks(db, query).live([body()])
    minutes = int((ny("2026-02-03T15:59") - ny("2026-02-03T10:15")) / timedelta(minutes=1))
    live.send(minutes=minutes, price=D("101.10"))
    live.send(minutes=minutes + 1, price=D("101.90"))
    (mark,) = query("select as_of, bucket_at from ledger.v_marks where price = 101.10")
    assert mark["as_of"] == ny("2026-02-03T15:59:59.999")
    for at in ("2026-02-03T16:00", "2026-02-03T16:00:01", "2026-02-03T18:00"):
        assert [one["current_price"] for one in listed(db, ny(at))] == ["101.1"]
        assert cards(db, ny(at))["ZZTA"]["price"] == "101.1"
