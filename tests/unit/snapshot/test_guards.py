"""What refuses a day that is sound and yet cannot be right, unless a person forces it (snapshot specification, 4.4)."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.snapshot import checks, document
from fillbook.snapshot.checks import History, Published
from fillbook.snapshot.model import Counts, Guard, Missing, Source
from tests.support.snapshot_days import (
    CLOSE_AT,
    DAY,
    NAMING,
    NUMBERS,
    OPEN_AT,
    W1,
    asset_row,
    counted,
    foreign,
    kpi_rows,
    large,
    lost,
    series_rows,
    value_rows,
    w1,
    watermark,
    without,
    work_day,
)

EARLY = work_day(as_of=OPEN_AT - timedelta(minutes=30), valuation_at=OPEN_AT - timedelta(minutes=30))
MIDDAY = work_day(as_of=OPEN_AT + timedelta(hours=3), valuation_at=OPEN_AT + timedelta(hours=3))
NONE_OPEN = {**counted(0), "portfolio": (), "watermark": watermark(open_positions=0)}


def guards(source: Source, history: History = History()) -> list[Guard]:  # noqa: B008 -- a frozen value
    snapshot, _, _ = document.built(source, **NAMING)
    return [guard for guard, _ in checks.guarded(snapshot, source, history)]


def published(source: Source, days_before: int = 0, **changes: Any) -> Published:
    snapshot, _, _ = document.built(source, **NAMING)
    kept = checks.remembered(snapshot, source)
    return dataclasses.replace(kept, date=kept.date - timedelta(days=days_before), **changes)


@pytest.mark.parametrize("source", [w1(), foreign(), large(points=450), w1(**NONE_OPEN)])
def test_a_full_day_passes_without_a_history_and_after_itself(source: Source) -> None:
    assert guards(source) == []
    itself = published(source)
    assert guards(source, History(last=itself, previous=itself, recent=(itself,) * 5, expected=tuple(NUMBERS))) == []


# --- empty_view -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"kpis": (), "values": None},
        lost(*NUMBERS),
        {"series": ()},
        {"series": (), "day": MIDDAY},
        {"portfolio": ()},
        {"extremes": ()},
        {"extremes": (), **NONE_OPEN},
        {"kpis": (), "series": (), "extremes": (), "portfolio": (), "values": {}},
    ],
)
def test_an_empty_part_of_a_day_that_had_something_refuses(changes: dict[str, Any]) -> None:
    """Scenario 7."""
    assert Guard.EMPTY_VIEW in guards(w1(**changes))


@pytest.mark.parametrize("changes", [{"series": ()}, {"portfolio": ()}, {"extremes": ()}])
def test_an_empty_part_of_somebody_elses_day_refuses_too(changes: dict[str, Any]) -> None:
    assert guards(foreign(**changes)) == [Guard.EMPTY_VIEW]


def test_before_the_open_a_day_needs_no_series_but_something() -> None:
    """Scenario 8: open positions are published; an empty desk is not, and yesterday stays the latest."""
    assert guards(w1(day=EARLY, series=(), watermark=watermark(actions=0))) == []
    nothing = {**NONE_OPEN, "series": (), "extremes": (), "watermark": watermark(open_positions=0, actions=0)}
    assert guards(w1(day=EARLY, **nothing)) == [Guard.EMPTY_VIEW]


def test_a_quiet_desk_at_the_close_is_no_empty_one() -> None:
    quiet = {**NONE_OPEN, "extremes": (), "watermark": watermark(open_positions=0, actions=0)}
    assert guards(w1(**quiet)) == []


# --- missing_kpi ------------------------------------------------------------------------------------------------------


def test_a_kpi_of_the_catalog_without_a_row_refuses() -> None:
    """Scenario 9."""
    source = w1(kpis=without(w1(), "Win rate"))
    assert guards(source) == [Guard.MISSING_KPI], "its companion still names it"
    values = {name: row for name, row in value_rows().items() if name != "Win rate"}
    assert guards(dataclasses.replace(source, values=values)) == []
    assert guards(dataclasses.replace(source, values=values), History(expected=tuple(NUMBERS))) == [Guard.MISSING_KPI]


def test_without_a_catalog_the_last_good_publication_tells_what_to_expect() -> None:
    source = foreign(kpis=without(foreign(), "Win rate"))
    assert guards(source) == []
    assert guards(source, History(last=published(foreign()))) == [Guard.MISSING_KPI]
    assert guards(source, History(previous=published(foreign(), 1))) == [Guard.MISSING_KPI]
    assert guards(source, History(last=published(source), previous=published(foreign(), 1))) == []


# --- null_rise --------------------------------------------------------------------------------------------------------


def test_three_more_faults_refuse_and_two_do_not() -> None:
    """Scenario 9."""
    good = History(last=published(w1()))
    marks = ("Unrealized PnL", "Gross exposure", "Net exposure")
    assert guards(w1(**lost(*marks)), good) == [Guard.NULL_RISE]
    assert guards(w1(**lost(*marks[:2])), good) == []
    assert guards(w1(**lost(*marks)), History(previous=published(w1(), 1))) == [Guard.NULL_RISE]
    assert guards(w1(**lost(*marks)), History(last=published(w1(**lost(*marks))), previous=published(w1(), 1))) == []
    assert guards(w1(**lost(*marks))) == []


@pytest.mark.parametrize("reason", list(Missing))
def test_what_a_quiet_day_lacks_is_no_fault(reason: Missing) -> None:
    source = w1(**lost("Win rate", "Profit factor", "Expectancy", "Avg loss", "Avg hold time", reason=reason))
    is_fault = reason in (Missing.NO_MARK, Missing.UNKNOWN_COST, Missing.NO_QUOTE)
    assert guards(source, History(last=published(w1()))) == ([Guard.NULL_RISE] if is_fault else [])


def test_a_missing_value_without_a_reason_counts_as_a_fault() -> None:
    names = ("Win rate", "Profit factor", "Expectancy")
    rows = tuple({**row, "display_value": "—"} if row["kpi_name"] in names else row for row in kpi_rows())
    assert guards(foreign(kpis=rows), History(last=published(foreign()))) == [Guard.NULL_RISE]


# --- sharp_fall -------------------------------------------------------------------------------------------------------


def test_less_than_half_of_the_last_publication_refuses() -> None:
    """Scenario 10: 40 % of the series of the last good run."""
    last = History(last=published(w1(series=series_rows(minutes=10))))
    assert guards(w1(series=series_rows(minutes=4)), last) == [Guard.SHARP_FALL]
    assert guards(w1(series=series_rows(minutes=5)), last) == []
    twice = published(w1(), counts=Counts(kpis=51, series=1))
    assert guards(w1(), History(last=twice)) == [Guard.SHARP_FALL]


def test_closing_every_position_is_legitimate_where_the_watermark_proves_it() -> None:
    """Scenario 10."""
    last = History(last=published(large(points=450)))
    assert guards(w1(series=large(points=450).series, **NONE_OPEN), last) == []
    stripped = foreign(portfolio=(asset_row(1),), series=large(points=450).series)
    assert guards(stripped, History(last=published(dataclasses.replace(large(points=450), watermark=None)))) == [
        Guard.SHARP_FALL,
        Guard.SHARP_FALL,
    ]


def sessions(*series: int, minutes: int = 390) -> tuple[Published, ...]:
    return tuple(
        published(w1(), 1 + place, counts=Counts(kpis=25, series=count, extremes=4, assets=1), minutes=minutes)
        for place, count in enumerate(series)
    )


def test_a_first_publication_is_held_against_the_middle_of_the_last_sessions() -> None:
    day = w1(series=series_rows(minutes=3))
    assert len(day.series) == 24
    assert guards(day, History(recent=sessions(81, 81, 81))) == [Guard.SHARP_FALL]
    assert guards(day, History(recent=sessions(80, 80, 80))) == []
    assert guards(day, History(recent=sessions(81, 81))) == [], "two sessions are not enough"
    assert guards(day, History(recent=sessions(1, 1, 81, 81, 81))) == [Guard.SHARP_FALL]
    assert guards(day, History(recent=sessions(1, 1, 1, 81, 81))) == []
    assert guards(day, History(recent=sessions(1, 80, 84, 90))) == [Guard.SHARP_FALL], "82 lie in the middle of four"
    assert guards(day, History(last=published(day), recent=sessions(81, 81, 81))) == [], "no first publication"


def test_a_small_median_says_nothing() -> None:
    day = w1(series=series_rows(("Equity",), minutes=1))
    assert guards(day, History(recent=sessions(19, 19, 19))) == []
    assert guards(day, History(recent=sessions(20, 20, 20))) == [Guard.SHARP_FALL]


def test_points_are_expected_by_the_minutes_of_the_session() -> None:
    """A half day has 210 of 390 minutes, and midday is told from midday whenever it is run."""
    half = work_day(session_close=OPEN_AT + timedelta(minutes=210), valuation_at=OPEN_AT + timedelta(minutes=210))
    day = w1(day=half, series=series_rows(minutes=3))
    assert guards(day, History(recent=sessions(148, 148, 148))) == []
    assert guards(day, History(recent=sessions(151, 151, 151))) == [Guard.SHARP_FALL]
    assert guards(day, History(recent=sessions(81, 81, 81, minutes=210))) == [Guard.SHARP_FALL]


def test_before_the_open_no_points_are_expected() -> None:
    early = w1(day=EARLY, series=(), watermark=watermark(actions=0))
    assert published(early).minutes == 0
    assert guards(early, History(recent=(published(early, 1),) * 3)) == []


# --- older ------------------------------------------------------------------------------------------------------------


def test_a_day_older_than_its_last_publication_refuses() -> None:
    last = published(w1())
    assert guards(w1(), History(last=last)) == []
    assert guards(w1(), History(last=dataclasses.replace(last, updated_at=last.updated_at + timedelta(milliseconds=1)))) == [
        Guard.OLDER
    ]


# --- what is kept -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [w1(), foreign(), w1(day=EARLY, series=())])
def test_what_is_remembered_survives_json(source: Source) -> None:
    kept = published(source)
    assert checks.from_json(json.loads(json.dumps(checks.to_json(kept)))) == kept
    assert kept.counts == Counts(kpis=25, series=len(source.series), extremes=4, assets=1)


def test_every_reason_is_a_sentence_that_names_what_it_saw() -> None:
    source = w1(kpis=without(w1(), "Win rate"), series=series_rows(minutes=1))
    snapshot, _, _ = document.built(source, **NAMING)
    history = History(last=published(w1(series=series_rows(minutes=10)), updated_at=CLOSE_AT))
    assert dict(checks.guarded(snapshot, source, history)) == {
        Guard.MISSING_KPI: "no row for Win rate",
        Guard.SHARP_FALL: "series: 8, 80 in the last publication of this date",
        Guard.OLDER: "updated at 2026-02-11T20:55:04.512Z, the last publication at 2026-02-11T21:00:00.000Z",
    }
    faults = w1(**lost("Unrealized PnL", "Gross exposure", "Net exposure"))
    hurt, _, _ = document.built(faults, **NAMING)
    told = dict(checks.guarded(hurt, faults, History(last=published(w1()))))
    assert told == {
        Guard.NULL_RISE: "3 KPIs are missing for a fault, 0 on 2026-02-11; new: Gross exposure, Net exposure, Unrealized PnL"
    }


def test_w1_of_the_guards_is_w1_of_the_specification() -> None:
    assert [Decimal(number) for _, _, _, number, _, _ in W1 if number][:4] == [
        Decimal("200.5"),
        77,
        Decimal("123.5"),
        Decimal("200.5"),
    ]
    assert (len(W1), DAY.isoformat()) == (25, "2026-02-11")
