"""Scenarios about what is read, 1 to 10 and 13 to 17; ``test_snapshot_scenarios.py`` has them run on its desk, in this order.

First our own views, day after day: W1 on 11 February 2026, its late fill, the day on which all is sold; a weekend, a half day,
both changes of the clock. Then somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest

from fillbook.calendar import NEW_YORK
from fillbook.snapshot import __main__ as operator
from fillbook.snapshot import source
from tests.support.snapshot_cloud import PUBLISHER, SnapshotCloud, bought, kpi, sold
from tests.support.snapshot_days import NUMBERS
from tests.support.snapshot_publishing import DAY, EVENING, new_york, w1_marks

AFTER = DAY + timedelta(days=1)
SATURDAY, MONDAY = date(2026, 2, 21), date(2026, 2, 23)
HOLIDAY = date(2026, 2, 16)
HALF_DAY = date(2026, 11, 27)
WINTER, SPRING, SUMMER, AUTUMN = date(2026, 2, 19), date(2026, 3, 9), date(2026, 7, 8), date(2026, 11, 2)
"""Spring and autumn are Mondays after a change of the clock."""
SLOTS = {"premarket": time(9), "midday": time(12, 30), "postmarket": time(16, 30)}
OF_THE_PAST = ("Max drawdown", "Oldest mark age")
"""What W1's definition leaves open: they depend on when it was marked."""


def local(day: date, clock: time) -> datetime:
    """An instant by New York's clock, whatever season it is."""
    return datetime.combine(day, clock, NEW_YORK)


def _in_all(shown: Mapping[str, Any]) -> set[int]:
    """How many trims of W1's AAPL each part knows of, by its figures: 5 at 120 and, later told, 1 at 118."""
    overlay, traded = shown["overlay"], {4_720.0: 1, 4_838.0: 2}
    ends = overlay["extremes"]["byKpi"]["Traded value"]["hi"]
    return {
        int(kpi(shown, "Trims taken")[1]),
        traded[kpi(shown, "Traded value")[1]],
        traded[overlay["seriesByKpi"]["Traded value"][-1]["v"]],
        traded[sum(one["metric_raw"] for one in ends)],
        {15: 1, 14: 2}[overlay["extremes"]["byKpi"]["Net exposure"]["hi"][0]["qty"]],
        shown["watermark"]["actions"] - 4,
    }


WRONG: Final = (
    ("update reports.series set value = 'NaN' where ts = {first} and kpi_name = 'Equity'", "bad_number"),
    ("update reports.series set value = 'Infinity' where ts = {first} and kpi_name = 'Equity'", "bad_number"),
    ("update reports.extremes set side = 'mid' where side = 'lo' and kpi_name = 'Fees paid' and rank = 1", "bad_side"),
    ("update reports.extremes set side = null where side = 'mid'", "bad_side"),
    ("update reports.portfolio set trade_id = 9007199254740992 where true", "id_range"),
    ("update reports.portfolio set trade_id = 0 where true", "id_range"),
    ("update reports.portfolio set trade_id = null where true", "missing"),
    ("update reports.kpi set kpi_name = 'P&L' where kpi_name = 'Expectancy'", "bad_name"),
    ("update reports.kpi set kpi_name = repeat('x', 101) where kpi_name = 'P&L'", "bad_name"),
)
"""What is made wrong, one thing more each time, and the code that tells it."""


class TestOurViews:
    """One day after the other: each begins where the one before it left the desk."""

    def test_scenario_1_the_worked_case_is_published_by_the_schedule_with_exactly_its_numbers(self, desk: SnapshotCloud) -> None:
        assert desk.cloud.control.run_job("snapshot-postmarket") == 200
        (row,) = desk.book.rows()
        assert (row["status"], row["target"], row["verified"], row["attempts"]) == ("published", "api", True, 1)
        shown = desk.latest()
        assert (shown["date"], shown["stage"], shown["content_sha256"]) == (DAY.isoformat(), "final", row["content_sha256"])
        numbers = {one["kpi"]: one["value_num"] for one in shown["rows"]}
        assert set(numbers) == set(NUMBERS)
        wanted = {
            name: None if number is None else Decimal(number) for name, number in NUMBERS.items() if name not in OF_THE_PAST
        }
        assert {name: None if numbers[name] is None else Decimal(str(numbers[name])) for name in wanted} == wanted
        assert (kpi(shown, "Avg hold time")[0], kpi(shown, "Daily return")[0]) == ("1h 03m", "0.2%")
        assert desk.events(DAY) == ["snapshot_published"]

    def test_scenario_2_late_in_the_evening_it_is_still_the_new_york_day(self, desk: SnapshotCloud) -> None:
        late = desk.at("21:30")
        assert late.date() == AFTER
        result = desk.publish(PUBLISHER, refresh=False)
        assert (result["date"], result["status"]) == (DAY.isoformat(), "unchanged")
        answer = desk.call(due=late, slot="postmarket", refresh=False)
        assert [one["date"] for one in answer.document["results"]] == [DAY.isoformat()]

    def test_scenario_6_a_fill_recorded_while_the_views_refresh_is_in_all_of_them_or_in_none(self, desk: SnapshotCloud) -> None:
        ended: list[dict[str, Any]] = []
        with (
            ThreadPoolExecutor(1) as pool,
            desk.stuck("metrics.snapshot_books", PUBLISHER, lambda: ended.append(desk.publish(PUBLISHER))),
        ):
            other = pool.submit(desk.publish, PUBLISHER, DAY - timedelta(days=1))
            desk.book.trade([sold("meanwhile", 1, "118", new_york("14:30"))], at=EVENING)
        assert ended[0]["status"] in ("published", "unchanged"), "without the fill it says what was said before"
        assert other.result()["status"] == "published", "its refresh came second and ended well"
        trims = 1 if ended[0]["status"] == "unchanged" else 2
        assert _in_all(desk.latest(DAY)) == {trims}
        assert desk.publish(PUBLISHER)["status"] == ("published" if trims == 1 else "unchanged")
        assert _in_all(desk.latest(DAY)) == {2}

    def test_scenarios_7_and_8_empty_views_never_replace_a_good_day_and_an_empty_desk_publishes_nothing(
        self, desk: SnapshotCloud
    ) -> None:
        assert desk.publish(PUBLISHER)["status"] in ("published", "unchanged")
        versions, shown, is_known = desk.versions(DAY), desk.latest(), desk.versions(AFTER)
        desk.rows("delete from metrics.snapshot_days returning 1")
        source.refresh(desk.cloud.database)
        answer = desk.call(refresh=False)
        (refused,) = answer.document["results"]
        assert (answer.status, refused["status"], refused["attempts"]) == (422, "refused_guard", 0)
        assert "empty_view" in [one["guard"] for one in refused["guards"]]
        desk.rows("delete from metrics.snapshot_books returning 1")
        desk.at("09:00", AFTER)
        (empty,) = desk.call().document["results"]
        desk.rows("insert into metrics.snapshot_books values ('live') returning 1")
        assert (empty["date"], empty["status"]) == (AFTER.isoformat(), "refused_guard")
        assert "empty_view" in [one["guard"] for one in empty["guards"]]
        assert (desk.versions(DAY), desk.latest(), desk.versions(AFTER)) == (versions, shown, is_known)

    def test_scenarios_8_and_13_before_the_open_a_late_fill_restates_yesterday_and_today_stands_without_a_series(
        self,
        desk: SnapshotCloud,
    ) -> None:
        assert desk.publish(PUBLISHER)["status"] in ("published", "unchanged")
        version = desk.latest(DAY)["version"]
        desk.book.trade([sold("late", 5, "121", new_york("15:00"))], at=new_york("08:00", AFTER))
        desk.at("09:00", AFTER)
        assert desk.cloud.control.run_job("snapshot-premarket") == 200
        assert desk.latest(DAY)["version"] == version + 1
        (realized,) = desk.rows(
            "select difference, late_actions from metrics.v_restatements where name = 'Realized PnL' and version = :version",
            version=version + 1,
        )
        (cause,) = realized["late_actions"]
        assert (cause["symbol"], cause["action_type"]) == ("AAPL", "TRIM")
        assert Decimal(str(realized["difference"])) == Decimal(str(cause["realized_pnl"]))
        assert desk.events(DAY)[-2:] == ["snapshot_restated", "snapshot_published"]
        today = desk.latest()
        assert (today["date"], today["stage"], today["overlay"]["seriesByKpi"]) == (AFTER.isoformat(), "premarket", {})
        assert [one["symbol"] for one in today["overlay"]["portfolioAssets"]] == ["AAPL"]
        assert kpi(today, "Open positions")[0] == "1"

    def test_scenarios_9_and_10_a_quiet_day_is_published_and_so_is_one_on_which_every_position_was_closed(
        self,
        desk: SnapshotCloud,
    ) -> None:
        desk.at("16:30", AFTER)
        desk.book.mark(w1_marks(AFTER))
        assert desk.publish(PUBLISHER)["status"] == "published"
        assert kpi(desk.latest(AFTER), "Win rate") == ("—", None)
        (left,) = desk.rows("select quantity_open from ledger.v_positions where symbol = 'AAPL' and status::text = 'OPEN'")
        out = sold("out", int(left["quantity_open"]), "116", new_york("15:45", AFTER))
        desk.book.trade([out], at=new_york("16:20", AFTER))
        assert desk.publish(PUBLISHER)["status"] == "published"
        shown = desk.latest(AFTER)
        assert (shown["overlay"]["portfolioAssets"], kpi(shown, "Open positions")[0]) == ([], "0")

    def test_scenario_4_a_day_without_session_is_closed_and_a_saturdays_action_is_mondays(self, desk: SnapshotCloud) -> None:
        (before,) = desk.rows("select count(*) as n from metrics.publications")
        for day in (SATURDAY, HOLIDAY):
            desk.at("16:30", day)
            answer = desk.call(due=new_york("16:30", day), slot="postmarket")
            assert (answer.status, answer.document["status"]) == (200, "closed")
        assert desk.rows("select count(*) as n from metrics.publications") == [before]
        desk.book.trade([bought("weekend", 10, "100", new_york("11:00", SATURDAY))])
        desk.at("16:30", MONDAY)
        assert desk.publish(PUBLISHER)["status"] == "published"
        shown = desk.latest()
        assert (shown["date"], kpi(shown, "Entries opened")[0]) == (MONDAY.isoformat(), "1")

    def test_scenario_5_a_half_day_is_intraday_at_half_past_twelve_and_final_as_of_one(self, desk: SnapshotCloud) -> None:
        for clock, slot, stage, valued, points in (
            ("12:30", "midday", "intraday", "17:30", 180),
            ("16:30", "postmarket", "final", "18:00", 210),
        ):
            desk.at(clock, HALF_DAY)
            assert desk.cloud.control.run_job(f"snapshot-{slot}") == 200
            shown = desk.latest()
            assert (shown["date"], shown["stage"]) == (HALF_DAY.isoformat(), stage)
            assert shown["watermark"]["valuation_at"] == f"{HALF_DAY}T{valued}:00.000Z"
            assert len(shown["overlay"]["seriesByKpi"]["Equity"]) == points

    def test_scenario_3_the_slots_are_those_of_new_yorks_clock_in_winter_in_summer_and_around_both_changes(
        self,
        desk: SnapshotCloud,
    ) -> None:
        stages = {"premarket": "premarket", "midday": "intraday", "postmarket": "final"}
        for day in (WINTER, SPRING, SUMMER, AUTUMN):
            desk.cloud.clock.set(local(day, time(0, 30)))
            desk.cloud.control.pause_jobs()
            jobs = desk.cloud.control.get("/_control/scheduler")["jobs"]
            for slot, clock in SLOTS.items():
                due = local(day, clock)
                assert datetime.fromisoformat(jobs[f"snapshot-{slot}"]["next_at"]) == due
                desk.cloud.clock.set(due)
                result = desk.call("small", due=due, slot=slot, dry_run=True).document["results"][-1]
                assert (result["date"], result["stage"]) == (day.isoformat(), stages[slot])
        length = "select window_end - window_start as length from metrics.snapshot_days where report_date = :day"
        for day, hours in ((SPRING, 71), (AUTUMN, 73)):
            desk.cloud.clock.set(local(day, time(9)))
            desk.publish(PUBLISHER, dry_run=True)
            assert desk.rows(length, day=day) == [{"length": timedelta(hours=hours)}], "two days of 24 hours, one of 23 or 25"


class TestOtherViews:
    """Copies of W1's views, which anybody may spoil."""

    def test_scenario_14_views_that_break_their_contract_are_told_together_and_nothing_is_sent(
        self, desk: SnapshotCloud, day: date, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name, value in desk.operator_environment("small").items():
            monkeypatch.setenv(name, value)
        with desk.spoilt():
            answer = desk.call("small", date=day.isoformat())
            assert operator.main(["publish", "--date", day.isoformat()]) == 3
        (result,) = answer.document["results"]
        assert (answer.status, answer.document["status"], result["status"]) == (500, "view_contract", "view_contract")
        assert {(one["path"], one["code"]) for one in result["problems"]} == {
            ("reports.kpi.display_value", "column_missing"),
            ("reports.kpi.report_date", "wrong_type"),
            ("reports.series.ts", "wrong_type"),
            ("reports.extremes", "no_grant"),
            ("reports.portfolio", "not_populated"),
            ("reports.portfolio", "no_grant"),
        }
        with desk.altered(
            "alter table reports.portfolio rename to elsewhere", "alter table reports.elsewhere rename to portfolio"
        ):
            assert [one["code"] for one in desk.publish("small", day)["problems"]] == ["missing"]
        assert (desk.statuses(day), desk.versions(day)) == (["view_contract"] * 3, [])
        assert desk.events(day) == ["snapshot_publish_failed"] * 3
        assert capsys.readouterr().out.splitlines()[-1].startswith("view_contract (run ")

    def test_scenarios_15_to_17_gaps_and_doubles_are_counted_and_what_is_no_number_no_side_or_no_id_is_one_problem_each(
        self, desk: SnapshotCloud, day: date
    ) -> None:
        first, last = (f"(select {end}(ts) from reports.series where report_date = :day)" for end in ("min", "max"))

        def change(text: str) -> int:
            return len(desk.rows(f"{text.format(first=first)} and report_date = :day returning 1", day=day))

        again = "insert into reports.series select kpi_name, {ts}, value + 1, {source}, report_date from reports.series"
        for ts, source_name in (("ts", "'older'"), ("ts + interval '100 us'", "source")):
            change(again.format(ts=ts, source=source_name) + f" where kpi_name = 'Equity' and ts = {last} and source <> 'older'")
        gaps = change("update reports.series set value = null where ts = {first}")
        change("update reports.extremes set side = 'HI ' where side = 'hi'")
        result = desk.publish("small", day)
        assert (result["status"], result["dropped"]) == ("published", {"duplicates": 2, "null_points": gaps})
        ends = desk.read(f"/v1/metrics/extremes?kpi=Daily%20PnL&date={day}")[1]["items"]
        assert {one["side"] for one in ends} == {"hi", "lo"}
        for text, code in WRONG:
            known = [one["code"] for one in result["problems"]]
            change(text)
            result = desk.publish("small", day)
            assert (result["status"], result["attempts"]) == ("refused_validation", 0)
            assert len(result["problems"]) <= len(known) + 1
            assert code in [one["code"] for one in result["problems"]], text
        assert desk.versions(day) == [1]

    def test_scenario_15_a_document_that_neither_target_could_hold_is_not_sent(self, desk: SnapshotCloud, day: date) -> None:
        desk.rows(
            "insert into reports.series select kpi_name, ts + n * interval '1 second', value, repeat('s', 32), report_date"
            " from reports.series cross join generate_series(1, 260) as n where report_date = :day returning 1",
            day=day,
        )
        refused = desk.publish("small", day)
        assert (refused["status"], [one["code"] for one in refused["problems"]]) == ("refused_validation", ["too_large"])
        assert desk.versions(day) == []
