"""Request bodies: counted while they are read, then parsed; a header is never believed about its size.

Nothing is ever decompressed: a body with a Content-Encoding is refused by whoever cares, and to everybody else it is
bytes that are no JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from fillbook.runtime import clock
from fillbook.runtime.errors import Rejected

CHUNK_BYTES = 65_536
READ_SECONDS_MAX = 10.0


def read_body(request: Request, limit: int, *, seconds: float = READ_SECONDS_MAX) -> bytes:
    """Return the body; raises ``Rejected`` ``body_too_large`` (413), ``body_too_slow`` (408), ``body_incomplete`` (400)."""
    declared = request.content_length
    if declared is not None and declared > limit:
        raise Rejected("body_too_large", status=413)
    deadline = clock.monotonic() + seconds
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            chunk = request.stream.read(min(CHUNK_BYTES, limit + 1 - size))
            if not chunk:
                return b"".join(parts)
            size += len(chunk)
            if size > limit:
                raise Rejected("body_too_large", status=413)
            if clock.monotonic() > deadline:
                raise Rejected("body_too_slow", status=408)
            parts.append(chunk)
    except RequestEntityTooLarge:
        raise Rejected("body_too_large", status=413) from None
    except (ClientDisconnected, OSError) as error:
        raise Rejected("body_incomplete", type(error).__name__) from None


def parse_json_object(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object in ``body`` (an empty body is ``{}``); raises ``Rejected('json_invalid')``.

    For small bodies of people and schedules: duplicate keys, NaN and deep nesting are refused, fractions become Decimal.
    """
    if not body.strip():
        return {}
    from decimal import Decimal

    try:
        document = json.loads(body, object_pairs_hook=_unique, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Rejected("json_invalid") from None
    if not isinstance(document, dict):
        raise Rejected("json_invalid", "not an object")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate key")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(name)
