"""What stops a run early: brokers that are down, a budget that is used up, a published limit; and what takes up the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fillbook.mt5.accounts import AccountSync
from fillbook.runtime.errors import Unavailable
from tests.support.mt5_runs import OTHER_SERVER, Fleet


def test_scenario_31_a_broker_that_is_down_is_left_alone_and_no_other_suffers(fleet: Fleet) -> None:
    fleet.fake.add_server(OTHER_SERVER)
    for number in range(40):
        fleet.link(f"down{number:02d}", server=OTHER_SERVER, login=9_000 + number)
    healthy = fleet.fleet(12)
    fleet.fake.fault("status", code=503, error_code="BROKER_UNAVAILABLE", server=OTHER_SERVER)
    answer = fleet.tick(mt5_retry_max=0)
    by_status: dict[str, list[str]] = {}
    for one in answer["syncResults"]:
        by_status.setdefault(one["status"], []).append(one["account_id"])
    assert set(by_status["success"]) == set(healthy)
    assert len(by_status["failed"]) <= 5 + 10
    assert len(by_status["skipped"]) == 40 - len(by_status["failed"])
    assert [event["data"]["breaker"] for event in fleet.events("breaker_opened")] == [f"broker:{OTHER_SERVER}"]
    fleet.fake.clear_faults()
    fleet.clock.step(300)
    again = fleet.tick(mt5_retry_max=0)
    assert again["failureCount"] == 0
    assert [event["data"]["breaker"] for event in fleet.events("breaker_closed")] == [f"broker:{OTHER_SERVER}"]
    (row,) = fleet.query("select state::text as state from mt5.service_breakers where key = :key", key=f"broker:{OTHER_SERVER}")
    assert row["state"] == "closed"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A budget of four seconds, and a first guess that fits it."""
    monkeypatch.setattr("fillbook.mt5.pacing.FIRST_GUESS_SECONDS", 0.5)
    monkeypatch.setattr("fillbook.mt5.settings.EXPECTED_SECONDS", 1)
    return {"mt5_run_budget_seconds": 4, "mt5_commit_margin_seconds": 1}


def test_scenario_28_a_run_ends_in_its_budget_and_a_continuation_finishes_it(fleet: Fleet, short: dict[str, Any]) -> None:
    ids = fleet.fleet(40)
    fleet.fake.fault("latency", ms=800, endpoint="snapshot")
    answer = fleet.tick(**short)
    assert answer["deadlineReached"] is True
    assert answer["cursor"]
    assert answer["deferredCount"] + answer["successCount"] == answer["totalAccounts"] == 40
    assert 0 < answer["successCount"] < 40
    assert answer["duration_ms"] <= 20_000  # bounded, not measured: a busy machine commits slowly
    assert fleet.run(answer["executionId"])["status"] == "deadline"
    (message,) = fleet.take_shards()
    assert json.loads(message)["data"]["run_id"] == answer["executionId"]
    fleet.fake.clear_faults()
    fleet.deliver(message)
    assert sorted(str(row["account_id"]) for row in fleet.logs()) == sorted(ids)
    row = fleet.run(answer["executionId"])
    assert (row["status"], row["success_count"], row["total_accounts"]) == ("finished", 40, 40)


def test_a_cursor_takes_up_what_is_left_and_the_message_then_finds_nothing(fleet: Fleet, short: dict[str, Any]) -> None:
    ids = fleet.fleet(40)
    fleet.fake.fault("latency", ms=800, endpoint="snapshot")
    first = fleet.tick(**short)
    fleet.fake.clear_faults()
    # what is stored and not the answer says what is left: one that was cut at the deadline while it committed is told as deferred
    done = len(fleet.logs())
    assert first["successCount"] <= done < 40
    rest = fleet.call({"cursor": first["cursor"]})
    assert (rest["executionId"], rest["successCount"]) == (first["executionId"], 40 - done)
    assert (rest["deadlineReached"], rest["cursor"]) == (False, None)
    (message,) = fleet.take_shards()
    assert fleet.deliver(message) is None
    assert sorted(str(row["account_id"]) for row in fleet.logs()) == sorted(ids)


def test_a_published_limit_defers_accounts_and_counts_no_failure(fleet: Fleet) -> None:
    fleet.fleet(12)
    fleet.fake.add_instance("default", requests_per_minute=20)
    answer = fleet.tick(mt5_account_budget_seconds=2, mt5_sessions_max=4)
    assert answer["failureCount"] == answer["partialCount"] == 0
    assert answer["deferredCount"] > 0
    assert answer["successCount"] + answer["deferredCount"] == 12
    assert fleet.fake.world.calls.most_in() <= 16
    assert {row["sync_failure_count"] for row in fleet.query("select sync_failure_count from mt5.trading_accounts")} == {0}
    assert fleet.query("select 1 from mt5.account_sync_state where lease_until > clock_timestamp()") == []


def test_accounts_that_met_a_database_away_for_a_moment_are_handed_on_within_their_run(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fleet.fleet(6)
    kept = AccountSync._close

    def close(self: AccountSync, account: Any, *args: Any, **named: Any) -> Any:
        if getattr(account, "claimed", account).account_id in ids[:2]:
            raise Unavailable("database_unavailable")
        return kept(self, account, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(AccountSync, "_close", close)
        answer = fleet.tick()
    assert (answer["successCount"], answer["failureCount"], answer["deferredCount"]) == (4, 0, 2)
    assert answer["cursor"]
    (message,) = fleet.take_shards()
    fleet.deliver(message)
    run = fleet.run(answer["executionId"])
    assert (run["status"], run["success_count"], run["total_accounts"]) == ("finished", 6, 6)
    assert sorted(str(row["account_id"]) for row in fleet.logs("success")) == sorted(ids)
