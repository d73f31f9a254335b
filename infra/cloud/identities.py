"""Who everybody is: one service account per function, and the few rights that hang on an account or on the whole project.

Rights on a topic, secret, service or job stand beside that thing. At project level stand only those that the platform knows
nowhere else (logging in to the database, writing a build's log), narrowed by a condition where it understands one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from infra.cloud import names
from infra.cloud.desk import Desk
from infra.cloud.model import ACCOUNT, ACCOUNT_MEMBER, PROJECT_MEMBER, Resource

TOKENS = "roles/iam.serviceAccountTokenCreator"
ACT_AS = "roles/iam.serviceAccountUser"
DATABASE_ROLES = ("roles/cloudsql.client", "roles/cloudsql.instanceUser")


def accounts(desk: Desk) -> Iterator[Resource]:
    """The service accounts."""
    for account, purpose in desk.accounts():
        yield Resource(
            type=ACCOUNT,
            name=f"account/{account}",
            properties={"project": desk.project, "account_id": account, "display_name": purpose},
            depends=("api/iam",),
        )


def rights(desk: Desk) -> Iterator[Resource]:
    """Who may sign for whom, act as whom, and log in to the database."""
    push = desk.manifest.push_identity
    yield _on_account(desk, push, TOKENS, desk.agent("pubsub"), "pubsub-agent", depends=("agent/pubsub",))
    for account, person in product(desk.people, desk.settings.operators):
        yield _on_account(desk, account, TOKENS, person, person)
    build = names.BUILD_ACCOUNT
    for account in (*(entry.service_account for entry in desk.functions), names.MIGRATE_ACCOUNT):
        yield _on_account(desk, account, ACT_AS, desk.member(build), build, depends=(f"account/{build}",))
    yield Resource(
        type=PROJECT_MEMBER,
        name=f"project/logs/{build}",
        properties={"project": desk.project, "role": "roles/logging.logWriter", "member": desk.member(build)},
        depends=(f"account/{build}",),
    )
    for account in database_accounts(desk):
        yield from _on_database(desk, account)


def database_accounts(desk: Desk) -> tuple[str, ...]:
    """The accounts that log in to the database: of the functions with a role in it, of the migration, of people."""
    functions = (entry.service_account for entry in desk.functions if entry.database_roles)
    return (*functions, names.MIGRATE_ACCOUNT, *(one.account for one in desk.manifest.database.people.values()))


def _on_database(desk: Desk, account: str) -> Iterator[Resource]:
    for role in DATABASE_ROLES:
        yield Resource(
            type=PROJECT_MEMBER,
            name=f"project/{role.rpartition('.')[2]}/{account}",
            properties={
                "project": desk.project,
                "role": role,
                "member": desk.member(account),
                "condition": {
                    "title": "the desk's database",
                    "description": "no other instance of this project",
                    "expression": f"resource.name == 'projects/{desk.project}/instances/{names.SQL_INSTANCE}' "
                    "&& resource.service == 'sqladmin.googleapis.com'",
                },
            },
            depends=(f"account/{account}",),
        )


def _on_account(desk: Desk, account: str, role: str, member: str, who: str, *, depends: tuple[str, ...] = ()) -> Resource:
    return Resource(
        type=ACCOUNT_MEMBER,
        name=f"account/{account}/{role.rpartition('.')[2]}/{who}",
        properties={
            "service_account_id": f"projects/{desk.project}/serviceAccounts/{desk.email(account)}",
            "role": role,
            "member": member,
        },
        depends=(f"account/{account}", *depends),
    )
