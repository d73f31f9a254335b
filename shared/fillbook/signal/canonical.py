"""Canonical JSON of the room: one text for one content, so that hashes of receipts and profiles mean something.

Keys sorted by code point, no white space, UTF-8, numbers plain without trailing zeros (100.40 is 100.4, -0 is 0). It
refuses floats and anything JSON does not know: a guessed number would be hashed as if it had been sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any

from fillbook.money import plain

_CONSTANTS = {None: "null", True: "true", False: "false"}
_quote = json.JSONEncoder(ensure_ascii=False).encode


def canonical(value: Any) -> str:
    """The canonical text of a JSON value whose numbers are ``int`` or ``Decimal``; ``TypeError`` for anything else."""
    if isinstance(value, str):
        return _quote(value)
    if value is None or isinstance(value, bool):
        return _CONSTANTS[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, Mapping):
        return "{" + ",".join([f"{_quote(key)}:{canonical(value[key])}" for key in sorted(value)]) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join([canonical(item) for item in value]) + "]"
    raise TypeError(f"{type(value).__name__} has no canonical form")


def digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical form."""
    return sha256(canonical(value).encode()).hexdigest()
