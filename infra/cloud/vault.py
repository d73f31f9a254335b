"""Secrets: empty ones, made here and filled by a person, and who may read each of them.

A value never passes through this program or its state. Which version a function is given stands in the settings as a number, so
that going back is a deployment and a new version changes nothing by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from infra.cloud import names
from infra.cloud.desk import LABELS, Desk
from infra.cloud.model import SECRET, SECRET_MEMBER, Resource
from infra.cloud.settings import secrets_of


def secrets(desk: Desk) -> Iterator[Resource]:
    """Every secret of the manifest, optional ones too, in the desk's region alone."""
    for setting in names.secret_readers(desk.manifest):
        yield Resource(
            type=SECRET,
            name=f"secret/{names.secret_id(setting)}",
            properties={
                "project": desk.project,
                "secret_id": names.secret_id(setting),
                "labels": LABELS,
                "replication": {"user_managed": {"replicas": [{"location": desk.region}]}},
            },
            depends=("api/secretmanager",),
            is_kept=True,
        )


def readers(desk: Desk) -> Iterator[Resource]:
    """One right per function and secret that it is given; an optional secret without version is read by nobody."""
    for entry in desk.functions:
        for setting in secrets_of(entry, desk.settings):
            secret = names.secret_id(setting)
            yield Resource(
                type=SECRET_MEMBER,
                name=f"secret/{secret}/{entry.service_account}",
                properties={
                    "project": desk.project,
                    "secret_id": secret,
                    "role": "roles/secretmanager.secretAccessor",
                    "member": desk.member(entry.service_account),
                },
                depends=(f"secret/{secret}", f"account/{entry.service_account}"),
            )
