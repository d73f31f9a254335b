"""The body as it is kept: its canonical text, its hash and the receipt's id. Same content, same id, whoever sends it.

One walk writes the text and refuses what is too deep, too wide or too long. It is ``canonical.canonical`` with limits
and without the token, for documents whose numbers are all Decimal (``document.read``); a property test holds the two
equal. Source: signals.md 1.2 and 1.3.
"""

from __future__ import annotations

import hashlib
import json.encoder
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from uuid import uuid5

from fillbook.outbox.model import NAMESPACE
from fillbook.runtime.errors import Rejected

TOKEN_FIELD: Final = "token"  # noqa: S105 -- the name of the field, not a token

DEPTH_MAX: Final = 8
KEYS_MAX: Final = 200
ARRAY_MAX: Final = 64
STRING_MAX: Final = 512

_quote = json.encoder.encode_basestring


class _TooMuch(ValueError):
    """A limit of the wire is passed."""


def canonical_bytes(fields: Mapping[str, Any]) -> bytes:
    """Return the canonical JSON of a parsed body without its token, as UTF-8.

    Raises ``Rejected``: ``json_limits`` (depth 8, 200 keys, 64 elements, 512 characters), ``text_invalid`` (NUL, lone
    surrogate).
    """
    parts: list[str] = []
    try:
        if len(fields) > KEYS_MAX:
            raise _TooMuch("more than 200 keys")
        _write({name: value for name, value in fields.items() if name != TOKEN_FIELD}, 1, parts)
    except _TooMuch as error:
        raise Rejected("json_limits", str(error)) from error
    text = "".join(parts)
    # The escaped form may also be a backslash followed by letters; only then every string is looked at.
    if "\\u0000" in text and _holds_nul(fields):
        raise Rejected("text_invalid", "a string holds a NUL")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Rejected("text_invalid", "a string holds a lone surrogate") from error


def payload_hash(canonical: bytes) -> str:
    """SHA-256 of the canonical bytes, hexadecimal."""
    return hashlib.sha256(canonical).hexdigest()


def receipt_id(ticker: str, ts: int, digest: str) -> str:
    """The receipt's id: uuid5 of ``["receipt",ticker,ts,payload_hash]`` in the one namespace (ledger.md 4)."""
    return str(uuid5(NAMESPACE, f'["receipt",{_quote(ticker)},{ts},"{digest}"]'))


def _write(value: Any, depth: int, parts: list[str]) -> None:
    """Append the canonical form of ``value``; ``depth`` is what it would have as a container."""
    kind = type(value)
    if kind is Decimal:
        parts.append(_number(value))
    elif kind is str:
        if len(value) > STRING_MAX:
            raise _TooMuch("a string is longer than 512 characters")
        parts.append(_quote(value))
    elif value is None:
        parts.append("null")
    elif kind is bool:
        parts.append("true" if value else "false")
    elif kind is dict:
        _write_object(value, depth, parts)
    else:
        _write_array(value, depth, parts)


def _write_object(value: Mapping[str, Any], depth: int, parts: list[str]) -> None:
    if depth > DEPTH_MAX or len(value) > KEYS_MAX:
        raise _TooMuch("nested deeper than 8 or an object with more than 200 keys")
    separator = "{"
    for name in sorted(value):
        if len(name) > STRING_MAX:
            raise _TooMuch("a key is longer than 512 characters")
        parts.append(f"{separator}{_quote(name)}:")
        _write(value[name], depth + 1, parts)
        separator = ","
    parts.append("}" if value else "{}")


def _write_array(value: list[Any], depth: int, parts: list[str]) -> None:
    if depth > DEPTH_MAX or len(value) > ARRAY_MAX:
        raise _TooMuch("nested deeper than 8 or an array with more than 64 elements")
    separator = "["
    for element in value:
        parts.append(separator)
        _write(element, depth + 1, parts)
        separator = ","
    parts.append("]" if value else "[]")


def _number(value: Decimal) -> str:
    text = str(value)
    # Most numbers are written plain already; an exponent is written out, a fraction trimmed.
    if "E" in text:
        text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any("\x00" in name or _holds_nul(element) for name, element in value.items())
    return isinstance(value, list) and any(map(_holds_nul, value))
