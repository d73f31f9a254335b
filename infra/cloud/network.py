"""The network: one subnet for what reaches the database or the gateway, a private range for Cloud SQL, one address to outside.

A function without a database stays outside of it. What leaves through it: private addresses alone, or everything where the
other side knows us by our address (brokers) or is a service of ours that answers from inside alone. No rule lets anybody in but
the gateway's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from infra.cloud import names
from infra.cloud.desk import Desk
from infra.cloud.model import ADDRESS, NAT, NETWORK, PEERING, RANGE, ROUTER, SUBNET, Ref, Resource
from infra.manifest import Function

RUN_RANGE: Final = "10.20.0.0/23"
"""Two addresses for each instance of a function and each task of a job, and as many again while one revision follows another
(tested from the manifest)."""
SQL_RANGE_BITS: Final = 20
TAG: Final = "fillbook-run"
KNOWN_BY_ADDRESS: Final = ("execution_sync", "account_sync", "account_sync_shard")
"""Functions whose outside (Flex, MT5 services) allows or binds callers by their address."""
PRIVATE_ONLY: Final = "PRIVATE_RANGES_ONLY"
EVERYTHING: Final = "ALL_TRAFFIC"


def network(desk: Desk) -> Iterator[Resource]:
    """Network, subnet, the range that Cloud SQL takes its address from, and the way out."""
    project, region = desk.project, desk.region
    yield Resource(
        type=NETWORK,
        name="network",
        properties={"project": project, "name": "fillbook", "auto_create_subnetworks": False, "routing_mode": "REGIONAL"},
        depends=("api/compute",),
    )
    yield Resource(
        type=SUBNET,
        name="subnet/run",
        properties={
            "project": project,
            "region": region,
            "name": "fillbook-run",
            "network": Ref(name="network", attribute="id"),
            "ip_cidr_range": RUN_RANGE,
            "private_ip_google_access": True,  # a service of ours is reached from here as from inside
            "log_config": {"aggregation_interval": "INTERVAL_10_MIN", "flow_sampling": 0.1, "metadata": "EXCLUDE_ALL_METADATA"},
        },
    )
    yield Resource(
        type=RANGE,
        name="range/sql",
        properties={
            "project": project,
            "name": "fillbook-sql",
            "purpose": "VPC_PEERING",
            "address_type": "INTERNAL",
            "prefix_length": SQL_RANGE_BITS,
            "network": Ref(name="network", attribute="id"),
        },
    )
    yield Resource(
        type=PEERING,
        name="peering/sql",
        properties={
            "network": Ref(name="network", attribute="id"),
            "service": "servicenetworking.googleapis.com",
            "reserved_peering_ranges": [Ref(name="range/sql", attribute="name")],
        },
        depends=("api/servicenetworking",),
    )
    yield from _way_out(desk)


def _way_out(desk: Desk) -> Iterator[Resource]:
    project, region = desk.project, desk.region
    yield Resource(
        type=ADDRESS,
        name="address/out",
        properties={"project": project, "region": region, "name": "fillbook-out", "address_type": "EXTERNAL"},
        depends=("api/compute",),
        is_kept=True,  # brokers know it
    )
    yield Resource(
        type=ROUTER,
        name="router",
        properties={"project": project, "region": region, "name": "fillbook", "network": Ref(name="network", attribute="id")},
    )
    yield Resource(
        type=NAT,
        name="nat",
        properties={
            "project": project,
            "region": region,
            "name": "fillbook",
            "router": Ref(name="router", attribute="name"),
            "nat_ip_allocate_option": "MANUAL_ONLY",
            "nat_ips": [Ref(name="address/out", attribute="self_link")],
            "source_subnetwork_ip_ranges_to_nat": "ALL_SUBNETWORKS_ALL_IP_RANGES",
            "log_config": {"enable": True, "filter": "ERRORS_ONLY"},
        },
    )


def way_in(desk: Desk, entry: Function | None) -> dict[str, Any]:
    """The ``vpc_access`` of a template, nothing without a database; ``None``: the migration, which reaches nothing else."""
    if entry is not None and not entry.database_roles:
        return {}
    is_wide = entry is not None and (entry.name in KNOWN_BY_ADDRESS or bool(names.called(entry, desk.manifest)))
    interface = {
        "network": Ref(name="network", attribute="id"),
        "subnetwork": Ref(name="subnet/run", attribute="id"),
        "tags": [TAG],
    }
    return {"vpc_access": {"egress": EVERYTHING if is_wide else PRIVATE_ONLY, "network_interfaces": [interface]}}
