"""What the lenient receiver makes of a body: it takes nearly anything and bends it as a loosely typed language does.

Recorded behaviour, not a model to follow: absent is empty, text becomes a number where it can, what cannot be read is left out
without a word. Source: the recorded cases (``shared/data/snapshot``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

UNDEFINED: Final = object()
"""A name that is not there, which is not the same as null."""
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_DECIMAL: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_RADIX: Final = re.compile(r"0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+")
_SHOWN: Final = re.compile(r"([+-]?\d+(?:\.\d+)?)(%?)")
_PROTOTYPE: Final = "__proto__"
"""A name that a plain object swallows when something is put under it."""
EXTREME_NUMBERS: Final = (
    "metric_raw metric_abs individual_pnl abs_individual_pnl percent_change cost_basis qty bid_price ask_price mid_price "
    "mid_mark_pnl liquidity_drag"
).split()


class Broken(Exception):
    """Something the receiver did not expect: it answers 500."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What is stored: the archive's documents and the rows of the four tables, in the order they are written."""

    date: str
    updated_at: str
    headline: str
    summary: str
    rows: list[dict[str, str]]
    overlay: dict[str, Any]
    kpis: list[tuple[str, str, Any, str]] = field(default_factory=list)
    points: list[tuple[str, str, Any, str | None]] = field(default_factory=list)
    extremes: list[tuple[Any, ...]] = field(default_factory=list)
    assets: list[tuple[Any, ...]] = field(default_factory=list)


def parsed(body: bytes) -> Any:
    """The JSON of a body; raises ValueError for one that is none, and for what counts as nothing."""
    given = json.loads(body.decode("utf-8", "replace"), parse_constant=_refuse)
    if not given and not isinstance(given, dict | list):
        raise ValueError("nothing")
    return given


def _refuse(name: str) -> Any:
    raise ValueError(name)


def read(given: Any, now: str) -> Day:
    """Read a body; raises Broken."""
    document = given if isinstance(given, dict) else {}
    date = text(document.get("date")).strip()
    if _DATE.fullmatch(date) is None:
        raise Broken("date")
    rows = list(_rows(document))
    overlay = document.get("overlay")
    overlay = overlay if isinstance(overlay, dict) else {}
    series = dict(_series(overlay))
    extremes = _by_kpi(overlay)
    assets = list(_assets(overlay))
    return Day(
        date=date,
        updated_at=text(document.get("updated_at")) or now,
        headline=text(document.get("headline")) or f"Metrics for {date}",
        summary=text(document.get("summary")),
        rows=rows,
        overlay={
            "seriesByKpi": series,
            "extremes": {} if extremes is None else {"byKpi": extremes},
            "portfolioAssets": assets,
        },
        kpis=[(row["kpi"], row["value"], *shown(row["value"])) for row in rows],
        points=[(kpi, one["t"], one["v"], one.get("src")) for kpi, points in series.items() if kpi.strip() for one in points],
        extremes=list(_extremes(extremes or {})),
        assets=[(one["trade_id"], one["symbol"], one["contract_name"]) for one in assets],
    )


def _rows(document: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    found: list[Any] = next((document[name] for name in ("rows", "kpis") if isinstance(document.get(name), list)), [])
    for row in found:
        if isinstance(row, dict):
            name = text(next((row[one] for one in ("kpi", "name", "label") if row.get(one)), None)).strip()
            if name:
                yield {"kpi": name, "value": text(_first(row, "value", "val", "text"))}


def _series(overlay: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    found: dict[str, Any] = next((overlay[name] for name in ("seriesByKpi", "series") if isinstance(overlay.get(name), dict)), {})
    for kpi, points in found.items():
        read_points = list(_points(points)) if isinstance(points, list) else []
        if read_points and kpi != _PROTOTYPE:
            yield kpi, read_points


def _points(points: list[Any]) -> Iterator[dict[str, Any]]:
    for point in points:
        if isinstance(point, dict):
            at, value = text(_first(point, "t", "time", "ts")), _first(point, "v", "value")
            number = None if value in (None, UNDEFINED) else number_of(value)
            if at and number is not None:
                src = text(_first(point, "src", "source"))
                yield {"t": at, "v": number} | ({"src": src} if src else {})


def _by_kpi(overlay: Mapping[str, Any]) -> dict[str, Any] | None:
    extremes = overlay.get("extremes")
    found = extremes.get("byKpi") if isinstance(extremes, dict) else None
    return {kpi: sides for kpi, sides in found.items() if kpi != _PROTOTYPE} if isinstance(found, dict) else None


def _extremes(by_kpi: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """kpi, side, rank (the place in the list, gaps included), id, symbol, contract, twelve numbers with mid_ts, the item."""
    for kpi, sides in by_kpi.items():
        for side in ("hi", "lo"):
            items = sides.get(side) if isinstance(sides, dict) else None
            for rank, item in enumerate(items if isinstance(items, list) else [], 1):
                contract = text(item.get("contract_name")) if isinstance(item, dict) else ""
                if contract:
                    numbers = {name: number_or_null(item.get(name)) for name in EXTREME_NUMBERS}
                    trade_id = number_or_null(item.get("trade_id"))
                    mid_ts = item.get("mid_ts")
                    yield (
                        kpi, side, rank, None if trade_id is None else math.trunc(trade_id), text(item.get("symbol")) or None,
                        contract, numbers, mid_ts if isinstance(mid_ts, str) else None, item,
                    )  # fmt: skip


def _assets(overlay: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    found: list[Any] = next((overlay[name] for name in ("portfolioAssets", "assets") if isinstance(overlay.get(name), list)), [])
    for asset in found:
        if isinstance(asset, dict):
            number = number_of(_last_null(asset, "trade_id", "tradeId", "id"))
            contract = text(_first(asset, "contract_name", "contractName", "contract"))
            if number is not None and contract:
                yield {
                    "trade_id": math.trunc(number),
                    "symbol": text(asset.get("symbol")) or None,
                    "contract_name": contract,
                }


# --- a loosely typed language -------------------------------------------------------------------------------------------


def _first(row: Mapping[str, Any], *names: str) -> Any:
    """The first that is neither null nor absent."""
    return next((row[name] for name in names if row.get(name) is not None), UNDEFINED)


def _last_null(row: Mapping[str, Any], *names: str) -> Any:
    """The same, but when there is none what stands under the last name: null there is not absent."""
    found = _first(row, *names)
    return row.get(names[-1], UNDEFINED) if found is UNDEFINED else found


def text(value: Any) -> str:
    """A text as it is, a number as it is shown; anything else is empty."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return ""
    if abs(value) >= 1e21 or (value and abs(value) < 1e-6):
        return re.sub(r"e([+-])0+(?=\d)", r"e\1", repr(float(value)))
    shown_value = format(Decimal(repr(value)), "f")
    return shown_value.rstrip("0").rstrip(".") if "." in shown_value else shown_value


def number_of(value: Any) -> int | float | None:
    """What a value counts as; None where it is no finite number. Null and empty count as 0, true as 1, ``[5]`` as 5."""
    if value is None:
        return 0
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return _neat(value)
    if isinstance(value, list):
        return number_of(",".join("" if one is None else _joined(one) for one in value))
    if not isinstance(value, str):
        return None
    stripped = value.strip()
    if not stripped:
        return 0
    if _RADIX.fullmatch(stripped):
        return int(stripped, 0)
    return _neat(float(stripped)) if _DECIMAL.fullmatch(stripped) else None


def _joined(value: Any) -> str:
    if isinstance(value, list):
        return ",".join("" if one is None else _joined(one) for one in value)
    return "[object Object]" if isinstance(value, dict) else str(value).lower() if isinstance(value, bool) else text(value)


def number_or_null(value: Any) -> int | float | None:
    """As ``number_of``, but only numbers and texts count."""
    return number_of(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None


def _neat(value: float) -> int | float | None:
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def shown(value: str) -> tuple[int | float | None, str]:
    """The number and the kind that a display text gives: plain numbers and percents, all else is text without a number."""
    found = _SHOWN.fullmatch(value.strip())
    if found is None:
        return None, "text"
    return number_of(found[1]), "percent" if found[2] else "number"
