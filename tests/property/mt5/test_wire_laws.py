"""Laws 11 and 16 of the room: every shape of one truth reads alike, a broken field is never another value, numbers survive."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fillbook.mt5 import contract_v0, contract_v1, reading
from fillbook.mt5.contract import Asked
from fillbook.mt5.faults import CallFailed
from fillbook.mt5.model import Deal, Info, OpenPosition, StepFailure
from fillbook.mt5.words import ID_MAX, TradeSide
from tests.support.mt5_shapes import (
    ASKED,
    NOW_MSC,
    at_path,
    deal,
    deals_v1,
    history_v0,
    info,
    infos_v0,
    paths,
    position,
    positions_v0,
    read_v0_history,
    read_v1_deals,
    snapshot_v1,
    wire,
)

IDS = st.integers(1, ID_MAX)
AMOUNTS = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places), st.integers(-(10**15 - 1), 10**15 - 1), st.integers(0, 8)
)
SIZES = st.builds(lambda digits, places: Decimal(digits).scaleb(-places), st.integers(1, 10**9), st.integers(0, 8))
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00\x1f"), max_size=12)
# times that both clocks can say: this year's spring and summer, in whole seconds
TIMES = st.integers(0, 30 * 86_400).map(lambda seconds: NOW_MSC - seconds * 1000)


def _position(ticket: int, **drawn: Any) -> OpenPosition:
    return position(1, ticket=ticket, position_id=ticket, **drawn)


INFOS = st.builds(
    lambda margin, level, **drawn: info(margin=margin, margin_level=level if margin else None, **drawn),
    margin=SIZES | st.just(Decimal(0)), level=SIZES,
    balance=AMOUNTS, equity=AMOUNTS, margin_free=AMOUNTS, credit=AMOUNTS, profit=AMOUNTS,
    leverage=st.integers(1, 5000), margin_mode=st.integers(0, 2),
)  # fmt: skip
POSITIONS = st.lists(
    st.builds(
        _position, ticket=IDS, time_msc=TIMES, side=st.sampled_from(TradeSide), volume=SIZES, price_open=AMOUNTS,
        price_current=SIZES | st.none(), stop_loss=SIZES | st.none(), take_profit=SIZES | st.none(), swap=AMOUNTS, profit=AMOUNTS,
        symbol=TEXTS.filter(bool), comment=TEXTS, magic=st.integers(-(2**63), ID_MAX),
    ),
    max_size=3, unique_by=lambda one: one.ticket,
).map(tuple)  # fmt: skip
DEALS = st.lists(
    st.builds(
        lambda **drawn: deal(1, **drawn), deal_ticket=IDS, order_id=st.integers(0, ID_MAX), position_id=st.integers(0, ID_MAX),
        time_msc=TIMES, deal_type=st.integers(0, 40), entry=st.integers(0, 3), symbol=TEXTS, volume=SIZES | st.just(Decimal(0)),
        price=AMOUNTS, profit=AMOUNTS, commission=AMOUNTS, swap=AMOUNTS, fee=AMOUNTS, comment=TEXTS,
    ),
    max_size=3, unique_by=lambda one: one.deal_ticket,
).map(tuple)  # fmt: skip
WRITERS: tuple[Callable[[Decimal], Any], ...] = (str, lambda number: number)


@given(INFOS, POSITIONS, st.sampled_from(WRITERS))
def test_every_shape_of_a_snapshot_reads_alike(
    money: Info, positions: tuple[OpenPosition, ...], write: Callable[[Decimal], Any]
) -> None:
    read = contract_v1.read_snapshot(wire(snapshot_v1(money, positions, write)))
    assert (read.info, read.positions) == (money, positions)
    for document in infos_v0(money, len(positions)):
        assert contract_v0.read_info(wire(document), ASKED).info == money
    for document, asked in positions_v0(positions):
        assert contract_v0.read_positions(wire(document), asked).positions == positions


@given(DEALS, st.sampled_from(WRITERS))
def test_every_shape_of_a_history_reads_alike(deals: tuple[Deal, ...], write: Callable[[Decimal], Any]) -> None:
    assert read_v1_deals(wire(deals_v1(deals, write))).deals == deals
    for document, asked in history_v0(deals):
        assert read_v0_history(wire(document), asked).deals == deals


# --- a broken field is never another value ----------------------------------------------------------------------------

GONE = object()
BROKEN = (GONE, None, True, [], {}, "?", "2026-05-06T14:30:00", Decimal("1.5"), -(2**70))
_UNSAID = {"comment": None, "magic": None, "reason": None, "extra": {}}


def without_what_may_be_unsaid(value: Any) -> Any:
    """The value without fields that a service may leave out, and those that are told apart elsewhere."""
    if isinstance(value, tuple):
        return tuple(without_what_may_be_unsaid(one) for one in value)
    if isinstance(value, Info):
        return replace(value, leverage=None, currency=None, currency_digits=None, margin_mode=None)
    if isinstance(value, Deal):
        return replace(value, external_id=None, **_UNSAID)
    return replace(value, **_UNSAID) if isinstance(value, OpenPosition) else value


SHAPES: list[tuple[Any, Asked, Callable[[bytes, Asked], Any]]] = [
    (snapshot_v1(info(), (position(1),)), ASKED, lambda body, _: contract_v1.read_snapshot(body).info),
    (snapshot_v1(info(), (position(1),)), ASKED, lambda body, _: contract_v1.read_snapshot(body).positions),
    (deals_v1((deal(1), deal(2))), ASKED, lambda body, _: read_v1_deals(body).deals),
    *((document, ASKED, lambda body, asked: contract_v0.read_info(body, asked).info) for document in infos_v0(info(), 1)),
    *(
        (document, asked, lambda body, asked: contract_v0.read_positions(body, asked).positions)
        for document, asked in positions_v0((position(1), position(2, side=TradeSide.SELL)))
    ),
    *(
        (document, asked, lambda body, asked: read_v0_history(body, asked).deals)
        for document, asked in history_v0((deal(1), deal(2)))
    ),
]
FREE = {"comment", "external_id", "currency", "symbol"}  # any text is a value of these
LISTS = {"rows", "positions", "deals"}
MONEY = {"volume", "price", "price_open", "price_current", "open_price", "current_price", "sl", "tp", "swap", "profit",
         "commission", "fee", "balance", "equity", "margin", "margin_free", "free_margin", "margin_level", "credit"}  # fmt: skip


@given(st.sampled_from(range(len(SHAPES))), st.data())
def test_a_broken_field_is_an_error_or_the_same_value(number: int, data: st.DataObject) -> None:
    document, asked, read = SHAPES[number]
    truth = read(wire(document), asked)
    path = data.draw(st.sampled_from(paths(document)))
    broken = data.draw(st.sampled_from(BROKEN))
    name = path[-1]
    if (isinstance(broken, str) and name in FREE) or (
        isinstance(broken, Decimal | int) and type(broken) is not bool and name in MONEY
    ):
        return  # not broken: another text, another amount
    if broken == [] and name in LISTS:
        return  # not broken either: nothing there; counters object, where there are any
    damaged = copy.deepcopy(document)
    if broken is GONE:
        if isinstance(name, int):
            return  # a row less is another truth; counters tell it, where there are any
        del at_path(damaged, path[:-1])[name]
    else:
        at_path(damaged, path[:-1])[name] = broken
    try:
        found = read(wire(damaged), asked)
    except CallFailed:
        return
    if not isinstance(found, StepFailure):
        assert without_what_may_be_unsaid(found) == without_what_may_be_unsaid(truth)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_bytes_that_are_no_answer_are_one_error(body: bytes) -> None:
    for read in (
        contract_v1.read_snapshot, contract_v1.read_health, contract_v1.read_symbols, read_v1_deals, contract_v0.read_health,
        lambda body: contract_v0.read_info(body, ASKED), lambda body: contract_v0.read_positions(body, ASKED), read_v0_history,
    ):  # fmt: skip
        try:
            read(body)
        except CallFailed:
            continue
        raise AssertionError("read as an answer")


@given(st.sampled_from(range(3)), st.integers(0, 400))
def test_an_answer_cut_short_is_an_error(number: int, cut: int) -> None:
    document, asked, read = SHAPES[number]
    body = wire(document)
    try:
        read(body[: -1 - cut % (len(body) - 1)], asked)
    except CallFailed:
        return
    raise AssertionError("read as an answer")


# --- numbers ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, ID_MAX))
def test_an_id_survives_as_text_and_as_integer(number: int) -> None:
    for text in (f'{{"a": {number}}}', f'{{"a": "{number}"}}'):
        assert reading.whole(reading.parse(text.encode()), "a") == number


@given(AMOUNTS)
def test_a_decimal_of_fifteen_digits_survives_exactly(number: Decimal) -> None:
    for text in (f'{{"a": {number}}}', f'{{"a": "{number}"}}', f'{{"a": {number:e}}}'):
        assert reading.amount(reading.parse(text.encode()), "a") == number


@given(st.floats(-1e12, 1e12, allow_nan=False))
def test_the_noise_of_a_float_is_less_than_half_a_fifteenth_digit(number: float) -> None:
    read = reading.amount(reading.parse(f'{{"a": {number!r}}}'.encode()), "a")
    exact = Decimal(repr(number))
    assert len(read.as_tuple().digits) <= 15
    assert abs(read - exact) <= Decimal(5).scaleb(max(exact.adjusted(), -20) - 15)
