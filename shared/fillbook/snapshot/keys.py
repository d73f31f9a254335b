"""Who may publish and who may read: the internal token, the signature over the bytes, and the keys of readers.

Everything is compared in constant time and closed while nothing is configured. ``METRICS_KEYS`` is a JSON list of
``{"id", "sha256", "scopes": ["metrics:read"], "expires_at"?}``: keys themselves are known as hashes only. Source: snapshot
specification, 5.1 and 5.5.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from fillbook.runtime.auth import bearer, is_one_of, verify_key
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.values import frozen

READ: Final = "metrics:read"
TOKEN_LENGTH_MAX: Final = 8_192


@frozen
class MetricsKey:
    """One entry of ``METRICS_KEYS``."""

    id: str
    sha256: str
    scopes: frozenset[str]
    expires_at: datetime | None = None


def metrics_keys(text: str) -> tuple[MetricsKey, ...]:
    """Read the setting; raise ``ValueError`` without repeating any of it."""
    try:
        return tuple(_entry(entry) for entry in json.loads(text))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"METRICS_KEYS is not a list of keys ({type(error).__name__})") from None


def _entry(entry: Mapping[str, object]) -> MetricsKey:
    digest, scopes, expires = str(entry["sha256"]), entry["scopes"], entry.get("expires_at")
    if len(bytes.fromhex(digest)) != hashlib.sha256().digest_size or not isinstance(scopes, list):
        raise ValueError("sha256 or scopes")
    until = None if expires is None else datetime.fromisoformat(str(expires))
    if until is not None and until.tzinfo is None:
        raise ValueError("expires_at has no zone")
    until = None if until is None else until.astimezone(UTC)
    return MetricsKey(id=str(entry["id"]), sha256=digest, scopes=frozenset(map(str, scopes)), expires_at=until)


def reader(authorization: str | None, keys: Sequence[MetricsKey], now: datetime) -> MetricsKey:
    """The key behind a header.

    Raises ``Unavailable`` while none is configured; ``Rejected`` 401 for no, an unknown or an expired key, 403 without the scope.
    """
    if not keys:
        raise Unavailable("keys_not_configured", "METRICS_KEYS is empty")
    key = verify_key(bearer(authorization), keys)
    if key is None or (key.expires_at is not None and key.expires_at <= now):
        raise Rejected("unauthorized", "unknown or expired key", status=401)
    if READ not in key.scopes:
        raise Rejected("forbidden", f"key {key.id} lacks {READ}", status=403)
    return key


def check_token(presented: str | None, tokens: Sequence[str]) -> None:
    """Pass whoever shows one of the internal tokens; outer spaces are ignored.

    Raises ``Unavailable`` while none is configured; ``Rejected`` 401 ``token_missing``, 403 ``token_wrong``.
    """
    if not tokens:
        raise Unavailable("token_not_configured", "INTERNAL_TOKEN is empty")
    text = (presented or "").strip()
    if not text:
        raise Rejected("token_missing", status=401)
    if len(text) > TOKEN_LENGTH_MAX or not is_one_of(text, tokens):
        raise Rejected("token_wrong", status=403)


def check_signature(presented: str | None, raw: bytes, secret: str | None) -> None:
    """Pass bytes whose HMAC-SHA256 is ``presented``, in small hex letters and nothing else; without a secret none is asked for.

    Raises ``Rejected('bad_signature')`` 403.
    """
    if secret is None:
        return
    expected = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), (presented or "").encode(errors="surrogatepass")):
        raise Rejected("bad_signature", status=403)
