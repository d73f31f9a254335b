"""Runs: what is covered and counted, what is refused, two at once, and how many messages a chunk costs."""

from __future__ import annotations

import threading
from datetime import date, timedelta
from typing import Any

import pytest

from fillbook.ibkr import alerts, booking, runs
from fillbook.ibkr.model import Refusal, SyncMetrics, Window
from fillbook.ibkr.sources import Span
from fillbook.ibkr.words import Source
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import Conflict, FillbookError, Rejected, Unavailable
from fillbook.runtime.sql import statement
from tests.support.ibkr import cancel, exec_id, flex, flex_raw, outcome, tws, tws_raw
from tests.support.ibkr_world import NOW, Socket, Statement, World


def refused(raw: dict[str, str], source: Source = Source.TWS) -> Refusal:
    row = outcome(raw, source)
    assert isinstance(row, Refusal)
    return row


def test_scenario_28_an_unknown_account_is_left_out_and_an_alias_is_mapped(world: World) -> None:
    stranger = refused(flex_raw(exec_id(1), accountId="U9"), Source.STATEMENT)
    metrics = world.statement(flex(exec_id(2), accountId="U1234567F"), refusals=[stranger])
    assert (metrics.quarantined_rows_count, metrics.state) == (1, "complete")
    assert world.executions()[exec_id(2)]["raw"]["accountId"] == "U1234567F"
    [kept] = world.query("select * from ibkr.v_quarantine")
    assert (kept["reason"], kept["account_code"], kept["seen_count"]) == ("account_not_allowed", "U9", 2)


def test_scenario_29_only_what_was_covered_counts(world: World) -> None:
    window = Window(from_at=NOW - timedelta(days=1), to_at=NOW)
    source = Socket([tws(exec_id(1))], covered=(Span(account_id=1, covered=window),))
    metrics = world.sync(source, lookback_days=30)
    [coverage] = metrics.covered
    assert coverage.covered == window
    assert metrics.window_start == world.now - timedelta(days=30)
    days = world.query("select day, state from ibkr.v_coverage_days where account_id = 1 order by day")
    assert days[-1] == {"day": date(2026, 1, 6), "state": "provisional"}
    assert days[0]["state"] == "gap"
    world.statement(flex(exec_id(1)))
    states = {row["day"]: row["state"] for row in world.query("select day, state from ibkr.v_coverage_days where account_id = 1")}
    assert states[date(2026, 1, 5)] == "settled"


def test_scenario_30_an_empty_window_is_complete_and_covered(world: World) -> None:
    metrics = world.socket()
    assert (metrics.fetched_executions_count, metrics.state) == (0, "complete")
    assert [one.is_complete for one in metrics.covered] == [True, True]
    assert [row["source"] for row in world.query("select source from ibkr.sync_cursors order by account_id")] == ["tws", "tws"]


def test_scenario_31_what_does_not_fit_is_kept_apart_and_the_rest_is_stored(world: World) -> None:
    texts: list[dict[str, str]] = [{"shares": "0"}, {"shares": "-5"}, {"shares": "NaN"}, {"price": ""}]
    refusals = [refused(tws_raw(exec_id(n)) | text) for n, text in enumerate(texts)]
    metrics = world.socket(tws(exec_id(9)), refusals=refusals)
    assert (metrics.state, metrics.quarantined_rows_count, metrics.inserted_executions_count) == ("partial", 4, 1)
    assert world.query("select count(*) as n from ibkr.sync_cursors") == [{"n": 0}]
    assert {row["reason"] for row in world.query("select reason from ibkr.v_quarantine")} == {"bad_number"}
    world.query("update ibkr.quarantine set state = 'accepted', decided_by = 'x', decided_at = :now returning id", now=NOW)
    assert world.sync(Socket([tws(exec_id(9))], refusals)).state == "complete"


def test_a_run_that_breaks_off_keeps_what_came_and_moves_no_cursor(world: World) -> None:
    metrics = world.socket(tws(exec_id(1)), is_end_seen=False, error_class="connection_lost")
    assert (metrics.state, metrics.inserted_executions_count) == ("partial", 1)
    assert world.run_of(metrics)["error_class"] == "connection_lost"
    assert world.query("select count(*) as n from ibkr.sync_cursors") == [{"n": 0}]


class Silent(Socket):
    """A source that answers nothing."""

    def fetch(self, target: Any, window: Window) -> Any:
        raise Unavailable("gateway_silent", "no answer")


def test_a_run_that_got_nothing_is_failed_and_says_so_again(world: World) -> None:
    with pytest.raises(Unavailable):
        world.sync(Silent([]))
    [row] = world.query("select state, error_class, finished_at from ibkr.sync_runs")
    assert (row["state"], row["error_class"]) == ("failed", "gateway_silent")


def test_three_runs_without_movement_are_announced_once_and_their_end_too(world: World) -> None:
    for _ in range(5):
        with pytest.raises(Unavailable):
            world.sync(Silent([]))
    assert world.events() == ["sync_failed", "sync_failed"]
    world.socket()
    assert world.events() == ["sync_failed", "sync_failed", "sync_recovered", "sync_recovered"]
    assert world.anomalies() == []


def test_trouble_of_a_source_is_told_to_the_accounts_it_has_served_alone(world: World) -> None:
    window = Window(from_at=NOW - timedelta(days=1), to_at=NOW)
    served = (Span(account_id=1, covered=window),)
    world.sync(Socket([], covered=served))
    for _ in range(3):
        with pytest.raises(Unavailable):
            world.sync(Silent([]))
    with world.db.transaction() as tx:
        alerts.fail_job(tx, "trades.sync", "tws_unavailable", cause="a job", failures=5, now=world.now)
    assert world.query("select account_id, kind from ibkr.anomalies where closed_at is null order by kind") == [
        {"account_id": 1, "kind": "cursor_stalled"},
        {"account_id": 1, "kind": "sync_failed"},
    ]
    world.sync(Socket([], covered=served))
    assert world.anomalies() == []
    assert world.events() == ["sync_failed", "sync_failed", "sync_recovered"]


def test_the_window_reaches_back_to_what_complete_runs_cover_less_an_overlap(world: World) -> None:
    world.socket()
    source = Socket([])
    world.now += timedelta(days=6)
    world.sync(source)
    [window] = source.windows
    assert window.from_at == NOW + timedelta(minutes=2) - timedelta(days=2)
    with pytest.raises(Rejected, match="lookback_days_invalid"):
        world.sync(source, lookback_days=31)


def test_a_cursor_never_moves_backwards(world: World) -> None:
    world.statement(days=(date(2026, 1, 5), date(2026, 1, 5)))
    world.statement(days=(date(2026, 1, 1), date(2026, 1, 2)))
    [row] = world.query("select high_water_at from ibkr.sync_cursors where account_id = 1 and source = 'flex'")
    assert row["high_water_at"].date() == date(2026, 1, 6)


def test_missing_tables_are_named(db: Database) -> None:
    runs.check_trades_tables_ready(db)
    with db.transaction() as tx:
        tx.execute(statement("drop table ibkr.order_sizes cascade"))
    with pytest.raises(Unavailable, match=r"ibkr_tables_missing: ibkr\.order_sizes"):
        runs.check_trades_tables_ready(db)


def test_executions_are_stored_but_not_booked_while_the_opening_balance_waits(make_world: Any) -> None:
    world = make_world(opened=False)
    world.socket(tws(exec_id(1)))
    assert (len(world.executions()), world.fills(), world.events()) == (1, {}, [])


def test_scenario_33_two_runs_at_once_do_not_lock_each_other_out(world: World) -> None:
    names = list(range(60))
    one = [tws(exec_id(n, 1), "BOT", "100") for n in names] + [tws(exec_id(n, 1), acctNumber="U7654321") for n in names]
    two = [tws(exec_id(n, 2), "BOT", "60") for n in reversed(names)] + [tws(exec_id(n, 1), "BOT", "100") for n in reversed(names)]
    results: list[SyncMetrics | FillbookError] = []

    def work(rows: Any) -> None:
        try:
            results.append(
                runs.sync_trades_once(
                    world.db, Socket(rows), host="h", port=1, client_id=1, connect_timeout_seconds=1, lookback_days=2, now=NOW
                )
            )
        except FillbookError as error:  # the thread's failure is this test's failure
            results.append(error)

    threads = [threading.Thread(target=work, args=(rows,)) for rows in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [result for result in results if isinstance(result, SyncMetrics)]
    assert len(told) == 2, results
    assert sum(result.inserted_executions_count for result in told) == 180
    assert all(result.adds_up for result in told)
    states = world.states()
    assert {states[exec_id(n, 2)] for n in names} == {"live"}
    assert {states[exec_id(n, 1)] for n in names} == {"superseded"}
    assert len(world.fills()) == 60


def test_scenario_40_the_number_of_messages_does_not_grow_with_the_rows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    exchange = Tx._exchange

    def counted(tx: Tx, message: bytes, readies: int, **options: Any) -> Any:
        sent.append(len(message))
        return exchange(tx, message, readies, **options)

    monkeypatch.setattr(Tx, "_exchange", counted)

    def messages(count: int, prefix: str) -> int:
        sent.clear()
        rows = [
            flex(f"{prefix}.{n}.01.01", ibOrderID=str(n // 7 + 1), conid=str(n % 50 + 1), transactionID=str(n + 1))
            for n in range(count)
        ]
        metrics = world.imported(Statement(rows))
        assert metrics.inserted_executions_count == count
        return len(sent)

    few, many = messages(10, "aa"), messages(booking.CALL_FILLS, "bb")
    assert few == many
    assert few <= 16  # of the whole run: its beginning and end included
    # beyond it only the calls that book are more: a read and a write each, and the locks of all of them first
    assert messages(3 * booking.CALL_FILLS, "cc") <= few + 2 * 3 + 1


def test_a_failed_chunk_leaves_nothing_of_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.socket(tws(exec_id(1)))

    def broken(*_: Any) -> Any:
        raise Conflict("test", "broken")

    monkeypatch.setattr("fillbook.ibkr.taking.tell", broken)
    with pytest.raises(Conflict):
        world.statement(cancel("-100", transactionID="9", origTransactionID="8"), flex(exec_id(2)))
    assert world.states() == {exec_id(1): "live"}
    assert world.query("select count(*) as n from ibkr.broker_events") == [{"n": 0}]
    assert world.query("select state from ibkr.sync_runs where source = 'flex'") == [{"state": "failed"}]


def test_nobody_may_delete(worker: Database) -> None:
    for table in runs.TABLES:
        with pytest.raises(Exception, match=r"permission denied|42501"), worker.transaction() as tx:
            tx.execute(statement(f"delete from ibkr.{table}"))
    with pytest.raises(Exception, match=r"permission denied|42501"), worker.transaction() as tx:
        tx.execute(statement("update ibkr.execution_payloads set raw = '{}'"))
