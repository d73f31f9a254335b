"""Retention: a partition per day ahead, failures kept longer than their day, everything else within its days."""

from __future__ import annotations

from datetime import timedelta

from fillbook.mt5 import keeping
from fillbook.mt5.words import Code, SyncStatus
from tests.support.mt5_world import NOW, World, deal, trade, version


def partitions(world: World) -> list[str]:
    rows = world.query(
        "select c.relname::text as name from pg_inherits i join pg_class c on c.oid = i.inhrelid "
        "where i.inhparent = 'mt5.sync_logs'::regclass order by 1"
    )
    return [row["name"] for row in rows]


def count(world: World, table: str) -> int:
    return int(world.query(f"select count(*) as n from mt5.{table}")[0]["n"])


def test_a_run_finds_the_partition_of_its_day_and_maintenance_makes_a_week(world: World) -> None:
    assert partitions(world) == ["sync_logs_default"]
    world.open()
    assert partitions(world) == ["sync_logs_20260304", "sync_logs_20260305", "sync_logs_default"]
    kept = keeping.maintain(world.db, NOW)
    assert (kept.partitions_made, kept.astray, kept.is_whole) == (6, 0, True)
    assert partitions(world)[-2] == "sync_logs_20260311"
    assert keeping.maintain(world.db, NOW) == keeping.Kept()


def test_rows_that_came_before_their_partition_are_moved_into_it(world: World) -> None:
    account = world.link().account_id
    world.sync(account)
    world.sync(account, 2, outcome=world.outcome(account, 2, NOW - timedelta(days=9)))
    assert [row["of"] for row in world.query("select tableoid::regclass::text as of from mt5.sync_logs")] == [
        "mt5.sync_logs_default"
    ] * 2
    kept = keeping.maintain(world.db, NOW)
    assert (kept.partitions_made, kept.astray) == (8, 1)
    of = {row["of"] for row in world.query("select tableoid::regclass::text as of from mt5.sync_logs")}
    assert of == {"mt5.sync_logs_default", "mt5.sync_logs_20260304"}
    indexes = world.query("select 1 from pg_indexes where tablename = 'sync_logs_20260304'")
    assert len(indexes) == 2


def test_old_days_go_their_failures_stay_in_the_archive_and_the_journal_stays_for_ever(world: World) -> None:
    account = world.link().account_id
    early = NOW - timedelta(days=31)
    world.open(early)
    world.open(NOW)
    statuses = (SyncStatus.SUCCESS, SyncStatus.FAILED, SyncStatus.PARTIAL, SyncStatus.SKIPPED)
    for number, status in enumerate(statuses, 1):
        outcome = world.outcome(account, number, early, status=status, error_code=Code.TIMEOUT)
        world.sync(account, number, outcome=outcome, deals=[version(deal(number))], trades=[trade(account, number)])
    world.sync(account, 9)
    kept = keeping.maintain(world.db, NOW)
    assert (kept.failures_archived, kept.partitions_dropped, kept.is_whole) == (2, 1, True)
    assert [row["status"] for row in world.query("select status from mt5.sync_logs")] == ["success"]
    archived = world.query("select status, error_code from mt5.sync_failures_archive order by 1")
    assert [(row["status"], row["error_code"]) for row in archived] == [("partial", "timeout"), ("failed", "timeout")]
    assert keeping.maintain(world.db, NOW) == keeping.Kept()
    kept = keeping.maintain(world.db, NOW + timedelta(days=60))
    assert (kept.failures, count(world, "sync_failures_archive")) == (2, 0)
    assert (count(world, "deals"), count(world, "trades")) == (4, 4)


def test_figures_runs_and_tokens_go_after_their_days(world: World) -> None:
    account = world.link().account_id
    for days in (0, 91, 401):
        world.open(NOW - timedelta(days=days))
    world.query("update mt5.sync_runs set status = 'finished' where started_at < :at returning 1", at=NOW - timedelta(days=100))
    for number, days in enumerate((0, 399, 401), 1):
        at = NOW - timedelta(days=days)
        world.sync(account, number, outcome=world.outcome(account, number, at))
        world.query(
            "insert into mt5.cash_checks (account_id, checked_at, run_id, balance, result) "
            "values (:id, :at, gen_random_uuid(), 1, 'ok') returning 1",
            id=account,
            at=at,
        )
    second = int(NOW.timestamp())
    world.query(
        "insert into mt5.rate_tokens select 'default', s, 1 from generate_series(:old::bigint, :new::bigint) s returning 1",
        old=second - 130,
        new=second,
    )
    kept = keeping.maintain(world.db, NOW)
    assert (kept.hours, kept.checks, kept.runs, kept.tokens) == (1, 1, 1, 10)
    assert (count(world, "sync_runs"), count(world, "sync_hours"), count(world, "cash_checks")) == (2, 2, 2), (
        "a run without an end is shown"
    )


def test_maintenance_that_is_stopped_drops_no_day_whose_failures_are_not_kept(world: World) -> None:
    account = world.link().account_id
    early = NOW - timedelta(days=40)
    world.open(early)
    world.sync(account, outcome=world.outcome(account, at=early, status=SyncStatus.FAILED))
    kept = keeping.maintain(world.db, NOW, may_go_on=lambda: False)
    assert (kept.is_whole, kept.partitions_dropped, kept.failures_archived) == (False, 0, 0)
    assert count(world, "sync_logs") == 1
    assert keeping.maintain(world.db, NOW).is_whole
    assert (count(world, "sync_logs"), count(world, "sync_failures_archive")) == (0, 1)
