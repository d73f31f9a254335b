"""Runs of account_sync against a fake broker: what is answered, logged, stored and counted (specification 14)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Thread
from typing import Any
from unittest.mock import Mock

import pytest

from fillbook.mt5.accounts import AccountSync
from fillbook.runtime import clock
from fillbook.runtime.errors import Unavailable
from tests.support.mt5_runs import NOW, OPERATOR, SCHEDULER, SLOT, Fleet

CONTRACT = (
    "success",
    "executionId",
    "totalAccounts",
    "successCount",
    "failureCount",
    "partialCount",
    "duration_ms",
    "syncResults",
)
ADDED = ("skippedCount", "deferredCount", "notDueCount", "cursor", "deadlineReached", "mode")
ENTRY = ("account_id", "status", "started_at", "completed_at", "duration_ms", "trades_synced")


def test_scenario_1_three_healthy_accounts_are_synced_logged_and_equal_to_the_broker(fleet: Fleet) -> None:
    ids = fleet.fleet(3)
    answer = fleet.tick()
    assert (answer["status_code"], answer["success"]) == (200, True)
    assert answer["successCount"] == answer["totalAccounts"] == 3
    assert {one["account_id"] for one in answer["syncResults"]} == set(ids)
    assert [row["status"] for row in fleet.logs()] == ["success"] * 3
    for name, account_id in fleet.accounts.items():
        row, truth = fleet.row(account_id), fleet.fake.truth(name)
        assert (row["balance"], row["equity"]) == (Decimal(truth["balance"]), Decimal(truth["equity"]))
        assert (row["sync_failure_count"], row["last_connection_error"]) == (0, None)
        assert row["last_sync_at"] == row["last_successful_sync_at"] is not None


def test_scenario_2_without_an_active_account_there_is_a_message_and_no_log_row(fleet: Fleet) -> None:
    answer = fleet.tick()
    assert (answer["status_code"], answer["success"], answer["totalAccounts"]) == (200, True, 0)
    assert answer["message"] == "No active accounts to sync"
    assert fleet.logs() == []
    assert fleet.run(answer["executionId"])["status"] == "finished"


@pytest.mark.parametrize("contract", ["v1", "v0"])
def test_scenario_3_twenty_five_accounts_go_in_three_batches_of_ten(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], contract: str
) -> None:
    ids = fleet.fleet(25)
    fleet.fake.add_instance("default", contract=contract)
    fleet.fake.fault("latency", ms=30)
    answer = fleet.tick(mt5_batch_delay_ms=100)
    assert answer["successCount"] == 25
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    told = [line["detail"] for line in lines if line["message"] == "processing_batch"]
    assert told == [f"Processing batch {number}/3" for number in (1, 2, 3)]
    assert sorted(str(row["account_id"]) for row in fleet.logs()) == sorted(ids)
    calls = [one for one in fleet.fake.world.calls.entries if one.account]
    assert fleet.fake.world.calls.in_flight_max <= 10
    starts = sorted(min(one.at for one in calls if one.account == name) for name in fleet.accounts)
    ends = sorted(max(one.ended_at or 0 for one in calls if one.account == name) for name in fleet.accounts)
    assert starts[10] - ends[9] >= 0.1
    assert starts[20] - ends[19] >= 0.1
    (end,) = [line for line in lines if line["message"] == "run_ended"]
    assert len(end["batches_ms"]) == 3


def test_the_answer_has_the_contracts_keys_in_its_order(fleet: Fleet) -> None:
    fleet.fleet(2)
    fleet.fake.fault("status", code=401, account="a01")
    answer = fleet.call()
    keys = [key for key in answer if key != "status_code"]
    assert keys == [*CONTRACT, *ADDED]
    good, bad = sorted(answer["syncResults"], key=lambda one: one["status"], reverse=True)
    assert tuple(good) == ENTRY
    assert tuple(bad) == (*ENTRY, "error_message", "error_code", "attempts")
    assert good["started_at"].endswith("Z")
    assert len(good["started_at"]) == len("2026-01-15T10:30:00.000Z")
    kinds = {key: type(answer[key]) for key in CONTRACT}
    assert kinds == dict(zip(CONTRACT, (bool, str, int, int, int, int, int, list), strict=True))


def test_scenario_6_an_account_whose_code_breaks_fails_alone(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = fleet.fleet(3)
    fetched = AccountSync._fetched

    def breaking(self: AccountSync, claimed: Any, deadline: float) -> Any:
        if claimed.account_id == ids[1]:
            raise ZeroDivisionError
        return fetched(self, claimed, deadline)

    monkeypatch.setattr(AccountSync, "_fetched", breaking)
    answer = fleet.call()
    assert (answer["success"], answer["successCount"], answer["failureCount"]) == (True, 2, 1)
    (bad,) = [one for one in answer["syncResults"] if one["status"] == "failed"]
    assert (bad["account_id"], bad["error_code"]) == (ids[1], "internal")
    (row,) = fleet.logs("failed")
    assert row["error_code"] == "internal"
    assert row["duration_ms"] >= 0
    assert fleet.row(ids[1])["sync_failure_count"] == 1


@pytest.mark.parametrize("place", ["_close", "fetch"])
def test_scenario_6_a_crash_beyond_the_accounts_own_edge_is_its_failure_too(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    ids = fleet.fleet(3)
    fleet.query("update mt5.trading_accounts set sync_failure_count = 2 where id = :id::uuid returning 1", id=ids[1])
    kept = getattr(AccountSync, place)

    def breaking(self: AccountSync, account: Any, *args: Any, **named: Any) -> Any:
        if getattr(account, "claimed", account).account_id == ids[1]:
            clock.sleep(0.03)
            raise ZeroDivisionError
        return kept(self, account, *args, **named)

    monkeypatch.setattr(AccountSync, place, breaking)
    answer = fleet.call()
    assert (answer["successCount"], answer["failureCount"], answer["deferredCount"]) == (2, 1, 0)
    (bad,) = [one for one in answer["syncResults"] if one["status"] == "failed"]
    assert (bad["account_id"], bad["error_code"], bad["error_message"]) == (ids[1], "internal", "Internal error")
    (row,) = fleet.logs("failed")
    assert (str(row["account_id"]), row["error_code"]) == (ids[1], "internal")
    assert 30 <= row["duration_ms"] == bad["duration_ms"]
    account = fleet.row(ids[1])
    assert (account["sync_failure_count"], account["last_error_code"], account["lease_until"]) == (3, "internal", None)
    assert datetime.fromisoformat(account["next_due_at"]) > NOW + timedelta(minutes=8), "it waits as after any third failure"
    assert [event["data"]["failures"] for event in fleet.events("sync_failed")] == [3]


def test_a_run_fails_only_when_every_account_did(fleet: Fleet) -> None:
    fleet.fleet(2)
    fleet.fake.fault("status", code=401, account="a00")
    assert fleet.call()["success"]
    fleet.clock.step(60)
    fleet.fake.fault("status", code=400)
    answer = fleet.call()
    assert (answer["status_code"], answer["success"], answer["failureCount"]) == (200, False, 2)


def test_an_unhealthy_service_skips_its_accounts_and_leaves_their_counters(fleet: Fleet) -> None:
    ids = fleet.fleet(2)
    fleet.fake.fault("health", status="unhealthy")
    answer = fleet.tick()
    assert (answer["success"], answer["skippedCount"], answer["totalAccounts"]) == (False, 2, 2)
    assert {one["error_code"] for one in answer["syncResults"]} == {"service_unhealthy"}
    assert [row["status"] for row in fleet.logs()] == ["skipped"] * 2
    assert fleet.row(ids[0])["sync_failure_count"] == 0
    assert not [one for one in fleet.fake.world.calls.entries if one.account]


def test_a_degraded_service_is_asked_for_balances_and_positions_alone(fleet: Fleet) -> None:
    ids = fleet.fleet(2)
    fleet.fake.fault("health", status="degraded")
    answer = fleet.tick()
    assert (answer["partialCount"], answer["failureCount"]) == (2, 0)
    assert {one["error_code"] for one in answer["syncResults"]} == {"service_degraded"}
    assert fleet.row(ids[0])["sync_failure_count"] == 0
    assert {one.endpoint for one in fleet.fake.world.calls.entries if one.account} == {"snapshot"}


# --- slots -------------------------------------------------------------------------------------------------------------


def test_a_slot_that_is_asked_for_again_is_told_the_first_runs_answer(fleet: Fleet) -> None:
    fleet.fleet(2)
    first = fleet.tick()
    fleet.clock.step(30)
    calls = fleet.fake.world.calls.total
    again = fleet.tick(SLOT)
    assert again["duplicate"] is True
    for key in ("executionId", "totalAccounts", "successCount", "success"):
        assert again[key] == first[key], key
    assert {one["account_id"] for one in again["syncResults"]} == {one["account_id"] for one in first["syncResults"]}
    assert fleet.fake.world.calls.total == calls
    assert len(fleet.logs()) == 2


def test_a_run_that_fell_silent_is_taken_over_and_what_it_finished_stays(fleet: Fleet) -> None:
    ids = fleet.fleet(3)
    first = fleet.tick()
    run_id = first["executionId"]
    fleet.query(
        "update mt5.sync_runs set status = 'running', finished_at = null, heartbeat_at = clock_timestamp() - interval '61 s',"
        " total_accounts = 0, success_count = 0 returning 1"
    )
    fleet.query(
        "update mt5.account_sync_state set last_run_id = null, next_due_at = '-infinity' where account_id = :id::uuid"
        " returning 1",
        id=ids[2],
    )
    fleet.query("delete from mt5.sync_logs where account_id = :id::uuid returning 1", id=ids[2])
    again = fleet.tick(SLOT)
    assert (again["executionId"], "duplicate" in again) == (run_id, False)
    assert (again["totalAccounts"], again["successCount"]) == (3, 3)
    assert len(fleet.logs()) == 3
    row = fleet.run(run_id)
    assert (row["status"], row["total_accounts"], row["success_count"]) == ("finished", 3, 3)


def test_a_run_that_is_alive_is_not_taken_over(fleet: Fleet) -> None:
    fleet.fleet(1)
    fleet.tick()
    fleet.query("update mt5.sync_runs set status = 'running', finished_at = null, heartbeat_at = clock_timestamp() returning 1")
    assert fleet.tick(SLOT)["duplicate"] is True


def test_accounts_that_are_not_due_are_left_out_and_counted(fleet: Fleet) -> None:
    fleet.fleet(3)
    fleet.tick()
    fleet.clock.step(60)
    fleet.query("delete from mt5.sync_runs returning 1")
    answer = fleet.tick()
    assert (answer["totalAccounts"], answer["notDueCount"]) == (0, 3)
    assert "message" not in answer
    fleet.clock.step(240)
    assert fleet.tick()["totalAccounts"] == 3


# --- by hand ------------------------------------------------------------------------------------------------------------


def test_scenario_29_one_account_by_hand_is_synced_once_a_minute_and_logged_as_manual(fleet: Fleet) -> None:
    ids = fleet.fleet(2)
    answer = fleet.call({"account_id": ids[0]})
    assert (answer["status_code"], answer["totalAccounts"], answer["successCount"]) == (200, 1, 1)
    assert [(str(row["account_id"]), row["sync_type"]) for row in fleet.logs()] == [(ids[0], "manual")]
    fleet.clock.step(20)
    again = fleet.call({"account_id": ids[0]})
    assert (again["status_code"], again["retry_after"]) == (429, 40)
    assert len(fleet.query("select 1 from mt5.sync_runs")) == 1
    fleet.clock.step(41)
    assert fleet.call({"account_id": ids[0]})["status_code"] == 200


def test_scenario_29_an_account_that_is_being_synced_names_the_run_that_is_at_it(fleet: Fleet) -> None:
    ids = fleet.fleet(1)
    fleet.fake.fault("latency", ms=700, endpoint="snapshot")
    answers: list[dict[str, Any]] = []
    thread = Thread(target=lambda: answers.append(fleet.tick()))
    thread.start()
    while not fleet.query("select 1 from mt5.account_sync_state where lease_until is not null"):
        pass
    busy = fleet.call({"account_id": ids[0]})
    thread.join()
    assert (busy["status_code"], busy["error"]) == (409, "sync_running")
    assert busy["executionId"] == answers[0]["executionId"]
    assert answers[0]["successCount"] == 1


@pytest.mark.parametrize("case", ["unknown", "inactive", "foreign"])
def test_scenario_29_an_account_that_is_not_the_callers_is_not_found(fleet: Fleet, case: str) -> None:
    ids = fleet.fleet(1)
    by = OPERATOR
    if case == "unknown":
        ids = ["00000000-0000-4000-8000-000000000000"]
    elif case == "inactive":
        fleet.query("update mt5.trading_accounts set is_active = false returning 1")
    else:
        by = replace(OPERATOR, tenant_id="somebody-else")
    answer = fleet.call({"account_id": ids[0]}, by=by)
    assert (answer["status_code"], answer["message"]) == (404, f"Account {ids[0]} not found or inactive")
    assert fleet.logs() == []
    assert fleet.query("select 1 from mt5.sync_runs") == []


def test_an_account_whose_login_was_refused_is_skipped_unless_an_operator_forces(fleet: Fleet) -> None:
    ids = fleet.fleet(1)
    fleet.query("update mt5.trading_accounts set connection_status = 'needs_reauth' returning 1")
    assert fleet.call()["totalAccounts"] == 0
    answer = fleet.call({"account_id": ids[0]})
    assert [one["error_code"] for one in answer["syncResults"]] == ["needs_reauth"]
    assert fleet.call({"account_id": ids[0], "force": True})["successCount"] == 1


def test_a_manual_run_takes_all_active_accounts_whether_due_or_not(fleet: Fleet) -> None:
    fleet.fleet(3)
    fleet.tick()
    fleet.clock.step(30)
    answer = fleet.call({"sync_type": "manual"})
    assert (answer["successCount"], answer["notDueCount"]) == (3, 0)
    assert {row["sync_type"] for row in fleet.logs()} == {"scheduled", "manual"}


def test_scenario_24_two_tenants_with_one_login_have_two_sets_and_see_their_own(fleet: Fleet) -> None:
    fleet.link("shared", login=77, tenant_id="desk")
    theirs = fleet.linked("shared", login=77, tenant_id="guest")
    by = replace(OPERATOR, tenant_id="guest")
    answer = fleet.call(by=by)
    assert [one["account_id"] for one in answer["syncResults"]] == [theirs]
    fleet.clock.step(300)
    assert fleet.tick()["successCount"] == 2
    trades = fleet.query("select tenant_id, id, ticket from mt5.trades order by tenant_id")
    assert [row["tenant_id"] for row in trades] == ["desk", "guest"]
    assert trades[0]["ticket"] == trades[1]["ticket"]
    assert trades[0]["id"] != trades[1]["id"]
    assert len(fleet.query("select distinct book_id from ledger.v_actions where book_id like 'mt5:%'")) == 2
    assert fleet.call({"account_id": theirs}, by=replace(OPERATOR, tenant_id="desk"))["status_code"] == 404


# --- status and keeping --------------------------------------------------------------------------------------------------


def test_more_accounts_due_than_a_service_can_give_is_told(fleet: Fleet) -> None:
    fleet.fleet(3)
    fleet.tick(mt5_sessions_max=1)
    assert fleet.events("capacity_exceeded") == []
    fleet.query("update mt5.sync_hours set duration_ms_sum = 400000 returning 1")
    fleet.clock.step(300)
    fleet.tick(mt5_sessions_max=1)
    (event,) = fleet.events("capacity_exceeded")
    assert (event["data"]["due_accounts"], event["data"]["capacity"]) == (3, 0)


def test_a_run_that_is_taken_over_tells_once_that_more_is_due_than_can_be_given(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.fleet(3)
    fleet.tick()
    fleet.query("update mt5.sync_hours set duration_ms_sum = 400000 returning 1")
    fleet.clock.step(300)
    with monkeypatch.context() as broken:
        broken.setattr("fillbook.mt5.runs.work_accounts", Mock(side_effect=Unavailable("database_unavailable")))
        with pytest.raises(Unavailable):
            fleet.tick(mt5_sessions_max=1)
    assert fleet.tick(mt5_sessions_max=1)["successCount"] == 3
    assert len(fleet.events("capacity_exceeded")) == 1


def test_maintenance_keeps_tables_in_bounds(fleet: Fleet) -> None:
    fleet.fleet(1)
    fleet.tick()
    fleet.clock.step(86_400 * 100)
    answer = fleet.call({"task": "maintenance"}, by=SCHEDULER)
    assert (answer["success"], answer["kept"]["is_whole"], answer["kept"]["runs"]) == (True, True, 1)
    assert fleet.logs() == []


def test_a_run_that_loses_its_database_is_answered_and_may_be_taken_over(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.fleet(2)

    def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("database_unavailable")

    with monkeypatch.context() as patch:
        patch.setattr("fillbook.mt5.part.store.hand_back", away)
        with pytest.raises(Unavailable):
            fleet.tick()
    (run,) = fleet.query("select run_id, status::text as status, error_code from mt5.sync_runs")
    assert (run["status"], run["error_code"]) == ("failed", "database_unavailable")
    answer = fleet.tick(NOW - timedelta(seconds=20))
    assert (answer["executionId"], answer["successCount"]) == (str(run["run_id"]), 2)


def test_the_configured_service_is_written_down_and_an_operators_word_of_its_clock_stays(fleet: Fleet) -> None:
    fleet.fleet(1)
    fleet.query("update mt5.service_instances set epoch_clock = 'utc', base_url = 'http://127.0.0.1:1' returning 1")
    assert fleet.call(mt5_sessions_max=7)["successCount"] == 1
    (row,) = fleet.query("select base_url, sessions_max, epoch_clock::text as clock from mt5.service_instances")
    assert (row["base_url"], row["sessions_max"], row["clock"]) == (fleet.fake.base_url, 7, "utc")


def test_sessions_and_leases_are_given_back_at_the_end_of_a_run(fleet: Fleet) -> None:
    fleet.fleet(12)
    fleet.tick()
    assert fleet.query("select 1 from mt5.session_slots where holder is not null") == []
    assert fleet.query("select 1 from mt5.account_sync_state where lease_until > clock_timestamp()") == []
