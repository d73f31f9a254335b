"""Everything there is to make, as one tuple: the manifest and one installation's settings in, resources out. Pure.

``ground`` must stand before images and secrets can be put anywhere; ``desk`` needs both. It refuses a plan in which two
resources have one name, or one waits for another that is not there.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain

from infra.cloud import budget, building, edge, gateway, identities, network, project, pubsub, run, scheduler, sql, vault, watch
from infra.cloud.desk import Desk
from infra.cloud.model import Plan, Resource, references
from infra.cloud.settings import Settings
from infra.manifest import Manifest

GROUND = (
    project.apis,
    identities.accounts,
    identities.rights,
    project.registry,
    vault.secrets,
    vault.readers,
    network.network,
    sql.database,
    pubsub.topics,
    gateway.gateway,
    watch.told,
    budget.budget,
)
DESK = (
    run.services,
    run.invokers,
    run.jobs,
    pubsub.subscriptions,
    scheduler.schedules,
    edge.edge,
    building.triggers,
    watch.watch,
)


def plan(manifest: Manifest, settings: Settings) -> Plan:
    """The plan of one installation; raises ``ValueError`` where it contradicts itself (a bug of ours, not of the settings)."""
    found = resources(Desk(manifest=manifest, settings=settings))
    problems = [*_doubled(found), *_dangling(found)]
    if problems:
        raise ValueError("; ".join(problems))
    return found


def resources(desk: Desk) -> Plan:
    """Every resource of a desk's stage, as its parts tell them: not yet held against each other."""
    parts = (*GROUND, *DESK) if desk.settings.stage == "desk" else GROUND
    return tuple(chain.from_iterable(part(desk) for part in parts))


def needs(one: Resource) -> frozenset[str]:
    """The names of everything that must exist before a resource: by its properties, and by what it says."""
    return frozenset(one.depends) | {ref.name for ref in references(one.properties)}


def ordered(found: Plan) -> Plan:
    """The plan with everything after what it needs, else as it was; raises ``ValueError`` where resources wait for each other."""
    left, known, out = list(found), set[str](), list[Resource]()
    while left:
        ready = [one for one in left if needs(one) <= known]
        if not ready:
            raise ValueError(f"these wait for each other: {', '.join(one.name for one in left)}")
        out += ready
        known |= {one.name for one in ready}
        left = [one for one in left if one.name not in known]
    return tuple(out)


def _doubled(found: Plan) -> list[str]:
    counted = Counter(one.name for one in found)
    return [f"{name} stands {count} times" for name, count in counted.items() if count > 1]


def _dangling(found: Plan) -> list[str]:
    names = {one.name for one in found}
    return [f"{one.name} needs {name}" for one in found for name in sorted(needs(one) - names)]
