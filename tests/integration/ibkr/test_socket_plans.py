"""Plans of raw frames, answered by a fake TWS, asked through the real client library, stored in a real Postgres.

Each is told twice; the second run may change nothing. What each must yield is said beside the plans.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from fillbook.runtime.errors import Unavailable
from tests.support.ibkr_socket import PLANS, SocketWorld, plans

pytestmark = [
    pytest.mark.local_data,
    pytest.mark.skipif(not PLANS.exists(), reason="the sample data beside the repository is absent"),
]
PAPER, PAPER_TOO = "DU1234567", "DU7654321"
AT = datetime(2026, 1, 5, 15, 30, tzinfo=UTC)


def test_the_servers_part_of_a_connect_is_the_fakes_own(desk: SocketWorld) -> None:
    version, accounts, first_id, notice = plans()["handshake"]
    assert version[0] == str(desk.fake.knobs.server_version)
    assert accounts == ["15", "1", ",".join(desk.fake.knobs.accounts)]
    assert first_id == ["9", "1", "1"]
    desk.fake.turn(notice_codes=(int(notice[3]),))
    metrics = desk.told([])
    assert (metrics.state, metrics.fetched_executions_count) == ("complete", 0)


def test_two_partial_fills_are_two_executions_of_one_trade(desk: SocketWorld) -> None:
    metrics = desk.told(plans()["two_partials"])
    assert (metrics.state, metrics.inserted_executions_count, metrics.missing_commissions_count) == ("complete", 2, 0)
    [trade] = desk.trades(PAPER)
    assert (trade["total_quantity"], trade["avg_price"], trade["commission"]) == (100, Decimal("10.5"), Decimal("1.0"))
    assert trade["commission_currency"] == "USD"
    # scenario 26: the socket's mark of an unset number is no number
    assert {row["broker_realized_pnl"] for row in desk.executions(PAPER).values()} == {None}


def test_a_correction_supersedes_what_it_corrects(desk: SocketWorld) -> None:
    metrics = desk.told(plans()["correction"])
    assert (metrics.inserted_executions_count, metrics.canonical_changes_count) == (2, 0)
    assert list(desk.states(PAPER).values()) == ["superseded", "live"]
    [trade] = desk.trades(PAPER)
    assert (trade["total_quantity"], trade["avg_price"], trade["commission"]) == (60, Decimal("10.4"), Decimal("0.65"))


def test_a_correction_that_comes_first_stands_alone(desk: SocketWorld) -> None:
    desk.told(plans()["correction_first"])
    [row] = desk.executions(PAPER).values()
    assert (row["exec_revision"], row["state"], row["commission"]) == (2, "live", None)


def test_scenario_20_a_combo_is_its_summary_and_is_booked_by_its_legs(desk: SocketWorld) -> None:
    desk.told(plans()["combo_with_bag"])
    roles = sorted(row["exec_role"] for row in desk.executions(PAPER).values())
    assert roles == ["combo_summary", "leg", "leg"]
    [trade] = desk.trades(PAPER)
    assert (trade["side"], trade["total_quantity"], trade["avg_price"]) == ("BUY", 2, Decimal("1.92"))
    assert trade["commission"] == Decimal("9.48")
    assert len(desk.fills(PAPER)) == 2


def test_scenario_20_legs_that_come_one_run_before_their_summary_end_the_same(desk: SocketWorld) -> None:
    frames = plans()["combo_with_bag"]
    bag, legs = frames[:2], frames[2:]
    desk.told(legs)
    desk.told([*bag, legs[-1]])
    [trade] = desk.trades(PAPER)
    assert (trade["total_quantity"], trade["avg_price"], trade["commission"]) == (2, Decimal("1.92"), Decimal("9.48"))
    assert len(desk.fills(PAPER)) == 2


def test_scenario_21_pieces_of_a_leg_are_fills_and_no_corrections(desk: SocketWorld) -> None:
    metrics = desk.told(plans()["combo_five_segments"])
    assert metrics.missing_commissions_count == 3
    rows = desk.executions(PAPER)
    assert sorted(row["quantity"] for row in rows.values()) == [100, 100, 200]
    assert set(desk.states(PAPER).values()) == {"live"}
    [trade] = desk.trades(PAPER)
    assert (trade["total_quantity"], trade["avg_price"]) == (200, 0)
    assert "combo_summary" not in {row["exec_role"] for row in rows.values()}
    assert desk.anomalies() == []


def test_a_fill_from_outside_has_no_order_and_is_a_trade_by_itself(desk: SocketWorld) -> None:
    desk.told(plans()["perm_id_zero"])
    [row] = desk.executions(PAPER).values()
    assert (row["ib_order_id"], row["ib_perm_id"]) == (None, None)
    [trade] = desk.trades(PAPER)
    assert (trade["match_kind"], trade["confidence"]) == ("single", "low")


def test_ids_above_32_bits_and_every_digit_are_kept(desk: SocketWorld) -> None:
    desk.told(plans()["wide_ids"])
    assert [row["ib_perm_id"] for row in desk.executions(PAPER).values()] == [9876543210123]
    desk.told(plans()["forex_fraction"])
    row = desk.executions(PAPER)["FXSMLCUS.00055001.01.01"]
    assert (row["quantity"], row["price"], row["commission"]) == (Decimal("1143.28313142"), Decimal("1.15742"), 2)
    assert str(row["quantity"]) == "1143.28313142"


def test_times_are_read_by_their_own_words_and_a_bare_one_is_refused(desk: SocketWorld) -> None:
    metrics = desk.told(plans()["times"])
    assert (metrics.state, metrics.inserted_executions_count, metrics.quarantined_rows_count) == ("partial", 5, 1)
    assert {row["executed_at"] for row in desk.executions(PAPER).values()} == {AT}
    assert desk.quarantined() == ["time_without_zone"]
    assert desk.cursors() == 0


def test_a_target_that_accepts_bare_times_gives_them_its_zone(desk: SocketWorld) -> None:
    metrics = desk.told(plans()["times"], accepts_bare_times=True)
    assert (metrics.state, metrics.inserted_executions_count) == ("complete", 6)
    assert {row["executed_at"] for row in desk.executions(PAPER).values()} == {AT}


def test_scenario_27_one_execution_id_in_two_accounts_is_two_executions(desk: SocketWorld) -> None:
    metrics = desk.told(plans()["two_accounts_same_exec_id"])
    assert metrics.inserted_executions_count == 2
    assert [row["quantity"] for row in desk.executions(PAPER).values()] == [100]
    assert [row["quantity"] for row in desk.executions(PAPER_TOO).values()] == [7]
    assert (len(desk.trades(PAPER)), len(desk.trades(PAPER_TOO))) == (1, 1)


def test_a_commission_after_the_end_is_waited_for(desk: SocketWorld) -> None:
    metrics = desk.told(plans()["late_commission"])
    [row] = desk.executions(PAPER).values()
    assert (row["commission"], row["broker_realized_pnl"]) == (Decimal("1.05"), Decimal("12.5"))
    assert metrics.missing_commissions_count == 0


def test_a_commission_before_its_execution_is_found_in_the_raw_frames(desk: SocketWorld) -> None:
    desk.told(plans()["commission_before_execution"])
    assert [row["commission"] for row in desk.executions(PAPER).values()] == [Decimal("1.0")]


def test_a_fill_the_library_drops_is_kept_in_quarantine(desk: SocketWorld) -> None:
    metrics = desk.told(plans()["undecodable"])
    assert (metrics.state, metrics.inserted_executions_count, metrics.library_dropped_count) == ("partial", 0, 1)
    assert desk.quarantined() == ["unknown_zone"]
    assert desk.executions(PAPER) == {}


def test_a_refused_request_is_a_failed_run(desk: SocketWorld) -> None:
    with pytest.raises(Unavailable, match="gateway_request_failed"):
        desk.told(plans()["request_error"], again=False)
    assert desk.query("select state, error_class from ibkr.sync_runs") == [
        {"state": "failed", "error_class": "gateway_request_failed"}
    ]
    assert (desk.executions(PAPER), desk.cursors()) == ({}, 0)
