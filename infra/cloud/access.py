"""Policies about who may do what: roles, accounts, secrets, and whoever calls without an identity."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from infra.cloud import model
from infra.cloud.look import Look, inner, secret_versions, settings
from infra.cloud.model import Resource

Finding = tuple[str, str]
"""The name of a resource and what is wrong with it."""

EVERYBODY: Final = ("allUsers", "allAuthenticatedUsers")
WIDE: Final = re.compile(r"roles/(owner|editor|viewer|browser)|roles/[\w.]+\.[aA]dmin")
PROJECT_ROLES: Final = ("roles/logging.logWriter", "roles/monitoring.metricWriter")
CONDITIONAL_ROLES: Final = ("roles/cloudsql.client", "roles/cloudsql.instanceUser")
SECRET_NAME: Final = re.compile(r"TOKEN|SECRET|PASSWORD|WEBHOOK$|KEYS?$")
SECRET_VALUE: Final = re.compile(r"://[^/@\s]*:[^/@\s]+@|/api/webhooks/\d|-----BEGIN |\beyJ[\w-]{8,}\.")
KEY_NAME: Final = re.compile(r"(TOKENS?|KEYS)$")
"""Secrets that callers show."""
INVOKER: Final = "roles/run.invoker"


def grants(look: Look) -> Iterator[Resource]:
    """Everything that gives a member a role, or a role its members."""
    return (one for one in look.plan if one.get("role") and (one.get("member") or one.get("members")))


def members(one: Resource) -> list[str]:
    """Whom a grant is for."""
    return [str(one.get("member"))] if one.get("member") else [str(each) for each in one.get("members", ())]


def basic_role(look: Look) -> Iterator[Finding]:
    """No role of the whole project, and none that administers."""
    for one in grants(look):
        if WIDE.fullmatch(str(one.get("role"))):
            yield one.name, f"{one.get('role')} is far more than anybody here needs"


def project_role(look: Look) -> Iterator[Finding]:
    """A role on the whole project is one that has no smaller place; to the database only under a condition."""
    for one in grants(look):
        role = str(one.get("role"))
        if not one.type.startswith("gcp:projects/") or role in PROJECT_ROLES or WIDE.fullmatch(role):
            continue
        if role not in CONDITIONAL_ROLES:
            yield one.name, f"{role} belongs on the one thing it is for"
        elif "/instances/" not in str(one.get("condition.expression", "")):
            yield one.name, f"{role} without a condition opens every instance of the project"


def overwriting(look: Look) -> Iterator[Finding]:
    """Rights are added one by one: a binding or policy would take away what the platform or somebody else granted."""
    for one in look.plan:
        if re.search(r"(?:IAM|Iam)(?:Binding|Policy)$", one.type):
            yield one.name, f"a {one.kind} replaces the grants of others"


def own_account(look: Look) -> Iterator[Finding]:
    """Everything that runs has an account that no other function has; never the default one."""
    users: dict[str, set[str]] = defaultdict(set)
    for one in look.workloads:
        users[str(inner(one).get("service_account", ""))].add(str(one.get("name")).removesuffix("-job"))
    made = {str(one.get("account_id")) for one in look.of(model.ACCOUNT)}
    for one in look.workloads:
        account = str(inner(one).get("service_account", ""))
        if account.partition("@")[0] not in made:
            yield one.name, f"runs as {account or 'the default account'}, which is none of ours"
        elif len(users[account]) > 1:
            yield one.name, f"shares {account} with {', '.join(sorted(users[account] - {str(one.get('name'))}))}"


def account_key(look: Look) -> Iterator[Finding]:
    """Nobody has a key file: accounts are impersonated, or given by the platform."""
    for one in look.plan:
        if one.type == "gcp:serviceaccount/key:Key":
            yield one.name, "a key of a service account can be copied and never expires"


def everybody(look: Look) -> Iterator[Finding]:
    """Who calls without identity reaches only a service that asks for a key, and not from every address."""
    for one in grants(look):
        if not set(members(one)) & set(EVERYBODY):
            continue
        service = look.services.get(str(one.get("name"))) if one.type == model.SERVICE_MEMBER else None
        if service is None or one.get("role") != INVOKER:
            yield one.name, f"{one.get('role')} for everybody"
        elif not any(KEY_NAME.search(name) for name in secret_versions(service)):
            yield one.name, f"everybody may invoke {service.name}, which asks for no key"
        elif settings(service).get("FILLBOOK_OIDC_PLATFORM_VERIFIED") == "true":
            yield one.name, f"everybody may invoke {service.name}, which trusts that the platform checked who calls"
        elif service.get("ingress") == "INGRESS_TRAFFIC_ALL":
            yield one.name, f"everybody may invoke {service.name} from every address"
    for one in look.of(model.SERVICE):
        if one.get("invoker_iam_disabled"):
            yield one.name, "nobody's identity is checked"


def secret_in_text(look: Look) -> Iterator[Finding]:
    """A secret is never written into a setting."""
    for one in look.workloads:
        for name, value in settings(one).items():
            if SECRET_NAME.search(name) or SECRET_VALUE.search(value):
                yield one.name, f"{name} is a secret and stands there in plain text"


def secret_version(look: Look) -> Iterator[Finding]:
    """Which version of a secret is deployed is a number, so that what was tested is what runs."""
    for one in look.workloads:
        for name, (_, version) in secret_versions(one).items():
            if not re.fullmatch(r"[1-9][0-9]*", version):
                yield one.name, f"{name} follows version {version!r}"


def secret_rights(look: Look) -> Iterator[Finding]:
    """Whoever is given a secret may read it, and nobody else may."""
    granted = {(str(one.get("secret_id")), member): one.name for one in look.of(model.SECRET_MEMBER) for member in members(one)}
    used = set()
    for one in look.workloads:
        member = f"serviceAccount:{inner(one).get('service_account')}"
        for name, (secret, _) in secret_versions(one).items():
            used.add((secret, member))
            if (secret, member) not in granted:
                yield one.name, f"cannot read {name}: its account has no right on {secret}"
    for (secret, member), name in granted.items():
        if (secret, member) not in used:
            yield name, f"{member} may read {secret}, which it is not given"


def signing(look: Look) -> Iterator[Finding]:
    """Pub/Sub may sign as the account that its pushes carry."""
    signed = {
        str(one.get("service_account_id")).rpartition("/")[2]
        for one in look.of(model.ACCOUNT_MEMBER)
        if one.get("role") == "roles/iam.serviceAccountTokenCreator" and "gcp-sa-pubsub" in str(one.get("member"))
    }
    for one in look.of(model.SUBSCRIPTION):
        account = one.get("push_config.oidc_token.service_account_email")
        if account is not None and account not in signed:
            yield one.name, f"Pub/Sub may not sign as {account}"
