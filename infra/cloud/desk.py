"""The manifest and one installation's settings together, with the names that follow from both: told to every part of the plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infra.cloud import names
from infra.cloud.settings import Settings
from infra.manifest import Function, Manifest

LABELS = {"app": "fillbook"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One desk in one project."""

    manifest: Manifest
    settings: Settings

    @property
    def project(self) -> str:
        """The project's id."""
        return self.settings.project

    @property
    def region(self) -> str:
        """Where everything is: the manifest's region."""
        return self.manifest.region

    @property
    def functions(self) -> tuple[Function, ...]:
        """Every function, in the manifest's order."""
        return tuple(self.manifest.functions.values())

    @property
    def jobs(self) -> tuple[Function, ...]:
        """The functions that are deployed as jobs too."""
        return tuple(entry for entry in self.functions if entry.job_entry is not None)

    def email(self, account: str) -> str:
        """The e-mail of one of our service accounts."""
        return names.email(account, self.project)

    def member(self, account: str) -> str:
        """One of our service accounts as IAM writes it."""
        return names.member(account, self.project)

    def agent(self, service: str) -> str:
        """A service agent of the platform as IAM writes it; ``service`` is what stands in its e-mail: ``pubsub``."""
        return f"serviceAccount:service-{self.settings.project_number}@gcp-sa-{service}.iam.gserviceaccount.com"

    def url(self, entry: Function) -> str:
        """The address of a function's service, known before it exists."""
        return names.service_url(entry, self.region, self.settings.project_number)

    def image(self, name: str) -> str:
        """A deployed image by its digest; raises ``KeyError`` where the settings have none (they are checked before)."""
        return names.image(name, self.project, self.region, self.settings.digests[name])

    def topic(self, name: str) -> str:
        """The full name of a topic."""
        return f"projects/{self.project}/topics/{name}"

    def callers(self, entry: Function) -> tuple[str, ...]:
        """The accounts that may invoke a function: of its routes that ask for an identity."""
        return tuple(dict.fromkeys(self.manifest.callers(entry.name)))

    @property
    def people(self) -> tuple[str, ...]:
        """The accounts that a person takes on: for verbs, and for what else logs in to the database."""
        found = (self.manifest.operator_identity, *(one.account for one in self.manifest.database.people.values()))
        return tuple(dict.fromkeys(found))

    def accounts(self) -> Iterator[tuple[str, str]]:
        """Every service account with what it is for."""
        for entry in self.functions:
            yield entry.service_account, f"runs {entry.name}"
        yield self.manifest.push_identity, "signs what Pub/Sub pushes"
        yield self.manifest.schedule_identity, "signs what the Scheduler calls"
        yield self.manifest.operator_identity, "a person's verbs; operators impersonate it"
        for person in self.people:
            if person != self.manifest.operator_identity:
                yield person, "logs in to the database; operators impersonate it"
        yield names.MIGRATE_ACCOUNT, "brings the database to the newest schema"
        yield names.BUILD_ACCOUNT, "builds, deploys and starts the migration"
        if self.settings.gateway is not None:
            yield names.GATEWAY_ACCOUNT, "the virtual machine of IB Gateway"
