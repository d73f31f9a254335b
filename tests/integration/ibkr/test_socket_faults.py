"""What goes wrong on the socket, and what a run makes of it: bounded in time, nothing lost, no cursor moved by half an answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ibkr.model import SyncMetrics
from fillbook.ibkr.runs import sync_trades_once
from fillbook.ibkr.tws_rules import Waits
from fillbook.runtime.errors import Unavailable
from infra.local.tws import TwsFake
from tests.support.ibkr import DAY, exec_id
from tests.support.ibkr_frames import PAPER, fill, fills, paid
from tests.support.ibkr_socket import QUICK, REACH_DAYS, SocketWorld, socket_of
from tests.support.ibkr_world import NOW

SLACK_SECONDS = 20.0
"""What a busy machine may add; a wait without end would last minutes."""


def within(seconds: float, run: Callable[[], Any]) -> Any:
    """Run, and see that it took no longer than it may."""
    begun = time.monotonic()
    try:
        return run()
    finally:
        assert time.monotonic() - begun < seconds + SLACK_SECONDS


def failed(desk: SocketWorld, slug: str, seconds: float, **options: Any) -> None:
    """A run that stores nothing, says why, and moves no cursor."""
    with pytest.raises(Unavailable, match=slug):
        within(seconds, lambda: desk.asked(**options))
    assert desk.query("select state, error_class from ibkr.sync_runs") == [{"state": "failed", "error_class": slug}]
    assert (desk.executions(PAPER), desk.cursors()) == ({}, 0)


def partial(desk: SocketWorld, metrics: SyncMetrics, slug: str | None, *, stored: int) -> None:
    """A run that stored what was good, says why that is not all, and moves no cursor."""
    assert (metrics.state, metrics.error_class, metrics.inserted_executions_count) == ("partial", slug, stored)
    assert desk.cursors() == 0
    assert desk.query("select count(*) as n from ibkr.sync_coverage where is_complete") == [{"n": 0}]


def test_a_refused_port_fails_at_once(desk: SocketWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    desk.fake._port, known = port, desk.fake.port
    try:
        failed(desk, "gateway_refused", 1)
    finally:
        desk.fake._port = known


def test_silence_after_the_connect_ends_after_the_connect_timeout(desk: SocketWorld) -> None:
    desk.fake.turn(is_silent=True)
    failed(desk, "gateway_silent", 1)


def test_a_handshake_that_is_never_finished_ends_after_the_connect_timeout(desk: SocketWorld) -> None:
    desk.fake.turn(is_mute_after_connect=True)
    failed(desk, "gateway_silent", 1)


def test_a_gateway_without_accounts_is_told_apart(desk: SocketWorld) -> None:
    desk.fake.turn(accounts=())
    failed(desk, "gateway_without_accounts", 0)


def test_a_server_too_old_for_the_library_is_unavailable(desk: SocketWorld) -> None:
    desk.fake.turn(server_version=100)
    failed(desk, "gateway_closed", 0)


def test_scenario_34_a_busy_client_id_gives_way_to_the_next(desk: SocketWorld) -> None:
    desk.fake.turn(busy_client_ids=(11, 12))
    metrics = within(0, lambda: desk.told(fills(1), again=False))
    assert metrics.state == "complete"
    assert [frame[2] for frame in desk.fake.received() if frame[0] == "71"] == ["11", "12", "13"]


def test_scenario_34_when_every_client_id_is_busy_the_run_fails(desk: SocketWorld) -> None:
    desk.fake.turn(busy_client_ids=(11, 12, 13))
    failed(desk, "gateway_client_id_busy", 0)


def test_scenario_34_what_came_before_the_socket_was_lost_is_stored(desk: SocketWorld) -> None:
    desk.fake.turn(drop_after=3)
    partial(desk, desk.told(fills(4), again=False), "gateway_connection_lost", stored=2)
    desk.fake.turn(drop_after=None)
    metrics = desk.told(fills(4))
    assert (metrics.state, metrics.inserted_executions_count, metrics.unchanged_executions_count) == ("complete", 2, 1)
    assert desk.cursors() == 2


def test_a_socket_lost_before_the_first_frame_is_a_failed_run(desk: SocketWorld) -> None:
    desk.fake.load(fills(2))
    desk.fake.turn(drop_after=0)
    failed(desk, "gateway_connection_lost", 0)


def test_scenario_34_an_answer_without_an_end_is_partial(desk: SocketWorld) -> None:
    desk.fake.turn(has_end=False)
    partial(desk, within(QUICK.end, lambda: desk.told(fills(2), again=False)), "gateway_no_end", stored=2)


def test_no_answer_at_all_is_not_an_empty_one(desk: SocketWorld) -> None:
    desk.fake.turn(has_end=False)
    failed(desk, "gateway_no_end", QUICK.end)


@pytest.mark.parametrize("code", [321, 320, 162])
def test_scenario_34_a_refused_request_is_a_failed_run_and_stores_nothing(desk: SocketWorld, code: int) -> None:
    desk.fake.load(fills(2))
    desk.fake.turn(error_code=code)
    failed(desk, "gateway_request_failed", 0)


def test_a_refused_request_that_is_not_named_fails_too(desk: SocketWorld) -> None:
    desk.fake.turn(error_code=321, error_names_request=False)
    failed(desk, "gateway_request_failed", 0)


@pytest.mark.parametrize("code", [1101, 1102])
def test_scenario_34_after_an_outage_it_is_asked_once_more(desk: SocketWorld, code: int) -> None:
    desk.fake.turn(outage_at=3, outage_code=code)
    metrics = within(0, lambda: desk.told(fills(3), again=False))
    assert (metrics.state, metrics.inserted_executions_count) == ("complete", 3)
    assert (metrics.fetched_executions_count, metrics.merged_sightings_count) == (4, 1)
    assert len([frame for frame in desk.fake.received() if frame[0] == "7"]) == 2


def test_scenario_34_an_outage_without_an_end_is_partial(desk: SocketWorld) -> None:
    desk.fake.turn(outage_at=3)
    partial(
        desk,
        within(QUICK.connectivity, lambda: desk.told(fills(3), again=False)),
        "gateway_connectivity_lost",
        stored=1,
    )


def test_a_second_outage_is_not_waited_for(desk: SocketWorld) -> None:
    desk.fake.turn(outage_at=3, outage_code=1102, outage_count=2)
    partial(desk, desk.told(fills(3), again=False), "gateway_connectivity_lost", stored=1)
    assert len([frame for frame in desk.fake.received() if frame[0] == "7"]) == 2


@pytest.mark.parametrize("code", [110, 165, 202, 399, 404, 434, 492, 10167, 2100, 2110, 2199])
def test_notices_change_nothing(desk: SocketWorld, code: int) -> None:
    desk.fake.turn(notice_codes=(code,))
    assert desk.told(fills(1), again=False).state == "complete"


def test_the_hard_deadline_ends_what_no_other_wait_ends(desk: SocketWorld) -> None:
    desk.fake.turn(has_end=False)
    waits = Waits(end=60, commissions=60, connectivity=60, run=2.0)
    partial(desk, within(2, lambda: desk.told(fills(2), again=False, waits=waits)), "gateway_deadline", stored=2)


def test_the_hard_deadline_holds_while_connecting_too(desk: SocketWorld) -> None:
    desk.fake.turn(is_silent=True)
    failed(desk, "gateway_deadline", 0.3, waits=Waits(run=0.3), connect_timeout_seconds=60)


def test_scenario_35_one_unreadable_frame_among_ten_is_kept_and_the_others_stored(desk: SocketWorld) -> None:
    desk.fake.turn(extra_field_at=9)
    metrics = desk.told(fills(10))
    partial(desk, metrics, None, stored=9)
    assert (metrics.fetched_executions_count, metrics.quarantined_rows_count) == (10, 1)
    [row] = desk.query("select reason, raw, seen_count from ibkr.v_quarantine")
    assert (row["reason"], row["seen_count"]) == ("bad_frame", 2)  # the same frame in both runs: no request id in it
    assert exec_id(5) in row["raw"]
    assert "one more" in row["raw"]


@pytest.mark.parametrize(
    ("number", "text", "reason"),
    [
        (19, "0", "bad_number"),
        (19, "-100", "bad_number"),
        (19, "NaN", "bad_number"),
        (20, "", "bad_number"),
        (20, "NaN", "bad_number"),
        (18, "SOLD", "bad_side"),
        (15, "20260105 10:30:00 Mars/Base", "unknown_zone"),
        (15, "20260105 10:30:00", "time_without_zone"),
        (15, "yesterday", "bad_time"),
        (14, "", "no_identity"),
        (3, "0", "missing_field"),
    ],
)
def test_scenario_31_an_odd_text_is_refused_with_its_reason(desk: SocketWorld, number: int, text: str, reason: str) -> None:
    desk.fake.turn(texts={1: {number: text}})
    partial(desk, desk.told(fills(2), again=False), None, stored=1)
    assert desk.quarantined() == [reason]


def test_scenario_28_an_account_that_is_not_ours_is_left_out_on_purpose(desk: SocketWorld) -> None:
    metrics = desk.told([fill(1), fill(2, account="DU9"), fill(3, account="U1234567F"), paid(1)])
    assert (metrics.state, metrics.inserted_executions_count, metrics.quarantined_rows_count) == ("complete", 2, 1)
    assert desk.quarantined() == ["account_not_allowed"]
    [row] = desk.query("select raw from ibkr.trade_executions where account_id = 1")
    assert row["raw"]["acctNumber"] == "U1234567F"


@pytest.mark.parametrize("size", [1, 3, 7])
def test_frames_in_pieces_are_frames(desk: SocketWorld, size: int) -> None:
    desk.fake.turn(piece_bytes=size)
    metrics = desk.told(fills(3), again=False)
    assert (metrics.state, metrics.inserted_executions_count, metrics.missing_commissions_count) == ("complete", 3, 0)


def test_a_frame_that_comes_twice_is_one_execution(desk: SocketWorld) -> None:
    desk.fake.turn(duplicate_at=1)
    metrics = desk.told(fills(2))
    assert (metrics.fetched_executions_count, metrics.inserted_executions_count, metrics.merged_sightings_count) == (3, 2, 1)
    assert metrics.state == "complete"


def test_a_slow_frame_is_waited_for(desk: SocketWorld) -> None:
    desk.fake.turn(delay_at=3, delay_seconds=0.2)
    assert desk.told(fills(2), again=False).state == "complete"


@pytest.mark.parametrize("when", ["as_planned", "early", "late", "twice"])
def test_scenario_25_commissions_are_found_whenever_they_come(desk: SocketWorld, when: str) -> None:
    desk.fake.turn(commissions=when, late_seconds=0.02)
    metrics = desk.told(fills(2))
    assert (metrics.state, metrics.missing_commissions_count) == ("complete", 0)
    assert {row["commission"] for row in desk.executions(PAPER).values()} == {Decimal("1.0")}


def test_scenario_25_a_commission_that_never_comes_is_unknown_and_fills_in_later(desk: SocketWorld) -> None:
    desk.fake.turn(commissions="never")
    metrics = within(QUICK.commissions, lambda: desk.told(fills(1), again=False))
    assert (metrics.state, metrics.missing_commissions_count) == ("complete", 1)
    assert [row["commission"] for row in desk.executions(PAPER).values()] == [None]
    desk.fake.turn(commissions="as_planned")
    metrics = desk.told(fills(1), again=False)
    assert (metrics.updated_executions_count, metrics.missing_commissions_count) == (1, 0)
    assert [row["commission"] for row in desk.executions(PAPER).values()] == [Decimal("1.0")]


def test_scenario_26_signs_and_currencies_of_commissions_are_kept(desk: SocketWorld) -> None:
    one, two = paid(1, "-0.3333"), paid(2, "1.2")
    two[4] = "CHF"
    desk.told([fill(1, perm_id="7"), one, fill(2, perm_id="7"), two])
    rows = desk.executions(PAPER)
    assert [(row["commission"], row["commission_currency"]) for row in rows.values()] == [
        (Decimal("-0.3333"), "USD"),
        (Decimal("1.2"), "CHF"),
    ]
    assert [trade["commission"] for trade in desk.trades(PAPER)] == [None]


def test_an_unreadable_commission_frame_leaves_its_execution_unpaid_and_the_run_partial(desk: SocketWorld) -> None:
    desk.fake.turn(extra_field_at=2)
    partial(desk, desk.told(fills(1), again=False), "commission_unreadable", stored=1)
    [row] = desk.query("select error_detail from ibkr.sync_runs")
    assert "one more" in row["error_detail"]


def test_what_is_pushed_after_the_end_is_taken_too(desk: SocketWorld) -> None:
    desk.fake.turn(live=(fill(9), paid(9)), late_seconds=0.02)
    metrics = desk.told([fill(1)], again=False)
    assert (metrics.state, metrics.library_dropped_count) == ("complete", 0)
    assert desk.executions(PAPER).keys() == {exec_id(1), exec_id(9)}


def test_scenario_27_a_commission_of_an_id_in_two_accounts_belongs_to_neither(desk: SocketWorld) -> None:
    desk.told([fill(1), fill(1, account="DU7654321"), paid(1)])
    assert [row["commission"] for row in desk.executions(PAPER).values()] == [None]
    assert desk.anomalies() == [("commission_ambiguous", exec_id(1))] * 2


def test_scenario_29_only_what_the_server_holds_is_covered(desk: SocketWorld) -> None:
    desk.fake.turn(reach_days=1)
    old, new = fill(1, at=DAY - timedelta(days=5)), fill(2, at=DAY)
    metrics = desk.told([old, new], lookback_days=30, reach_days=1)
    assert (metrics.state, metrics.inserted_executions_count) == ("complete", 1)
    assert metrics.window_start == NOW + timedelta(minutes=1) - timedelta(days=30)
    [run] = desk.query("select requested_from, requested_to from ibkr.sync_runs order by started_at limit 1")
    assert (run["requested_from"], run["requested_to"]) == (metrics.window_start, metrics.window_end)
    # the gateway's midnight, New York, one day before
    midnight = NOW.replace(day=5, hour=5, minute=0)
    assert {(one.covered.from_at, one.covered.to_at) for one in metrics.covered if one.covered} == {
        (midnight, NOW + timedelta(minutes=1))
    }
    days = desk.query("select day, state from ibkr.v_coverage_days where account_id = 11 order by day")
    shown = {row["day"].isoformat(): row["state"] for row in days}
    assert (shown["2025-12-07"], shown["2026-01-04"], shown["2026-01-05"]) == ("gap", "gap", "provisional")


def test_scenario_30_an_empty_window_is_complete_and_covered(desk: SocketWorld) -> None:
    metrics = desk.told([])
    assert (metrics.state, metrics.fetched_executions_count, metrics.touched_trades_count) == ("complete", 0, 0)
    assert {one.account_id for one in metrics.covered} == {11, 12}  # what this gateway manages of the desk's accounts
    assert desk.cursors() == 2


def test_scenario_34_a_cursor_stays_where_complete_runs_have_moved_it(desk: SocketWorld) -> None:
    desk.told([], again=False)
    before = desk.query("select * from ibkr.sync_cursors order by account_id")
    desk.fake.turn(drop_after=1)
    assert desk.told(fills(2), again=False).state == "partial"
    desk.fake.turn(drop_after=None, error_code=321)
    with pytest.raises(Unavailable):
        desk.asked()
    assert desk.query("select * from ibkr.sync_cursors order by account_id") == before


def test_scenario_33_two_runs_at_once_over_two_sockets_do_not_lock_each_other_out(desk: SocketWorld) -> None:
    both, names = ("DU1234567", "DU7654321"), range(1, 31)
    first = [fill(number, account=account) for number in names for account in both]
    second = [fill(number, account=account) for number in reversed(names) for account in reversed(both)]
    for frame in second[::2]:
        frame[14] = exec_id(frame[14].split(".")[1], 2)  # corrections of half of what the other run brings
        frame[19] = frame[23] = "60"
    results: list[SyncMetrics] = []
    with TwsFake(clock=desk.clock, reach_days=REACH_DAYS) as other:
        desk.fake.load(first)
        other.load(second)

        def work(fake: TwsFake) -> None:
            results.append(
                sync_trades_once(
                    desk.db,
                    socket_of(fake, desk.clock),
                    host=fake.host,
                    port=fake.port,
                    client_id=11,
                    connect_timeout_seconds=5,
                    lookback_days=2,
                    now=NOW,
                )
            )

        threads = [threading.Thread(target=work, args=(fake,)) for fake in (desk.fake, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    assert [result.state for result in results] == ["complete"] * 2
    assert all(result.adds_up for result in results)
    assert sum(result.inserted_executions_count for result in results) == 90
    corrected = {exec_id(number, revision) for number in names for revision in (1, 2)}
    states = desk.states("DU7654321")
    assert states.keys() == corrected
    assert {name for name, state in states.items() if state == "live"} == {exec_id(number, 2) for number in names}
    assert set(desk.states("DU1234567").values()) == {"live"}
