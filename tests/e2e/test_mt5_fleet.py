"""Room mt5 in real processes: a large fleet, accounts that hang or lie, a short budget, messages that come at once.

With FILLBOOK_FULL=1 the numbers are those of the specification; by default they are small and all tests share one desk.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.local import plan
from tests.e2e.conftest import NewDesk, desks
from tests.support.campaigns import IS_FULL, full_only, small_or_full, tell
from tests.support.mt5_fleet import SHARD, START, SUBSCRIPTION, SYNC, FleetDesk, post
from tests.support.mt5_lives import Lives
from tests.support.mt5_stories import IN_BOTH, STORIES
from tests.support.topics import envelope

pytestmark = [pytest.mark.bundles, pytest.mark.slow]

SEED = 20260203
SMALL = {
    "MT5_INLINE_ACCOUNTS_MAX": "40",
    "MT5_SHARD_ACCOUNTS_MAX": "3",
    "MT5_REQUEST_TIMEOUT_SECONDS": "2",
    "MT5_CONNECT_TIMEOUT_SECONDS": "2",
}
SHORT = {"MT5_RUN_BUDGET_SECONDS": "60"}
PLANNED_SHARDS = 24
WORKERS = 3

Desks = Callable[..., FleetDesk]


@pytest.fixture(scope="module")
def desk_of(tmp_path_factory: pytest.TempPathFactory, bundles: Path, cluster: Path) -> Iterator[Desks]:
    """The desk with such settings of ``account_sync``; in small runs the same one for all tests."""
    made: dict[tuple[tuple[str, str], ...], FleetDesk] = {}
    with desks(tmp_path_factory.mktemp("fleet"), bundles, cluster) as start:

        def desk(settings: Mapping[str, str] | None = None) -> FleetDesk:
            key = tuple(sorted((settings or {}).items())) if IS_FULL else ()
            if key not in made:
                made[key] = _started(start, f"desk{len(made)}", dict(key))
            one = made[key]
            one.cloud.clock.step(86_400)  # a day of its own: slots are single, and a breaker that opened is forgotten
            return one

        yield desk


def _started(start: NewDesk, name: str, settings: dict[str, str]) -> FleetDesk:
    cloud = start(
        name,
        functions=[SYNC, SHARD],
        desk_start=START,
        overrides={} if IS_FULL else SMALL,
        function_overrides={SYNC: settings, SHARD: settings},
    )
    cloud.control.pause_jobs()
    return FleetDesk(cloud)


def test_scenario_35_every_account_of_a_large_fleet_is_scheduled_and_synced_by_shards(desk_of: Desks) -> None:
    desk, count = desk_of(), small_or_full(72, 1200)
    names = desk.begin(count, seed=SEED, servers=3)
    begun = time.monotonic()
    answer = desk.tick()
    assert answer.status == 202, (answer, desk.cloud.logs(SYNC)[-3000:])
    assert (answer.document["mode"], answer.document["syncResults"]) == ("fanned_out", [])
    assert answer.document["shards"] >= PLANNED_SHARDS
    run = desk.wait_for_run(answer.document["executionId"], small_or_full(90, 1200))
    seconds = time.monotonic() - begun
    tell(f"{count} accounts in {run['shards_total']} shards: answered in {answer.seconds:.2f} s, all synced in {seconds:.1f} s")
    assert (run["state"], run["total_accounts"], run["success_count"]) == ("finished", count, count)
    assert run["shards_done"] == run["shards_total"] == answer.document["shards"]
    logged = desk.logs(answer.document["executionId"])
    assert sorted(one["account_id"] for one in logged) == sorted(desk.accounts.values())
    assert {one["status"] for one in logged} == {"success"}
    summary = desk.broker("calls", "GET")
    assert {name: summary["accounts"][name]["snapshot"] for name in names} == dict.fromkeys(names, 1)
    assert summary["in_flight_max"] <= 10, "sessions of the instance, whatever the window"
    assert desk.untrue() == []
    assert desk.differences() == 0


def test_one_account_that_hangs_and_one_whose_login_is_refused_hold_up_nobody(desk_of: Desks) -> None:
    desk, count = desk_of(), small_or_full(30, 300)
    names = desk.begin(count, seed=SEED + 1, servers=3)
    hanging, refused = names[3], names[17]
    desk.fault("hang", account=hanging)
    desk.fault("auth_failed", account=refused)
    answer = desk.tick()
    told = {one["account_id"]: one for one in answer.document["syncResults"]}
    figures = {one["status"]: 0 for one in told.values()} | Counter(one["status"] for one in told.values())
    tell(f"{count} accounts, one hanging, one refused: {figures} in {answer.seconds:.1f} s")
    assert answer.seconds < 270
    assert (answer.status, answer.document["success"], answer.document["mode"]) == (200, True, "inline")
    assert (answer.document["successCount"], answer.document["failureCount"]) == (count - 2, 2)
    assert (answer.document["deferredCount"], answer.document["skippedCount"]) == (0, 0)
    codes = {desk.accounts[hanging]: "timeout", desk.accounts[refused]: "auth_failed"}
    assert {account: one["error_code"] for account, one in told.items() if one["status"] == "failed"} == codes
    assert desk.untrue([name for name in names if name not in (hanging, refused)]) == []
    assert desk.number("select count(*) from mt5.service_breakers where state <> 'closed'") == 0


@full_only  # its small numbers: tests/integration/account_sync/test_limits.py
def test_scenario_28_a_budget_of_a_minute_stops_early_and_a_continuation_finishes(desk_of: Desks) -> None:
    desk, count = desk_of(SHORT), 300
    names = desk.begin(count, seed=SEED + 2, servers=3)
    for endpoint in ("snapshot", "deals"):
        desk.fault("latency", ms=1000, endpoint=endpoint)
    answer = desk.tick()
    document, begun = answer.document, time.monotonic()
    assert (answer.status, document["deadlineReached"], document["mode"]) == (200, True, "inline")
    assert document["cursor"]
    assert 0 < document["successCount"] < count
    assert document["successCount"] + document["deferredCount"] == count
    assert answer.seconds <= 61
    assert document["duration_ms"] <= 61_000
    run = desk.wait_for_run(document["executionId"], 480)
    tell(
        f"{document['successCount']} of {count} in {answer.seconds:.1f} s, the rest by {run['shards_total']} continuations in "
        f"{time.monotonic() - begun:.1f} s"
    )
    assert (run["state"], run["success_count"], run["total_accounts"]) == ("finished", count, count)
    assert sorted(one["account_id"] for one in desk.logs(document["executionId"])) == sorted(desk.accounts.values())
    worked = [json.loads(line) for line in desk.cloud.logs(SHARD).splitlines() if '"shard_worked"' in line]
    durations = [line["duration_ms"] for line in worked if line["execution_id"] == document["executionId"]]
    assert len(durations) >= run["shards_total"]
    assert max(durations) <= 61_000
    summary = desk.broker("calls", "GET")
    assert {name: summary["accounts"][name]["snapshot"] for name in names} == dict.fromkeys(names, 1)
    assert summary["in_flight_max"] <= 10
    assert desk.untrue() == []


def test_scenarios_of_single_accounts_hold_through_the_functions_in_both_languages(desk_of: Desks) -> None:
    desk = desk_of(SMALL)
    lives = Lives(desk, STORIES, IN_BOTH)
    ticks = 0
    while lives.go_on():
        ticks += 1
        desk.cloud.clock.step(300)
        answer = desk.tick()
        assert answer.status == 200, answer
        assert answer.document["mode"] == "inline"
        lives.look()
    tell(f"{lives.told} stories in {ticks} ticks")
    assert desk.differences() == 0


LIES = (
    ("wrong_login", {"endpoint": "snapshot", "login": 99}, ("failed", "identity_mismatch")),
    ("wrong_login", {"endpoint": "deals", "named_server": "Elsewhere-Live"}, ("failed", "identity_mismatch")),
    ("error_as_empty", {"what": "positions"}, ("partial", "incomplete")),
    ("error_as_empty", {"what": "history"}, ("partial", "incomplete")),
    ("error_as_empty", {"what": "positions", "lies": True}, ("success", None)),
    ("error_as_empty", {"what": "history", "lies": True}, ("success", None)),
    ("incomplete", {"part": "positions"}, ("partial", "incomplete")),
    ("incomplete", {"part": "history"}, ("partial", "incomplete")),
    ("page_drift", {}, ("success", None)),
    ("duplicate_rows", {}, ("success", None)),
    ("stale", {"age": 400, "declared": True}, ("success", None)),
    ("stale", {"age": 400, "declared": False}, ("success", None)),
    ("garbage", {"kind": "html"}, ("failed", "contract_error")),
    ("shape", {"variant": "null_list"}, ("partial", "contract_error")),
)


def test_a_service_that_lies_closes_nothing_and_whatever_it_told_is_true_in_the_end(desk_of: Desks) -> None:
    desk = desk_of()
    names = desk.begin(len(LIES), seed=SEED + 3, servers=2)
    assert desk.tick().document["successCount"] == len(LIES)
    desk.cloud.clock.step(300)
    desk.broker("fleet/trade", positions=2, seed=SEED)
    for name, (knob, rule, _) in zip(names, LIES, strict=True):
        desk.fault(knob, account=name, **rule)
    answer = desk.tick()
    told = {one["account_id"]: (one["status"], one.get("error_code")) for one in answer.document["syncResults"]}
    found = {f"{knob} {rule}": told[desk.accounts[name]] for name, (knob, rule, _) in zip(names, LIES, strict=True)}
    assert found == {f"{knob} {rule}": expected for knob, rule, expected in LIES}
    closed = desk.rows("select account_id::text as account_id, position_id, episode from mt5.trades where status = 'closed'")
    truly = {
        (desk.accounts[name], one["position_id"], one["episode"])
        for name in names
        for one in desk.broker(f"truth/{name}", "GET")["trades"]
        if one["status"] == "closed"
    }
    known = set(desk.accounts.values())
    assert {tuple(row.values()) for row in closed if row["account_id"] in known} <= truly
    desk.broker("faults", "DELETE")
    for _ in range(3):
        desk.cloud.clock.step(600)
        assert desk.tick().document["failureCount"] == 0
    assert desk.untrue() == []
    assert desk.differences() == 0


def test_shards_that_come_many_times_at_once_are_worked_once(desk_of: Desks) -> None:
    desk = desk_of()
    names = desk.begin(count := small_or_full(24, 120), seed=SEED + 4, servers=2)
    workers = [desk.cloud.url(SHARD), *(one.url for one in desk.more(SHARD, WORKERS - 1))]
    desk.cloud.control.pause(SUBSCRIPTION)
    desk.fault("latency", ms=40, jitter=40)
    answer = desk.call(wait=False)
    assert answer.status == 202
    run_id = answer.document["executionId"]
    messages = [
        row["payload"].encode()
        for row in desk.rows(
            "select payload::text as payload from outbox.events where event_type = 'mt5_sync_requested'"
            " and payload::jsonb -> 'data' ->> 'run_id' = :id",
            id=run_id,
        )
    ]
    assert len(messages) == answer.document["shards"] > 1
    function = desk.cloud.manifest.functions[SHARD]
    token = desk.cloud.control.token(plan.email(desk.cloud.manifest, desk.cloud.manifest.push_identity), plan.audience(function))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    deliveries = [(url, message) for message in messages for url in workers]
    statuses: Counter[int] = Counter()
    with ThreadPoolExecutor(len(workers) * 2) as pool:
        while deliveries:  # what is refused comes again
            replies = list(pool.map(lambda one: post(one[0], envelope_of(one[1]), headers).status, deliveries))
            statuses.update(replies)
            deliveries = [one for one, status in zip(deliveries, replies, strict=True) if status != 204]
    tell(f"{count} accounts in {len(messages)} shards, each delivered {len(workers)} times at once: {dict(statuses)}")
    assert set(statuses) <= {204, 503}
    desk.cloud.control.resume(SUBSCRIPTION)
    assert desk.cloud.control.wait_idle()
    run = desk.wait_for_run(run_id, 60)
    assert (run["state"], run["success_count"], run["total_accounts"]) == ("finished", count, count)
    assert sorted(one["account_id"] for one in desk.logs(run_id)) == sorted(desk.accounts.values())
    accounts = desk.broker("calls", "GET")["accounts"]
    assert {name: accounts[name]["snapshot"] for name in names} == dict.fromkeys(names, 1)
    assert desk.untrue() == []


def envelope_of(message: bytes) -> bytes:
    """A push of a message."""
    return json.dumps(envelope(message)).encode()
