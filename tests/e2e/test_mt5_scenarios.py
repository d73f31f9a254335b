"""Room mt5 in real processes: the scenarios of runs and callers, which are more than the story of one account (mt5_stories)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fillbook.mt5.worker import OPERATOR
from infra.local import plan
from tests.e2e.conftest import desks
from tests.support.mt5_fleet import SHARD, START, SYNC, FleetDesk, post
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.bundles, pytest.mark.slow]

SEED = 20260204
DOWN = "Down-Live"
NOBODY = "00000000-0000-4000-8000-000000000000"
WEEKS = (((2026, 3, 6), 2), ((2026, 3, 10), 3), ((2026, 10, 27), 3), ((2026, 11, 3), 2))
"""Days around New York's and Europe's changes, and the hours by which a New York + 7 h server is ahead of UTC."""


@pytest.fixture(scope="module")
def cloud_desk(tmp_path_factory: pytest.TempPathFactory, bundles: Path, cluster: Path) -> Iterator[FleetDesk]:
    """One desk for all of them."""
    with desks(tmp_path_factory.mktemp("scenarios"), bundles, cluster) as start:
        cloud = start("desk", functions=[SYNC, SHARD], desk_start=START)
        cloud.control.pause_jobs()
        yield FleetDesk(cloud)


@pytest.fixture
def desk(cloud_desk: FleetDesk) -> FleetDesk:
    """The desk on a day of its own: slots are single, and a breaker that opened is forgotten."""
    cloud_desk.cloud.clock.step(86_400)
    return cloud_desk


def told_by(desk: FleetDesk, function: str, message: str) -> list[Mapping[str, Any]]:
    """Lines of a function's log."""
    lines = (line for line in desk.cloud.logs(function).splitlines() if f'"{message}"' in line)
    return [one for one in map(json.loads, lines) if one["message"] == message]


def test_scenario_1_three_healthy_accounts_are_synced_logged_and_equal_to_the_broker(desk: FleetDesk) -> None:
    names = desk.begin(3, seed=SEED)
    answer = desk.tick()
    assert (answer.status, answer.document["success"]) == (200, True)
    assert answer.document["successCount"] == answer.document["totalAccounts"] == 3
    assert [one["status"] for one in desk.logs(answer.document["executionId"])] == ["success"] * 3
    assert desk.untrue() == []
    rows = desk.rows("select * from mt5.trading_accounts where is_active")
    assert {str(row["id"]) for row in rows} == {desk.accounts[name] for name in names}
    assert {(row["sync_failure_count"], row["last_connection_error"]) for row in rows} == {(0, None)}


def test_scenario_2_without_an_active_account_there_is_a_message_and_no_log_row(desk: FleetDesk) -> None:
    desk.begin(0, seed=SEED)
    answer = desk.tick()
    assert (answer.status, answer.document["totalAccounts"]) == (200, 0)
    assert answer.document["message"] == "No active accounts to sync"
    assert desk.logs(answer.document["executionId"]) == []


def test_scenario_3_twenty_five_accounts_go_in_three_batches_of_ten(desk: FleetDesk) -> None:
    names = desk.begin(25, seed=SEED)
    desk.fault("latency", ms=30)
    answer = desk.tick()
    assert answer.document["successCount"] == 25
    lines = told_by(desk, SYNC, "processing_batch")
    batches = [line["detail"] for line in lines if line["execution_id"] == answer.document["executionId"]]
    assert batches == [f"Processing batch {number}/3" for number in (1, 2, 3)]
    logged = desk.logs(answer.document["executionId"])
    assert sorted(one["account_id"] for one in logged) == sorted(desk.accounts.values())
    assert desk.broker("calls", "GET")["in_flight_max"] <= 10
    calls = desk.calls()
    starts = sorted(min(one["at"] for one in calls if one["account"] == name) for name in names)
    ends = sorted(max(one["ended_at"] for one in calls if one["account"] == name) for name in names)
    assert starts[10] - ends[9] >= Decimal("0.1")
    assert starts[20] - ends[19] >= Decimal("0.1")


def test_scenario_6_an_account_whose_code_breaks_fails_alone(desk: FleetDesk) -> None:
    names = desk.begin(3, seed=SEED, servers=3)
    broken = desk.accounts[names[1]]
    desk.rows(
        "update mt5.servers set zone_name = 'Nowhere/City', zone_state = 'confirmed' where server ="
        " (select server from mt5.trading_accounts where id = :id::uuid) returning 1",
        id=broken,
    )
    answer = desk.tick()
    told = {one["account_id"]: one for one in answer.document["syncResults"]}
    assert (told.pop(broken)["status"], {one["status"] for one in told.values()}) == ("failed", {"success"})
    (row,) = [one for one in desk.logs(answer.document["executionId"]) if one["account_id"] == broken]
    assert row["error_code"] == "internal"
    assert row["duration_ms"] > 0


def test_scenario_24_two_tenants_with_one_login_have_two_sets_and_two_books(desk: FleetDesk) -> None:
    desk.begin(0, seed=SEED)
    desk.broker("servers", name="Shared-Live")
    made = desk.broker("accounts", id="shared", server="Shared-Live")[0]
    desk.broker(
        "accounts/shared/operations",
        operations=[
            {"kind": "deposit", "amount": "10000.00"},
            {"kind": "open", "symbol": "EURUSD", "side": "buy", "volume": "1.00", "price": "1.1", "ref": "p"},
            {"kind": "close", "position": "p", "price": "1.2"},
        ],
    )
    ids = []
    for tenant in ("north", "south"):
        desk.link(made, url=desk.cloud.place.mt5_url, tenant_id=tenant)
        ids.append(desk.accounts["shared"])
    answer = desk.tick()
    assert answer.document["successCount"] == 2, answer
    trades = desk.rows(
        "select tenant_id, account_id::text as account_id, id, ticket from mt5.trades where account_id = any(:ids::uuid[])"
        " order by tenant_id",
        ids=ids,
    )
    assert [(row["tenant_id"], row["account_id"]) for row in trades] == list(zip(("north", "south"), ids, strict=True))
    assert trades[0]["ticket"] == trades[1]["ticket"]
    assert trades[0]["id"] != trades[1]["id"]
    books = desk.rows("select distinct book_id, tenant_id from ledger.v_actions where tenant_id in ('north', 'south')")
    assert sorted(row["tenant_id"] for row in books) == ["north", "south"]
    assert len({row["book_id"] for row in books}) == 2


def test_scenario_25_times_follow_new_york_in_the_weeks_around_its_changes(desk: FleetDesk) -> None:
    desk.begin(0, seed=SEED)
    for day, hours in WEEKS:
        noon = datetime(*day, 12, 0, tzinfo=UTC)
        desk.cloud.clock.step((noon - desk.cloud.clock.now()).total_seconds())
        name = f"week{day[1]}-{day[2]}"
        desk.broker("servers", name=name)
        made = desk.broker("accounts", id=name, server=name)[0]
        at = desk.cloud.clock.now()
        desk.broker(
            f"accounts/{name}/operations",
            operations=[
                {"kind": "deposit", "amount": "1000.00"},
                {
                    "kind": "open",
                    "symbol": "EURUSD",
                    "side": "buy",
                    "volume": "0.10",
                    "price": "1.1",
                    "ref": "p",
                    "at": at.isoformat(),
                },
            ],
        )
        desk.link(made, url=desk.cloud.place.mt5_url)
        assert desk.call(account_id=desk.accounts[name]).document["successCount"] == 1
        (deal,) = desk.rows(
            "select d.time_server_msc, t.open_time from mt5.deals d join mt5.trades t using (account_id, position_id)"
            " where d.account_id = :id::uuid",
            id=desk.accounts[name],
        )
        assert deal["open_time"] == at, name
        assert deal["time_server_msc"] == int((at + timedelta(hours=hours)).timestamp() * 1000), name


def test_scenario_29_by_hand_one_account_is_synced_once_a_minute_and_a_busy_one_names_its_run(desk: FleetDesk) -> None:
    (name,) = desk.begin(1, seed=SEED)
    account = desk.accounts[name]
    first = desk.call(account_id=account)
    assert (first.status, first.document["successCount"]) == (200, 1)
    assert desk.rows("select sync_type from mt5.sync_logs where account_id = :id::uuid", id=account) == [{"sync_type": "manual"}]
    again = desk.call(account_id=account)
    assert (again.status, again.document["error"]) == (429, "too_soon")
    assert desk.call(account_id=NOBODY).status == 404
    desk.cloud.clock.step(300)
    desk.fault("latency", ms=1500, endpoint="snapshot")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(desk.tick)
        wait_until(lambda: desk.number("select count(*) from mt5.account_sync_state where lease_until is not null") == 1)
        busy = desk.call(account_id=account)
    assert (busy.status, busy.document["error"]) == (409, "sync_running")
    assert busy.document["executionId"] == running.result().document["executionId"]
    assert running.result().document["successCount"] == 1


def test_scenario_31_a_broker_that_is_down_is_left_alone_and_no_other_suffers(desk: FleetDesk) -> None:
    healthy = desk.begin(12, seed=SEED)
    desk.broker("servers", name=DOWN)
    for number in range(40):
        made = desk.broker("accounts", id=f"down{number:02d}", server=DOWN)[0]
        desk.link(made, url=desk.cloud.place.mt5_url)
    desk.fault("status", code=503, error_code="BROKER_UNAVAILABLE", server=DOWN)
    answer = desk.tick()
    figures = Counter(one["status"] for one in answer.document["syncResults"])
    told = {one["account_id"]: one["status"] for one in answer.document["syncResults"]}
    assert {told[desk.accounts[name]] for name in healthy} == {"success"}
    assert 0 < figures["failed"] <= 5 + 10
    assert figures["skipped"] == 40 - figures["failed"]
    state = "select state::text as state from mt5.service_breakers where key = :key"
    assert desk.rows(state, key=f"broker:{DOWN}") == [{"state": "open"}]
    desk.broker("faults", "DELETE")
    for _ in range(3):  # a failed account is due again after its back-off
        desk.cloud.clock.step(900)
        assert desk.tick().document["failureCount"] == 0
    assert desk.rows(state, key=f"broker:{DOWN}") == [{"state": "closed"}]
    assert desk.untrue() == []


def test_scenario_36_a_missing_setting_is_told_by_name_in_one_line(desk: FleetDesk) -> None:
    desk.begin(1, seed=SEED)
    (bare,) = desk.more(SYNC, without=("MT5_SERVICE_URL", "MT5_SERVICE_API_KEY"))
    function = desk.cloud.manifest.functions[SYNC]
    token = desk.cloud.control.token(plan.email(desk.cloud.manifest, OPERATOR), plan.audience(function))
    answer = post(f"{bare.url}/mt5/sync", b"{}", {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    assert (answer.status, answer.document["error"], answer.document["success"]) == (500, "configuration", False)
    lines = [json.loads(line) for line in bare.log.read_text().splitlines() if '"not_configured"' in line]
    assert [set(line["problems"]) for line in lines] == [{"MT5_SERVICE_URL", "MT5_SERVICE_API_KEY"}]
    assert desk.broker("calls", "GET")["total"] == 0
    assert desk.logs(answer.document["executionId"]) == []
