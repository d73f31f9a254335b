"""Numbers as they are rounded, shown, and read out of what people show (snapshot specification, 2.3 and 5.2)."""

from __future__ import annotations

import json
from decimal import Decimal, localcontext
from pathlib import Path

import pytest

from fillbook.snapshot.model import MISSING, Kind
from fillbook.snapshot.numbers import BEYOND, Told, decimal_of, fits, from_text, is_nothing, rounded, shown, told
from tests.support.snapshot_days import W1

CASES = json.loads((Path(__file__).parents[2] / "cases" / "snapshot" / "numbers_from_text.json").read_text("utf-8"))


@pytest.mark.parametrize(("text", "number", "kind", "unit"), CASES, ids=[case[0] for case in CASES])
def test_a_text_says_its_number_or_none(text: str, number: str | None, kind: str, unit: str | None) -> None:
    said = told(text)
    assert said == Told(number=None if number is None else Decimal(number), kind=Kind(kind), unit=unit)


@pytest.mark.parametrize(("name", "kind", "unit", "number", "text", "reason"), W1, ids=[one[0] for one in W1])
def test_every_figure_of_w1_is_shown_and_read_back(
    name: str, kind: str, unit: str | None, number: str | None, text: str, reason: str | None
) -> None:
    assert shown(None if number is None else Decimal(number), Kind(kind), unit) == text
    if kind in ("currency", "number", "duration") and number is not None:
        assert told(text).number == Decimal(number)
    assert is_nothing(text) is (number is None)


@pytest.mark.parametrize(
    ("number", "kind", "unit", "text"),
    [
        ("1234.565", Kind.CURRENCY, "USD", "$1,234.56"),
        ("1234.575", Kind.CURRENCY, "USD", "$1,234.58"),
        ("-5", Kind.CURRENCY, "USD", "-$5.00"),
        ("-0.004", Kind.CURRENCY, "USD", "$0.00"),
        ("-5", Kind.CURRENCY, "EUR", "-EUR 5.00"),
        ("999999999999999.99", Kind.CURRENCY, None, "$999,999,999,999,999.99"),
        ("72.34", Kind.PERCENT, "%", "72.3%"),
        ("72.25", Kind.PERCENT, "%", "72.2%"),
        ("-0.04", Kind.PERCENT, "%", "0.0%"),
        ("1234", Kind.NUMBER, None, "1,234"),
        ("1.845", Kind.RATIO, None, "1.84"),
        ("3780", Kind.DURATION, "s", "1h 03m"),
        ("3839", Kind.DURATION, "s", "1h 03m"),
        ("245", Kind.DURATION, "s", "4m 05s"),
        ("12", Kind.DURATION, "s", "12s"),
        ("-12", Kind.DURATION, "s", "-12s"),
        ("360000", Kind.DURATION, "s", "100h 00m"),
        ("1.50", Kind.TEXT, None, "1.50"),
    ],
)
def test_a_number_is_shown_by_its_kind(number: str, kind: Kind, unit: str | None, text: str) -> None:
    assert shown(Decimal(number), kind, unit) == text


def test_what_is_not_known_is_shown_as_missing_whatever_its_kind() -> None:
    assert {shown(None, kind) for kind in Kind} == {MISSING}


@pytest.mark.parametrize(
    ("kind", "number", "expected"),
    [
        (Kind.CURRENCY, "0.125", "0.12"),
        (Kind.CURRENCY, "0.135", "0.14"),
        (Kind.PERCENT, "0.00005", "0.0000"),
        (Kind.PERCENT, "0.00015", "0.0002"),
        (Kind.RATIO, "4.5", "4.5000"),
        (Kind.NUMBER, "2.5", "2"),
        (Kind.DURATION, "3.5", "4"),
        (Kind.TEXT, "1.23456", "1.23456"),
        (Kind.CURRENCY, "-0.001", "0.00"),
    ],
)
def test_rounding_is_half_even_by_kind(kind: Kind, number: str, expected: str) -> None:
    assert str(rounded(Decimal(number), kind)) == expected


@pytest.mark.parametrize(
    ("number", "does"),
    [
        ("999999999999999.99999", True),
        ("-1e15", False),
        ("1e15", False),
        ("1e-20", True),
        ("1e-21", False),
        ("1.000000000000000000000000", True),
        ("0e-999999", True),
        ("0e999999", True),
        ("1e999999", False),
        ("1e-999999", False),
        ("NaN", False),
        ("sNaN", False),
        ("-Infinity", False),
    ],
)
def test_a_number_fits_below_a_quadrillion_with_twenty_decimals(number: str, does: bool) -> None:
    assert fits(Decimal(number)) is does


def test_ten_decimals_may_be_asked_for() -> None:
    assert fits(Decimal("0.1234567890"), 10)
    assert not fits(Decimal("0.12345678901"), 10)


def test_text_that_no_decimal_holds_is_beyond() -> None:
    assert decimal_of("1e99999999999999999999") is BEYOND
    assert decimal_of("9" * 65) is BEYOND
    assert from_text("1e99999999999999999999") is BEYOND


def test_plain_text_of_a_number_is_read_and_nothing_else() -> None:
    for text in ("5", "+5", "-5.25", "1e3", "1E-3", "007"):
        assert from_text(text) == Decimal(text)
    for text in ("", ".5", "1.", "1,234", "$5", "0x1F", "NaN", "Infinity", "1_000", "٣", "5 ", "e5", "1e", "--1"):
        assert from_text(text) is None


def test_a_narrow_context_of_the_caller_changes_nothing() -> None:
    with localcontext() as narrow:
        narrow.prec = 3
        assert shown(Decimal("1234567.89"), Kind.CURRENCY) == "$1,234,567.89"
        assert told("$1,234,567.89").number == Decimal("1234567.89")
        assert told("-$1,234,567.89").number == Decimal("-1234567.89")
        assert rounded(Decimal("1234567.895"), Kind.CURRENCY) == Decimal("1234567.90")
