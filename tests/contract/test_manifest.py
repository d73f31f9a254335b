"""The manifest is whole and true: it names what exists, what exists is named, and its limits fit together."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from fillbook.mt5 import job, worker
from fillbook.mt5.settings import AccountSyncConfig
from fillbook.outbox.model import EVENT_TYPES
from fillbook.replay import api
from fillbook.replay import jobs as replay_jobs
from fillbook.replay.settings import ReplayWorkerConfig
from fillbook.snapshot import publish, publisher
from infra.manifest import DATABASE_ENV, Function, ManifestError, load, parse

ROOT = Path(__file__).resolve().parents[2]
IDENTITY = ("oidc", "admin")  # an identity token is taken; admin: a desk key as well
MANIFEST = load()
NAMES = list(MANIFEST.functions)
ORDERS = "orders-processed"  # published by the desk's order system, which is none of ours
DENIED = tuple(f"{name}." for name in ("grpc", "aiohttp", "numpy", "sqlalchemy", "alembic", "pandas", "google.cloud.sql"))


@pytest.fixture(scope="module", params=NAMES)
def function(request: pytest.FixtureRequest) -> Function:
    return MANIFEST.functions[request.param]


@pytest.fixture(scope="module")
def imported(function: Function, started: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """What importing the function's main.py in a new interpreter brings in."""
    return started(function.name)


def test_every_folder_has_an_entry_and_every_entry_a_folder() -> None:
    assert sorted(path.name for path in (ROOT / "functions").iterdir() if path.is_dir()) == sorted(NAMES)


def test_the_entry_point_is_named_like_the_folder(function: Function, imported: dict[str, Any]) -> None:
    assert imported["entry_point"], f"main.py has no callable {function.name}"


def test_the_settings_are_the_fields_of_the_config_class(function: Function, imported: dict[str, Any]) -> None:
    assert set(imported["settings"]) == function.settings


def test_a_job_entry_is_a_callable_of_the_shell(function: Function) -> None:
    if function.job_entry is not None:
        text = (ROOT / "functions" / function.name / "main.py").read_text("utf-8")
        assert f"\ndef {function.job_entry}() -> None:" in text


def test_the_job_of_mt5_is_the_one_that_is_started_as_often_as_the_code_says() -> None:
    starter = MANIFEST.functions["account_sync"]
    (shard,) = (MANIFEST.functions[name] for name in starter.starts_jobs)
    assert (starter.name, starter.service_account) == (worker.SYNC, worker.IDENTITY)
    assert (shard.name, shard.job_name, shard.job_tasks_max) == (worker.SHARD, job.JOB, job.TASKS_MAX)
    assert starter.env["FILLBOOK_REGION"] == MANIFEST.region == AccountSyncConfig.model_fields["fillbook_region"].default


def test_the_job_of_replay_is_the_one_that_is_started_as_often_as_its_settings_say() -> None:
    entry = MANIFEST.functions["replay_worker"]
    assert entry.starts_jobs == (entry.name,)
    assert (entry.job_name, entry.service_account) == (replay_jobs.JOB, api.IDENTITY)
    assert entry.env["REPLAY_TASKS_MAX"] == str(entry.job_tasks_max)
    assert entry.env["FILLBOOK_REGION"] == MANIFEST.region == ReplayWorkerConfig.model_fields["fillbook_region"].default


def test_whoever_starts_jobs_is_told_project_and_region() -> None:
    for entry in MANIFEST.functions.values():
        assert not entry.starts_jobs or {"FILLBOOK_PROJECT", "FILLBOOK_REGION"} <= entry.settings


def test_what_a_class_requires_is_a_default_here_a_secret_or_given_by_deployment(
    function: Function, imported: dict[str, Any]
) -> None:
    assert set(imported["required"]) <= {*function.env, *function.secrets, *function.implied_env}


def test_a_cold_start_imports_nothing_dear(imported: dict[str, Any]) -> None:
    assert [name for name in imported["modules"] if f"{name}.".startswith(DENIED)] == []


def test_a_function_without_database_role_has_no_driver(function: Function, imported: dict[str, Any]) -> None:
    if not function.database_roles:
        assert "pg8000" not in imported["modules"]
        assert "fillbook.runtime.db" not in imported["modules"]


def test_the_pools_that_a_shell_opens_are_of_the_size_that_is_counted(function: Function, imported: dict[str, Any]) -> None:
    assert sum(imported["pools"]) == function.pool_size
    assert len(imported["pools"]) == bool(function.database_roles) or function.name == publisher.NAME  # refreshes have their own


def test_the_places_of_a_shell_are_those_of_the_manifest(function: Function, imported: dict[str, Any]) -> None:
    assert imported["places"] == ([[function.concurrency, function.waiting]] if function.waiting else [])


def test_who_waits_in_an_instance_is_answered_within_seconds(function: Function) -> None:
    assert not function.waiting or function.timeout_seconds <= 60, "a request that is minutes of work belongs on another instance"


def test_a_pool_is_four_to_eight_connections_or_one_of_a_function_that_does_one_thing_at_a_time(function: Function) -> None:
    assert function.pool_size == 0 or 4 <= function.pool_size <= 8 or function.pool_size == function.concurrency == 1


def test_limits_are_what_the_platform_takes(function: Function) -> None:
    assert 1 <= function.timeout_seconds <= 3600
    assert 128 <= function.memory_mb <= 4096
    assert 0 <= function.min_instances <= function.max_instances
    assert len(function.cloud_name) <= 49
    assert re.fullmatch(r"fb-[a-z-]{3,27}", function.service_account)


def test_every_function_has_an_identity_of_its_own() -> None:
    accounts = [entry.service_account for entry in MANIFEST.functions.values()]
    accounts += [MANIFEST.push_identity, MANIFEST.schedule_identity]
    assert len(set(accounts)) == len(accounts)


def test_nothing_is_a_secret_and_a_setting_at_once(function: Function) -> None:
    groups = (function.implied_env, tuple(function.env), function.secrets, function.optional_secrets)
    assert [pair for pair in itertools.combinations(groups, 2) if set(pair[0]) & set(pair[1])] == []


def test_a_setting_that_looks_like_a_secret_is_one(function: Function) -> None:
    assert [name for name in function.env if re.search(r"TOKEN|SECRET|PASSWORD|WEBHOOK$|KEYS?$", name)] == []


def test_the_database_settings_follow_from_the_roles(function: Function) -> None:
    assert set(DATABASE_ENV) <= function.settings or not function.database_roles


def test_a_subscription_is_named_after_its_topic_and_its_function() -> None:
    assert [entry.name for entry in MANIFEST.subscriptions if entry.name != f"{entry.topic}-{entry.function}"] == []


def test_a_subscription_gives_a_message_up_after_twenty_attempts_to_a_topic_that_is_read() -> None:
    read = {entry.topic: entry for entry in MANIFEST.subscriptions}
    for entry in MANIFEST.subscriptions:
        if entry.topic.endswith("-dead"):
            assert (entry.attempts_max, entry.dead_letter_topic) == (None, None)
            assert entry.path in ("/dead", "/pubsub/dead")
        else:
            expected = "signals-dead" if entry.topic.startswith("signals") else f"{entry.topic}-dead"
            assert (entry.attempts_max, entry.dead_letter_topic) == (20, expected)
            assert read[expected].function == entry.function


def test_deadlines_and_retries_are_what_the_platform_takes() -> None:
    for entry in MANIFEST.subscriptions:
        function = MANIFEST.functions[entry.function]
        assert 10 <= entry.ack_deadline_seconds <= 600
        assert 0 <= entry.retry_min_seconds <= entry.retry_max_seconds <= 600
        assert function.timeout_seconds <= entry.ack_deadline_seconds, "a push is given up before the function is stopped"


def test_what_is_pushed_or_scheduled_has_a_route_that_asks_for_identity() -> None:
    targets = [(entry.function, entry.path) for entry in MANIFEST.subscriptions]
    targets += [(entry.function, entry.path) for entry in MANIFEST.schedules]
    for name, path in targets:
        routes = {(route.method, route.path): route.caller for route in MANIFEST.functions[name].routes}
        assert routes.get(("POST", path)) in IDENTITY, f"{name} {path}"


def test_every_identity_route_has_a_caller_and_no_other_function_has_one(function: Function) -> None:
    wants = any(route.caller in IDENTITY for route in function.routes)
    assert bool(MANIFEST.callers(function.name)) is wants


def test_every_topic_is_read_and_every_living_topic_is_written() -> None:
    assert {entry.topic for entry in MANIFEST.subscriptions} == set(MANIFEST.topics)
    written = {topic for entry in MANIFEST.functions.values() for topic in entry.publishes}
    dead = {entry.dead_letter_topic for entry in MANIFEST.subscriptions if entry.dead_letter_topic}
    assert written | dead | {ORDERS} == set(MANIFEST.topics)


def test_schedules_are_valid_and_fit_their_functions() -> None:
    assert len({entry.name for entry in MANIFEST.schedules}) == len(MANIFEST.schedules)
    for entry in MANIFEST.schedules:
        ZoneInfo(entry.time_zone)
        CronSim(entry.cron, datetime(2026, 2, 3, tzinfo=UTC))
        assert entry.retries in (1, 2, 3)
        assert MANIFEST.functions[entry.function].timeout_seconds <= entry.deadline_seconds <= 1800


@pytest.mark.parametrize("monday", [date(2026, 3, 2), date(2026, 3, 23), date(2026, 10, 19), date(2026, 10, 26)])
def test_accounts_are_synced_twelve_times_in_every_hour_also_in_weeks_whose_clocks_change(monday: date) -> None:
    (entry,) = [one for one in MANIFEST.schedules if one.function == "account_sync" and "sync_type" in one.body]
    begins = datetime.combine(monday, time(), UTC)
    fired: Counter[datetime] = Counter()
    for at in CronSim(entry.cron, (begins - timedelta(seconds=1)).astimezone(ZoneInfo(entry.time_zone))):
        if at.astimezone(UTC) >= begins + timedelta(days=14):
            break
        fired[at.astimezone(UTC).replace(minute=0)] += 1
    assert fired == {begins + timedelta(hours=hour): 12 for hour in range(14 * 24)}


def test_callers_of_account_sync_are_told_apart_by_the_accounts_of_the_manifest() -> None:
    assert MANIFEST.schedule_identity == worker.SCHEDULER
    assert MANIFEST.operator_identity == worker.OPERATOR
    assert MANIFEST.functions["trade_tracker"].service_account == worker.TRACKER
    assert MANIFEST.functions[worker.SYNC].service_account == worker.IDENTITY
    assert worker.SHARD in MANIFEST.functions
    assert set(MANIFEST.callers(worker.SYNC)) == {worker.SCHEDULER, worker.OPERATOR, worker.TRACKER}


SLOTS = {"premarket": "09:00", "midday": "12:30", "postmarket": "16:30", "watch": "17:00"}
WEEKS = [date(2026, 2, 9), date(2026, 3, 9), date(2026, 7, 6), date(2026, 11, 2)]


@pytest.mark.parametrize("monday", WEEKS)
@pytest.mark.parametrize("slot", SLOTS)
def test_a_snapshot_slot_is_at_its_new_york_time_on_each_weekday_in_winter_summer_and_after_both_changes(
    slot: str, monday: date
) -> None:
    (entry,) = [one for one in MANIFEST.schedules if one.function == publisher.NAME and one.body == {"slot": slot}]
    zone = ZoneInfo(entry.time_zone)
    found = [moment for moment, _ in zip(CronSim(entry.cron, datetime.combine(monday, time(), zone)), range(5), strict=False)]
    assert [moment.date() for moment in found] == [monday + timedelta(days=number) for number in range(5)]
    assert {f"{moment.astimezone(zone):%H:%M}" for moment in found} == {SLOTS[slot]}
    assert (entry.time_zone, entry.retries, entry.retry_min_seconds) == ("America/New_York", 2, 30)


def test_the_publisher_is_called_by_its_schedule_and_by_people_and_its_calls_end_in_time() -> None:
    entry = MANIFEST.functions[publisher.NAME]
    assert MANIFEST.schedule_identity == publisher.SCHEDULER
    assert set(MANIFEST.callers(publisher.NAME)) == {publisher.SCHEDULER, MANIFEST.operator_identity}
    assert entry.timeout_seconds > publish.CALL_SECONDS
    assert entry.concurrency == publisher.CONCURRENCY


def test_the_outbox_knows_the_same_events_as_the_manifest() -> None:
    assert set(EVENT_TYPES) == set(MANIFEST.events)
    for name, entry in MANIFEST.events.items():
        assert EVENT_TYPES[name].topic == entry.topic
        assert EVENT_TYPES[name].rooms == entry.rooms


def test_an_event_of_a_living_room_goes_to_a_living_topic() -> None:
    rooms = {path.parent.name for path in (ROOT / "shared" / "fillbook").glob("*/service.py")}
    for entry in MANIFEST.events.values():
        if rooms & set(entry.rooms):
            assert entry.topic in MANIFEST.topics, entry.event_type


def test_channels_are_the_three_that_exist() -> None:
    assert {entry.channel for entry in MANIFEST.events.values()} == {"executions", "ops", "lanes", None}


SMALL = """
project_local: local
region: moon
python: "3.11"
database: {max_connections: 10}
identities: {push: pusher, schedule: clock, operator: person}
functions:
  one:
    purpose: A specimen.
    trigger: http
    routes: {POST /: oidc}
    timeout_seconds: 10
    memory_mb: 128
    concurrency: 4
    max_instances: 1
    min_instances: 0
    service_account: fb-one
    publishes: [topic]
    called_by: [one]
    database_roles: [room_reader]
topics: {topic: messages, topic-dead: messages given up}
subscriptions:
  - {name: topic-one, topic: topic, function: one, path: /, ack_deadline_seconds: 10, retry_min_seconds: 1,
     retry_max_seconds: 2, ordering: true, attempts_max: 20, dead_letter_topic: topic-dead}
schedules:
  - {name: tick, function: one, path: /, cron: "* * * * *", time_zone: UTC, body: {}, retries: 3, deadline_seconds: 10}
events:
  happened: {room: room, topic: topic, channel: null}
roles: {rooms: [room], others: []}
"""

BROKEN = [
    ("region: moon", "region: moon\nregion: mars", "stands twice"),
    ("region: moon", "colour: blue", "unknown"),
    ("trigger: http", "trigger: pigeon", "trigger must be"),
    ("publishes: [topic]", "publishes: [nowhere]", "no topic nowhere"),
    ("database_roles: [room_reader]", "database_roles: [king]", "no group role king"),
    ("called_by: [one]", "called_by: [nobody]", "no caller nobody"),
    ("{name: topic-one, topic: topic, function: one", "{name: topic-one, topic: topic, function: nobody", "no function nobody"),
    ("{name: tick, function: one", "{name: tick, function: nobody", "no function nobody"),
    ("dead_letter_topic: topic-dead", "dead_letter_topic: nowhere", "no topic nowhere"),
    ("memory_mb: 128", "memory_gb: 1", "memory_gb"),
    (", retries: 3", "", "retries"),
    ("{POST /: oidc}", "{POST /: trust}", "caller 'trust'"),
    ("{POST /: oidc}", "{POST: oidc}", "route 'POST'"),
    (", channel: null", "", "channel"),
]


def test_a_small_manifest_is_read_whole() -> None:
    manifest = parse(SMALL)
    assert manifest.callers("one") == ("pusher", "clock", "fb-one")
    assert manifest.functions["one"].pool_size == 4
    assert manifest.roles == ("room_reader", "room_writer")


@pytest.mark.parametrize(("right", "wrong", "complaint"), BROKEN)
def test_a_manifest_that_contradicts_itself_is_refused(right: str, wrong: str, complaint: str) -> None:
    assert right in SMALL
    with pytest.raises(ManifestError, match=re.escape(complaint)):
        parse(SMALL.replace(right, wrong))
