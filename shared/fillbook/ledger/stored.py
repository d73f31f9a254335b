"""Rows as the database answers them (``to_json`` of a table's row) become canonical values, without a value in between.

For whole books: verification, state hash and the comparison of a rebuild look at columns only. The forms are those of
``columns.py``, which a test compares. Rows that were decoded with exact numbers are read too. It derives nothing: an id
that was altered stays altered.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from operator import itemgetter
from typing import Any

from fillbook.ledger.columns import ACTIONS, ADJUSTMENTS, CLOSING_NAMES, FILLS, LOTS, POSITIONS, Values
from fillbook.ledger.model import Action, Closing, Fill, Lot, Position
from fillbook.ledger.reading import Row, stamp
from fillbook.money import plain

Read = Callable[[Row], Values]
_UTC = "+00:00"
_SECONDS, _MICROSECONDS = 19, 26


def instant_of(text: str) -> str:
    """The canonical text of an instant as JSON carries it."""
    if not text.endswith(_UTC):
        return stamp(text)
    bare = text[: -len(_UTC)]
    return f"{bare}.000000Z" if len(bare) == _SECONDS else f"{bare.ljust(_MICROSECONDS, '0')}Z"


def number_of(text: str) -> str:
    """The canonical text of a ``numeric`` column as JSON carries it: always with its fraction, never with an exponent."""
    return text.rstrip("0").rstrip(".")


_DECODER = json.JSONDecoder(parse_float=number_of)


def decode(text: str) -> Any:
    """A row, or rows, as JSON: numbers with a fraction become their canonical text, and no value in between is made."""
    return _DECODER.raw_decode(text)[0]


def _number(value: Decimal) -> str:
    text = str(value)
    if "E" in text:
        return plain(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _reader(names: Sequence[str], noun: type | None = None) -> Read:
    """A function from a row to the values of ``names``; the noun says which of them are Decimals."""
    decimals = set() if noun is None else {field.name for field in fields(noun) if "Decimal" in str(field.type)}
    get = itemgetter(*names)
    numbers = [place for place, name in enumerate(names) if name in decimals]
    instants = [place for place, name in enumerate(names) if name.endswith("_at")]
    digests = [place for place, name in enumerate(names) if name == "content_hash"]

    def read(row: Row) -> Values:
        values = list(get(row))
        for place in numbers:
            value = values[place]
            if value is not None and value.__class__ is not str:
                values[place] = _number(value)
        for place in instants:
            if values[place] is not None:
                values[place] = instant_of(values[place])
        for place in digests:
            values[place] = values[place][2:]
        return values

    return read


_FILL_NUMBERS = [field.name for field in fields(Fill) if "Decimal" in str(field.type)]


def exact_fill(row: Row) -> Row:
    """A row of ``fills`` whose numbers are texts, with exact numbers, as ``reading.fill_version`` takes it."""
    return {**row, **{name: Decimal(row[name]) for name in _FILL_NUMBERS if row[name] is not None}}


read_fill = _reader(FILLS.names, Fill)
read_adjustment = _reader(ADJUSTMENTS.names)
read_action = _reader(ACTIONS.names, Action)
read_closing = _reader(CLOSING_NAMES, Closing)
read_position = _reader(POSITIONS.names, Position)
read_lot = _reader(LOTS.names, Lot)
CHAINED: Mapping[str, Read] = {FILLS.name: read_fill, ADJUSTMENTS.name: read_adjustment, ACTIONS.name: read_action}


def read_closings(rows: Sequence[Mapping[str, Any]] | None) -> list[Values]:
    """The closings of an action, in the order given."""
    return [read_closing(row) for row in rows or ()]
