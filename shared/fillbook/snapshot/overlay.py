"""The overlay of a document: series, extremes and assets, under all the names they come by.

Two containers may carry the same part; the first that is not empty wins, and two that differ are ambiguous. What a sender may
send of each is bounded before it is read. Source: snapshot specification, 5.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, Final, TypeVar

from fillbook.calendar import NEW_YORK
from fillbook.snapshot import reading
from fillbook.snapshot.model import (
    ASSETS_MAX,
    EXTREME_NUMBERS,
    EXTREMES_MAX,
    POINTS_MAX,
    Asset,
    Extreme,
    Point,
    Problem,
    Side,
)
from fillbook.snapshot.reading import Findings, Item
from fillbook.snapshot.texts import Wrong, clean, instant, is_storable
from fillbook.values import frozen

T = TypeVar("T")

NAME_MAX: Final = 100
SYMBOL_MAX: Final = 32
POINT_SOURCE_MAX: Final = 32
NAMED_MAX: Final = 1_000
"""KPIs that may have a series or extremes: five times as many as may have a row."""
SYNTHETIC: Final = "synthetic"
BEFORE: Final = timedelta(days=400)
AFTER: Final = timedelta(days=2)

OVERLAY_FIELDS: Final = frozenset({"seriesByKpi", "series", "extremes", "portfolioAssets", "assets"})
TIMES: Final = ("t", "time", "ts")
VALUES: Final = ("v", "value")
SOURCES: Final = ("src", "source")
POINT_FIELDS: Final = frozenset({*TIMES, *VALUES, *SOURCES})
IDS: Final = ("trade_id", "tradeId", "id")
CONTRACTS: Final = ("contract_name", "contractName", "contract")
ASSET_FIELDS: Final = frozenset({*IDS, *CONTRACTS, "symbol"})
SIDES: Final = {"hi": Side.HI, "high": Side.HI, "top": Side.HI, "lo": Side.LO, "low": Side.LO, "bottom": Side.LO}
RANKS: Final = ("rank",)


def _camel(column: str) -> str:
    head, *tail = column.split("_")
    return head + "".join(part.title() for part in tail)


NUMBER_FIELDS: Final = {column: tuple(dict.fromkeys((column, _camel(column)))) for column in EXTREME_NUMBERS}
MID_TIMES: Final = ("mid_ts", "midTs")
NAMING_FIELDS: Final = ("kpi", "kpi_name", "kpiName", "side")
EXTREME_FIELDS: Final = frozenset(
    {
        *IDS,
        *CONTRACTS,
        "symbol",
        *RANKS,
        *MID_TIMES,
        *NAMING_FIELDS,
        *(name for names in NUMBER_FIELDS.values() for name in names),
    }
)


class TooMany(Exception):
    """A part holds more items than a day may have; nothing further is read."""

    def __init__(self, part: str, most: int) -> None:
        super().__init__(part)
        self.problem = Problem(path=part, code="too_many", message=f"more than {most}")


@frozen
class Overlay:
    """What was read, duplicates still in it; ``series`` are the names in order."""

    series: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    null_points: int = 0
    extremes: tuple[Extreme, ...] = ()
    assets: tuple[Asset, ...] = ()


def read_overlay(body: Mapping[str, Any], day: date | None, findings: Findings) -> Overlay:
    """Read the overlay of a document about ``day`` (None: the day itself is wrong). Raises ``TooMany``."""
    raw = body.get("overlay")
    if raw is None:
        return Overlay()
    if type(raw) is not dict:
        findings.wrong("overlay", "bad_type", "the overlay is an object", raw)
        return Overlay()
    findings.ignored("overlay.", raw.keys() - OVERLAY_FIELDS)
    series = mapped(raw, ("seriesByKpi", "series"), findings, partial(_series, day=day))
    names, points, nulls = series or ((), (), 0)
    return Overlay(
        series=names,
        points=points,
        null_points=nulls,
        extremes=tuple(_extremes(raw.get("extremes"), findings)),
        assets=tuple(listed(raw, ("portfolioAssets", "assets"), "overlay.", findings, _assets)),
    )


# --- containers -------------------------------------------------------------------------------------------------------


def listed(
    raw: Mapping[str, Any],
    names: Sequence[str],
    place: str,
    findings: Findings,
    read: Callable[[list[Any], str, Findings], list[T]],
) -> list[T]:
    """Read the first of two lists that is not empty; both filled and different: ``ambiguous``."""
    return _one_of(raw, names, place, findings, list, read) or []


def mapped(raw: Mapping[str, Any], names: Sequence[str], findings: Findings, read: Callable[[Any, str, Findings], T]) -> T | None:
    """Read the first of two objects of the overlay that is not empty; both filled and different: ``ambiguous``."""
    return _one_of(raw, names, "overlay.", findings, dict, read)


def _one_of(
    raw: Mapping[str, Any],
    names: Sequence[str],
    place: str,
    findings: Findings,
    kind: type[Any],
    read: Callable[[Any, str, Findings], T],
) -> T | None:
    filled = []
    for name in names:
        value = raw.get(name)
        if value is not None and type(value) is not kind:
            findings.wrong(place + name, "bad_type", f"{'an object' if kind is dict else 'a list'} belongs here", value)
        elif value:
            filled.append((place + name, value))
    if not filled:
        return None
    (path, value), *others = filled
    result = read(value, path, findings)
    for other_path, other in others:
        aside = Findings()
        if read(other, other_path, aside) != result or aside.problem_count:
            findings.wrong(other_path, "ambiguous", f"says something else than {path}", other)
    return result


def _named(raw: Mapping[str, Any], path: str, findings: Findings) -> list[tuple[str, str, Any]]:
    """The entries of an object by KPI as (name, path, value); an entry without a value is none."""
    if len(raw) > NAMED_MAX:
        raise TooMany(path, NAMED_MAX)
    made = []
    for key, value in raw.items():
        at = f'{path}["{reading.printable(key)}"]'
        name = clean(key)
        if not name:
            findings.wrong(at, "blank_name", "a KPI has a name", key)
        elif not is_storable(name):
            findings.wrong(at, "bad_text", "holds a NUL, a control character or half a character", key)
        elif len(name) > NAME_MAX:
            findings.wrong(at, "too_long", f"more than {NAME_MAX} characters", key)
        elif value is not None:
            made.append((name, at, value))
    return made


# --- series -----------------------------------------------------------------------------------------------------------


def _series(
    raw: Mapping[str, Any], path: str, findings: Findings, day: date | None
) -> tuple[tuple[str, ...], tuple[Point, ...], int]:
    """Names in order, points in the order they came, and how many had no value."""
    entries = []
    for name, at, value in _named(raw, path, findings):
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

    def points(self, name: str, path: str, raw: Sequence[Any]) -> list[Point]:
        """The points of one series that have a value."""
        made = []
        for number, one in enumerate(raw):
            if type(one) is not dict:
                self._findings.wrong(f"{path}[{number}]", "not_an_object", "a point is an object", one)
            elif (point := self._point(name, Item(one, f"{path}[{number}]", self._findings))) is not None:
                made.append(point)
        return made

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
        return None if at is None or value is None else Point(kpi=name, t=at, v=value, src=source)

    def _time(self, value: Any) -> datetime:
        at = instant(value)
        if self._first is not None and self._end is not None and not self._first <= at < self._end:
            raise Wrong("time_outside", "before the 400 days, or after the day that follows the snapshot's")
        return at


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), NEW_YORK).astimezone(UTC)


def _point_source(value: Any) -> str:
    made = reading.text(value, POINT_SOURCE_MAX)
    if made.casefold() == SYNTHETIC:
        raise Wrong("synthetic_point", "an invented point is none")
    return made


# --- extremes ---------------------------------------------------------------------------------------------------------


def _extremes(raw: Any, findings: Findings) -> list[Extreme]:
    path = "overlay.extremes"
    if raw is None:
        return []
    if type(raw) is list or (type(raw) is dict and (type(raw.get("byKpi")) is list or "hi" in raw or "lo" in raw)):
        findings.wrong(path, "no_kpi_map", "extremes belong under byKpi and a KPI's name", raw)
        return []
    if type(raw) is not dict:
        findings.wrong(path, "bad_type", "extremes are an object", raw)
        return []
    findings.ignored(f"{path}.", raw.keys() - {"byKpi"})
    by_kpi = raw.get("byKpi")
    if by_kpi is None:
        return []
    if type(by_kpi) is not dict:
        findings.wrong(f"{path}.byKpi", "bad_type", "byKpi is an object", by_kpi)
        return []
    return _by_kpi(by_kpi, f"{path}.byKpi", findings)


def _by_kpi(raw: Mapping[str, Any], path: str, findings: Findings) -> list[Extreme]:
    """All items, those of one side of one KPI ranked 1..n even where two spellings of its name came."""
    found: dict[tuple[str, Side], list[tuple[str, dict[str, Any]]]] = {}
    for name, at, value in _named(raw, path, findings):
        if type(value) is not dict:
            findings.wrong(at, "bad_type", "an object with hi and lo belongs here", value)
            continue
        for side, where, item in _sided(value, at, findings):
            found.setdefault((name, side), []).append((where, item))
    if sum(map(len, found.values())) > EXTREMES_MAX:
        raise TooMany(path, EXTREMES_MAX)
    return [one for (name, side), items in found.items() for one in _ranked(name, side, items, findings)]


def _sided(raw: Mapping[str, Any], path: str, findings: Findings) -> list[tuple[Side, str, dict[str, Any]]]:
    """The items of a KPI with their side, out of ``hi`` and ``lo`` or out of ``items``."""
    findings.ignored("extremes.byKpi[].", raw.keys() - {"hi", "lo", "items"})
    sides = [entry for side in Side for entry in _items(raw, side.value, path, findings, side)]
    items = _items(raw, "items", path, findings, None)
    if sides and items and _by_side(sides) != _by_side(items):
        findings.wrong(f"{path}.items", "ambiguous", "says something else than hi and lo")
    return sides or items


def _by_side(entries: Sequence[tuple[Side, str, dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    return [[{**one, "side": side} for at, _, one in entries if at is side] for side in Side]


def _items(
    raw: Mapping[str, Any], name: str, path: str, findings: Findings, side: Side | None
) -> list[tuple[Side, str, dict[str, Any]]]:
    value, at = raw.get(name), f"{path}.{name}"
    if value is None:
        return []
    if type(value) is not list:
        findings.wrong(at, "bad_type", "a list of trades belongs here", value)
        return []
    if len(value) > EXTREMES_MAX:
        raise TooMany(at, EXTREMES_MAX)
    made = []
    for number, one in enumerate(value):
        where = f"{at}[{number}]"
        if type(one) is not dict:
            findings.wrong(where, "not_an_object", "a trade is an object", one)
            continue
        stated = one.get("side")
        known = side if stated is None else SIDES.get(clean(stated).casefold()) if type(stated) is str else None
        if known is None or side not in (None, known):
            findings.wrong(f"{where}.side", "bad_side", "neither hi nor lo, or not the list it stands in", stated)
        else:
            made.append((known, where, one))
    return made


def _ranked(name: str, side: Side, items: Sequence[tuple[str, dict[str, Any]]], findings: Findings) -> list[Extreme]:
    """Ranks as given where they are integers and unique, else by the order of the list; 1..n in either case."""
    given = [_rank(item.get("rank")) for _, item in items]
    in_order = list(items)
    if None not in given and len(set(given)) == len(given):
        in_order = [item for _, item in sorted(zip(given, items, strict=True), key=lambda pair: pair[0] or 0)]
    made = [_extreme(name, side, rank, Item(raw, path, findings), findings) for rank, (path, raw) in enumerate(in_order, 1)]
    return [one for one in made if one is not None]


def _rank(value: Any) -> int | None:
    try:
        made = reading.number(value)
    except Wrong:
        return None
    return int(made) if made == made.to_integral_value() else None


def _extreme(name: str, side: Side, rank: int, item: Item, findings: Findings) -> Extreme | None:
    own = reading.first(item.raw, ("kpi", "kpi_name", "kpiName"))
    if own is not None and (type(item.raw[own]) is not str or clean(item.raw[own]) != name):
        findings.warn("ignored: extremes[].kpi, where it differs from the name it stands under")
    contract = item.take(CONTRACTS, partial(reading.name, most=NAME_MAX), missing="contract_missing")
    numbers = {column: item.take(names, reading.number) for column, names in NUMBER_FIELDS.items()}
    others = {field: value for field, value in item.raw.items() if field not in EXTREME_FIELDS and value is not None}
    for field, value in others.items():
        try:
            reading.check_kept({field: value})
        except Wrong as wrong:
            item.wrong(reading.printable(field), wrong, value)
    return Extreme(
        kpi=name,
        side=side,
        rank=rank,
        trade_id=item.take(IDS, reading.identity),
        symbol=item.take(["symbol"], partial(reading.name, most=SYMBOL_MAX)),
        contract_name=contract or "",
        mid_ts=item.take(MID_TIMES, instant),
        others=others,
        **numbers,
    )


# --- assets -----------------------------------------------------------------------------------------------------------


def _assets(raw: list[Any], path: str, findings: Findings) -> list[Asset]:
    if len(raw) > ASSETS_MAX:
        raise TooMany(path, ASSETS_MAX)
    made = []
    for number, one in enumerate(raw):
        if type(one) is not dict:
            findings.wrong(f"{path}[{number}]", "not_an_object", "an asset is an object", one)
            continue
        item = Item(one, f"{path}[{number}]", findings)
        findings.ignored("assets[].", one.keys() - ASSET_FIELDS)
        identity = item.take(IDS, reading.identity, missing="missing")
        contract = item.take(CONTRACTS, partial(reading.name, most=NAME_MAX), missing="contract_missing")
        symbol = item.take(["symbol"], partial(reading.name, most=SYMBOL_MAX))
        made.append(Asset(trade_id=identity or 0, symbol=symbol, contract_name=contract or ""))
    return made
