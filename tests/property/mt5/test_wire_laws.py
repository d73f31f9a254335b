"""Laws 11 and 16 of the room: every shape of one state reads alike, what is no answer is an error, numbers survive."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fillbook.mt5 import contract_v0, contract_v1, reading
from fillbook.mt5.faults import CallFailed
from fillbook.mt5.words import ID_MAX
from tests.support.examples import share
from tests.support.mt5_answers import AMOUNTS, ANSWERS, STATES, Answer
from tests.support.mt5_shapes import ASKED, read_v0_history, read_v1_deals, wire


@share(2)
@given(STATES)
def test_law_11_every_documented_shape_of_one_state_reads_alike(state: list[Answer]) -> None:
    for answer in state:
        assert answer.read(wire(answer.document)) == answer.truth, answer.name


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_law_11_bytes_that_are_no_answer_are_one_error(body: bytes) -> None:
    for read in (
        contract_v1.read_snapshot, contract_v1.read_health, contract_v1.read_symbols, read_v1_deals, contract_v0.read_health,
        lambda body: contract_v0.read_info(body, ASKED), lambda body: contract_v0.read_positions(body, ASKED), read_v0_history,
    ):  # fmt: skip
        try:
            read(body)
        except CallFailed:
            continue
        raise AssertionError("read as an answer")


@share(4)
@given(ANSWERS, st.integers(0, 4000))
def test_law_11_an_answer_cut_short_is_an_error(answer: Answer, cut: int) -> None:
    body = wire(answer.document)
    try:
        answer.read(body[: -1 - cut % (len(body) - 1)])
    except CallFailed:
        return
    raise AssertionError("read as an answer")


# --- numbers ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, ID_MAX))
def test_law_16_an_id_survives_as_text_and_as_integer(number: int) -> None:
    for text in (f'{{"a": {number}}}', f'{{"a": "{number}"}}'):
        assert reading.whole(reading.parse(text.encode()), "a") == number


@given(AMOUNTS)
def test_law_16_a_decimal_of_fifteen_digits_survives_exactly(number: Decimal) -> None:
    for text in (f'{{"a": {number}}}', f'{{"a": "{number}"}}', f'{{"a": {number:e}}}'):
        assert reading.amount(reading.parse(text.encode()), "a") == number


@given(st.floats(-1e12, 1e12, allow_nan=False))
def test_the_noise_of_a_float_is_less_than_half_a_fifteenth_digit(number: float) -> None:
    read = reading.amount(reading.parse(f'{{"a": {number!r}}}'.encode()), "a")
    exact = Decimal(repr(number))
    assert len(read.as_tuple().digits) <= 15
    assert abs(read - exact) <= Decimal(5).scaleb(max(exact.adjusted(), -20) - 15)
