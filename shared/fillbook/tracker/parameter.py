"""A parameter of an operation as a value: the code that reads it and the document that announces it cannot say two things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fillbook.values import frozen


@frozen
class Parameter:
    """A parameter: its name, the JSON schema of its text (with examples), and one sentence.

    Of the path where the path names it, else of the query; a request header where it stands among a route's ``headers``.
    """

    name: str
    schema: Mapping[str, Any]
    purpose: str
    is_required: bool = False


def names(parameters: Iterable[Parameter]) -> frozenset[str]:
    """What ``model.single`` lets pass."""
    return frozenset(parameter.name for parameter in parameters)
