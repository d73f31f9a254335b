"""Reads the manifest ``infra/functions.yaml`` into frozen values: the one way to ask what is deployed and how it is wired.

The local cloud, the migrations' login roles, ``cloudbuild.yaml``, the README's table and the contract tests all read this
module, so what runs locally is what is deployed. It refuses unknown keys, repeated keys, missing values and references to
things that do not exist (``ManifestError`` naming the place); judgement about limits is left to the contract tests.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

ROOT = Path(__file__).resolve().parents[1]
PATH = ROOT / "infra" / "functions.yaml"

T = TypeVar("T")

# admin: a desk key of that scope, or an identity token
CALLERS = ("ingest_token", "desk_key", "internal_token", "metrics_key", "oidc", "admin", "none")
TRIGGERS = ("http", "pubsub", "schedule")
REFUSING = 2  # threads that tell whoever finds no place to come back
OPERATOR = "operator"  # in `called_by`: the identity of a person's verbs

BASE_ENV = ("FILLBOOK_ENV",)
DATABASE_ENV = ("FILLBOOK_DATABASE_URL", "FILLBOOK_DATABASE_INSTANCE", "FILLBOOK_DATABASE_NAME", "FILLBOOK_DATABASE_USER")
OIDC_ENV = ("FILLBOOK_OIDC_AUDIENCE", "FILLBOOK_OIDC_CALLERS", "FILLBOOK_OIDC_PLATFORM_VERIFIED")
PROJECT_ENV = ("FILLBOOK_PROJECT",)  # whose topics are published to, whose jobs are started
LOCAL_ENV = ("FILLBOOK_LOCAL_URL", "FILLBOOK_DESK_CLOCK")  # read with FILLBOOK_ENV=local only, never deployed


class ManifestError(ValueError):
    """The manifest contradicts itself; the text names the entry and what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One request a function answers; ``caller`` says which credential it asks for (``CALLERS``)."""

    method: str
    path: str
    caller: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One deployment: a folder of ``functions/`` whose entry point has the folder's name."""

    name: str
    purpose: str
    trigger: str
    routes: tuple[Route, ...]
    timeout_seconds: int
    memory_mb: int
    concurrency: int
    max_instances: int
    min_instances: int
    service_account: str
    publishes: tuple[str, ...] = ()
    called_by: tuple[str, ...] = ()
    env: Mapping[str, str | None] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    optional_secrets: tuple[str, ...] = ()
    database_roles: tuple[str, ...] = ()
    static: bool = False
    job_entry: str | None = None
    """A callable of main.py that works to completion: the same folder is deployed as a Cloud Run job too."""
    job_tasks_max: int = 1
    """Tasks of the job that are at work at once."""
    waiting: int = 0
    """Requests that an instance lets wait for one of its ``concurrency`` places; 0: the platform's front lets them wait."""
    job_connections: int = 1
    """Database connections of one task: it does one thing at a time."""
    starts_jobs: tuple[str, ...] = ()
    """Functions whose job this one may start."""

    @property
    def cloud_name(self) -> str:
        """The name in the cloud: hyphens, because service names allow no underscore."""
        return self.name.replace("_", "-")

    @property
    def job_name(self) -> str:
        """The name of its job in the cloud."""
        return f"{self.cloud_name}-job"

    @property
    def threads(self) -> int:
        """Threads of an instance, and how many requests the platform may send it: at work, waiting, and being refused."""
        return self.concurrency + (self.waiting + REFUSING if self.waiting else 0)

    @property
    def pool_size(self) -> int:
        """Database connections of one instance: one per request it works on at once, none without a database role."""
        return self.concurrency if self.database_roles else 0

    @property
    def implied_env(self) -> tuple[str, ...]:
        """The settings that follow from roles, routes, topics and jobs rather than from the entry's own ``env``."""
        names = BASE_ENV + (DATABASE_ENV if self.database_roles else ())
        names += OIDC_ENV if any(route.caller in ("oidc", "admin") for route in self.routes) else ()
        return names + (PROJECT_ENV if self.publishes or self.starts_jobs else ())

    @property
    def settings(self) -> frozenset[str]:
        """Every environment name the function's config class declares (tested both ways)."""
        return frozenset((*self.implied_env, *LOCAL_ENV, *self.env, *self.secrets, *self.optional_secrets))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A push subscription; it never expires, and without a dead-letter topic it tries for ever."""

    name: str
    topic: str
    function: str
    path: str
    ack_deadline_seconds: int
    retry_min_seconds: int
    retry_max_seconds: int
    ordering: bool
    attempts_max: int | None = None
    dead_letter_topic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A scheduled POST; ``cron`` is read in ``time_zone``, ``body`` sent as JSON; retries wait ``retry_min_seconds`` or more."""

    name: str
    function: str
    path: str
    cron: str
    time_zone: str
    body: Mapping[str, Any]
    retries: int
    retry_min_seconds: int = 5
    deadline_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventEntry:
    """An event type: the rooms that may write it, the topic it goes to, the Discord channel that tells it (or none)."""

    event_type: str
    rooms: tuple[str, ...]
    topic: str
    channel: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateJob:
    """The Cloud Run job that migrates: ``python -m module``. ``connections``: its own, and that of one more who waits."""

    module: str
    timeout_seconds: int
    memory_mb: int
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who logs in to the database without being a function: the identity ``account``, taken on by people."""

    name: str
    account: str
    database_roles: tuple[str, ...]
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseEntry:
    """The database: how many may connect, who owns what is in it, and who comes besides functions and their jobs."""

    max_connections: int
    reserved_connections: int = 3
    owner: str = "fillbook_owner"
    migrate: MigrateJob | None = None
    people: Mapping[str, Person] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole wiring; mappings keep the order of the file."""

    project_local: str
    region: str
    python: str
    database: DatabaseEntry
    push_identity: str
    schedule_identity: str
    operator_identity: str
    functions: Mapping[str, Function]
    topics: Mapping[str, str]
    subscriptions: tuple[Subscription, ...]
    schedules: tuple[Schedule, ...]
    events: Mapping[str, EventEntry]
    roles: tuple[str, ...]

    @property
    def max_connections(self) -> int:
        """How many connections the server takes, its reserved ones included."""
        return self.database.max_connections

    def callers(self, function: str) -> tuple[str, ...]:
        """Account names whose identity tokens ``function`` accepts, in a fixed order; the caller adds the project's domain."""
        names = [self.push_identity] if any(entry.function == function for entry in self.subscriptions) else []
        names += [self.schedule_identity] if any(entry.function == function for entry in self.schedules) else []
        return (*names, *(self._account(name) for name in self.functions[function].called_by))

    def has_job(self, function: str) -> bool:
        """Whether a function is there and deployed as a job too."""
        return function in self.functions and self.functions[function].job_entry is not None

    def job_starters(self, function: str) -> tuple[str, ...]:
        """Account names that may start a function's job: the functions that say so, and a person's verbs."""
        return (*(one.service_account for one in self.functions.values() if function in one.starts_jobs), self.operator_identity)

    def _account(self, name: str) -> str:
        return self.operator_identity if name == OPERATOR else self.functions[name].service_account


def parse(text: str) -> Manifest:
    """Read a manifest from its text; raise ``ManifestError`` on the first contradiction."""
    document = _mapping(yaml.load(text, Loader=_StrictLoader), "the manifest")  # noqa: S506 - a SafeLoader with one more check
    top = {"project_local", "region", "python", "database", "identities", "functions", "topics", "subscriptions", "schedules"}
    _keys(document, "the manifest", required=top | {"events", "roles"})
    entries = _mapping(document["functions"], "functions")
    manifest = Manifest(
        project_local=str(document["project_local"]),
        region=str(document["region"]),
        python=str(document["python"]),
        database=_database(_mapping(document["database"], "database")),
        push_identity=str(document["identities"]["push"]),
        schedule_identity=str(document["identities"]["schedule"]),
        operator_identity=str(document["identities"]["operator"]),
        functions={name: _function(name, _mapping(entry, name)) for name, entry in entries.items()},
        topics={str(name): str(what) for name, what in document["topics"].items()},
        subscriptions=tuple(_entry(Subscription, entry, "subscription") for entry in document["subscriptions"]),
        schedules=tuple(_entry(Schedule, entry, "schedule") for entry in document["schedules"]),
        events={name: _event(name, entry) for name, entry in document["events"].items()},
        roles=_roles(document["roles"]),
    )
    for problem in _dangling(manifest):
        raise ManifestError(problem)
    return manifest


@cache
def load() -> Manifest:
    """The project's own manifest."""
    return parse(PATH.read_text("utf-8"))


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses a repeated key, which YAML readers otherwise resolve silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ManifestError(f"{key!r} stands twice, line {key_node.start_mark.line + 1}")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _mapping(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ManifestError(f"{place} is not a mapping")
    return {str(key): item for key, item in value.items()}


def _keys(entry: Mapping[str, Any], place: str, *, required: set[str], optional: frozenset[str] = frozenset()) -> None:
    missing, unknown = required - set(entry), set(entry) - required - optional
    if missing or unknown:
        raise ManifestError(f"{place}: missing {sorted(missing)}, unknown {sorted(unknown)}")


def _entry(kind: type[T], entry: object, what: str) -> T:
    values = _mapping(entry, what)
    try:
        return kind(**values)
    except TypeError as error:
        raise ManifestError(f"{what} {values.get('name', '?')}: {error}") from error


def _database(entry: dict[str, Any]) -> DatabaseEntry:
    values = dict(entry)
    if "migrate" in values:
        values["migrate"] = _entry(MigrateJob, values["migrate"], "database.migrate")
    people = {name: {"name": name, **_mapping(one, name)} for name, one in _mapping(values.get("people", {}), "people").items()}
    for one in people.values():
        one["database_roles"] = tuple(one.get("database_roles", ()))
    return _entry(
        DatabaseEntry, {**values, "people": {n: _entry(Person, one, "person") for n, one in people.items()}}, "database"
    )


def _function(name: str, entry: dict[str, Any]) -> Function:
    values = dict(entry)
    if values.get("trigger") not in TRIGGERS:
        raise ManifestError(f"{name}: trigger must be one of {TRIGGERS}")
    routes = _mapping(values.get("routes"), f"{name}.routes")
    values["routes"] = tuple(_route(name, text, caller) for text, caller in routes.items())
    for key in ("publishes", "called_by", "starts_jobs", "secrets", "optional_secrets", "database_roles"):
        values[key] = tuple(values.get(key, ()))
    values["env"] = {key: None if value is None else str(value) for key, value in values.get("env", {}).items()}
    return _entry(Function, {"name": name, **values}, "function")


def _route(function: str, text: str, caller: str) -> Route:
    method, _, path = text.partition(" ")
    if caller not in CALLERS or not path.startswith("/"):
        raise ManifestError(f"{function}: route {text!r} with caller {caller!r}")
    return Route(method=method, path=path, caller=caller)


def _event(name: str, entry: dict[str, Any]) -> EventEntry:
    _keys(entry, f"event {name}", required={"room", "topic", "channel"})
    rooms = entry["room"] if isinstance(entry["room"], list) else [entry["room"]]
    return EventEntry(event_type=name, rooms=tuple(rooms), topic=entry["topic"], channel=entry["channel"])


def _roles(entry: dict[str, list[str]]) -> tuple[str, ...]:
    _keys(entry, "roles", required={"rooms", "others"})
    return (*(f"{room}_{kind}" for room in entry["rooms"] for kind in ("reader", "writer")), *entry["others"])


def _dangling(manifest: Manifest) -> Iterator[str]:
    """Names that point at nothing, each as a sentence."""
    for person in manifest.database.people.values():
        yield from (f"{person.name}: no group role {name}" for name in person.database_roles if name not in manifest.roles)
    for function in manifest.functions.values():
        yield from (f"{function.name}: no topic {name}" for name in function.publishes if name not in manifest.topics)
        yield from (f"{function.name}: no group role {name}" for name in function.database_roles if name not in manifest.roles)
        yield from (
            f"{function.name}: no caller {name}" for name in function.called_by if name not in (OPERATOR, *manifest.functions)
        )
        yield from (f"{function.name}: no job of {name}" for name in function.starts_jobs if not manifest.has_job(name))
    targets = [(entry.name, entry.function) for entry in manifest.subscriptions]
    targets += [(entry.name, entry.function) for entry in manifest.schedules]
    yield from (f"{name}: no function {function}" for name, function in targets if function not in manifest.functions)
    for entry in manifest.subscriptions:
        wanted = (entry.topic, entry.dead_letter_topic) if entry.dead_letter_topic else (entry.topic,)
        yield from (f"{entry.name}: no topic {name}" for name in wanted if name not in manifest.topics)
