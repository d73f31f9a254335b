"""The overlay of a document: series, extremes and assets, each in one of the containers it may come in.

Two containers may carry the same part; the first that is not empty wins, and two that differ are ambiguous. What a sender may
send of each is bounded before it is read. Series are read in ``points.py``, extremes in ``extremes.py``. Source: snapshot
specification, 5.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, Final, TypeVar

from fillbook.snapshot import reading
from fillbook.snapshot.extremes import read_extremes
from fillbook.snapshot.model import ASSETS_MAX, Asset, Extreme, Point
from fillbook.snapshot.points import read_series
from fillbook.snapshot.reading import CONTRACTS, IDS, NAME_MAX, SYMBOL_MAX, Findings, Item, TooMany
from fillbook.values import frozen

T = TypeVar("T")

OVERLAY_FIELDS: Final = frozenset({"seriesByKpi", "series", "extremes", "portfolioAssets", "assets"})
ASSET_FIELDS: Final = frozenset({*IDS, *CONTRACTS, "symbol"})


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
    series = mapped(raw, ("seriesByKpi", "series"), findings, partial(read_series, day=day))
    names, points, nulls = series or ((), (), 0)
    return Overlay(
        series=names,
        points=points,
        null_points=nulls,
        extremes=tuple(read_extremes(raw.get("extremes"), findings)),
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
