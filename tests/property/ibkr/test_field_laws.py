"""The short ways of reading a row say what the long ones say: hashes, limits of the ledger's columns, seconds of a minute."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import example, given
from hypothesis import strategies as st

from fillbook.ibkr import fields, times
from fillbook.ibkr.fields import Refused
from fillbook.money import QUANTITY_STEP, NumberError, quantize, to_money, to_price, to_quantity

WALL = datetime.fromisoformat
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
SIZES = st.builds(lambda digits, places: Decimal(digits).scaleb(-places), st.integers(-(10**20), 10**20), st.integers(-20, 40))


@given(st.dictionaries(TEXTS, TEXTS, max_size=8))
@example({"a%s": 'q"uo\\te', "b": "\u00e4 \x07 %d"})
@example({})
def test_the_hash_of_a_row_is_that_of_the_json_text_of_its_sorted_pairs(raw: dict[str, str]) -> None:
    text = json.dumps(sorted([name, value] for name, value in raw.items()), ensure_ascii=False, separators=(",", ":"))
    assert fields.payload_hash(raw) == hashlib.sha256(text.encode()).digest()


def is_held(quantity: Decimal, price: Decimal, multiplier: Decimal | None) -> bool:
    """Whether the ledger's columns hold the values, by rounding each of them."""
    try:
        to_price(price)
        to_money(quantity * price * (multiplier or 1))
        return to_quantity(quantity) > 0 and (multiplier is None or quantize(multiplier, QUANTITY_STEP) > 0)
    except NumberError:
        return False


@given(SIZES, SIZES, st.none() | SIZES.filter(bool))
@example(Decimal("1e-10"), Decimal("0E-30"), None)
@example(Decimal("9" * 15), Decimal(-9), Decimal("1e-9"))
def test_what_is_let_in_is_what_the_columns_hold(quantity: Decimal, price: Decimal, multiplier: Decimal | None) -> None:
    try:
        fields.check_value(quantity, price, multiplier)
        is_let_in = True
    except Refused:
        is_let_in = False
    assert is_let_in is is_held(quantity, price, multiplier)


@given(
    st.datetimes(WALL("1980-01-01"), WALL("2060-01-01")),
    st.sampled_from(["America/New_York", "Europe/Berlin", "Asia/Tokyo", "Australia/Lord_Howe"]),
)
@example(WALL("2026-11-01T01:59:59"), "America/New_York")
@example(WALL("2026-11-01T02:00:00"), "America/New_York")
def test_every_second_is_read_as_the_zone_has_it(wall: datetime, name: str) -> None:
    wall = wall.replace(microsecond=0)
    local = wall.replace(tzinfo=ZoneInfo(name))
    is_real = local.astimezone(UTC).astimezone(ZoneInfo(name)).replace(tzinfo=None) == wall
    try:
        read = times.flex_time(f"{wall:%Y%m%d;%H%M%S}", name)
    except times.TimeRefused:
        assert not is_real
        return
    assert read.at == local.astimezone(UTC)
    assert read.is_ambiguous is (local.utcoffset() != (local + timedelta(0)).replace(fold=1).utcoffset())
