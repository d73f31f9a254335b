"""The plan of the cloud is the manifest's, both ways: all of it is planned and nothing else; what is counted is logged."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.cloud import model, names
from infra.cloud.desk import Desk
from infra.cloud.look import inner, secret_versions, settings
from infra.cloud.model import Resource
from infra.cloud.signs import ALERTS, LOGGED, METRICS
from infra.cloud.watch import limit
from infra.database.roles import logins
from infra.door import builds
from infra.manifest import load
from tests.support.cloud import one, planned
from tests.support.cloud import settings as example

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = load()
PLAN = planned()
SETTINGS = example()
PROJECT = SETTINGS.project
PEOPLE = {entry.account for entry in MANIFEST.database.people.values()}


def of(kind: str) -> Iterator[Resource]:
    return (resource for resource in PLAN if resource.type == kind)


def member(account: str) -> str:
    return f"serviceAccount:{account}@{PROJECT}.iam.gserviceaccount.com"


def grants(kind: str, key: str, role: str) -> set[tuple[str, str]]:
    """What a role is granted on, with whom."""
    return {(found.get(key), found.get("member")) for found in of(kind) if found.get("role") == role}


def test_every_function_is_a_service_and_every_service_a_function() -> None:
    assert {found.get("name") for found in of(model.SERVICE)} == {entry.cloud_name for entry in MANIFEST.functions.values()}


def test_a_service_has_the_limits_of_its_function() -> None:
    for entry in MANIFEST.functions.values():
        service = one(PLAN, f"service/{entry.cloud_name}")
        assert service.get("template.timeout") == f"{entry.timeout_seconds}s"
        assert service.get("template.max_instance_request_concurrency") == entry.threads
        scaling = {"min_instance_count": entry.min_instances, "max_instance_count": entry.max_instances}
        assert service.get("template.scaling") == scaling
        assert service.get("template.containers.0.resources.limits.memory") == f"{entry.memory_mb}Mi"
        assert service.get("template.service_account") == f"{entry.service_account}@{PROJECT}.iam.gserviceaccount.com"


def test_every_function_that_is_a_job_too_and_the_migration_are_jobs_and_nothing_else_is() -> None:
    entries = {entry.job_name: entry for entry in MANIFEST.functions.values() if entry.job_entry is not None}
    assert {found.get("name") for found in of(model.JOB)} == {*entries, names.MIGRATE_JOB}
    for name, entry in entries.items():
        job = one(PLAN, f"job/{name}")
        assert job.get("template.parallelism") == entry.job_tasks_max
        container = inner(job)["containers"][0]
        assert (*container["commands"], *container["args"]) == names.job_command(entry)
    migration = MANIFEST.database.migrate
    assert migration is not None
    assert inner(one(PLAN, f"job/{names.MIGRATE_JOB}"))["timeout"] == f"{migration.timeout_seconds}s"


@pytest.mark.parametrize("name", MANIFEST.functions)
def test_settings_and_secrets_are_those_that_the_function_reads_and_all_that_it_requires(
    name: str, started: Callable[[str], dict[str, Any]]
) -> None:
    entry = MANIFEST.functions[name]
    service = one(PLAN, f"service/{entry.cloud_name}")
    given, secret = settings(service), secret_versions(service)
    assert {*given, *secret} - {"THREADS"} <= entry.settings
    assert set(started(name)["required"]) <= {*given, *secret}
    assert set(secret) == {*entry.secrets, *(each for each in entry.optional_secrets if each in SETTINGS.secret_versions)}
    assert all(version == SETTINGS.secret_versions[each] for each, (_, version) in secret.items())
    if "FILLBOOK_OIDC_CALLERS" in given:
        callers = [f"{account}@{PROJECT}.iam.gserviceaccount.com" for account in MANIFEST.callers(name)]
        assert given["FILLBOOK_OIDC_CALLERS"].split(",") == callers
        assert (given.get("FILLBOOK_OIDC_PLATFORM_VERIFIED") == "true") is not names.is_keyed(entry)


def test_a_build_changes_nothing_of_a_service_or_job_that_the_plan_does_not_say_too() -> None:
    for entry in MANIFEST.functions.values():
        flags, service = builds.service_flags(entry), one(PLAN, f"service/{entry.cloud_name}")
        assert flags["--timeout"] == service.get("template.timeout").rstrip("s")
        assert flags["--memory"] == service.get("template.containers.0.resources.limits.memory")
        assert flags["--concurrency"] == str(service.get("template.max_instance_request_concurrency"))
        assert flags["--max-instances"] == str(service.get("template.scaling.max_instance_count"))
        assert flags["--min-instances"] == str(service.get("template.scaling.min_instance_count"))
        assert flags["--update-env-vars"].items() <= settings(service).items()
        if entry.job_entry is not None:
            flags, task = builds.job_flags(entry), inner(one(PLAN, f"job/{entry.job_name}"))
            assert (f"{flags['--task-timeout']}s", flags["--max-retries"]) == (task["timeout"], str(task["max_retries"]))
            assert flags["--update-env-vars"].items() <= settings(one(PLAN, f"job/{entry.job_name}")).items()


def test_topics_and_subscriptions_are_those_of_the_manifest_to_the_letter() -> None:
    assert {found.get("name") for found in of(model.TOPIC)} == set(MANIFEST.topics)
    assert {found.get("name") for found in of(model.SUBSCRIPTION)} == {entry.name for entry in MANIFEST.subscriptions}
    for entry in MANIFEST.subscriptions:
        found, function = one(PLAN, f"subscription/{entry.name}"), MANIFEST.functions[entry.function]
        address = names.service_url(function, MANIFEST.region, SETTINGS.project_number)
        assert found.get("topic") == f"projects/{PROJECT}/topics/{entry.topic}"
        assert found.get("push_config.push_endpoint") == f"{address}{entry.path}"
        assert found.get("ack_deadline_seconds") == entry.ack_deadline_seconds
        assert found.get("enable_message_ordering") == entry.ordering
        assert found.get("retry_policy.minimum_backoff") == f"{entry.retry_min_seconds}s"
        assert found.get("retry_policy.maximum_backoff") == f"{entry.retry_max_seconds}s"
        assert found.get("dead_letter_policy.max_delivery_attempts") == entry.attempts_max
        dead = entry.dead_letter_topic and f"projects/{PROJECT}/topics/{entry.dead_letter_topic}"
        assert found.get("dead_letter_policy.dead_letter_topic") == dead


def test_schedules_are_those_of_the_manifest_to_the_letter() -> None:
    assert {found.get("name") for found in of(model.SCHEDULE)} == {entry.name for entry in MANIFEST.schedules}
    for entry in MANIFEST.schedules:
        found, function = one(PLAN, f"schedule/{entry.name}"), MANIFEST.functions[entry.function]
        address = names.service_url(function, MANIFEST.region, SETTINGS.project_number)
        assert found.get("http_target.uri") == f"{address}{entry.path}"
        assert json.loads(base64.b64decode(found.get("http_target.body"))) == entry.body
        assert (found.get("schedule"), found.get("time_zone")) == (entry.cron, entry.time_zone)
        assert found.get("retry_config.retry_count") == entry.retries
        assert found.get("retry_config.min_backoff_duration") == f"{entry.retry_min_seconds}s"
        assert found.get("attempt_deadline") == f"{entry.deadline_seconds}s"


def test_every_account_of_the_manifest_is_made_and_no_other_but_the_builds_and_the_machines() -> None:
    accounts = {entry.service_account for entry in MANIFEST.functions.values()} | PEOPLE
    accounts |= {MANIFEST.push_identity, MANIFEST.schedule_identity, MANIFEST.operator_identity}
    accounts |= {names.MIGRATE_ACCOUNT, names.BUILD_ACCOUNT, names.GATEWAY_ACCOUNT}
    found = [found.get("account_id") for found in of(model.ACCOUNT)]
    assert len(found) == len(set(found))
    assert set(found) == accounts
    assert all(re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", account) for account in found)


def test_a_service_is_invoked_by_the_callers_of_the_manifest_and_by_nobody_else() -> None:
    wanted = {
        (MANIFEST.functions[name].cloud_name, member(account))
        for name in MANIFEST.functions
        for account in MANIFEST.callers(name)
    }
    keyed = {(entry.cloud_name, "allUsers") for entry in MANIFEST.functions.values() if names.is_keyed(entry)}
    assert grants(model.SERVICE_MEMBER, "name", "roles/run.invoker") == wanted | keyed
    assert {name for name, _ in keyed} == {"signal-ingest", "snapshot-api", "trade-tracker"}


def test_a_job_is_started_by_those_who_say_so_and_by_the_operator() -> None:
    entries = [entry for entry in MANIFEST.functions.values() if entry.job_entry is not None]
    wanted = {(entry.job_name, member(account)) for entry in entries for account in MANIFEST.job_starters(entry.name)}
    wanted.add((names.MIGRATE_JOB, member(MANIFEST.operator_identity)))
    assert grants(model.JOB_MEMBER, "name", "roles/run.jobsExecutorWithOverrides") == wanted


def test_a_topic_is_published_to_by_the_functions_that_say_so_and_by_pubsub_where_messages_are_given_up() -> None:
    wanted = {(topic, member(entry.service_account)) for entry in MANIFEST.functions.values() for topic in entry.publishes}
    agent = f"serviceAccount:service-{SETTINGS.project_number}@gcp-sa-pubsub.iam.gserviceaccount.com"
    wanted |= {(entry.dead_letter_topic, agent) for entry in MANIFEST.subscriptions if entry.dead_letter_topic}
    assert grants(model.TOPIC_MEMBER, "topic", "roles/pubsub.publisher") == wanted


def test_a_secret_is_read_by_the_functions_it_belongs_to_and_every_secret_is_made() -> None:
    readers = names.secret_readers(MANIFEST)
    assert {found.get("secret_id") for found in of(model.SECRET)} == {names.secret_id(name) for name in readers}
    wanted = {(names.secret_id(name), member(account)) for name in SETTINGS.secret_versions for account in readers[name]}
    assert grants(model.SECRET_MEMBER, "secret_id", "roles/secretmanager.secretAccessor") == wanted


def test_whoever_logs_in_to_the_database_is_whom_the_migration_gives_its_groups() -> None:
    wanted = {login.name for login in logins(MANIFEST, PROJECT)}
    assert {found.get("name") for found in of(model.SQL_USER)} == wanted
    for role in ("roles/cloudsql.client", "roles/cloudsql.instanceUser"):
        found = {found.get("member") for found in of(model.PROJECT_MEMBER) if found.get("role") == role}
        assert found == {f"serviceAccount:{name}.gserviceaccount.com" for name in wanted}


def test_every_grant_is_of_a_role_that_is_on_this_list() -> None:
    roles = {resource.get("role") for resource in PLAN if resource.get("role")}
    assert roles == {
        "roles/artifactregistry.writer",
        "roles/cloudsql.client",
        "roles/cloudsql.instanceUser",
        "roles/compute.osAdminLogin",
        "roles/iam.serviceAccountTokenCreator",
        "roles/iam.serviceAccountUser",
        "roles/iap.tunnelResourceAccessor",
        "roles/logging.logWriter",
        "roles/monitoring.metricWriter",
        "roles/pubsub.publisher",
        "roles/pubsub.subscriber",
        "roles/run.developer",
        "roles/run.invoker",
        "roles/run.jobsExecutorWithOverrides",
        "roles/secretmanager.secretAccessor",
    }


def test_who_calls_another_function_leaves_through_the_network_as_the_other_lets_in_only_what_comes_from_inside() -> None:
    for entry in MANIFEST.functions.values():
        for function in names.called(entry, MANIFEST).values():
            assert settings(one(PLAN, f"service/{entry.cloud_name}"))[f"{function.name.upper()}_URL"].startswith("https://")
            assert one(PLAN, f"service/{entry.cloud_name}").get("template.vpc_access.egress") == "ALL_TRAFFIC"
    assert one(PLAN, "subnet/run").get("private_ip_google_access") is True


def test_the_network_has_addresses_for_twice_of_everything_that_is_in_it() -> None:
    inside = [entry for entry in MANIFEST.functions.values() if entry.database_roles]
    at_once = sum(entry.max_instances + (entry.job_tasks_max if entry.job_entry else 0) for entry in inside) + 1
    run, gateway = (ipaddress.ip_network(one(PLAN, f"subnet/{name}").get("ip_cidr_range")) for name in ("run", "gateway"))
    assert at_once * 2 * 2 <= run.num_addresses
    assert not run.overlaps(gateway)
    targets = json.loads(SETTINGS.env["execution_sync"]["IBKR_TWS_TARGETS"])
    assert [ipaddress.ip_address(target["host"]) in gateway for target in targets] == [True]


def test_what_starts_a_build_is_what_the_door_wrote() -> None:
    listed = yaml.safe_load((ROOT / "infra" / "cloud" / "triggers.yaml").read_text("utf-8"))
    assert [found.get("name") for found in of(model.TRIGGER)] == [entry["name"] for entry in listed]
    assert all(found.get("approval_config.approval_required") is True for found in of(model.TRIGGER))


def test_what_is_counted_is_a_line_that_the_code_writes_with_its_field() -> None:
    texts = [path.read_text("utf-8") for path in (ROOT / "shared" / "fillbook").rglob("*.py")]
    for metric in METRICS:
        if metric.event is not None:
            writers = [text for text in texts if f'"{metric.event}",' in text]
            assert writers, metric.event
            wanted = [*metric.labels, *([metric.field] if metric.field else [])]
            assert all(any(re.search(rf"\b{name}=", text) for text in writers) for name in wanted), metric.name


def test_an_alert_looks_at_a_metric_that_is_there_and_at_an_event_that_there_is() -> None:
    counted = {f"{LOGGED}/{metric.name}" for metric in METRICS}
    for alert in ALERTS:
        assert alert.condition.metric in counted or not alert.condition.metric.startswith(LOGGED)
        event = re.search(r'event_type="(\w+)"', alert.condition.where)
        assert event is None or event[1] in MANIFEST.events
        assert event is None or MANIFEST.events[event[1]].topic == "events"
        assert alert.meaning
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)


def test_the_alert_of_connections_begins_where_the_budget_of_all_pools_ends() -> None:
    (alert,) = (alert for alert in ALERTS if alert.name == "connections")
    (found,) = (found for found in of(model.ALERT) if found.name == "alert/connections")
    assert found.get("conditions.0.condition_threshold.threshold_value") == MANIFEST.max_connections * 8 // 10
    flags = {flag["name"]: flag["value"] for flag in one(PLAN, "database/server").get("settings.database_flags")}
    assert flags["max_connections"] == str(MANIFEST.max_connections)
    assert alert.condition.above == 0, "the table holds no number that the manifest has"


def test_the_dashboard_has_a_chart_of_every_alert_and_no_two_of_them_overlap() -> None:
    document = json.loads(one(PLAN, "dashboard").get("dashboard_json"))
    tiles = document["mosaicLayout"]["tiles"]
    assert [tile["widget"]["title"] for tile in tiles] == [alert.title for alert in ALERTS]
    assert len({(tile["xPos"], tile["yPos"]) for tile in tiles}) == len(tiles)
    assert all(tile["xPos"] + tile["width"] <= document["mosaicLayout"]["columns"] for tile in tiles)


def test_the_function_of_a_limit_is_the_alerts_own_but_for_connections() -> None:
    desk = Desk(manifest=MANIFEST, settings=SETTINGS)
    assert [alert.name for alert in ALERTS if limit(desk, alert) != alert.condition.above] == ["connections"]
