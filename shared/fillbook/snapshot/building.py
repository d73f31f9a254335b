"""What the views gave becomes a snapshot: texts composed and trimmed, instants cut, ranks counted anew, unknown left unknown.

Pure. What no snapshot can hold (a number that is none, a side that is neither, an id beyond 2^53) is left out *and* is a problem,
so the day is not sent; everything else is judged by ``checks.py``. Source: snapshot specification, 2 to 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

from fillbook.snapshot import duplicates
from fillbook.snapshot.model import (
    EXTREME_NUMBERS,
    ID_MAX,
    KPI_VERSION,
    MISSING,
    SCHEMA_VERSION,
    SOURCE,
    Asset,
    Dropped,
    Extreme,
    Kind,
    Kpi,
    Point,
    Problem,
    Side,
    Snapshot,
    Source,
    Watermark,
)
from fillbook.snapshot.numbers import fits, is_nothing, told
from fillbook.snapshot.texts import Wrong, clean, cut, written

T = TypeVar("T")
Row = Mapping[str, Any]

SHOWN_MAX: Final = 80


def built(
    source: Source, *, headline: str, summary: str, provenance: Mapping[str, Any]
) -> tuple[Snapshot, Dropped, tuple[Problem, ...]]:
    """Make the snapshot of what the views gave, what was resolved on the way, and what no snapshot can hold (4.3).

    ``provenance`` is what the publisher knows (books, run_id, late_actions, forced); when the views were refreshed and what they
    excluded is added here.
    """
    problems: list[Problem] = []
    watermark = source.watermark
    rows = _each(source.kpis, "rows", lambda row: _kpi(row, source.values), problems)
    named = {one["kpi_name"] for one in source.series if type(one["kpi_name"]) is str}
    known = [(number, row) for number, row in enumerate(source.series) if row["value"] is not None]
    points = duplicates.points(_each_numbered(known, "series", _point, problems))
    extremes = duplicates.extremes(_ranked(_each(source.extremes, "extremes", _extreme, problems)))
    assets = _each(source.portfolio, "portfolio", _asset, problems)
    snapshot = Snapshot(
        date=source.day.report_date,
        updated_at=_updated_at(source, points.kept),
        headline=clean(headline) or default_headline(source.day.report_date),
        summary=clean(summary),
        rows=tuple(sorted(rows, key=duplicates.row_order)),
        series=tuple(sorted(named)),
        points=points.kept,
        extremes=extremes.kept,
        assets=tuple(sorted(assets, key=duplicates.asset_order)),
        source=SOURCE,
        schema_version=SCHEMA_VERSION,
        kpi_version=None if source.values is None else _version(source.values),
        stage=source.day.stage,
        watermark=None if watermark is None else _watermark(watermark),
        provenance=_plain({**_known(watermark), **provenance}),
    )
    dropped = Dropped(duplicates=len(points.gone) + len(extremes.gone), null_points=len(source.series) - len(known))
    return snapshot, dropped, tuple(problems)


def default_headline(day: date) -> str:
    """What a day is called when nobody gave it a name."""
    return f"Fillbook metrics for {day.isoformat()}"


def _each(rows: Sequence[Row], part: str, read: Callable[[Row], T], problems: list[Problem]) -> list[T]:
    return _each_numbered(enumerate(rows), part, read, problems)


def _each_numbered(rows: Any, part: str, read: Callable[[Row], T], problems: list[Problem]) -> list[T]:
    """Read every row; one that cannot be read is a problem by its number in the view's order."""
    made = []
    for number, row in rows:
        try:
            made.append(read(row))
        except _WrongField as wrong:
            problems.append(
                Problem(
                    path=f"{part}[{number}].{wrong.field}",
                    code=wrong.code,
                    message=wrong.message,
                    value=_told(row.get(wrong.field)),
                )
            )
    return made


def _told(value: Any) -> str | None:
    return None if value is None else ascii(value)[:SHOWN_MAX]


class _WrongField(Wrong):
    """A column's value that no snapshot can hold."""

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(code, message)
        self.field = field


# --- rows of the views ------------------------------------------------------------------------------------------------


def _kpi(row: Row, values: Mapping[str, Row] | None) -> Kpi:
    name, text, order = row["kpi_name"], row["display_value"], row["sort_order"]
    if type(name) is not str:
        raise _WrongField("kpi_name", "missing", "a KPI has a name")
    if type(order) is not int:
        raise _WrongField("sort_order", "bad_number", "a KPI has its place in the order")
    if text is not None and type(text) is not str:
        raise _WrongField("display_value", "bad_type", "a display text is a text")
    value = clean(text or "")
    value = MISSING if is_nothing(value) else value
    if values is None:
        return _told_kpi(name, value, order)
    companion = values.get(name)
    if companion is None:
        raise _WrongField("kpi_name", "missing", "the KPI has no row in the view of values")
    try:
        kind = Kind(companion["value_kind"])
    except ValueError:
        raise _WrongField("value_kind", "bad_kind", "none of the six kinds") from None
    return Kpi(
        kpi=name,
        value=value,
        value_num=_number(companion, "value_num"),
        kind=kind,
        unit=_text(companion, "unit"),
        sort_order=order,
        missing_reason=_text(companion, "missing_reason"),
    )


def _told_kpi(name: str, value: str, order: int) -> Kpi:
    """A KPI of somebody else's view: its number is what the text shows."""
    said = told(value)
    if said.number is not None and not fits(said.number):
        raise _WrongField("display_value", "number_range", "a number of 10^15 and more, or with more than 20 decimals")
    return Kpi(kpi=name, value=value, value_num=said.number, kind=said.kind, unit=said.unit, sort_order=order)


def _point(row: Row) -> Point:
    name, at = row["kpi_name"], row["ts"]
    if type(name) is not str:
        raise _WrongField("kpi_name", "missing", "a series has a name")
    if at is None:
        raise _WrongField("ts", "missing", "a point has its time")
    value = _number(row, "value")
    if value is None:
        raise _WrongField("value", "bad_number", "not a number")
    return Point(kpi=name, t=cut(at), v=value, src=_text(row, "source"))


def _extreme(row: Row) -> Extreme:
    name, side = row["kpi_name"], row["side"]
    if type(name) is not str:
        raise _WrongField("kpi_name", "missing", "an extreme belongs to a KPI")
    numbers: dict[str, Any] = {column: _number(row, column) for column in EXTREME_NUMBERS}
    try:
        at_side = Side(clean(side).lower() if type(side) is str else "")
    except ValueError:
        raise _WrongField("side", "bad_side", "neither hi nor lo") from None
    return Extreme(
        kpi=name,
        side=at_side,
        rank=0,
        trade_id=_identity(row),
        symbol=_text(row, "symbol"),
        contract_name=_contract(row),
        mid_ts=None if row["mid_ts"] is None else cut(row["mid_ts"]),
        **numbers,
    )


def _ranked(found: Sequence[Extreme]) -> list[Extreme]:
    """Ranks 1..n in the view's order, for each side of each KPI."""
    reached: dict[tuple[str, Side], int] = {}
    made = []
    for one in found:
        rank = reached[one.kpi, one.side] = reached.get((one.kpi, one.side), 0) + 1
        made.append(duplicates.ranked(one, rank))
    return made


def _asset(row: Row) -> Asset:
    return Asset(trade_id=_identity(row), symbol=_text(row, "symbol"), contract_name=_contract(row))


# --- columns ----------------------------------------------------------------------------------------------------------


def _number(row: Row, column: str) -> Decimal | None:
    value = row[column]
    if value is None:
        return None
    if type(value) is int:
        value = Decimal(value)
    if type(value) is not Decimal or not value.is_finite():
        raise _WrongField(column, "bad_number", "not a finite number")
    return value


def _text(row: Row, column: str) -> str | None:
    value = row[column]
    if value is not None and type(value) is not str:
        raise _WrongField(column, "bad_type", "not a text")
    if value and value.isascii() and value.isalnum():
        return value  # as most are: nothing to compose, nothing to trim
    return clean(value or "") or None


def _contract(row: Row) -> str:
    name = _text(row, "contract_name")
    if name is None:
        raise _WrongField("contract_name", "contract_missing", "the contract's name is blank")
    return name


def _identity(row: Row) -> int:
    value = row["trade_id"]
    if type(value) is not int:
        raise _WrongField("trade_id", "missing" if value is None else "bad_id", "an id is a whole number")
    if not 1 <= value <= ID_MAX:
        raise _WrongField("trade_id", "id_range", f"an id lies between 1 and {ID_MAX}")
    return value


# --- what the figures come from ---------------------------------------------------------------------------------------


def _updated_at(source: Source, points: Sequence[Point]) -> datetime:
    """Data time (1): the last record used. Where no watermark tells, the last point, as far as the day has come."""
    if source.watermark is None:
        last = max((point.t for point in points), default=source.day.window_start)
        return cut(min(last, source.day.as_of))
    known = [at for at in (source.watermark.last_recorded_at, source.watermark.last_mark_at) if at is not None]
    return cut(max(known, default=source.day.window_start))


def _version(values: Mapping[str, Row]) -> int:
    return next((row["kpi_version"] for row in values.values() if row.get("kpi_version") is not None), KPI_VERSION)


def _watermark(mark: Watermark) -> dict[str, Any]:
    times = {
        "as_of": mark.as_of,
        "valuation_at": mark.valuation_at,
        "last_recorded_at": mark.last_recorded_at,
        "last_mark_at": mark.last_mark_at,
    }
    written_times = {name: None if at is None else written(at) for name, at in times.items()}
    figures = {"actions": mark.actions, "closings": mark.closings, "open_positions": mark.open_positions}
    return {**written_times, **figures, "ledger_seq": dict(mark.ledger_seq)}


def _known(mark: Watermark | None) -> dict[str, Any]:
    return {} if mark is None else {"views_refreshed_at": written(mark.refreshed_at), "excluded": dict(mark.excluded)}


def _plain(value: Any) -> Any:
    """The value as a reader of the document gets it: mappings as objects, sequences as lists, instants as texts."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, datetime):
        return written(value)
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
