"""An operation of the API as a value: how it is asked, what it answers, who may ask, and whose rows change its answer.

The edge's table, the OpenAPI document, the ETag and the rate limits are all made from these, so that none of them can say
something else than another. Source: tracker.md 1 to 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from fillbook.tracker.parameter import Parameter, names
from fillbook.values import frozen

__all__ = ["Download", "Given", "Parameter", "Route", "Sent", "Source", "Weight", "names"]

Given = Mapping[str, list[str]]


@frozen
class Sent:
    """What a writing request brings besides its address: a JSON object, the headers its route names, its id in the log."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    request_id: str


@frozen
class Download:
    """A file that is sent piece by piece. What can be refused was refused before there is one: nothing is sent before."""

    file_name: str
    content_type: str
    pieces: Iterator[bytes]


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
    """One operation. ``answer`` is the TypedDict of its document; ``sources`` empty: it has no ETag.

    ``use_case(db, key, given, now, **path)`` answers within the tenant and books of the key and raises ``Rejected`` for what is
    not understood; one of another method than GET is given ``sent`` as well. ``status`` is that of the answer. ``body``: the
    TypedDict of what is sent, None: nothing may be. ``headers``: request headers it reads. ``refusals``: statuses beside those
    that every route has. ``asks``: what of the desk the use case is given first. ``media``: of a ``Download``; its ``answer`` is
    ``str`` unless it is JSON.
    """

    path: str
    purpose: str
    use_case: Callable[..., Mapping[str, Any] | Download]
    answer: Any
    parameters: tuple[Parameter, ...] = ()
    scope: str = "read"
    weight: Weight = Weight.LIST
    sources: frozenset[Source] = frozenset()
    method: str = "GET"
    status: int = 200
    body: Any = None
    headers: tuple[Parameter, ...] = ()
    refusals: frozenset[int] = frozenset()
    asks: str = "db"
    media: str = "application/json"

    @property
    def operation(self) -> str:
        """Method and path, as the edge's table and the manifest name it."""
        return f"{self.method} {self.path}"
