"""The hash chain of a book: canonical form, row hashes, content hashes.

Journal and history rows of a book share one seq. ``row_hash = sha256(prev_hash ‖ canonical(row))``; canonical is the
compact JSON array of a row's columns in schema order (``columns.py`` gives the values). Who alters a row without
recomputing the rest breaks the chain; who recomputes it to the end differs from the anchors that were posted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

encode: Callable[[object], str] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
"""Canonical JSON: compact, keys sorted, UTF-8."""


def genesis(book_id: str) -> bytes:
    """The chain's head before its first row."""
    return hashlib.sha256(f"fillbook:{book_id}".encode()).digest()


def row_hash(prev_hash: bytes, values: list[object]) -> bytes:
    """The hash of a row with canonical ``values`` that follows ``prev_hash``."""
    return hashlib.sha256(prev_hash + encode(values).encode()).digest()


def content_hash(values: list[object]) -> bytes:
    """The hash of a fill's economic columns."""
    return hashlib.sha256(encode(values).encode()).digest()
