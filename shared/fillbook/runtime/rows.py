"""Texts that Postgres answers with become Python values, by type oid; exact or refused.

``numeric`` (and ``real``, ``double precision``) becomes Decimal, ``timestamptz`` an aware UTC datetime, ``json`` numbers
Decimal too, so no float is born here. Refused with ``ValueError``: infinite instants, ``timestamp`` without time zone
(it names no instant), intervals of months. A type nobody declared comes as its text. The session has been set to
``DateStyle=ISO``, ``IntervalStyle=iso_8601``, ``TimeZone=UTC`` (``db.py``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from struct import Struct
from typing import Any, cast
from uuid import UUID

Texts = Sequence[str | None]
"""One column; None is NULL."""

CUT_BYTES_MAX = 65_535
"""Of a row that is cut: the two higher bytes of its lengths are zero."""
_SIZE = Struct("!i")
_COUNT_BYTES = 2
_NULL, _NULL_MARKED, _NULL_MARK = b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xff", "\xff"
_EMPTY, _EMPTY_MARKED, _EMPTY_MARK = b"\x00\x00\x00\x00", b"\x00\x00\x00\x01\xfe", "\xfe"


def columns(bodies: Sequence[bytes], width: int) -> list[Texts]:
    """The texts of rows of ``width`` values as the server sends them, by column; ``bodies`` are messages without their heads.

    Before each value stands its length in four bytes, -1 for NULL. Values are texts of UTF-8: no byte of theirs is 0, 0xFE or
    0xFF. So in rows of at most 65,535 bytes two zero bytes begin a length and stand nowhere else, and all rows are cut there at
    once, not value by value. NULL and the empty text, whose lengths are all ones and all zeros, are told apart by a byte that no
    text has. Source: PostgreSQL's protocol 3.0, message formats.
    """
    if len(bodies) < 2 or not width or len(max(bodies, key=len)) > CUT_BYTES_MAX:
        return [list(texts) for texts in zip(*map(_one_by_one, bodies), strict=True)] or [[] for _ in range(width)]
    joined = b"".join([body[_COUNT_BYTES:] for body in bodies])
    marked = joined.replace(_NULL, _NULL_MARKED).replace(_EMPTY, _EMPTY_MARKED)
    _, *pieces = marked.decode("latin-1").split("\x00\x00")
    texts = [piece[2:] for piece in pieces]
    return [_told(texts[place::width]) for place in range(width)]


def _told(texts: list[str]) -> Texts:
    """A column with its marks and letters read; one of plain ASCII has neither."""
    if all(map(str.isascii, texts)):
        return texts
    return [text if text.isascii() else _read(text) for text in texts]


def _read(text: str) -> str | None:
    if text == _NULL_MARK:
        return None
    return "" if text == _EMPTY_MARK else text.encode("latin-1").decode()


def _one_by_one(body: bytes) -> list[str | None]:
    """The values of one row, whatever their lengths."""
    row: list[str | None] = []
    at = _COUNT_BYTES
    while at < len(body):
        (size,) = _SIZE.unpack_from(body, at)
        at += _SIZE.size
        if size < 0:
            row.append(None)
        else:
            row.append(body[at : at + size].decode())
            at += size
    return row


_DECODER = json.JSONDecoder(parse_float=Decimal)
_INTERVAL = re.compile(r"P(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?[\d.]+)S)?)?")


def document(text: str | None) -> Any:
    """Decode one JSON document; numbers with a fraction become Decimal. None and the empty text (void) give None."""
    return _DECODER.raw_decode(text)[0] if text else None


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo is UTC else at.astimezone(UTC)


def _no_instant(text: str) -> datetime:
    raise ValueError(f"timestamp without time zone ({text}) names no instant; select it as timestamptz")


def _interval(text: str) -> timedelta:
    match = _INTERVAL.fullmatch(text)
    if match is None:
        raise ValueError(f"interval {text} has no fixed length")
    days, hours, minutes, seconds = match.groups(default="0")
    microseconds = int(Decimal(seconds) * 1_000_000)
    return timedelta(days=int(days), hours=int(hours), minutes=int(minutes), microseconds=microseconds)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("\\x"))


_SCALARS: Mapping[int, Callable[[str], Any]] = {
    16: lambda text: text == "t",
    17: _bytes,
    20: int,
    21: int,
    23: int,
    26: int,
    114: document,
    700: Decimal,
    701: Decimal,
    1082: date.fromisoformat,
    1083: time.fromisoformat,
    1114: _no_instant,
    1184: _instant,
    1186: _interval,
    1700: Decimal,
    2278: lambda _: None,
    2950: UUID,
    3802: document,
}

# array type oid -> element type oid
_ARRAYS: Mapping[int, int] = {
    1000: 16,
    1001: 17,
    1002: 18,
    1003: 19,
    1005: 21,
    1007: 23,
    1009: 25,
    1015: 1043,
    1016: 20,
    1182: 1082,
    1183: 1083,
    1185: 1184,
    1187: 1186,
    1231: 1700,
    2951: 2950,
    3807: 3802,
    199: 114,
}


def converter(oid: int) -> Callable[[str], Any]:
    """Return the reader of one column's texts."""
    element = _ARRAYS.get(oid)
    if element is not None:
        read = _SCALARS.get(element, str)
        return lambda text: _array(text, read)
    return _SCALARS.get(oid, str)


_ARRAY_TOKEN = re.compile(r'[{},]|"((?:[^"\\]|\\.)*)"|([^{},"]+)')


def _array(text: str, read: Callable[[str], Any]) -> list[Any]:
    """Read ``{a,"b",NULL,{…}}``; an array with lower bounds (``[0:1]=``) is refused with ``ValueError``."""
    if not text.startswith("{"):
        raise ValueError("arrays with lower bounds are not read")
    root: list[Any] = []
    open_lists = [root]
    for match in _ARRAY_TOKEN.finditer(text):
        piece, quoted, bare = match[0], match[1], match[2]
        if piece == "{":
            inner: list[Any] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif piece == "}":
            open_lists.pop()
        elif bare is not None:
            open_lists[-1].append(None if bare == "NULL" else read(bare))
        elif quoted is not None:
            open_lists[-1].append(read(re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)))
    result: list[Any] = root[0]
    return result


def _plain(text: str) -> str:
    """A numeric without the zeros of its column's scale; the server writes it without exponent."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _plain_ones(texts: Sequence[str]) -> Sequence[str]:
    """As ``_plain``, of a whole column at once where all of it has decimals."""
    joined = "\n".join(texts) + "\n"
    if not texts or joined.count(".") != len(texts):
        return list(map(_plain, texts))
    while "0\n" in joined:
        for zeros in _ZEROS:
            joined = joined.replace(zeros, "\n")
    return joined.replace(".\n", "\n").split("\n")[:-1]


_ZEROS: Sequence[str] = ("00000000\n", "0000\n", "00\n", "0\n")
"""Ends of lines, taken off one after the other: together up to fifteen zeros of a line."""


def _in_utc(texts: Sequence[str]) -> Sequence[str]:
    for text in texts:
        if not text.endswith("+00"):
            raise ValueError(f"{text} is no instant")
    return texts


def _as_they_are(texts: Sequence[str]) -> Sequence[str]:
    return texts


_SHOWN: Mapping[int, Callable[[Sequence[str]], Sequence[Any]]] = {
    1082: _as_they_are,
    1184: _in_utc,
    1700: _plain_ones,
    2950: _as_they_are,
}
"""What a reader is shown as text anyway, by whole columns."""


def convert(names: list[str], oids: list[int], found: Sequence[Texts], count: int) -> list[dict[str, Any]]:
    """Return each of ``count`` rows as a dict by column name; two columns of one name raise ``ValueError``."""
    return _by_name(names, [_each(converter(oid)) for oid in oids], found, count)


def shown(names: list[str], oids: list[int], found: Sequence[Texts], count: int) -> list[dict[str, Any]]:
    """As ``convert``, for rows that are told and not reckoned with: ``numeric`` as plain text (``100.40`` is ``100.4``), ids
    and dates as text, ``timestamptz`` as the server writes it (``2026-02-03 15:16:00.5+00``).
    """
    return _by_name(names, [_SHOWN.get(oid) or _each(converter(oid)) for oid in oids], found, count)


Reader = Callable[[Sequence[str]], Sequence[Any]]


def _each(read: Callable[[str], Any]) -> Reader:
    return _as_they_are if read is str else lambda texts: list(map(read, texts))


def _by_name(names: list[str], readers: list[Reader], found: Sequence[Texts], count: int) -> list[dict[str, Any]]:
    """Columns are read one after the other, because a reader is then called without a word between two values."""
    if len(set(names)) != len(names):
        raise ValueError("two columns of one name")
    if not names:
        return [{} for _ in range(count)]
    values = [_known(read, texts) for read, texts in zip(readers, found, strict=True)]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _known(read: Reader, texts: Texts) -> Sequence[Any]:
    """What is known of a column, read; the rest is None."""
    if None not in texts:
        return read(cast("Sequence[str]", texts))
    found = iter(read([text for text in texts if text is not None]))
    return [None if text is None else next(found) for text in texts]
