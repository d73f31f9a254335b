"""What nobody can force: whether a document is sound, checked before anything is sent.

Pure. All problems are listed, at most a hundred. A document without a problem is taken by our normalizer and comes out of it
unchanged: the limits here are never wider than its own. Guards, which compare a day with those before it and which a person may
force, are in ``guards.py``. Source: snapshot specification, 4.3.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from fillbook.money import CONTEXT
from fillbook.snapshot import document, reading
from fillbook.snapshot.guards import History, Published, from_json, guarded, remembered, to_json
from fillbook.snapshot.jsontext import jsoned
from fillbook.snapshot.model import (
    ASSETS_MAX,
    EXTREME_NUMBERS,
    EXTREMES_MAX,
    ID_MAX,
    KPIS_MAX,
    MISSING,
    POINTS_MAX,
    PROBLEMS_MAX,
    Asset,
    Extreme,
    Kpi,
    Point,
    Problem,
    Snapshot,
    Source,
    Stage,
)
from fillbook.snapshot.normalizer import FIRST_DATE, HEADLINE_MAX, REASON_MAX, SOURCE_MAX, SUMMARY_MAX, UNIT_MAX
from fillbook.snapshot.numbers import fits, rounded
from fillbook.snapshot.points import SOURCE_MAX as POINT_SOURCE_MAX
from fillbook.snapshot.points import SYNTHETIC
from fillbook.snapshot.reading import NAME_MAX, NAMED_MAX, SYMBOL_MAX
from fillbook.snapshot.texts import Wrong, is_clean, written

__all__ = ["History", "Published", "from_json", "guarded", "remembered", "to_json", "validated"]

NAME: Final = re.compile(r"[A-Za-z0-9_ .:/%()+-]{1,100}")
SHOWN_MAX: Final = 64
ORDER_MAX: Final = 9_999
DECIMALS_MAX: Final = 10
DOCUMENT_BYTES_MAX: Final = 1_900_000
FRAME_BYTES: Final = 100
POINT_BYTES: Final = 80
"""Of a point but its source: names, its time of 24 characters, a number of 27."""
ITEM_BYTES: Final = 800
"""Of an extreme but its texts, which is the largest item: 19 names, twelve numbers, an id, a rank, a time."""
CENT: Final = Decimal("0.01")
EQUITY, TOTAL, OPEN = "Equity", "Total PnL", "Open positions"

Check = Callable[[Snapshot, Source], Iterator[Problem]]


def validated(snapshot: Snapshot, source: Source) -> tuple[Problem, ...]:
    """Everything that is unsound about the document, at most a hundred; what ``built`` found comes on top."""
    found: list[Problem] = []
    for check in CHECKS:
        for problem in check(snapshot, source):
            found.append(problem)
            if len(found) == PROBLEMS_MAX:
                return tuple(found)
    return tuple(found)


def _problem(path: str, code: str, message: str, value: Any = None) -> Problem:
    return Problem(path=path, code=code, message=message, value=reading.shown(value))


# --- 1: rows ----------------------------------------------------------------------------------------------------------


def names(snapshot: Snapshot, _: Source) -> Iterator[Problem]:
    """KPI names clean, of plain characters, once each; orders 1 to 9999, once each; display texts of 1 to 64 characters."""
    for number, one in enumerate(snapshot.rows):
        yield from _name(f"rows[{number}].kpi", one.kpi)
        if not 1 <= one.sort_order <= ORDER_MAX:
            yield _problem(f"rows[{number}].sort_order", "bad_number", f"not between 1 and {ORDER_MAX}", one.sort_order)
        yield from _text(f"rows[{number}].value", one.value, SHOWN_MAX)
        yield from _text(f"rows[{number}].unit", one.unit, UNIT_MAX)
        yield from _text(f"rows[{number}].missing_reason", one.missing_reason, REASON_MAX)
    yield from _twice("rows.kpi", (one.kpi for one in snapshot.rows))
    yield from _twice("rows.sort_order", (one.sort_order for one in snapshot.rows))
    for name in snapshot.series:
        yield from _name(f'series["{reading.printable(name)}"]', name)
    for name in sorted({one.kpi for one in snapshot.extremes}):
        yield from _name(f'extremes["{reading.printable(name)}"]', name)


def _name(path: str, name: str) -> Iterator[Problem]:
    if not is_clean(name) or NAME.fullmatch(name) is None:
        yield _problem(path, "bad_name", "1 to 100 letters, digits, blanks and _.:/%()+-, composed and trimmed", name)


def _text(path: str, text: str | None, most: int, *, is_blank_allowed: bool = False) -> Iterator[Problem]:
    """A text that comes out of the normalizer as it goes in."""
    if text is None:
        return
    if not is_clean(text):
        yield _problem(path, "bad_text", "holds a control character or half a character, or is not trimmed and composed", text)
    elif len(text) > most:
        yield _problem(path, "too_long", f"more than {most} characters", text)
    elif not text and not is_blank_allowed:
        yield _problem(path, "missing", "is blank")


def _twice(path: str, keys: Iterable[Hashable]) -> Iterator[Problem]:
    for key, times in Counter(keys).items():
        if times > 1:
            yield _problem(path, "not_unique", f"comes {times} times", str(key))


# --- 2: numbers -------------------------------------------------------------------------------------------------------


def numbers(snapshot: Snapshot, source: Source) -> Iterator[Problem]:
    """Numbers below 10^15 with at most 10 decimals; on our own views a number is missing exactly where the text is ``—``."""
    for number, row in enumerate(snapshot.rows):
        yield from _number(f"rows[{number}].value_num", row.value_num)
        if source.values is not None and (row.value_num is None) != (row.value == MISSING):
            yield _problem(
                f"rows[{number}].value_num", "mismatch", f"missing in one of number and text ({row.value})", row.value_num
            )
    for number, point in enumerate(snapshot.points):
        if not fits(point.v, DECIMALS_MAX):
            yield from _number(f"series[{number}].v", point.v)
    for number, one in enumerate(snapshot.extremes):
        for column in EXTREME_NUMBERS:
            value = getattr(one, column)
            if value is not None and not fits(value, DECIMALS_MAX):
                yield from _number(f"extremes[{number}].{column}", value)


def _number(path: str, value: Decimal | None) -> Iterator[Problem]:
    if value is not None and not fits(value, DECIMALS_MAX):
        yield _problem(path, "number_range", f"10^15 and more, or more than {DECIMALS_MAX} decimals", value)


# --- 3: series --------------------------------------------------------------------------------------------------------


def series(snapshot: Snapshot, source: Source) -> Iterator[Problem]:
    """A series belongs to a row, its points into the window; no point is invented."""
    rows = {one.kpi for one in snapshot.rows}
    for name in snapshot.series:
        if name not in rows:
            yield _problem(f'series["{reading.printable(name)}"]', "no_row", "a series whose KPI has no row", name)
    first, end = source.day.window_start, source.day.window_end
    sources = set()
    for number, one in enumerate(snapshot.points):
        if not first <= one.t < end:
            yield _problem(f"series[{number}].t", "time_outside", "outside the day's window", written(one.t))
        if one.src not in sources:
            sources.add(one.src)
            yield from _point_source(f"series[{number}].src", one.src)


def _point_source(path: str, source: str | None) -> Iterator[Problem]:
    yield from _text(path, source, POINT_SOURCE_MAX)
    if source is not None and source.casefold() == SYNTHETIC:
        yield _problem(path, "synthetic_point", "an invented point is none", source)


# --- 4 and 5: extremes and assets -------------------------------------------------------------------------------------


def trades(snapshot: Snapshot, _: Source) -> Iterator[Problem]:
    """Ids a JSON reader can hold, names that any target can store, each position once in the portfolio."""
    parts: tuple[tuple[str, tuple[Extreme | Asset, ...]], ...] = (("extremes", snapshot.extremes), ("portfolio", snapshot.assets))
    for part, items in parts:
        for number, one in enumerate(items):
            if one.trade_id is None or not 1 <= one.trade_id <= ID_MAX:
                yield _problem(f"{part}[{number}].trade_id", "id_range", f"not between 1 and {ID_MAX}", one.trade_id)
            yield from _text(f"{part}[{number}].symbol", one.symbol, SYMBOL_MAX)
            yield from _text(f"{part}[{number}].contract_name", one.contract_name, NAME_MAX)
    yield from _twice("portfolio", ((one.trade_id, one.contract_name) for one in snapshot.assets))


# --- 6: size and what stands around -----------------------------------------------------------------------------------


def limits(snapshot: Snapshot, _: Source) -> Iterator[Problem]:
    """No part too large, and the whole no larger than both targets can hold."""
    held = document.counts(snapshot)
    parts = (
        ("rows", held.kpis, KPIS_MAX),
        ("series", held.series, POINTS_MAX),
        ("extremes", held.extremes, EXTREMES_MAX),
        ("portfolio", held.assets, ASSETS_MAX),
        ("extremes.kpi", len({one.kpi for one in snapshot.extremes}), NAMED_MAX),
    )
    for part, count, most in parts:
        if count > most:
            yield _problem(part, "too_many", f"more than {most}", count)
    size = bytes_at_most(snapshot)
    size = document.size(snapshot) if size > DOCUMENT_BYTES_MAX else size
    if size > DOCUMENT_BYTES_MAX:
        yield _problem("", "too_large", f"rows and overlay together above {DOCUMENT_BYTES_MAX} bytes", size)


def bytes_at_most(snapshot: Snapshot) -> int:
    """What ``rows`` and ``overlay`` cannot exceed, whatever their numbers are: most days need not be written out to be measured.

    A character takes at most six bytes, a number of rule 2 at most 27, the frame of an item what its names take.
    """
    rows, points, extremes, assets = snapshot.rows, snapshot.points, snapshot.extremes, snapshot.assets
    others = sum(len(jsoned(dict(one.others)).encode("utf-8", "surrogatepass")) for one in extremes if one.others)
    texts = sum(map(len, snapshot.series)) + len(points) * max((len(one.src or "") for one in points), default=0)
    texts += sum(len(one.kpi + one.value + (one.unit or "") + (one.missing_reason or "")) for one in rows)
    texts += sum(len(one.kpi + one.kpi + (one.symbol or "") + one.contract_name) for one in extremes)
    texts += sum(len((one.symbol or "") + one.contract_name) for one in assets)
    items = len(rows) + len(extremes) + len(assets)
    return FRAME_BYTES + others + 6 * texts + POINT_BYTES * len(points) + ITEM_BYTES * items


def surroundings(snapshot: Snapshot, _: Source) -> Iterator[Problem]:
    """The day, its headline and summary, and what the document says about its making."""
    if snapshot.date < FIRST_DATE:
        yield _problem("date", "bad_date", "before the year 2000", snapshot.date.isoformat())
    yield from _text("headline", snapshot.headline, HEADLINE_MAX)
    yield from _text("summary", snapshot.summary, SUMMARY_MAX, is_blank_allowed=True)
    yield from _text("source", snapshot.source, SOURCE_MAX)
    for part, value in (("watermark", snapshot.watermark), ("provenance", snapshot.provenance)):
        try:
            reading.check_kept(value)
        except Wrong as wrong:
            yield _problem(part, wrong.code, wrong.message)


# --- 7: cross-checks on our own views ---------------------------------------------------------------------------------


def agreement(snapshot: Snapshot, source: Source) -> Iterator[Problem]:
    """Figures that say the same twice must agree; only our own views promise it."""
    if source.values is None or source.watermark is None:
        return
    rows = {one.kpi: one for one in snapshot.rows}
    yield from _cash(rows, source.start_cash)
    told = rows.get(OPEN)
    held = {"rows": None if told is None else told.value_num, "portfolio": len(snapshot.assets)}
    for part, count in held.items():
        if count != source.watermark.open_positions:
            yield _problem(part, "mismatch", f"not the {source.watermark.open_positions} open positions of the watermark", count)
    if snapshot.stage is Stage.FINAL and _is_quiet_after_close(source):
        yield from _last_points(rows, snapshot.points, source)


def _cash(rows: Mapping[str, Kpi], start_cash: Decimal | None) -> Iterator[Problem]:
    """Both figures were rounded by themselves, half a cent each way, so that a cent between them proves nothing."""
    equity, total = (rows[name].value_num if name in rows else None for name in (EQUITY, TOTAL))
    if start_cash is not None and equity is not None and total is not None:
        began = CONTEXT.subtract(equity, total)
        if CONTEXT.subtract(began, start_cash).copy_abs() > CENT:
            yield _problem("rows", "mismatch", f"Equity less Total PnL is not the cash of the start ({start_cash})", began)


def _is_quiet_after_close(source: Source) -> bool:
    """Whether nothing was executed after the close; where the views do not count that, nothing was even recorded after it."""
    mark = source.watermark
    if mark is None:
        return False
    if mark.after_close is not None:
        return mark.after_close == 0
    return mark.last_recorded_at is None or mark.last_recorded_at <= source.day.session_close


def _last_points(rows: Mapping[str, Kpi], points: Iterable[Point], source: Source) -> Iterator[Problem]:
    """The point at the close is the KPI; a series that has none there says nothing about it."""
    for point in points:
        row = rows.get(point.kpi)
        if row is not None and point.t == source.day.valuation_at:
            value = None if row.value_num is None else rounded(row.value_num, row.kind)
            if value != rounded(point.v, row.kind):
                yield _problem(f'series["{point.kpi}"]', "mismatch", f"ends at {point.v} where the KPI is {row.value}", value)


CHECKS: Final[tuple[Check, ...]] = (names, numbers, series, trades, limits, surroundings, agreement)
