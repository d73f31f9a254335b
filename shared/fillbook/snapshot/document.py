"""The document of a day: written as JSON, and reduced to the text whose SHA-256 names what it says.

Pure. Two documents that say the same have the same content, however their lists were ordered, their numbers padded or their keys
arranged; the publisher and the API use this one function. Numbers go from Decimal to plain JSON text and nowhere else.
``built`` (``building.py``) makes the snapshot out of what the views gave. Source: snapshot specification, 3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from fillbook.money import plain
from fillbook.snapshot.building import built
from fillbook.snapshot.duplicates import asset_order, extreme_order, point_order, row_order
from fillbook.snapshot.jsontext import jsoned, quoted
from fillbook.snapshot.model import Asset, Counts, Extreme, Kpi, Side, Snapshot
from fillbook.snapshot.texts import written

__all__ = ["built", "content", "content_sha256", "counts", "encoded", "extreme_item", "is_empty", "overlay_json", "rows_json"]
__all__ += ["size"]

EXTREME_COLUMNS: Final = (
    *("kpi", "side", "rank", "trade_id", "symbol", "contract_name", "metric_raw", "metric_abs", "individual_pnl"),
    *("abs_individual_pnl", "percent_change", "cost_basis", "qty", "bid_price", "ask_price", "mid_price", "mid_ts"),
    *("mid_mark_pnl", "liquidity_drag"),
)
"""Every column of the extremes view but the day, in its order."""

# --- the document -----------------------------------------------------------------------------------------------------


def encoded(snapshot: Snapshot, *, sha256: str | None = None) -> bytes:
    """The document as it is sent: UTF-8 JSON with ``content_sha256``. Of additions only ``watermark`` may be null.

    ``sha256`` is the content's hash where the caller knows it.
    """
    additions = {
        "source": snapshot.source,
        "schema_version": snapshot.schema_version,
        "kpi_version": snapshot.kpi_version,
        "stage": snapshot.stage,
        "content_sha256": sha256 or content_sha256(snapshot),
        "watermark": snapshot.watermark,
        "provenance": snapshot.provenance,
    }
    parts = [
        f'"date":"{snapshot.date.isoformat()}"',
        f'"updated_at":"{written(snapshot.updated_at)}"',
        f'"headline":{quoted(snapshot.headline)}',
        f'"summary":{quoted(snapshot.summary)}',
        f'"rows":{rows_json(snapshot)}',
        f'"overlay":{overlay_json(snapshot)}',
        *(f'"{name}":{jsoned(value)}' for name, value in additions.items() if value is not None or name == "watermark"),
    ]
    return f"{{{','.join(parts)}}}".encode()


def rows_json(snapshot: Snapshot) -> str:
    """The document's ``rows`` as JSON text."""
    return jsoned([_row(one) for one in snapshot.rows])


def _row(one: Kpi) -> dict[str, Any]:
    row: dict[str, Any] = {"kpi": one.kpi, "value": one.value, "value_num": one.value_num, "kind": one.kind, "unit": one.unit}
    row |= {"sort_order": one.sort_order, "missing_reason": one.missing_reason}
    return {name: value for name, value in row.items() if value is not None or name == "value_num"}


def overlay_json(snapshot: Snapshot) -> str:
    """The document's ``overlay`` as JSON text: ``seriesByKpi``, ``extremes.byKpi`` and ``portfolioAssets``."""
    series: dict[str, list[str]] = {name: [] for name in snapshot.series}
    times, sources = _Times(), {one: "" if one is None else f',"src":{quoted(one)}' for one in _sources(snapshot)}
    for one in snapshot.points:
        series[one.kpi].append(f'{{"t":"{times[one.t]}","v":{plain(one.v)}{sources[one.src]}}}')
    in_series = ",".join([f"{quoted(name)}:[{','.join(points)}]" for name, points in series.items()])
    extremes = {name: _sides(items) for name, items in groupby(snapshot.extremes, key=lambda one: one.kpi)}
    rest = jsoned({"extremes": {"byKpi": extremes}, "portfolioAssets": [_asset(one) for one in snapshot.assets]})
    return f'{{"seriesByKpi":{{{in_series}}},{rest[1:]}'


def _sides(items: Iterable[Extreme]) -> dict[str, list[dict[str, Any]]]:
    sides: dict[str, list[dict[str, Any]]] = {side.value: [] for side in Side}
    for one in items:
        sides[one.side].append(extreme_item(one))
    return sides


def extreme_item(one: Extreme) -> dict[str, Any]:
    """An extreme as an item of the document: every column, NULL as null, then what else was sent with it."""
    item = {name: getattr(one, name) for name in EXTREME_COLUMNS}
    item["mid_ts"] = None if one.mid_ts is None else written(one.mid_ts)
    return item | dict(one.others)


def _asset(one: Asset) -> dict[str, Any]:
    return {"trade_id": one.trade_id, "symbol": one.symbol, "contract_name": one.contract_name}


def _sources(snapshot: Snapshot) -> set[str | None]:
    """Where the points come from: few words, each many times."""
    return {one.src for one in snapshot.points}


class _Times(dict[datetime, str]):
    """Written instants: the minutes of a day come back in each of its series."""

    def __missing__(self, at: datetime) -> str:
        text = self[at] = written(at)
        return text


# --- what it says -----------------------------------------------------------------------------------------------------


def content_sha256(snapshot: Snapshot) -> str:
    """SHA-256 (hex) of the normalised content."""
    return hashlib.sha256(content(snapshot).encode()).hexdigest()


def content(snapshot: Snapshot) -> str:
    """The normalised content: keys sorted, no white space, absent and null left out but for ``value_num``, numbers plain.

    ``updated_at``, ``source``, ``schema_version``, ``watermark`` and ``provenance`` take no part, nor does an empty series.
    """
    parts = {
        "assets": _joined(jsoned(_said(_asset(one)), is_sorted=True) for one in sorted(snapshot.assets, key=asset_order)),
        "date": quoted(snapshot.date.isoformat()),
        "extremes": _joined(_said_of(one) for one in sorted(snapshot.extremes, key=extreme_order)),
        "headline": quoted(snapshot.headline),
        "kpi_version": None if snapshot.kpi_version is None else str(snapshot.kpi_version),
        "rows": _joined(jsoned(_row(one), is_sorted=True) for one in sorted(snapshot.rows, key=row_order)),
        "series": _joined(_points(snapshot)),
        "stage": None if snapshot.stage is None else quoted(snapshot.stage),
        "summary": quoted(snapshot.summary),
    }
    return "{" + ",".join([f'"{name}":{text}' for name, text in parts.items() if text is not None]) + "}"


def _joined(texts: Iterable[str]) -> str:
    return f"[{','.join(texts)}]"


def _said(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if value is not None}


def _said_of(one: Extreme) -> str:
    return jsoned(_said(extreme_item(one)), is_sorted=True)


def _points(snapshot: Snapshot) -> list[str]:
    times = _Times()
    names = {name: quoted(name) for name in {one.kpi for one in snapshot.points}}
    sources = {one: "" if one is None else f'"src":{quoted(one)},' for one in _sources(snapshot)}
    return [
        f'{{"kpi":{names[one.kpi]},{sources[one.src]}"t":"{times[one.t]}","v":{plain(one.v)}}}'
        for one in sorted(snapshot.points, key=point_order)
    ]


def counts(snapshot: Snapshot) -> Counts:
    """Items of the snapshot: KPIs, points, extremes, assets."""
    return Counts(
        kpis=len(snapshot.rows), series=len(snapshot.points), extremes=len(snapshot.extremes), assets=len(snapshot.assets)
    )


def size(snapshot: Snapshot) -> int:
    """Bytes of ``rows`` and ``overlay`` as they are sent."""
    return len((rows_json(snapshot) + overlay_json(snapshot)).encode("utf-8", "surrogatepass"))


def is_empty(snapshot: Snapshot) -> bool:
    """Whether not one row and not one item of the overlay is there."""
    return counts(snapshot) == Counts()
