"""What the normalizer takes and what it refuses, one case per row and code of its table (snapshot specification, 5.2 and 5.3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fillbook.runtime.errors import Rejected
from fillbook.snapshot import document, normalizer
from fillbook.snapshot.model import ASSETS_MAX, EXTREMES_MAX, KPIS_MAX, POINTS_MAX, PROBLEMS_MAX, BadSnapshot, Dropped
from fillbook.snapshot.texts import written
from tests.support.snapshot_days import NOW

CASES = Path(__file__).parents[2] / "cases" / "snapshot"
TABLE = [normalizer.parsed(line) for line in (CASES / "normalizer.jsonl").read_bytes().splitlines()]
BASE = {"date": "2026-02-11", "updated_at": "2026-02-11T17:30:00.000Z", "rows": [{"kpi": "K", "value": "1"}]}


def built_from(value: Any) -> Any:
    """The case's value with its long texts written out."""
    if isinstance(value, dict):
        if "$repeat" in value:
            return value["$repeat"][0] * value["$repeat"][1]
        return {key: built_from(one) for key, one in value.items()}
    return [built_from(one) for one in value] if isinstance(value, list) else value


def holds(expected: Any, actual: Any) -> bool:
    """Whether an expectation holds: objects may have more keys, lists may not have more items."""
    if isinstance(expected, Mapping):
        return isinstance(actual, Mapping) and all(key in actual and holds(one, actual[key]) for key, one in expected.items())
    if isinstance(expected, list):
        return isinstance(actual, list) and len(actual) == len(expected) and all(map(holds, expected, actual))
    return bool(expected == actual)


def refused(body: Any) -> BadSnapshot:
    with pytest.raises(BadSnapshot) as found:
        normalizer.normalized(body, now=NOW)
    return found.value


@pytest.mark.parametrize("case", TABLE, ids=[case["case"] for case in TABLE])
def test_a_row_of_the_table_does_what_it_says(case: dict[str, Any]) -> None:
    body = BASE | built_from(case["body"])
    if "wrong" in case:
        refusal = refused(body)
        assert sorted([one.path, one.code] for one in refusal.problems) == sorted(case["wrong"])
        assert (refusal.reason, refusal.status, refusal.problem_count) == ("bad_snapshot", 422, len(case["wrong"]))
        return
    taken = normalizer.normalized(body, now=NOW)
    given = normalizer.parsed(document.encoded(taken.snapshot))
    assert holds(case["gives"], given), given
    assert not set(case.get("lacks", ())) & given.keys()
    if "warns" in case:
        assert set(case["warns"]) <= set(taken.warnings)
        assert len(taken.warnings) == len(set(taken.warnings))
    if "dropped" in case:
        assert taken.dropped == Dropped(**case["dropped"])
    assert normalizer.normalized(given, now=NOW).snapshot == taken.snapshot


@pytest.mark.parametrize("body", [None, 0, 5, True, "x", [], [1]])
def test_what_is_no_object_is_one_problem(body: Any) -> None:
    assert [(one.path, one.code) for one in refused(body).problems] == [("", "not_an_object")]


def test_a_date_alone_is_an_empty_day_for_the_caller_to_judge() -> None:
    taken = normalizer.normalized({"date": "2026-02-11"}, now=NOW)
    assert document.is_empty(taken.snapshot)
    assert written(taken.snapshot.updated_at) == written(NOW)
    assert not document.is_empty(normalizer.normalized(BASE, now=NOW).snapshot)


def test_every_other_spelling_has_the_hash_of_the_plain_one() -> None:
    """Scenario 31."""
    plain = normalizer.parsed((CASES / "plain_spelling.json").read_bytes())
    other = normalizer.parsed((CASES / "other_spelling.json").read_bytes())
    taken = normalizer.normalized(plain, now=NOW)
    assert normalizer.normalized(other, now=NOW).content_sha256 == taken.content_sha256
    assert taken.content_sha256 == document.content_sha256(taken.snapshot)
    kept = normalizer.normalized(other | {"content_sha256": taken.content_sha256}, now=NOW)
    assert kept.claimed_hash == taken.content_sha256


@pytest.mark.parametrize(
    ("part", "overlay", "most"),
    [
        ("overlay.seriesByKpi", lambda count: {"seriesByKpi": {"a": [{}] * (count - 5), "b": [{}] * 5}}, POINTS_MAX),
        (
            "overlay.extremes.byKpi",
            lambda count: {"extremes": {"byKpi": {"a": {"hi": [{}] * (count - 1), "lo": [{}]}}}},
            EXTREMES_MAX,
        ),
        (
            'overlay.extremes.byKpi["a"].items',
            lambda count: {"extremes": {"byKpi": {"a": {"items": [{}] * count}}}},
            EXTREMES_MAX,
        ),
        ("overlay.assets", lambda count: {"assets": [{}] * count}, ASSETS_MAX),
        ("overlay.series", lambda count: {"series": {f"{name}": [] for name in range(count)}}, 1_000),
    ],
)
def test_more_than_a_day_may_hold_is_413_with_the_part_named(part: str, overlay: Any, most: int) -> None:
    refusal = refused(BASE | {"overlay": overlay(most + 1)})
    assert (refusal.reason, refusal.status) == ("too_many", 413)
    assert [(one.path, one.code) for one in refusal.problems] == [(part, "too_many")]
    if most == ASSETS_MAX:
        assert refused(BASE | {"overlay": overlay(most)}).status == 422


def test_rows_beyond_the_limit_are_413() -> None:
    rows = [{"kpi": str(number), "value": "1"} for number in range(KPIS_MAX + 1)]
    assert [(one.path, one.code) for one in refused(BASE | {"rows": rows}).problems] == [("rows", "too_many")]
    assert len(normalizer.normalized(BASE | {"rows": rows[1:]}, now=NOW).snapshot.rows) == KPIS_MAX


def test_all_problems_are_counted_and_a_hundred_are_listed() -> None:
    refusal = refused(BASE | {"rows": [], "overlay": {"assets": [5] * 250}})
    assert (len(refusal.problems), refusal.problem_count) == (PROBLEMS_MAX, 250)


def test_a_problem_shows_at_most_80_harmless_characters() -> None:
    rows = [{"kpi": "a", "kind": "\ud800" * 300}, {"kpi": "b", "value_num": 10**400}, {"kpi": "c", "value_num": {"x": 1}}]
    shown = [one.value for one in refused(BASE | {"rows": rows}).problems]
    assert shown == [('"' + "\\ud800" * 80)[:80], "a very large integer", "{…}"]
    assert all(text is not None and text.encode() for text in shown)


def test_at_most_fifty_duplicates_are_named() -> None:
    points = [{"t": NOW.timestamp().__trunc__() - 60 * at, "v": 1} for at in range(70)]
    taken = normalizer.normalized(BASE | {"overlay": {"series": {"K": points + points}}}, now=NOW)
    assert taken.dropped.duplicates == 70
    assert len([one for one in taken.warnings if one.startswith("duplicate")]) == 50


def test_a_day_ahead_is_counted_in_new_york() -> None:
    """At 03:00 UTC it is still the evening before in New York."""
    now = NOW + timedelta(hours=6)
    assert now.date().isoformat() == "2026-02-12"
    with pytest.raises(BadSnapshot):
        normalizer.normalized(BASE | {"date": "2026-02-19"}, now=now)


def deep(levels: int) -> bytes:
    return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"{'a':1}",
        b'{"a":1}{}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\xff"}',
        '{"a":"\ud800"}'.encode("utf-8", "surrogatepass"),
        '{"a":1}'.encode("utf-16"),
        b'{"a":1,"a":1}',
        b'{"x":{"a":1,"a":2}}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":"\x01"}',
        deep(13),
        b"[" * 13 + b"]" * 13,
        b"[" * 100_000,
    ],
)
def test_what_is_no_strict_json_is_refused(raw: bytes) -> None:
    """Scenario 37."""
    with pytest.raises(Rejected) as found:
        normalizer.parsed(raw)
    assert (found.value.reason, found.value.status) == ("not_json", 400)


def test_json_at_its_limits_is_read_exactly() -> None:
    assert normalizer.parsed(deep(12)) == json.loads(deep(12))
    assert normalizer.parsed(b"[" * 12 + b"]" * 12) == json.loads(b"[" * 12 + b"]" * 12)
    read = normalizer.parsed(b' {"a":9007199254740993,"b":0.1000000000000000000001,"c":null,"d":1e400,"e":"\\ud83d\\ude00"}\n')
    assert (read["a"], str(read["b"]), read["c"], read["e"]) == (9007199254740993, "0.1000000000000000000001", None, "😀")
    assert read["d"] == Decimal("1e400")


def test_numbers_longer_than_any_that_fits_cost_nothing_and_fit_nowhere() -> None:
    raw = b'{"date":"2026-02-11","rows":[{"kpi":"a","value":%b},{"kpi":"b","value":1.%b}],"note":%b}' % ((b"9" * 100_000,) * 3)
    refusal = refused(normalizer.parsed(raw))
    assert [(one.path, one.code) for one in refusal.problems] == [
        ("rows[0].value", "number_range"),
        ("rows[1].value", "number_range"),
    ]


def test_a_float_of_somebody_elses_parser_is_no_number_and_is_not_kept() -> None:
    rows = [{"kpi": "a", "value": 1.5}]
    trade = {"contract": "A", "qty": 1.5, "note": 0.1}
    overlay = {"series": {"a": [{"t": 1770822000, "v": 1.5}]}, "extremes": {"byKpi": {"a": {"hi": [trade]}}}}
    codes = [(one.path.rpartition(".")[2], one.code) for one in refused(BASE | {"rows": rows, "overlay": overlay}).problems]
    assert codes == [("value", "bad_type"), ("v", "bad_number"), ("qty", "bad_number"), ("note", "bad_type")]
