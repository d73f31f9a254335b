"""Rows that came before are known by their bytes; what they say is one digest, however it is written."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillbook.mt5 import contract, contract_v1, reading, told
from fillbook.mt5.faults import CallFailed
from fillbook.mt5.model import Deal, DealPage, Info, Window
from fillbook.mt5.words import Code
from tests.support.examples import rows as examples
from tests.support.mt5_deals import deal, shown
from tests.support.mt5_shapes import deal as wire_deal
from tests.support.mt5_shapes import deals_v1, wire

INFO = Info(
    balance=Decimal(1000),
    equity=Decimal(1001),
    margin=Decimal(0),
    margin_free=Decimal(1001),
    margin_level=None,
    credit=Decimal(0),
    profit=Decimal(1),
    leverage=100,
    currency="USD",
    currency_digits=2,
    margin_mode=2,
)
few = examples(150)
DEALS = tuple(wire_deal(number) for number in range(1, 81))
FIRST, LAST = min(one.time_msc for one in DEALS), max(one.time_msc for one in DEALS)


def test_a_digest_is_of_content_alone() -> None:
    deals = [deal(1, 5, "buy", "in", 1, "1.10"), deal(2, 5, "sell", "out", 1, "1.2", 10)]

    def digest(of: list[Deal], balance: str = "1000", positions: Any = None) -> bytes:
        positions = [shown(5, "buy", 1)] if positions is None else positions
        return told.state_digest(replace(INFO, balance=Decimal(balance)), positions, told.content(of))

    respelled = [replace(deals[0], price=Decimal("1.1000")), deals[1], deals[0]]
    assert digest(respelled[::-1], "1000.00", [shown(5, "buy", "1.0")]) == digest(deals)
    assert digest(deals, "1000.01") != digest(deals)
    assert digest(deals, positions=[shown(5, "buy", 1, profit=Decimal(2))]) != digest(deals)
    assert digest(deals, positions=[]) != digest(deals)
    assert digest(deals[:1]) != digest(deals)
    assert digest([replace(deals[0], extra={"note": "new"}), deals[1]]) != digest(deals)


def read(body: bytes, known: Any = None) -> DealPage:
    return contract_v1.read_deals(body, is_first=True, known=known)


def document(**more: Any) -> dict[str, Any]:
    return {**deals_v1(DEALS), **more}


def known() -> Any:
    return read(wire(document())).told


def test_a_long_page_says_how_its_rows_will_be_known() -> None:
    one = known()
    assert (one.count, one.first_msc, one.last_msc, one.content) == (80, FIRST, LAST, told.content(DEALS))
    assert read(wire(deals_v1(DEALS[:2]))).told is None, "not worth it"
    assert read(wire(document(next_cursor="c", total=500))).told is None, "not all there are"
    assert contract_v1.read_deals(wire(document()), is_first=False).told is None


def test_rows_that_came_before_are_not_read_but_can_be() -> None:
    page = read(wire(document(server_time_msc="1768000000000", cache_age_ms=5)), known())
    assert (page.deals, page.total, page.head.server_time_msc, page.told) == ((), 80, 1_768_000_000_000, known())
    assert page.later is not None
    assert page.later() == DEALS


@pytest.mark.parametrize("change", ["a row", "one row less", "a space", "another order"])
def test_other_bytes_are_read(change: str) -> None:
    rows = document()["deals"]
    if change == "a row":
        rows[7] = {**rows[7], "comment": "other"}
    elif change == "another order":
        rows = rows[::-1]
    elif change == "one row less":
        rows = rows[:-1]
    body = wire(document(deals=rows, total=len(rows)))
    if change == "a space":
        body = body.replace(b'"order"', b' "order"', 1)
    page = read(body, known())
    assert (page.later, len(page.deals)) == (None, len(rows))
    assert (page.told.content == known().content) is (change in ("a space", "another order"))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"total": 81}, Code.INCOMPLETE),
        ({"complete": False}, Code.INCOMPLETE),
        ({"total": None}, Code.CONTRACT_ERROR),
        ({"contract": "mt5/2"}, Code.CONTRACT_ERROR),
    ],
)
def test_what_stands_around_known_rows_is_checked_as_always(more: dict[str, Any], code: Code) -> None:
    for rows in (None, known()):
        with pytest.raises(CallFailed) as caught:
            read(wire(document(**more)), rows)
        assert caught.value.fault.code is code


def test_a_window_that_would_leave_a_row_out_does_not_take_them_for_read() -> None:
    one = known()
    assert told.is_within(one, Window(from_msc=FIRST, to_msc=LAST + 1))
    assert not told.is_within(one, Window(from_msc=FIRST + 1, to_msc=LAST + 1))
    assert not told.is_within(one, Window(from_msc=FIRST, to_msc=LAST))
    page = read(wire(document()))
    assert contract.only(page, Window(from_msc=FIRST, to_msc=LAST + 1)).told == one
    assert contract.only(page, Window(from_msc=FIRST + 1, to_msc=LAST + 1)).told is None


# --- a list cut out of an answer --------------------------------------------------------------------------------------

LIST = b'[{"a": 1}, [2], "]"]'
WHOLE = {
    "last": b'{"x": [1, "deals"], "deals": ' + LIST + b"}",
    "in the middle": b'{"deals" : ' + LIST + b', "total": 1.50, "note": "\\"deals\\": [" }',
    "said of something else before": b'{"deal": {"s": 1}, "deals":\n' + LIST + b"}",
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_list_and_what_is_around_it_are_the_answer(name: str) -> None:
    parts = reading.cut(WHOLE[name], "deals")
    assert parts is not None
    assert {**parts[0], "deals": reading.rows(parts[1])} == reading.parse(WHOLE[name])


@pytest.mark.parametrize(
    "body",
    [
        b'{"deals": [1], "more": [2]}',
        b'{"a": {"deals": [1]}, "b": 1}',
        b'{"a": "\\"deals\\": [", "b": "]"}',
        b'{"deals": [1], "deals": [1]}',
        b'{"deals": [1], "x": -Infinity}',
        b'{"deals": [1], "x": NaN}',
        b'{"deals": [1]',
        b'{"deals": [1]} x',
        b'{"deals": {"a": [1]}}',
        b'{"deals": [1], "x": "\xff"}',
        b'"deals": [1]',
        b"",
    ],
)
def test_a_list_that_cannot_be_cut_out_is_read_with_everything(body: bytes) -> None:
    parts = reading.cut(body, "deals")
    assert parts is None or reading.rows(parts[1]) is None


def test_a_list_alone_is_as_strict_as_an_answer() -> None:
    for text in (b"[NaN]", b'[{"a": 1, "a": 2}]', b"[1] [2]", b"[\xff]", b"7", b"[" * 20 + b"]" * 20):
        assert reading.rows(text) is None
    assert reading.rows(json.dumps([1.5]).encode()) == [Decimal("1.5")]


@given(
    place=st.integers(0, 2_000),
    text=st.sampled_from([b"", b"]", b"[", b'"', b",", b" ", b"{", b"}", b"9", b"-Infinity", b"\xff"]),
)
@few
def test_whatever_is_changed_in_an_answer_it_is_read_as_if_at_once(place: int, text: bytes) -> None:
    body = wire(deals_v1(DEALS[:3]))
    place %= len(body)
    changed = body[:place] + text + body[place + 1 :]

    def outcome(least: int, known: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(told, "BYTES_MIN", least)
            try:
                page = read(changed, known)
            except CallFailed as error:
                return error.fault
        return replace(page, deals=page.deals if page.later is None else page.later(), told=None, later=None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(told, "BYTES_MIN", 0)
        before = read(body).told
    whole = outcome(len(changed) + 1, None)
    assert outcome(0, None) == whole
    assert outcome(0, before) == whole
