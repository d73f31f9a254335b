"""What the local cloud is told about the desk: topics, subscriptions and schedules with every address filled in.

The supervisor derives it from the manifest and the ports it chose and hands it over as one JSON file, so that the
message and schedule process knows nothing of functions, bundles or databases, and tests can wire anything to anything.
Jobs are commands with their surroundings for the same reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RETRY_FLOOR_SECONDS = 0.1
RETRY_FLOOR_SECONDS_MAX = 3.0
MEMORY_BYTES_MAX = 96 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One push subscription; ``url`` is the whole push address, ``in_flight_max`` the places of all the receiver's instances.

    ``more_urls``: the same address at further instances. The platform's front sends a push to any of them; here they take turns.
    """

    name: str
    topic: str
    url: str
    audience: str
    email: str
    ack_deadline_seconds: float = 60
    retry_min_seconds: float = 10
    retry_max_seconds: float = 600
    ordered: bool = False
    attempts_max: int = 20
    dead_letter_topic: str | None = None
    in_flight_max: int = 8
    more_urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One schedule; ``cron`` has five fields read in ``time_zone``; ``body`` is sent as it is."""

    name: str
    url: str
    audience: str
    email: str
    cron: str
    time_zone: str
    body: str = ""
    retries: int = 3
    retry_min_seconds: float = 5
    retry_max_seconds: float = 3600
    deadline_seconds: float = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudJob:
    """One Cloud Run job: ``entry`` (``module:callable``) runs in ``folder`` with ``environment``, its whole surroundings.

    ``callers``: the accounts that may start it.
    """

    name: str
    project: str
    region: str
    callers: tuple[str, ...]
    entry: str
    folder: str
    environment: Mapping[str, str]
    log: str
    tasks_max: int = 1
    task_seconds: float = 3600
    retries_max: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """Everything the process needs. ``retry_floor_seconds``: see ``retry.py``; 0 lets tests retry at once.

    ``memory_bytes_max``: bodies of the backlog beyond it stay in the store until their turn.
    """

    project: str
    topics: tuple[str, ...]
    subscriptions: tuple[Subscription, ...] = ()
    jobs: tuple[Job, ...] = ()
    cloud_jobs: tuple[CloudJob, ...] = ()
    retry_floor_seconds: float = RETRY_FLOOR_SECONDS
    memory_bytes_max: int = MEMORY_BYTES_MAX

    def __post_init__(self) -> None:
        """Refuse (ValueError) names used twice and references to topics that are not there."""
        for kind, names in (
            ("topic", list(self.topics)),
            ("subscription", [one.name for one in self.subscriptions]),
            ("job", [one.name for one in self.jobs]),
            ("Cloud Run job", [one.name for one in self.cloud_jobs]),
        ):
            doubled = sorted({name for name in names if names.count(name) > 1})
            if doubled:
                raise ValueError(f"{kind} declared twice: {', '.join(doubled)}")
        wanted = {one.topic for one in self.subscriptions}
        wanted |= {one.dead_letter_topic for one in self.subscriptions if one.dead_letter_topic}
        if wanted - set(self.topics):
            raise ValueError(f"unknown topic: {', '.join(sorted(wanted - set(self.topics)))}")

    def write(self, path: Path) -> None:
        """Store as JSON; the settings of jobs hold secrets, so nobody else may read it."""
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


def read(path: Path) -> Wiring:
    """The wiring stored at ``path``; ValueError or TypeError when it is not one."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Wiring(
        project=document["project"],
        topics=tuple(document["topics"]),
        subscriptions=tuple(Subscription(**{**one, "more_urls": tuple(one["more_urls"])}) for one in document["subscriptions"]),
        jobs=tuple(Job(**one) for one in document["jobs"]),
        cloud_jobs=tuple(CloudJob(**{**one, "callers": tuple(one["callers"])}) for one in document["cloud_jobs"]),
        retry_floor_seconds=document["retry_floor_seconds"],
        memory_bytes_max=document["memory_bytes_max"],
    )
