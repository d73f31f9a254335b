"""What the desk costs: a counted day with its price, as whoever counted it left it. Nothing is computed here.

The local cloud's meter counts what really ran and prices it; in a cloud nobody writes these days, and the answer then says that
it does not know: every figure is null. The figures are the whole desk's, whatever books a key sees. Source: decision 0063.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, cast

from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.sql import load_queries
from fillbook.tracker import store
from fillbook.tracker.cost_model import Cost, CostDatabase, CostFunction, CostLine
from fillbook.tracker.filters import day as read_day
from fillbook.tracker.model import single
from fillbook.tracker.route import Given, Parameter, Route, names
from fillbook.tracker.store import Row
from fillbook.tracker.wire import answer, instants

QUERIES: Final = load_queries("fillbook.tracker", "cost.sql")
DAYS_MAX: Final = 400
DAY: Final = Parameter(
    name="day",
    schema={"type": "string", "format": "date", "examples": ["2026-02-03"]},
    purpose="The counted day; the newest when left out.",
)
PLAIN: Final = ("message_bytes", "prices", "month", "idle_month", "not_measured", "is_simulated")
FUNCTION: Final = tuple(CostFunction.__annotations__)
DATABASE: Final = tuple(CostDatabase.__annotations__)
LINE: Final = tuple(CostLine.__annotations__)


def cost(db: Database, key: DeskKey, given: Given, now: datetime) -> Cost:
    """A counted day; one that nobody counted is unknown, not an error."""
    one = single(given, names((DAY,)))
    wanted = read_day(one["day"], "day") if "day" in one else None
    with store.look(db, key, None) as seen:
        rows = seen.tx.query(QUERIES["day"], day=wanted)
        days = [row["day"].isoformat() for row in seen.tx.query(QUERIES["days"], limit=DAYS_MAX)]
    told = _told(rows[0]) if rows else _unknown(None if wanted is None else wanted.isoformat())
    return cast("Cost", answer(now, None, seen.books, days=days, **told))


def _told(row: Row) -> dict[str, Any]:
    document = row["document"]
    database = document["database"]
    return {
        "day": row["day"].isoformat(),
        "source": row["source"],
        **instants("counted_until", datetime.fromisoformat(document["counted_until"])),
        **{name: document[name] for name in PLAIN},
        "functions": [{name: one.get(name) for name in FUNCTION} for one in document["functions"]],
        "database": None if database is None else {name: database.get(name) for name in DATABASE},
        "lines": [{name: one[name] for name in LINE} for one in document["lines"]],
    }


def _unknown(day: str | None) -> dict[str, Any]:
    nothing = dict.fromkeys(("source", *PLAIN, "functions", "database", "lines"))
    return {"day": day, **instants("counted_until", None), **nothing}


ROUTES: Final = (
    Route(
        path="/timed/cost",
        purpose="What a counted day used, and what a month of such days costs.",
        use_case=cost,
        answer=Cost,
        parameters=(DAY,),
    ),
)
