"""What starts a build: one trigger per function and one of the migration, where the settings say which repository to watch.

Which files start which build stands in ``triggers.yaml``, written from the manifest. A build deploys, so a person approves each
of them unless the settings say otherwise. The connection to the repository is made by a person, because it asks somebody to log
in there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from infra.cloud import names
from infra.cloud.desk import Desk
from infra.cloud.model import TRIGGER, Resource

PATH: Final = Path(__file__).with_name("triggers.yaml")


@cache
def listed() -> tuple[Mapping[str, Any], ...]:
    """The triggers as ``infra/dev.py table`` wrote them."""
    return tuple(yaml.safe_load(PATH.read_text("utf-8")))


def triggers(desk: Desk) -> Iterator[Resource]:
    """The triggers; none without a repository."""
    source = desk.settings.source
    if source is None:
        return
    for entry in listed():
        yield Resource(
            type=TRIGGER,
            name=f"trigger/{entry['name']}",
            properties={
                "project": desk.project,
                "location": desk.region,
                "name": entry["name"],
                "filename": entry["filename"],
                "included_files": list(entry["includedFiles"]),
                "substitutions": {**entry["substitutions"], "_BASE": source.base},
                "service_account": f"projects/{desk.project}/serviceAccounts/{desk.email(names.BUILD_ACCOUNT)}",
                "repository_event_config": {"repository": source.repository, "push": {"branch": source.branch}},
                "approval_config": {"approval_required": source.is_approved},
            },
            depends=("api/cloudbuild", f"account/{names.BUILD_ACCOUNT}"),
        )
