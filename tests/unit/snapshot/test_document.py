"""The document of a day, what it says, and the hash of that (snapshot specification, 3)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest

from fillbook.snapshot import document, normalizer
from fillbook.snapshot.model import Counts, Dropped, Snapshot, Source
from tests.support.snapshot_days import (
    CLOSE_AT,
    DAY,
    NAMING,
    NOW,
    PROVENANCE,
    W1,
    asset_row,
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

ROOT = Path(__file__).parents[3]
GOLDEN = json.loads((ROOT / "tests" / "cases" / "snapshot" / "golden.json").read_text("utf-8"))


def snapshot_of(source: Source) -> Snapshot:
    snapshot, _, problems = document.built(source, **NAMING)
    assert problems == ()
    return snapshot


def shuffled(source: Source, seed: int) -> Source:
    """The same rows as a view without an order might give them; extremes keep theirs, which is their rank."""
    chance = random.Random(seed)
    parts: dict[str, Any] = {}
    for part in ("kpis", "series", "portfolio"):
        rows = list(getattr(source, part))
        chance.shuffle(rows)
        parts[part] = tuple(rows)
    return dataclasses.replace(source, **parts)


GOLDEN_DAYS = {"w1": w1, "foreign": foreign, "empty": lambda: w1(kpis=(), series=(), extremes=(), portfolio=(), values={})}


@pytest.mark.parametrize("name", GOLDEN_DAYS)
def test_the_golden_days_say_what_they_always_said(name: str) -> None:
    snapshot = snapshot_of(GOLDEN_DAYS[name]())
    content = document.content(snapshot)
    assert content == GOLDEN[name]["content"]
    assert document.content_sha256(snapshot) == GOLDEN[name]["sha256"] == hashlib.sha256(content.encode()).hexdigest()


def test_the_golden_contents_are_json_with_sorted_keys_and_no_white_space() -> None:
    for golden in GOLDEN.values():
        read = json.loads(golden["content"], parse_float=str, parse_int=str)
        assert list(read) == sorted(read)
        for part in ("rows", "series", "extremes", "assets"):
            assert all(list(item) == sorted(item) for item in read[part])
        assert json.dumps(read, ensure_ascii=False, separators=(",", ":")).replace('"', "") == golden["content"].replace('"', "")


def test_the_hash_is_the_same_in_another_process_under_other_settings() -> None:
    script = (
        "import locale; locale.setlocale(locale.LC_ALL, '')\n"
        "from fillbook.snapshot import document; from tests.support.snapshot_days import NAMING, w1\n"
        "print(document.content_sha256(document.built(w1(), **NAMING)[0]))"
    )
    paths = os.pathsep.join((str(ROOT), str(ROOT / "shared")))
    strange = {"PYTHONHASHSEED": "4711", "LC_ALL": "C", "LC_NUMERIC": "C.UTF-8", "TZ": "Asia/Kathmandu", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **strange}, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == GOLDEN["w1"]["sha256"]


def test_the_hash_does_not_depend_on_the_order_of_anything() -> None:
    snapshot = snapshot_of(w1())
    for seed in range(5):
        other = snapshot_of(shuffled(w1(), seed))
        assert other == snapshot
        turned = dataclasses.replace(
            snapshot,
            rows=snapshot.rows[::-1],
            points=snapshot.points[::-1],
            extremes=snapshot.extremes[::-1],
            assets=snapshot.assets[::-1],
        )
        assert document.content_sha256(turned) == document.content_sha256(other) == GOLDEN["w1"]["sha256"]


def test_padding_of_numbers_and_the_callers_context_change_nothing() -> None:
    padded = value_rows([(*one[:3], one[3] and f"{one[3]}{'' if '.' in one[3] else '.'}000", *one[4:]) for one in W1])
    source = w1(values=padded)
    with localcontext() as narrow:
        narrow.prec = 2
        assert document.content_sha256(snapshot_of(source)) == GOLDEN["w1"]["sha256"]


def test_when_and_by_whom_it_was_made_is_not_what_it_says() -> None:
    snapshot = snapshot_of(w1())
    changes: dict[str, Any] = {"updated_at": NOW, "source": "x", "schema_version": 9, "watermark": None, "provenance": {"a": 1}}
    assert document.content_sha256(dataclasses.replace(snapshot, **changes)) == GOLDEN["w1"]["sha256"]


@pytest.mark.parametrize(
    "change",
    [
        {"headline": "other"},
        {"summary": "other"},
        {"stage": None},
        {"kpi_version": 2},
        {"date": DAY - timedelta(days=1)},
        {"rows": ()},
        {"points": ()},
        {"extremes": ()},
        {"assets": ()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_it_says_is_in_the_hash(change: dict[str, Any]) -> None:
    assert document.content_sha256(dataclasses.replace(snapshot_of(w1()), **change)) != GOLDEN["w1"]["sha256"]


def test_the_document_of_w1_has_the_public_shape() -> None:
    """Scenario 1, as far as the document goes."""
    raw = document.encoded(snapshot_of(w1()))
    body = normalizer.parsed(raw)
    public = ["date", "updated_at", "headline", "summary", "rows", "overlay", "source", "schema_version"]
    assert list(body) == [*public, "kpi_version", "stage", "content_sha256", "watermark", "provenance"]
    assert (body["date"], body["updated_at"], body["stage"]) == ("2026-02-11", "2026-02-11T20:55:04.512Z", "final")
    assert [(row["kpi"], row["value"], row["sort_order"]) for row in body["rows"]] == [
        (name, text, 10 * place) for place, (name, _, _, _, text, _) in enumerate(W1, 1)
    ]
    assert body["rows"][0] == {
        "kpi": "Daily PnL",
        "value": "$200.50",
        "value_num": Decimal("200.5"),
        "kind": "currency",
        "unit": "USD",
        "sort_order": 10,
    }
    assert body["rows"][9]["value_num"] is None
    assert body["rows"][9]["missing_reason"] == "none_closed"
    assert list(body["overlay"]) == ["seriesByKpi", "extremes", "portfolioAssets"]
    assert body["overlay"]["seriesByKpi"]["Equity"][-1] == {
        "t": "2026-02-11T21:00:00.000Z",
        "v": Decimal("100200.5"),
        "src": "live",
    }
    trade = body["overlay"]["extremes"]["byKpi"]["Daily PnL"]["hi"][1]
    assert tuple(trade) == document.EXTREME_COLUMNS
    assert (trade["kpi"], trade["side"], trade["rank"], trade["trade_id"], trade["qty"]) == ("Daily PnL", "hi", 2, 202, None)
    assert body["overlay"]["portfolioAssets"] == [{"trade_id": 101, "symbol": "AAPL", "contract_name": "AAPL"}]
    assert body["content_sha256"] == GOLDEN["w1"]["sha256"]
    assert body["watermark"] == {
        "as_of": "2026-02-11T21:30:00.000Z",
        "valuation_at": "2026-02-11T21:00:00.000Z",
        "last_recorded_at": "2026-02-11T20:55:04.512Z",
        "last_mark_at": "2026-02-11T20:55:00.000Z",
        "actions": 5,
        "closings": 2,
        "open_positions": 1,
        "ledger_seq": {"live": 18344},
    }
    assert body["provenance"] == {"views_refreshed_at": "2026-02-11T21:30:01.000Z", "excluded": {}, **PROVENANCE}
    assert document.encoded(snapshot_of(w1()), sha256=GOLDEN["w1"]["sha256"]) == raw


def test_what_stands_apart_as_text_is_what_stands_in_the_document() -> None:
    snapshot = snapshot_of(w1())
    raw = document.encoded(snapshot).decode()
    assert f'"rows":{document.rows_json(snapshot)},"overlay":{document.overlay_json(snapshot)},"source"' in raw


def test_a_document_of_somebody_elses_views_has_a_null_watermark_and_numbers_from_its_texts() -> None:
    snapshot = snapshot_of(foreign())
    body = normalizer.parsed(document.encoded(snapshot))
    assert body["watermark"] is None
    assert "kpi_version" not in body
    rows = {row["kpi"]: (row["value_num"], row["kind"], row.get("unit")) for row in body["rows"]}
    assert rows["Daily PnL"] == (Decimal("200.5"), "currency", "USD")
    assert rows["Daily return"] == (Decimal("0.2"), "percent", "%")
    assert rows["Avg hold time"] == (3780, "duration", "s")
    assert rows["Avg win"] == (None, "text", None)
    assert snapshot.updated_at == CLOSE_AT


def test_no_float_is_needed_for_numbers_that_no_float_holds() -> None:
    """35 digits go through building, encoding, parsing and normalising, and every number on the way is exact."""
    exact = "123456789012345.12345678901234567891"
    assert str(Decimal(float(exact))) != exact
    source = w1(
        series=(point_row("Equity", CLOSE_AT, exact),),
        extremes=(extreme_row("Equity", "hi", 1, 2**53 - 1, "A", metric_raw=Decimal(f"-{exact}"), qty=Decimal("1E-20")),),
        portfolio=(asset_row(2**53 - 1),),
    )
    raw = document.encoded(snapshot_of(source))
    assert f'"v":{exact}'.encode() in raw
    assert b'"qty":0.00000000000000000001' in raw
    body = normalizer.parsed(raw)
    taken = normalizer.normalized(body, now=NOW).snapshot
    assert str(taken.points[0].v) == exact
    assert str(taken.extremes[0].metric_raw) == f"-{exact}"
    assert (taken.extremes[0].trade_id, taken.assets[0].trade_id) == (2**53 - 1, 2**53 - 1)
    assert not {type(one) for one in every_value(body)} & {float, complex}


def every_value(value: Any) -> list[Any]:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [value, *(found for one in inner for found in every_value(one))]


@pytest.mark.parametrize("value", [1.5, float("nan"), object(), {1, 2}, DAY])
def test_a_float_or_what_json_does_not_know_is_never_written(value: Any) -> None:
    with pytest.raises(TypeError):
        document.encoded(dataclasses.replace(snapshot_of(w1()), provenance={"a": [value]}))


# --- building ---------------------------------------------------------------------------------------------------------


def test_a_missing_value_of_a_series_is_a_gap_and_one_that_is_no_number_a_problem() -> None:
    """Scenario 15."""
    rows = [
        point_row("Equity", CLOSE_AT - timedelta(minutes=at), value) for at, value in enumerate([None, "NaN", "Infinity", "-5"])
    ]
    snapshot, dropped, problems = document.built(w1(series=tuple(rows)), **NAMING)
    assert [(one.path, one.code) for one in problems] == [("series[1].value", "bad_number"), ("series[2].value", "bad_number")]
    assert dropped == Dropped(null_points=1)
    assert [one.v for one in snapshot.points] == [Decimal(-5)]


def test_a_series_of_gaps_keeps_its_name_and_no_point() -> None:
    snapshot = snapshot_of(w1(series=(point_row("Equity", CLOSE_AT, None),)))
    assert (snapshot.series, snapshot.points) == (("Equity",), ())
    assert b'"seriesByKpi":{"Equity":[]}' in document.encoded(snapshot)


def test_two_points_of_one_instant_or_one_millisecond_become_one() -> None:
    """Scenario 16."""
    late = CLOSE_AT - timedelta(minutes=1)
    rows = (
        point_row("Equity", CLOSE_AT, "1", "stale"),
        point_row("Equity", CLOSE_AT, "2", "ledger"),
        point_row("Fees paid", late + timedelta(microseconds=100), "3"),
        point_row("Fees paid", late + timedelta(microseconds=900), "4"),
    )
    for order in (rows, (rows[1], rows[0], rows[2], rows[3])):
        snapshot, dropped, problems = document.built(w1(series=order), **NAMING)
        assert (dropped, problems) == (Dropped(duplicates=2), ())
        assert [(one.kpi, one.t, one.v) for one in snapshot.points] == [("Equity", CLOSE_AT, 2), ("Fees paid", late, 4)]


def test_sides_are_trimmed_and_lowered_and_other_sides_are_problems() -> None:
    """Scenario 17."""
    rows = tuple(
        extreme_row("Equity", side, 1, number, f"S{number}") for number, side in enumerate(["HI ", "mid", None, "lo"], 1)
    )
    snapshot, _, problems = document.built(w1(extremes=rows), **NAMING)
    assert [(one.side, one.trade_id, one.rank) for one in snapshot.extremes] == [("hi", 1, 1), ("lo", 4, 1)]
    assert [(one.path, one.code, one.value) for one in problems] == [
        ("extremes[1].side", "bad_side", "'mid'"),
        ("extremes[2].side", "bad_side", None),
    ]


def test_ranks_are_counted_anew_in_the_order_of_the_view() -> None:
    rows = tuple(extreme_row("Equity", "hi", rank, rank, f"S{rank}") for rank in (3, 7, 9))
    snapshot, dropped, _ = document.built(w1(extremes=(*rows, rows[0])), **NAMING)
    assert [(one.rank, one.trade_id) for one in snapshot.extremes] == [(1, 3), (2, 7), (3, 9)]
    assert dropped.duplicates == 1


@pytest.mark.parametrize(
    ("identity", "code"),
    [(2**53, "id_range"), (0, "id_range"), (-1, "id_range"), (None, "missing"), ("7", "bad_id"), (True, "bad_id")],
)
def test_an_id_no_reader_can_hold_is_a_problem(identity: Any, code: str) -> None:
    """Scenario 17."""
    snapshot, _, problems = document.built(w1(portfolio=(asset_row(identity), asset_row(2**53 - 1))), **NAMING)
    assert [(one.path, one.code) for one in problems] == [("portfolio[0].trade_id", code)]
    assert [one.trade_id for one in snapshot.assets] == [2**53 - 1]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kpis": ({**kpi_rows()[0], "kpi_name": None},)}, ("rows[0].kpi_name", "missing")),
        ({"kpis": ({**kpi_rows()[0], "sort_order": None},)}, ("rows[0].sort_order", "bad_number")),
        ({"kpis": ({**kpi_rows()[0], "display_value": 5},)}, ("rows[0].display_value", "bad_type")),
        ({"kpis": kpi_rows()[:1], "values": {}}, ("rows[0].kpi_name", "missing")),
        (
            {"kpis": kpi_rows()[:1], "values": {"Daily PnL": {**value_rows()["Daily PnL"], "value_kind": "x"}}},
            ("rows[0].value_kind", "bad_kind"),
        ),
        (
            {"kpis": kpi_rows()[:1], "values": {"Daily PnL": {**value_rows()["Daily PnL"], "value_num": Decimal("NaN")}}},
            ("rows[0].value_num", "bad_number"),
        ),
        ({"series": (point_row(None, CLOSE_AT, "1"),)}, ("series[0].kpi_name", "missing")),  # type: ignore[arg-type]
        ({"series": ({**point_row("Equity", CLOSE_AT, "1"), "ts": None},)}, ("series[0].ts", "missing")),
        ({"series": ({**point_row("Equity", CLOSE_AT, "1"), "source": 5},)}, ("series[0].source", "bad_type")),
        ({"extremes": (extreme_row("Equity", "hi", 1, 1, " "),)}, ("extremes[0].contract_name", "contract_missing")),
        ({"extremes": (extreme_row("Equity", "hi", 1, None, "A"),)}, ("extremes[0].trade_id", "missing")),
        ({"extremes": (extreme_row("Equity", "hi", 1, 1, "A", qty=Decimal("Infinity")),)}, ("extremes[0].qty", "bad_number")),
        ({"extremes": ({**extreme_row("Equity", "hi", 1, 1, "A"), "kpi_name": None},)}, ("extremes[0].kpi_name", "missing")),
        ({"portfolio": (asset_row(1, "A", None),)}, ("portfolio[0].contract_name", "contract_missing")),
    ],
)
def test_what_no_snapshot_can_hold_is_left_out_and_told(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    _, _, problems = document.built(w1(**changes), **NAMING)
    assert [(one.path, one.code) for one in problems] == [expected]


def test_a_foreign_number_beyond_the_range_is_a_problem() -> None:
    rows = ({**kpi_rows()[0], "display_value": "1e400"},)
    _, _, problems = document.built(foreign(kpis=rows), **NAMING)
    assert [(one.path, one.code) for one in problems] == [("rows[0].display_value", "number_range")]


def test_data_time_is_the_last_record_used_or_where_the_day_begins() -> None:
    day = work_day(as_of=CLOSE_AT - timedelta(hours=3))
    assert snapshot_of(w1(watermark=watermark(last_recorded_at=None, last_mark_at=None))).updated_at == day.window_start
    assert snapshot_of(foreign(series=())).updated_at == day.window_start
    assert snapshot_of(foreign(day=day)).updated_at == day.as_of, "a point ahead of the run is no data time"


def test_a_blank_headline_is_the_default_one() -> None:
    snapshot, _, _ = document.built(w1(), headline=" ", summary=" s ", provenance={})
    assert (snapshot.headline, snapshot.summary) == ("Fillbook metrics for 2026-02-11", "s")


def test_provenance_is_written_as_a_reader_gets_it() -> None:
    late = [{"action_id": "a", "recorded_at": CLOSE_AT, "quantity": Decimal("1.50")}]
    snapshot, _, _ = document.built(w1(), headline="h", summary="", provenance={"late_actions": tuple(late), "books": ("live",)})
    assert snapshot.provenance is not None
    assert snapshot.provenance["late_actions"] == [
        {"action_id": "a", "recorded_at": "2026-02-11T21:00:00.000Z", "quantity": Decimal("1.5")}
    ]
    assert normalizer.normalized(normalizer.parsed(document.encoded(snapshot)), now=NOW).snapshot == snapshot


def test_whole_numbers_of_a_view_are_decimals_of_the_day() -> None:
    snapshot = snapshot_of(w1(series=({**point_row("Entries opened", CLOSE_AT, "0"), "value": 2},)))
    assert (type(snapshot.points[0].v), snapshot.points[0].v) == (Decimal, 2)


def test_a_full_day_is_counted_as_it_was_read() -> None:
    snapshot = snapshot_of(large())
    assert document.counts(snapshot) == Counts(kpis=25, series=6_000, extremes=400, assets=200)
    taken = normalizer.normalized(normalizer.parsed(document.encoded(snapshot)), now=NOW)
    assert taken.snapshot == snapshot
    assert taken.warnings == ()
