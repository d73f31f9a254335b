"""Policies about what stands: limits of services and jobs, images, database, network, doors, machines, and who is told."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any, Final

from infra.cloud import model
from infra.cloud.access import Finding
from infra.cloud.look import Look, containers, inner, number, settings
from infra.cloud.model import Resource

ENCRYPTED: Final = ("ENCRYPTED_ONLY", "TRUSTED_CLIENT_CERTIFICATE_REQUIRED")
KEPT_BACKUPS_MIN: Final = 7
NO_POLICY: Final = "has no list of addresses before it"
INSIDE_ONLY: Final = ("INGRESS_TRAFFIC_INTERNAL_ONLY", "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER")


def bounded(look: Look) -> Iterator[Finding]:
    """Instances, requests of each, and a job's tasks have an upper limit."""
    for one in look.of(model.SERVICE):
        for path in ("template.scaling.max_instance_count", "template.max_instance_request_concurrency"):
            if number(one.get(path, 0)) < 1:
                yield one.name, f"no limit: {path}"
    for one in look.of(model.JOB):
        if number(one.get("template.parallelism", 0)) < 1:
            yield one.name, "no limit: template.parallelism"


def timed(look: Look) -> Iterator[Finding]:
    """What runs ends: a request within an hour, a task within its time."""
    for one in look.workloads:
        if number(inner(one).get("timeout", 0)) < 1:
            yield one.name, "runs for as long as the platform lets it: no timeout"


def sized(look: Look) -> Iterator[Finding]:
    """Every container has its memory and processor written down."""
    for one in look.workloads:
        for container in containers(one):
            limits = container.get("resources", {}).get("limits", {})
            if not limits.get("memory") or not limits.get("cpu"):
                yield one.name, "memory and processor are whatever the platform takes by default"


def idle(look: Look) -> Iterator[Finding]:
    """A service's processor is paid for while it answers, not around the clock."""
    for one in look.of(model.SERVICE):
        if any(container.get("resources", {}).get("cpu_idle") is not True for container in containers(one)):
            yield one.name, "its processor is paid for around the clock"


def pinned_image(look: Look) -> Iterator[Finding]:
    """An image is named by its digest."""
    for one in look.workloads:
        for container in containers(one):
            if not re.search(r"@sha256:[0-9a-f]{64}$", str(container.get("image", ""))):
                yield one.name, f"{container.get('image')} may be another image tomorrow"


def in_network(look: Look) -> Iterator[Finding]:
    """What reaches the database is in the network; nothing else is."""
    for one in look.workloads:
        is_inside = bool(inner(one).get("vpc_access", {}).get("network_interfaces"))
        wants = "FILLBOOK_DATABASE_INSTANCE" in settings(one)
        if wants and not is_inside:
            yield one.name, "cannot reach the database's private address"
        if is_inside and not wants:
            yield one.name, "is in the network and reaches nothing there"


def protected(look: Look) -> Iterator[Finding]:
    """Services, jobs, the database and machines are not deleted by mistake."""
    for one in look.of(model.SERVICE, model.JOB, model.SQL, model.MACHINE):
        paths = (
            ("deletion_protection", "settings.deletion_protection_enabled") if one.type == model.SQL else ("deletion_protection",)
        )
        yield from ((one.name, f"no {path}") for path in paths if one.get(path) is not True)


def sql_private(look: Look) -> Iterator[Finding]:
    """The database has no public address, no list of networks, and speaks TLS only."""
    for one in look.of(model.SQL):
        way = "settings.ip_configuration"
        if one.get(f"{way}.ipv4_enabled") is not False or not one.get(f"{way}.private_network"):
            yield one.name, "has a public address"
        if one.get(f"{way}.authorized_networks"):
            yield one.name, "lets networks in by their address"
        if one.get(f"{way}.ssl_mode") not in ENCRYPTED:
            yield one.name, "takes connections without TLS"


def sql_backups(look: Look) -> Iterator[Finding]:
    """The database can be put back to any minute of a week, and to any day of the last backups."""
    for one in look.of(model.SQL):
        way = "settings.backup_configuration"
        if one.get(f"{way}.enabled") is not True:
            yield one.name, "has no backups"
        elif one.get(f"{way}.point_in_time_recovery_enabled") is not True:
            yield one.name, "can only be put back to its last backup"
        elif number(one.get(f"{way}.backup_retention_settings.retained_backups", 0)) < KEPT_BACKUPS_MIN:
            yield one.name, "forgets its backups within a week"


def sql_login(look: Look) -> Iterator[Finding]:
    """Logins are identities; nobody has a password."""
    for one in look.of(model.SQL):
        flags = {flag["name"]: flag["value"] for flag in one.get("settings.database_flags", ())}
        if flags.get("cloudsql.iam_authentication") != "on":
            yield one.name, "identities cannot log in"
    for one in look.of(model.SQL_USER):
        if one.get("type") != "CLOUD_IAM_SERVICE_ACCOUNT" or one.get("password"):
            yield one.name, "logs in with a password"
        if "cloudsqlsuperuser" in one.get("database_roles", ()):
            yield one.name, "may do everything in the database"


def door_listed(look: Look) -> Iterator[Finding]:
    """Before everything behind the load balancer stands a list that ends with nobody."""
    policies = {}
    for one in look.of(model.ADDRESS_RULES):
        policies[one.name] = one
        rules = one.get("rules", ())
        ends = [rule for rule in rules if str(rule["action"]).startswith("deny") and _ranges(rule) == ["*"]]
        if not ends:
            yield one.name, "lets in everybody who is not on the list"
        for rule in rules:
            if rule["action"] == "allow" and any(_is_wide(text) for text in _ranges(rule)):
                yield one.name, "allows every address"
    for one in look.of(model.BACKEND):
        if not one.get("security_policy"):
            yield one.name, NO_POLICY


def door_alone(look: Look) -> Iterator[Finding]:
    """What stands behind the load balancer is not reached beside it."""
    for one in look.of(model.ENDPOINTS):
        service = look.services.get(str(one.get("cloud_run.service")))
        if service is not None and service.get("ingress") != "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER":
            yield service.name, "is reached past the load balancer and its list of addresses"


def door_tls(look: Look) -> Iterator[Finding]:
    """The way in is HTTPS of today, and nothing else."""
    for one in look.of(model.PROXY):
        if not one.get("ssl_policy"):
            yield one.name, "speaks whatever TLS the platform still allows"
    for one in look.of(model.TLS_POLICY):
        if one.get("min_tls_version") not in ("TLS_1_2", "TLS_1_3"):
            yield one.name, f"allows {one.get('min_tls_version', 'TLS 1.0')}"
    for one in look.of(model.FORWARDING):
        if one.get("port_range") != "443":
            yield one.name, f"listens on {one.get('port_range')}"


def firewall(look: Look) -> Iterator[Finding]:
    """No rule lets in the internet."""
    for one in look.of(model.FIREWALL):
        if one.get("allows") and any(map(_is_wide, one.get("source_ranges", ("0.0.0.0/0",)))):
            yield one.name, "lets in every address"


def machine(look: Look) -> Iterator[Finding]:
    """A machine has no address outside, starts only what is signed, and knows people by their identity."""
    for one in look.of(model.MACHINE):
        if any(way.get("access_configs") for way in one.get("network_interfaces", ())):
            yield one.name, "has a public address"
        shield: dict[str, Any] = one.get("shielded_instance_config", {})
        if not all(shield.get(name) for name in ("enable_secure_boot", "enable_vtpm", "enable_integrity_monitoring")):
            yield one.name, "is not shielded"
        if one.get("metadata", {}).get("enable-oslogin") != "TRUE":
            yield one.name, "is logged in to with keys that nobody takes back"


def registry(look: Look) -> Iterator[Finding]:
    """A tag never moves, and old images go."""
    for one in look.of(model.REGISTRY):
        if one.get("docker_config.immutable_tags") is not True:
            yield one.name, "a tag may be moved to another image"
        if not one.get("cleanup_policies") or one.get("cleanup_policy_dry_run") is not False:
            yield one.name, "keeps every image for ever"


def budgeted(look: Look) -> Iterator[Finding]:
    """Somebody is told what the month comes to, before it is over."""
    found = list(look.of(model.BUDGET))
    if not found:
        yield "project", "nobody is told what it costs: no budget"
    for one in found:
        if not one.get("amount.specified_amount.units") or len(one.get("threshold_rules", ())) < 2:
            yield one.name, "tells nobody on the way to its amount"


def alerts(look: Look) -> Iterator[Finding]:
    """An alert reaches somebody, and says where it is written what to do."""
    for one in look.of(model.ALERT):
        if not one.get("notification_channels"):
            yield one.name, "tells nobody"
        section = re.search(r"runbook\.md#([\w-]+)", str(one.get("documentation.content", "")))
        if section is None or section[1] not in look.sections:
            yield one.name, f"names no section of the runbook ({section[1] if section else 'none'})"


def _ranges(rule: dict[str, Any]) -> list[str]:
    return list(rule.get("match", {}).get("config", {}).get("src_ip_ranges", ()))


def _is_wide(text: str) -> bool:
    return text == "*" or ipaddress.ip_network(text, strict=False).prefixlen < 8


def one_region(look: Look) -> Iterator[Finding]:
    """Services, jobs, the database, images and schedules are in one place: what is far away is slow, and costs."""
    places: dict[str, list[Resource]] = {}
    for one in look.of(model.SERVICE, model.JOB, model.SQL, model.REGISTRY, model.SCHEDULE, model.SUBNET):
        places.setdefault(str(one.get("location") or one.get("region")), []).append(one)
    home = max(places, key=lambda place: len(places[place]), default="")
    for place, found in places.items():
        if place != home:
            yield from ((one.name, f"is in {place or 'no region'}, everything else in {home}") for one in found)
