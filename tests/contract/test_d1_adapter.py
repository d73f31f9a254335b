"""The D1 adapter against a healthy fake: a day is there, whole and proven, or a newer one stays; limits, addresses, secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from fillbook.runtime.sql import load_queries
from fillbook.snapshot import document
from fillbook.snapshot.d1_batch import PART_BYTES_MAX, VALUE_BYTES_MAX, day_of
from fillbook.snapshot.model import Snapshot
from fillbook.snapshot.sources import FallbackKind
from infra.local.d1 import D1Fake
from tests.support.snapshot_d1 import COUNTS, DAY, NEW, NEWER, OLD, STORED, adapter, emptied, ended, holds, steps, tables, write
from tests.support.snapshot_shapes import SMALL, UPDATED_AT, snapshot


@pytest.fixture(scope="module", params=[False, True], ids=["with_ids", "natural_keys"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[D1Fake]:
    with D1Fake(tmp_path_factory.mktemp("d1") / "d1.sqlite", natural_keys=request.param) as d1:
        yield d1


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[D1Fake]:
    with D1Fake(tmp_path_factory.mktemp("d1") / "d1.sqlite") as d1:
        yield d1


@pytest.fixture
def d1(served: D1Fake) -> D1Fake:
    return emptied(served)


# --- a healthy D1 (scenario 21) -----------------------------------------------------------------------------------------


def test_one_batch_of_nine_statements_writes_the_day_and_one_of_five_proves_it(both: D1Fake) -> None:
    assert write(both) == STORED
    assert holds(both, NEW)
    writing, reading = both.calls()[-2:]
    assert (len(writing["statements"]), len(reading["statements"])) == (9, 5)
    assert write(both, NEWER) == STORED, "another day in its place"
    assert holds(both, NEWER)


def test_the_same_day_may_be_written_again(d1: D1Fake) -> None:
    assert [write(d1), write(d1)] == [STORED, STORED]
    assert d1.store.counts() == COUNTS


def test_other_days_stay_as_they_are(d1: D1Fake) -> None:
    other = snapshot(day=NEW.date - timedelta(days=1), updated_at=UPDATED_AT - timedelta(days=1))
    assert (write(d1, other), write(d1)) == (STORED, STORED)
    assert d1.store.counts(other.date.isoformat()) == COUNTS


def test_a_quiet_day_without_series_extremes_and_portfolio_is_written_too(d1: D1Fake) -> None:
    write(d1)
    day = snapshot(replace(SMALL, series=0, sided=0, assets=0), updated_at=UPDATED_AT + timedelta(hours=1))
    assert write(d1, day) == STORED
    assert holds(d1, day)


def test_names_and_texts_of_any_alphabet_are_the_same_afterwards(d1: D1Fake) -> None:
    named = {"headline": "„Änderung“ – '1' \\ \"2\" ☃ 😀", "summary": "line\nline"}
    day = replace(NEW, **named, rows=(replace(NEW.rows[0], value="−1 €", unit="€"), *NEW.rows[1:]))
    assert write(d1, day) == STORED
    assert holds(d1, day)


def test_a_table_of_more_than_a_part_is_split_within_the_same_batch(d1: D1Fake) -> None:
    day = snapshot(replace(SMALL, kpis=7, series=7, minutes=3600))
    assert len(document.overlay_json(day)) > PART_BYTES_MAX
    assert write(d1, day, seconds=60, call_seconds=30.0) == STORED
    assert d1.store.counts()["metrics_series_points"] == 25_200
    sizes = [one["params"][2] for one in d1.calls()[0]["statements"] if "insert into metrics_series_points" in one["sql"]]
    assert len(sizes) == 2
    assert max(sizes) <= PART_BYTES_MAX


# --- an older and a newer day (scenario 23) ------------------------------------------------------------------------------


def test_a_newer_day_stands_and_nothing_changes_in_any_table(d1: D1Fake) -> None:
    write(d1, NEWER)
    before = tables(d1)
    d1.forget_calls()
    assert write(d1) == ended(FallbackKind.CONFLICT, 1, "a newer day stands there")
    assert tables(d1) == before
    assert steps(d1) == "W"


def test_a_time_that_is_not_in_our_form_counts_as_older(d1: D1Fake) -> None:
    for stored_at in ("2099-01-01", "9999999999", "2026-02-11T23:00:00Z", "zzz"):
        d1.store.clear()
        d1.store.batch([("insert into metrics_daily values (?1, ?2, '', '', '[]', '{}')", [DAY, stored_at])])
        assert write(d1) == STORED, stored_at


def test_an_older_batch_changes_nothing_even_where_statements_stand_alone(d1: D1Fake) -> None:
    """The archive is overtaken between two statements of a batch that is no transaction."""
    for overtaken_before in range(2, 10):
        d1.store.clear()
        write(d1, OLD)
        d1.fault("stop", n=overtaken_before, rollback=False)
        d1.fault("reset_before", count=None)
        assert write(d1).kind is FallbackKind.FAILED
        d1.faults.rules.clear()
        assert write(d1, NEWER) == STORED
        before = tables(d1)
        left = d1_batch_of(NEW)[overtaken_before - 1 :]
        assert [one["meta"]["changes"] for one in d1.store.batch(left)] == [0] * len(left)
        assert tables(d1) == before


def d1_batch_of(day: Snapshot) -> list[tuple[str, list[str]]]:
    posted = json.loads(day_of(document.encoded(day), day, load_queries("fillbook.snapshot", "d1.sql")).whole().body)
    return [(one["sql"], one["params"]) for one in posted["batch"]]


# --- limits, addresses, secrets ----------------------------------------------------------------------------------------------


def test_a_day_that_does_not_fit_is_refused_before_anything_is_sent(d1: D1Fake) -> None:
    day = replace(NEW, points=tuple(replace(NEW.points[0], src="x" * 20_000) for _ in range(100)))
    assert len(document.overlay_json(day)) > VALUE_BYTES_MAX
    assert write(d1, day) == ended(FallbackKind.REFUSED, 0, "day_too_large")
    assert d1.calls() == []


@pytest.mark.parametrize(
    "options",
    [
        {"account_id": ""},
        {"account_id": "a/b"},
        {"database_id": "x?y"},
        {"api_base": "http://api.cloudflare.com/client/v4"},
        {"api_base": "https://user:word@api.cloudflare.com"},
        {"api_base": "https://api.cloudflare.com/?q=1"},
        {"api_base": "ftp://127.0.0.1"},
        {"api_base": "https://[broken"},
    ],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(d1: D1Fake, options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^(account|the address)") as refused:
        adapter(d1, **options)
    assert not any(value and value in str(refused.value) for value in options.values())


def test_the_token_stands_in_no_end_no_log_and_no_repr(d1: D1Fake, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = "canary-4f1b7c"
    told = []
    for kind, rule in (("reset_before", {}), ("status", {"status": 500}), ("not_json", {})):
        d1.fault(kind, **rule)
        told.append(write(d1, token=token))
    told.append(write(d1, token=token))
    told.append(write(d1, token=token, api_base="http://127.0.0.1:9"))
    assert all(end.kind is not FallbackKind.STORED for end in told)
    assert told[3] == ended(FallbackKind.REFUSED, 1, "http_401 10000")
    shown = [
        repr(told),
        caplog.text,
        repr(adapter(d1, token=token)),
        repr(vars(adapter(d1, token=token))),
        json.dumps(d1.calls()),
    ]
    assert not any(token in one for one in shown)
