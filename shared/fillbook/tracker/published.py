"""Published days as their readers see them: figures, series, extremes, open positions, and what was restated.

A reader whose key does not see every book that a day was made of does not see the day. Nothing is computed here: display texts
and numbers are the publisher's. Source: snapshot specification, 3 to 6; tracker.md 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any, Final, cast
from uuid import UUID

from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import load_queries
from fillbook.tracker import listing, paging, store
from fillbook.tracker.filters import day as read_day
from fillbook.tracker.model import choice, refused, single
from fillbook.tracker.published_model import Extremes, Published, PublishedDates, PublishedDay, Restatements, Series
from fillbook.tracker.route import Given, Parameter, Route, Source, names
from fillbook.tracker.store import Row, Seen
from fillbook.tracker.wire import answer, instants, text

QUERIES: Final = load_queries("fillbook.tracker", "published.sql")
SIDES: Final = ("hi", "lo")
KPI_LENGTH_MAX: Final = 100
DATES_DEFAULT: Final = 50
DATES_MAX: Final = 400
RESTATED_DEFAULT: Final = 200
RESTATED_MAX: Final = 1_000
CURRENCY: Final = "USD"
"""The currency of published money (snapshot specification, 2.3)."""
FOR_EVER: Final = datetime(9000, 1, 1, tzinfo=UTC)
LAST_ID: Final = UUID(int=2**128 - 1)
NO_ID: Final = UUID(int=0)

DATE: Final = Parameter(
    name="date",
    schema={"type": "string", "format": "date", "examples": ["2026-02-03"]},
    purpose="The published day; the newest when left out.",
)
_NAME: Final = {"type": "string", "minLength": 1, "maxLength": KPI_LENGTH_MAX, "examples": ["Equity"]}
KPI: Final = Parameter(name="kpi", schema=_NAME, purpose="The figure by its name.", is_required=True)
ANY_KPI: Final = Parameter(name="kpi", schema=_NAME, purpose="One figure alone, by its name.")
SIDE: Final = Parameter(name="side", schema={"enum": list(SIDES)}, purpose="One end alone.")
DATES: Final = (listing.limit(DATES_DEFAULT, DATES_MAX), listing.CURSOR)
RESTATED: Final = (DATE, listing.limit(RESTATED_DEFAULT, RESTATED_MAX), listing.CURSOR)
FIGURES: Final = (
    "metric_raw metric_abs individual_pnl abs_individual_pnl cost_basis qty bid_price ask_price mid_price mid_mark_pnl "
    "liquidity_drag"
).split()


def snapshot(db: Database, key: DeskKey, given: Given, now: datetime) -> Published:
    """A published day whole; null where none is published, 404 ``no_snapshot`` where the one named is not."""
    wanted = _date(single(given, names((DATE,))))
    with store.look(db, key, None) as seen:
        day = _day(seen, wanted)
        kpis = [] if day is None else seen.tx.query(QUERIES["kpis"], date=day["date"])
        assets = [] if day is None else seen.tx.query(QUERIES["assets"], date=day["date"])
    shown = None if day is None else _shown(day, kpis, assets)
    return cast("Published", answer(now, None if day is None else day["updated_at"], seen.books, snapshot=shown))


def _date(one: Mapping[str, str]) -> date | None:
    return read_day(one["date"], "date") if "date" in one else None


def _kpi(one: Mapping[str, str]) -> str | None:
    kpi = one.get("kpi")
    if kpi is not None and not (0 < len(kpi) <= KPI_LENGTH_MAX and kpi.isprintable()):
        raise refused("kpi")
    return kpi


def _day(seen: Seen, wanted: date | None) -> Row | None:
    rows = seen.tx.query(QUERIES["day"], date=wanted, books=seen.book_ids)
    if not rows and wanted is not None:
        raise Rejected("no_snapshot", "nothing is published under this date", field="date", status=404)
    return rows[0] if rows else None


def _known_day(seen: Seen, wanted: date | None) -> Row:
    day = _day(seen, wanted)
    if day is None:
        raise Rejected("no_snapshot", "nothing is published", status=404)
    return day


def _shown(day: Row, kpis: list[Row], assets: list[Row]) -> PublishedDay:
    told = {
        "date": day["date"].isoformat(),
        **{name: day[name] for name in ("stage", "version", "kpi_version", "content_sha256", "headline", "summary", "counts")},
        "books": list(day["books"]),
        **instants("updated", day["updated_at"]),
        **instants("received", day["received_at"]),
        "watermark": day["watermark"],
        "publication": None
        if day["status"] is None
        else {
            "status": day["status"],
            "target": day["target"],
            "verified": day["verified"],
            **instants("finished", day["finished_at"]),
        },
        "kpis": [
            {
                "kpi": row["kpi"],
                "value": row["value_text"],
                "value_num": text(row["value_num"]),
                "kind": row["value_kind"],
                "unit": row["unit"],
                "sort_order": row["sort_order"],
                "missing_reason": row["missing_reason"],
            }
            for row in kpis
        ],
        "assets": [dict(row) for row in assets],
    }
    return cast("PublishedDay", told)


def dates(db: Database, key: DeskKey, given: Given, now: datetime) -> PublishedDates:
    """Published days, the latest first."""
    query = listing.read(single(given, names(DATES)), "snapshot dates", DATES_DEFAULT, DATES_MAX)
    before = None if query.place is None else query.place.at.date()
    with store.look(db, key, None) as seen:
        rows = seen.tx.query(QUERIES["dates"], before=before, books=seen.book_ids, limit=query.limit + 1)
    shown, has_more = rows[: query.limit], len(rows) > query.limit
    last = paging.Place(at=datetime.combine(shown[-1]["date"], time.min, UTC), id=NO_ID) if has_more else None
    found = answer(
        now,
        max((row["updated_at"] for row in shown), default=None),
        seen.books,
        count=len(shown),
        has_more=has_more,
        next_cursor=None if last is None else query.cursor(last, None),
        items=[
            {
                "date": row["date"].isoformat(),
                **{name: row[name] for name in ("stage", "version", "headline", "restated")},
                **instants("updated", row["updated_at"]),
            }
            for row in shown
        ],
    )
    return cast("PublishedDates", found)


def series(db: Database, key: DeskKey, given: Given, now: datetime) -> Series:
    """The points of a figure; 404 ``no_kpi`` for a name that the day does not have."""
    one = single(given, names((DATE, KPI)))
    wanted, kpi = _date(one), _kpi(one)
    if kpi is None:
        raise refused("kpi")
    with store.look(db, key, None) as seen:
        day = _known_day(seen, wanted)
        points = seen.tx.query(QUERIES["points"], date=day["date"], kpi=kpi)
        if not points and kpi not in {row["kpi"] for row in seen.tx.query(QUERIES["kpis"], date=day["date"])}:
            raise Rejected("no_kpi", "the day has no such figure", field="kpi", status=404)
    found = answer(
        now,
        day["updated_at"],
        seen.books,
        date=day["date"].isoformat(),
        version=day["version"],
        kpi=kpi,
        count=len(points),
        points=[{**instants("", row["t"]), "value": text(row["v"]), "source": row["src"]} for row in points],
    )
    return cast("Series", found)


def extremes(db: Database, key: DeskKey, given: Given, now: datetime) -> Extremes:
    """The trades at the ends of the figures of a day, or of one of them."""
    one = single(given, names((DATE, ANY_KPI, SIDE)))
    wanted, kpi, side = _date(one), _kpi(one), choice(one, "side", SIDES)
    with store.look(db, key, None) as seen:
        day = _known_day(seen, wanted)
        rows = seen.tx.query(QUERIES["extremes"], date=day["date"], kpi=kpi, side=side)
    found = answer(
        now,
        day["updated_at"],
        seen.books,
        date=day["date"].isoformat(),
        version=day["version"],
        currency=CURRENCY,
        count=len(rows),
        items=[
            {
                **{name: row[name] for name in ("kpi", "side", "rank", "trade_id", "symbol", "contract_name")},
                **{name: text(row[name]) for name in FIGURES},
                "change_percent": text(row["percent_change"]),
                **instants("mid", row["mid_ts"]),
            }
            for row in rows
        ],
    )
    return cast("Extremes", found)


def restatements(db: Database, key: DeskKey, given: Given, now: datetime) -> Restatements:
    """What later versions of final days changed, of one day or of all."""
    one = single(given, names(RESTATED))
    query = listing.read(one, "restatements", RESTATED_DEFAULT, RESTATED_MAX)
    with store.look(db, key, None) as seen:
        rows = seen.tx.query(
            QUERIES["restatements"],
            date=_date(one),
            books=seen.book_ids,
            after_at=FOR_EVER if query.place is None else query.place.at,
            after_id=LAST_ID if query.place is None else query.place.id,
            limit=query.limit + 1,
        )
    shown, has_more = rows[: query.limit], len(rows) > query.limit
    found = answer(
        now,
        max((row["recorded_at"] for row in shown), default=None),
        seen.books,
        count=len(shown),
        has_more=has_more,
        next_cursor=query.cursor(paging.Place(at=shown[-1]["recorded_at"], id=shown[-1]["uid"]), None) if has_more else None,
        items=[_restated(row) for row in shown],
    )
    return cast("Restatements", found)


def _restated(row: Row) -> dict[str, Any]:
    return {
        "date": row["date"].isoformat(),
        **{name: row[name] for name in ("version", "subject", "name", "old_text", "new_text", "late_actions")},
        **{name: text(row[name]) for name in ("old_num", "new_num", "difference")},
        **instants("recorded", row["recorded_at"]),
    }


_OF_THE_DAY: Final = frozenset({Source.METRICS})
ROUTES: Final = (
    Route(
        path="/timed/snapshot",
        purpose="A published day: figures, open positions, and how it was published.",
        use_case=snapshot,
        answer=Published,
        parameters=(DATE,),
        sources=_OF_THE_DAY,
    ),
    Route(
        path="/timed/snapshot/dates",
        purpose="Published days, the latest first.",
        use_case=dates,
        answer=PublishedDates,
        parameters=DATES,
        sources=_OF_THE_DAY,
    ),
    Route(
        path="/timed/snapshot/series",
        purpose="The points of a figure on a published day.",
        use_case=series,
        answer=Series,
        parameters=(DATE, KPI),
        sources=_OF_THE_DAY,
    ),
    Route(
        path="/timed/snapshot/extremes",
        purpose="The trades at the ends of the figures of a published day.",
        use_case=extremes,
        answer=Extremes,
        parameters=(DATE, ANY_KPI, SIDE),
        sources=_OF_THE_DAY,
    ),
    Route(
        path="/timed/snapshot/restatements",
        purpose="What later versions of final days changed, and why.",
        use_case=restatements,
        answer=Restatements,
        parameters=RESTATED,
        sources=_OF_THE_DAY,
    ),
)
