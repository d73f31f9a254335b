"""The reading of a sender's fields: each value becomes what the room holds, or ``Wrong`` with the code its sender is told.

``Findings`` collects what is wrong and what was ignored over a whole document: all of it is counted, a hundred are kept.
Source: snapshot specification, 5.2 (values, codes) and 5.1 row 8 (problems).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypeVar

from fillbook.money import plain
from fillbook.snapshot.model import ID_MAX, PROBLEMS_MAX, Problem
from fillbook.snapshot.numbers import fits, from_text
from fillbook.snapshot.texts import Wrong, clean, is_storable

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

VALUE_MAX: Final = 80
PATH_MAX: Final = 300
WARNINGS_MAX: Final = 100
ORDER_MAX: Final = 9_999
NAME_MAX: Final = 100
SYMBOL_MAX: Final = 32
NAMED_MAX: Final = 1_000
"""KPIs that may have a series or extremes: five times as many as may have a row."""
IDS: Final = ("trade_id", "tradeId", "id")
CONTRACTS: Final = ("contract_name", "contractName", "contract")
INTEGER_BITS_SHOWN: Final = 256

_ID: Final = re.compile(r"[0-9]+")
_KINDS: Final = {bool: "a truth value", dict: "an object", list: "a list", type(None): "null"}

# --- what is found ----------------------------------------------------------------------------------------------------


class Findings:
    """What is wrong with a document and what was ignored in it."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.problem_count = 0
        self.warnings: dict[str, None] = {}

    def wrong(self, path: str, code: str, message: str, value: Any = None) -> None:
        """Note a problem; beyond the hundredth it is only counted."""
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(path=path[:PATH_MAX], code=code, message=message, value=shown(value)))

    def warn(self, sentence: str) -> None:
        """Note something the sender should know, once."""
        if len(self.warnings) < WARNINGS_MAX:
            self.warnings.setdefault(sentence)

    def ignored(self, place: str, names: Iterable[str]) -> None:
        """Note fields that nobody reads."""
        for name in names:
            self.warn(f"ignored: {place}{printable(name)}")


def shown(value: Any) -> str | None:
    """At most 80 characters of a value, harmless wherever they are written; None for null."""
    if value is None:
        return None
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    if isinstance(value, str):
        return json.dumps(value[:VALUE_MAX])[:VALUE_MAX]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > INTEGER_BITS_SHOWN:
        return "a very large integer"
    return str(value)[:VALUE_MAX]


def printable(name: str) -> str:
    """A name for paths and warnings: as it is where it can be written anywhere, else escaped."""
    return name[:VALUE_MAX] if is_storable(name) else json.dumps(name[:VALUE_MAX])[:VALUE_MAX]


class Item:
    """An object of the document, read field by field under one path."""

    __slots__ = ("_findings", "path", "raw")

    def __init__(self, raw: Mapping[str, Any], path: str, findings: Findings) -> None:
        self.raw = raw
        self.path = path
        self._findings = findings

    def take(self, names: Sequence[str], read: Callable[[Any], T], *, missing: str | None = None) -> T | None:
        """The value of the first of ``names`` that is there, read; ``missing`` is the problem's code when none is."""
        name = first(self.raw, names)
        try:
            if name is not None:
                return read(self.raw[name])
            if missing is not None:
                raise Wrong(missing, "is required")
        except Wrong as wrong:
            self.wrong(name or names[0], wrong, self.raw.get(name or names[0]))
        return None

    def wrong(self, field: str, wrong: Wrong, value: Any = None) -> None:
        """Note a problem of a field."""
        self._findings.wrong(f"{self.path}.{field}" if self.path else field, wrong.code, wrong.message, value)


def first(raw: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The first name that is present, not null and not blank."""
    for name in names:
        value = raw.get(name)
        if value is not None and (type(value) is not str or "!" <= value[:1] <= "~" or clean(value)):
            return name
    return None


class TooMany(Exception):
    """A part holds more items than a day may have; nothing further is read."""

    def __init__(self, part: str, most: int) -> None:
        super().__init__(part)
        self.problem = Problem(path=part, code="too_many", message=f"more than {most}")


def named(raw: Mapping[str, Any], path: str, findings: Findings) -> list[tuple[str, str, Any]]:
    """The entries of an object by KPI as (name, path, value); an entry without a value is none."""
    if len(raw) > NAMED_MAX:
        raise TooMany(path, NAMED_MAX)
    made = []
    for key, value in raw.items():
        at = f'{path}["{printable(key)}"]'
        name = clean(key)
        if not name:
            findings.wrong(at, "blank_name", "a KPI has a name", key)
        elif not is_storable(name):
            findings.wrong(at, "bad_text", "holds a NUL, a control character or half a character", key)
        elif len(name) > NAME_MAX:
            findings.wrong(at, "too_long", f"more than {NAME_MAX} characters", key)
        elif value is not None:
            made.append((name, at, value))
    return made


# --- values -----------------------------------------------------------------------------------------------------------


def text(value: Any, most: int) -> str:
    """A text of 1 to ``most`` characters. Raises ``Wrong``: ``bad_type``, ``bad_text``, ``too_long``."""
    if type(value) is not str:
        raise Wrong("bad_type", f"{_KINDS.get(type(value), 'a number')} where a text belongs")
    made = clean(value)
    if not is_storable(made):
        raise Wrong("bad_text", "holds a NUL, a control character or half a character")
    if len(made) > most:
        raise Wrong("too_long", f"more than {most} characters")
    return made


def name(value: Any, most: int) -> str:
    """A text, or an integer as text."""
    if type(value) is int:
        value = plain(number(value))
    return text(value, most)


def words(value: Any, most: int) -> str:
    """A text, or a number as text."""
    return text(plain(number(value)) if is_number(value) else value, most)


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number; true and false are none."""
    return type(value) is int or type(value) is Decimal


def number(value: Any) -> Decimal:
    """A number, or the plain text of one. Raises ``Wrong``: ``bad_number``, ``number_range``."""
    made = from_text(clean(value)) if type(value) is str else Decimal(value) if is_number(value) else None
    if made is None:
        raise Wrong("bad_number", "neither a number nor the plain text of one")
    if not fits(made):
        raise Wrong("number_range", "10^15 and more, or more than 20 decimals")
    return made


def identity(value: Any) -> int:
    """An id: an integer, its digits as text, or a number with a zero fraction. Raises ``Wrong``: ``bad_id``, ``id_range``."""
    if type(value) is str and _ID.fullmatch(clean(value)):
        digits = clean(value).lstrip("0")[: len(str(ID_MAX)) + 1]
        made = Decimal(digits or 0)
    elif is_number(value):
        made = Decimal(value)
    else:
        raise Wrong("bad_id", "neither an integer nor its digits")
    if not made.is_finite() or not 1 <= made <= ID_MAX:
        raise Wrong("id_range", f"not between 1 and {ID_MAX}")
    if made != made.to_integral_value():
        raise Wrong("bad_id", "has a fraction")
    return int(made)


def order(value: Any) -> int:
    """A place in an order, 1 to 9999. Raises ``Wrong``: ``bad_number``."""
    made = number(value)
    if made != made.to_integral_value() or not 1 <= made <= ORDER_MAX:
        raise Wrong("bad_number", f"not a whole number between 1 and {ORDER_MAX}")
    return int(made)


def choice(value: Any, words_of: type[E], code: str) -> E:
    """A word of a list. Raises ``Wrong`` with ``code``."""
    try:
        return words_of(clean(value) if type(value) is str else "")
    except ValueError:
        raise Wrong(code, f"none of {', '.join(words_of)}") from None


def document(value: Any) -> dict[str, Any]:
    """An object that is kept as it came. Raises ``Wrong``: ``bad_type``, ``bad_text``, ``number_range``."""
    if type(value) is not dict:
        raise Wrong("bad_type", f"{_KINDS.get(type(value), 'a value')} where an object belongs")
    check_kept(value)
    return value


def check_kept(value: Any) -> None:
    """Raise ``Wrong`` for a value inside which something cannot be stored: ``bad_text``, ``number_range``, ``bad_type``."""
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            if not is_storable(one):
                raise Wrong("bad_text", "holds a NUL, a control character or half a character")
        elif isinstance(one, Mapping):
            rest += one.keys()
            rest += one.values()
        elif isinstance(one, list | tuple):
            rest += one
        elif is_number(one):
            number(one)
        elif one is not None and type(one) is not bool:
            raise Wrong("bad_type", "no value of JSON")
