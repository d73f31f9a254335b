"""Cloud Run services and jobs, with the limits of the manifest, and who may call each of them.

A service is open to the network only as far as its callers need: from inside the project, from the load balancer, or – where a
person's verbs call it – from everywhere with an identity. Only a function that checks keys of its own may be invoked without an
identity. The deployed image belongs to the build; a change of it is no change of the plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from infra.cloud import names
from infra.cloud.desk import LABELS, Desk
from infra.cloud.model import JOB, JOB_MEMBER, SERVICE, SERVICE_MEMBER, Resource
from infra.cloud.network import way_in
from infra.cloud.settings import secrets_of
from infra.manifest import OPERATOR, Function

EVERYBODY: Final = "allUsers"
INVOKER: Final = "roles/run.invoker"
STARTER: Final = "roles/run.jobsExecutorWithOverrides"
DEVELOPER: Final = "roles/run.developer"
INSIDE: Final = "INGRESS_TRAFFIC_INTERNAL_ONLY"
BALANCED: Final = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
ANYWHERE: Final = "INGRESS_TRAFFIC_ALL"
JOB_SECONDS: Final = 3600
JOB_RETRIES: Final = 1
PORT: Final = 8080


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A job as this module makes it; ``function`` is None for the migration, ``at_once`` bounds the tasks side by side."""

    name: str
    function: Function | None
    account: str
    container: dict[str, Any]
    seconds: int
    at_once: int = 1
    needs: tuple[str, ...]


def services(desk: Desk) -> Iterator[Resource]:
    """One service per function."""
    for entry in desk.functions:
        yield Resource(
            type=SERVICE,
            name=f"service/{entry.cloud_name}",
            properties={
                "project": desk.project,
                "location": desk.region,
                "name": entry.cloud_name,
                "description": entry.purpose,
                "labels": LABELS,
                "ingress": ingress(desk, entry),
                "deletion_protection": True,
                "template": {
                    "service_account": desk.email(entry.service_account),
                    "timeout": f"{entry.timeout_seconds}s",
                    "max_instance_request_concurrency": entry.threads,
                    "scaling": {"min_instance_count": entry.min_instances, "max_instance_count": entry.max_instances},
                    "containers": [_serving(_container(desk, entry))],
                    **way_in(desk, entry),
                },
            },
            depends=_needs(desk, entry),
            ignores=("client", "clientVersion", "template.containers[0].image", "template.revision"),
        )


def invokers(desk: Desk) -> Iterator[Resource]:
    """One right per caller of a service; everybody only where the function asks for a key instead."""
    for entry in desk.functions:
        members = {account: desk.member(account) for account in desk.callers(entry)}
        if names.is_keyed(entry):
            members["everybody"] = EVERYBODY
        for who, member in members.items():
            needs = () if member == EVERYBODY else (f"account/{who}",)
            yield _on_service(desk, entry, INVOKER, who, member, needs)
        build = names.BUILD_ACCOUNT
        yield _on_service(desk, entry, DEVELOPER, build, desk.member(build), (f"account/{build}",))


def jobs(desk: Desk) -> Iterator[Resource]:
    """One job per function that has an entry for it, the migration's job, and who may start each."""
    for entry in desk.jobs:
        container = {**_container(desk, entry), "commands": [names.job_command(entry)[0]]}
        container["args"] = list(names.job_command(entry)[1:])
        yield _job(
            desk,
            Task(
                name=entry.job_name,
                function=entry,
                account=entry.service_account,
                container=container,
                seconds=JOB_SECONDS,
                at_once=entry.job_tasks_max,
                needs=_needs(desk, entry),
            ),
        )
        for account in dict.fromkeys(desk.manifest.job_starters(entry.name)):
            yield _on_job(desk, entry.job_name, STARTER, account)
        yield _on_job(desk, entry.job_name, DEVELOPER, names.BUILD_ACCOUNT)
    yield from _migration(desk)


def _migration(desk: Desk) -> Iterator[Resource]:
    job, account = desk.manifest.database.migrate, names.MIGRATE_ACCOUNT
    if job is None:
        return
    container = {
        "image": desk.image(names.MIGRATE_ENTRY),
        "resources": _resources(job.memory_mb),
        "envs": [{"name": name, "value": value} for name, value in {"FILLBOOK_ENV": "cloud", **_database(desk, account)}.items()],
    }
    needs = (f"account/{account}", "database", f"database/user/{account}", "api/run")
    task = Task(
        name=names.MIGRATE_JOB, function=None, account=account, container=container, seconds=job.timeout_seconds, needs=needs
    )
    yield _job(desk, task)
    yield _on_job(desk, names.MIGRATE_JOB, STARTER, desk.manifest.operator_identity)
    yield _on_job(desk, names.MIGRATE_JOB, DEVELOPER, names.BUILD_ACCOUNT)


def ingress(desk: Desk, entry: Function) -> str:
    """From where a service can be reached at all."""
    if names.is_keyed(entry):
        return BALANCED if entry.name in desk.settings.doors else INSIDE
    return ANYWHERE if OPERATOR in entry.called_by else INSIDE


def settings_of(desk: Desk, entry: Function) -> dict[str, str]:
    """A function's settings in the cloud, by name; its secrets are not among them."""
    found = {"FILLBOOK_ENV": "cloud", "THREADS": str(entry.threads)}
    found |= {name: value for name, value in entry.env.items() if value is not None}
    found |= {name: desk.url(function) for name, function in names.called(entry, desk.manifest).items()}
    if "FILLBOOK_PROJECT" in entry.implied_env:
        found["FILLBOOK_PROJECT"] = desk.project
    if entry.database_roles:
        found |= _database(desk, entry.service_account)
    if "FILLBOOK_OIDC_AUDIENCE" in entry.implied_env:
        found["FILLBOOK_OIDC_AUDIENCE"] = desk.url(entry)
        found["FILLBOOK_OIDC_CALLERS"] = ",".join(map(desk.email, desk.callers(entry)))
        if not names.is_keyed(entry):
            # behind IAM the platform checks the token's signature and cuts it off; our code then checks the rest of it
            found["FILLBOOK_OIDC_PLATFORM_VERIFIED"] = "true"
    return {**found, **desk.settings.env.get(entry.name, {})}


def _database(desk: Desk, account: str) -> dict[str, str]:
    return {
        "FILLBOOK_DATABASE_INSTANCE": names.instance_connection(desk.project, desk.region),
        "FILLBOOK_DATABASE_NAME": names.DATABASE,
        "FILLBOOK_DATABASE_USER": names.database_user(account, desk.project),
    }


def _container(desk: Desk, entry: Function) -> dict[str, Any]:
    envs: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in settings_of(desk, entry).items()]
    for name in secrets_of(entry, desk.settings):
        source = {"secret": names.secret_id(name), "version": desk.settings.secret_versions[name]}
        envs.append({"name": name, "value_source": {"secret_key_ref": source}})
    return {"image": desk.image(entry.name), "resources": _resources(entry.memory_mb), "envs": envs}


def _serving(container: dict[str, Any]) -> dict[str, Any]:
    # once resources are written down the processor is paid for around the clock, unless this says otherwise
    resources = {**container["resources"], "cpu_idle": True, "startup_cpu_boost": True}
    return {**container, "resources": resources, "ports": {"container_port": PORT}}


def _resources(memory_mb: int) -> dict[str, Any]:
    return {"limits": {"cpu": "1", "memory": f"{memory_mb}Mi"}}


def _needs(desk: Desk, entry: Function) -> tuple[str, ...]:
    account = entry.service_account
    found = ["api/run", "registry", f"account/{account}"]
    found += [f"secret/{names.secret_id(name)}/{account}" for name in secrets_of(entry, desk.settings)]
    found += ["database", f"database/user/{account}"] if entry.database_roles else []
    return tuple(found)


def _job(desk: Desk, task: Task) -> Resource:
    return Resource(
        type=JOB,
        name=f"job/{task.name}",
        properties={
            "project": desk.project,
            "location": desk.region,
            "name": task.name,
            "labels": LABELS,
            "deletion_protection": True,
            "template": {
                "task_count": 1,
                "parallelism": task.at_once,
                "template": {
                    "service_account": desk.email(task.account),
                    "timeout": f"{task.seconds}s",
                    "max_retries": JOB_RETRIES,
                    "containers": [task.container],
                    **way_in(desk, task.function),
                },
            },
        },
        depends=task.needs,
        ignores=("client", "clientVersion", "template.template.containers[0].image"),
    )


def _on_service(desk: Desk, entry: Function, role: str, who: str, member: str, needs: tuple[str, ...]) -> Resource:
    return Resource(
        type=SERVICE_MEMBER,
        name=f"service/{entry.cloud_name}/{role.rpartition('.')[2]}/{who}",
        properties={"project": desk.project, "location": desk.region, "name": entry.cloud_name, "role": role, "member": member},
        depends=(f"service/{entry.cloud_name}", *needs),
    )


def _on_job(desk: Desk, job: str, role: str, account: str) -> Resource:
    member = desk.member(account)
    return Resource(
        type=JOB_MEMBER,
        name=f"job/{job}/{role.rpartition('.')[2]}/{account}",
        properties={"project": desk.project, "location": desk.region, "name": job, "role": role, "member": member},
        depends=(f"job/{job}", f"account/{account}"),
    )
