"""Published days as readers see them: which version is looked at first, then, unless the reader holds it already, the rows.

Every answer is one REPEATABLE READ look, so it is one version in full however often the day is replaced meanwhile. Its tag names
date, version, content and question; a reader who shows it is answered before a row is read. Pages are continued on the version
they began with, or not at all. Source: snapshot specification, 5.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

from fillbook.calendar import NEW_YORK, calendar
from fillbook.instants import instant_of
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import Rejected
from fillbook.snapshot import fills, filters, freshness, paging
from fillbook.snapshot.filters import ROUTES, Ask
from fillbook.snapshot.model import Stage
from fillbook.snapshot.paging import Place
from fillbook.snapshot.shown import framed, instant_text
from fillbook.snapshot.store import QUERIES
from fillbook.values import frozen

SETTLED_AFTER: Final = timedelta(days=7)
"""Days older than this seldom change: readers may keep them for some minutes without asking."""


@frozen
class Stamp:
    """What an answer is about: a version of a day, or (``version`` = how many there ever were) a range of days."""

    date: date | None
    version: int
    content_sha256: str
    updated_at: datetime | None = None
    stage: str | None = None
    counts: str | None = None

    def tag(self, ask: Ask) -> str:
        """The opaque text of a strong ETag."""
        return f"{self.date or 'none'}-{self.version}-{self.content_sha256[:16]}-{ask.fingerprint}"


@frozen
class Shown:
    """An answer: its tag (None: it changes with the time), its JSON text (None: the reader holds it), is its day settled."""

    tag: str | None
    body: str | None
    is_settled: bool = False


def read(db: Database, ask: Ask, now: datetime, *, holds: Callable[[str], bool]) -> Shown:
    """Answer a question; ``holds`` says whether the reader has an answer of this tag.

    Raises ``Rejected``: 404 ``no_snapshot``, ``no_kpi``; 410 ``version_changed``; 400 ``bad_parameter`` for a cursor of nothing.
    """
    with db.transaction(read_only=True, isolation="repeatable read") as tx:
        if ask.route == filters.FRESHNESS:
            return Shown(tag=None, body=_freshness(tx, now))
        stamp = _days_stamp(tx, ask) if ROUTES[ask.route].of_days else _day_stamp(tx, ask)
        tag = stamp.tag(ask)
        is_settled = stamp.date is not None and not ROUTES[ask.route].of_days and _is_settled(stamp.date, now)
        if holds(tag):
            return Shown(tag=tag, body=None, is_settled=is_settled)
        return Shown(tag=tag, body=READERS[ask.route](tx, ask, stamp), is_settled=is_settled)


def standing(db: Database, day: date | None) -> str:
    """What stands under a date (None: the greatest), for the sender to compare; raises ``Rejected('no_snapshot')`` 404."""
    with db.transaction(read_only=True) as tx:
        stamp = _stamp(tx.query(QUERIES["day_stamp"], date=day))
    return framed(_head(stamp) | {"content_sha256": stamp.content_sha256}, counts=stamp.counts)


def _is_settled(day: date, now: datetime) -> bool:
    return day < now.astimezone(NEW_YORK).date() - SETTLED_AFTER


# --- stamps -----------------------------------------------------------------------------------------------------------


def _day_stamp(tx: Tx, ask: Ask) -> Stamp:
    day = ask.date if ask.after is None else ask.after.date
    if ask.version is not None:
        return _stamp(tx.query(QUERIES["version_stamp"], date=day, version=ask.version))
    stamp = _stamp(tx.query(QUERIES["day_stamp"], date=day))
    if ask.after is not None and ask.after.version != stamp.version:
        raise Rejected("version_changed", "the day was replaced; begin again without a cursor", field="cursor", status=410)
    return stamp


def _stamp(rows: list[dict[str, Any]]) -> Stamp:
    if not rows:
        raise Rejected("no_snapshot", "nothing is published under this date", status=404)
    return Stamp(**rows[0])


def _days_stamp(tx: Tx, ask: Ask) -> Stamp:
    (row,) = tx.query(QUERIES["days_stamp"], **{"from": ask.from_date, "to": ask.to_date})
    return Stamp(date=row["date"], version=row["versions"], content_sha256=paging.fingerprint({"days": str(row["versions"])}))


def _head(stamp: Stamp) -> dict[str, Any]:
    updated_at = None if stamp.updated_at is None else instant_text(stamp.updated_at)
    return {"date": stamp.date, "version": stamp.version, "updated_at": updated_at}


# --- one day ----------------------------------------------------------------------------------------------------------


def _latest(tx: Tx, ask: Ask, stamp: Stamp) -> str:
    if ask.version is None:
        (row,) = tx.query(QUERIES["whole_day"], date=stamp.date)
    else:
        (row,) = tx.query(QUERIES["whole_version"], date=stamp.date, version=stamp.version)
    head = _head(stamp) | {name: row[name] for name in ("headline", "summary", "source", "schema_version", "kpi_version")}
    head |= {"stage": stamp.stage, "content_sha256": stamp.content_sha256}
    return framed(head, rows=row["rows"], overlay=row["overlay"], watermark=row["watermark"], provenance=row["provenance"])


def _daily(tx: Tx, _ask: Ask, stamp: Stamp) -> str:
    (row,) = tx.query(QUERIES["texts_of_day"], date=stamp.date)
    return framed(_head(stamp) | row | {"stage": stamp.stage}, counts=stamp.counts)


def _kpis(tx: Tx, _ask: Ask, stamp: Stamp) -> str:
    (row,) = tx.query(QUERIES["kpis"], date=stamp.date)
    return framed(_head(stamp) | {"stage": stamp.stage}, items=row["items"])


def _series(tx: Tx, ask: Ask, stamp: Stamp) -> str:
    _figure(tx, ask, stamp)
    after = _parsed(instant_of, ask)
    given = {"from": ask.from_at, "to": ask.to_at, "after": after}
    (row,) = tx.query(QUERIES["points"], date=stamp.date, kpi=ask.kpi, limit=ask.limit, **given)
    return framed(_head(stamp) | {"kpi": ask.kpi, "next_cursor": _cursor(ask, stamp, row)}, points=row["items"])


def _extremes(tx: Tx, ask: Ask, stamp: Stamp) -> str:
    _figure(tx, ask, stamp)
    (row,) = tx.query(QUERIES["extremes"], date=stamp.date, kpi=ask.kpi, side=ask.side, limit=ask.limit)
    return framed(_head(stamp) | {"kpi": ask.kpi}, items=row["items"])


def _assets(tx: Tx, ask: Ask, stamp: Stamp) -> str:
    after_id, after_name = (None, None) if ask.after is None else (_parsed(int, ask), ask.after.key[1])
    (row,) = tx.query(
        QUERIES["assets"], date=stamp.date, symbol=ask.symbol, after_id=after_id, after_name=after_name, limit=ask.limit
    )
    return framed(_head(stamp) | {"next_cursor": _cursor(ask, stamp, row)}, items=row["items"])


def _versions(tx: Tx, ask: Ask, stamp: Stamp) -> str:
    (row,) = tx.query(QUERIES["versions"], date=stamp.date, after=_parsed(int, ask), limit=ask.limit)
    return framed(_head(stamp) | {"next_cursor": _cursor(ask, stamp, row)}, items=row["items"])


def _restatements(tx: Tx, ask: Ask, stamp: Stamp) -> str:
    subject, name = (None, None) if ask.after is None else ask.after.key[1:]
    given = {"after_version": _parsed(int, ask), "after_subject": subject, "after_name": name}
    (row,) = tx.query(QUERIES["restatements"], date=stamp.date, limit=ask.limit, **given)
    return framed(_head(stamp) | {"next_cursor": _cursor(ask, stamp, row)}, items=row["items"])


def _fills(tx: Tx, ask: Ask, stamp: Stamp) -> str:
    figure = _figure(tx, ask, stamp)
    assert stamp.date is not None  # a day's stamp has its date
    found = fills.behind(tx, ask, day=stamp.date, version=stamp.version)
    head = _head(stamp) | {"kpi": ask.kpi, "value_text": figure["value_text"]} | dict(found.head)
    return framed(head | {"next_cursor": found.next_cursor}, value_num=figure["value_num"], items=found.items)


def _figure(tx: Tx, ask: Ask, stamp: Stamp) -> dict[str, Any]:
    """The KPI of a question as the day has it; ``Rejected('no_kpi')`` 404 where the day has none of this name."""
    (row,) = tx.query(QUERIES["kpi_of_day"], date=stamp.date, kpi=ask.kpi)
    if not row["is_known"]:
        raise Rejected("no_kpi", "the day has no such KPI", field="kpi", status=404)
    return row


# --- many days --------------------------------------------------------------------------------------------------------


def _trade_dates(tx: Tx, ask: Ask, _stamp: Stamp) -> str:
    before = _parsed(date.fromisoformat, ask)
    (row,) = tx.query(QUERIES["days_with_headline"], before=before, limit=ask.limit, path=filters.LATEST)
    return framed({"next_cursor": _cursor(ask, None, row)}, items=row["items"])


def _dates(tx: Tx, ask: Ask, _stamp: Stamp) -> str:
    (row,) = tx.query(QUERIES["days_with_version"], before=_parsed(date.fromisoformat, ask), limit=ask.limit)
    return framed({"next_cursor": _cursor(ask, None, row)}, items=row["items"])


def _kpi_history(tx: Tx, ask: Ask, _stamp: Stamp) -> str:
    given = {"from": ask.from_date, "to": ask.to_date}
    (row,) = tx.query(QUERIES["kpi_history"], kpi=ask.kpi, limit=ask.limit, **given)
    if row["items"] == "[]" and not tx.query(QUERIES["kpi_was_ever"], kpi=ask.kpi)[0]["is_known"]:
        raise Rejected("no_kpi", "no day has such a KPI", field="kpi", status=404)
    return framed({"kpi": ask.kpi, "has_more": row["has_more"]}, items=row["items"])


def _freshness(tx: Tx, now: datetime) -> str:
    table = calendar()
    wanted = freshness.expected(now, table)
    rows = tx.query(QUERIES["days_standing"], date=wanted.session.date)
    found = [
        freshness.Standing(
            date=row["date"],
            stage=None if row["stage"] is None else Stage(row["stage"]),
            version=row["version"],
            updated_at=row["updated_at"],
        )
        for row in rows
    ]
    its_own = next((one for one in found if one.date == wanted.session.date), None)
    return framed(freshness.judged(wanted, its_own, found[-1] if found else None, now, table))


# --- pages ------------------------------------------------------------------------------------------------------------


def _cursor(ask: Ask, stamp: Stamp | None, row: Mapping[str, Any]) -> str | None:
    """The cursor of the page after this one; None where there is none."""
    if not row["has_more"]:
        return None
    day, version = (None, None) if stamp is None else (stamp.date, stamp.version)
    return paging.written(Place(date=day, version=version, key=tuple(row["last"])), ask.asked)


def _parsed(read_key: Callable[[str], Any], ask: Ask) -> Any:
    """The first part of the key a page begins after; a text that is none is refused as a cursor."""
    if ask.after is None:
        return None
    try:
        return read_key(ask.after.key[0])
    except ValueError:
        raise filters.refused("cursor") from None


READERS: Final[Mapping[str, Callable[[Tx, Ask, Stamp], str]]] = {
    filters.LATEST: _latest,
    filters.TRADE_DATES: _trade_dates,
    filters.DAILY: _daily,
    filters.KPIS: _kpis,
    filters.FILLS: _fills,
    filters.KPI_HISTORY: _kpi_history,
    filters.SERIES: _series,
    filters.EXTREMES: _extremes,
    filters.ASSETS: _assets,
    filters.DATES: _dates,
    filters.VERSIONS: _versions,
    filters.RESTATEMENTS: _restatements,
}
