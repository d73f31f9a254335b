"""What keeps a bad day from being sent: validation that nobody can force, and guards that a person may force by name.

Pure. Validation says whether a document is sound; a guard compares it with the last good publications. Source: snapshot
specification, 4.3 and 4.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from fillbook.snapshot.model import Counts, Guard, Problem, Snapshot, Source, Stage
from fillbook.values import frozen


@frozen
class Published:
    """What the guards remember of a good publication.

    ``missing`` has the reason (None: not known) of each KPI without a number; ``minutes``: session minutes its series covered.
    """

    date: date
    stage: Stage
    updated_at: datetime
    counts: Counts
    kpis: tuple[str, ...]
    missing: Mapping[str, str | None]
    minutes: int


@frozen
class History:
    """The last good publications that the guards need, good meaning: ended as published, in whatever way.

    ``last``: of this date. ``previous``: of the previous session at the same stage. ``recent``: of up to five sessions before
    this date at the same stage, the last of each. ``expected``: the catalog's names where the views are ours, else empty.
    """

    last: Published | None = None
    previous: Published | None = None
    recent: tuple[Published, ...] = ()
    expected: tuple[str, ...] = ()


def remembered(snapshot: Snapshot, source: Source) -> Published:
    """What to keep of a publication for the guards of later ones."""
    raise NotImplementedError


def to_json(published: Published) -> dict[str, Any]:
    """A ``Published`` as JSON values, to be stored with its publication."""
    raise NotImplementedError


def from_json(kept: Mapping[str, Any]) -> Published:
    """The ``Published`` that was stored."""
    raise NotImplementedError


def validated(snapshot: Snapshot, source: Source) -> tuple[Problem, ...]:
    """Everything that is unsound about the document, at most a hundred (4.3); those of ``built`` come on top."""
    raise NotImplementedError


def guarded(snapshot: Snapshot, source: Source, history: History) -> tuple[tuple[Guard, str], ...]:
    """Every guard that refuses the day, with the reason in a sentence (4.4); whoever forces them leaves them out."""
    raise NotImplementedError
