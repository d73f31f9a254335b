"""Texts of the server become values, and rows that are only told stay texts."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from fillbook.runtime import rows

NAMES = ["id", "at", "day", "amount", "count", "is_known", "word", "content"]
OIDS = [2950, 1184, 1082, 1700, 23, 16, 25, 3802]
IDENTITY = "0d6fd3a6-2f6b-5a53-9a4a-7f0c4f5a2b11"
TEXTS: list[list[str | None]] = [
    [IDENTITY, "2026-02-03 15:16:00.5+00", "2026-02-03", "100.4000", "3", "t", "a", '{"x": 1}'],
    [None] * len(NAMES),
    [IDENTITY, "2026-02-03 15:16:00+00", "2026-02-04", "100", "4", "f", "", "[]"],
]


def convert(names, oids, texts):
    return rows.convert(names, oids, [list(column) for column in zip(*texts, strict=True)] or [[] for _ in names], len(texts))


def shown(names, oids, texts):
    return rows.shown(names, oids, [list(column) for column in zip(*texts, strict=True)] or [[] for _ in names], len(texts))


def test_a_row_becomes_values_and_null_stays_unknown() -> None:
    first, unknown, last = convert(NAMES, OIDS, TEXTS)
    assert first == {
        "id": UUID(IDENTITY), "at": datetime(2026, 2, 3, 15, 16, 0, 500_000, tzinfo=UTC), "day": date(2026, 2, 3),
        "amount": Decimal("100.4"), "count": 3, "is_known": True, "word": "a", "content": {"x": 1},
    }  # fmt: skip
    assert unknown == dict.fromkeys(NAMES)
    assert (last["amount"], last["is_known"], last["word"], last["content"]) == (Decimal(100), False, "", [])


def test_a_row_that_is_shown_keeps_the_texts_of_decimals_ids_dates_and_instants() -> None:
    first, unknown, last = shown(NAMES, OIDS, TEXTS)
    assert first == {
        "id": IDENTITY, "at": "2026-02-03 15:16:00.5+00", "day": "2026-02-03", "amount": "100.4", "count": 3, "is_known": True,
        "word": "a", "content": {"x": 1},
    }  # fmt: skip
    assert unknown == dict.fromkeys(NAMES)
    assert last["amount"] == "100"


@pytest.mark.parametrize(("text", "plain"), [("0.00000000", "0"), ("-0.50", "-0.5"), ("10", "10"), ("100.00", "100")])
def test_a_decimal_is_shown_without_the_zeros_of_its_column(text: str, plain: str) -> None:
    assert shown(["amount"], [1700], [[text]]) == [{"amount": plain}]


@pytest.mark.parametrize("text", ["infinity", "2026-02-03 15:16:00+01", "0044-03-15 12:00:00+00 BC"])
def test_what_is_no_instant_of_utc_is_not_shown_as_one(text: str) -> None:
    with pytest.raises(ValueError, match="no instant"):
        shown(["at"], [1184], [[text]])


def test_rows_without_rows_and_names_that_stand_twice() -> None:
    assert convert(NAMES, OIDS, []) == shown(NAMES, OIDS, []) == []
    assert convert([], [], [[], []]) == shown([], [], [[], []]) == [{}, {}]
    with pytest.raises(ValueError, match="one name"):
        convert(["a", "a"], [25, 25], [["x", "y"]])
