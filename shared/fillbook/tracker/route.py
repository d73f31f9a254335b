"""An operation of the API as a value: how it is asked, what it answers, who may ask, and whose rows change its answer.

The edge's table, the OpenAPI document, the ETag and the rate limits are all made from these, so that none of them can say
something else than another. Source: tracker.md 1 to 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.tracker.parameter import Parameter as Parameter
from fillbook.tracker.parameter import names as names
from fillbook.values import frozen

Given = Mapping[str, list[str]]


class UseCase(Protocol):
    """Answers a question within the tenant and books of the key; raises ``Rejected`` for one that is not understood."""

    def __call__(self, db: Database, key: DeskKey, given: Given, now: datetime, **path: str) -> Mapping[str, Any]:
        """Return a document of the route's answer type."""
        ...


class Source(StrEnum):
    """Whose rows an answer is made of; a change of any of them makes another ETag."""

    LEDGER = "ledger"  # the sequence of each book
    MARKS = "marks"
    SIGNAL = "signal"
    IBKR = "ibkr"
    MT5 = "mt5"
    NOTIFY = "notify"
    METRICS = "metrics"
    REPLAY = "replay"
    OUTBOX = "outbox"
    ANNOTATIONS = "annotations"
    MINUTE = "minute"  # the time is a part of the answer: asked anew once a minute


class Weight(StrEnum):
    """How dear an answer is; rate limits go by it (tracker.md 2)."""

    LIST = "list"
    FIGURES = "figures"
    EXPORT = "export"
    ADMIN = "admin"


@frozen
class Route:
    """One operation. ``answer`` is the TypedDict of its 200 document; ``sources`` empty: it has no ETag."""

    path: str
    purpose: str
    use_case: UseCase | Callable[..., Mapping[str, Any]]
    answer: type
    parameters: tuple[Parameter, ...] = ()
    scope: str = "read"
    weight: Weight = Weight.LIST
    sources: frozenset[Source] = frozenset()
