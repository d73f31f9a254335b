"""Rows as the server sends them (``DataRow``) become columns of texts, thousands of values at a time.

Before each value stands its length in four bytes, -1 for NULL. Values are texts of UTF-8: no byte of theirs is 0, 0xFE or 0xFF.
So in rows of at most 65,535 bytes two zero bytes begin a length and stand nowhere else, and all rows are cut there at once, not
value by value. NULL and the empty text, whose lengths are all ones and all zeros, are told apart by a byte that no text has.
Source: PostgreSQL's protocol 3.0, message formats.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

Texts = Sequence[str | None]
"""One column; None is NULL."""

CUT_BYTES_MAX = 65_535
"""Of a row that is cut: the two higher bytes of its lengths are zero."""
_SIZE = Struct("!i")
_COUNT_BYTES = 2
_NULL, _NULL_MARKED, _NULL_MARK = b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xff", "\xff"
_EMPTY, _EMPTY_MARKED, _EMPTY_MARK = b"\x00\x00\x00\x00", b"\x00\x00\x00\x01\xfe", "\xfe"


def columns(bodies: Sequence[bytes], width: int) -> list[Texts]:
    """The texts of rows of ``width`` values, by column; ``bodies`` are whole messages without their heads."""
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
