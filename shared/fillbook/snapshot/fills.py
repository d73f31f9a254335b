"""From a published figure down to the ledger actions it was made of, a page at a time.

``BASES`` says for each of our KPIs which actions are behind it and what each gives to it. Where a figure is a sum over actions,
the contributions of all of them add up to it (``total``; for Equity: to what it is above the start cash). A rate, a mean or an
age is no such sum and has actions without contributions. The ledger is read as it stands now: what was recorded after the day was
published is shown with ``is_late`` and left out of the total. Somebody else's KPI is shown the day's actions. Source: snapshot
specification, 2.3; ledger views.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from fillbook import money
from fillbook.calendar import calendar
from fillbook.instants import instant_of
from fillbook.runtime.db import Tx
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import encode, load_queries
from fillbook.snapshot import days, paging
from fillbook.snapshot.filters import Ask, refused
from fillbook.snapshot.paging import Place
from fillbook.snapshot.shown import instant_text
from fillbook.values import frozen

QUERIES: Final = load_queries("fillbook.snapshot", "fills.sql")
LIVE: Final = "live"
BOOKS_MAX: Final = 100
EVER: Final = datetime(1900, 1, 1, tzinfo=UTC)
DAY, EVER_SINCE = "day", "ever"


@frozen
class Basis:
    """Which actions are behind a figure.

    ``statement`` of ``fills.sql``; ``measure``: what an action gives (None: nothing that adds up); ``types``: only these actions;
    ``closings``: with open lots also the actions that closed something, since the day began or ever.
    """

    statement: str = "of_the_day"
    measure: str | None = None
    types: tuple[str, ...] | None = None
    closings: str | None = None


CLOSING: Final = ("TRIM", "EXIT")
BASES: Final[Mapping[str, Basis]] = {
    "Daily PnL": Basis(statement="of_open_lots", closings=DAY),
    "Realized PnL": Basis(measure="realized", types=CLOSING),
    "Unrealized PnL": Basis(statement="of_open_lots", measure="unrealized"),
    "Total PnL": Basis(statement="of_open_lots", measure="unrealized", closings=EVER_SINCE),
    "Equity": Basis(statement="of_open_lots", measure="unrealized", closings=EVER_SINCE),
    "Daily return": Basis(statement="of_open_lots", closings=DAY),
    "Win rate": Basis(statement="of_closed_positions"),
    "Profit factor": Basis(types=CLOSING),
    "Expectancy": Basis(statement="of_closed_positions"),
    "Avg win": Basis(statement="of_closed_positions"),
    "Avg loss": Basis(statement="of_closed_positions"),
    "Entries opened": Basis(measure="one", types=("ENTRY",)),
    "Add entries": Basis(measure="one", types=("ADD_ENTRY",)),
    "Trims taken": Basis(measure="one", types=("TRIM",)),
    "Exits closed": Basis(measure="one", types=("EXIT",)),
    "Open positions": Basis(statement="of_open_lots"),
    "Gross exposure": Basis(statement="of_open_lots", measure="gross"),
    "Net exposure": Basis(statement="of_open_lots", measure="net"),
    "Traded value": Basis(measure="value"),
    "Fees paid": Basis(measure="fees"),
    "Avg hold time": Basis(statement="of_closed_positions"),
    "Max drawdown": Basis(statement="of_open_lots", closings=DAY),
    "Sharpe ratio": Basis(statement="of_open_lots", closings=DAY),
    "Liquidity drag": Basis(statement="of_open_lots", measure="drag"),
    "Oldest mark age": Basis(statement="of_open_lots"),
}


@frozen
class Behind:
    """A page of actions; ``items`` is JSON text, ``head`` what is said of all of them."""

    head: Mapping[str, Any]
    items: str
    next_cursor: str | None


def behind(tx: Tx, ask: Ask, *, day: date, version: int) -> Behind:
    """The actions behind the KPI of ``ask`` on a published day; its page goes by (executed_at, action_id)."""
    basis = BASES.get(ask.kpi or "", Basis())
    given = _parameters(tx, day, basis)
    after_at, after_id = _after(ask)
    found = tx.query(QUERIES[basis.statement], **given, after_at=after_at, after_id=after_id, limit=ask.limit + 1)
    page = found[: ask.limit]
    (shown,) = tx.query(QUERIES["fills_shown"], page=encode([_row(row) for row in page]))
    cursor = None
    if len(found) > ask.limit:
        key = (page[-1]["executed_at"].isoformat(), str(page[-1]["action_id"]))
        cursor = paging.written(Place(date=day, version=version, key=key), ask.asked)
    total = found[0]["total"] if found else None
    head = {
        "books": given["books"],
        "from": instant_text(given["since"] if "since" in given else days.window(day)[0]),
        "as_of": instant_text(given["as_of"]),
        "actions": found[0]["actions"] if found else 0,
        "is_sum": basis.measure is not None,
        "total": None if total is None else money.plain(total),
    }
    return Behind(head=head, items=shown["items"], next_cursor=cursor)


def _parameters(tx: Tx, day: date, basis: Basis) -> dict[str, Any]:
    """What the statement of a basis asks for, from what the day itself says it was computed from."""
    if calendar().session(day) is None:
        raise Rejected("no_session", f"{day} is no trading day and has no fills of its own", field="date", status=404)
    (said,) = tx.query(QUERIES["basis_of_day"], date=day)
    since, until = days.window(day)
    as_of = _instant(said["as_of"]) or until - timedelta(milliseconds=1)
    common = {"books": _books(said["books"]), "as_of": as_of, "known_at": _instant(said["known_at"])}
    if basis.statement == "of_open_lots":
        valuation_at = _instant(said["valuation_at"]) or as_of
        closings = {DAY: since, EVER_SINCE: EVER}.get(basis.closings or "")
        return {**common, "measure": basis.measure, "valuation_at": valuation_at, "closings_since": closings}
    common |= {"since": since, "until": until}
    if basis.statement == "of_closed_positions":
        return common
    return {**common, "measure": basis.measure, "types": None if basis.types is None else list(basis.types)}


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("book_id", "action_id", "contribution", "is_late")}


def _books(said: object) -> list[str]:
    """The books that the day names, else the live one."""
    if isinstance(said, Sequence) and not isinstance(said, str) and said:
        return [book for book in said if isinstance(book, str)][:BOOKS_MAX]
    return [LIVE]


def _instant(text: str | None) -> datetime | None:
    """An instant of a watermark; what is none there is not known: somebody else's document may say anything."""
    try:
        return None if text is None else instant_of(text)
    except ValueError:
        return None


def _after(ask: Ask) -> tuple[datetime | None, UUID | None]:
    if ask.after is None:
        return None, None
    try:
        at, action_id = ask.after.key
        return instant_of(at), UUID(action_id)
    except ValueError:
        raise refused("cursor") from None
