"""Turns values into the provider's typed classes: the only module, beside the program itself, that knows Pulumi.

Every property at every depth is looked up in the provider's own types, so that a name it does not know, a missing one that it
needs, or a text where it wants a number is an error here and not the platform's answer to an ``up``. It decides nothing about
the desk.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pulumi
from pulumi._types import input_type_py_to_pulumi_names, input_type_types, is_input_type

from infra.cloud.model import Plan, Ref
from infra.cloud.plan import needs, ordered

Made = dict[str, Any]


class UnknownProperty(TypeError):
    """A property that the provider does not have, or a value of another type than it takes; the text has the path."""


def make(plan: Plan) -> Made:
    """Register every resource of a plan, after what it needs; by name. Raises ``UnknownProperty`` or ``TypeError``."""
    made: Made = {}
    for one in ordered(plan):
        kind, arguments = classes(one.type)
        options = pulumi.ResourceOptions(
            depends_on=[made[name] for name in sorted(needs(one))],
            ignore_changes=list(one.ignores) or None,
            protect=True if one.is_kept else None,
        )
        made[one.name] = kind(one.name, shaped(arguments, one.properties, made, one.name), options)
    return made


def classes(token: str) -> tuple[Any, Any]:
    """The resource class of a type token and the class of its properties: ``gcp:pubsub/topic:Topic`` -> Topic, TopicArgs."""
    place, _, name = token.removeprefix("gcp:").partition(":")
    module = importlib.import_module(f"pulumi_gcp.{place.partition('/')[0]}")
    return getattr(module, name), getattr(module, f"{name}Args")


def shaped(hint: Any, value: Any, made: Mapping[str, Any], path: str) -> Any:
    """A plain value as the provider's type ``hint`` has it; ``path`` names the place in errors."""
    if isinstance(value, Ref):
        return getattr(made[value.name], value.attribute)
    if isinstance(hint, type) and is_input_type(hint):
        if not isinstance(value, Mapping):
            raise UnknownProperty(f"{path}: {hint.__name__} is wanted, not {value!r}")
        return _arguments(hint, value, made, path)
    origin = get_origin(hint)
    if origin is not None and isinstance(value, list | tuple):
        (inner,) = get_args(hint)
        return [shaped(_first(inner), item, made, f"{path}[{number}]") for number, item in enumerate(value)]
    if origin is not None and isinstance(value, Mapping) and len(get_args(hint)) > 1:
        return {key: shaped(_first(get_args(hint)[1]), item, made, f"{path}.{key}") for key, item in value.items()}
    if isinstance(hint, type) and not _fits(hint, value):
        raise UnknownProperty(f"{path}: {hint.__name__} is wanted, not {value!r}")
    if origin is not None:
        raise UnknownProperty(f"{path}: {hint} is wanted, not {value!r}")
    return value


def _arguments(kind: Any, values: Mapping[str, Any], made: Mapping[str, Any], path: str) -> Any:
    names, types = input_type_py_to_pulumi_names(kind), input_type_types(kind)
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise UnknownProperty(f"{path}: {kind.__name__} has no {', '.join(unknown)}")
    return kind(**{name: shaped(types[names[name]], value, made, f"{path}.{name}") for name, value in values.items()})


def _first(hint: Any) -> Any:
    """The plain type of an input that may be awaited too."""
    return get_args(hint)[0] if get_origin(hint) in (Union, UnionType) else hint


def _fits(hint: type, value: Any) -> bool:
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is hint
