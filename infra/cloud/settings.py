"""What one installation decides for itself: project, addresses, versions of secrets, digests of images, who is told.

Read from one mapping (the stack's configuration), checked against the manifest, frozen. Everything that is wrong is reported
together in one ``SettingsError``. It refuses names that the manifest does not have, a version that moves (``latest``), an image
without digest, and any value of a secret: only versions are written down here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Final, Literal

from infra.cloud import names
from infra.manifest import Function, Manifest

Stage = Literal["ground", "desk"]
"""ground: accounts, registry, network, database, empty secrets. desk: everything, once images and versions are there."""

TRADINGVIEW: Final = ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")
"""Where the chart service sends webhooks from, as it publishes them; the example's list, replaced by the stack's own."""
WEBHOOK: Final = "signal_ingest"
"""The one function that must be reached from outside."""
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
MEMBER: Final = re.compile(r"(user|group|serviceAccount):[^@\s]+@[^@\s]+\.[^@\s]+")
EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
HOST: Final = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}")


class SettingsError(ValueError):
    """The stack's configuration cannot be used; ``problems`` are sentences."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where a keyed function is reached from outside: a host name, and the addresses (or networks) that may ask."""

    host: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """The size of the database server; disk in GB grows by itself up to ``disk_max_gb``."""

    tier: str = "db-custom-2-7680"
    disk_gb: int = 50
    disk_max_gb: int = 500
    is_regional: bool = True
    backups: int = 30
    log_days: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A small virtual machine for IB Gateway; without it the desk's own gateway is dialled, or none."""

    machine_type: str = "e2-small"
    zone: str = "b"
    image: str = "projects/debian-cloud/global/images/family/debian-12"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which repository starts builds: its full name in Cloud Build, the branch as a pattern, and the Python image by digest."""

    repository: str
    base: str
    branch: str = "^main$"
    is_approved: bool = True
    """Whether a person says yes before a build begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One installation; see ``Pulumi.example.yaml`` for each name with a value."""

    project: str
    project_number: str
    billing_account: str
    stage: Stage
    operators: tuple[str, ...]
    alert_emails: tuple[str, ...]
    budget: int
    currency: str = "USD"
    doors: Mapping[str, Door] = field(default_factory=dict)
    secret_versions: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    order_publishers: tuple[str, ...] = ()
    database: Database = field(default_factory=Database)
    gateway: Gateway | None = None
    source: Source | None = None


def parse(document: Mapping[str, Any], manifest: Manifest) -> Settings:
    """Settings of a stack; raises ``SettingsError`` with everything that is wrong."""
    problems = list(_names(Settings, document, "settings"))
    if problems:
        raise SettingsError(problems)
    values = dict(document)
    try:
        for name in ("operators", "alert_emails", "order_publishers"):
            values[name] = tuple(values.get(name, ()))
        values["doors"] = {name: _door(entry) for name, entry in values.get("doors", {}).items()}
        values["secret_versions"] = {name: str(version) for name, version in values.get("secret_versions", {}).items()}
        values["env"] = {name: {key: str(value) for key, value in entry.items()} for name, entry in values.get("env", {}).items()}
        values["database"] = Database(**values.get("database", {}))
        for name, kind in (("gateway", Gateway), ("source", Source)):
            values[name] = None if values.get(name) is None else kind(**values[name])
        values["project_number"] = str(values["project_number"])
        settings = Settings(**values)
    except (TypeError, AttributeError, KeyError) as error:
        raise SettingsError([str(error)]) from error
    problems = list(_problems(settings, manifest))
    if problems:
        raise SettingsError(problems)
    return settings


def _door(entry: Mapping[str, Any]) -> Door:
    return Door(host=entry["host"], addresses=tuple(entry["addresses"]))


def _names(kind: type[Settings], document: Mapping[str, Any], place: str) -> Iterator[str]:
    known = {one.name: one.default is MISSING and one.default_factory is MISSING for one in fields(kind)}
    yield from (f"{place}: unknown {name}" for name in document if name not in known)
    yield from (f"{place}: missing {name}" for name, is_needed in known.items() if is_needed and name not in document)


def _problems(settings: Settings, manifest: Manifest) -> Iterator[str]:
    if not re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", settings.project):
        yield "project: no project id"
    if not re.fullmatch(r"[0-9]{6,20}", settings.project_number):
        yield "project_number: no number"
    if not re.fullmatch(r"[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}", settings.billing_account):
        yield "billing_account: not of the form 0X0X0X-0X0X0X-0X0X0X"
    if settings.stage not in ("ground", "desk"):
        yield "stage: ground or desk"
    if type(settings.budget) is not int or settings.budget < 1:
        yield "budget: a whole amount a month"
    if not settings.alert_emails or not all(EMAIL.fullmatch(one) for one in settings.alert_emails):
        yield "alert_emails: somebody must be told"
    members = (*settings.operators, *settings.order_publishers)
    yield from (f"{one}: not user:, group: or serviceAccount: with an e-mail" for one in members if not MEMBER.fullmatch(one))
    if settings.source is not None and not re.search(rf"@{DIGEST.pattern}$", settings.source.base):
        yield "source: base: the Python image by digest, …@sha256:…"
    yield from _door_problems(settings, manifest)
    yield from _desk_problems(settings, manifest)


def _door_problems(settings: Settings, manifest: Manifest) -> Iterator[str]:
    if WEBHOOK not in settings.doors:
        yield f"doors: {WEBHOOK} must have one"
    hosts = [door.host for door in settings.doors.values()]
    yield from (f"doors: {host} stands twice" for host in sorted(set(hosts)) if hosts.count(host) > 1)
    for name, door in settings.doors.items():
        if name not in manifest.functions or not names.is_keyed(manifest.functions[name]):
            yield f"doors: {name} is no function with keys of its own"
        if not HOST.fullmatch(door.host):
            yield f"doors: {name}: {door.host!r} is no host name"
        if not door.addresses:
            yield f"doors: {name}: no address may ask"
        yield from (f"doors: {name}: {text}" for text in map(_address_problem, door.addresses) if text)


def _address_problem(text: str) -> str | None:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return f"{text!r} is no address"
    return f"{text} is half the internet" if network.prefixlen < 8 else None


def _desk_problems(settings: Settings, manifest: Manifest) -> Iterator[str]:
    secrets = names.secret_readers(manifest)
    for name, version in settings.secret_versions.items():
        if name not in secrets:
            yield f"secret_versions: no secret {name}"
        if not re.fullmatch(r"[1-9][0-9]*", version):
            yield f"secret_versions: {name}: a number, so that a deployment is what was tested"
    images = {*manifest.functions, names.MIGRATE_ENTRY}
    for name, digest in settings.digests.items():
        if name not in images:
            yield f"digests: no image {name}"
        if not DIGEST.fullmatch(digest):
            yield f"digests: {name}: sha256: and 64 digits"
    for name, entry in settings.env.items():
        if name not in manifest.functions:
            yield f"env: no function {name}"
        else:
            yield from (f"env: {name} has no setting {key}" for key in entry if key not in manifest.functions[name].env)
    if settings.stage == "desk":
        required = {name for function in manifest.functions.values() for name in function.secrets}
        yield from (f"secret_versions: {name} is missing" for name in sorted(required - set(settings.secret_versions)))
        yield from (f"digests: {name} is missing" for name in sorted(images - set(settings.digests)))


def secrets_of(entry: Function, settings: Settings) -> tuple[str, ...]:
    """The secrets that a function is given: all that it needs, and of the optional ones those that have a version."""
    return (*entry.secrets, *(name for name in entry.optional_secrets if name in settings.secret_versions))
