"""The strict reading of an answer: bytes become plain values once, fields are then taken by name and kind.

Numbers become Decimals from their text, beyond 15 significant digits rounded (noise of a binary float); NaN and Infinity,
a key that comes twice, more than 8 MiB and more than 20 levels are no answer. Every reader raises ``ContractError`` with the
field's name, never with what stood in it. ``None`` and absent are one thing; what is required is then missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, DecimalException
from functools import lru_cache
from typing import Any, Final, TypeVar

from fillbook.mt5.faults import ContractError
from fillbook.mt5.words import ANSWER_BYTES_MAX, DEPTH_MAX, DIGITS_MAX, ID_MAX

T = TypeVar("T")

Row = Mapping[str, Any]

TEXT_MAX: Final = 1_024
NUMBERS_KEPT: Final = 4_096
"""Amounts whose text was read before are not made again: of a broker's lots, costs and prices few are new."""
NUMBER_TEXT_MAX: Final = 64
SMALL_MAX: Final = 2**15 - 1
MAGIC_LEAST: Final = -(2**63)
MSC_MAX: Final = 4_102_444_800_000
"""Milliseconds of the year 2100: seconds taken for milliseconds, or the other way round, lie beyond it or before 1970."""

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_WHOLE: Final = re.compile(r"-?[1-9][0-9]{0,18}|0")
_INSTANT: Final = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?) ?(Z|z|[+-]\d{2}:?\d{2})", re.ASCII)
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_ROUNDED: Final = Context(prec=DIGITS_MAX, rounding=ROUND_HALF_EVEN, Emin=-20, Emax=20)
_ZERO: Final = Decimal(0)
_NESTED: Final = frozenset({dict, list})


# --- the document -----------------------------------------------------------------------------------------------------


def parse(body: bytes) -> dict[str, Any]:
    """Read the JSON object of an answer: floats as Decimals, integers exact. Raises ``ContractError``."""
    if len(body) > ANSWER_BYTES_MAX:
        raise ContractError("body too large")
    try:
        root = _DECODER.decode(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ContractError("body is not JSON") from None
    if not isinstance(root, dict):
        raise ContractError("body is not an object")
    _check_depth(root)
    return root


def cut(body: bytes, name: str) -> tuple[dict[str, Any], bytes] | None:
    """The object of an answer without the list under ``name``, and that list's bytes, unread; None: they cannot be had apart.

    In place of the list stands a word that JSON has not and nothing else in the answer contains. Where it turns up as the value
    of ``name``, the object goes on behind it as it does behind any list that stands there: the answer is read as if it were
    read at once, provided that the bytes are one list. Who has read the same bytes before (``rows``) knows that.
    """
    begins = re.compile(rb'"%s"\s*:\s*(?=\[)' % name.encode()).search(body)
    if begins is None:
        return None
    start, end = begins.end(), body.rfind(b"]") + 1
    head, tail = body[:start], body[end:]
    if _PLACE in head or _PLACE in tail:
        return None
    try:
        root = _AROUND.decode(f"{head.decode('utf-8')}{_PLACE.decode()}{tail.decode('utf-8')}")
        if not isinstance(root, dict) or root.get(name) is not _LEFT_OUT:
            return None
        _check_depth(root)
    except (ValueError, RecursionError, ContractError):
        return None
    return root, body[start:end]


def rows(text: bytes) -> list[Any] | None:
    """The list that these bytes are; None: they are none, or one that is too deep."""
    try:
        found = _DECODER.decode(text.decode("utf-8"))
        _check_depth({"": found})
    except (ValueError, RecursionError, ContractError):
        return None
    return found if type(found) is list else None


def _rounded(text: str | int) -> Decimal:
    try:
        value = _ROUNDED.create_decimal(text)
    except DecimalException:
        raise ValueError("out of range") from None
    return value or _ZERO


def _refuse(_: str) -> Any:
    raise ValueError("not finite")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key comes twice")
    return made


_known_float = lru_cache(NUMBERS_KEPT)(_rounded)


def _float(text: str) -> Decimal:
    return _known_float(text) if len(text) <= NUMBER_TEXT_MAX else _rounded(text)


_DECODER: Final = json.JSONDecoder(parse_float=_float, parse_constant=_refuse, object_pairs_hook=_object)
_LEFT_OUT: Final = object()
_PLACE: Final = b"-Infinity"
"""Nothing but this word makes the decoder below say ``_LEFT_OUT``."""
_AROUND: Final = json.JSONDecoder(
    parse_float=_float,
    parse_constant=lambda word: _LEFT_OUT if word == "-Infinity" else _refuse(word),
    object_pairs_hook=_object,
)


def _check_depth(root: dict[str, Any]) -> None:
    level: list[Any] = [root]
    for _ in range(DEPTH_MAX):
        rows = [one.values() if type(one) is dict else one for one in level]
        level = [each for row in rows if not _NESTED.isdisjoint(map(type, row)) for each in row if type(each) in _NESTED]
        if not level:
            return
    raise ContractError("body too deep")


# --- fields -----------------------------------------------------------------------------------------------------------


def amount(row: Row, name: str) -> Decimal:
    """Money, a price, a volume: a number or the text of one; beyond 15 digits rounded half to even."""
    try:
        return amount_of(row.get(name))
    except ValueError:
        raise ContractError(name) from None


def amount_of(value: Any) -> Decimal:
    """The amount that a value of a document is; raises ``ValueError``."""
    kind = type(value)
    if kind is Decimal:
        return value  # type: ignore[no-any-return]  # rounded when the document was read
    if kind is str and len(value) <= NUMBER_TEXT_MAX:
        return _told(value)
    if kind is int:
        return _rounded(value)
    raise ValueError("no number")


@lru_cache(NUMBERS_KEPT)
def _told(text: str) -> Decimal:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError("no number")
    return _rounded(text)


def amount_or_none(row: Row, name: str) -> Decimal | None:
    """An amount that may be missing."""
    return None if row.get(name) is None else amount(row, name)


def not_negative(row: Row, name: str) -> Decimal:
    """An amount of zero or more."""
    value = amount(row, name)
    if value < 0:
        raise ContractError(name)
    return value


def set_or_none(row: Row, name: str) -> Decimal | None:
    """A price that the terminal writes as 0 when there is none; the field itself must be there."""
    return amount(row, name) or None


def whole(row: Row, name: str, *, least: int = 0, most: int = ID_MAX) -> int:
    """An id or a count: an integer, or its decimal text without leading zeros."""
    value = row.get(name)
    if type(value) is str and _WHOLE.fullmatch(value):
        value = int(value)
    if type(value) is not int or not least <= value <= most:
        raise ContractError(name)
    return value


def whole_or_none(row: Row, name: str, *, least: int = 0, most: int = ID_MAX) -> int | None:
    """A whole number that may be missing."""
    return None if row.get(name) is None else whole(row, name, least=least, most=most)


def flag(row: Row, name: str) -> bool:
    """True or false, nothing that merely resembles them."""
    value = row.get(name)
    if type(value) is not bool:
        raise ContractError(name)
    return value


def text(row: Row, name: str, *, least: int = 1) -> str:
    """A text that names something: of at most 1,024 characters, all of which a database can hold."""
    value = row.get(name)
    if type(value) is not str or not least <= len(value) <= TEXT_MAX or _UNSTORABLE.search(value):
        raise ContractError(name)
    return value


def text_or_none(row: Row, name: str, *, least: int = 1) -> str | None:
    """A text that may be missing."""
    return None if row.get(name) is None else text(row, name, least=least)


def remark(row: Row, name: str) -> str | None:
    """Somebody's words. Half a character (a comment cut at 31) or U+0000 becomes U+FFFD: no database holds it."""
    value = row.get(name)
    if value is None:
        return None
    if type(value) is not str or len(value) > TEXT_MAX:
        raise ContractError(name)
    return storable(value)


def choice(row: Row, name: str, table: Mapping[Any, T]) -> T:
    """A value of a table; anything else is refused. ``True`` is not 1."""
    value = row.get(name)
    if type(value) in (str, int) and value in table:
        return table[value]
    raise ContractError(name)


def instant(row: Row, name: str) -> datetime:
    """An ISO date and time with its zone, as UTC; one without a zone is refused."""
    value = row.get(name)
    found = _INSTANT.fullmatch(value) if type(value) is str else None
    if found is None:
        raise ContractError(name)
    zone = "+00:00" if found[3] in "Zz" else found[3]
    try:
        at = datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise ContractError(name) from None
    if not 1970 <= at.year < 2100:
        raise ContractError(name)
    return at


def objects(root: Row, name: str) -> Sequence[Row]:
    """A list of objects; missing, null or anything else is not an empty list."""
    value = root.get(name)
    if type(value) is not list or not all(type(one) is dict for one in value):
        raise ContractError(name)
    return value


def part(root: Row, name: str) -> Row:
    """An object."""
    value = root.get(name)
    if type(value) is not dict:
        raise ContractError(name)
    return value


def each(rows: Sequence[Row], name: str, read: Callable[[Row], T]) -> tuple[T, ...]:
    """Read every row; the first that is wrong fails them all, with its number."""
    made = []
    for number, row in enumerate(rows):
        try:
            made.append(read(row))
        except ContractError as error:
            raise error.inside(f"{name}[{number}]") from None
    return tuple(made)


def extra(row: Row, known: frozenset[str]) -> dict[str, Any]:
    """The fields we do not know, kept as they came."""
    return {storable(name): _kept(row[name]) for name in row if name not in known}


def agreed(name: str, *found: T | None) -> T | None:
    """Several spellings of one meaning: the first that is there. They must not differ."""
    there = [one for one in found if one is not None]
    if any(one != there[0] for one in there[1:]):
        raise ContractError(name)
    return there[0] if there else None


def required(name: str, value: T | None) -> T:
    """What must have been said in one of its spellings."""
    if value is None:
        raise ContractError(name)
    return value


def storable(text: str) -> str:
    """The text with U+FFFD for what no database holds."""
    return text if text.isascii() and "\x00" not in text else _UNSTORABLE.sub("\ufffd", text)


def _kept(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(name): _kept(inner) for name, inner in value.items()}
    return [_kept(inner) for inner in value] if isinstance(value, list) else value
