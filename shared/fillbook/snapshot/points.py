"""The series of a document: points of a day by KPI, under all the names they come by.

A point without a value is a gap, counted and left out; it is never zero. Source: snapshot specification, 5.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

from fillbook.calendar import NEW_YORK
from fillbook.snapshot import reading
from fillbook.snapshot.model import POINTS_MAX, Point
from fillbook.snapshot.numbers import fits
from fillbook.snapshot.reading import Findings, Item, TooMany
from fillbook.snapshot.texts import Wrong, clean, instant

SOURCE_MAX: Final = 32
SYNTHETIC: Final = "synthetic"
BEFORE: Final = timedelta(days=400)
AFTER: Final = timedelta(days=2)

TIMES: Final = ("t", "time", "ts")
VALUES: Final = ("v", "value")
SOURCES: Final = ("src", "source")
POINT_FIELDS: Final = frozenset({*TIMES, *VALUES, *SOURCES})


def read_series(
    raw: Mapping[str, Any], path: str, findings: Findings, day: date | None
) -> tuple[tuple[str, ...], tuple[Point, ...], int]:
    """Names in order, points in the order they came, and how many had no value."""
    entries = []
    for name, at, value in reading.named(raw, path, findings):
        if type(value) is list:
            entries.append((name, at, value))
        else:
            findings.wrong(at, "bad_type", "a list of points belongs here", value)
    if sum(len(value) for _, _, value in entries) > POINTS_MAX:
        raise TooMany(path, POINTS_MAX)
    reader = _PointReader(day, findings)
    points = [point for name, at, value in entries for point in reader.points(name, at, value)]
    return tuple(sorted({name for name, _, _ in entries})), tuple(points), reader.null_points


class _PointReader:
    """Reads points within the time that a day's points may have."""

    def __init__(self, day: date | None, findings: Findings) -> None:
        self._findings = findings
        self._first = None if day is None else _midnight(day - BEFORE)
        self._end = None if day is None else _midnight(day + AFTER)
        self.null_points = 0
        self._times: dict[Any, datetime] = {}
        self._sources: dict[Any, str] = {}

    def points(self, name: str, path: str, raw: Sequence[Any]) -> list[Point]:
        """The points of one series that have a value."""
        made = []
        for number, one in enumerate(raw):
            if type(one) is not dict:
                self._findings.wrong(f"{path}[{number}]", "not_an_object", "a point is an object", one)
                continue
            point = self._familiar(name, one) or self._point(name, Item(one, f"{path}[{number}]", self._findings))
            if point is not None:
                made.append(point)
        return made

    def _familiar(self, name: str, raw: Mapping[str, Any]) -> Point | None:
        """The point whose keys are just ``t, v`` or ``t, v, src`` and whose texts were read before; None for any other.

        Minutes and sources come back in each of a day's series: nine points of ten need no more than this.
        """
        told_at, value, source = raw.get("t"), raw.get("v"), raw.get("src")
        at = self._times.get(told_at) if type(told_at) is str else None
        if at is None or value is None or not reading.is_number(value) or len(raw) != (2 if source is None else 3):
            return None
        if source is not None and (type(source) is not str or source not in self._sources):
            return None
        exact = Decimal(value)
        return Point(kpi=name, t=at, v=exact, src=self._sources.get(source)) if fits(exact) else None

    def _point(self, name: str, item: Item) -> Point | None:
        raw = item.raw
        if not raw.keys() <= POINT_FIELDS:
            self._findings.ignored("series[].", raw.keys() - POINT_FIELDS)
        at = item.take(TIMES, self._time, missing="missing")
        source = item.take(SOURCES, _point_source)
        if reading.first(raw, VALUES) is None:
            blank = next((field for field in VALUES if raw.get(field) is not None), None)
            if blank is None:
                self.null_points += 1
            else:
                item.wrong(blank, Wrong("bad_number", "a blank text is no number"), raw[blank])
            return None
        value = item.take(VALUES, reading.number)
        if at is None or value is None:
            return None
        self._remember(raw, at, source)
        return Point(kpi=name, t=at, v=value, src=source)

    def _remember(self, raw: Mapping[str, Any], at: datetime, source: str | None) -> None:
        if type(raw.get("t")) is str and clean(raw["t"]):
            self._times[raw["t"]] = at
        if type(raw.get("src")) is str and source is not None and clean(raw["src"]):
            self._sources[raw["src"]] = source

    def _time(self, value: Any) -> datetime:
        at = instant(value)
        if self._first is not None and self._end is not None and not self._first <= at < self._end:
            raise Wrong("time_outside", "before the 400 days, or after the day that follows the snapshot's")
        return at


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), NEW_YORK).astimezone(UTC)


def _point_source(value: Any) -> str:
    made = reading.text(value, SOURCE_MAX)
    if made.casefold() == SYNTHETIC:
        raise Wrong("synthetic_point", "an invented point is none")
    return made
