"""Bytes become plain values only where nothing is open to interpretation: size, depth, numbers, ids, times, texts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from fillbook.mt5 import reading
from fillbook.mt5.faults import ContractError
from fillbook.mt5.words import ANSWER_BYTES_MAX


def read(text: str) -> Any:
    return reading.parse(text.encode())


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>busy</html>", b'{"a": 1', b"[1]", b"null", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": -Infinity}',
        b'{"a": 1, "a": 2}', b'{"a": 1e21}', b'{"a": 1e999999}', b'\xff\xfe{\x00', '{"a": 1}'.encode("utf-16"),
        b'{"a": ' + b"9" * 5000 + b"}", b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_plain_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ContractError):
        reading.parse(body)


def test_an_answer_may_be_eight_mebibytes_and_no_byte_more() -> None:
    body = b'{"a": "' + b"x" * (ANSWER_BYTES_MAX - 9) + b'"}'
    assert len(reading.parse(body)["a"]) == ANSWER_BYTES_MAX - 9
    with pytest.raises(ContractError):
        reading.parse(body + b" ")


@pytest.mark.parametrize(("levels", "is_read"), [(20, True), (21, False), (900, False), (100_000, False)])
def test_an_answer_may_be_twenty_levels_deep(levels: int, is_read: bool) -> None:
    text = '{"a":' * levels + "1" + "}" * levels
    if is_read:
        assert read(text)
    else:
        with pytest.raises(ContractError):
            read(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("101398.67590140559", "101398.675901406"), ("40118.20731707317", "40118.2073170732"), ("0.00001234", "0.00001234"),
        ("-0.0", "0"), ("1e3", "1000"), ("1.4210854715202004e-14", "1.42108547152020E-14"),
        ("123456789012345", "123456789012345"), ("1234567890123456", "1234567890123460"), ("0.1", "0.1"), ("1E-400", "0"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("as_text", [False, True])
def test_a_number_is_its_text_rounded_to_fifteen_digits(text: str, value: str, as_text: bool) -> None:
    row = read(json.dumps({"a": text}) if as_text else f'{{"a": {text}}}')
    assert reading.amount(row, "a") == Decimal(value)


def test_a_zero_has_no_sign_and_no_exponent() -> None:
    for text in ("-0.0", "0e-999999", "0E+20", "-0"):
        assert str(reading.amount(read(f'{{"a": {text}}}'), "a")) == "0"


@pytest.mark.parametrize(
    "value",
    [None, True, "", " 1", "1 ", "+1", ".5", "1.", "1,5", "0x10", "NaN", "1_000", "٣", "01", "1e", [], {}, 10**21, "9" * 65],
)
def test_what_is_no_number_is_refused_by_name_alone(value: Any) -> None:
    with pytest.raises(ContractError) as refused:
        reading.amount({"balance": value}, "balance")
    assert refused.value.where == "balance"
    with pytest.raises(ContractError):
        reading.amount({}, "balance")


@pytest.mark.parametrize("number", [1, 2**31, 2_975_166_898, 2**53 + 1, 9_007_199_254_740_993, 2**63 - 1])
def test_an_id_is_exact_as_text_and_as_integer(number: int) -> None:
    assert reading.whole(read(f'{{"a": {number}}}'), "a") == number
    assert reading.whole(read(f'{{"a": "{number}"}}'), "a") == number


@pytest.mark.parametrize(
    "text", ["-1", str(2**63), "1.0", "1e3", '"01"', '"1.0"', '"-0"', '"1 "', '""', '"٣"', "true", "null", "[1]"]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        reading.whole(read(f'{{"a": {text}}}'), "a")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-05-06T14:30:00Z", datetime(2026, 5, 6, 14, 30, tzinfo=UTC)),
        ("2026-05-06 17:30:00.250+03:00", datetime(2026, 5, 6, 14, 30, 0, 250_000, tzinfo=UTC)),
        ("2026-05-06T09:30-0500", datetime(2026, 5, 6, 14, 30, tzinfo=UTC)),
    ],
)
def test_a_time_with_its_zone_is_an_instant(text: str, at: datetime) -> None:
    assert reading.instant({"a": text}, "a") == at


@pytest.mark.parametrize(
    "value",
    ["2026-05-06T14:30:00", "2026-05-06", "20260506T143000Z", "2026-W19-3T14:30Z", "2026-13-01T00:00:00Z",
     "0001-01-01T00:00:00+14:00", "2026-05-06T14:30:00 Europe/Athens", "2026-05-06T25:00:00Z", "1969-12-31T23:59:59Z",
     1_778_077_800, None, True],
)  # fmt: skip
def test_a_time_without_its_zone_is_refused(value: Any) -> None:
    with pytest.raises(ContractError):
        reading.instant({"a": value}, "a")


def test_half_a_character_in_a_comment_is_replaced_and_in_a_symbol_refused() -> None:
    known = r'"comment": "tp \ud83d", "symbol": "EUR\u0000USD", "whole": "\ud83d\ude00"'
    row = read(f'{{{known}, "more": {{"k\\u0000": ["\\udc00", 1]}}}}')
    assert reading.remark(row, "comment") == "tp \ufffd"
    assert reading.remark(row, "whole") == "\U0001f600"
    assert reading.extra(row, frozenset({"comment", "symbol", "whole"})) == {"more": {"k\ufffd": ["\ufffd", 1]}}
    with pytest.raises(ContractError):
        reading.text(row, "symbol")


def test_two_spellings_of_one_meaning_must_agree() -> None:
    assert reading.agreed("a", None, 2, 2) == 2
    assert reading.agreed("a", None, None) is None
    with pytest.raises(ContractError):
        reading.agreed("a", 1, 2)


@pytest.mark.parametrize("value", [1, 0, "true", None, []])
def test_only_true_and_false_are_flags(value: Any) -> None:
    with pytest.raises(ContractError):
        reading.flag({"complete": value}, "complete")


def test_a_choice_is_not_made_by_what_merely_equals_it() -> None:
    assert reading.choice({"a": 1}, "a", {1: "sell"}) == "sell"
    for value in (True, Decimal(1), "1", [], None):
        with pytest.raises(ContractError):
            reading.choice({"a": value}, "a", {1: "sell"})
