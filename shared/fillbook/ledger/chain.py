"""The hash chain of a book: canonical form, row hashes, content hashes.

Journal and history rows of a book share one seq. ``row_hash = sha256(prev_hash ‖ canonical(row))``; canonical is the
compact JSON array of a row's columns in schema order (``columns.py`` gives the values). Who alters a row without
recomputing the rest breaks the chain; who recomputes it to the end differs from the anchors that were posted.
"""

from __future__ import annotations

import hashlib
import json
from json.encoder import encode_basestring
from typing import Any

_encoder: Any = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)
_make: Any = getattr(json.encoder, "c_make_encoder", None)
if _make is not None:  # JSONEncoder.encode makes a new C encoder on every call; one is enough
    _compiled: Any = _make(None, _encoder.default, encode_basestring, None, ":", ",", True, False, False)


def encode(value: object) -> str:
    """Canonical JSON: compact, keys sorted, UTF-8; a float that is no number is a ``ValueError``."""
    return "".join(_compiled(value, 0)) if _make is not None else str(_encoder.encode(value))


def genesis(book_id: str) -> bytes:
    """The chain's head before its first row."""
    return hashlib.sha256(f"fillbook:{book_id}".encode()).digest()


def row_hash(prev_hash: bytes, values: list[object]) -> bytes:
    """The hash of a row with canonical ``values`` that follows ``prev_hash``."""
    return hashlib.sha256(prev_hash + encode(values).encode()).digest()


def content_hash(values: list[object]) -> bytes:
    """The hash of a fill's economic columns."""
    return hashlib.sha256(encode(values).encode()).digest()
