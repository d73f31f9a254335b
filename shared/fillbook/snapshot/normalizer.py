"""What somebody sends becomes a snapshot, or a list of everything that is wrong with it: nothing is guessed, cut or rounded.

Pure: the receiver and whoever reads a day back use it. Source: snapshot specification, 5.1 row 7, 5.2 and 5.3.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fillbook.snapshot.model import Dropped, Snapshot
from fillbook.values import frozen


@frozen
class Normalized:
    """A document that was taken: what it says, what was resolved, and the hash of its content.

    ``warnings`` are sentences for the sender; ``claimed_hash`` is the ``content_sha256`` it came with (None: none), which
    equals ``content_sha256``, else it would have been refused.
    """

    snapshot: Snapshot
    dropped: Dropped
    warnings: tuple[str, ...]
    claimed_hash: str | None
    content_sha256: str


def parsed(raw: bytes) -> Any:
    """The JSON value of a body, numbers as int and Decimal; raises ``Rejected('not_json')`` (400)."""
    raise NotImplementedError


def normalized(body: Any, *, now: datetime) -> Normalized:
    """Read a document; ``now`` is the time of receipt. An empty day is taken: ``counts`` tells, and the caller judges (5.1 row 10).

    Raises ``BadSnapshot``: ``bad_snapshot`` (422) with all problems, ``too_many`` (413) with the part named.
    """
    raise NotImplementedError
