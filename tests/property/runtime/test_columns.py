"""Rows cut at the zeros of their lengths are the rows read value by value, whatever stands in them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fillbook.runtime import rows
from fillbook.runtime.rows import CUT_BYTES_MAX, columns

NUMERIC = 1700
LETTERS = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
LENGTHS = st.sampled_from(
    [1, 2, 127, 128, 253, 254, 255, 256, 257, 511, 512, 4_096, 65_279, 65_280, CUT_BYTES_MAX, 65_536, 70_000]
)
VALUES = st.one_of(
    st.none(),
    st.just(""),
    st.text(LETTERS, max_size=8),
    st.text("\x01\x02\x0aa\x7f\x80\xfe\xff", max_size=6),
    st.builds("{0:a<{1}}".format, st.sampled_from(["", "z", "\x01", "é", "\xff"]), LENGTHS),
)
TABLES = st.integers(1, 5).flatmap(lambda width: st.lists(st.lists(VALUES, min_size=width, max_size=width), max_size=6))
AMOUNTS = st.one_of(
    st.none(),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=8),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-100, max_value=100, places=2),
    st.integers(-(10**18), 10**18).map(Decimal),
)


def body(texts: Sequence[str | None]) -> bytes:
    """A row as the server sends it."""
    raw = [None if text is None else text.encode() for text in texts]
    parts = [struct.pack("!i", -1) if one is None else struct.pack("!i", len(one)) + one for one in raw]
    return struct.pack("!h", len(texts)) + b"".join(parts)


@given(TABLES)
def test_columns_hold_what_was_sent(table: list[list[str | None]]) -> None:
    width = len(table[0]) if table else 3
    assert [list(column) for column in columns([body(row) for row in table], width)] == [
        [row[place] for row in table] for place in range(width)
    ]


@given(st.lists(AMOUNTS, max_size=8), st.booleans())
def test_a_column_of_numbers_is_shown_without_its_zeros(amounts: list[Decimal | None], are_alike: bool) -> None:
    written = [None if one is None else f"{one:.8f}" if are_alike else f"{one:f}" for one in amounts]
    found = [row["amount"] for row in rows.shown(["amount"], [NUMERIC], [written], len(written))]
    assert [None if one is None else Decimal(one) for one in found] == amounts
    assert not [one for one in found if one is not None and "." in one and one.endswith(("0", "."))]
    assert not [one for one in found if one is not None and "E" in one]


@given(st.integers(0, 40), st.sampled_from(["1", "10", "-100", "0", "100.01", "1000000.5"]))
def test_however_many_zeros_a_number_ends_with_they_go(zeros: int, number: str) -> None:
    text = (number if "." in number else number + ".") + "0" * zeros
    (row,) = rows.shown(["amount"], [NUMERIC], [[text]], 1)
    assert row["amount"] == number
