"""The document of a day: built from what the views gave, written as JSON, and reduced to the text whose SHA-256 names it.

Pure. Numbers go from Decimal to plain JSON text and nowhere else; instants are UTC milliseconds, cut. Source: snapshot
specification, 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fillbook.snapshot.model import Counts, Dropped, Problem, Snapshot, Source


def built(
    source: Source, *, headline: str, summary: str, provenance: Mapping[str, Any]
) -> tuple[Snapshot, Dropped, tuple[Problem, ...]]:
    """Make the snapshot of what the views gave, what was resolved on the way, and what no snapshot can hold (4.3)."""
    raise NotImplementedError


def encoded(snapshot: Snapshot) -> bytes:
    """The document as it is sent: UTF-8 JSON, with ``content_sha256``."""
    raise NotImplementedError


def rows_json(snapshot: Snapshot) -> str:
    """The document's ``rows`` as JSON text."""
    raise NotImplementedError


def overlay_json(snapshot: Snapshot) -> str:
    """The document's ``overlay`` as JSON text."""
    raise NotImplementedError


def content(snapshot: Snapshot) -> str:
    """The normalised content: equal for two documents that say the same."""
    raise NotImplementedError


def content_sha256(snapshot: Snapshot) -> str:
    """SHA-256 (hex) of the normalised content."""
    raise NotImplementedError


def counts(snapshot: Snapshot) -> Counts:
    """Items of the snapshot: KPIs, points, extremes, assets."""
    raise NotImplementedError
