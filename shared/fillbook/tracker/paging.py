"""Keyset paging: a cursor holds the sort key of the last row shown, what was known then, and the question it belongs to.

Never an offset. Sort keys do not change, and the knowledge of the first page is carried on, so that whatever arrives while
somebody pages nothing is skipped and nothing comes twice. Source: tracker.md 2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from fillbook.instants import instant_of
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import check_text
from fillbook.tracker.model import refused
from fillbook.values import frozen

VERSION = 2
CURSOR_LENGTH_MAX = 1_024


@frozen
class Place:
    """Where a page ended: the sort key of its last row, newest first.

    ``book_id`` where a fill may stand in several books, live and replayed, under the same id; last in the key.
    """

    at: datetime
    id: UUID
    book_id: str = ""


@frozen
class Cursor:
    """What a cursor says: the place, and what was known on the first page (None: of rows without versions)."""

    place: Place
    known_as_of: datetime | None


def written(place: Place, question: Mapping[str, str], known_as_of: datetime | None = None) -> str:
    """The cursor of the page after ``place`` of this question."""
    known = None if known_as_of is None else known_as_of.isoformat()
    told = [VERSION, place.at.isoformat(), str(place.id), place.book_id, _fingerprint(question), known]
    text = json.dumps(told, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read(text: str, question: Mapping[str, str], name: str) -> Cursor:
    """What a cursor says.

    Raises ``Rejected``: ``parameter_invalid`` for a text that is none, ``cursor_mismatch`` for another question's, 410
    ``cursor_expired`` for one of an older version.
    """
    if not 0 < len(text) <= CURSOR_LENGTH_MAX:
        raise refused(name)
    try:
        version, *rest = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        is_older = isinstance(version, int) and 0 < version < VERSION
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise refused(name) from None
    if is_older:
        raise Rejected("cursor_expired", "a cursor of another version", field=name, status=410)
    try:
        at, identity, book_id, fingerprint, known = rest
        cursor = Cursor(
            place=Place(at=instant_of(at), id=UUID(identity), book_id=check_text("" + book_id)),
            known_as_of=None if known is None else instant_of(known),
        )
    except (ValueError, TypeError, AttributeError):
        raise refused(name) from None
    if version != VERSION:
        raise refused(name)
    if fingerprint != _fingerprint(question):
        raise Rejected("cursor_mismatch", "a cursor of another question", field=name)
    return cursor


def _fingerprint(question: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(question.items())).encode()).hexdigest()[:16]
