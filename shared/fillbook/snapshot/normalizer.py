"""What somebody sends becomes a snapshot, or a list of everything that is wrong with it: nothing is guessed, cut or rounded.

Pure: the receiver uses it, and whoever reads a day back to compare it. Parts of the overlay are read in ``overlay.py``, values in
``reading.py``. A body of our own publisher comes out as the very snapshot it was made from. Source: snapshot specification, 5.1
row 7, 5.2 and 5.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from fillbook.calendar import NEW_YORK
from fillbook.money import plain
from fillbook.snapshot import duplicates, reading
from fillbook.snapshot.building import default_headline
from fillbook.snapshot.document import content_sha256
from fillbook.snapshot.jsontext import strictly_parsed as parsed
from fillbook.snapshot.model import (
    KPIS_MAX,
    MISSING,
    BadSnapshot,
    Dropped,
    Kind,
    Kpi,
    Problem,
    Snapshot,
    Stage,
)
from fillbook.snapshot.numbers import fits, is_nothing, told
from fillbook.snapshot.overlay import Overlay, listed, read_overlay
from fillbook.snapshot.reading import NAME_MAX, Findings, Item, TooMany
from fillbook.snapshot.texts import Wrong, clean, cut, instant
from fillbook.values import frozen

__all__ = ["Normalized", "normalized", "parsed"]

FIRST_DATE: Final = date(2000, 1, 1)
AHEAD_DAYS_MAX: Final = 7
AHEAD_MAX: Final = timedelta(minutes=5)
HEADLINE_MAX: Final = 200
SUMMARY_MAX: Final = 2_000
SOURCE_MAX: Final = 64
HASH_LENGTH: Final = 64
VALUE_TEXT_MAX: Final = 200
UNIT_MAX: Final = 16
REASON_MAX: Final = 64
DUPLICATES_NAMED_MAX: Final = 50

NAMES: Final = ("kpi", "name", "label")
VALUES: Final = ("value", "val", "text")
NUMBERS: Final = ("value_num", "valueNum")
KINDS: Final = ("kind", "value_kind")
ORDERS: Final = ("sort_order", "sortOrder", "order")
REASONS: Final = ("missing_reason", "missingReason")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
ROW_FIELDS: Final = frozenset({*NAMES, *VALUES, *NUMBERS, *KINDS, *ORDERS, *REASONS, "unit"})
TOP_FIELDS: Final = frozenset(
    "date updated_at headline summary source rows kpis overlay schema_version kpi_version stage watermark provenance "
    "content_sha256".split()
)


@frozen
class Normalized:
    """A document that was taken: what it says, what was resolved, and the hash of its content.

    ``warnings`` are sentences for the sender; ``claimed_hash`` is the ``content_sha256`` it came with (None: none), which
    equals ``content_sha256``, else it would have been refused.
    """

    snapshot: Snapshot
    dropped: Dropped
    warnings: tuple[str, ...]
    claimed_hash: str | None
    content_sha256: str


def normalized(body: Any, *, now: datetime) -> Normalized:
    """Read a document; ``now`` is the time of receipt. An empty day is taken: the caller judges it (5.1 row 10, ``is_empty``).

    Raises ``BadSnapshot``: ``bad_snapshot`` (422) with all problems, ``too_many`` (413) with the part named.
    """
    findings = Findings()
    if type(body) is not dict:
        raise BadSnapshot([Problem(path="", code="not_an_object", message="a document is an object", value=reading.shown(body))])
    try:
        snapshot, dropped = _read(body, now, findings)
    except TooMany as too_many:
        raise BadSnapshot([too_many.problem], reason="too_many", status=413) from None
    claimed = Item(body, "", findings).take(["content_sha256"], partial(reading.text, most=HASH_LENGTH))
    if snapshot is not None and not findings.problem_count:
        sha256 = content_sha256(snapshot)
        if claimed in (None, sha256):
            return Normalized(
                snapshot=snapshot,
                dropped=dropped,
                warnings=tuple(findings.warnings),
                claimed_hash=claimed,
                content_sha256=sha256,
            )
        findings.wrong("content_sha256", "hash_mismatch", f"the content's hash is {sha256}", claimed)
    raise BadSnapshot(findings.problems, count=findings.problem_count)


def _read(body: Mapping[str, Any], now: datetime, findings: Findings) -> tuple[Snapshot | None, Dropped]:
    """Read everything, so that all problems are found; None where the day or its time is not known."""
    top = Item(body, "", findings)
    findings.ignored("", body.keys() - TOP_FIELDS)
    day = top.take(["date"], partial(_date, now=now), missing="missing")
    at = _updated_at(top, now, findings)
    rows = _rows(body, findings)
    overlay = read_overlay(body, day, findings)
    parts = {"rows": duplicates.kpis(rows)}
    parts |= {"series": duplicates.points(overlay.points), "extremes": duplicates.extremes(overlay.extremes)}
    parts |= {"assets": duplicates.assets(overlay.assets)}
    gone = [f"duplicate in {part}: {reading.printable(name)}" for part, each in parts.items() for name in each.gone]
    for sentence in gone[:DUPLICATES_NAMED_MAX]:
        findings.warn(sentence)
    kept: dict[str, tuple[Any, ...]] = {part: each.kept for part, each in parts.items()}
    _warn_of_lone_series(kept["rows"], overlay, findings)
    fields: dict[str, Any] = {
        "headline": top.take(["headline"], partial(reading.words, most=HEADLINE_MAX)),
        "summary": top.take(["summary"], partial(reading.words, most=SUMMARY_MAX)) or "",
        "source": top.take(["source"], partial(reading.words, most=SOURCE_MAX)),
        "schema_version": top.take(["schema_version"], reading.order),
        "kpi_version": top.take(["kpi_version"], reading.order),
        "stage": top.take(["stage"], partial(reading.choice, words_of=Stage, code="bad_stage")),
        "watermark": top.take(["watermark"], reading.document),
        "provenance": top.take(["provenance"], reading.document),
    }
    dropped = Dropped(duplicates=len(gone), null_points=overlay.null_points)
    if day is None or at is None:
        return None, dropped
    fields["headline"] = fields["headline"] or default_headline(day)
    snapshot = Snapshot(
        date=day,
        updated_at=at,
        rows=kept["rows"],
        series=overlay.series,
        points=kept["series"],
        extremes=kept["extremes"],
        assets=kept["assets"],
        **fields,
    )
    return snapshot, dropped


# --- the day ----------------------------------------------------------------------------------------------------------


def _date(value: Any, now: datetime) -> date:
    made = clean(value) if type(value) is str else ""
    try:
        day = date.fromisoformat(made) if _DATE.fullmatch(made) else None
    except ValueError:
        day = None
    if day is None or day < FIRST_DATE:
        raise Wrong("bad_date", "not a day as YYYY-MM-DD from 2000 on")
    if day > now.astimezone(NEW_YORK).date() + timedelta(days=AHEAD_DAYS_MAX):
        raise Wrong("date_in_future", f"more than {AHEAD_DAYS_MAX} days ahead")
    return day


def _updated_at(top: Item, now: datetime, findings: Findings) -> datetime | None:
    if reading.first(top.raw, ["updated_at"]) is None:
        findings.warn("updated_at: absent, the time of receipt was taken")
        return cut(now)
    return top.take(["updated_at"], partial(_not_ahead, now=now))


def _not_ahead(value: Any, now: datetime) -> datetime:
    at = instant(value)
    if at > now + AHEAD_MAX:
        raise Wrong("time_in_future", "more than five minutes ahead")
    return at


def _warn_of_lone_series(rows: tuple[Kpi, ...], overlay: Overlay, findings: Findings) -> None:
    names = {one.kpi for one in rows}
    for name in overlay.series:
        if name not in names:
            findings.warn(f"a series without a row: {reading.printable(name)}")


# --- KPI rows ---------------------------------------------------------------------------------------------------------


def _rows(body: Mapping[str, Any], findings: Findings) -> list[Kpi]:
    return listed(body, ("rows", "kpis"), "", findings, _read_rows)


def _read_rows(raw: list[Any], path: str, findings: Findings) -> list[Kpi]:
    if len(raw) > KPIS_MAX:
        raise TooMany(path, KPIS_MAX)
    made = [_kpi(one, f"{path}[{number}]", number + 1, findings) for number, one in enumerate(raw)]
    return [one for one in made if one is not None]


def _kpi(raw: Any, path: str, position: int, findings: Findings) -> Kpi | None:
    if type(raw) is not dict:
        findings.wrong(path, "not_an_object", "a row is an object", raw)
        return None
    row = Item(raw, path, findings)
    findings.ignored("rows[].", raw.keys() - ROW_FIELDS)
    name = row.take(NAMES, partial(reading.name, most=NAME_MAX), missing="missing")
    value, said_number, said_kind, said_unit = row.take(VALUES, _value) or (MISSING, None, Kind.TEXT, None)
    number = row.take(NUMBERS, reading.number)
    if value is MISSING and number is not None:
        value = plain(number)
    kind = row.take(KINDS, partial(reading.choice, words_of=Kind, code="bad_kind"))
    unit = row.take(["unit"], partial(reading.text, most=UNIT_MAX))
    order = row.take(ORDERS, reading.order)
    reason = row.take(REASONS, partial(reading.text, most=REASON_MAX))
    if kind is None:
        kind = Kind.NUMBER if said_kind is Kind.TEXT and number is not None else said_kind
        unit = unit or said_unit
    return Kpi(
        kpi=name or "",
        value=value,
        value_num=said_number if number is None else number,
        kind=kind,
        unit=unit,
        sort_order=order or position * 10,
        missing_reason=reason,
    )


def _value(value: Any) -> tuple[str, Decimal | None, Kind, str | None]:
    """The display text of a value, and what it says: number, kind, unit."""
    if reading.is_number(value):
        exact = reading.number(value)
        return plain(exact), exact, Kind.NUMBER, None
    text = reading.text(value, VALUE_TEXT_MAX)
    if is_nothing(text):
        return MISSING, None, Kind.TEXT, None
    said = told(text)
    if said.number is not None and not fits(said.number):
        raise Wrong("number_range", "10^15 and more, or more than 20 decimals")
    return text, said.number, said.kind, said.unit
