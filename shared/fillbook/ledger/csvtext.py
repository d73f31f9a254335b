"""Rows of the ledger as CSV (RFC 4180): one line a row, the columns of its table, text that no spreadsheet runs as a formula.

Numbers, instants and ids are written as they are. A text that starts with ``= + - @``, TAB or CR gets a leading ``'``, and so
does one that has it already, so that taking one away gives every text back. Unknown is an empty cell, an empty text ``""``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import field, fields
from functools import lru_cache
from typing import Any

from fillbook.ledger.chain import encode
from fillbook.ledger.columns import ACTIONS, CLOSING_NAMES, FILLS, LOTS, POSITIONS
from fillbook.ledger.model import Action, Closing, Fill, Lot, Position
from fillbook.values import frozen

_DANGEROUS = re.compile(r"'*[=+\-@\t\r]")
_QUOTED = re.compile(r'[",\r\n]')
_SPECIAL = re.compile(r"""\A'*[=+\-@\t\r]|[",\r\n]""")
"""Either of the two."""


@frozen
class Sheet:
    """One file: its name, its columns in order, and which of them hold texts that are no words: numbers, instants, fixed ones."""

    name: str
    columns: tuple[str, ...]
    numbers: frozenset[str]
    _is_number: tuple[bool, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_is_number", tuple(name in self.numbers for name in self.columns))

    @property
    def header(self) -> str:
        """The first line."""
        return ",".join(self.columns) + "\r\n"

    def line(self, values: Sequence[Any]) -> str:
        """One row, its values canonical (``columns.py``) and in the order of the columns."""
        cells = [
            ""
            if value is None
            else (value if is_number else _word(value) if len(value) <= _WORD_LENGTH_MAX else _cell(value))
            if type(value) is str
            else str(value)
            if type(value) is int
            else _cell(value)
            for value, is_number in zip(values, self._is_number, strict=True)
        ]
        return ",".join(cells) + "\r\n"


def _numbers(*nouns: type) -> frozenset[str]:
    """Columns that hold Decimals, which are canonical texts by now."""
    return frozenset(one.name for noun in nouns for one in fields(noun) if "Decimal" in str(one.type))


SHEETS = {
    sheet.name: sheet
    for sheet in (
        Sheet(name="fills", columns=FILLS.names, numbers=_numbers(Fill)),
        Sheet(name="actions", columns=ACTIONS.names, numbers=_numbers(Action)),
        Sheet(name="closings", columns=CLOSING_NAMES, numbers=_numbers(Closing)),
        Sheet(name="lots", columns=LOTS.names, numbers=_numbers(Lot)),
        Sheet(name="positions", columns=POSITIONS.names, numbers=_numbers(Position)),
    )
}


_WORD_LENGTH_MAX = 32


@lru_cache(4_096)
def _word(value: str) -> str:
    """A short text as a cell; rows share them."""
    return _cell(value)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = value if isinstance(value, str) else encode(value)
    if text and _SPECIAL.search(text) is None:  # as nearly all are
        return text
    if _DANGEROUS.match(text):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if not text or _QUOTED.search(text) else text
