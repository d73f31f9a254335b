"""What the project itself needs: APIs, the platform's own agents, who reads the audit log of secrets, the registry of images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from infra.cloud import names
from infra.cloud.desk import LABELS, Desk
from infra.cloud.model import AGENT, API, AUDIT, REGISTRY, REGISTRY_MEMBER, Resource

APIS: Final = (
    "artifactregistry",
    "billingbudgets",
    "cloudbuild",
    "cloudscheduler",
    "compute",
    "iam",
    "iap",
    "logging",
    "monitoring",
    "pubsub",
    "run",
    "secretmanager",
    "servicenetworking",
    "sqladmin",
)
AGENTS: Final = ("pubsub",)
"""Agents that are granted something: such a grant fails until the agent was made once."""
KEPT_IMAGES: Final = 20
OLD_SECONDS: Final = 90 * 24 * 3600


def apis(desk: Desk) -> Iterator[Resource]:
    """The services of the platform; never switched off again, because others may use them."""
    for api in APIS:
        yield Resource(
            type=API,
            name=f"api/{api}",
            properties={"project": desk.project, "service": f"{api}.googleapis.com", "disable_on_destroy": False},
        )
    for agent in AGENTS:
        yield Resource(
            type=AGENT,
            name=f"agent/{agent}",
            properties={"project": desk.project, "service": f"{agent}.googleapis.com"},
            depends=(f"api/{agent}",),
        )
    yield Resource(
        type=AUDIT,
        name="audit/secrets",
        properties={
            "project": desk.project,
            "service": "secretmanager.googleapis.com",
            "audit_log_configs": [{"log_type": "DATA_READ"}, {"log_type": "DATA_WRITE"}],
        },
    )


def registry(desk: Desk) -> Iterator[Resource]:
    """One repository: a tag never moves, old images go, the newest of each function stay for going back."""
    yield Resource(
        type=REGISTRY,
        name="registry",
        properties={
            "project": desk.project,
            "location": desk.region,
            "repository_id": names.REPOSITORY,
            "format": "DOCKER",
            "labels": LABELS,
            "docker_config": {"immutable_tags": True},
            "cleanup_policy_dry_run": False,
            "cleanup_policies": [
                {"id": "newest", "action": "KEEP", "most_recent_versions": {"keep_count": KEPT_IMAGES}},
                {"id": "old", "action": "DELETE", "condition": {"tag_state": "ANY", "older_than": f"{OLD_SECONDS}s"}},
            ],
        },
        depends=("api/artifactregistry",),
    )
    yield Resource(
        type=REGISTRY_MEMBER,
        name=f"registry/writer/{names.BUILD_ACCOUNT}",
        properties={
            "project": desk.project,
            "location": desk.region,
            "repository": names.REPOSITORY,
            "role": "roles/artifactregistry.writer",
            "member": desk.member(names.BUILD_ACCOUNT),
        },
        depends=("registry", f"account/{names.BUILD_ACCOUNT}"),
    )
