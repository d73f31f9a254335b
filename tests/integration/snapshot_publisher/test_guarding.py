"""What keeps a bad day from being sent, on views of our own and on somebody else's; and what a person may force."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.snapshot import source
from fillbook.snapshot.days import sessions
from fillbook.snapshot.model import Stage, Status
from tests.support.campaigns import small_or_full
from tests.support.snapshot_publishing import DAY, PublishDesk, kpis

STILL: dict[str, Any] = {"refresh": False}
BEFORE = DAY - timedelta(days=1)


def guards(desk: PublishDesk, **body: Any) -> list[str]:
    result = desk.publish(**body)
    assert result.status is Status.REFUSED_GUARD
    return [name for name, _ in result.guards]


def codes(desk: PublishDesk, **body: Any) -> set[str]:
    result = desk.publish(**body)
    assert result.status is Status.REFUSED_VALIDATION
    return {problem.code for problem in result.problems}


class TestOnW1:
    """The database holds W1, its views refreshed at 16:30."""

    @pytest.fixture
    def template(self, w1_template: str) -> str:
        return w1_template

    def test_scenario_7_empty_views_over_a_good_day_are_refused_and_nobody_is_called(self, desk: PublishDesk) -> None:
        desk.publish(**STILL)
        desk.query("delete from metrics.snapshot_days returning 1")
        source.refresh(desk.db)
        outcome = desk.call(**STILL)
        assert (outcome.status, outcome.exit, outcome.http_status(is_cron=True)) == (Status.REFUSED_GUARD, 4, 200)
        assert "empty_view" in [name for name, _ in outcome.results[0].guards]
        assert len(desk.shelf.sent) == 1
        assert [event for event, _ in desk.events()] == ["snapshot_published", "snapshot_refused"]
        assert desk.events()[1][1]["reason"] == "empty_view"

    def test_views_of_somebody_else_are_published_too(self, small: PublishDesk) -> None:
        result = small.publish()
        assert (result.status, result.stage) == (Status.PUBLISHED, Stage.FINAL)
        assert kpis(small.shelf.sent[0])["Equity"] == ("$100,200.50", Decimal("100200.50"))
        assert small.query("select from metrics.equity_days") == []

    def test_scenario_9_a_kpi_that_is_gone_is_refused(self, small: PublishDesk) -> None:
        small.publish()
        small.query("delete from reports.kpi where kpi_name = 'Expectancy' returning 1")
        assert guards(small) == ["missing_kpi"]

    def test_scenario_9_marks_that_are_lost_for_all_positions_are_refused(self, small: PublishDesk) -> None:
        small.publish()
        small.query(
            "update reports.kpi set display_value = '—'"
            " where kpi_name in ('Unrealized PnL', 'Total PnL', 'Equity', 'Gross exposure') returning 1"
        )
        assert guards(small) == ["null_rise"]

    def test_scenario_10_a_sharp_fall_is_refused_and_published_when_a_person_says_why(self, small: PublishDesk) -> None:
        small.publish()
        small.query("delete from reports.series where extract(hour from ts)::integer % 4 <> 1 returning 1")
        assert guards(small) == ["sharp_fall"]
        result = small.publish(force=["sharp_fall"], reason="half the day was an outage")
        assert (result.status, result.version) == (Status.PUBLISHED, 2)
        row = small.rows()[-1]
        assert (row["forced"], row["reason"], row["actor"]) == (["sharp_fall"], "half the day was an outage", "somebody")
        assert b'"forced":["sharp_fall"]' in small.shelf.sent[-1].body

    def test_a_forced_guard_does_not_force_another(self, small: PublishDesk) -> None:
        small.publish()
        small.query("delete from reports.kpi where kpi_name = 'Expectancy' returning 1")
        assert guards(small, force=["sharp_fall"], reason="not that one") == ["missing_kpi"]

    def test_scenario_14_views_that_break_their_contract_are_told_together(self, small: PublishDesk) -> None:
        small.query("drop table reports.portfolio")
        small.query("alter table reports.kpi rename column display_value to shown")
        small.query("alter table reports.series alter column ts type timestamp")
        small.query("revoke select on reports.extremes from snapshot_publisher")
        outcome = small.call(**{"from": "2026-02-10", "to": "2026-02-11"})
        first, second = outcome.results
        assert (outcome.status, outcome.exit, first.status, second.status) == (
            Status.VIEW_CONTRACT,
            3,
            Status.VIEW_CONTRACT,
            Status.NOT_STARTED,
        )
        told = " ".join(f"{problem.path} {problem.message}" for problem in first.problems)
        assert all(name in told for name in ("reports.portfolio", "display_value", "ts", "reports.extremes"))
        assert small.statuses(BEFORE) == ["view_contract"]
        assert [event for event, _ in small.events()] == ["snapshot_publish_failed"]
        assert small.shelf.sent == []

    def test_scenario_15_a_number_that_is_none_is_refused_and_a_gap_is_counted(self, small: PublishDesk) -> None:
        small.query("update reports.series set value = null where ts = (select min(ts) from reports.series) returning 1")
        result = small.publish()
        assert result.status is Status.PUBLISHED
        assert result.dropped is not None
        assert result.dropped.null_points == 13
        small.query("update reports.series set value = 'NaN' where ts = (select max(ts) from reports.series) returning 1")
        assert codes(small) == {"bad_number"}
        assert len(small.shelf.sent) == 1

    def test_scenario_15_a_document_that_is_too_large_is_not_sent(self, small: PublishDesk) -> None:
        small.query(
            "insert into reports.portfolio (trade_id, symbol, contract_name, report_date)"
            " select n, repeat('S', 32), rpad('C' || n, 100, 'x'), :day from generate_series(1000, 5990) as n returning 1",
            day=DAY,
        )
        small.query(
            "insert into reports.series select kpi_name, ts + n * interval '1 second', value, repeat('s', 32), report_date"
            " from reports.series cross join generate_series(1, 240) as n returning 1"
        )
        assert codes(small) == {"too_large"}
        assert small.shelf.sent == []

    def test_validation_cannot_be_forced(self, small: PublishDesk) -> None:
        small.query("update reports.portfolio set trade_id = 9007199254740992 returning 1")
        forced = {"force": ["empty_view", "sharp_fall", "null_rise", "missing_kpi", "older"], "reason": "all of them"}
        assert codes(small, **forced) == {"id_range"}

    def test_scenario_28_a_backfill_publishes_its_days_in_order_and_a_bad_one_stops_none(self, small: PublishDesk) -> None:
        days = list(sessions(DAY - timedelta(days=60), DAY))[-small_or_full(6, 30) :]
        small.again_on(days[:-1])
        small.query("update reports.kpi set sort_order = 10 where report_date = :day returning 1", day=days[2])
        span = {"from": days[0].isoformat(), "to": days[-1].isoformat()}
        outcome = small.call(**span)
        assert [result.date for result in outcome.results] == days
        wanted = [Status.PUBLISHED] * len(days)
        wanted[2] = Status.REFUSED_VALIDATION
        assert [result.status for result in outcome.results] == wanted
        assert (outcome.status, outcome.exit, outcome.http_status(is_cron=False)) == (Status.PARTIAL, 10, 200)
        assert [one.snapshot.date for one in small.shelf.sent] == [day for day in days if day != days[2]]
        again = small.call(**span)
        assert [result.status for result in again.results] == [
            Status.REFUSED_VALIDATION if day == days[2] else Status.UNCHANGED for day in days
        ]
        assert {row["trigger"] for row in small.rows()} == {"backfill"}

    # -- another day, or the same one later ---------------------------------------------------------------------------------

    def test_an_old_day_is_on_the_work_list_only_while_it_is_published(self, desk: PublishDesk) -> None:
        desk.at("16:30", date(2026, 3, 11))
        assert desk.publish(date="2026-02-11").stage is Stage.FINAL
        listed = {row["report_date"] for row in desk.query("select report_date from metrics.snapshot_days")}
        assert DAY not in listed
        assert len(listed) == 6


# --- other books ---------------------------------------------------------------------------------------------------------


def test_scenario_8_an_empty_desk_publishes_nothing(desk: PublishDesk) -> None:
    desk.at("09:00")
    assert guards(desk) == ["empty_view"]
    assert desk.shelf.sent == []
