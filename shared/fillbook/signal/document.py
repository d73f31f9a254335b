"""Bytes of a sender become one JSON document with exact numbers, or one named refusal.

The standard library's C scanner does the work: its hooks refuse a key given twice and turn every number into a Decimal
of at most 20 digits with an exponent within ±12. Limits on depth, keys, arrays and strings are checked by the walk that
writes the canonical text (``canonical.py``), so a body is walked once. Two named repairs, tried only when plain parsing
fails, answer what the sender's script is known to print; nothing else is guessed.
Source of the rules: signals.md 1.2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from decimal import Clamped, Context, DecimalException, Inexact, InvalidOperation, Overflow, Subnormal
from typing import Any, NoReturn

from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

NAN_NULL = "nan_null"
ARRAY_COMMA = "array_comma"
REPAIRS = (NAN_NULL, ARRAY_COMMA)

DIGITS_MAX = 20
EXPONENT_MAX = 12

_NUMBERS = Context(
    prec=DIGITS_MAX,
    Emin=-EXPONENT_MAX,
    Emax=EXPONENT_MAX,
    traps=[InvalidOperation, Overflow, Subnormal, Clamped, Inexact],
)
# Possessive, so that a body of open quotes and backslashes costs one pass instead of its square.
_STRING = r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'
_SPLIT_AT_STRINGS = re.compile(f"({_STRING})", re.DOTALL)
_BARE_WORD = re.compile(r"(?<![\w.+-])(?:NaN|-?Infinity|na)(?![\w.])")
_COMMA_AFTER = re.compile(r"([\[,])[\s,]*,")
_COMMA_BEFORE = re.compile(r",(\s*\])")
_TOKEN = re.compile(r'"token"\s*:\s*"([^"\\]{1,512})"')


class _DuplicateKey(ValueError):
    """One object names the same key twice."""


class _BareConstant(ValueError):
    """``NaN`` or ``Infinity``: the scanner knows them, JSON does not."""


@frozen
class Document:
    """One parsed body: its fields as sent, numbers as Decimal, and the repairs that were needed to read it."""

    fields: dict[str, Any]
    repairs: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _DuplicateKey
    return result


def _constant(name: str) -> NoReturn:
    raise _BareConstant(name)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=_NUMBERS.create_decimal,
    parse_int=_NUMBERS.create_decimal,
    parse_constant=_constant,
)


def decode_text(body: bytes) -> str:
    """Return the body as text; ``Rejected('text_invalid')`` when it is not UTF-8 or holds a NUL."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Rejected("text_invalid", "the body is not UTF-8") from error
    if "\x00" in text:
        raise Rejected("text_invalid", "the body holds a NUL")
    return text


def read(text: str, allowed_repairs: Collection[str] = REPAIRS) -> Document:
    """Parse one JSON object.

    Raises ``Rejected``: ``json_invalid``, ``json_duplicate_key``, ``json_limits``, ``number_invalid``.
    """
    try:
        return Document(fields=_parse(text))
    except Rejected as refusal:
        if refusal.reason != "json_invalid":
            raise
        repaired, repairs = _repair(text, allowed_repairs)
        if not repairs:
            raise
    return Document(fields=_parse(repaired), repairs=repairs)


def _parse(text: str) -> dict[str, Any]:
    try:
        value = _DECODER.decode(text)
    except _DuplicateKey as error:
        raise Rejected("json_duplicate_key", "an object names a key twice") from error
    except DecimalException as error:
        raise Rejected("number_invalid", "more than 20 digits or an exponent beyond 12") from error
    except RecursionError as error:
        raise Rejected("json_limits", "nested beyond the scanner") from error
    except ValueError as error:
        raise Rejected("json_invalid", "not JSON") from error
    if not isinstance(value, dict):
        raise Rejected("json_invalid", "not an object")
    return value


def _repair(text: str, allowed: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """Apply the allowed repairs outside strings; return the new text and the names of those that changed something."""
    done = []
    for name in REPAIRS:
        if name in allowed:
            changed = _outside_strings(text, _REPAIR_OF[name])
            if changed != text:
                text = changed
                done.append(name)
    return text, tuple(done)


def _outside_strings(text: str, change: Callable[[str], str]) -> str:
    parts = _SPLIT_AT_STRINGS.split(text)
    parts[::2] = [change(part) for part in parts[::2]]
    return "".join(parts)


def _null_constants(part: str) -> str:
    return _BARE_WORD.sub("null", part)


def _drop_commas(part: str) -> str:
    return _COMMA_BEFORE.sub(r"\1", _COMMA_AFTER.sub(r"\1", part))


_REPAIR_OF: dict[str, Callable[[str], str]] = {NAN_NULL: _null_constants, ARRAY_COMMA: _drop_commas}


def token_in_text(body: bytes) -> str | None:
    """Find the token of a body that cannot be parsed, so that its sender can be told why and the body be kept.

    Whoever shows a valid token anywhere in it is authenticated, so a loose search gives nothing away.
    """
    found = _TOKEN.search(body.decode("utf-8", "replace"))
    return found.group(1) if found else None
