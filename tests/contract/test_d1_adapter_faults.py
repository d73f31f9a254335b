"""The D1 adapter against a sick fake: every knob, each once and some for ever; what is not proven does not count as stored."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from fillbook.snapshot.d1 import CALLS_MAX
from fillbook.snapshot.sources import FallbackEnd, FallbackKind
from infra.local.d1 import D1Fake
from infra.local.d1_store import TABLES
from infra.local.snapshot_faults import KNOBS
from tests.support.snapshot_d1 import COUNTS, NEW, OLD, STORED, emptied, ended, holds, steps, write


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[D1Fake]:
    with D1Fake(tmp_path_factory.mktemp("d1") / "d1.sqlite") as d1:
        yield d1


@pytest.fixture
def d1(served: D1Fake) -> D1Fake:
    return emptied(served)


# --- a sick D1 (scenario 22, every knob) -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 10))
def test_a_batch_that_stops_without_rollback_is_sent_again_and_proven(d1: D1Fake, n: int) -> None:
    write(d1, OLD)
    d1.forget_calls()
    d1.fault("stop", n=n, rollback=False)
    assert write(d1) == ended(FallbackKind.STORED, 2)
    assert steps(d1) == "WRWR"
    assert holds(d1, NEW)


@pytest.mark.parametrize("n", range(6, 10))
def test_a_d1_that_stops_at_the_same_statement_every_time_still_comes_to_hold_the_day(d1: D1Fake, n: int) -> None:
    """A batch after a look carries what differs, so each gets further than the one before."""
    write(d1, OLD)
    d1.forget_calls()
    d1.fault("stop", n=n, rollback=False, count=None)
    end = write(d1)
    assert (end.kind, end.verified, end.is_torn) == (FallbackKind.STORED, True, False)
    assert holds(d1, NEW)
    sizes = [len(call["statements"]) for call in d1.calls()[::2]]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1] < n) == (9, True)


@pytest.mark.parametrize("n", range(2, 6))
def test_a_day_that_is_left_in_parts_is_no_success_and_is_said_to_be_torn(d1: D1Fake, n: int) -> None:
    write(d1, OLD)
    d1.fault("stop", n=n, rollback=False, count=None)
    end = write(d1)
    assert (end.kind, end.attempts, end.verified, end.is_torn) == (FallbackKind.FAILED, 3, False, True)
    assert not holds(d1, NEW)
    d1.faults.rules.clear()
    assert write(d1) == STORED, "the same again makes it whole"
    assert holds(d1, NEW)


def test_a_day_that_was_torn_and_cannot_be_reached_again_stays_torn(d1: D1Fake) -> None:
    d1.fault("stop", n=4, rollback=False)
    d1.fault("status", on="write", status=401)
    assert write(d1) == ended(FallbackKind.REFUSED, 2, "http_401 10000", is_torn=True)


def test_a_batch_that_stops_with_rollback_leaves_the_old_day_until_it_is_sent_again(d1: D1Fake) -> None:
    write(d1, OLD)
    d1.fault("stop", n=7, count=3)
    assert write(d1) == ended(FallbackKind.FAILED, 3, "http_500 7500; the archive differs")
    assert holds(d1, OLD)
    assert write(d1) == STORED


def test_what_is_acknowledged_and_not_written_is_noticed_three_times_and_then_given_up(d1: D1Fake) -> None:
    write(d1, OLD)
    d1.forget_calls()
    d1.fault("forget", count=3)
    assert write(d1) == ended(FallbackKind.FAILED, 3, "the archive differs")
    assert steps(d1) == "WRWRWR"
    assert holds(d1, OLD)
    assert write(d1) == STORED


ALTERED: list[tuple[str, str | None]] = [
    *((table, None) for table in TABLES),
    ("metrics_daily", "headline"),
    ("metrics_daily", "rows_json"),
    ("metrics_kpi_values", "value_text"),
    ("metrics_series_points", "src"),
    ("metrics_extremes_items", "symbol"),
    ("metrics_extremes_items", "item_json"),
    ("metrics_portfolio_assets", "contract_name"),
]


@pytest.mark.parametrize(("table", "column"), ALTERED)
def test_one_altered_row_is_noticed_whatever_is_altered(d1: D1Fake, table: str, column: str | None) -> None:
    d1.fault("alter", table=table, column=column)
    assert write(d1) == ended(FallbackKind.STORED, 2)
    assert holds(d1, NEW)


def test_a_day_that_stays_altered_is_a_failure_that_names_the_part(d1: D1Fake) -> None:
    d1.fault("alter", count=None)
    assert write(d1) == ended(FallbackKind.FAILED, 3, "points differ", is_torn=True)


@pytest.mark.parametrize(
    ("kind", "rule", "end"),
    [
        ("reset_after", {}, ended(FallbackKind.STORED, 1)),
        ("reset_before", {}, ended(FallbackKind.STORED, 2)),
        ("hang", {"seconds": 3}, ended(FallbackKind.STORED, 2)),
        ("slow", {"seconds": 0.01}, ended(FallbackKind.STORED, 1)),
        ("failure", {}, ended(FallbackKind.STORED, 2)),
        ("not_json", {}, ended(FallbackKind.STORED, 2)),
        ("status", {"status": 500}, ended(FallbackKind.STORED, 2)),
        ("status", {"status": 502}, ended(FallbackKind.STORED, 2)),
        ("status", {"status": 503}, ended(FallbackKind.STORED, 2)),
        ("status", {"status": 503, "retry_after": 0}, ended(FallbackKind.STORED, 1)),
        ("status", {"status": 429, "retry_after": 0}, ended(FallbackKind.STORED, 1)),
        ("status", {"status": 400}, ended(FallbackKind.REFUSED, 1, "http_400 7500")),
        ("status", {"status": 401}, ended(FallbackKind.REFUSED, 1, "http_401 10000")),
        ("status", {"status": 403}, ended(FallbackKind.REFUSED, 1, "http_403 7500")),
        ("status", {"status": 302}, ended(FallbackKind.REFUSED, 1, "http_302 7500")),
    ],
)
def test_a_batch_that_goes_wrong_once_ends_as_the_table_says(
    d1: D1Fake, kind: str, rule: Mapping[str, Any], end: FallbackEnd
) -> None:
    d1.fault(kind, on="write", **rule)
    found = write(d1, call_seconds=1.5 if kind == "hang" else 30.0)
    assert replace(found, detail=found.detail if end.detail else "") == end
    assert (d1.store.counts() == COUNTS) is (end.kind is FallbackKind.STORED)


def test_every_knob_is_turned_here() -> None:
    marks = [mark for mark in test_a_batch_that_goes_wrong_once_ends_as_the_table_says.pytestmark if mark.name == "parametrize"]
    assert {row[0] for row in marks[0].args[1]} | {"stop", "forget", "alter"} == set(KNOBS)


@pytest.mark.parametrize("kind", ["reset_before", "failure", "not_json", "status"])
def test_a_look_that_fails_is_taken_once_more_and_without_one_nothing_counts_as_stored(d1: D1Fake, kind: str) -> None:
    d1.fault(kind, on="read")
    assert (write(d1), steps(d1)) == (STORED, "WRR")
    d1.fault(kind, on="read", count=None)
    d1.forget_calls()
    end = write(d1)
    assert (end.kind, end.attempts, end.verified, end.is_torn) == (FallbackKind.FAILED, 3, False, True)
    assert end.detail.startswith("not read back: ")
    assert steps(d1) == "WRRWRRWRR"


def test_a_look_that_is_refused_is_final(d1: D1Fake) -> None:
    d1.fault("status", on="read", status=403)
    assert write(d1) == ended(FallbackKind.REFUSED, 1, "http_403 7500", is_torn=True)


def test_it_waits_as_long_as_it_is_told_and_not_beyond_its_deadline(d1: D1Fake) -> None:
    d1.fault("status", status=429, retry_after=1)
    began = time.monotonic()
    assert write(d1) == STORED
    assert time.monotonic() - began >= 1
    d1.fault("status", status=429, retry_after=30)
    assert write(d1, seconds=5) == ended(FallbackKind.FAILED, 1, "no time left")
    d1.fault("status", status=429, retry_after=61)
    assert write(d1, seconds=500) == ended(FallbackKind.FAILED, 1, "http_429 971")


def test_it_makes_no_more_calls_than_it_may(d1: D1Fake) -> None:
    d1.fault("status", status=429, retry_after=0, count=None)
    assert write(d1) == ended(FallbackKind.FAILED, 1, "no call left")
    assert len(d1.calls()) == CALLS_MAX


def test_nothing_is_sent_when_no_time_is_left(d1: D1Fake) -> None:
    assert write(d1, seconds=-1) == ended(FallbackKind.FAILED, 1, "no time left")
    assert d1.calls() == []


def test_a_call_ends_with_the_deadline_even_where_nobody_answers(d1: D1Fake) -> None:
    d1.fault("hang", seconds=20, count=None)
    began = time.monotonic()
    end = write(d1, seconds=0.5)
    assert (end.kind, end.detail.endswith("no time left")) == (FallbackKind.FAILED, True)
    assert time.monotonic() - began < 15  # bounded, not measured: it would hang for twenty
    assert [call["fault"] for call in d1.calls()] == ["hang"], "noted as it came: later it would stand among another test's"


def test_a_service_that_is_not_there_is_a_failure(d1: D1Fake) -> None:
    end = write(d1, api_base="http://127.0.0.1:9/client/v4")
    assert end == ended(FallbackKind.FAILED, 3, "unreachable")
    assert d1.calls() == []
