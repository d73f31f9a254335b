"""What a month costs whether or not anybody trades, counted from what the cloud program would make: pure but for reading it.

The plan is that of the program's own example (``infra/cloud/Pulumi.example.yaml``), so that another database, another door or one
schedule more is in the price without a word here. Alert policies, the network itself and identities cost nothing on the list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import Any, Final

from infra.cloud import model, stack
from infra.cloud.model import Plan, Resource
from infra.cloud.plan import plan
from infra.cloud.settings import parse
from infra.cost.model import DATABASE, DESK, Measure, Usage
from infra.cost.prices import DatabaseSize, PriceList
from infra.manifest import load

DAYS: Final = 30
DAY_SECONDS: Final = 86_400
HOURS: Final = DAYS * 24
MIB_OF_GIB: Final = Decimal(1024)
VCPU: Final = 1
"""Of every instance: one that serves several requests at once must have a whole one (the cloud program says the same; tested)."""
BUSY_MAX: Final = Decimal("0.7")
TIER: Final = re.compile(r"db-custom-(\d+)-(\d+)")


@cache
def example() -> Plan:
    """Everything that the cloud program would make of its example."""
    return plan(load(), parse(stack.document(), load()))


def of(found: Plan, kind: str) -> list[Resource]:
    """The resources of a kind."""
    return [one for one in found if one.type == kind]


def deployed(found: Plan) -> DatabaseSize:
    """The size of the database server that a plan makes; ``ValueError`` for a tier that names no size."""
    (server,) = of(found, model.SQL)
    settings: Mapping[str, Any] = server.properties["settings"]
    tier = TIER.fullmatch(settings["tier"])
    if tier is None:
        raise ValueError(f"the tier {settings['tier']} names no size")
    return DatabaseSize(
        vcpu=Decimal(tier[1]),
        gib=Decimal(tier[2]) / MIB_OF_GIB,
        storage_gib=Decimal(settings["disk_size"]),
        copies=2 if settings["availability_type"] == "REGIONAL" else 1,
    )


def sized(size: DatabaseSize, processors: Decimal) -> DatabaseSize:
    """The size twice as large, and again, until so many busy processors are at most ``BUSY_MAX`` of it (scale.md, step 2)."""
    while processors > size.vcpu * BUSY_MAX:
        size = size.model_copy(update={"vcpu": size.vcpu * 2, "gib": size.gib * 2})
    return size


def standing(prices: PriceList, month: Usage, size: DatabaseSize | None = None) -> Usage:
    """Database, doors, schedules, secrets, images, instances kept ready. ``size``: another database than the deployed one.

    A backup is counted as large as the disk it is of, which it never is. ``month``: what is in work needs not be kept ready.
    """
    found = example()
    size = size or deployed(found)
    policies = of(found, model.ADDRESS_RULES)
    usage: dict[tuple[str, Measure], Decimal] = {
        (DATABASE, Measure.DATABASE_VCPU_HOURS): size.vcpu * size.copies * HOURS,
        (DATABASE, Measure.DATABASE_GIB_HOURS): size.gib * size.copies * HOURS,
        (DATABASE, Measure.DATABASE_STORAGE_GIB_MONTHS): size.storage_gib * size.copies,
        (DATABASE, Measure.BACKUP_GIB_MONTHS): size.storage_gib,
        (DESK, Measure.SCHEDULER_JOBS): Decimal(len(of(found, model.SCHEDULE))),
        (DESK, Measure.SECRET_VERSIONS): Decimal(len(stack.document()["secret_versions"])),
        (DESK, Measure.FORWARDING_RULE_HOURS): Decimal(len(of(found, model.FORWARDING)) * HOURS),
        (DESK, Measure.ARMOR_POLICIES): Decimal(len(policies)),
        (DESK, Measure.ARMOR_RULES): Decimal(sum(len(one.properties["rules"]) for one in policies)),
        (DESK, Measure.NAT_GATEWAY_HOURS): Decimal(len(of(found, model.NAT)) * HOURS),
        (DESK, Measure.ADDRESS_HOURS): Decimal(len(of(found, model.ADDRESS)) * HOURS),
        (DESK, Measure.ARTIFACT_GIB_MONTHS): prices.standing.artifact_gib,
        (DESK, Measure.D1_PLAN_MONTHS): Decimal(int(prices.standing.d1_plan)),
    }
    for entry in load().functions.values():
        if entry.min_instances:
            kept = Decimal(entry.min_instances * DAYS * DAY_SECONDS)
            ready = max(kept - month.get((entry.name, Measure.VCPU_SECONDS), Decimal(0)) / VCPU, Decimal(0))
            usage[entry.name, Measure.READY_VCPU_SECONDS] = ready * VCPU
            usage[entry.name, Measure.READY_GIB_SECONDS] = ready * entry.memory_mb / MIB_OF_GIB
    return usage
