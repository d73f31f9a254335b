"""What must hold over every resource, as a table of named rules; run by ``check`` and by ``infra/dev.py cloud policies``.

A rule looks at properties alone, so it says the same of a plan and of what Pulumi registers for it. It asks nobody, and has no
list of exceptions: where a rule does not fit, the rule is changed, in view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from infra.cloud import access, delivery, standing
from infra.cloud.access import Finding
from infra.cloud.look import Look, Violation
from infra.cloud.model import Plan, read

Policy = Callable[[Look], Iterator[Finding]]

POLICIES: Final[Mapping[str, Policy]] = {
    policy.__name__: policy
    for policy in (
        access.basic_role,
        access.project_role,
        access.overwriting,
        access.own_account,
        access.account_key,
        access.everybody,
        access.secret_in_text,
        access.secret_version,
        access.secret_rights,
        access.signing,
        delivery.dead_letter,
        delivery.dead_letter_unread,
        delivery.dead_letter_rights,
        delivery.topic_unread,
        delivery.expiry,
        delivery.push_signed,
        delivery.push_retry,
        delivery.schedule_signed,
        delivery.schedule_zone,
        delivery.schedule_retry,
        delivery.target,
        delivery.invited,
        standing.bounded,
        standing.timed,
        standing.sized,
        standing.idle,
        standing.pinned_image,
        standing.in_network,
        standing.protected,
        standing.sql_private,
        standing.sql_backups,
        standing.sql_login,
        standing.door_listed,
        standing.door_alone,
        standing.door_tls,
        standing.firewall,
        standing.machine,
        standing.registry,
        standing.budgeted,
        standing.alerts,
        standing.one_region,
    )
}


def violations(plan: Plan) -> list[Violation]:
    """Everything in a plan that breaks a policy, in the order of the table."""
    look = Look(plan=read(plan))
    return [
        Violation(policy=name, resource=resource, reason=reason)
        for name, policy in POLICIES.items()
        for resource, reason in policy(look)
    ]
