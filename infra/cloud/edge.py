"""The way in from the internet: one load balancer, and a list of addresses before every function that may be asked there.

Only functions with keys of their own stand here (the webhook always; the page and the published day where the settings give
them a host). An address that is not on a function's list is refused before the function is woken. There is no port 80, and no
TLS below 1.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from infra.cloud.desk import Desk
from infra.cloud.model import (
    ADDRESS_RULES,
    BACKEND,
    CERTIFICATE,
    ENDPOINTS,
    FORWARDING,
    PROXY,
    RANGE,
    TLS_POLICY,
    URL_MAP,
    Ref,
    Resource,
)
from infra.cloud.settings import WEBHOOK, Door
from infra.manifest import Function

RULE_ADDRESSES_MAX: Final = 10
"""The platform takes ten ranges a rule."""
FIRST_PRIORITY: Final = 1000
LAST_PRIORITY: Final = 2147483647
SCHEME: Final = "EXTERNAL_MANAGED"


def edge(desk: Desk) -> Iterator[Resource]:
    """The load balancer with what stands behind it."""
    doors = [(desk.manifest.functions[name], door) for name, door in desk.settings.doors.items()]
    for entry, door in doors:
        yield from _behind(desk, entry, door)
    yield from _front(desk, doors)


def _behind(desk: Desk, entry: Function, door: Door) -> Iterator[Resource]:
    name = entry.cloud_name
    yield Resource(
        type=ADDRESS_RULES,
        name=f"edge/{name}/addresses",
        properties={
            "project": desk.project,
            "name": f"fillbook-{name}",
            "description": f"who may ask {entry.name}",
            "type": "CLOUD_ARMOR",
            "rules": _rules(door.addresses),
        },
        depends=("api/compute",),
    )
    yield Resource(
        type=ENDPOINTS,
        name=f"edge/{name}/endpoints",
        properties={
            "project": desk.project,
            "region": desk.region,
            "name": f"fillbook-{name}",
            "network_endpoint_type": "SERVERLESS",
            "cloud_run": {"service": name},
        },
        depends=("api/compute", f"service/{name}"),
    )
    yield Resource(
        type=BACKEND,
        name=f"edge/{name}/backend",
        properties={
            "project": desk.project,
            "name": f"fillbook-{name}",
            "load_balancing_scheme": SCHEME,
            "protocol": "HTTPS",
            "security_policy": Ref(name=f"edge/{name}/addresses", attribute="id"),
            "backends": [{"group": Ref(name=f"edge/{name}/endpoints", attribute="id")}],
            "log_config": {"enable": True, "sample_rate": 1.0},
        },
    )


def _rules(addresses: Sequence[str]) -> list[dict[str, Any]]:
    chunks = [addresses[start : start + RULE_ADDRESSES_MAX] for start in range(0, len(addresses), RULE_ADDRESSES_MAX)]
    rules = [
        _rule("allow", FIRST_PRIORITY + number, list(chunk), "addresses of the settings") for number, chunk in enumerate(chunks)
    ]
    return [*rules, _rule("deny(403)", LAST_PRIORITY, ["*"], "nobody else")]


def _rule(action: str, priority: int, ranges: list[str], why: str) -> dict[str, Any]:
    match = {"versioned_expr": "SRC_IPS_V1", "config": {"src_ip_ranges": ranges}}
    return {"action": action, "priority": priority, "description": why, "match": match}


def _front(desk: Desk, doors: Sequence[tuple[Function, Door]]) -> Iterator[Resource]:
    common = {"project": desk.project, "name": "fillbook"}
    domains = [door.host for _, door in doors]
    backends = {entry.name: Ref(name=f"edge/{entry.cloud_name}/backend", attribute="id") for entry, _ in doors}
    yield Resource(
        type=RANGE,
        name="edge/address",
        properties={"project": desk.project, "name": "fillbook-edge", "address_type": "EXTERNAL"},
        depends=("api/compute",),
        is_kept=True,  # the hosts' names point at it
    )
    yield Resource(
        type=URL_MAP,
        name="edge/hosts",
        properties={
            **common,
            "default_service": backends[WEBHOOK],  # an unknown host meets the shortest list of addresses
            "host_rules": [{"hosts": [door.host], "path_matcher": entry.cloud_name} for entry, door in doors],
            "path_matchers": [{"name": entry.cloud_name, "default_service": backends[entry.name]} for entry, _ in doors],
        },
    )
    yield Resource(
        type=CERTIFICATE,
        name="edge/certificate",
        # another list of hosts is another certificate, made before the old one goes: hence another name
        properties={**common, "name": f"fillbook-{_short(domains)}", "managed": {"domains": domains}},
        depends=("api/compute",),
    )
    yield Resource(
        type=TLS_POLICY,
        name="edge/tls",
        properties={**common, "profile": "MODERN", "min_tls_version": "TLS_1_2"},
        depends=("api/compute",),
    )
    yield Resource(
        type=PROXY,
        name="edge/proxy",
        properties={
            **common,
            "url_map": Ref(name="edge/hosts", attribute="id"),
            "ssl_certificates": [Ref(name="edge/certificate", attribute="id")],
            "ssl_policy": Ref(name="edge/tls", attribute="id"),
        },
    )
    yield Resource(
        type=FORWARDING,
        name="edge/front",
        properties={
            **common,
            "load_balancing_scheme": SCHEME,
            "ip_address": Ref(name="edge/address", attribute="address"),
            "port_range": "443",
            "target": Ref(name="edge/proxy", attribute="id"),
        },
    )


def _short(domains: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(domains).encode()).hexdigest()[:8]
