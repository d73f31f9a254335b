"""Decimals at the door, one context, one rounding: what never may slip."""

from __future__ import annotations

from decimal import Decimal, getcontext, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillbook import money
from fillbook.money import NumberError

D = Decimal
FINITE = st.decimals(allow_nan=False, allow_infinity=False, min_value=D("-1e15"), max_value=D("1e15"), places=12)


@pytest.mark.parametrize("value", ["27.4", 27, D("27.40"), "-0.5", "1e3"])
def test_a_decimal_an_integer_and_decimal_text_are_numbers(value: object) -> None:
    assert money.parse(value) == D(str(value))


@pytest.mark.parametrize("value", [27.4, True, False, None, b"1", [], float("nan")])
def test_a_float_a_truth_value_and_nothing_are_no_numbers(value: object) -> None:
    with pytest.raises(NumberError) as refused:
        money.parse(value)
    assert refused.value.reason == "number_invalid"


@pytest.mark.parametrize("value", ["", "abc", "1,5", "NaN", "Infinity", "-Infinity", "sNaN", D("NaN"), D("Infinity")])
def test_text_that_is_not_finite_is_refused(value: object) -> None:
    with pytest.raises(NumberError) as refused:
        money.parse(value)
    assert refused.value.reason == "number_invalid"


def test_a_refusal_never_repeats_the_value() -> None:
    with pytest.raises(NumberError) as refused:
        money.parse("secret-7")
    assert "secret-7" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [("0.000000005", "0.00000000"), ("0.000000015", "0.00000002"), ("0.000000025", "0.00000002"), ("1", "1.00000000")],
)
def test_money_is_rounded_half_to_even_at_eight_decimals(value: str, rounded: str) -> None:
    assert format(money.to_money(D(value)), "f") == rounded


def test_minus_zero_is_written_as_zero() -> None:
    assert str(money.to_money(D("-0.000000001"))) == "0E-8"
    assert money.plain(money.to_money(D("-0.000000001"))) == "0"


def test_more_digits_than_the_column_holds_are_refused() -> None:
    assert money.to_money(D("9" * 20)) == D("9" * 20)
    for value in (D("9" * 21), D("1e400")):
        with pytest.raises(NumberError) as refused:
            money.to_money(value)
        assert refused.value.reason == "number_overflow"


def test_quantities_and_prices_have_ten_decimals() -> None:
    assert money.to_quantity(D("0.00000000005")) == D("0E-10")
    assert money.to_price(D("100.12345678915")) == D("100.1234567892")


@pytest.mark.parametrize(
    ("value", "text"), [("100.40", "100.4"), ("100", "100"), ("1E+3", "1000"), ("-0", "0"), ("0.0", "0"), ("-1.50", "-1.5")]
)
def test_a_plain_number_has_no_exponent_and_no_trailing_zeros(value: str, text: str) -> None:
    assert money.plain(D(value)) == text


def test_a_step_is_rounded_down_to() -> None:
    assert money.floor_to_step(D("37.63749"), D("0.0001")) == D("37.6374")
    assert money.floor_to_step(D("0.00009"), D("0.0001")) == 0


def test_a_weighted_price_needs_a_quantity() -> None:
    assert money.vwap([(D(10), D(100)), (D(10), D(110))]) == D(105)
    assert money.vwap([]) is None


def test_one_unknown_part_makes_the_sum_unknown() -> None:
    assert money.total([D(1), D("2.5")]) == D("3.5")
    assert money.total([D(1), None]) is None
    assert money.total([]) == 0


def test_the_callers_context_changes_nothing() -> None:
    parts = [(D("1.0000000001"), D("99999999.9999999999"))] * 3
    with localcontext() as context:
        context.prec = 3
        assert money.vwap(parts) == D("99999999.9999999999")
        assert money.total([D("123456.789")]) == D("123456.789")
    assert getcontext().prec == 28


@given(FINITE)
def test_a_plain_number_reads_back_as_itself(value: Decimal) -> None:
    text = money.plain(value)
    assert D(text) == value
    assert "E" not in text
    assert text != "-0"


@given(FINITE)
def test_rounding_twice_is_rounding_once(value: Decimal) -> None:
    once = money.to_money(value)
    assert money.to_money(once) == once
    assert abs(once - value) <= D("5e-9")


@given(st.lists(FINITE, max_size=20))
def test_a_sum_does_not_depend_on_the_order(parts: list[Decimal]) -> None:
    assert money.total(parts) == money.total(parts[::-1])
