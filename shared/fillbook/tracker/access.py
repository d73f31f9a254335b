"""Who reads: a desk key in the Authorization header, compared in constant time; closed when no keys are configured."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from fillbook.runtime.auth import bearer, verify_key
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.tracker.model import DeskKey


def reader(authorization: str | None, keys: Sequence[DeskKey], now: datetime, *, scope: str = "read") -> DeskKey:
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
