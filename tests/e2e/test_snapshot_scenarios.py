"""Room snapshot in real processes: scenarios 1 to 28, by bundles, a real database and both fakes.

One desk for all of them. What is read comes first (``snapshot_sources.py``); the rest is about days of its own, small ones:
copies of W1's views with a point an hour, since what a step costs most is a day's points.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from fillbook.snapshot import __main__ as operator
from fillbook.snapshot.days import sessions
from fillbook.snapshot.rates import READS_PER_MINUTE
from tests.e2e.conftest import desks
from tests.e2e.snapshot_sources import TestOtherViews, TestOurViews  # noqa: F401 - they are collected here
from tests.support.campaigns import small_or_full
from tests.support.snapshot_api import day_document
from tests.support.snapshot_cloud import API, PUBLISHER, READERS, SnapshotCloud, posts, reader_keys
from tests.support.snapshot_days import large
from tests.support.snapshot_publishing import EVENING, new_york

pytestmark = [pytest.mark.bundles, pytest.mark.slow]

HALF_DAY = date(2025, 12, 24)
SMALL_DAYS = iter(sessions(date(2026, 1, 5), date(2026, 2, 6)))
SLOW: dict[str, Any] = {"kind": "status", "on": "write", "status": 429, "retry_after": 0, "count": None}
"""An API that has everybody wait: after four attempts the publisher goes past it."""


@pytest.fixture(scope="module")
def cloud_desk(tmp_path_factory: pytest.TempPathFactory, bundles: Path, cluster: Path) -> Iterator[SnapshotCloud]:
    """One desk for all of them."""
    with desks(tmp_path_factory.mktemp("snapshot"), bundles, cluster) as start:
        overrides = {API: reader_keys()}
        yield SnapshotCloud(start("desk", functions=[PUBLISHER, API], desk_start=EVENING, function_overrides=overrides))


@pytest.fixture
def desk(cloud_desk: SnapshotCloud) -> SnapshotCloud:
    """The desk on the evening of W1, its fakes well."""
    cloud_desk.well()
    cloud_desk.at("16:30")
    return cloud_desk


@pytest.fixture
def day(desk: SnapshotCloud) -> date:
    """A day of the small views that no other test has."""
    found = next(SMALL_DAYS)
    desk.book.again_on([found])
    return found


# --- past a silent API ---------------------------------------------------------------------------------------------------


def test_scenarios_18_and_21_a_dead_api_is_tried_four_times_then_d1_takes_the_day_and_the_next_slot_goes_to_the_api(
    desk: SnapshotCloud, day: date, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in desk.operator_environment("small").items():
        monkeypatch.setenv(name, value)
    desk.cloud.kill(API, stay_down=True)
    answer = desk.call("small", due=new_york("16:30", day), slot="postmarket")
    assert (answer.status, answer.document["status"]) == (200, "published_fallback")
    (row,) = desk.book.rows(day)
    assert (row["status"], row["target"], row["verified"], row["attempts"]) == ("published_fallback", "d1", True, 4)
    assert posts(desk.calls("d1")) == 2, "one batch and one look"
    points = "select d.date, count(*) from metrics_daily d join metrics_series_points p using (date) group by d.date"
    assert desk.in_file(points) == [(day.isoformat(), row["counts"]["series"])]
    desk.cloud.revive(API)
    assert operator.main(["publish", "--date", day.isoformat()]) == 0
    assert operator.main(["publish", "--date", day.isoformat()]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("unchanged (run ")
    assert desk.statuses(day) == ["published_fallback", "published", "unchanged"]
    assert desk.latest(day)["content_sha256"] == row["content_sha256"]
    logs = desk.cloud.logs(f"{PUBLISHER}-small")
    assert not [name for name in ("internal_token", "signing_secret", "d1_token") if desk.cloud.secrets[name] in logs]


def test_scenario_18_a_day_that_was_stored_though_the_answer_was_lost_is_found_and_sent_once(
    desk: SnapshotCloud, day: date
) -> None:
    desk.fault("lenient", kind="reset_after", on="write")
    result = desk.publish("lenient", day)
    assert (result["status"], result["attempts"], result["verified"]) == ("published", 1, True)
    assert posts(desk.calls("lenient")) == 1
    assert desk.calls("d1") == []


def test_scenario_19_an_api_that_breaks_for_ever_gets_three_posts_is_read_back_and_passed_by(
    desk: SnapshotCloud, day: date
) -> None:
    desk.fault("lenient", kind="status", on="write", status=500, count=None)
    result = desk.publish("lenient", day)
    assert (result["status"], result["target"], result["attempts"]) == ("published_fallback", "d1", 3)
    calls = desk.calls("lenient")
    assert posts(calls) == 3
    first, second, third = (number for number, one in enumerate(calls) if one["method"] == "POST")
    assert first + 1 < second < second + 1 < third < len(calls) - 1, "a look after each"


def test_scenario_20_a_wait_is_kept_and_a_refusal_is_final_and_told(desk: SnapshotCloud, day: date) -> None:
    desk.fault("lenient", kind="status", on="write", status=422)
    desk.fault("lenient", kind="status", on="write", status=403)
    for status in (422, 403):
        answer = desk.call("lenient", date=day.isoformat())
        assert (answer.status, answer.document["status"]) == (502, "refused_receiver")
        assert desk.book.rows(day)[-1]["http_status"] == status
    assert (posts(desk.calls("lenient")), desk.calls("d1")) == (2, [])
    assert desk.events(day) == ["snapshot_refused"] * 2
    desk.fault("lenient", kind="status", on="write", status=429, retry_after=3)
    begun = time.monotonic()
    result = desk.publish("lenient", day)
    assert time.monotonic() - begun >= 3
    assert (result["status"], result["attempts"], posts(desk.calls("lenient"))) == ("published", 2, 4)


def test_scenario_22_a_torn_batch_is_sent_again_and_a_d1_that_only_acknowledges_keeps_the_day_for_the_next_slot(
    desk: SnapshotCloud, day: date
) -> None:
    desk.fault("lenient", **SLOW)
    desk.fault("d1", kind="forget", count=3)
    answer = desk.call("lenient", due=new_york("16:30", day), slot="postmarket")
    assert (answer.status, answer.document["status"]) == (500, "kept")
    assert desk.in_file("select count(*) from metrics_daily where date = ?", day.isoformat()) == [(0,)]
    kept = "select from metrics.publication_documents where report_date = :day"
    assert len(desk.rows(kept, day=day)) == 1
    assert desk.events(day) == ["snapshot_publish_failed"]
    desk.well()
    desk.fault("lenient", **SLOW)
    desk.fault("d1", kind="stop", n=7, rollback=False)
    result = desk.publish("lenient", day)
    assert (result["status"], result["verified"]) == ("published_fallback", True)
    assert posts(desk.calls("d1")) == 4, "the batch, a look, the batch again, a look"
    points = desk.in_file("select count(*) from metrics_series_points where date = ?", day.isoformat())
    assert points == [(result["counts"]["series"],)]
    desk.well()
    assert desk.publish("lenient", day)["status"] == "published"


def test_scenario_23_a_newer_day_in_d1_stands_a_locked_d1_keeps_ours_and_half_a_configuration_is_none(
    desk: SnapshotCloud, day: date
) -> None:
    desk.fault("lenient", **SLOW)
    desk.fault("d1", kind="status", status=401)
    assert desk.publish("lenient", day)["status"] == "kept"
    desk.in_file("insert into metrics_daily values (?, '2099-01-01T00:00:00.000Z', 'newer', '', '[]', '{}')", day.isoformat())
    before = desk.everything_in_file()
    assert desk.publish("lenient", day)["status"] == "conflict"
    assert desk.everything_in_file() == before
    answer = desk.call("wrong")
    assert (answer.status, answer.document["status"]) == (500, "configuration")
    assert "CLOUDFLARE_API_TOKEN" in [one["path"] for one in answer.document["problems"]]


def test_scenario_27_a_lenient_receiver_takes_w1_a_half_day_and_days_of_6625_and_8000_rows(
    desk: SnapshotCloud, day: date
) -> None:
    desk.book.again_on([HALF_DAY])
    desk.rows(
        "delete from reports.series where report_date = :day and ts > :close returning 1",
        day=HALF_DAY,
        close=new_york("13:00", HALF_DAY),
    )
    tables = ("kpi_values", "series_points", "extremes_items", "portfolio_assets")

    def taken(of: date) -> int:
        result = desk.publish("lenient", of)
        assert (result["status"], result["attempts"], result["verified"]) == ("published", 1, True), result
        stored = [desk.in_file(f"select count(*) from metrics_{name} where date = ?", of.isoformat())[0][0] for name in tables]
        assert stored == list(result["counts"].values())
        return sum(stored)

    assert 0 < taken(HALF_DAY) < taken(day)
    for points, assets, rows in ((6_000, 200, 6_625), (7_365, 210, 8_000)):
        desk.show(day, large(points, assets=assets))
        assert taken(day) == rows
    currencies = """select count(*), count(json_extract(r.value, '$.value_num')) from metrics_daily d, json_each(d.rows_json) r
                     where json_extract(r.value, '$.kind') = 'currency' and json_extract(r.value, '$.value') <> '—'"""
    ((found, numbered),) = desk.in_file(currencies)
    assert found == numbered > 0


# --- what keeps a bad day from being sent ----------------------------------------------------------------------------------


def test_scenario_9_a_kpi_that_is_gone_and_marks_that_are_lost_are_refused(desk: SnapshotCloud, day: date) -> None:
    assert desk.publish("small", day)["status"] == "published"
    desk.rows(
        "update reports.kpi set display_value = '—' where report_date = :day"
        " and kpi_name in ('Unrealized PnL', 'Total PnL', 'Equity', 'Gross exposure') returning 1",
        day=day,
    )
    lost = desk.publish("small", day)
    assert (lost["status"], [one["guard"] for one in lost["guards"]]) == ("refused_guard", ["null_rise"])
    desk.rows("delete from reports.kpi where report_date = :day and kpi_name = 'Expectancy' returning 1", day=day)
    gone = desk.publish("small", day)
    assert (gone["status"], [one["guard"] for one in gone["guards"]]) == ("refused_guard", ["missing_kpi", "null_rise"])
    assert desk.versions(day) == [1]


def test_scenario_10_a_sharp_fall_is_refused_and_published_when_a_person_says_why(desk: SnapshotCloud, day: date) -> None:
    assert desk.publish("small", day)["version"] == 1
    fewer = "delete from reports.series where report_date = :day and extract(hour from ts)::integer % 4 <> 1 returning 1"
    desk.rows(fewer, day=day)
    refused = desk.publish("small", day)
    assert (refused["status"], [one["guard"] for one in refused["guards"]]) == ("refused_guard", ["sharp_fall"])
    forced = desk.publish("small", day, force=["sharp_fall"], reason="half the day was an outage")
    assert (forced["status"], forced["version"]) == ("published", 2)
    assert desk.book.rows(day)[-1]["forced"] == ["sharp_fall"]
    assert desk.latest(day)["provenance"]["forced"] == ["sharp_fall"]


def test_scenario_11_whoever_forces_wrongly_is_refused_and_a_view_that_is_no_plain_name_is_no_setting(
    desk: SnapshotCloud, day: date
) -> None:
    asked: list[tuple[Any, dict[str, Any], str]] = [
        (new_york("16:30", day), {"force": ["sharp_fall"], "reason": "because"}, "force_by_schedule"),
        (None, {"force": ["sharp_fall"]}, "force_without_reason"),
        (None, {"force": ["bad_number"], "reason": "a rule of validation"}, "force_unknown"),
    ]
    for due, body, code in asked:
        answer = desk.call("small", due=due, **body)
        assert (answer.status, [one["code"] for one in answer.document["problems"]]) == (400, [code])
    wrong = desk.call("wrong").document["problems"]
    assert {f"MV_{name}_TABLE" for name in ("KPI", "SERIES", "EXTREMES", "PORTFOLIO")} <= {one["path"] for one in wrong}
    assert (desk.statuses(day), desk.versions(day)) == ([], [])


def test_scenario_12_the_same_data_twice_is_sent_once(desk: SnapshotCloud, day: date) -> None:
    assert desk.publish("lenient", day)["status"] == "published"
    desk.well()
    assert desk.publish("lenient", day)["status"] == "unchanged"
    assert desk.calls("lenient") == []
    assert (desk.statuses(day), desk.events(day)) == (["published", "unchanged"], ["snapshot_published"])


# --- one at a time, and killed -----------------------------------------------------------------------------------------------


def test_scenario_24_of_a_scheduled_a_manual_and_a_backfill_call_at_once_one_publishes(desk: SnapshotCloud, day: date) -> None:
    ended: list[Any] = []
    span: dict[str, Any] = {"from": day.isoformat(), "to": day.isoformat()}
    due = new_york("16:30", day)
    with (
        desk.stuck("metrics.metrics_portfolio_assets", API, lambda: ended.append(desk.call("small", due=due, slot="postmarket"))),
        ThreadPoolExecutor(2) as pool,
    ):
        others = [pool.submit(desk.call, "small", date=day.isoformat()), pool.submit(desk.call, "small", **span)]
        busy = [one.result().document["results"][0]["status"] for one in others]
    assert busy == ["busy", "busy"]
    (first,) = ended
    assert (first.status, first.document["status"]) == (200, "published")
    assert (desk.versions(day), desk.statuses(day)) == ([1], ["published"])


@pytest.mark.parametrize(
    ("table", "waits"),
    [("metrics.metrics_portfolio_assets", API), ("outbox.events", PUBLISHER)],
    ids=["while the day is being sent", "inside the last transaction"],
)
def test_scenario_25_a_publisher_that_is_killed_leaves_one_version_and_one_event(
    desk: SnapshotCloud, day: date, table: str, waits: str
) -> None:
    with desk.stuck(table, waits, lambda: desk.call("small", date=day.isoformat())):
        desk.kill("small")
    desk.wait_until_up("small")
    assert desk.publish("small", day)["status"] == "busy"
    desk.rows(
        "update metrics.publication_leases set expires_at = clock_timestamp() where report_date = :day returning 1", day=day
    )
    again = desk.publish("small", day)
    assert (again["status"], again["version"]) == ("published", 1)
    assert (desk.versions(day), desk.statuses(day)) == ([1], ["sending", "published"])
    assert desk.events(day) == ["snapshot_published"]


def test_scenario_26_two_hundred_readers_see_one_version_in_full_while_a_day_is_replaced_twenty_times(
    desk: SnapshotCloud,
) -> None:
    day, versions, reads = "2026-01-02", 21, 50

    def document(number: int) -> dict[str, Any]:
        return day_document(day, number=number, updated_at=f"{day}T21:00:{number:02d}.000Z")

    def looking(reader: int) -> set[int]:
        seen: set[int] = set()
        count = 0
        while True:
            is_over = stored.is_set()
            status, shown = desk.read(f"/v1/trades/latest?date={day}", reader)
            if status == 429:
                time.sleep(60 / READS_PER_MINUTE)
                continue
            assert status == 200, shown
            count += 1
            number, overlay = shown["version"], shown["overlay"]
            sides = overlay["extremes"]["byKpi"]["Daily PnL"]
            said = [shown["rows"][0]["value_num"], shown["rows"][1]["value_num"], sides["hi"][0]["qty"], sides["lo"][0]["qty"]]
            said += [point["v"] for point in overlay["seriesByKpi"]["Daily PnL"]]
            assert set(said) == {number}
            assert overlay["portfolioAssets"][0]["trade_id"] == 100 + number
            seen.add(number)
            if count == 1:
                begun.wait()
            if is_over and count >= reads:
                return seen

    stored, begun = threading.Event(), threading.Barrier(len(READERS) + 1, timeout=60)
    assert desk.store(document(1))[1]["version"] == 1
    with ThreadPoolExecutor(len(READERS)) as pool:
        readers = [pool.submit(looking, reader) for reader in range(len(READERS))]
        begun.wait()
        try:
            for number in range(2, versions + 1):
                assert desk.store(document(number))[1]["version"] == number
        finally:
            stored.set()
        seen = {number for one in readers for number in one.result()}
    assert {1, versions} <= seen
    assert desk.latest(date.fromisoformat(day))["version"] == versions


def test_scenario_28_a_backfill_publishes_its_days_in_order_and_a_bad_one_stops_none(desk: SnapshotCloud) -> None:
    span = list(sessions(date(2025, 11, 3), date(2025, 12, 19)))[-small_or_full(6, 30) :]
    desk.book.again_on(span)
    desk.rows("update reports.kpi set sort_order = 10 where report_date = :day returning 1", day=span[2])
    before = desk.read("/v1/metrics/freshness")[1]
    body: dict[str, Any] = {"from": span[0].isoformat(), "to": span[-1].isoformat()}
    wanted = ["published"] * len(span)
    wanted[2] = "refused_validation"
    first = desk.call("small", **body)
    assert (first.status, first.document["status"]) == (200, "partial")
    told = [(one["date"], one["status"]) for one in first.document["results"]]
    assert told == [(day.isoformat(), status) for day, status in zip(span, wanted, strict=True)]
    order = desk.rows(
        "select report_date from metrics.v_publications where report_date = any(:days) and status = 'published' order by seq",
        days=span,
    )
    assert [row["report_date"] for row in order] == [day for day in span if day != span[2]]
    again = desk.call("small", **body).document["results"]
    assert [one["status"] for one in again] == [word.replace("published", "unchanged") for word in wanted]
    after = desk.read("/v1/metrics/freshness")[1]
    assert (after["status"], after["expected"]) == (before["status"], before["expected"])
