"""Cursors of lists: where a page ended, of which version of which day, and what was asked. Opaque to whoever carries one.

A page of a day that was replaced meanwhile is not continued: its items may be others now. Source: snapshot specification, 5.5.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from datetime import date
from typing import Final

from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

FORM: Final = 1
"""Rises when cursors look otherwise."""
CURSOR_LENGTH_MAX: Final = 1_024


@frozen
class Place:
    """The sort key of the last item shown, as texts; ``date`` and ``version`` are None for lists of days."""

    date: date | None
    version: int | None
    key: tuple[str, ...]


def fingerprint(filters: Mapping[str, str]) -> str:
    """What was asked, but for how much and from where, as a short text."""
    return hashlib.sha256(json.dumps(sorted(filters.items())).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def written(place: Place, filters: Mapping[str, str]) -> str:
    """The cursor of the page after ``place``."""
    day = None if place.date is None else place.date.isoformat()
    text = json.dumps([FORM, day, place.version, list(place.key), fingerprint(filters)], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def read(text: str, filters: Mapping[str, str], parts: int) -> Place:
    """The place a cursor names; ``parts``: texts of its key. Raises ``Rejected('bad_parameter')`` for any other text."""
    try:
        if not 0 < len(text) <= CURSOR_LENGTH_MAX:
            raise ValueError("length")
        form, day, version, key, asked = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        if form != FORM or asked != fingerprint(filters) or len(key) != parts or not all(isinstance(one, str) for one in key):
            raise ValueError("another question's")
        if version is not None and (type(version) is not int or version < 1):
            raise ValueError("version")
        return Place(date=None if day is None else date.fromisoformat(day), version=version, key=tuple(key))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise Rejected("bad_parameter", "no cursor of this question", field="cursor") from None
