"""JSON texts of the room, both ways: Decimals as plain decimals, and a strict reading that loses no digit.

Writing refuses floats and whatever JSON does not know (``TypeError``). Reading keeps integers and fractions exact; a number with
more characters than any that is taken becomes ``BEYOND``, which fits nowhere. Source: snapshot specification, 3 and 5.1 row 7.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from fillbook.money import plain
from fillbook.runtime.errors import Rejected
from fillbook.snapshot.numbers import BEYOND, TEXT_MAX, decimal_of

DEPTH_MAX: Final = 12

_NESTED: Final = frozenset({dict, list})

quoted: Final = json.JSONEncoder(ensure_ascii=False).encode

_WRITERS: Final[Mapping[type[Any], Callable[[Any], str]]] = {
    str: quoted,
    int: str,
    Decimal: plain,
    type(None): lambda _: "null",
    bool: lambda value: "true" if value else "false",
}


def jsoned(value: Any, *, is_sorted: bool = False) -> str:
    """The JSON text of a value without white space, its keys in their order or sorted by code point."""
    write = _WRITERS.get(type(value))
    if write is not None:
        return write(value)
    if isinstance(value, str):  # a word of one of our lists
        return quoted(value)
    if isinstance(value, Mapping):
        keys = sorted(value) if is_sorted else value
        return "{" + ",".join([f"{quoted(key)}:{jsoned(value[key], is_sorted=is_sorted)}" for key in keys]) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join([jsoned(one, is_sorted=is_sorted) for one in value]) + "]"
    raise TypeError(f"{type(value).__name__} has no place in a document")


def strictly_parsed(raw: bytes) -> Any:
    """The JSON value of a body: UTF-8 without a mark, no NaN, no key twice, at most 12 levels.

    Raises ``Rejected('not_json')`` (400).
    """
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Rejected("not_json", type(error).__name__) from None
    if not _is_shallow(value):
        raise Rejected("not_json", f"more than {DEPTH_MAX} levels")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key comes twice")
    return made


def _refused(_: str) -> Any:
    raise ValueError("not a number of JSON")


def _whole(text: str) -> int | Decimal:
    return int(text) if len(text) <= TEXT_MAX else BEYOND


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_float=decimal_of, parse_int=_whole, parse_constant=_refused)


def _is_shallow(value: Any) -> bool:
    level = [value] if type(value) in _NESTED else []
    for _ in range(DEPTH_MAX):
        if not level:
            return True
        rows = [one.values() if type(one) is dict else one for one in level]
        level = [each for row in rows if not _NESTED.isdisjoint(map(type, row)) for each in row if type(each) in _NESTED]
    return not level
