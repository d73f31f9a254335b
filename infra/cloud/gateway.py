"""A small machine for IB Gateway, where the settings ask for one: reached by functions and through IAP, never from outside.

The program makes the machine, not the gateway: a person installs it, logs it in, and leaves *Read-Only API* on (runbook). Two
rules let in what must come in: the functions' subnet to the gateway's ports, and IAP's range to SSH.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from infra.cloud import names
from infra.cloud.desk import LABELS, Desk
from infra.cloud.model import (
    ADDRESS,
    FIREWALL,
    MACHINE,
    MACHINE_MEMBER,
    PROJECT_MEMBER,
    SUBNET,
    TUNNEL_MEMBER,
    Ref,
    Resource,
)
from infra.cloud.network import RUN_RANGE
from infra.cloud.settings import Gateway

NAME: Final = "fillbook-gateway"
GATEWAY_RANGE: Final = "10.20.4.0/29"
GATEWAY_ADDRESS: Final = "10.20.4.2"
"""What ``IBKR_TWS_TARGETS`` names as host."""
PORTS: Final = ("4001", "4002")
IAP_RANGE: Final = "35.235.240.0/20"
DISK_GB: Final = 20


def gateway(desk: Desk) -> Iterator[Resource]:
    """The machine with its subnet, its rules and who may log in; nothing where the settings have none."""
    if desk.settings.gateway is None:
        return
    network = Ref(name="network", attribute="id")
    yield Resource(
        type=SUBNET,
        name="subnet/gateway",
        properties={
            "project": desk.project,
            "region": desk.region,
            "name": NAME,
            "network": network,
            "ip_cidr_range": GATEWAY_RANGE,
            "private_ip_google_access": True,
            "log_config": {"aggregation_interval": "INTERVAL_10_MIN", "flow_sampling": 0.1, "metadata": "EXCLUDE_ALL_METADATA"},
        },
    )
    yield Resource(
        type=ADDRESS,
        name="address/gateway",
        properties={
            "project": desk.project,
            "region": desk.region,
            "name": NAME,
            "address_type": "INTERNAL",
            "subnetwork": Ref(name="subnet/gateway", attribute="id"),
            "address": GATEWAY_ADDRESS,
        },
    )
    yield _rule(desk, "run", [RUN_RANGE], list(PORTS))
    yield _rule(desk, "iap", [IAP_RANGE], ["22"])
    yield _machine(desk, desk.settings.gateway)
    yield from _people(desk, desk.settings.gateway)
    for role in ("logging.logWriter", "monitoring.metricWriter"):
        yield Resource(
            type=PROJECT_MEMBER,
            name=f"project/{role}/{names.GATEWAY_ACCOUNT}",
            properties={"project": desk.project, "role": f"roles/{role}", "member": desk.member(names.GATEWAY_ACCOUNT)},
            depends=(f"account/{names.GATEWAY_ACCOUNT}",),
        )


def _machine(desk: Desk, machine: Gateway) -> Resource:
    properties: dict[str, Any] = {
        "project": desk.project,
        "zone": f"{desk.region}-{machine.zone}",
        "name": NAME,
        "machine_type": machine.machine_type,
        "labels": LABELS,
        "tags": [NAME],
        "deletion_protection": True,
        "allow_stopping_for_update": True,
        "boot_disk": {"initialize_params": {"image": machine.image, "size": DISK_GB, "type": "pd-balanced"}},
        # no access_configs: no address outside
        "network_interfaces": [
            {
                "subnetwork": Ref(name="subnet/gateway", attribute="id"),
                "network_ip": Ref(name="address/gateway", attribute="address"),
            }
        ],
        "shielded_instance_config": {"enable_secure_boot": True, "enable_vtpm": True, "enable_integrity_monitoring": True},
        "metadata": {"enable-oslogin": "TRUE", "block-project-ssh-keys": "TRUE", "serial-port-enable": "FALSE"},
        "service_account": {
            "email": desk.email(names.GATEWAY_ACCOUNT),
            "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
        },
    }
    depends = ("api/compute", "nat", f"account/{names.GATEWAY_ACCOUNT}")
    return Resource(type=MACHINE, name="gateway", properties=properties, depends=depends, is_kept=True)


def _rule(desk: Desk, who: str, ranges: list[str], ports: list[str]) -> Resource:
    return Resource(
        type=FIREWALL,
        name=f"firewall/gateway/{who}",
        properties={
            "project": desk.project,
            "name": f"{NAME}-{who}",
            "network": Ref(name="network", attribute="id"),
            "direction": "INGRESS",
            "source_ranges": ranges,
            "target_tags": [NAME],
            "allows": [{"protocol": "tcp", "ports": ports}],
            "log_config": {"metadata": "INCLUDE_ALL_METADATA"},
        },
    )


def _people(desk: Desk, machine: Gateway) -> Iterator[Resource]:
    place = {"project": desk.project, "zone": f"{desk.region}-{machine.zone}"}
    for person in desk.settings.operators:
        yield Resource(
            type=TUNNEL_MEMBER,
            name=f"gateway/tunnel/{person}",
            properties={**place, "instance": NAME, "role": "roles/iap.tunnelResourceAccessor", "member": person},
            depends=("gateway", "api/iap"),
        )
        yield Resource(
            type=MACHINE_MEMBER,
            name=f"gateway/login/{person}",
            properties={**place, "instance_name": NAME, "role": "roles/compute.osAdminLogin", "member": person},
            depends=("gateway",),
        )
