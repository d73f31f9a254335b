"""The example's plan for tests, and ways to spoil a plan: one property, one resource less, one more."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from infra.cloud import stack
from infra.cloud.model import Plan, Resource, written
from infra.cloud.plan import plan
from infra.cloud.settings import Settings, parse
from infra.manifest import load

ABSENT = object()
"""As a value: take the property away."""


def settings(**changes: Any) -> Settings:
    """The example's settings with some of them changed; a machine for the gateway, because the example has none."""
    return parse({**stack.document(), "gateway": {}, **changes}, load())


@cache
def planned() -> Plan:
    """The plan of ``settings()``, without references, as policies read it."""
    found = plan(load(), settings())
    return tuple(replace(one, properties=written(one.properties)) for one in found)


def one(found: Plan, name: str) -> Resource:
    (match,) = (resource for resource in found if resource.name == name)
    return match


def changed(found: Plan, name: str, path: str, value: Any) -> Plan:
    """The plan with one property of one resource set, or taken away; ``path`` as ``Resource.get`` reads it."""
    resource = one(found, name)
    properties: Any = copy.deepcopy(dict(resource.properties))
    place, parts = properties, path.split(".")
    for part in parts[:-1]:
        place = place[int(part)] if isinstance(place, list) else place[part]
    last: Any = int(parts[-1]) if isinstance(place, list) else parts[-1]
    if value is ABSENT:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return tuple(replace(resource, properties=properties) if each.name == name else each for each in found)


def without(found: Plan, *names: str) -> Plan:
    """The plan without these resources, which must be in it."""
    assert {each.name for each in found} >= set(names)
    return tuple(each for each in found if each.name not in names)


def plus(found: Plan, type_: str, name: str, properties: Mapping[str, Any]) -> Plan:
    """The plan with one resource more."""
    return (*found, Resource(type=type_, name=name, properties=properties))
