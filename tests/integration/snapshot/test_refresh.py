"""A refresh shows one state of the ledger in all six views, whoever books or refreshes meanwhile, and carries the past along."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.runtime.db import Database, DatabaseFailed
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.sql import statement
from fillbook.snapshot import days, source
from fillbook.snapshot.model import WorkDay
from fillbook.snapshot.source import ViewNames
from tests.support.ledger import StoredWorld
from tests.support.ledger_crowd import crowd
from tests.support.plans import blocks_read
from tests.support.servers import database_config
from tests.support.snapshot_desk import SnapshotDesk, figure, fill_of, ny
from tests.support.waiting import wait_until

DAY = "2026-02-03"
EVENING = ny(f"{DAY}T16:30")
TODAY = days.plan(date(2026, 2, 3), EVENING)
CARRIED = "select * from metrics.settled_trades where book_id = :book order by position_id"
SUMS = """select day, sum(trades) as trades, sum(unknown) as unknown, sum(realized) as realized from metrics.settled_days
           where book_id = :book and trades <> 0 group by day order by day"""


def trade(world: StoredWorld, name: str, at: str, exit_at: str | None, result: int = 1, **options: Any) -> None:
    """Buy one at 100 and, if told when, sell it for ``result`` more."""
    rows = [{"id": f"{name}-in", "at": at, "side": "BUY", "instrument": name, "quantity": 1, "price": 100, **options}]
    if exit_at is not None:
        rows.append(
            {"id": f"{name}-out", "at": exit_at, "side": "SELL", "instrument": name, "quantity": 1, "price": 100 + result}
        )
    for row in rows:
        world.deliver([fill_of(row, 0)], ny(row["at"]))


@pytest.fixture
def beside(desk_url: str) -> Any:
    """Opens databases on the module's server that are closed after the test; ``role``: with its grants alone."""
    opened: list[Database] = []

    def make(role: str | None = None, **options: Any) -> Database:
        url = f"{desk_url}?role={role}" if role else desk_url
        opened.append(Database.open(database_config(url), application_name="tests", **options))
        return opened[-1]

    yield make
    for database in opened:
        database.close()


def counts(db: Database, day: WorkDay) -> tuple[Any, ...]:
    """What each of the six says about how much was done."""
    read = source.read(db, ViewNames(), day)
    assert read.values is not None
    assert read.watermark is not None
    entries = read.values["Entries opened"]["value_num"]
    shown = next(row["display_value"] for row in read.kpis if row["kpi_name"] == "Entries opened")
    last = [int(row["value"]) for row in read.series if row["kpi_name"] == "Open positions"][-1]
    traded = {row["symbol"] for row in read.extremes if row["kpi_name"] == "Traded value"}
    return (int(entries), int(shown), last, len(traded), len(read.portfolio), read.watermark.actions)


def test_scenario_6_a_fill_recorded_while_the_views_refresh_is_in_all_of_them_or_in_none(desk: SnapshotDesk, beside: Any) -> None:
    world = desk.open("during")
    trade(world, "A", f"{DAY}T10:00", None)
    source.put_days(desk.db, [TODAY])
    db = beside(statement_timeout_seconds=60)
    with db.transaction(isolation="repeatable read") as tx:
        tx.query(statement("select count(*) from ledger.v_books"))  # the snapshot of this refresh is taken
        trade(world, "B", f"{DAY}T10:05", None)
        tx.query(source.QUERIES["refresh"])
    assert counts(desk.db, TODAY) == (1,) * 6
    source.refresh(desk.db)
    assert counts(desk.db, TODAY) == (2,) * 6


def test_scenario_6_two_refreshes_at_once_wait_for_each_other_and_both_end_well(desk: SnapshotDesk, beside: Any) -> None:
    world = desk.open("at-once")
    trade(world, "A", f"{DAY}T10:00", None)
    source.put_days(desk.db, [TODAY])
    waiting, ended = beside(statement_timeout_seconds=60), []

    def refresh() -> None:
        source.refresh(waiting)
        ended.append("well")

    with beside().transaction(turn=source.REFRESH_TURN) as tx:
        tx.query(statement("select 1"))
        others = [threading.Thread(target=refresh) for _ in range(2)]
        for other in others:
            other.start()
        wait_until(lambda: _waiting(desk) == 2)
        trade(world, "B", f"{DAY}T10:05", None)  # recorded while they wait: their snapshots are younger than their turn
    for other in others:
        other.join(timeout=60)
    assert ended == ["well", "well"]
    assert counts(desk.db, TODAY) == (2,) * 6
    assert desk.query("select 1 from pg_locks where locktype = 'advisory'") == []


def _waiting(desk: SnapshotDesk) -> int:
    return len(desk.query("select 1 from pg_locks where locktype = 'advisory' and not granted"))


@pytest.mark.parametrize(("losses", "is_given_up"), [(3, False), (4, True)])
def test_a_lost_race_is_run_again_three_times_and_then_given_up(
    desk: SnapshotDesk, monkeypatch: pytest.MonkeyPatch, losses: int, is_given_up: bool
) -> None:
    desk.run("create sequence if not exists public.tries")
    desk.run("select setval('public.tries', 1, false)")
    desk.run(
        """create or replace function public.lose(times integer) returns void language plpgsql as $$ begin
           if nextval('public.tries') <= times then raise exception 'lost' using errcode = '40001'; end if; end $$"""
    )
    monkeypatch.setattr(source, "QUERIES", {**source.QUERIES, "refresh": statement(f"select public.lose({losses})")})
    if is_given_up:
        with pytest.raises(Unavailable, match="4 tries"):
            source.refresh(desk.db)
    else:
        source.refresh(desk.db)
    assert desk.query("select last_value from public.tries")[0]["last_value"] == 4


def test_the_views_cannot_be_refreshed_to_several_states(desk: SnapshotDesk) -> None:
    with pytest.raises(DatabaseFailed, match="25001"), desk.db.transaction() as tx:
        tx.query(source.QUERIES["refresh"])


def test_the_publishers_role_lists_refreshes_and_reads_and_nothing_else(desk: SnapshotDesk, beside: Any) -> None:
    world = desk.open("role")
    trade(world, "A", f"{DAY}T10:00", None)
    db = beside("snapshot_source", statement_timeout_seconds=60)
    source.check_views(db, ViewNames())
    source.put_days(db, [TODAY])
    source.refresh(db)
    assert counts(db, TODAY) == (1,) * 6
    with db.transaction() as tx:
        source.put_equity(tx, TODAY.report_date, equity=Decimal(1), daily_return=None, content_sha256="-")
    for text in (
        "select * from ledger.v_books",
        "select * from metrics.day_trades",
        "insert into metrics.snapshot_books values ('ibkr:x')",
        "refresh materialized view utils_statistics.trades_portfolio_assets_mv",
        "delete from metrics.equity_days",
        "select metrics.carry()",
    ):
        with pytest.raises(DatabaseFailed, match="42501"), db.transaction() as tx:
            tx.execute(statement(text))


def test_a_replay_book_is_never_published(desk: SnapshotDesk) -> None:
    with pytest.raises(Exception, match="snapshot_books_no_replay"):
        desk.run("insert into metrics.snapshot_books values ('replay:x')")


def test_several_books_are_one_set_of_figures(desk: SnapshotDesk) -> None:
    for name in ("one", "two"):
        trade(desk.open(f"sum-{name}"), "A", f"{DAY}T10:00", f"{DAY}T11:00", 5)
    desk.publish("ibkr:sum-one", "ibkr:sum-two")
    read = desk.figures(EVENING)
    assert figure(read, "Realized PnL") == (10, None)
    assert figure(read, "Equity") == (200_010, None)
    assert read.watermark is not None
    assert set(read.watermark.ledger_seq) == {"ibkr:sum-one", "ibkr:sum-two"}


def test_a_book_of_another_base_currency_is_left_out_and_counted(desk: SnapshotDesk) -> None:
    trade(desk.open("euros", base_currency="EUR"), "A", f"{DAY}T10:00", None, currency="EUR")
    read = desk.figures(EVENING)
    assert figure(read, "Equity") == (0, None)
    assert read.watermark is not None
    assert read.watermark.excluded == {"books": 1, "actions": 1, "open_positions": 1}


# --- what is carried --------------------------------------------------------------------------------------------------


def carried(desk: SnapshotDesk, book: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return desk.query(CARRIED, book=book), desk.query(SUMS, book=book)


@pytest.mark.parametrize("change", ["late fill", "revised", "busted", "commission", "moved"])
def test_what_is_carried_follows_every_correction_of_the_past(
    desk: SnapshotDesk, change: str, query_changes: dict[str, Callable[[StoredWorld], None]]
) -> None:
    book = f"ibkr:carry-{change.replace(' ', '-')}"
    world = desk.open(book.removeprefix("ibkr:"))
    for number in range(4):
        trade(world, f"S{number}", f"2026-01-2{number + 6}T10:00", f"2026-01-2{number + 6}T11:00", number * 10 - 10)
    first = desk.figures(EVENING)
    assert figure(first, "Equity") == (100_020, None)
    query_changes[change](world)
    then = desk.figures(EVENING)
    follow = carried(desk, book)
    desk.run("delete from metrics.settled_books where book_id = :book", book=book)
    anew = desk.figures(EVENING)
    assert carried(desk, book) == follow
    assert (anew.kpis, anew.extremes) == (then.kpis, then.extremes)
    assert figure(then, "Equity") != figure(first, "Equity") or change == "moved"
    expected = sum(row["realized_pnl"] or 0 for row in follow[0])
    assert sum(row["realized"] for row in follow[1]) == expected


@pytest.fixture
def query_changes() -> dict[str, Callable[[StoredWorld], None]]:
    """What may happen to a book's past afterwards."""

    def told(world: StoredWorld, **row: Any) -> None:
        changes = {name: row.pop(name) for name in ("source_revision", "is_bust", "cause") if name in row}
        world.deliver([fill_of({"quantity": 1, **row}, 0, **changes)], EVENING)

    out = {"id": "S2-out", "at": "2026-01-28T11:00", "side": "SELL", "instrument": "S2", "price": 110}
    return {
        "late fill": lambda world: trade(world, "LATE", "2026-01-27T12:00", "2026-01-27T13:00", 7),
        "revised": lambda world: told(world, **out | {"price": 115}, source_revision=2, cause="revision"),
        "busted": lambda world: told(world, **out, is_bust=True, cause="bust"),
        "commission": lambda world: told(world, **out | {"fees": "2.5"}, source_revision=2, cause="commission"),
        "moved": lambda world: told(world, **out | {"instrument": "S3"}, source_revision=2, cause="revision"),
    }


def test_a_history_that_is_not_the_one_carried_is_counted_anew(desk: SnapshotDesk) -> None:
    world = desk.open("anew")
    trade(world, "A", "2026-01-27T10:00", "2026-01-27T11:00", 5)
    desk.figures(EVENING)
    desk.run("update metrics.settled_books set row_hash = '\\x00' where book_id = 'ibkr:anew'")
    desk.run("update metrics.settled_days set realized = 77 where book_id = 'ibkr:anew'")
    assert figure(desk.figures(EVENING), "Equity") == (100_005, None)


def test_a_correction_of_an_old_day_makes_todays_data_newer(desk: SnapshotDesk) -> None:
    world = desk.open("newer")
    trade(world, "A", "2026-01-27T10:00", "2026-01-27T11:00", 5)
    trade(world, "B", f"{DAY}T10:00", f"{DAY}T11:00", 1)
    before = desk.figures(EVENING).watermark
    late = {"id": "A-out", "at": "2026-01-27T11:00", "side": "SELL", "instrument": "A", "quantity": 1, "price": 106}
    world.deliver([fill_of(late, 0, is_bust=True, cause="bust")], EVENING)
    after = desk.figures(EVENING).watermark
    assert before is not None
    assert after is not None
    assert (before.last_recorded_at, after.last_recorded_at) == (ny(f"{DAY}T11:00"), EVENING)


def test_a_refresh_touches_what_the_days_hold_and_not_the_history(desk: SnapshotDesk) -> None:
    """Blocks that a warmed-up refresh touches, beside 300 older trades and beside 3,000."""
    touched = []
    for trades in (300, 3_000):
        world = desk.open(f"history-{trades}")
        crowd(desk.db, world.book.book_id, trades, left_open=0)
        now = ny("2026-02-03T16:30")
        source.put_days(desk.db, [days.plan(date(2026, 2, 3), now)])
        source.refresh(desk.db)
        with desk.db.transaction(isolation="repeatable read") as tx:
            touched.append(blocks_read(tx, source.QUERIES["refresh"]))
    assert touched[1] < 1.2 * touched[0]


# --- the work list ----------------------------------------------------------------------------------------------------


def listed(desk: SnapshotDesk) -> list[tuple[str, str | None]]:
    rows = desk.query("select report_date, run_id from metrics.snapshot_days order by report_date")
    return [(str(row["report_date"]), row["run_id"]) for row in rows]


def test_the_list_holds_standing_days_and_a_backfill_until_its_run_takes_it_away(desk: SnapshotDesk) -> None:
    standing = days.standing(EVENING)
    fixed = [(str(day.report_date), None) for day in standing]
    old = [days.plan(day, EVENING) for day in days.sessions(date(2025, 12, 1), date(2025, 12, 3))]
    source.put_days(desk.db, standing, backfill=old, run_id="a")
    source.put_days(desk.db, standing, backfill=old[:1], run_id="b")
    source.put_days(desk.db, standing)
    assert listed(desk) == [("2025-12-01", "b"), ("2025-12-02", "a"), ("2025-12-03", "a"), *fixed]
    source.put_days(desk.db, standing, run_id="a")
    assert listed(desk) == [("2025-12-01", "b"), *fixed]
    desk.run("update metrics.snapshot_days set added_at = added_at - interval '16 minutes' where run_id = 'b'")
    source.put_days(desk.db, standing)
    assert listed(desk) == fixed
    tomorrow = days.standing(EVENING + timedelta(days=1))
    source.put_days(desk.db, tomorrow)
    assert listed(desk) == [(str(day.report_date), None) for day in tomorrow]


def test_a_day_comes_back_from_the_list_as_it_was_put(desk: SnapshotDesk) -> None:
    source.put_days(desk.db, [TODAY])
    (row,) = desk.query("select * from metrics.snapshot_days")
    assert {name: row[name] for name in row if name not in ("run_id", "added_at")} == {
        name: getattr(TODAY, name) for name in row if name not in ("run_id", "added_at")
    }


def test_a_backfill_names_its_run_and_a_month_at_most(desk: SnapshotDesk) -> None:
    many = [days.plan(day, EVENING) for day in days.sessions(date(2025, 11, 3), date(2026, 1, 2))]
    for backfill, run_id in ((many[:32], "a"), (many[:1], None)):
        with pytest.raises(ValueError, match="at most 31"):
            source.put_days(desk.db, [TODAY], backfill=backfill, run_id=run_id)
