"""Keyset paging: a cursor holds the sort key of the last row shown and the filters it belongs to, never an offset."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from fillbook.runtime.errors import Rejected
from fillbook.tracker.model import refused
from fillbook.values import frozen

VERSION = 1
CURSOR_LENGTH_MAX = 512


@frozen
class Place:
    """Where a page ended: the sort key of its last row, newest first."""

    at: datetime
    id: UUID


def written(place: Place, filters: Mapping[str, str]) -> str:
    """The cursor of the next page under these filters."""
    text = json.dumps([VERSION, place.at.isoformat(), str(place.id), _fingerprint(filters)], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read(text: str, filters: Mapping[str, str], name: str) -> Place:
    """The place a cursor names.

    Raises ``Rejected``: ``parameter_invalid`` for a text that is none, ``cursor_mismatch`` for another question's, 410
    ``cursor_expired`` for one of an older version.
    """
    if not 0 < len(text) <= CURSOR_LENGTH_MAX:
        raise refused(name)
    try:
        version, at, identity, fingerprint = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        place = Place(at=datetime.fromisoformat(at), id=UUID(identity))
    except (binascii.Error, ValueError, TypeError, AttributeError, RecursionError):
        raise refused(name) from None
    if version != VERSION:
        raise Rejected("cursor_expired", "a cursor of another version", field=name, status=410)
    if fingerprint != _fingerprint(filters):
        raise Rejected("cursor_mismatch", "a cursor of another question", field=name)
    if place.at.tzinfo is None:
        raise refused(name)
    return place


def _fingerprint(filters: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(filters.items())).encode()).hexdigest()[:16]
