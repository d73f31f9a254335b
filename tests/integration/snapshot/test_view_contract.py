"""Configured views are looked at before they are believed: all that is wrong is told at once, foreign ones read as they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from fillbook.runtime.db import Database
from fillbook.snapshot import days, source
from fillbook.snapshot.model import EXTREME_NUMBERS
from fillbook.snapshot.source import ViewContract, ViewNames
from tests.support.servers import database_config
from tests.support.snapshot_desk import SnapshotDesk, ny

DAY = days.plan(date(2026, 2, 3), ny("2026-02-03T16:30"))
FOREIGN = ViewNames(
    kpi="foreign_stats.kpis", series="foreign_stats.series", extremes="foreign_stats.ends", portfolio="foreign_stats.held"
)
MADE = (
    "create schema foreign_stats",
    "create table foreign_stats.kpis (kpi_name varchar(80), display_value text, sort_order bigint, report_date date, note xml)",
    "create table foreign_stats.series (kpi_name text, ts timestamptz, value double precision, source text, report_date date)",
    f"""create table foreign_stats.ends (kpi_name text, side text, rank int, trade_id bigint, symbol text, contract_name text,
        mid_ts timestamptz, report_date date, {", ".join(f"{name} double precision" for name in EXTREME_NUMBERS)})""",
    """create view foreign_stats.held as
       select 7 as trade_id, 'AMD' as symbol, 'AMD'::text as contract_name, date '2026-02-03' as report_date""",
)


@pytest.fixture
def foreign(desk: SnapshotDesk) -> Iterator[SnapshotDesk]:
    """Somebody else's views, which keep the contract."""
    for text in MADE:
        desk.run(text)
    yield desk
    desk.run("drop schema foreign_stats cascade")


def problems(db: Database, names: ViewNames) -> set[tuple[str, str]]:
    """Everything that is wrong, as (what, code)."""
    with pytest.raises(ViewContract) as broken:
        source.check_views(db, names)
    assert broken.value.reason == "view_contract"
    return {(problem.path, problem.code) for problem in broken.value.problems}


def test_our_own_views_keep_the_contract_with_exactly_the_named_columns(desk: SnapshotDesk) -> None:
    source.check_views(desk.db, ViewNames())
    for name, columns in ViewNames().required:
        rows = desk.query(
            "select attname from pg_attribute where attrelid = :name::text::regclass and attnum > 0 and not attisdropped",
            name=name,
        )
        assert {row["attname"] for row in rows} == set(columns)


def test_scenario_14_everything_that_is_wrong_is_told_at_once(foreign: SnapshotDesk) -> None:
    foreign.run("alter table foreign_stats.kpis rename display_value to shown")
    foreign.run("alter table foreign_stats.kpis alter report_date type text")
    foreign.run("alter table foreign_stats.series alter ts type timestamp")
    foreign.run("alter table foreign_stats.ends alter trade_id type numeric")
    foreign.run("alter table foreign_stats.ends alter qty type text")
    foreign.run("drop view foreign_stats.held")
    foreign.run("create materialized view foreign_stats.held as select 1 as trade_id with no data")
    found = problems(foreign.db, FOREIGN)
    assert found == {
        ("foreign_stats.kpis.display_value", "column_missing"),
        ("foreign_stats.kpis.report_date", "wrong_type"),
        ("foreign_stats.series.ts", "wrong_type"),
        ("foreign_stats.ends.trade_id", "wrong_type"),
        ("foreign_stats.ends.qty", "wrong_type"),
        ("foreign_stats.held", "not_populated"),
        ("foreign_stats.held.symbol", "column_missing"),
        ("foreign_stats.held.contract_name", "column_missing"),
        ("foreign_stats.held.report_date", "column_missing"),
    }


def test_scenario_14_a_view_that_is_missing_or_something_else_is_named(foreign: SnapshotDesk) -> None:
    foreign.run("create sequence foreign_stats.numbers")
    names = ViewNames(
        kpi="foreign_stats.nothing", series="nowhere.series", extremes=FOREIGN.extremes, portfolio="foreign_stats.numbers"
    )
    assert problems(foreign.db, names) == {
        ("foreign_stats.nothing", "missing"),
        ("nowhere.series", "missing"),
        ("foreign_stats.numbers", "wrong_kind"),
    }


def test_scenario_14_a_view_without_a_grant_is_named_and_one_with_it_is_read(foreign: SnapshotDesk, desk_url: str) -> None:
    db = Database.open(database_config(f"{desk_url}?role=snapshot_source"), application_name="tests")
    try:
        four = {FOREIGN.kpi, FOREIGN.series, FOREIGN.extremes, FOREIGN.portfolio}
        assert problems(db, FOREIGN) == {(name, "no_grant") for name in four}
        foreign.run("grant usage on schema foreign_stats to snapshot_source")
        foreign.run("grant select on foreign_stats.kpis, foreign_stats.ends, foreign_stats.held to snapshot_source")
        assert problems(db, FOREIGN) == {(FOREIGN.series, "no_grant")}
        foreign.run("grant select on foreign_stats.series to snapshot_source")
        source.check_views(db, FOREIGN)
        assert source.read(db, FOREIGN, DAY).portfolio == ({"trade_id": 7, "symbol": "AMD", "contract_name": "AMD"},)
    finally:
        db.close()


def test_scenario_15_what_a_foreign_view_cannot_know_is_handed_over_and_no_float_is_born(foreign: SnapshotDesk) -> None:
    foreign.run(
        """insert into foreign_stats.kpis values ('B', '1', 20, '2026-02-03'), ('A', null, 20, '2026-02-03'),
           ('C', '', 10, '2026-02-02')"""
    )
    foreign.run(
        """insert into foreign_stats.series values ('A', '2026-02-03 15:00Z', null, 'x', '2026-02-03'),
           ('A', '2026-02-03 15:01Z', 'NaN', 'x', '2026-02-03'), ('A', '2026-02-03 15:02Z', '-Infinity', null, '2026-02-03'),
           ('A', 'infinity', 0.1, 'x', '2026-02-03')"""
    )
    foreign.run(
        "insert into foreign_stats.ends (kpi_name, side, rank, qty, report_date) values ('A', ' HI', 1, 0.1, '2026-02-03')"
    )
    read = source.read(foreign.db, FOREIGN, DAY)
    assert (read.values, read.watermark, read.day) == (None, None, DAY)
    assert [(row["kpi_name"], row["display_value"]) for row in read.kpis] == [("A", None), ("B", "1")]
    assert [str(row["value"]) for row in read.series] == ["None", "NaN", "-Infinity", "0.1"]
    assert read.series[0]["ts"] == datetime(2026, 2, 3, 15, 0, tzinfo=UTC)
    assert read.series[-1]["ts"] is None
    (end,) = read.extremes
    assert (end["side"], end["qty"], end["trade_id"], end["mid_ts"]) == (" HI", Decimal("0.1"), None, None)


def test_a_day_is_read_with_the_instants_its_views_were_refreshed_with(desk: SnapshotDesk) -> None:
    desk.open("instants")
    noon = days.plan(date(2026, 2, 3), ny("2026-02-03T12:30"))
    desk.refreshed(noon)
    read = source.read(desk.db, ViewNames(), DAY)
    assert (read.day.as_of, read.day.stage) == (noon.as_of, "intraday")
    assert source.read(desk.db, ViewNames(), days.plan(date(2026, 1, 5), ny("2026-02-03T12:30"))).kpis == ()
