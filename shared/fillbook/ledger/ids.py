"""Business ids of the ledger, derived from content (ledger specification, 4): the same input gives the same id for ever.

Ids leave out the book, because keys carry it: live and replay of one receipt give equal ids and can be joined. They are
lower-case uuid texts, the form in which they travel in documents, so that nothing is converted on the way.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring

from fillbook.outbox.model import NAMESPACE

_SEED = NAMESPACE.bytes
# instants of one booking stand in five rows of it
_INSTANTS_KEPT = 512
# a fact of a batch is asked for, made, read back and compared under one id
_FILLS_KEPT = 8_192


def derived(*name: str | int | None) -> str:
    """Return the uuid5 of the compact JSON array ``name`` in the one namespace (same as ``outbox.model.derived_id``)."""
    parts = [encode_basestring(part) if isinstance(part, str) else "null" if part is None else str(part) for part in name]
    text = f"[{','.join(parts)}]"
    digest = bytearray(hashlib.sha1(_SEED + text.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@lru_cache(_FILLS_KEPT)
def fill_id(source: str, account_key: str, source_id: str) -> str:
    """Id of a fact by the identity its source gives it; never a time stamp, never a price."""
    return derived("fill", source, account_key, source_id)


def action_id(of_fill: str, leg: int) -> str:
    """Id of what a fill's leg (1, or 2 after crossing zero) became; stable over corrections, also when the type changes."""
    return derived("action", of_fill, leg)


def lot_id(of_fill: str) -> str:
    """Id of the lot that a fill opened."""
    return derived("lot", of_fill)


def position_id(first_fill: str) -> str:
    """Id of the position whose first opening fill this is."""
    return derived("position", first_fill)


def adjustment_id(book_id: str, instrument: str, effective_at: datetime, num: int, den: int) -> str:
    """Id of a split; entering the same split twice is entering it once."""
    return derived("adjustment", book_id, instrument, instant_text(effective_at), num, den)


def event_id(book_id: str, event_type: str, subject: str, version: int) -> str:
    """Id of an event about ``subject`` at ``version``."""
    return derived("event", book_id, event_type, subject, version)


@lru_cache(_INSTANTS_KEPT)
def instant_text(value: datetime) -> str:
    """Canonical text of an instant: UTC, six decimals, ``Z``."""
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.isoformat(timespec="microseconds")[:-6] + "Z"
