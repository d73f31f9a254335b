"""The extremes of a document: trades at either end of each KPI, under all the names they come by.

Fields that nobody knows are kept with their trade as they came. Source: snapshot specification, 5.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from fillbook.snapshot import reading
from fillbook.snapshot.model import EXTREME_NUMBERS, EXTREMES_MAX, Extreme, Side
from fillbook.snapshot.reading import CONTRACTS, IDS, NAME_MAX, SYMBOL_MAX, Findings, Item, TooMany
from fillbook.snapshot.texts import Wrong, clean, instant

SIDES: Final = {"hi": Side.HI, "high": Side.HI, "top": Side.HI, "lo": Side.LO, "low": Side.LO, "bottom": Side.LO}
PATH: Final = "overlay.extremes"


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
        "rank",
        *MID_TIMES,
        *NAMING_FIELDS,
        *(name for names in NUMBER_FIELDS.values() for name in names),
    }
)


def read_extremes(raw: Any, findings: Findings) -> list[Extreme]:
    """The trades of every KPI and side, ranked 1..n, duplicates still in them. Raises ``TooMany``."""
    if raw is None:
        return []
    if type(raw) is list or (type(raw) is dict and (type(raw.get("byKpi")) is list or "hi" in raw or "lo" in raw)):
        findings.wrong(PATH, "no_kpi_map", "extremes belong under byKpi and a KPI's name", raw)
        return []
    if type(raw) is not dict:
        findings.wrong(PATH, "bad_type", "extremes are an object", raw)
        return []
    findings.ignored(f"{PATH}.", raw.keys() - {"byKpi"})
    by_kpi = raw.get("byKpi")
    if by_kpi is None:
        return []
    if type(by_kpi) is not dict:
        findings.wrong(f"{PATH}.byKpi", "bad_type", "byKpi is an object", by_kpi)
        return []
    return _by_kpi(by_kpi, f"{PATH}.byKpi", findings)


def _by_kpi(raw: Mapping[str, Any], path: str, findings: Findings) -> list[Extreme]:
    """All items, those of one side of one KPI ranked 1..n even where two spellings of its name came."""
    found: dict[tuple[str, Side], list[tuple[str, dict[str, Any]]]] = {}
    for name, at, value in reading.named(raw, path, findings):
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
