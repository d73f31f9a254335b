"""How policies look at a plan: by kind, by what belongs together; and what they say. It reads what was registered as well."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from infra.cloud.model import JOB, SERVICE, Plan, Resource

RUNBOOK: Final = Path(__file__).resolve().parents[1] / "docs" / "runbook.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A resource that breaks a policy, and why, as a sentence."""

    policy: str
    resource: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Look:
    """A plan without references, and the sections of the runbook that alerts may name."""

    plan: Plan
    sections: frozenset[str] = field(default_factory=lambda: sections(RUNBOOK.read_text("utf-8")))

    def of(self, *types: str) -> Iterator[Resource]:
        """Every resource of these types."""
        return chain.from_iterable(self._by_type.get(each, ()) for each in types)

    @cached_property
    def _by_type(self) -> dict[str, list[Resource]]:
        found: dict[str, list[Resource]] = {}
        for one in self.plan:
            found.setdefault(one.type, []).append(one)
        return found

    @cached_property
    def services(self) -> dict[str, Resource]:
        """Cloud Run services by their name in the cloud."""
        return {str(one.get("name")): one for one in self.of(SERVICE)}

    @property
    def workloads(self) -> Iterator[Resource]:
        """Services and jobs."""
        return self.of(SERVICE, JOB)

    def service_at(self, url: str) -> Resource | None:
        """The service that an address belongs to: ``https://NAME-NUMBER.REGION.run.app/…``."""
        host = urlsplit(url).hostname or ""
        return self.services.get(host.partition(".")[0].rpartition("-")[0]) if host.endswith(".run.app") else None


def sections(runbook: str) -> frozenset[str]:
    """The anchors of a document's headings, as readers of Markdown make them."""
    titles = re.findall(r"^#+ +(.+?) *$", runbook, re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles)


def inner(one: Resource) -> dict[str, Any]:
    """The template of a service, or of a job's task."""
    found = one.get("template.template") if one.type == JOB else one.get("template")
    return dict(found or {})


def containers(one: Resource) -> list[dict[str, Any]]:
    """The containers of a service or job."""
    return [dict(container) for container in inner(one).get("containers", ())]


def settings(one: Resource) -> dict[str, str]:
    """The settings of a service or job that are written out."""
    found = (env for container in containers(one) for env in container.get("envs", ()))
    return {str(env["name"]): str(env["value"]) for env in found if "value" in env}


def secret_versions(one: Resource) -> dict[str, tuple[str, str]]:
    """The settings of a service or job that are secrets: name -> (secret, version)."""
    found = {}
    for container in containers(one):
        for env in container.get("envs", ()):
            source = env.get("value_source", {}).get("secret_key_ref")
            if source is not None:
                found[str(env["name"])] = (str(source.get("secret")), str(source.get("version", "latest")))
    return found


def number(value: object) -> int:
    """Seconds of ``55s`` or a plain number; 0 where there is none."""
    match = re.fullmatch(r"(\d+)(?:\.0)?s?", str(value))
    return int(match[1]) if match else 0
