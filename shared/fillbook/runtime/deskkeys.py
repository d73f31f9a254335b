"""Desk keys: who reads or administers the desk, with which scopes and books; the keys themselves are known as hashes only.

``DESK_KEYS`` is a JSON list; closed when it is empty. A key is compared in constant time and never repeated in an error.
Source: tracker.md 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from fillbook.runtime.auth import bearer, verify_key
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.values import frozen

SCOPES = frozenset({"read", "admin"})


@frozen
class DeskKey:
    """One entry of ``DESK_KEYS``: who reads, with which scopes, which books; the key itself is known as a hash only."""

    id: str
    sha256: str
    scopes: frozenset[str]
    tenant_id: str
    books: tuple[str, ...]
    expires_at: datetime | None = None

    def may(self, scope: str) -> bool:
        """Whether the key has the scope; ``admin`` implies ``read``."""
        return scope in self.scopes or "admin" in self.scopes

    def sees(self, book_id: str) -> bool:
        """Whether a book exists for this key."""
        return any(fnmatchcase(book_id, pattern) for pattern in self.books)


def desk_keys(text: str) -> tuple[DeskKey, ...]:
    """Read the setting ``DESK_KEYS``; raise ``ValueError`` without repeating any of it."""
    try:
        return tuple(_desk_key(entry) for entry in json.loads(text))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"DESK_KEYS is not a list of keys ({type(error).__name__})") from None


def key_holder(authorization: str | None, keys: Sequence[DeskKey], now: datetime, *, scope: str = "read") -> DeskKey:
    """The key behind a header.

    Raises ``Unavailable`` when none is configured; ``Rejected`` 401 for no, an unknown or an expired key, 403 without the scope.
    """
    if not keys:
        raise Unavailable("keys_not_configured", "DESK_KEYS is empty")
    key = verify_key(bearer(authorization), keys)
    if key is None or (key.expires_at is not None and key.expires_at <= now):
        raise Rejected("unauthorized", "unknown or expired key", status=401)
    if not key.may(scope):
        raise Rejected("forbidden", f"key {key.id} lacks {scope}", status=403)
    return key


def _desk_key(entry: Mapping[str, object]) -> DeskKey:
    expires = entry.get("expires_at")
    digest, books = str(entry["sha256"]), entry["books"]
    if len(bytes.fromhex(digest)) != 32 or not isinstance(books, list):
        raise ValueError("sha256 or books")
    scopes = entry["scopes"]
    if not isinstance(scopes, list) or not set(scopes) <= SCOPES:
        raise ValueError("scopes")
    return DeskKey(
        id=str(entry["id"]),
        sha256=digest,
        scopes=frozenset(scopes),
        tenant_id=str(entry["tenant_id"]),
        books=tuple(map(str, books)),
        expires_at=None if expires is None else _instant(str(expires)),
    )


def _instant(text: str) -> datetime:
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError("expires_at has no zone")
    return parsed.astimezone(UTC)
