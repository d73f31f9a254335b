"""What things are called in the cloud: the one place, for the cloud program, ``cloudbuild.yaml``, the migrations and the runbook.

Everything that the manifest names keeps that name; here stands only what a cloud adds to it: addresses, e-mails, paths, and the
few things that belong to no function. Pure: names in, names out. It opens nothing and imports the manifest alone.
"""

from __future__ import annotations

from typing import Final

from infra.manifest import Function, Manifest

REPOSITORY: Final = "fillbook"
"""The Artifact Registry repository of the images."""
SQL_INSTANCE: Final = "fillbook"
"""The Cloud SQL instance."""
DATABASE: Final = "fillbook"
"""The database in it."""
MIGRATE_JOB: Final = "database-migrate"
"""The Cloud Run job that brings the database to the newest schema; no function of the manifest."""
MIGRATE_ENTRY: Final = "migrate"
"""The image of that job in the repository."""
MIGRATE_ACCOUNT: Final = "fb-migrate"
BUILD_ACCOUNT: Final = "fb-build"
"""Who runs ``cloudbuild.yaml``: writes images, deploys, starts the migration."""
GATEWAY_ACCOUNT: Final = "fb-gateway"
"""The virtual machine of IB Gateway, where there is one."""


def email(account: str, project: str) -> str:
    """The e-mail of a service account of this project."""
    return f"{account}@{project}.iam.gserviceaccount.com"


def member(account: str, project: str) -> str:
    """A service account as IAM writes it."""
    return f"serviceAccount:{email(account, project)}"


def database_user(account: str, project: str) -> str:
    """A service account as Cloud SQL for Postgres knows it: its e-mail without the last part, at most 63 bytes."""
    return email(account, project).removesuffix(".gserviceaccount.com")


def instance_connection(project: str, region: str) -> str:
    """What ``FILLBOOK_DATABASE_INSTANCE`` is set to."""
    return f"{project}:{region}:{SQL_INSTANCE}"


def service_url(entry: Function, region: str, project_number: str) -> str:
    """The address that a service has before it exists; also the audience of its tokens."""
    return f"https://{entry.cloud_name}-{project_number}.{region}.run.app"


def service_path(entry: Function, project: str, region: str) -> str:
    """The full name of a service."""
    return f"projects/{project}/locations/{region}/services/{entry.cloud_name}"


def job_path(entry: Function, project: str, region: str) -> str:
    """The full name of a function's job."""
    return f"projects/{project}/locations/{region}/jobs/{entry.job_name}"


def secret_id(setting: str) -> str:
    """The name of a secret in the Secret Manager: the setting's name in small letters with hyphens."""
    return setting.lower().replace("_", "-")


def image(name: str, project: str, region: str, digest: str) -> str:
    """An image of the repository by digest (``sha256:…``); ``name`` is a folder of ``functions/`` or ``MIGRATE_ENTRY``."""
    return f"{region}-docker.pkg.dev/{project}/{REPOSITORY}/{name}@{digest}"


def is_keyed(entry: Function) -> bool:
    """Whether a function is called by those who cannot have an identity of Google: senders, browsers and readers with keys.

    Only such a service may be invoked without identity, and then never from every address: a load balancer with a list
    of addresses stands before it, or it is reached from inside alone. A route for ``admin`` takes an identity as well.
    """
    return any(route.caller not in ("oidc", "admin") for route in entry.routes)


def called(entry: Function, manifest: Manifest) -> dict[str, Function]:
    """The functions that a function calls, by the setting that holds their address: ``ACCOUNT_SYNC_URL`` names account_sync."""
    found = {name: name.removesuffix("_URL").lower() for name in entry.env if name.endswith("_URL")}
    return {name: manifest.functions[function] for name, function in found.items() if function in manifest.functions}


def secret_readers(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """Each secret's setting with the accounts that read it, in the manifest's order; optional secrets included."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in manifest.functions.values():
        for name in (*entry.secrets, *entry.optional_secrets):
            found[name] = (*found.get(name, ()), entry.service_account)
    return found


def job_command(entry: Function) -> tuple[str, ...]:
    """What a function's job runs inside the function's image: the callable of ``main.py`` that works to completion."""
    return ("python", "-c", f"import main; main.{entry.job_entry}()")
