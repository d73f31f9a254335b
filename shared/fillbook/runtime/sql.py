"""The one place where values become SQL text: JSON documents, literals, parameters, named statements.

A room hands the database one JSON document inside a statement without parameters (one round trip, performance.md 1), so
everything that could break out of a literal or desynchronise the wire must be refused *before* a byte is sent. Refused
here: floats (money is exact), naive datetimes, U+0000 and lone surrogates, types nobody declared. ``queries.sql`` files
hold a room's statements by name; ``:name`` parameters are found by our own scanner, which knows comments, dollar quotes,
casts and array slices.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from functools import cache
from importlib.resources import files
from json.encoder import encode_basestring
from types import MappingProxyType
from typing import Any
from uuid import UUID

from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_FUNCTION_NAME = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*")

# --- documents ------------------------------------------------------------------------------------------------------


class Json(str):
    """A text that is JSON already and goes into a document as it stands; whoever writes it answers for exact numbers."""

    __slots__ = ()


def encode(document: object) -> str:
    """Return ``document`` as compact JSON text that Postgres accepts as ``jsonb``.

    Decimal becomes a plain decimal string, UUID a string, an aware datetime ISO UTC with 6 decimals and ``+00:00``, date
    ISO, bytes hex, an enum its value. Raises ``TypeError`` for float, naive datetime, dataclass and any undeclared type,
    ``ValueError`` for a Decimal that is not finite, ``Rejected('text_invalid')`` for U+0000 and lone surrogates.
    """
    return check_text(_ENCODERS[type(document)](document), escaped=True)


def check_text(text: str, *, escaped: bool = False) -> str:
    """Return ``text`` when Postgres can store it, else raise ``Rejected('text_invalid')``; ``escaped``: it is JSON text."""
    if "\x00" in text or (escaped and "\\u0000" in text and _ESCAPED_NUL.search(text) is not None):
        raise Rejected("text_invalid", "U+0000 cannot be stored")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Rejected("text_invalid", "a lone surrogate cannot be stored") from error
    return text


class _Names(dict[str, str]):
    """Names of members as they are written, some thousands of short ones remembered; one that is no text is refused."""

    def __missing__(self, name: str) -> str:
        written = encode_basestring(name) + ":"
        if len(self) < _NAMES_MAX and len(name) <= _NAME_LENGTH_MAX:
            self[name] = written
        return written


_NAMES_MAX, _NAME_LENGTH_MAX = 4_096, 64
_NAMES = _Names()


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError("a Decimal that is not finite has no place in a document")
    return f'"{value:f}"'


def instant_text(value: datetime) -> str:
    """Write an aware datetime as ``2026-02-11T14:30:00.000000+00:00``; a naive one raises ``TypeError``."""
    if value.tzinfo is UTC:
        return value.isoformat(timespec="microseconds")
    if value.tzinfo is None or value.utcoffset() is None:
        raise TypeError("a naive datetime says no instant; attach a time zone")
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def _object(value: Mapping[str, Any]) -> str:
    # one expression for all members: a booking writes some three hundred of them, a page of a list thousands, most of them texts
    encoders, names, quote = _ENCODERS, _NAMES, encode_basestring
    members = [
        names[key] + (quote(item) if type(item) is str else "null" if item is None else encoders[type(item)](item))
        for key, item in value.items()
    ]
    return "{" + ",".join(members) + "}"


def _array(value: Iterable[Any]) -> str:
    encoders = _ENCODERS
    return "[" + ",".join([encoders[type(item)](item) for item in value]) + "]"


class _Encoders(dict[type, Callable[[Any], str]]):
    """Encoder by exact type; subclasses (string enums, mapping proxies) are resolved once and remembered."""

    def __missing__(self, kind: type) -> Callable[[Any], str]:
        if issubclass(kind, StrEnum):
            encoder: Callable[[Any], str] = encode_basestring
        elif issubclass(kind, Enum):
            encoder = _enum
        elif issubclass(kind, Mapping):
            encoder = _object
        else:
            found = next((self[base] for base in kind.__mro__[1:] if base in self), None)
            if found is None or issubclass(kind, tuple | float):
                raise TypeError(f"{kind.__name__} has no place in a document")
            encoder = found
        self[kind] = encoder
        return encoder


def _enum(value: Enum) -> str:
    return _ENCODERS[type(value.value)](value.value)


_BY_TYPE: dict[type, Callable[[Any], str]] = {
    str: encode_basestring,
    Json: lambda value: value,
    int: int.__repr__,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
    Decimal: _decimal,
    UUID: lambda value: f'"{value}"',
    datetime: lambda value: f'"{instant_text(value)}"',
    date: lambda value: f'"{value.isoformat()}"',
    bytes: lambda value: f'"{value.hex()}"',
    dict: _object,
    MappingProxyType: _object,
    list: _array,
    tuple: _array,
}
_ENCODERS = _Encoders(_BY_TYPE)


# --- literals and calls -----------------------------------------------------------------------------------------------


def literal(text: str) -> str:
    """Quote checked ``text`` for a session with ``standard_conforming_strings = on``: only the quote is doubled."""
    return "'" + text.replace("'", "''") + "'"


@cache
def _function(name: str) -> str:
    if _FUNCTION_NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not schema.function in lower case")
    return name


def call_text(function: str, document: object) -> str:
    """Return ``select schema.function('<json>'::jsonb)``; raises what ``encode`` raises, before anything is sent."""
    return f"select {_function(function)}({literal(encode(document))}::jsonb)"


# --- parameters of the extended protocol ------------------------------------------------------------------------------


def _array_item(value: object) -> str:
    if isinstance(value, list | tuple):
        return _array_parameter(value)
    text = parameter(value)
    if text is None:
        return "NULL"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _array_parameter(value: Iterable[object]) -> str:
    return "{" + ",".join(_array_item(item) for item in value) + "}"


def _interval(value: timedelta) -> str:
    return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"


_PARAMETERS: Mapping[type, Callable[[Any], str]] = {
    str: lambda value: value,
    int: int.__repr__,
    bool: lambda value: "true" if value else "false",
    Decimal: lambda value: format(value, "f"),
    UUID: str,
    datetime: instant_text,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: _interval,
    bytes: lambda value: "\\x" + value.hex(),
    list: _array_parameter,
    tuple: _array_parameter,
}


def parameter(value: object) -> str | None:
    """Return the text form of one parameter (a list is a Postgres array); raises ``TypeError`` for float, dict, others."""
    if value is None:
        return None
    if isinstance(value, Enum):
        return parameter(value.value)
    write = _PARAMETERS.get(type(value))
    if write is None:
        if isinstance(value, str):
            write = str
        else:
            hint = "; pass documents as encode(document) cast to jsonb" if isinstance(value, Mapping) else ""
            raise TypeError(f"{type(value).__name__} cannot be a parameter{hint}")
    return check_text(write(value))


_COPY_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def copy_line(values: Iterable[object]) -> str:
    """Return one row of COPY's text format (without line end); values as in ``parameter``, None is NULL."""
    texts = (parameter(value) for value in values)
    return "\t".join("\\N" if text is None else text.translate(_COPY_ESCAPES) for text in texts)


# --- named statements -------------------------------------------------------------------------------------------------

# what may hide a colon, then a parameter; a colon after a name, bracket or another colon is a slice or a cast
_TOKEN = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
    | \$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$ | :: | (?<![\w\])"':]):(?P<name>[A-Za-z_]\w*)""",
    re.VERBOSE | re.DOTALL,
)


@frozen
class Statement:
    """One named statement of a ``queries.sql``; ``:name`` parameters, numbered in order of first appearance.

    ``is_planned_once``: a connection plans it with the first question and keeps the plan, whatever is asked next. That is for
    one whose planning costs as much as its rows, and whose plan is the right one for all parameters.
    """

    name: str
    purpose: str
    text: str
    is_planned_once: bool = False
    numbered: str = field(init=False, repr=False, compare=False)
    parameters: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names: dict[str, int] = {}

        def number(match: re.Match[str]) -> str:
            name = match["name"]
            return match[0] if name is None else f"${names.setdefault(name, len(names) + 1)}"

        object.__setattr__(self, "numbered", _TOKEN.sub(number, self.text))
        object.__setattr__(self, "parameters", tuple(names))

    def values(self, given: Mapping[str, object]) -> list[str | None]:
        """Return the parameters' texts in order; raises ``TypeError`` when names are missing or left over."""
        if given.keys() != set(self.parameters):
            wrong = sorted(given.keys() ^ set(self.parameters))
            raise TypeError(f"statement {self.name}: missing or unknown parameters {', '.join(wrong)}")
        return [parameter(given[name]) for name in self.parameters]


def statement(text: str, *, name: str = "inline", purpose: str = "written where it is used") -> Statement:
    """Make a statement of text that stands in code; tests and tools use it, rooms keep theirs in ``queries.sql``."""
    return Statement(name=name, purpose=purpose, text=text)


def counted(asked: Statement, part: str | None = None) -> Statement:
    """How many rows a statement has, or a part of its ``with``, whose closing bracket begins a line; nothing after it is read."""
    purpose = f"How many rows {part or 'all'} of {asked.name} has."
    if part is None:
        text = f"select count(*) as count from ({asked.text}) as counted"
    else:
        end = asked.text.index("\n)", asked.text.index(f"{part} as ("))
        text = f"{asked.text[:end]}\n) select count(*) as count from {part}"
    return Statement(name=f"{asked.name}_counted", purpose=purpose, text=text)


_PLANNED_ONCE = "planned once"
_HEADER = re.compile(r"^-- name:(?P<name>.*)$", re.MULTILINE)


def parse_queries(text: str, origin: str = "queries.sql") -> Mapping[str, Statement]:
    """Read ``-- name: <identifier>``, a purpose line ``-- …``, then the statement; raises ``ValueError`` naming the place.

    ``-- name: <identifier>, planned once``: see ``Statement``.
    """
    headers = list(_HEADER.finditer(text))
    found: dict[str, Statement] = {}
    ends = [*(header.start() for header in headers[1:]), len(text)]
    for header, end in zip(headers, ends, strict=False):
        name, _, manner = header["name"].strip().partition(", ")
        body = text[header.end() : end].strip()
        purpose, _, rest = body.partition("\n")
        if not name.isidentifier() or name in found or manner not in ("", _PLANNED_ONCE):
            raise ValueError(f"{origin}: the name {name!r} is no identifier, stands twice or is {manner!r}")
        if not purpose.startswith("-- ") or not rest.strip():
            raise ValueError(f"{origin}: {name} needs one purpose line and then the statement")
        sql = rest.strip().removesuffix(";")
        found[name] = Statement(name=name, purpose=purpose[3:].strip(), text=sql, is_planned_once=manner == _PLANNED_ONCE)
    return MappingProxyType(found)


@cache
def load_queries(package: str, name: str = "queries.sql") -> Mapping[str, Statement]:
    """Return the statements of ``queries.sql`` (or another file) beside ``package`` (a dotted name) by their names."""
    return parse_queries((files(package) / name).read_text(encoding="utf-8"), f"{package}/{name}")
