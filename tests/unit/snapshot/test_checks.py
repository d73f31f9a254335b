"""What is checked before a day is sent, and cannot be forced (snapshot specification, 4.3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.snapshot import checks, document
from fillbook.snapshot.model import PROBLEMS_MAX, Problem, Snapshot, Source
from tests.support.snapshot_days import (
    CLOSE_AT,
    NAMING,
    W1,
    asset_row,
    counted,
    extreme_row,
    foreign,
    kpi_rows,
    large,
    point_row,
    value_rows,
    w1,
    watermark,
    work_day,
)

Change = Callable[[Snapshot], Snapshot]


def checked(source: Source, change: Change = lambda snapshot: snapshot) -> list[tuple[str, str]]:
    snapshot, _, problems = document.built(source, **NAMING)
    assert problems == ()
    return [(one.path, one.code) for one in checks.validated(change(snapshot), source)]


def w1_with(place: int, **columns: Any) -> Source:
    """W1 with one KPI renamed or shown otherwise, in the summary and in its companion."""
    row = {**kpi_rows()[place], **columns}
    values = {**value_rows(), row["kpi_name"]: {**value_rows()[W1[place][0]], "kpi_name": row["kpi_name"]}}
    return w1(kpis=(*kpi_rows()[:place], row, *kpi_rows()[place + 1 :]), values=values, series=())


@pytest.mark.parametrize("source", [w1(), foreign(), large(points=450), w1(series=()), foreign(kpis=(), series=(), extremes=())])
def test_a_sound_day_has_no_problem(source: Source) -> None:
    assert checked(source) == []


@pytest.mark.parametrize(
    "name", ["P&L", "K" * 101, "", " Trims taken", "Trims taken ", "Cafe\u0301", "Café", "a\u0000", "a\ud800", "x\n"]
)
def test_a_name_that_is_not_plain_is_one_problem(name: str) -> None:
    """Scenario 17."""
    assert checked(w1_with(13, kpi_name=name)) == [("rows[13].kpi", "bad_name")]


def test_a_name_of_a_hundred_plain_characters_is_sound() -> None:
    assert checked(w1_with(13, kpi_name="Trims (taken), 100%".replace(",", "") + "/:+-_." * 13)) == []


def test_names_and_orders_come_once() -> None:
    twice = w1(kpis=(*kpi_rows(), kpi_rows()[13]))
    assert checked(twice) == [("rows.kpi", "not_unique"), ("rows.sort_order", "not_unique")]


@pytest.mark.parametrize(("order", "is_sound"), [(1, True), (9_999, True), (0, False), (10_000, False), (-10, False)])
def test_orders_lie_between_1_and_9999(order: int, is_sound: bool) -> None:
    assert bool(checked(w1_with(13, sort_order=order))) is not is_sound


@pytest.mark.parametrize(
    ("text", "codes"), [("x" * 64, []), ("x" * 65, ["too_long"]), ("a\tb", ["bad_text"]), ("\ud800", ["bad_text"])]
)
def test_display_texts_are_short_and_storable(text: str, codes: list[str]) -> None:
    assert [code for _, code in checked(w1_with(13, display_value=text))] == codes


def test_names_of_series_and_extremes_are_plain_too() -> None:
    source = foreign(
        kpis=(*kpi_rows(), {**kpi_rows()[0], "kpi_name": "P&L", "sort_order": 1}),
        series=(point_row("P&L", CLOSE_AT, "1"),),
        extremes=(extreme_row("Q&A", "hi", 1, 1, "A"),),
    )
    assert checked(source) == [("rows[0].kpi", "bad_name"), ('series["P&L"]', "bad_name"), ('extremes["Q&A"]', "bad_name")]


@pytest.mark.parametrize(
    ("number", "codes"),
    [
        ("999999999999999.9999999999", []),
        ("1000000000000000", ["number_range"]),
        ("-1e15", ["number_range"]),
        ("0.12345678901", ["number_range"]),
        ("0.12345678900", []),
    ],
)
def test_numbers_are_below_a_quadrillion_with_ten_decimals(number: str, codes: list[str]) -> None:
    exact = Decimal(number)
    values = {**value_rows(), "Trims taken": {**value_rows()["Trims taken"], "value_num": exact}}
    assert [code for _, code in checked(w1(values=values))] == codes
    early = CLOSE_AT - timedelta(hours=1)
    assert [code for _, code in checked(w1(series=(point_row("Equity", early, number),)))] == codes
    trade = extreme_row("Equity", "hi", 1, 1, "A", liquidity_drag=exact)
    assert [code for _, code in checked(w1(extremes=(trade,)))] == codes


def test_on_our_own_views_a_number_is_missing_exactly_where_its_text_is() -> None:
    lost = {**value_rows(), "Trims taken": {**value_rows()["Trims taken"], "value_num": None}}
    assert checked(w1(values=lost)) == [("rows[13].value_num", "mismatch")]
    assert checked(w1_with(13, display_value="—")) == [("rows[13].value_num", "mismatch")]
    assert checked(foreign(kpis=({**kpi_rows()[0], "display_value": "so so"},), series=())) == []


def test_a_series_belongs_to_a_row() -> None:
    assert checked(w1(series=(point_row("Mood", CLOSE_AT, "1"),))) == [('series["Mood"]', "no_row")]


def test_points_lie_in_the_window() -> None:
    day = work_day()
    times = [
        day.window_start,
        day.window_end - timedelta(milliseconds=1),
        day.window_start - timedelta(milliseconds=1),
        day.window_end,
    ]
    assert checked(w1(series=tuple(point_row("Fees paid", at, "1") for at in times))) == [
        ("series[0].t", "time_outside"),
        ("series[3].t", "time_outside"),
    ]


@pytest.mark.parametrize(
    ("source", "codes"),
    [
        ("x" * 32, []),
        (None, []),
        ("x" * 33, ["too_long"]),
        ("synthetic", ["synthetic_point"]),
        ("SYNTHETIC", ["synthetic_point"]),
    ],
)
def test_a_point_says_where_it_comes_from_and_is_never_invented(source: str | None, codes: list[str]) -> None:
    rows = tuple(point_row("Fees paid", CLOSE_AT - timedelta(minutes=at), "4.50", source) for at in range(3))
    assert [code for _, code in checked(w1(series=rows))] == codes


def test_symbols_and_contracts_can_be_stored_anywhere() -> None:
    trade = {**extreme_row("Equity", "hi", 1, 1, "S" * 33), "contract_name": "C" * 101}
    assert checked(w1(extremes=(trade,))) == [("extremes[0].symbol", "too_long"), ("extremes[0].contract_name", "too_long")]
    assert checked(w1(portfolio=(asset_row(1, "A\u0007", "B\ud800"),))) == [
        ("portfolio[0].symbol", "bad_text"),
        ("portfolio[0].contract_name", "bad_text"),
    ]
    assert checked(w1(portfolio=(asset_row(1, None, "C" * 100),))) == []


@pytest.mark.parametrize("identity", [None, 0, 2**53])
def test_ids_are_checked_again_whoever_built_the_day(identity: int | None) -> None:
    def spoilt(snapshot: Snapshot) -> Snapshot:
        return dataclasses.replace(snapshot, extremes=(dataclasses.replace(snapshot.extremes[0], trade_id=identity),))

    assert checked(w1(), spoilt) == [("extremes[0].trade_id", "id_range")]


def test_a_position_stands_once_in_the_portfolio() -> None:
    twice = {**counted(2), "portfolio": (asset_row(1), asset_row(1)), "watermark": watermark(open_positions=2)}
    assert checked(w1(**twice)) == [("portfolio", "not_unique")]


def test_no_part_is_larger_than_both_targets_can_hold() -> None:
    rows = tuple({**kpi_rows()[0], "kpi_name": f"K{number}", "sort_order": number} for number in range(1, 202))
    assert checked(foreign(kpis=rows, series=())) == [("rows", "too_many")]
    held = tuple(asset_row(number) for number in range(1, 5_002))
    assert checked(foreign(portfolio=held)) == [("portfolio", "too_many")]
    named = tuple(extreme_row(f"K{number}", "hi", 1, 1, "A") for number in range(1_001))
    assert checked(foreign(extremes=named)) == [("extremes.kpi", "too_many")]


def test_a_document_of_more_than_1900000_bytes_is_not_sent() -> None:
    """Scenario 15: no part is too large, and the whole is; bytes count, not characters."""
    held = tuple(asset_row(number, "測" * 32, "測" * 100) for number in range(1, 4_501))
    assert checked(foreign(portfolio=held)) == [("", "too_large")]
    assert checked(foreign(portfolio=held[:4_000])) == []


def test_a_day_is_written_out_to_be_measured_only_where_it_might_be_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "size", lambda _: pytest.fail("a usual day was written out"))
    assert checked(large(6_000, assets=200)) == []
    monkeypatch.setattr(checks, "DOCUMENT_BYTES_MAX", 100_000)
    with pytest.raises(pytest.fail.Exception):
        checked(large(450))


def test_what_stands_around_the_figures_is_checked_too() -> None:
    def spoilt(snapshot: Snapshot) -> Snapshot:
        provenance = {"forced": [{"reason": "a\u0000"}]}
        return dataclasses.replace(
            snapshot, headline="", summary="s" * 2_001, source="x\n", provenance=provenance, date=date(1999, 1, 1)
        )

    assert sorted(checked(w1(), spoilt)) == [
        ("date", "bad_date"),
        ("headline", "missing"),
        ("provenance", "bad_text"),
        ("source", "bad_text"),
        ("summary", "too_long"),
    ]


# --- cross-checks -----------------------------------------------------------------------------------------------------


def test_equity_less_total_is_the_cash_of_the_start() -> None:
    assert checked(w1(start_cash=Decimal("100000.01"))) == [], "100.005 and 99.995 are both rounded to 100.00"
    assert checked(w1(start_cash=Decimal("100000.011"))) == [("rows", "mismatch")]
    assert checked(w1(start_cash=Decimal("99999.98"))) == [("rows", "mismatch")]
    assert checked(w1(start_cash=None)) == []


def test_portfolio_open_positions_and_watermark_agree() -> None:
    assert checked(w1(watermark=watermark(open_positions=2))) == [("rows", "mismatch"), ("portfolio", "mismatch")]
    assert checked(w1(portfolio=())) == [("portfolio", "mismatch")]
    assert checked(foreign(portfolio=())) == []


def test_the_last_point_of_a_final_day_is_the_kpi() -> None:
    series = (point_row("Equity", CLOSE_AT, "100200.51"),)
    assert checked(w1(series=series)) == [('series["Equity"]', "mismatch")]
    missing = (point_row("Avg win", CLOSE_AT, "1"),)
    assert checked(w1(series=missing)) == [('series["Avg win"]', "mismatch")]
    before = (point_row("Equity", CLOSE_AT - timedelta(minutes=1), "7"),)
    assert checked(w1(series=before)) == [], "a series without a point at the close says nothing about it"
    assert checked(w1(series=(point_row("Equity", CLOSE_AT, "100200.5049"),))) == [], "compared as the KPI is rounded"


def test_an_action_after_the_close_may_part_point_and_kpi() -> None:
    series = (point_row("Equity", CLOSE_AT, "7"),)
    late = CLOSE_AT + timedelta(minutes=5)
    assert checked(w1(series=series, watermark=watermark(after_close=1))) == []
    assert checked(w1(series=series, watermark=watermark(after_close=None, last_recorded_at=late))) == []
    assert checked(w1(series=series, watermark=watermark(after_close=None))) == [('series["Equity"]', "mismatch")]
    intraday = work_day(as_of=CLOSE_AT - timedelta(hours=1))
    assert checked(w1(day=intraday, series=series)) == []


# --- the list ---------------------------------------------------------------------------------------------------------


def test_all_problems_are_listed_and_no_more_than_a_hundred() -> None:
    far = work_day().window_end
    rows = tuple(point_row("Mood", far + timedelta(minutes=at), "1e16") for at in range(60))
    assert len(checked(w1(series=rows[:20]))) == 41
    assert len(checked(w1(series=rows))) == PROBLEMS_MAX


def test_a_problem_shows_what_stood_there() -> None:
    snapshot, _, _ = document.built(w1_with(13, kpi_name="P&L"), **NAMING)
    assert checks.validated(snapshot, w1()) == (
        Problem(
            path="rows[13].kpi",
            code="bad_name",
            message="1 to 100 letters, digits, blanks and _.:/%()+-, composed and trimmed",
            value='"P&L"',
        ),
    )
