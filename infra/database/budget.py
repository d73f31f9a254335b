"""Who may be connected to the database at once: every function, job, migration and person of the manifest, summed.

A fifth of the connections stays free. It is not waste: while a function is deployed its old instances end as its new ones
begin, so its pools exist twice for a while, and the server keeps some for its own administrator (tested from the manifest).
"""

from __future__ import annotations

from dataclasses import dataclass

from infra.manifest import Manifest

PLANNED_PERCENT_MAX = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The connections of one holder: ``places`` (instances, tasks, people) with ``each`` of them."""

    holder: str
    places: int
    each: int

    @property
    def connections(self) -> int:
        """All of them at once."""
        return self.places * self.each


def shares(manifest: Manifest) -> tuple[Share, ...]:
    """Every holder with connections, in the manifest's order: functions, their jobs, the migration, people."""
    database = manifest.database
    users = [entry for entry in manifest.functions.values() if entry.database_roles]
    found = [Share(holder=one.name, places=one.max_instances, each=one.pool_size) for one in users]
    found += [Share(holder=one.job_name, places=one.job_tasks_max, each=one.job_connections) for one in users if one.job_entry]
    if database.migrate is not None:
        found.append(Share(holder="migrate", places=1, each=database.migrate.connections))
    return (*found, *(Share(holder=one.name, places=1, each=one.connections) for one in database.people.values()))


def planned(manifest: Manifest) -> int:
    """The connections of all holders together."""
    return sum(share.connections for share in shares(manifest))


def deployed_twice(manifest: Manifest) -> int:
    """What the largest function holds once more while its next revision takes over."""
    return max((one.max_instances * one.pool_size for one in manifest.functions.values()), default=0)


def table(manifest: Manifest) -> str:
    """The budget as Markdown, for the runbook's neighbour ``database.md`` (tested to be what stands there)."""
    lines = ["| who | at once | connections each | together |", "|---|---|---|---|"]
    lines += [f"| `{one.holder}` | {one.places} | {one.each} | {one.connections} |" for one in shares(manifest)]
    total, most = planned(manifest), manifest.max_connections
    lines.append(f"| **planned**, of at most {most * PLANNED_PERCENT_MAX // 100} | | | **{total}** |")
    lines.append(f"| the largest function once more, while it is deployed | | | {deployed_twice(manifest)} |")
    lines.append(f"| kept by the server for its administrator | | | {manifest.database.reserved_connections} |")
    return "\n".join(lines)
