"""Every mistake planted into the plan is named by exactly the policy that is there for it, and the plan itself has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from infra.cloud import model
from infra.cloud.desk import Desk
from infra.cloud.look import sections
from infra.cloud.model import Plan
from infra.cloud.plan import resources
from infra.cloud.policies import POLICIES, violations
from infra.manifest import PATH, parse
from tests.support.cloud import ABSENT, changed, one, planned, plus, settings, without

NOTIFIER = "service/discord-notifier"
WORKER = "service/signal-worker"
EVENTS = "subscription/events-discord_notifier"
DEAD = "subscription/events-dead-discord_notifier"
SQL = "database/server"
WEBHOOK_RULES = "edge/signal-ingest/addresses"
FORGED = {"project": "fillbook-example", "location": "us-east4", "role": "roles/run.invoker", "member": "allUsers"}
AGENT = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One mistake: how it is planted, and which policy must name which resource."""

    name: str
    policy: str
    resource: str
    plant: Callable[[Plan], Plan]


def spoiled(name: str, policy: str, resource: str, path: str, value: object) -> Mistake:
    """One property of one resource is wrong."""
    return Mistake(name=name, policy=policy, resource=resource, plant=lambda plan: changed(plan, resource, path, value))


def lacking(name: str, policy: str, resource: str, *names: str) -> Mistake:
    """Resources are not there, and another one shows it."""
    return Mistake(name=name, policy=policy, resource=resource, plant=lambda plan: without(plan, *names))


def added(name: str, policy: str, resource: str, type_: str, /, **properties: object) -> Mistake:
    """There is a resource that must not be there."""
    return Mistake(name=name, policy=policy, resource=resource, plant=lambda plan: plus(plan, type_, resource, properties))


ENVS = "template.containers.0.envs"
LAST_ENV = len(one(planned(), NOTIFIER).get(ENVS))
INGEST_ENVS = one(planned(), "service/signal-ingest").get(ENVS)
TOKEN = next(place for place, env in enumerate(INGEST_ENVS) if env["name"] == "INGEST_TOKENS")
RULES = len(one(planned(), WEBHOOK_RULES).get("rules"))

MISTAKES = (
    # who may do what
    added("a public service", "everybody", "forged", model.SERVICE_MEMBER, name="signal-worker", **FORGED),
    added("a public service with a key", "everybody", "forged", model.SERVICE_MEMBER, name="replay-worker", **FORGED),
    spoiled("everybody deploys", "everybody", "service/signal-ingest/invoker/everybody", "role", "roles/run.developer"),
    spoiled("no identity asked for", "everybody", WORKER, "invoker_iam_disabled", True),
    added(
        "everybody publishes",
        "everybody",
        "forged",
        model.TOPIC_MEMBER,
        topic="events",
        role="roles/pubsub.publisher",
        member="allUsers",
    ),
    added("a basic role", "basic_role", "forged", model.PROJECT_MEMBER, role="roles/editor", member=AGENT),
    added("an administrator", "basic_role", "forged", model.PROJECT_MEMBER, role="roles/pubsub.admin", member=AGENT),
    added("a role on the project", "project_role", "forged", model.PROJECT_MEMBER, role="roles/pubsub.publisher", member=AGENT),
    spoiled("every database of the project", "project_role", "project/client/fb-signal-worker", "condition", ABSENT),
    added(
        "grants replaced",
        "overwriting",
        "forged",
        "gcp:projects/iAMBinding:IAMBinding",
        role="roles/logging.logWriter",
        members=[AGENT],
    ),
    spoiled("the default account", "own_account", WORKER, "template.service_account", ABSENT),
    added("a key file", "account_key", "forged", "gcp:serviceaccount/key:Key", service_account_id="fb-signal-worker"),
    spoiled(
        "a secret in a setting", "secret_in_text", NOTIFIER, f"{ENVS}.{LAST_ENV}", {"name": "DISCORD_BOT_TOKEN", "value": "x"}
    ),
    spoiled(
        "a password in an address",
        "secret_in_text",
        NOTIFIER,
        f"{ENVS}.{LAST_ENV}",
        {"name": "SOMEWHERE", "value": "postgresql://a:b@c/d"},
    ),
    spoiled(
        "a secret that moves",
        "secret_version",
        "service/signal-ingest",
        f"{ENVS}.{TOKEN}.value_source.secret_key_ref.version",
        "latest",
    ),
    lacking("a secret out of reach", "secret_rights", "service/signal-ingest", "secret/ingest-tokens/fb-signal-ingest"),
    added(
        "a secret for somebody else",
        "secret_rights",
        "forged",
        model.SECRET_MEMBER,
        secret_id="ingest-tokens",
        role="roles/secretmanager.secretAccessor",
        member="serviceAccount:fb-signal-worker@fillbook-example.iam.gserviceaccount.com",
    ),
    # what arrives
    spoiled("no dead letter topic", "dead_letter", EVENTS, "dead_letter_policy", ABSENT),
    spoiled("given up at once", "dead_letter", EVENTS, "dead_letter_policy.max_delivery_attempts", 1),
    lacking("dead letters nobody reads", "dead_letter_unread", EVENTS, DEAD),
    lacking("dead letters Pub/Sub may not publish", "dead_letter_rights", EVENTS, "topic/events-dead/publisher/pubsub-agent"),
    lacking("dead letters Pub/Sub may not take", "dead_letter_rights", EVENTS, f"{EVENTS}/subscriber/pubsub-agent"),
    added("a topic nobody reads", "topic_unread", "forged", model.TOPIC, name="lost"),
    spoiled("a subscription that expires", "expiry", EVENTS, "expiration_policy", {"ttl": "2678400s"}),
    spoiled("the default expiry", "expiry", EVENTS, "expiration_policy", ABSENT),
    spoiled("a push without identity", "push_signed", EVENTS, "push_config.oidc_token", ABSENT),
    spoiled("an identity for another", "push_signed", EVENTS, "push_config.oidc_token.audience", "https://elsewhere.run.app"),
    spoiled("a push that comes again at once", "push_retry", EVENTS, "retry_policy", ABSENT),
    spoiled("a push given up too early", "push_retry", EVENTS, "ack_deadline_seconds", 10),
    spoiled("a schedule without identity", "schedule_signed", "schedule/mt5-sync", "http_target.oidc_token", ABSENT),
    spoiled("no time zone", "schedule_zone", "schedule/mt5-sync", "time_zone", ABSENT),
    spoiled("a time zone that is none", "schedule_zone", "schedule/mt5-sync", "time_zone", "New York"),
    spoiled("no retries", "schedule_retry", "schedule/mt5-sync", "retry_config", ABSENT),
    spoiled("a schedule that does not wait", "schedule_retry", "schedule/mt5-sync", "attempt_deadline", "30s"),
    Mistake(
        name="a schedule that calls nobody",
        policy="target",
        resource="schedule/mt5-sync",
        plant=lambda plan: changed(
            changed(plan, "schedule/mt5-sync", "http_target.uri", "https://gone-123456789012.us-east4.run.app/mt5/sync"),
            "schedule/mt5-sync",
            "http_target.oidc_token.audience",
            "https://gone-123456789012.us-east4.run.app",
        ),
    ),
    lacking("a schedule that may not come in", "invited", "schedule/desk-keeper", "service/desk-keeper/invoker/cloud-scheduler"),
    # what stands
    spoiled("unbounded instances", "bounded", WORKER, "template.scaling.max_instance_count", ABSENT),
    spoiled("unbounded requests", "bounded", WORKER, "template.max_instance_request_concurrency", 0),
    spoiled("unbounded tasks", "bounded", "job/replay-worker-job", "template.parallelism", ABSENT),
    spoiled("a job without end", "timed", "job/replay-worker-job", "template.template.timeout", ABSENT),
    spoiled("no memory", "sized", WORKER, "template.containers.0.resources.limits", ABSENT),
    spoiled("a processor around the clock", "idle", WORKER, "template.containers.0.resources.cpu_idle", ABSENT),
    spoiled("a tag", "pinned_image", WORKER, "template.containers.0.image", "us-docker.pkg.dev/x/fillbook/signal_worker:newest"),
    spoiled("no way to the database", "in_network", WORKER, "template.vpc_access", ABSENT),
    spoiled(
        "a needless way in",
        "in_network",
        "service/signal-ingest",
        "template.vpc_access",
        {"network_interfaces": [{"network": "fillbook"}]},
    ),
    spoiled("a service that goes by mistake", "protected", WORKER, "deletion_protection", False),
    spoiled("a database that goes by mistake", "protected", SQL, "settings.deletion_protection_enabled", False),
    spoiled("a database with a public address", "sql_private", SQL, "settings.ip_configuration.ipv4_enabled", True),
    spoiled(
        "a database for every network",
        "sql_private",
        SQL,
        "settings.ip_configuration.authorized_networks",
        [{"name": "all", "value": "0.0.0.0/0"}],
    ),
    spoiled(
        "a database without TLS", "sql_private", SQL, "settings.ip_configuration.ssl_mode", "ALLOW_UNENCRYPTED_AND_ENCRYPTED"
    ),
    spoiled("no backups", "sql_backups", SQL, "settings.backup_configuration.enabled", False),
    spoiled("no way back to a minute", "sql_backups", SQL, "settings.backup_configuration.point_in_time_recovery_enabled", False),
    spoiled("no login by identity", "sql_login", SQL, "settings.database_flags.0.value", "off"),
    spoiled("a password", "sql_login", "database/user/fb-signal-worker", "type", "BUILT_IN"),
    spoiled(
        "a login that may do everything", "sql_login", "database/user/fb-signal-worker", "database_roles", ["cloudsqlsuperuser"]
    ),
    spoiled("a door without list", "door_listed", "edge/signal-ingest/backend", "security_policy", ABSENT),
    spoiled("a list without end", "door_listed", WEBHOOK_RULES, f"rules.{RULES - 1}", ABSENT),
    spoiled("a list with everybody", "door_listed", WEBHOOK_RULES, "rules.0.match.config.src_ip_ranges", ["0.0.0.0/0"]),
    spoiled("a way past the door", "door_alone", "service/signal-ingest", "ingress", "INGRESS_TRAFFIC_INTERNAL_ONLY"),
    spoiled("old TLS", "door_tls", "edge/tls", "min_tls_version", "TLS_1_0"),
    spoiled("no TLS", "door_tls", "edge/front", "port_range", "80"),
    spoiled("an open firewall", "firewall", "firewall/gateway/iap", "source_ranges", ["0.0.0.0/0"]),
    spoiled("a machine outside", "machine", "gateway", "network_interfaces.0.access_configs", [{}]),
    spoiled("a machine without shield", "machine", "gateway", "shielded_instance_config.enable_secure_boot", False),
    spoiled("a machine with keys", "machine", "gateway", "metadata.enable-oslogin", "FALSE"),
    spoiled("tags that move", "registry", "registry", "docker_config.immutable_tags", False),
    spoiled("images for ever", "registry", "registry", "cleanup_policies", []),
    lacking("no budget", "budgeted", "project", "budget"),
    spoiled("a budget that tells nobody", "budgeted", "budget", "threshold_rules", []),
    spoiled("an alert without section", "alerts", "alert/outbox-age", "documentation.content", "see the runbook"),
    spoiled("a section that is none", "alerts", "alert/outbox-age", "documentation.content", "infra/docs/runbook.md#nowhere"),
    spoiled("an alert that tells nobody", "alerts", "alert/outbox-age", "notification_channels", []),
    spoiled("a schedule far away", "one_region", "schedule/mt5-sync", "region", "europe-west1"),
)


def test_the_plan_breaks_no_policy() -> None:
    assert violations(planned()) == []


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_planted_mistake_is_named_by_its_policy_and_by_no_other(mistake: Mistake) -> None:
    found = violations(mistake.plant(planned()))
    assert {(one.policy, one.resource) for one in found} == {(mistake.policy, mistake.resource)}
    assert all(one.reason for one in found)


@pytest.mark.parametrize(
    ("written", "instead", "policy"),
    [
        ("    max_instances: 5\n", "    max_instances: 0\n", "bounded"),
        ("    attempts_max: 20\n    dead_letter_topic: events-dead\n", "", "dead_letter"),
        ("    time_zone: Etc/UTC\n", "    time_zone: Zulu time\n", "schedule_zone"),
        ("    retries: 1\n", "    retries: 0\n", "schedule_retry"),
        ("    service_account: fb-signal-worker\n", "    service_account: fb-desk-keeper\n", "own_account"),
    ],
)
def test_a_mistake_in_the_manifest_is_one_in_the_plan(written: str, instead: str, policy: str) -> None:
    text = PATH.read_text("utf-8")
    assert written in text
    spoilt = parse(text.replace(written, instead, 1))
    found = resources(Desk(manifest=spoilt, settings=settings()))
    assert policy in {one.policy for one in violations(found)}


def test_an_account_of_another_function_is_named_at_both() -> None:
    account = one(planned(), NOTIFIER).get("template.service_account")
    found = violations(changed(planned(), WORKER, "template.service_account", account))
    assert {one.resource for one in found if one.policy == "own_account"} == {NOTIFIER, WORKER}


def test_pushes_that_pubsub_may_not_sign_are_named_one_by_one() -> None:
    found = violations(without(planned(), "account/pubsub-push/serviceAccountTokenCreator/pubsub-agent"))
    pushes = {one.name for one in planned() if one.type == model.SUBSCRIPTION}
    assert {(one.policy, one.resource) for one in found} == {("signing", name) for name in pushes}


def test_a_webhook_that_is_reached_from_every_address_is_named_by_the_list_and_by_the_right() -> None:
    found = violations(changed(planned(), "service/signal-ingest", "ingress", "INGRESS_TRAFFIC_ALL"))
    assert {one.policy for one in found} == {"everybody", "door_alone"}


def test_every_policy_is_tried_by_a_mistake_and_says_what_it_is_for() -> None:
    tried = {mistake.policy for mistake in MISTAKES} | {"own_account", "signing"}
    assert tried == set(POLICIES)
    assert all(policy.__doc__ for policy in POLICIES.values())
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES) >= 15


def test_headings_become_the_anchors_that_readers_of_markdown_make() -> None:
    assert sections("# Runbook\n\n## A break, by its cause\n### outbox-age\n") == {
        "runbook",
        "a-break-by-its-cause",
        "outbox-age",
    }
