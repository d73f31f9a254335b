"""The manifest is whole and true: it names what exists, what exists is named, and its limits fit together."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from fillbook.outbox.model import EVENT_TYPES
from infra.door import probe
from infra.manifest import DATABASE_ENV, Function, ManifestError, load, parse

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = load()
NAMES = list(MANIFEST.functions)
DENIED = tuple(f"{name}." for name in ("grpc", "aiohttp", "numpy", "sqlalchemy", "alembic", "pandas", "google.cloud.sql"))


@pytest.fixture(scope="module", params=NAMES)
def function(request: pytest.FixtureRequest) -> Function:
    return MANIFEST.functions[request.param]


@pytest.fixture(scope="module")
def imported(function: Function) -> dict[str, Any]:
    """What importing the function's main.py in a new interpreter brings in."""
    return probe.ask(ROOT / "functions" / function.name, function.name)


def test_every_folder_has_an_entry_and_every_entry_a_folder() -> None:
    assert sorted(path.name for path in (ROOT / "functions").iterdir() if path.is_dir()) == sorted(NAMES)


def test_the_entry_point_is_named_like_the_folder(function: Function, imported: dict[str, Any]) -> None:
    assert imported["entry_point"], f"main.py has no callable {function.name}"


def test_the_settings_are_the_fields_of_the_config_class(function: Function, imported: dict[str, Any]) -> None:
    assert set(imported["settings"]) == function.settings


def test_what_a_class_requires_is_a_default_here_a_secret_or_given_by_deployment(
    function: Function, imported: dict[str, Any]
) -> None:
    required = set(imported["required"])
    assert required <= {*function.env, *function.secrets, *function.implied_env}
    assert set(function.secrets) <= required, "a secret that the class can do without belongs under optional_secrets"


def test_a_cold_start_imports_nothing_dear(imported: dict[str, Any]) -> None:
    assert [name for name in imported["modules"] if f"{name}.".startswith(DENIED)] == []


def test_a_function_without_database_role_has_no_driver(function: Function, imported: dict[str, Any]) -> None:
    if not function.database_roles:
        assert "pg8000" not in imported["modules"]
        assert "fillbook.runtime.db" not in imported["modules"]


def test_the_pools_together_leave_a_fifth_of_the_connections_free() -> None:
    wanted = sum(entry.max_instances * entry.pool_size for entry in MANIFEST.functions.values())
    assert wanted <= MANIFEST.max_connections * 8 // 10


def test_a_pool_is_four_to_eight_connections(function: Function) -> None:
    assert function.pool_size == 0 or 4 <= function.pool_size <= 8


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
            assert (entry.attempts_max, entry.dead_letter_topic, entry.path) == (None, None, "/dead")
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
        assert routes.get(("POST", path)) == "oidc", f"{name} {path}"


def test_every_identity_route_has_a_caller_and_no_other_function_has_one(function: Function) -> None:
    wants = any(route.caller == "oidc" for route in function.routes)
    assert bool(MANIFEST.callers(function.name)) is wants


def test_every_topic_is_read_and_every_living_topic_is_written() -> None:
    assert {entry.topic for entry in MANIFEST.subscriptions} == set(MANIFEST.topics)
    written = {topic for entry in MANIFEST.functions.values() for topic in entry.publishes}
    dead = {entry.dead_letter_topic for entry in MANIFEST.subscriptions if entry.dead_letter_topic}
    assert written | dead == set(MANIFEST.topics)


def test_schedules_are_valid_and_fit_their_functions() -> None:
    assert len({entry.name for entry in MANIFEST.schedules}) == len(MANIFEST.schedules)
    for entry in MANIFEST.schedules:
        ZoneInfo(entry.time_zone)
        CronSim(entry.cron, datetime(2026, 2, 3, tzinfo=UTC))
        assert entry.retries == 3
        assert MANIFEST.functions[entry.function].timeout_seconds <= entry.deadline_seconds <= 1800


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


BROKEN = [
    ("project_local: fillbook-local", "project_local: a\nproject_local: b", "stands twice"),
    ("region: us-east4", "colour: blue", "unknown"),
    ("trigger: http", "trigger: carrier pigeon", "trigger must be"),
    ("publishes: [signals, signals-quarantine]", "publishes: [nowhere]", "no topic nowhere"),
    ("database_roles: [tracker_reader, tracker_writer]", "database_roles: [king]", "no group role king"),
    ("called_by: [trade_tracker]", "called_by: [nobody]", "no caller nobody"),
    ("    function: outbox_relay\n", "    function: nobody\n", "no function nobody"),
    ("    dead_letter_topic: events-dead\n", "    dead_letter_topic: nowhere\n", "no topic nowhere"),
    ("    memory_mb: 1024\n", "    memory_gb: 1\n", "memory_gb"),
    ("    deadline_seconds: 1800\n", "", "deadline_seconds"),
    ("POST /timed/ingest: ingest_token", "POST /timed/ingest: trust", "caller 'trust'"),
    ("{room: signal, topic: events, channel: lanes}", "{room: signal, topic: events}", "channel"),
]


@pytest.mark.parametrize(("right", "wrong", "complaint"), BROKEN)
def test_a_manifest_that_contradicts_itself_is_refused(right: str, wrong: str, complaint: str) -> None:
    text = (ROOT / "infra" / "functions.yaml").read_text("utf-8")
    assert right in text
    with pytest.raises(ManifestError, match=re.escape(complaint)):
        parse(text.replace(right, wrong))
