"""What the room can be asked: the four questions as views and as plain SQL, coverage, freshness, and the ledger's differences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ledger import service
from fillbook.mt5 import store
from fillbook.mt5.records import CashCheckRow, Gap, Unchanged
from fillbook.mt5.words import BackfillState, CashResult, CashState, GapCause, LedgerState, SyncStatus
from fillbook.runtime.sql import statement
from tests.support.ledger import make_book, make_fill
from tests.support.mt5_world import NOW, World, closed, deal, info, msc, run_id, trade, version


def view(world: World, name: str, columns: str = "*", at: datetime = NOW, more: str = "") -> list[dict[str, Any]]:
    """Rows of a view, seen by the worker at a desk time."""
    with world.db.transaction(read_only=True) as tx:
        tx.execute(statement(f"set local fillbook.now = '{at.isoformat()}'"))
        return tx.query(statement(f"select {columns} from mt5.{name} {more}"))


@pytest.fixture
def day(world: World) -> World:
    """Three accounts: a success, a partial and a failure; a success that is not logged; nothing at all."""
    good, bad = world.link(1, account_name="good").account_id, world.link(2, broker_name="Beta").account_id
    world.link(3)
    statuses = (SyncStatus.SUCCESS, SyncStatus.PARTIAL, SyncStatus.FAILED)
    for number, status in enumerate(statuses, 1):
        at = NOW + timedelta(hours=number)
        (held,) = world.claim(bad, run=number)
        outcome = world.outcome(bad, number, at, status=status, duration_ms=1000 * number, error_message=f"no {number}")
        update = world.update() if status is SyncStatus.SUCCESS else replace(world.failure(number), last_sync_at=at)
        trades = [trade(bad, position) for position in range(number)]
        world.apply(world.work(held, number, account=update, outcome=outcome, trades=trades), at)
    (held,) = world.claim(good, run=1)
    outcome = world.outcome(good, 1, NOW + timedelta(hours=3), duration_ms=500, is_logged=False)
    row = Unchanged(account_id=good, lease_token=held.lease_token, next_due_at=NOW + timedelta(hours=4), outcome=outcome)
    store.flush_unchanged(world.db, run_id(1), [row], NOW)
    return world


LATER = NOW + timedelta(hours=3, minutes=5)


def test_the_four_questions_have_views(day: World) -> None:
    recent = view(day, "recent_sync_executions", at=LATER)
    assert [(row["login_number"], row["status"], row["trades_synced"]) for row in recent] == [
        (2, "failed", 1),
        (2, "partial", 1),
        (2, "success", 1),
    ]
    success = view(day, "account_success_24h", at=LATER)
    told = [
        (int(row["total_syncs"]), int(row["successes"]), int(row["failures"]), row["success_rate_pct"], row["avg_duration_ms"])
        for row in success
    ]
    assert told == [(3, 1, 2, Decimal("33.33"), Decimal(2000)), (1, 1, 0, Decimal("100.00"), Decimal(500))]
    assert view(day, "account_success_24h", at=LATER + timedelta(days=2)) == []
    (failing,) = view(day, "accounts_with_failures")
    assert (failing["login_number"], failing["sync_failure_count"], failing["last_successful_sync_at"]) == (2, 3, NOW)
    by_hour = view(day, "sync_performance_by_hour", at=LATER)
    assert [(row["hour"], row["sync_count"], row["max_duration_ms"], row["total_trades_synced"]) for row in by_hour] == [
        (13, 1, 1000, 1),
        (14, 1, 2000, 1),
        (15, 2, 3000, 1),
    ]
    failures = view(day, "recent_sync_failures", at=LATER)
    assert [row["error_message"] for row in failures] == ["no 3", "no 2"]


FOUR_QUESTIONS = {
    "recent": """select l.account_id, a.login_number, a.broker_name, l.sync_type, l.status, l.trades_synced, l.duration_ms,
        l.error_message, l.started_at from mt5.sync_logs l join mt5.trading_accounts a on l.account_id = a.id
        where l.started_at > :since order by l.started_at desc limit 50""",
    "rate": """select account_id, count(*) as total_syncs, sum(case when status = 'success' then 1 else 0 end) as successes,
        sum(case when status = 'failed' then 1 else 0 end) as failures,
        round(100.0 * sum(case when status = 'success' then 1 else 0 end) / count(*), 2) as success_rate_pct,
        avg(duration_ms) as avg_duration_ms from mt5.sync_logs where started_at > :since group by account_id
        order by failures desc""",
    "failing": """select id, login_number, broker_name, sync_failure_count, last_connection_error, last_sync_at,
        last_successful_sync_at from mt5.trading_accounts where is_active = true and sync_failure_count > 0
        and created_at > :since order by sync_failure_count desc""",
    "hours": """select extract(hour from started_at) as hour, count(*) as sync_count, avg(duration_ms) as avg_duration_ms,
        max(duration_ms) as max_duration_ms, sum(trades_synced) as total_trades_synced from mt5.sync_logs
        where started_at > :since group by 1 order by 1""",
}


def test_the_four_questions_run_as_plain_sql_too(day: World) -> None:
    answers = {}
    for name, text in FOUR_QUESTIONS.items():
        with day.desk.transaction(read_only=True) as tx:
            answers[name] = tx.query(statement(text), since=NOW - timedelta(days=1))
    assert [len(answers[name]) for name in FOUR_QUESTIONS] == [3, 1, 1, 3]
    assert (answers["rate"][0]["success_rate_pct"], answers["failing"][0]["sync_failure_count"]) == (Decimal("33.33"), 3)


def test_the_health_of_an_account_shows_what_is_stored_how_fresh_it_is_and_how_far_its_past_is_read(world: World) -> None:
    account = world.link(7, account_name="main", backfill_target=date(2026, 2, 2)).account_id
    (row,) = view(world, "account_sync_health")
    assert (row["backfill_pct"], row["lag_seconds"], row["next_due_at"], row["balance"]) == (0, None, None, None)
    (held,) = world.claim(account)
    until = msc(datetime(2026, 3, 4, tzinfo=UTC))
    state = replace(
        held.state, next_due_at=NOW, history_until_msc=until, history_floor_msc=until - 15 * 86_400_000, cash_state=CashState.OK
    )
    world.apply(world.work(held, state=state))
    (row,) = view(world, "account_sync_health", at=NOW + timedelta(minutes=4))
    assert (row["backfill_pct"], row["lag_seconds"], row["next_due_at"]) == (Decimal("50.0"), 240, NOW)
    assert (row["successes_24h"], row["failures_24h"], row["cash_state"], row["backfill_floor"]) == (
        1,
        0,
        "ok",
        date(2026, 2, 17),
    )
    assert (row["platform"], row["login_number"], row["account_name"], row["book_id"]) == ("MT5", 7, "main", "mt5:Alpha-Demo:7")
    (held,) = world.claim(account, run=2)
    world.apply(world.work(held, 2, state=replace(held.state, backfill_state=BackfillState.DONE)))
    assert view(world, "account_sync_health", "backfill_pct") == [{"backfill_pct": Decimal(100)}]


def states(rows: Iterable[dict[str, Any]]) -> dict[int, str]:
    return {row["day"].day: row["state"] for row in rows}


def test_coverage_says_of_each_day_whether_it_is_proven_and_by_which_run(world: World) -> None:
    # Wednesday 4 March 2026; the weekend is the 28th of February and the 1st of March
    account = world.link(backfill_target=date(2026, 2, 23)).account_id
    world.query("update mt5.servers set zone_name = 'America/New_York', shift_minutes = 420 returning 1")
    (held,) = world.claim(account)
    state = replace(
        held.state,
        history_until_msc=msc(NOW),
        history_floor_msc=msc(datetime(2026, 2, 25, tzinfo=UTC)),
        cash_state=CashState.OK,
        next_due_at=NOW,
    )
    check = CashCheckRow(checked_at=NOW, balance=Decimal(1), expected=Decimal(1), gap=Decimal(0), result=CashResult.OK)
    world.apply(world.work(held, state=state, cash_check=check))
    rows = view(world, "coverage_days", more="order by day")
    assert states(rows) == {
        23: "unknown",
        24: "unknown",
        25: "proven",
        26: "proven",
        27: "proven",
        28: "closed",
        1: "closed",
        2: "provisional",
        3: "provisional",
        4: "provisional",
    }
    assert {str(row["run_id"]) for row in rows if row["state"] in ("proven", "provisional")} == {run_id(1)}
    assert {row["run_id"] for row in rows if row["state"] in ("unknown", "closed")} == {None}

    (held,) = world.claim(account, run=2)
    gap = Gap(from_msc=msc(datetime(2026, 2, 26, 5, tzinfo=UTC)), to_msc=msc(datetime(2026, 2, 26, 6, tzinfo=UTC)),
              opened_at=NOW, cause=GapCause.CASH)  # fmt: skip
    off = replace(check, checked_at=NOW + timedelta(minutes=5), gap=Decimal(5), result=CashResult.GAP)
    weekend = deal(9, 77, time_msc=msc(datetime(2026, 3, 1, 12, tzinfo=UTC)))
    world.apply(world.work(held, 2, state=held.state, cash_check=off, gaps_opened=[gap], deals=[version(weekend)]))
    rows = view(world, "coverage_days", at=NOW + timedelta(days=1), more="order by day")
    assert states(rows)[26] == "gap"
    assert [(row["cause"], str(row["run_id"])) for row in rows if row["state"] == "gap"] == [("cash", run_id(2))]
    assert (states(rows)[1], states(rows)[28], states(rows)[5]) == ("proven", "closed", "unknown")

    (held,) = world.claim(account, run=3)
    world.apply(world.work(held, 3, state=replace(held.state, cash_state=CashState.UNAVAILABLE), gaps_closed=[gap]))
    assert set(states(view(world, "coverage_days")).values()) == {"unknown", "provisional", "closed"}


def test_a_server_day_is_closed_where_no_session_of_the_fx_week_reaches_into_it(world: World) -> None:
    rules = {"ny+7": ("America/New_York", 420), "utc": ("UTC", 0), "athens": ("Europe/Athens", 0), "tokyo": ("Asia/Tokyo", 0)}
    found: dict[str, set[str]] = {}
    for name, (zone, shift) in rules.items():
        insert = "insert into mt5.servers (server, zone_name, shift_minutes) values (:name, :zone, :shift) returning 1"
        world.query(insert, name=name, zone=zone, shift=shift)
        closed = (
            "select d::date::text as day from generate_series('2026-02-26'::date, '2026-03-17', interval '1 day') d"
            " where mt5.is_closed_day(:name, d::date)"
        )
        found[name] = {row["day"][5:] for row in world.query(closed, name=name)}
    saturdays, sundays = {"02-28", "03-07", "03-14"}, {"03-01", "03-08", "03-15"}
    assert found["ny+7"] == saturdays | sundays
    assert found["utc"] == saturdays, "the week begins on Sunday evening there"
    # New York changes its clock on the 8th, Athens three weeks later: meanwhile the week begins at 23:00 on its Sundays
    assert found["athens"] == saturdays | {"03-01"}
    assert found["tokyo"] == sundays


def test_the_fleet_is_as_fresh_as_the_share_of_its_accounts(world: World) -> None:
    for login in (1, 2, 3):
        account = world.link(login).account_id
        if login < 3:
            world.sync(account, account=world.update(last_successful_sync_at=NOW - timedelta(minutes=login * 6)))
    (row,) = view(world, "fleet_freshness")
    assert (row["active_accounts"], row["fresh_accounts"], row["fresh_pct"]) == (3, 1, Decimal("33.33"))


def test_a_trade_is_shown_with_the_book_of_its_account(world: World) -> None:
    linked = world.link()
    world.sync(linked.account_id, trades=[trade(linked.account_id, 77)])
    (row,) = view(world, "account_trades")
    assert (row["book_id"], row["position_id"], row["status"], row["currency"]) == (linked.book_id, 77, "open", "USD")


def book(world: World, book_id: str, *fills: Any) -> None:
    """Book fills as the worker does, in an account of US dollars."""
    with world.db.transaction() as tx:
        service.open_book(tx, make_book(book_id), NOW)
        service.book_fills(tx, book_id, list(fills), NOW)


def fill(ticket: int, side: str, price: str, **more: Any) -> Any:
    given = {
        "source": "mt5",
        "account_key": "Alpha-Demo:1001",
        "instrument": "mt5:Alpha-Demo:X",
        "position_effect": "open" if side == "BUY" else "close",
        "multiplier": "1",
        "cash_style": "margin",
        "meta": {"position_id": "77", "episode": 1},
    }
    return make_fill(str(ticket), side, 1, price, ticket, **(given | more))


def test_an_episode_that_the_book_values_otherwise_is_a_difference(world: World) -> None:
    linked = world.link()
    booked = replace(closed(trade(linked.account_id, 77), "4.00"), ledger_state=LedgerState.BOOKED)
    world.sync(
        linked.account_id,
        trades=[
            booked,
            replace(booked, position_id=78, episode=1, id="00000000-0000-5000-8000-000000000078", ledger_state=LedgerState.NONE),
        ],
    )
    (missing,) = view(world, "ledger_differences")
    assert (missing["position_id"], missing["realized_pnl_base"], missing["not_comparable"]) == (77, None, None)
    book(world, linked.book_id, fill(1, "BUY", "100"), fill(2, "SELL", "104"))
    assert view(world, "ledger_differences") == []
    for net, is_shown in (("4.005", False), ("4.01", True), ("3.994", True)):
        world.query("update mt5.trades set net_pnl = :net where position_id = 77 returning 1", net=Decimal(net))
        assert bool(view(world, "ledger_differences")) == is_shown, net
    world.query("update mt5.trades set entry_complete = false, net_pnl = 5 where position_id = 77 returning 1")
    assert view(world, "ledger_differences", "not_comparable") == [{"not_comparable": "entry_missing"}]


def test_an_episode_of_unknown_money_and_an_average_in_another_currency_are_shown_as_not_comparable(world: World) -> None:
    linked = world.link()
    booked = replace(closed(trade(linked.account_id, 77), "9.00"), ledger_state=LedgerState.BOOKED)
    world.sync(linked.account_id, trades=[booked])
    unknown = {"multiplier": None, "currency": "XXX", "fees": None}
    book(world, linked.book_id, fill(1, "BUY", "100", **unknown), fill(2, "SELL", "104", **unknown))
    assert view(world, "ledger_differences", "not_comparable") == [{"not_comparable": "money_unknown"}]


def test_an_average_entry_in_another_currency_is_not_comparable_on_a_netting_account(world: World) -> None:
    linked = world.link()
    booked = replace(closed(trade(linked.account_id, 77), "8.80"), ledger_state=LedgerState.BOOKED)
    world.sync(linked.account_id, trades=[booked], account=world.update(info=info(margin_mode=0)))
    euro = {"currency": "EUR", "fx_rate": "1.1", "fees_currency": "USD", "fees_rate": "1"}
    sides = ("BUY", "BUY", "SELL", "SELL")
    book(world, linked.book_id, *(fill(n, side, "100" if side == "BUY" else "104", **euro) for n, side in enumerate(sides, 1)))
    assert view(world, "ledger_differences") == []
    world.query("update mt5.trades set net_pnl = 8.70 returning 1")
    (row,) = view(world, "ledger_differences")
    assert (row["not_comparable"], row["difference"], row["closing_count"]) == (
        "average_entry_in_foreign_currency",
        Decimal("0.10"),
        2,
    )
