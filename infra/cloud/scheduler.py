"""Scheduler jobs: what is called when, in whose time, with which body, signed, and how often it is tried again."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Final

from infra.cloud.desk import Desk
from infra.cloud.model import SCHEDULE, Resource
from infra.manifest import Schedule

BACKOFF_MAX_SECONDS: Final = 300
DOUBLINGS: Final = 3


def schedules(desk: Desk) -> Iterator[Resource]:
    """One job per schedule of the manifest."""
    for entry in desk.manifest.schedules:
        yield _schedule(desk, entry)


def body(entry: Schedule) -> str:
    """The body as it is sent, as the platform wants it: base64 of JSON."""
    text = json.dumps(entry.body, sort_keys=True, separators=(",", ":"))
    return base64.b64encode(text.encode()).decode()


def _schedule(desk: Desk, entry: Schedule) -> Resource:
    function = desk.manifest.functions[entry.function]
    address, identity = desk.url(function), desk.manifest.schedule_identity
    return Resource(
        type=SCHEDULE,
        name=f"schedule/{entry.name}",
        properties={
            "project": desk.project,
            "region": desk.region,
            "name": entry.name,
            "description": function.purpose,
            "schedule": entry.cron,
            "time_zone": entry.time_zone,
            "attempt_deadline": f"{entry.deadline_seconds}s",
            "retry_config": {
                "retry_count": entry.retries,
                "min_backoff_duration": f"{entry.retry_min_seconds}s",
                "max_backoff_duration": f"{max(BACKOFF_MAX_SECONDS, entry.retry_min_seconds)}s",
                "max_doublings": DOUBLINGS,
            },
            "http_target": {
                "http_method": "POST",
                "uri": f"{address}{entry.path}",
                "headers": {"Content-Type": "application/json"},
                "body": body(entry),
                "oidc_token": {"service_account_email": desk.email(identity), "audience": address},
            },
        },
        depends=("api/cloudscheduler", f"service/{function.cloud_name}", f"account/{identity}"),
    )
